// Charts of the last two minutes, drawn as SVG: lines, or bars that stand on each other.

import { el, put, svg } from "./dom.js";
import { text } from "./text.js";

/** Seconds that a chart shows, and values that a series keeps. */
export const SECONDS = 120;

const HEIGHT = 100;

/** The last `SECONDS` values of something, each in the place of its second; `null` where nothing is known. */
export class Series {
  constructor(name, look) {
    Object.assign(this, { name, look, values: new Array(SECONDS).fill(null) });
  }

  /** `elapsed` whole seconds after the value before: 2 may be one and a bit, more is a gap. */
  add(value, elapsed) {
    for (let gap = 2; gap < Math.min(elapsed, SECONDS); gap++) this.values.push(null);
    this.values.push(value);
    this.values.splice(0, this.values.length - SECONDS);
  }

  get last() {
    return this.values[SECONDS - 1];
  }
}

/** A chart of `kind` "lines" or "bars"; `show` writes a value with its unit. `draw(series)` draws it again. */
export function chart(title, kind, show) {
  const picture = svg("svg", { viewBox: `0 0 ${SECONDS} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" });
  const top = el("span", { class: "top" });
  const legend = el("ul", { class: "legend" });
  const node = el("section", { class: "card chart" }, el("h2", {}, title),
    el("div", { class: "plot" }, top, picture),
    el("div", { class: "axis" }, el("span", {}, text.traffic.ago), el("span", {}, text.traffic.now)),
    legend);
  return {
    node,
    draw(series) {
      const highest = ceiling(Math.max(0, ...(kind === "bars" ? sums(series) : series.flatMap(({ values }) => values))));
      top.textContent = show(highest);
      put(picture, kind === "bars" ? bars(series, highest) : series.map((one) => line(one, highest)));
      const said = series.map(({ name, last }) => [name, last === null ? text.traffic.nothing : show(last)]);
      picture.setAttribute("aria-label", [title, ...said.map((pair) => pair.join(" "))].join(", "));
      put(legend, series.map(({ look }, index) => el("li", {},
        el("i", { class: look }), el("span", {}, said[index][0]), el("b", {}, said[index][1]))));
    },
  };
}

function sums(series) {
  return Array.from({ length: SECONDS }, (_, second) => series.reduce((sum, { values }) => sum + (values[second] ?? 0), 0));
}

/** The next of 1, 2, 5, 10, 20, … so that the scale does not jump with every value. */
function ceiling(value) {
  if (value <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value * 0.999);
}

const height = (value, highest) => HEIGHT - (value / highest) * (HEIGHT - 2) - 1;

function line({ values, look }, highest) {
  let path = "";
  values.forEach((value, second) => {
    if (value === null) return;
    const before = second > 0 && values[second - 1] !== null;
    path += `${before ? "L" : "M"}${second + 0.5} ${height(value, highest).toFixed(1)}`;
    if (!before) path += "h0.01";
  });
  return svg("path", { d: path, class: `line ${look}` });
}

function bars(series, highest) {
  const below = new Array(SECONDS).fill(0);
  return series.map(({ values, look }) => {
    let path = "";
    values.forEach((value, second) => {
      if (!value) return;
      const bottom = height(below[second], highest).toFixed(1);
      below[second] += value;
      path += `M${second} ${bottom}V${height(below[second], highest).toFixed(1)}h0.8V${bottom}z`;
    });
    return svg("path", { d: path, class: `bar ${look}` });
  });
}
