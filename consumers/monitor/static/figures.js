// At a glance: five figures that say whether all is well.
import { byId, el, keyed, setText } from "./dom.js";
import { ago, count, DASH, decimals, metricName, ms, percent, rate, value } from "./format.js";

export function figures(state) {
  const cells = [events(state), freshness(state), quality(state), rejected(state), serving(state)];
  keyed(byId("figures"), cells, (c) => c.name, make, (node, c) => {
    node.dataset.level = c.level ?? "";
    setText(node.querySelector(".big"), c.big);
    setText(node.querySelector(".soft"), c.small);
  });
}

const make = (c) => el("div", { class: "figure" }, el("dt", {}, c.name), el("dd", { class: "big num" }), el("dd", { class: "soft num" }));
const rough = (n) => (Math.abs(n) < 10 ? decimals(n, 3) : value(n));

function events(state) {
  const topic = state.flow.topics.find((t) => t.name === "events");
  return { name: "Events", big: count(topic?.records), small: topic ? `${rate(topic.per_s)} now` : "not known yet" };
}

function freshness({ freshness: f }) {
  const over = f.p99_ms !== null && f.p99_ms > f.goal_ms;
  const small = f.p99_ms === null ? `goal ${ms(f.goal_ms)}` : `99 % within ${ms(f.p99_ms)}, goal ${ms(f.goal_ms)}`;
  return { name: "Freshness", big: ms(f.now_ms), small, level: over ? "warn" : "" };
}

function quality({ arms, metric }) {
  const known = arms.filter((a) => a.metrics[metric] !== undefined);
  if (!known.length) return { name: metricName(metric), big: DASH, small: "no label learned yet" };
  const values = known.map((a) => a.metrics[metric]).sort((a, b) => a - b);
  const ends = [...new Set([values[0], values.at(-1)].map(rough))];
  return { name: metricName(metric), big: ends.join(" – "), small: known.map((a) => `${a.name} ${rough(a.metrics[metric])}`).join(", ") };
}

function rejected(state) {
  const all = state.flow.topics.find((t) => t.name === "events")?.records;
  const small = all ? `${percent(state.dead.total / all)} of the events` : "nothing to reject yet";
  return { name: "Rejected", big: count(state.dead.total), small };
}

function serving(state) {
  const now = state.snapshots.find((s) => s.serving);
  if (!now) return { name: "Serving", big: DASH, small: state.snapshots.length ? "not known yet" : "no snapshot yet" };
  const small = now.pinned ? `pinned, ${ago(now.as_of_ms, state.at_ms)}` : `as of ${ago(now.as_of_ms, state.at_ms)}`;
  return { name: "Serving", big: `№ ${count(now.generation)}`, small, level: now.pinned ? "warn" : "" };
}
