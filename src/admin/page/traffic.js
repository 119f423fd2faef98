// Traffic: what passes now, what is refused, how long it takes, and how the peers do.

import { Series, chart } from "./chart.js";
import { el } from "./dom.js";
import { upstreams } from "./peers.js";
import { text } from "./text.js";
import { count, duration } from "./time.js";

const said = text.traffic;

/** By class of status, in the order in which they stand on each other. */
const STATUSES = { "2xx": "good", "3xx": "other", "4xx": "warn", "5xx": "bad", none: "c4" };

const COLOURS = ["c1", "c2", "c3", "c4", "c5"];

/** Causes or upstreams with a colour of their own; the rest have one together. */
const MOST_NAMED = COLOURS.length;

export function create(app) {
  const charts = [requests(), denials(), inFlight(), ownTime(), firstByte()];
  const tiles = numbers();
  const peers = upstreams(app);
  let before = null;
  return {
    node: el("div", { class: "view" }, tiles.node,
      el("div", { class: "charts" }, charts.map(({ node }) => node)), peers.node),
    live(data) {
      if (before && before.started !== data.started) before = null;
      const elapsed = before ? Math.max(1, Math.round((Date.parse(data.at) - Date.parse(before.at)) / 1000)) : 1;
      // Counters grow from the start of the process: the first event tells none of their rates.
      const rate = (read) => (before ? Math.max(0, read(data) - (read(before) ?? 0)) / elapsed : null);
      for (const one of charts) one.live(data, rate, elapsed);
      tiles.live(data, rate);
      peers.live(data);
      before = data;
    },
  };
}

function numbers() {
  const shown = Object.keys(said.tiles).map((name) => [name, el("dd", {}, said.nothing)]);
  const cells = Object.fromEntries(shown);
  return {
    node: el("dl", { class: "tiles" }, shown.map(([name, cell]) => el("div", { class: "card" }, el("dt", {}, said.tiles[name]), cell))),
    live(data, rate) {
      const perSecond = rate(({ requests: all }) => all);
      cells.requests.textContent = perSecond === null ? said.nothing : count(perSecond);
      cells.inFlight.textContent = count(data.in_flight);
      cells.connections.textContent = count(data.connections);
      cells.denied.textContent = count(Object.values(data.denials).reduce((sum, one) => sum + one, 0));
      cells.mode.textContent = data.effective_mode;
    },
  };
}

function requests() {
  const drawn = chart(said.requests, "bars", count);
  const series = Object.entries(STATUSES).map(([name, look]) => new Series(said.statuses[name], look));
  const names = Object.keys(STATUSES);
  return {
    node: drawn.node,
    live(_, rate, elapsed) {
      series.forEach((one, index) => one.add(rate(({ by_status }) => by_status[names[index]]), elapsed));
      drawn.draw(series);
    },
  };
}

function denials() {
  const drawn = chart(said.denials, "bars", count);
  const series = new Map();
  return {
    node: drawn.node,
    live(data, rate, elapsed) {
      for (const [code, total] of Object.entries(data.denials)) {
        if (total > 0 && !series.has(code) && series.size < MOST_NAMED) series.set(code, new Series(code, COLOURS[series.size]));
      }
      for (const [code, one] of series) one.add(rate((event) => event.denials[code]), elapsed);
      drawn.draw([...series.values()]);
    },
  };
}

function inFlight() {
  const drawn = chart(said.inFlight, "lines", count);
  const series = [new Series(said.tiles.inFlight, "c1"), new Series(said.tiles.connections, "c2")];
  return {
    node: drawn.node,
    live(data, _, elapsed) {
      series[0].add(data.in_flight, elapsed);
      series[1].add(data.connections, elapsed);
      drawn.draw(series);
    },
  };
}

function ownTime() {
  const drawn = chart(said.ownTime, "lines", duration);
  const series = [new Series(said.half, "c1"), new Series(said.nearlyAll, "c2 dashed")];
  return {
    node: drawn.node,
    live({ own_time }, _, elapsed) {
      series[0].add(own_time.p50_seconds, elapsed);
      series[1].add(own_time.p99_seconds, elapsed);
      drawn.draw(series);
    },
  };
}

function firstByte() {
  const drawn = chart(said.firstByte, "lines", duration);
  const series = new Map();
  return {
    node: drawn.node,
    live(data, _, elapsed) {
      for (const { name, first_byte } of data.upstreams) {
        if (!series.has(name) && series.size < MOST_NAMED) {
          const colour = COLOURS[series.size];
          series.set(name, [new Series(`${name} ${said.half}`, colour), new Series(`${name} ${said.nearlyAll}`, `${colour} dashed`)]);
        }
        const [half, nearlyAll] = series.get(name) ?? [];
        half?.add(first_byte.p50_seconds, elapsed);
        nearlyAll?.add(first_byte.p99_seconds, elapsed);
      }
      drawn.draw([...series.values()].flat());
    },
  };
}
