// How long a label takes until a model that learned it answers, against the goal.
import { Chart } from "./chart.js";
import { resolved } from "./colours.js";
import { body, el, setText, show } from "./dom.js";
import { ms } from "./format.js";

let chart, told;

export function freshness({ freshness: f }) {
  chart ??= start();
  show(told, f.p50_ms !== null);
  setText(told, f.p50_ms === null ? "" : `Half within ${ms(f.p50_ms)}, 99 of 100 within ${ms(f.p99_ms)}.`);
  const lines = [{ name: "now", colour: () => resolved("--accent"), points: f.points }];
  const rules = [{ at: f.goal_ms, text: `goal ${ms(f.goal_ms)}`, colour: () => resolved("--soft") }];
  chart.bounds = (_, high) => [0, Math.max(f.goal_ms, high ?? 0) * 1.18];
  chart.set(lines, rules, `Freshness over time; now ${ms(f.now_ms)}, goal ${ms(f.goal_ms)}`);
}

function start() {
  const at = body("freshness");
  told = at.appendChild(el("p", { class: "lead num" }));
  return new Chart(at, { show: ms, mark: (v) => (v < 1000 ? ms(v) : `${v / 1000}\u00a0s`), bounds: (_, high) => [0, high ?? 1], right: 44, empty: "No label has reached a snapshot that answers yet." });
}
