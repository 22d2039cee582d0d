// The experiment: who serves how much, and what may be said by now. The interval holds at every look.
import { armClass, armColour, resolved } from "./colours.js";
import { Chart } from "./chart.js";
import { body, byId, el, keyed, setAttr, setText, show } from "./dom.js";
import { ago, count, DASH, metricName, percent, signed, signedDecimals } from "./format.js";

let parts;
const charts = new Map();

export function experiment(state) {
  parts ??= start();
  const e = state.experiment;
  show(parts.none, !e);
  show(parts.some, e);
  setText(byId("experiment").querySelector(".head .soft"), e ? `${e.name}: ${metricName(e.goal_metric)} of each arm less that of ${e.control}, the control.` : "");
  if (!e) return;
  shares(e);
  comparisons(e);
  setText(parts.ratio, ratio(e.sample_ratio));
  parts.ratio.dataset.level = e.sample_ratio.holds === false ? "bad" : "";
  show(parts.historyHead, e.history.length);
  keyed(parts.history, [...e.history].reverse(), (c) => String(c.seq), change, (node, c) => setText(node.querySelector("time"), ago(c.when_ms, state.at_ms)));
}

function start() {
  const none = el("p", { class: "none" }, "No experiment: the spec names none, or no answer of it has met its outcome yet.");
  const bar = el("div", { class: "bar", role: "img" });
  const legend = el("ul", { class: "legend" });
  const tracks = el("div", { class: "tracks" });
  const undecided = el("p", { class: "none" }, "No answer has met its outcome yet, so nothing can be compared.");
  const ratio = el("p", { class: "ratio" });
  const historyHead = el("h3", {}, "What was changed");
  const history = el("ol", { class: "history" });
  const some = el("div", {}, bar, legend, tracks, undecided, ratio, historyHead, history);
  body("experiment").append(none, some);
  return { none, some, bar, legend, tracks, undecided, ratio, historyHead, history };
}

function shares(e) {
  const list = Object.entries(e.weights);
  setAttr(parts.bar, "aria-label", `Shares: ${list.map(([a, w]) => `${a} ${percent(w)}`).join(", ")}`);
  keyed(parts.bar, list, ([a]) => a, ([a]) => el("i", { class: armClass(a) }), (node, [, w]) => {
    show(node, w > 0);
    node.style.flexGrow = w;
  });
  keyed(parts.legend, list, ([a]) => a, ([a]) => el("li", {}, el("span", { class: armClass(a) }, a), " ", el("b", { class: "num" })), (li, [, w]) => setText(li.lastChild, percent(w)));
}

function comparisons(e) {
  show(parts.undecided, !e.comparisons.length);
  keyed(parts.tracks, e.comparisons, (c) => c.arm, make, (node, c) => {
    setText(node.querySelector(".verdict"), c.verdict);
    node.dataset.verdict = c.verdict;
    setText(node.querySelector(".words"), words(c, e));
    const line = {
      name: c.arm, end: c.verdict, colour: () => armColour(c.arm),
      points: c.series.map((p) => [p[0], p[1]]), band: c.series.map((p) => [p[0], p[2], p[3]]),
    };
    const chart = charts.get(c.arm);
    chart.bounds = () => settled(c.series);
    chart.set([line], [{ at: 0, text: "no difference", colour: () => resolved("--ink"), solid: true }], words(c, e));
  });
  for (const arm of charts.keys()) if (!e.comparisons.some((c) => c.arm === arm)) charts.delete(arm);
}

function make(c) {
  const head = el("h3", {}, el("span", { class: armClass(c.arm) }, c.arm), " ", el("strong", { class: "verdict" }));
  const node = el("article", { class: "track" }, head, el("p", { class: "words" }));
  charts.set(c.arm, new Chart(node, { height: 180, show: signed, mark: signedDecimals, bounds: () => [-1, 1], right: 74, empty: "The first interval comes with the first outcomes." }));
  return node;
}

// The first intervals are as wide as the world; the range is what the last seven eighths need, and zero.
function settled(series) {
  const late = series.slice(Math.floor(series.length / 8));
  const low = Math.min(0, ...late.map((p) => p[2]));
  const high = Math.max(0, ...late.map((p) => p[3]));
  const air = (high - low) * 0.1 || 0.01;
  return [low - air, high + air];
}

export function words(c, e) {
  if (c.estimate === null || c.low === null || c.high === null) return `${count(c.n)} outcomes: too few for an interval.`;
  const between = `${signed(c.low)} … ${signed(c.high)}`;
  const metric = metricName(e.goal_metric);
  if (c.verdict === "undecided")
    return `Undecided after ${count(c.n)} outcomes: the difference in ${metric} to ${e.control} is ${signed(c.estimate)}, and its interval ${between} still holds zero.`;
  return `${c.verdict === "better" ? "Better" : "Worse"} than ${e.control} after ${count(c.n)} outcomes: the difference in ${metric} is ${signed(c.estimate)}, and its interval ${between} leaves out zero.`;
}

function ratio({ p, holds }) {
  if (holds === null) return "Sample ratio: not known yet.";
  const told = p === null ? "" : ` (p ${p < 0.001 ? "below 0.001" : p.toFixed(3)} at every look)`;
  return holds ? `Sample ratio: each arm gets its share${told}.` : `Sample ratio: broken${told}. Arms don't get their shares, so trust no comparison until it is known why.`;
}

function change(c) {
  const what = [c.action, c.arm].filter(Boolean).join(" ");
  const weights = Object.entries(c.weights).map(([a, w]) => `${a} ${percent(w)}`).join(", ");
  return el("li", {}, el("time", { class: "soft num" }), el("span", {}, el("b", {}, what), ` by ${c.who || DASH}`, c.why ? `: ${c.why}` : "", el("span", { class: "soft num" }, weights ? ` → ${weights}` : "")));
}

