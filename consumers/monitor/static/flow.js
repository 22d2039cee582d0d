// The pipeline as a picture, with the same in a table for those who listen.
import { body, el, keyed, setAttr, setText, svg } from "./dom.js";
import { count, plural, rate, short } from "./format.js";
import { EDGES, TOPICS, layout, path } from "./flow_layout.js";

const TRAVEL_MS = 800;
const still = matchMedia("(prefers-reduced-motion: reduce)");
const TELLS = { running: "", stalled: "stalled", absent: "not running" };

let host, picture, table, drawn, before;

export function flow(state) {
  host ??= start();
  const width = Math.max(280, Math.floor(host.clientWidth));
  const nodes = nodesOf(state.flow);
  const shape = `${width} ${[...nodes.keys()]}`;
  if (!drawn || drawn.shape !== shape) draw(shape, width, nodes);
  for (const [name, node] of nodes) paint(drawn.nodes.get(name), node);
  for (const edge of drawn.edges) weigh(edge, nodes);
  if (before !== undefined && before !== state.at_ms) pulse();
  before = state.at_ms;
  listen(state.flow);
}

function start() {
  const at = body("flow");
  picture = svg("svg", { class: "flow", role: "img", "aria-label": "Topics and steps of the pipeline; the table after it says the same" });
  table = el("tbody");
  const head = ["", "reads", "writes", "records a second", "still to read", "state"].map((t) => el("th", { scope: "col" }, t));
  at.append(picture, el("div", { class: "unseen" }, el("table", {}, el("caption", {}, "Steps"), el("thead", {}, el("tr", {}, head)), table)));
  return at;
}

function nodesOf({ topics, steps }) {
  const nodes = new Map();
  for (const t of TOPICS) nodes.set(t, { kind: "topic", name: t, records: null, per_s: null });
  for (const t of topics) if (nodes.has(t.name)) nodes.set(t.name, { kind: "topic", ...t });
  for (const s of steps) nodes.set(s.name, { kind: "step", ...s });
  return nodes;
}

function draw(shape, width, nodes) {
  const { boxes, narrow, height } = layout(width);
  picture.replaceChildren();
  picture.classList.toggle("narrow", narrow);
  setAttr(picture, "viewBox", `0 0 ${width} ${height}`);
  setAttr(picture, "width", width);
  setAttr(picture, "height", height);
  drawn = { shape, nodes: new Map(), edges: [] };
  const ways = svg("g", { class: "ways" });
  const moving = svg("g", { class: "moving" });
  const places = svg("g");
  for (const [from, to] of EDGES) {
    const d = nodes.has(from) && nodes.has(to) && path(boxes[from], boxes[to], narrow);
    if (!d) continue;
    const line = svg("path", { d, class: "way" });
    const dot = svg("circle", { r: 3.5, class: "pulse", opacity: 0 });
    dot.style.offsetPath = `path("${d}")`;
    ways.append(line, arrow(d));
    moving.append(dot);
    drawn.edges.push({ from, to, line, dot });
  }
  for (const [name, node] of nodes) {
    if (!boxes[name]) continue;
    const made = box(boxes[name], node);
    drawn.nodes.set(name, made);
    places.append(made.g);
  }
  picture.append(ways, moving, places);
}

function arrow(d) {
  const [x, y] = d.match(/(-?[\d.]+),(-?[\d.]+)$/).slice(1).map(Number);
  const [px, py] = [...d.matchAll(/(-?[\d.]+),(-?[\d.]+)/g)].at(-2).slice(1).map(Number);
  const turn = (Math.atan2(y - py, x - px) * 180) / Math.PI;
  return svg("path", { class: "tip", d: "M4,0 L-2.5,-3.5 L-2.5,3.5 Z", transform: `translate(${x},${y}) rotate(${turn})` });
}

function box({ x, y, w, h }, node) {
  const text = (dy, cls) => svg("text", { x: x + w / 2, y: y + dy, class: cls, "text-anchor": "middle" });
  const [name, one, two] = [text(20, "name"), text(38, "one"), text(54, "two")];
  name.textContent = node.name;
  const g = svg("g", { class: `node ${node.kind}`, "data-name": node.name });
  g.append(svg("rect", { x, y, width: w, height: h, rx: node.kind === "topic" ? 26 : 4 }), name, one, two);
  return { g, one, two };
}

function paint(made, node) {
  if (!made) return;
  if (node.kind === "topic") {
    setText(made.one, short(node.records));
    setText(made.two, rate(node.per_s));
    return;
  }
  setAttr(made.g, "data-state", node.state);
  made.g.classList.toggle("behind", (node.lag ?? 0) > 0);
  setText(made.one, node.state === "running" ? rate(node.per_s) : TELLS[node.state]);
  setText(made.two, node.lag === null ? (node.state === "running" ? "" : "–") : `lag ${short(node.lag)}`);
}

// What flows on a way: what its step reads or writes, told by the slower side that knows.
function weigh(edge, nodes) {
  const known = [nodes.get(edge.from), nodes.get(edge.to)].map((n) => n?.per_s).filter((r) => typeof r === "number");
  edge.per_s = known.length ? Math.min(...known) : 0;
  edge.line.style.strokeWidth = (1 + Math.min(2.5, 0.7 * Math.log10(1 + edge.per_s))).toFixed(2);
  edge.line.classList.toggle("quiet", edge.per_s <= 0);
}

function pulse() {
  if (still.matches || document.hidden || picture.closest(".stale")) return;
  for (const { dot, per_s } of drawn.edges) {
    if (per_s <= 0) continue;
    dot.animate(
      [{ offsetDistance: "0%", opacity: 0 }, { opacity: 1, offset: 0.2 }, { opacity: 1, offset: 0.8 }, { offsetDistance: "100%", opacity: 0 }],
      { duration: TRAVEL_MS, easing: "ease-in-out" },
    );
  }
}

function listen({ steps, topics }) {
  const rows = [...topics.map((t) => [t.name, "", "", rate(t.per_s), "", plural(t.records, "record")]),
    ...steps.map((s) => [s.name, s.from.join(", "), s.to.join(", "), rate(s.per_s), count(s.lag), TELLS[s.state] || "running"])];
  keyed(table, rows, (r) => r[0], (r) => el("tr", {}, el("th", { scope: "row" }, r[0]), r.slice(1).map(() => el("td"))),
    (tr, r) => [...tr.cells].forEach((cell, i) => setText(cell, r[i])));
}

addEventListener("resize", () => (drawn = null));
