// The admin API, on the listener that this page came from. Nothing else is ever asked.

const STORED = "keygate-admin-token";

/** What the gateway did not do, and why. */
export class Refused extends Error {
  constructor(status, { code, message, problems } = {}) {
    super(message ?? `HTTP ${status}`);
    Object.assign(this, { status, code, problems });
  }
}

/**
 * The token is kept in `sessionStorage`: for this tab, until it is closed, and over a reload of the page. A cookie would be
 * sent by the browser on its own, and `localStorage` would leave it on the disk.
 */
export const token = {
  get: () => sessionStorage.getItem(STORED),
  set: (value) => sessionStorage.setItem(STORED, value),
  forget: () => sessionStorage.removeItem(STORED),
};

export function request(path, { method = "GET", body, headers = {}, signal } = {}) {
  const sent = { Authorization: `Bearer ${token.get()}`, ...headers };
  if (body !== undefined) sent["Content-Type"] = "application/json";
  return fetch(path, {
    method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body),
    cache: "no-store", credentials: "omit", redirect: "error", signal,
  });
}

/** The answer as JSON. Throws `Refused`, or a `TypeError` if the gateway cannot be reached. */
export async function call(path, options) {
  const response = await request(path, options);
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(response.status, answer.error ?? { message: answer.problems?.join("\n") });
  return answer;
}

export const post = (path, body) => call(path, { method: "POST", body });

/** A change of the config file as it was last looked at; `etag` stands for it. */
export const change = (method, path, etag, body) => call(path, { method, body, headers: { "If-Match": etag ?? "" } });
