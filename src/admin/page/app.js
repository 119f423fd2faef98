// The page: who is logged in, which view is shown, what the gateway says as it happens.

import { Refused, call, change, token } from "./api.js";
import * as config from "./config.js";
import { button, el, field, put, rich } from "./dom.js";
import * as keys from "./keys.js";
import * as proxy from "./proxy.js";
import { follow } from "./stream.js";
import { text } from "./text.js";
import * as traffic from "./traffic.js";
import * as why from "./why.js";

/** Each makes a view: `{node, refresh(config, status), shown(), live(data), denial(data)}`, all but `node` as it needs. */
const VIEWS = { proxy, why, traffic, keys, config };

const NOTICE_MS = 6000;

const root = document.getElementById("app");
const notices = document.getElementById("notices");

/** Settles with the change that was asked for last. */
let lastChange = Promise.resolve();

/** How often the config was asked for, and which of the answers is shown. */
let asked = 0;
let shown = 0;

/** What the views share. */
const app = {
  config: null,
  status: null,

  /** Says something; what went wrong stays until it is dismissed. */
  tell(message, kind = "good") {
    const notice = el("div", { class: `notice ${kind}` }, el("span", {}, message),
      button("×", () => notice.remove(), { "aria-label": text.dismiss }));
    // What is said already is not said beside it.
    for (const other of [...notices.children]) if (other.textContent === notice.textContent) other.remove();
    while (notices.children.length > 2) notices.firstChild.remove();
    notices.append(notice);
    if (kind === "good") setTimeout(() => notice.remove(), NOTICE_MS);
  },

  /** Changes the config, one change after the other: each is one of the file as the one before has left it. */
  change(method, path, body) {
    const done = lastChange.then(() => app.changeNow(method, path, body));
    lastChange = done.catch(() => {});
    return done;
  },

  /** If somebody else changed the config, that is shown instead, and nothing is lost. */
  async changeNow(method, path, body) {
    try {
      const done = await change(method, path, app.config?.etag, body);
      app.tell(text.saved(done.generation));
      const known = app.config.last_reload.warnings.map(config.withoutPlace);
      for (const warning of done.warnings) if (!known.includes(config.withoutPlace(warning))) app.tell(warning, "warn");
      return done;
    } catch (error) {
      throw error.status === 412 ? new Error(text.stale) : error;
    } finally {
      // Shows what is in force, even if nothing could be asked.
      await app.refresh().catch(() => app.show());
    }
  },

  /** Does it, and says so if that fails. */
  async attempt(act) {
    try {
      return await act();
    } catch (error) {
      app.tell([app.said(error), ...(error.problems ?? [])].join("\n"), "bad");
      return undefined;
    }
  },

  said: (error) => (error instanceof TypeError ? text.unreachable : error.message),

  async copy(value) {
    try {
      await navigator.clipboard.writeText(value);
    } catch {
      throw new Error(text.notCopied);
    }
    app.tell(text.copied);
  },

  /** Reads what is configured again, and shows it, unless something newer is shown by then. */
  async refresh() {
    const turn = ++asked;
    const [config, status] = await Promise.all([call("/api/config"), call("/api/status")]);
    if (turn < shown) return;
    shown = turn;
    Object.assign(app, { config, status });
    app.show();
  },

  /** Shows what was read, and on its link how many problems the config has. */
  show() {
    for (const view of Object.values(app.views)) view.refresh?.(app.config, app.status);
    const problems = config.errors(app.config).length;
    const name = text.views.config;
    const link = root.querySelector("a[href='#config']");
    if (link) link.textContent = problems ? text.flagged(name, problems) : name;
    link?.classList.toggle("flagged", problems > 0);
  },

  views: {},
};

function login(said = "") {
  const input = el("input", { id: "token", type: "password", required: true, autocomplete: "current-password", spellcheck: "false", "aria-describedby": "token-hint" });
  const failed = el("p", { class: "bad", role: "alert" }, said);
  const form = el("form", { class: "login card" },
    el("h1", {}, text.product),
    field(text.login.token, input, el("p", { class: "hint", id: "token-hint" }, rich(text.login.hint))),
    failed,
    el("button", { type: "submit", class: "primary" }, text.login.submit));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    token.set(input.value.trim());
    try {
      await enter();
    } catch (error) {
      token.forget();
      put(failed, rich(app.said(error)));
    }
  });
  document.title = `${text.login.title} · ${text.product}`;
  put(root, el("main", {}, form));
  input.focus();
}

/** Shows all of it. Throws if the token does not count. */
async function enter() {
  app.status = await call("/api/status");
  app.config = await call("/api/config");
  const pill = el("span", { class: "pill", id: "state", role: "status" }, text.connecting);
  const links = Object.keys(VIEWS).map((name) => el("a", { href: `#${name}` }, text.views[name]));
  const main = el("main", { id: "content", tabindex: "-1" });
  app.views = Object.fromEntries(Object.entries(VIEWS).map(([name, { create }]) => [name, create(app)]));

  function show() {
    const wanted = location.hash.slice(1);
    const name = wanted in app.views ? wanted : "proxy";
    for (const link of links) {
      if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    document.title = `${text.views[name]} · ${text.product}`;
    put(main, el("h1", { class: "hidden" }, text.views[name]), app.views[name].node);
    app.views[name].shown?.();
  }

  const leave = (said) => {
    stop();
    window.removeEventListener("hashchange", show);
    token.forget();
    app.views = {};
    put(notices);
    login(said);
  };
  const stop = follow(events(pill, leave));
  window.addEventListener("hashchange", show);
  put(root,
    el("a", { class: "skip", href: "#content", onclick: (event) => { event.preventDefault(); main.focus(); } }, text.skip),
    el("header", {}, el("strong", {}, text.product), pill, button(text.logout, () => leave(), { class: "quiet" })),
    el("nav", { "aria-label": text.navigation }, links), main);
  app.show();
  show();
}

/** What to do with the events: show them, and look again when another config is in force. */
function events(pill, leave) {
  const sign = (started, generation, { at, outcome }) => `${started} ${generation} ${at} ${outcome}`;
  let seen = sign(app.status.started, app.status.generation, app.status.last_reload);
  let wasLost = false;
  return {
    event(name, data) {
      for (const view of Object.values(app.views)) view[name]?.(data);
      if (name !== "live") return;
      const now = sign(data.started, data.generation, data.last_reload);
      if (seen !== now) app.refresh().catch(() => {});
      seen = now;
    },
    state(state) {
      pill.textContent = text.states[state];
      pill.className = `pill ${state}`;
      if (state === "live" && wasLost) {
        app.tell(text.back);
        app.refresh().catch(() => {});
      }
      wasLost = state !== "live";
    },
    refused: (error) => leave(error instanceof Refused && error.status === 401 ? text.login.expired : app.said(error)),
  };
}

if (token.get()) enter().catch((error) => { token.forget(); login(app.said(error)); });
else login();
