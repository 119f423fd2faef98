// Keys: who may use the gateway; a key is made, shown once, disabled, deleted.

import { call } from "./api.js";
import { ask, button, card, el, field, put, table, tableRow } from "./dom.js";
import { text } from "./text.js";
import { when } from "./time.js";

const said = text.keys;

const LOOKS = { active: "good", disabled: "", not_yet: "warn", expired: "bad" };

/** How the API names `proxy.api_key`. */
const PRIMARY = "api_key";

const pathOf = (name) => `/api/keys/${encodeURIComponent(name)}`;

export function create(app) {
  const body = el("tbody", { role: "rowgroup" });
  const total = el("p", { class: "hint" });
  const add = button(said.create, () => askForName(app), { class: "primary" });
  const read = () => app.attempt(async () => {
    const answer = await call("/api/keys");
    total.textContent = said.total(answer.keys.length, answer.total);
    const focused = document.activeElement?.id;
    put(body, answer.keys.map((key) => row(app, key)));
    // Whoever stood on a button of the table stands there again.
    if (focused) document.getElementById(focused)?.focus();
  });
  return {
    node: el("div", { class: "view" }, card(said.title,
      el("div", { class: "actions between" }, total, add),
      table(said.title, said.columns, body))),
    shown: read,
    refresh(config) {
      add.disabled = Boolean(config.not_editable);
      read();
    },
  };
}

function row(app, { name, public_id, state, not_before, expires_at, previous_until, max_concurrent, editable }) {
  const disabled = state === "disabled";
  const turn = button(disabled ? said.enable : said.disable, () =>
    app.attempt(() => app.change("PATCH", pathOf(name), { enabled: disabled })), { id: `turn ${name}`, "aria-label": `${disabled ? said.enable : said.disable} ${name}` });
  const remove = button(said.remove, () =>
    ask(said.removeTitle(name), said.remove, text.cancel, el("p", {}, said.removeHint),
      () => app.change("DELETE", pathOf(name))), { id: `remove ${name}`, "aria-label": `${said.remove} ${name}` });
  const until = [not_before && state === "not_yet" && said.from(when(not_before)), expires_at ? when(expires_at) : said.never];
  return tableRow(said.columns, [name, previous_until && el("p", { class: "hint" }, said.previous(when(previous_until)))], [
    el("span", { class: `tag ${LOOKS[state]}` }, said.states[state]),
    public_id ? el("code", {}, public_id) : said.nothing,
    max_concurrent === null ? said.nothing : said.atOnce(max_concurrent),
    until.filter(Boolean).join(" "),
    editable ? el("div", { class: "actions" }, turn, remove) : el("span", { class: "hint" }, name === PRIMARY ? said.primary : said.elsewhere),
  ]);
}

function askForName(app) {
  const name = el("input", { id: "name", required: true, maxlength: "128", autocomplete: "off", spellcheck: "false" });
  const end = el("input", { id: "end", type: "datetime-local" });
  ask(said.createTitle, said.create, text.cancel,
    [field(said.name, name), field(said.expires, end, el("p", { class: "hint" }, said.expiresHint))],
    async () => {
      const expires_at = end.value ? new Date(end.value).toISOString() : null;
      const made = await app.change("POST", "/api/keys", { name: name.value.trim(), expires_at });
      show(app, made);
    });
}

/** The one time that a key is shown. */
function show(app, { name, key }) {
  ask(said.madeTitle(name), text.copy, text.close,
    [el("p", {}, said.madeHint), el("code", { class: "secret made" }, key)],
    () => app.copy(key));
}
