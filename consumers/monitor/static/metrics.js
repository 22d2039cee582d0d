// Progressive quality by arm over time, one metric at a time.
import { Chart, airy } from "./chart.js";
import { armColour, armDash } from "./colours.js";
import { body, el, show } from "./dom.js";
import { decimals, metricName, value } from "./format.js";
import { radio } from "./radio.js";

let chart, group, chosen, last;

export function metrics(state) {
  last = state;
  chart ??= start();
  const names = [...new Set(state.arms.flatMap((a) => Object.keys(a.series)))];
  if (!names.includes(chosen)) chosen = names.includes(state.metric) ? state.metric : names[0];
  show(group, names.length > 1);
  radio(group, names.map((key) => ({ key, text: metricName(key) })), chosen, (key) => {
    chosen = key;
    metrics(last);
  });
  const lines = state.arms.map((a) => ({
    name: a.name, colour: () => armColour(a.name), dash: armDash(a.name), points: a.series[chosen] ?? [],
  }));
  const ends = lines.filter((l) => l.points.length).map((l) => `${l.name} ${value(l.points.at(-1)[1])}`);
  chart.set(lines, [], `${metricName(chosen ?? state.metric)} by arm over time; now: ${ends.join(", ")}`);
}

function start() {
  const at = body("metrics");
  group = el("div", { class: "choice", role: "radiogroup", "aria-label": "Metric" });
  at.append(group);
  return new Chart(at, { show: value, mark: decimals, bounds: airy(0.001), right: 96, empty: "No window of labels is complete yet. The first comes after the first labels met their events." });
}
