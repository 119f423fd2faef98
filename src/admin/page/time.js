// Times and numbers as people of here write them.

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const when = (iso) => MOMENT.format(new Date(iso));

export const clock = (iso) => CLOCK.format(new Date(iso));

const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const SMALL = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });

export const count = (value) => NUMBER.format(value);

/** Seconds, in the unit that leaves few digits. */
export function duration(seconds) {
  if (seconds < 0.001) return `${SMALL.format(seconds * 1e6)} µs`;
  return seconds < 1 ? `${SMALL.format(seconds * 1e3)} ms` : `${SMALL.format(seconds)} s`;
}
