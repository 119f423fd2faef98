// Config: which file, what came of its last reload, what waits for a restart, and what is in force.

import { post } from "./api.js";
import { button, card, el, put, rich } from "./dom.js";
import { text } from "./text.js";
import { when } from "./time.js";

const said = text.config;

export function create(app) {
  const state = el("div", { class: "answer" });
  const facts = el("dl", { class: "diagnosis" });
  const written = el("pre", { tabindex: "0", "aria-label": said.written });
  const reload = button(said.reload, () => app.attempt(async () => {
    try {
      const { generation } = await post("/api/reload");
      app.tell(said.reloaded(generation));
    } finally {
      await app.refresh();
    }
  }));
  return {
    node: el("div", { class: "view" },
      card(said.title, state, el("div", { class: "actions" }, reload)), card(said.process, facts), card(said.written, written)),
    refresh(config, status) {
      const { outcome, at } = config.last_reload;
      const rejected = outcome === "rejected";
      put(state,
        el("p", { class: `verdict ${rejected ? "bad" : "good"}` }, said.outcomes[outcome](config.generation)),
        el("p", { class: "hint" }, `${when(at)} · `, config.file ? el("code", {}, config.file) : said.noFile),
        list(said.problems, "bad", errors(config)), list(said.warnings, "warn", warnings(config)),
        config.restart_needed.length > 0 && el("p", { class: "banner warn" }, rich(said.restart(config.restart_needed.join(", ")))),
        config.not_editable && el("p", { class: "banner warn" }, rich(config.not_editable)));
      put(facts, [
        [said.version, status.version], [said.pid, status.pid], [said.started, when(status.started)],
        ...status.listeners.map(({ address, serves }) => [said.serves[serves], address]),
      ].map(([name, value]) => [el("dt", {}, name), el("dd", {}, el("code", {}, String(value)))]));
      written.textContent = yaml(config.config).trimStart();
    },
  };
}

const isWarning = (problem) => /^\S+:\d+:\d+: warning: /.test(problem);

/** Why the file was not taken; a file that was has none. */
export const errors = ({ last_reload }) => last_reload.problems.filter((problem) => !isWarning(problem));

/** What is doubtful: a file that was not taken has its warnings among the problems, most of them as what is in force has. */
function warnings({ last_reload }) {
  const ofFile = last_reload.problems.filter(isWarning);
  const known = ofFile.map(withoutPlace);
  return [...ofFile, ...last_reload.warnings.filter((warning) => !known.includes(withoutPlace(warning)))];
}

/** A warning is the same when a change has moved its line. */
export const withoutPlace = (warning) => warning.replace(/^\S+:\d+:\d+: /, "");

function list(title, look, problems) {
  return problems.length > 0 && [el("h3", {}, title), el("ul", { class: "problems" }, problems.map((one) => problem(one, look)))];
}

/** `FILE:LINE:COL: error: MESSAGE`, and help on lines of its own. */
function problem(whole, look) {
  const [, place, message] = /^(\S+?:\d+:\d+): (?:error|warning): ([^]*)$/.exec(whole) ?? [null, null, whole];
  return el("li", { class: look }, place && el("code", { class: "place" }, place), el("p", {}, rich(message)));
}

/** JSON as the YAML that people write; strings that YAML would read as something else are quoted. */
function yaml(value, indent = "") {
  if (Array.isArray(value)) {
    if (value.every((one) => one === null || typeof one !== "object")) return ` [${value.map(scalar).join(", ")}]`;
    return value.map((one) => `\n${indent}-${yaml(one, `${indent}  `).replace(/^\n\s*/, " ")}`).join("");
  }
  if (value === null || typeof value !== "object") return ` ${scalar(value)}`;
  const entries = Object.entries(value);
  return entries.length ? entries.map(([name, one]) => `\n${indent}${name}:${yaml(one, `${indent}  `)}`).join("") : " {}";
}

function scalar(value) {
  const plain = typeof value !== "string" || /^[\w/.*$][\w/.:*${}@-]*$/.test(value);
  return plain && value !== "***" ? String(value) : JSON.stringify(value);
}
