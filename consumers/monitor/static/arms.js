// The arms in figures: what each is, how it does at learning, and how at serving.
import { armClass } from "./colours.js";
import { body, el, setText } from "./dom.js";
import { count, DASH, metricName, percent, value } from "./format.js";
import { Table } from "./table.js";

const COUNTS = new Set(["exposures", "outcomes", "rows", "n"]);
const figure = (name, v) => (COUNTS.has(name) ? count(v) : value(v));

let table, shape;

export function arms({ arms: all }) {
  const learned = names(all, "metrics");
  const served = names(all, "served");
  const now = JSON.stringify([learned, served]);
  if (now !== shape) start(learned, served);
  shape = now;
  table.set(all, (a) => a.name);
}

const names = (all, key) => [...new Set(all.flatMap((a) => Object.keys(a[key])))];

function start(learned, served) {
  body("arms").replaceChildren();
  const column = (key, title, name) => ({ name: `${title}${metricName(name)}`, num: true, fill: (cell, a) => setText(cell, name in a[key] ? figure(name, a[key][name]) : DASH) });
  table = new Table(body("arms"), "Arms", [
    { name: "arm", fill: (cell, a) => cell.firstChild ?? cell.append(el("span", { class: armClass(a.name) }, a.name)) },
    { name: "model", fill: (cell, a) => setText(cell, a.model) },
    { name: "how", fill: (cell, a) => setText(cell, a.shadow ? `${a.runs_as}; shadow: answers, is never served` : a.runs_as) },
    { name: "share", num: true, fill: (cell, a) => setText(cell, a.shadow ? DASH : percent(a.weight)) },
    ...learned.map((n) => column("metrics", "", n)),
    ...served.map((n) => column("served", COUNTS.has(n) ? "" : "served ", n)),
  ], "The spec names no arm.");
}
