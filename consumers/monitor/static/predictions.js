// The last answers, and why each is what it is. While someone looks at the list, it holds still.
import { armClass } from "./colours.js";
import { body, byId, el, keyed, setAttr, setText, show } from "./dom.js";
import { ago, count, DASH, ms, percent, signed, value } from "./format.js";

const BARS_MAX = 12;
const EXPLAINED_MAX = 8; // that stay in the list when newer answers have pushed them out
let explained = [];
let parts, items, kept, chosen, now_ms;

export function predictions(state) {
  parts ??= start();
  now_ms = state.at_ms;
  const latest = withExplained(state.predictions);
  const held = items?.length && (parts.list.matches(":hover") || parts.list.contains(document.activeElement));
  if (held) {
    const known = new Set(items.map(keyOf));
    const newer = state.predictions.filter((p) => !known.has(keyOf(p))).length;
    const mine = new Map(state.predictions.map((p) => [keyOf(p), p]));
    items = items.map((p) => mine.get(keyOf(p)) ?? p); // an explanation may have come since
    setText(parts.held, newer ? `Held while you look; ${newer < state.predictions.length ? count(newer) : `at least ${count(newer)}`} newer.` : "Choose one to see why.");
  } else {
    items = latest;
    setText(parts.held, items.length ? "Choose one to see why." : "");
  }
  draw();
}

// Where answers come faster than they are explained, those that were explained would never be seen.
function withExplained(newest) {
  const known = new Set(newest.map(keyOf));
  const old = explained.filter((p) => !known.has(keyOf(p)));
  explained = [...newest.filter((p) => p.why), ...old].slice(0, EXPLAINED_MAX);
  return [...newest, ...old.slice(0, EXPLAINED_MAX)];
}

const keyOf = (p) => `${p.served_ms} ${p.arm} ${p.id}`;

function start() {
  const none = el("p", { class: "none" }, "No answer was served yet. ", el("code", {}, "headwater predict EVENT"), " asks for one.");
  const list = el("ul", { class: "answers", role: "listbox", "aria-label": "Last predictions, newest first", on: { keydown: moved } });
  const why = el("div", { class: "why", "aria-live": "off" });
  const held = byId("predictions").querySelector(".head .soft");
  const some = el("div", { class: "split" }, list, why);
  body("predictions").append(none, some);
  return { none, some, list, why, held };
}

function draw() {
  show(parts.none, !items.length);
  show(parts.some, items.length);
  if (!items.length) return;
  kept = items.find((p) => keyOf(p) === chosen) ?? (chosen && kept && keyOf(kept) === chosen ? kept : items.find((p) => p.why) ?? items[0]);
  const current = keyOf(kept);
  const inList = items.some((p) => keyOf(p) === current);
  keyed(parts.list, items, keyOf, row, (li, p) => {
    const on = keyOf(p) === current;
    setAttr(li, "aria-selected", String(on));
    li.tabIndex = on || (!inList && p === items[0]) ? 0 : -1;
    setText(li.querySelector("time"), ago(p.served_ms, now_ms));
  });
  explain(kept);
}

function row(p) {
  const fill = el("i");
  fill.style.width = `${100 * Math.min(1, Math.max(0, p.score))}%`;
  const unit = p.score >= 0 && p.score <= 1; // of a class: a share; a regression's score has no full length
  return el("li", { role: "option", on: { click: () => choose(p) } },
    el("span", { class: "id" }, p.id),
    el("span", { class: armClass(p.arm) }, p.arm),
    el("span", { class: "score num" }, unit ? el("span", { class: "meter", "aria-hidden": "true" }, fill) : null, value(p.score)),
    el("time", { class: "soft num" }));
}

function choose(p) {
  chosen = keyOf(p);
  draw();
  [...parts.list.children].find((li) => li.headwaterKey === chosen)?.focus();
}

function moved(event) {
  const last = items.length - 1;
  const at = items.findIndex((p) => keyOf(p) === keyOf(kept));
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: last }[event.key];
  if (to === undefined) return;
  event.preventDefault();
  choose(items[Math.min(last, Math.max(0, to))]);
}

let shown;
function explain(p) {
  const now = JSON.stringify(p);
  if (now === shown) return;
  shown = now;
  const fact = (name, text) => el("div", {}, el("dt", {}, name), el("dd", { class: "num" }, text));
  const facts = el("dl", { class: "facts" },
    fact("unit", p.unit || DASH), fact("propensity", percent(p.propensity)), fact("generation", count(p.generation)),
    fact("staleness", ms(p.staleness_ms)), fact("took", ms(p.latency_ms)));
  parts.why.replaceChildren(
    el("h3", {}, el("span", { class: "id" }, p.id)),
    el("p", {}, el("span", { class: armClass(p.arm) }, p.arm), " answered ", el("b", { class: "num" }, value(p.score)), "."),
    facts,
    p.why ? bars(p.why) : el("p", { class: "none" }, `Not explained: ${p.why_not ?? "nothing is known of it"}.`),
  );
}

function bars(why) {
  const all = [...why].sort((a, b) => Math.abs(b.contribution) - Math.abs(a.contribution));
  const most = Math.max(...all.map((w) => Math.abs(w.contribution)), 1e-12);
  const rest = all.slice(BARS_MAX);
  const rows = all.slice(0, BARS_MAX).map((w) => {
    const mark = el("i", { class: w.contribution < 0 ? "down" : "up" });
    mark.style.width = `${(50 * Math.abs(w.contribution)) / most}%`;
    return el("li", {}, el("span", { class: "feature" }, w.feature), el("span", { class: "track-bar", "aria-hidden": "true" }, mark), el("span", { class: "num" }, signed(w.contribution)));
  });
  if (rest.length) rows.push(el("li", { class: "soft" }, el("span", {}, `${count(rest.length)} more`), el("span"), el("span", { class: "num" }, signed(rest.reduce((s, w) => s + w.contribution, 0)))));
  return el("div", {}, el("p", { class: "soft" }, "What each feature adds to the score before the link: blue raises it, orange lowers it."), el("ul", { class: "bars" }, rows));
}
