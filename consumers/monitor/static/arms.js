// The arms in figures: what each is, how it does at learning, and below that at serving.
import { armClass } from "./colours.js";
import { body, el, setText } from "./dom.js";
import { count, DASH, metricName, percent, value } from "./format.js";
import { Table } from "./table.js";

const COUNTS = ["exposures", "outcomes"];
let table, shape;

// Of all figures those that are drawn over time: the others would make the table wider than a page.
export function arms({ arms: all, metric }) {
  const drawn = [...new Set(all.flatMap((a) => Object.keys(a.series)))];
  const names = drawn.length ? drawn : [metric];
  const now = names.join();
  if (now !== shape) start(names);
  shape = now;
  table.set(all, (a) => a.name);
}

function start(names) {
  body("arms").replaceChildren();
  table = new Table(body("arms"), "Arms", [
    { name: "arm", fill: (cell, a) => cell.firstChild ?? cell.append(el("span", { class: armClass(a.name) }, a.name)) },
    { name: "model", fill: (cell, a) => setText(cell, a.model) },
    { name: "how", fill: (cell, a) => setText(cell, a.shadow ? `${a.runs_as}; shadow: answers, is never served` : a.runs_as) },
    { name: "share", num: true, fill: (cell, a) => setText(cell, a.shadow ? DASH : percent(a.weight)) },
    ...COUNTS.map((n) => ({ name: n, num: true, fill: (cell, a) => setText(cell, count(a.served[n])) })),
    ...names.map((n) => ({ name: metricName(n), num: true, fill: (cell, a) => both(cell, a.metrics[n], a.served[n]) })),
  ], "The spec names no arm.");
}

function both(cell, learned, served) {
  if (!cell.firstChild) cell.append(el("span", {}, el("span"), el("small", { class: "soft" })));
  const [top, below] = cell.firstChild.children;
  setText(top, value(learned));
  setText(below, served === undefined ? "" : `served ${value(served)}`);
}
