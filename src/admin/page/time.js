// Times and numbers as people of here write them.

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const when = (iso) => MOMENT.format(new Date(iso));

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });

/** The date and the time of day, for a place where they may stand below each other. */
export const dateAndTime = (iso) => [DATE, TIME].map((format) => format.format(new Date(iso)));

export const clock = (iso) => CLOCK.format(new Date(iso));

/** The same moment as an input for dates and times has it: the time of here, without its zone. */
export function dateTimeLocal(iso) {
  const moment = new Date(iso);
  return new Date(moment - moment.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

const NUMBER = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const SMALL = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 2 });

export const count = (value) => NUMBER.format(value);

/** Seconds, in the unit that leaves few digits. */
export function duration(seconds) {
  if (seconds < 0.001) return `${SMALL.format(seconds * 1e6)} µs`;
  return seconds < 1 ? `${SMALL.format(seconds * 1e3)} ms` : `${SMALL.format(seconds)} s`;
}
