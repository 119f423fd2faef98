// The stream of events. `EventSource` cannot send the token as a header, so the stream is read with `fetch`.

import { Refused, request } from "./api.js";

/** Between two attempts; the gateway asks for as much. */
const RETRY_MS = 1000;

/** An event comes every second; without any for this long the gateway is lost. */
const SILENCE_MS = 5000;

/** Until somebody looks; at once where somebody does. */
function looked() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => document.addEventListener("visibilitychange", resolve, { once: true }));
}

/**
 * Follows the events while somebody looks, until `stop()`. `on.event(name, data)` for each, `on.state("live" | "lost" | "full")` when that changes,
 * `on.refused(error)` if the gateway answers and will not (then it has stopped). A hidden tab lets go of its connection: a
 * browser has six for one host, and the seventh tab would wait for ever. What was missed comes with the last id.
 */
export function follow(on) {
  let stopped = false;
  let lastId = "";
  let state = "";
  let letGo = false;
  let abort = new AbortController();
  const become = (now) => { if (!stopped && now !== state) on.state((state = now)); };

  async function once() {
    abort = new AbortController();
    const close = () => { letGo = document.hidden; abort.abort(); };
    document.addEventListener("visibilitychange", close, { signal: abort.signal });
    let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
    try {
      const headers = lastId ? { "Last-Event-ID": lastId } : {};
      const response = await request("/api/events", { headers, signal: abort.signal });
      if (!response.ok) throw new Refused(response.status, (await response.json().catch(() => ({}))).error);
      await read(response.body, ({ event, id, data }) => {
        clearTimeout(watchdog);
        watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
        lastId = id ?? lastId;
        become("live");
        if (event && !stopped) on.event(event, data);
      });
    } finally {
      clearTimeout(watchdog);
      abort.abort();
    }
  }

  async function run() {
    let after = "lost";
    for (;;) {
      await looked();
      if (stopped) return;
      letGo = false;
      after = "lost";
      try {
        await once();
      } catch (error) {
        if ([401, 403].includes(error.status) && !stopped) {
          stopped = true;
          on.refused(error);
          return;
        }
        if (error.code === "streams_full") after = "full";
      }
      if (letGo || stopped) continue;
      become(after);
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  run();
  return () => { stopped = true; abort.abort(); };
}

/** Events end with an empty line (the HTML standard, "Server-sent events"); the gateway sends `event`, `id`, `data`. */
async function read(body, tell) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (text + value).split("\n\n");
    text = blocks.pop();
    for (const block of blocks) tell(parse(block));
  }
}

function parse(block) {
  const found = {};
  for (const line of block.split("\n")) {
    const colon = line.indexOf(": ");
    found[line.slice(0, colon)] = line.slice(colon + 2);
  }
  return { event: found.event, id: found.id, data: found.data && JSON.parse(found.data) };
}
