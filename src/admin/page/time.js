// Times as people of here write them.

const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

export const when = (iso) => MOMENT.format(new Date(iso));

export const clock = (iso) => CLOCK.format(new Date(iso));
