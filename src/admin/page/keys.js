// Keys: who may use the gateway, how much and until when; a key is made, shown once, given another end, disabled, deleted.

import { call } from "./api.js";
import { ask, button, card, el, field, put, table, tableRow } from "./dom.js";
import { text } from "./text.js";
import { dateAndTime, dateTimeLocal, when } from "./time.js";

const said = text.keys;

const LOOKS = { active: "good", disabled: "", not_yet: "warn", expired: "bad" };

/** How the API names `proxy.api_key`. */
const PRIMARY = "api_key";

const pathOf = (name) => `/api/keys/${encodeURIComponent(name)}`;

export function create(app) {
  const body = el("tbody", { role: "rowgroup" });
  const total = el("p", { class: "hint" });
  const add = button(said.create, () => askForName(app), { class: "primary" });
  const rows = new Map();
  const told = new Map();
  let asked = 0;
  const read = () => app.attempt(async () => {
    const turn = ++asked;
    told.clear();
    const answer = await call("/api/keys");
    if (turn !== asked) return;
    total.textContent = [said.total(answer.keys.length, answer.total), said.since(when(app.status.started))].join(" · ");
    const focused = document.activeElement?.id;
    rows.clear();
    for (const key of answer.keys) rows.set(key.name, row(app, { ...key, ...told.get(key.name) }));
    put(body, [...rows.values()].map(({ node }) => node));
    // Whoever stood on a button of the table stands there again.
    if (focused) document.getElementById(focused)?.focus();
  });
  return {
    node: el("div", { class: "view" }, card(said.title,
      el("div", { class: "actions between" }, total, add),
      table(said.title, said.columns, body, "keys"))),
    shown: read,
    refresh(config) {
      add.disabled = Boolean(config.not_editable);
      read();
    },
    live({ keys }) {
      for (const key of keys) {
        // It may come before the answer that it is newer than.
        told.set(key.name, key);
        rows.get(key.name)?.show(key);
      }
    },
  };
}

function row(app, key) {
  const { name, public_id, expires_at, editable } = key;
  const disabled = key.state === "disabled";
  const turn = button(disabled ? said.enable : said.disable, () =>
    app.attempt(() => app.change("PATCH", pathOf(name), { enabled: disabled })), { id: `turn ${name}`, "aria-label": `${disabled ? said.enable : said.disable} ${name}` });
  const end = button(said.end, () => askForEnd(app, name, expires_at), { id: `end ${name}`, "aria-label": `${said.end} ${name}` });
  const remove = button(said.remove, () =>
    ask(said.removeTitle(name), said.remove, text.cancel, el("p", {}, said.removeHint),
      () => app.change("DELETE", pathOf(name))), { id: `remove ${name}`, "aria-label": `${said.remove} ${name}` });
  const state = el("span", {});
  const used = el("div", { class: "used" });
  const before = el("div", {});
  const validity = el("div", {});
  const show = (lately) => {
    const now = { ...key, ...lately };
    state.className = `tag ${LOOKS[now.state]}`;
    state.textContent = said.states[now.state];
    put(used, now.last_used_at ? moment(now.last_used_at) : said.unused);
    put(before, previous(now));
    put(validity, expires(now));
  };
  show();
  const node = tableRow(said.columns, [name, public_id && el("p", { class: "hint" }, el("code", {}, public_id)), before], [
    state, limits(key), used, validity,
    editable ? el("div", { class: "actions" }, end, turn, remove) : el("span", { class: "hint" }, name === PRIMARY ? said.primary : said.elsewhere),
  ]);
  return { node, show };
}

function moment(iso) {
  const [date, time] = dateAndTime(iso);
  return el("time", { datetime: iso }, el("span", {}, date), " ", el("span", {}, time));
}

/** Until when it counts, and from when, as long as that is to come. */
function expires({ state, not_before, expires_at }) {
  const end = expires_at ? moment(expires_at) : said.never;
  if (state !== "not_yet") return end;
  return [el("div", {}, said.from, " ", moment(not_before)), el("div", {}, expires_at && [said.until, " "], end)];
}

/** What it may have: a rate, requests at once, both or neither. */
function limits({ rate, max_concurrent }) {
  const all = [rate && said.rate(rate), rate && rate.burst !== rate.requests && said.burst(rate.burst), max_concurrent && said.atOnce(max_concurrent)].filter(Boolean);
  return all.length ? all.map((one) => el("div", {}, one)) : said.nothing;
}

/** The secret that it had before, as long as that counts: whoever still uses it is locked out then. */
function previous({ previous_until, previous_last_used_at }) {
  if (!previous_until || Date.parse(previous_until) <= Date.now()) return null;
  const used = previous_last_used_at ? said.previousUsed(when(previous_last_used_at)) : said.previousUnused;
  return el("p", { class: "hint" }, said.previous(when(previous_until)), " ", used);
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

function askForEnd(app, name, expires_at) {
  const end = el("input", { id: "end", type: "datetime-local", value: expires_at ? dateTimeLocal(expires_at) : "" });
  ask(said.endTitle(name), said.save, text.cancel,
    [field(said.expires, end, el("p", { class: "hint" }, said.expiresHint)),
      el("div", {}, button(said.clear, () => { end.value = ""; end.focus(); }, { class: "clear" }))],
    () => app.change("PATCH", pathOf(name), { expires_at: end.value ? new Date(end.value).toISOString() : null }));
}

/** The one time that a key is shown. */
function show(app, { name, key }) {
  ask(said.madeTitle(name), text.copy, text.close,
    [el("p", {}, said.madeHint), el("code", { class: "secret made" }, key)],
    () => app.copy(key));
}
