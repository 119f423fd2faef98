// The upstreams and their peers: how each does, and a switch to drain it.

import { button, card, el, put, table, tableRow } from "./dom.js";
import { text } from "./text.js";
import { count } from "./time.js";

const said = text.peers;

export function upstreams(app) {
  const rows = new Map();
  const body = el("tbody", { role: "rowgroup" });
  const node = card(said.title, table(said.title, said.columns, body));
  return {
    node,
    live({ upstreams: all }) {
      const peers = all.flatMap(({ name, peers }) => peers.map((peer) => [`${name} ${peer.address}`, name, peer]));
      const known = peers.length === rows.size && peers.every(([id]) => rows.has(id));
      if (!known) {
        rows.clear();
        for (const [id, upstream, peer] of peers) rows.set(id, row(app, upstream, peer.address));
        put(body, [...rows.values()].map(({ node }) => node));
      }
      // Cells are changed and not replaced, so that whoever stands on a button keeps it.
      for (const [id, , peer] of peers) rows.get(id).show(peer);
    },
  };
}

function row(app, upstream, address) {
  let drained = false;
  const state = el("span", { class: "tag" });
  const inFlight = el("span", {});
  const weight = el("span", {});
  const path = `/api/upstreams/${encodeURIComponent(upstream)}/peers/${encodeURIComponent(address)}`;
  const drain = button(said.drain, () => app.attempt(() => app.change("PATCH", path, { drain: !drained })));
  return {
    node: tableRow(said.columns, upstream, [el("code", {}, address), state, inFlight, weight, drain]),
    show(peer) {
      drained = peer.drain;
      const { look, words } = standing(peer);
      state.className = `tag ${look}`;
      state.textContent = words;
      inFlight.textContent = count(peer.addresses.reduce((sum, one) => sum + one.in_flight, 0));
      weight.textContent = peer.weight;
      drain.textContent = drained ? said.use : said.drain;
      drain.setAttribute("aria-label", `${drain.textContent} ${address}`);
      drain.disabled = Boolean(app.config?.not_editable);
    },
  };
}

/** How a peer does, in a word or a few. */
function standing({ drain, addresses }) {
  const healthy = addresses.filter((one) => one.healthy).length;
  const ejected = addresses.find((one) => one.ejected_seconds !== null);
  if (drain) return { look: "warn", words: said.drained };
  if (addresses.length === 0) return { look: "bad", words: said.unresolved };
  if (healthy === addresses.length) return { look: "good", words: said.healthy };
  if (healthy > 0) return { look: "warn", words: said.some(healthy, addresses.length) };
  if (ejected) return { look: "bad", words: said.ejected(Math.ceil(ejected.ejected_seconds)) };
  return { look: "bad", words: said.down };
}
