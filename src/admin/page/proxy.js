// API proxy: who may connect, who needs a key, the key itself, and how to call with it.

import { post } from "./api.js";
import { ask, button, card, el, field, put, rich } from "./dom.js";
import { CLIENTS, ownAddress, snippet } from "./snippets.js";
import { text } from "./text.js";
import { when } from "./time.js";

const said = text.proxy;

export function create(app) {
  const parts = [access(app), apiKey(app), snippets(app)];
  const notice = el("p", { class: "banner warn", hidden: true });
  return {
    node: el("div", { class: "view" }, notice, parts.map(({ node }) => node)),
    refresh(config, status) {
      notice.hidden = !config.not_editable;
      put(notice, rich(config.not_editable ?? ""));
      for (const part of parts) part.refresh(config, status);
    },
  };
}

function access(app) {
  const lan = el("button", { type: "button", role: "switch", id: "lan", class: "switch", "aria-labelledby": "lan-label", "aria-describedby": "lan-hint" });
  const lanHint = el("p", { class: "hint", id: "lan-hint" });
  const mode = el("select", { id: "mode", "aria-describedby": "mode-why" },
    Object.entries(said.modes).map(([value, label]) => el("option", { value }, label)));
  const effective = el("strong", {});
  const why = el("span", {});

  lan.addEventListener("click", () => app.attempt(() =>
    app.change("PUT", "/api/config/allow_lan_access", { allow_lan_access: lan.getAttribute("aria-checked") !== "true" })));
  mode.addEventListener("change", () => app.attempt(() =>
    app.change("PUT", "/api/config/auth_mode", { auth_mode: mode.value })));

  return {
    node: card(said.access,
      el("div", { class: "field" }, el("span", { class: "label", id: "lan-label" }, said.lan), lan, lanHint),
      field(said.mode, mode, el("p", { class: "hint", id: "mode-why" }, effective, " · ", why))),
    refresh(config) {
      lan.setAttribute("aria-checked", config.allow_lan_access);
      lan.textContent = config.allow_lan_access ? said.on : said.off;
      lan.disabled = Boolean(config.not_editable) || config.listen.length > 0;
      mode.disabled = Boolean(config.not_editable);
      mode.value = config.auth_mode;
      const waits = config.restart_needed.some((setting) => setting.includes("allow_lan_access"));
      const hint = `lan${config.allow_lan_access ? "On" : "Off"}${waits ? "Soon" : ""}`;
      put(lanHint, rich(config.listen.length ? said.lanListen : said[hint]));
      effective.textContent = said.effective(config.effective_mode);
      put(why, rich(config.why));
    },
  };
}

function apiKey(app) {
  const shown = el("code", { class: "secret", id: "api-key" });
  const hint = el("p", { class: "hint" });
  const reveal = button(said.reveal, toggle, { "aria-controls": "api-key", "aria-pressed": "false" });
  const copy = button(text.copy, () => app.attempt(async () => app.copy(await key())));
  const regenerate = button(said.regenerate, askForNew);
  const edit = button(said.edit, askForOther);
  let clear = null;
  let clearOf = null;

  async function key() {
    const { api_key } = await post("/api/config/api_key/reveal");
    if (!api_key) throw new Error(said.notRevealed);
    return api_key;
  }

  function toggle() {
    return app.attempt(async () => {
      showClear(clear === null ? await key() : null);
    });
  }

  /** Until it is another key. */
  function showClear(key) {
    clear = key;
    clearOf = app.config.api_key.masked;
    render(app.config);
  }

  function render(config) {
    shown.textContent = clear ?? config.api_key.masked ?? (config.api_key.state === "set" ? "••••••••" : said.noKey);
    reveal.textContent = clear === null ? said.reveal : said.hide;
    reveal.setAttribute("aria-pressed", clear !== null);
  }

  const overlap = () => el("select", { id: "overlap", name: "overlap" },
    said.overlaps.map(([seconds, label]) => el("option", { value: seconds }, label)));

  function askForNew() {
    const choice = overlap();
    ask(said.regenerateTitle, said.regenerate, text.cancel,
      [el("p", {}, said.regenerateHint), field(said.overlap, choice)],
      async () => {
        const { api_key } = await app.change("POST", "/api/config/api_key/regenerate", { keep_old_seconds: Number(choice.value) });
        showClear(api_key);
      });
  }

  function askForOther() {
    const choice = overlap();
    const input = el("input", { id: "new-key", required: true, autocomplete: "off", spellcheck: "false" });
    ask(said.editTitle, said.save, text.cancel, [field(said.newKey, input), field(said.overlap, choice)],
      () => app.change("PUT", "/api/config/api_key", { api_key: input.value.trim(), keep_old_seconds: Number(choice.value) }));
  }

  return {
    node: card(said.key,
      el("div", { class: "keyline" }, shown, el("div", { class: "actions" }, reveal, copy, regenerate, edit)), hint),
    refresh(config) {
      const { from, where, not_editable, previous_until, state } = config.api_key;
      if (config.api_key.masked !== clearOf) clear = null;
      render(config);
      regenerate.disabled = edit.disabled = Boolean(config.not_editable ?? not_editable);
      reveal.disabled = copy.disabled = state !== "set";
      put(hint, from && rich(said.from[from](where)), not_editable && [" ", rich(not_editable)],
        previous_until && ` ${said.previous(when(previous_until))}`);
    },
  };
}

function snippets(app) {
  const address = el("input", { id: "address", type: "url", spellcheck: "false", "aria-describedby": "address-hint" });
  const code = el("pre", { tabindex: "0", "aria-label": said.snippet });
  let client = CLIENTS[0];
  const choose = (name) => {
    client = name;
    for (const choice of choices) choice.setAttribute("aria-pressed", choice.textContent === client);
    render();
  };
  const choices = CLIENTS.map((name) => button(name, () => choose(name)));
  const render = () => { code.textContent = snippet(client, address.value, app.config?.api_key.masked ?? "KEY"); };
  const copy = button(text.copy, () => app.attempt(async () => {
    const { api_key } = await post("/api/config/api_key/reveal");
    await app.copy(snippet(client, address.value, api_key ?? "KEY"));
  }));
  address.addEventListener("input", render);

  return {
    node: card(said.snippets,
      field(said.address, address, el("p", { class: "hint", id: "address-hint" }, said.addressHint)),
      el("div", { class: "segments", role: "group", "aria-label": said.clients }, choices),
      code, el("div", { class: "actions" }, copy, el("span", { class: "hint" }, said.snippetHint))),
    refresh(config, status) {
      address.value ||= ownAddress(config, status);
      choose(client);
    },
  };
}
