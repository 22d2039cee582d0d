// Figures as people read them. Unknown is a dash; minus is a minus; nothing depends on the reader's locale but the clock's zone.

export const DASH = "–";
const NB = "\u00a0"; // a figure and its unit stay on one line
const known = (n) => typeof n === "number" && Number.isFinite(n);
const grouped = (n, digits) =>
  n.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits }).replace("-", "−");

export const count = (n) => (known(n) ? grouped(n, 0) : DASH);

// In the picture there is room for seven characters.
export function short(n) {
  if (!known(n) || Math.abs(n) < 1e6) return count(n);
  const [by, unit] = Math.abs(n) < 1e9 ? [1e6, "M"] : [1e9, "G"];
  return `${grouped(n / by, Math.abs(n / by) < 10 ? 2 : 1)}${NB}${unit}`;
}

export function rate(n) {
  if (!known(n)) return DASH;
  return `${n >= 10 || n === 0 ? short(Math.round(n)) : grouped(n, 1)}/s`;
}

export function value(n) {
  if (!known(n)) return DASH;
  const size = Math.abs(n);
  if (size >= 1000) return short(n);
  return grouped(n, size >= 100 ? 1 : size >= 10 ? 2 : 4);
}

export const decimals = (n, digits) => (known(n) ? grouped(n, digits) : DASH);
export const signedDecimals = (n, digits) => (n > 0 ? `+${decimals(n, digits)}` : n === 0 ? "0" : decimals(n, digits));
export const signed = (n) => (known(n) && n > 0 ? `+${value(n)}` : value(n));
export const percent = (n) => (known(n) ? `${grouped(100 * n, Math.abs(n) < 0.1 && n !== 0 ? 1 : 0)}${NB}%` : DASH);

export function ms(n) {
  if (!known(n)) return DASH;
  if (n === 0) return `0${NB}s`;
  if (n < 10) return `${grouped(n, n < 1 ? 2 : 1)}${NB}ms`;
  if (n < 1000) return `${grouped(n, 0)}${NB}ms`;
  if (n < 60_000) return `${grouped(n / 1000, n % 1000 === 0 ? 0 : n < 10_000 ? 2 : 1)}${NB}s`;
  return span(n);
}

// A length of time in the two largest units that say something.
export function span(n) {
  if (!known(n)) return DASH;
  const s = Math.max(0, Math.round(n / 1000));
  if (s < 60) return `${s}${NB}s`;
  if (s < 3600) return `${Math.floor(s / 60)}${NB}min ${s % 60}${NB}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}${NB}h ${Math.floor((s % 3600) / 60)}${NB}min`;
  return `${Math.floor(s / 86_400)}${NB}d ${Math.floor((s % 86_400) / 3600)}${NB}h`;
}

// In lists the largest unit is enough.
export const ago = (t, now) => (known(t) ? `${span(now - t).split(" ")[0]} ago` : DASH);

const two = (n) => String(n).padStart(2, "0");
export function clock(t) {
  if (!known(t)) return DASH;
  const d = new Date(t);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

export function bytes(n) {
  if (!known(n)) return DASH;
  return n < 1000 ? `${n}${NB}B` : n < 1e6 ? `${grouped(n / 1000, 1)}${NB}kB` : `${grouped(n / 1e6, 1)}${NB}MB`;
}

export const plural = (n, one, many = `${one}s`) => `${count(n)} ${n === 1 ? one : many}`;
// metrics have snake_case names in specs: AUC and log loss read better
export const metricName = (name) => ({ auc: "AUC" })[name] ?? name.replaceAll("_", " ");
