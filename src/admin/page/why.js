// Why 401?: what was refused lately, step by step, and a box to have any request explained.

import { call, post } from "./api.js";
import { button, card, el, field, put, rich } from "./dom.js";
import { text } from "./text.js";
import { clock } from "./time.js";

const said = text.why;

/** As many as anyone scrolls through. */
const MOST_SHOWN = 50;

export function create(app) {
  const list = el("ol", { class: "denials" });
  const hint = el("p", { class: "hint" }, said.none);
  const waiting = [];
  const more = button("", release, { class: "quiet" });

  /** Puts what waits on top. */
  function release() {
    list.prepend(...waiting.splice(0).reverse());
    while (list.children.length > MOST_SHOWN) list.lastChild.remove();
    hint.textContent = list.children.length ? said.newestFirst : said.none;
    more.textContent = said.newer(0);
    more.classList.add("held");
  }

  /** No row moves away from under a pointer, or from whoever reads it with a keyboard. */
  function hold() {
    waiting.splice(0, waiting.length - MOST_SHOWN);
    more.textContent = said.newer(waiting.length);
    more.classList.remove("held");
  }

  release();
  list.addEventListener("mouseleave", release);
  list.addEventListener("focusout", ({ relatedTarget }) => { if (!list.contains(relatedTarget)) release(); });
  return {
    node: el("div", { class: "view" }, pasted(app), card(said.recent, el("div", { class: "actions between" }, hint, more), list)),
    shown: release,
    denial(denial) {
      waiting.push(row(app, denial));
      if (list.matches(":hover, :focus-within")) hold();
      else release();
    },
  };
}

function pasted(app) {
  const input = el("textarea", { id: "pasted", rows: "4", required: true, spellcheck: "false", placeholder: said.example, "aria-describedby": "pasted-hint" });
  const answer = el("div", { class: "answer", role: "status", "aria-live": "polite" });
  const form = el("form", {},
    field(said.pasteLabel, input, el("p", { class: "hint", id: "pasted-hint" }, said.pasteHint)),
    el("div", { class: "actions" }, el("button", { type: "submit", class: "primary" }, said.explain)));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    try {
      put(answer, explanation(await post("/api/explain", asked(input.value))));
    } catch (error) {
      put(answer, el("p", { class: "bad" }, rich(app.said(error))));
    }
  });
  return card(said.paste, form, answer);
}

/** What was pasted, as the API takes it: a curl line as it is, else the lines of a request, its first line or not. */
function asked(pasted) {
  const trimmed = pasted.trim().replace(/^\$ /, "");
  if (/^curl\s/.test(trimmed)) return { curl: trimmed };
  const lines = trimmed.split(/\r?\n/);
  const first = /^([A-Z]+) (\S+)(?: HTTP\/[\d.]+)?$/.exec(lines[0]);
  const headers = (first ? lines.slice(1) : lines).join("\n");
  return first ? { method: first[1], path: first[2], headers } : { headers };
}

function row(app, denial) {
  const { at, status, code, method, path, client, cause, request_id } = denial;
  const detail = el("div", { class: "answer", id: `denial-${request_id}`, hidden: true });
  const toggle = el("button", { type: "button", class: "denial", "aria-expanded": "false", "aria-controls": detail.id },
    el("time", { datetime: at }, clock(at)),
    el("span", { class: "tag bad" }, `${status} ${code}`),
    el("span", { class: "request" }, `${method} ${path}`),
    cause && el("span", { class: "cause" }, rich(cause)));
  let asked = false;
  toggle.addEventListener("click", async () => {
    detail.hidden = !detail.hidden;
    toggle.setAttribute("aria-expanded", !detail.hidden);
    if (asked) return;
    asked = true;
    try {
      const whole = await call(`/api/denials/${encodeURIComponent(request_id)}`);
      put(detail, explanation(whole.explanation, facts([
        [said.from, client ?? said.unknownClient], [said.credential, whole.credential], [said.id, request_id]])));
    } catch (error) {
      asked = error.status === 404;
      put(detail, el("p", { class: "bad" }, asked ? said.gone : app.said(error)));
    }
  });
  return el("li", {}, toggle, detail);
}

function facts(pairs) {
  return el("dl", { class: "facts" }, pairs.filter(([, value]) => value)
    .map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, el("code", {}, value)))));
}

/** The decision, its cause, what to do, and the steps to it. */
function explanation({ decision, refusal, route, diagnosis, steps }, more) {
  const allowed = decision === "allow";
  const verdict = allowed
    ? rich(route ? said.allowedTo(route) : said.allowed)
    : said.denied(refusal.status, refusal.code);
  return [
    el("p", { class: `verdict ${allowed ? "good" : "bad"}` }, verdict),
    diagnosis && el("dl", { class: "diagnosis" },
      el("dt", {}, said.cause), el("dd", {}, rich(diagnosis.cause)),
      diagnosis.fix && [el("dt", {}, said.fix), el("dd", {}, rich(diagnosis.fix))]),
    el("h3", {}, said.steps),
    el("ol", { class: "steps" }, steps.map(step)),
    more,
  ];
}

function step({ number, text: words, outcome }) {
  const decides = outcome !== "goes_on";
  return el("li", { value: number, class: outcome }, rich(words), decides && el("span", { class: "tag" }, said.decides));
}
