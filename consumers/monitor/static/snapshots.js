// Snapshots, the newest first: which one answers, which a gate refused, and the way back to an older one.
import { hasToken } from "./api.js";
import { confirmed, howToWrite, outcome } from "./confirm.js";
import { body, byId, el, setText, show } from "./dom.js";
import { ago, count, DASH, plural, span, value } from "./format.js";
import { Table } from "./table.js";

let parts, allowed, now_ms, serving, metric;

export function snapshots(state) {
  parts ??= start();
  allowed = state.writable && hasToken();
  now_ms = state.at_ms;
  metric = state.metric;
  serving = state.snapshots.find((s) => s.serving);
  setText(parts.how, state.snapshots.length ? howToWrite(state.writable, allowed) : "");
  show(parts.how, parts.how.textContent);
  const pinned = state.snapshots.some((s) => s.pinned);
  show(parts.pinned, pinned);
  release(parts.pinned.lastChild, pinned);
  parts.table.set(state.snapshots, (s) => s.generation);
}

function start() {
  const at = body("snapshots");
  const how = el("p", { class: "how" });
  const said = outcome();
  const pinned = el("p", { class: "how warn" }, "Servers stay on the pinned snapshot until they are released: ", el("code", {}, "headwater rollback SPEC --release"), " ", el("span"));
  at.append(how, said, pinned);
  const table = new Table(at, "Snapshots, newest first", [
    { name: "generation", num: true, fill: (cell, s) => setText(cell, count(s.generation)) },
    { name: "as of", num: true, fill: (cell, s) => setText(cell, ago(s.as_of_ms, now_ms)) },
    { name: "labels", num: true, fill: (cell, s) => setText(cell, count(s.rows)) },
    { name: "gate", fill: gate },
    { name: "quality then", fill: (cell, s) => setText(cell, quality(s)) },
    { name: "state", fill: (cell, s, tr) => {
      tr.dataset.serving = s.serving;
      setText(cell, [s.serving && "serving", s.pinned && "pinned"].filter(Boolean).join(", ") || DASH);
    } },
    { name: "", fill: (cell, s) => button(cell, s) },
  ], "No snapshot yet. The learner writes the first soon after its first label.");
  return { how, said, pinned, table };
}

// Metrics are named arm.metric: of each arm the one that is drawn first.
function quality(s) {
  const all = Object.entries(s.metrics).filter(([n]) => n.endsWith(`.${metric}`));
  return all.map(([n, v]) => `${n.slice(0, -metric.length - 1)} ${value(v)}`).join(", ") || DASH;
}

function gate(cell, s) {
  setText(cell, s.gate === "refused" ? `refused: ${s.reason ?? DASH}` : s.gate ?? DASH);
  cell.dataset.level = s.gate === "refused" ? "bad" : "";
}

function button(cell, s) {
  if (!allowed || s.serving) return cell.replaceChildren();
  if (!cell.firstChild)
    cell.append(el("button", { type: "button", "aria-label": `Roll back to generation ${s.generation}`, on: { click: () => ask(s) } }, "Roll back"));
}

function release(at, pinned) {
  if (!allowed || !pinned) return at.replaceChildren();
  if (!at.firstChild) at.append(el("button", { type: "button", on: { click: askRelease } }, "Release"));
}

function askRelease() {
  return act({
    title: "Release the servers?",
    lines: ["Every server follows the learner again: it answers with the newest snapshot that its gate lets pass, within a second or so."],
    action: "Release",
    path: "/api/rollback",
    body: { generation: null },
  });
}

function ask(s) {
  const older = serving && serving.as_of_ms - s.as_of_ms;
  const way = older === undefined ? "" : older >= 0 ? `${span(older)} older than what answers now` : `${span(-older)} newer than what answers now`;
  return act({
    title: `Send every server to generation ${count(s.generation)}?`,
    lines: [
      `It has learned ${plural(s.rows, "label")}${way && `, and is ${way}`}. ${s.gate === "refused" ? `Its gate refused it: ${s.reason ?? DASH}.` : ""}`.trim(),
      "Every server answers with it within a second or so, and stays there. Learning goes on, and nothing that was learned is lost.",
      "It ends when they are released, here or with headwater rollback SPEC --release.",
    ],
    action: "Roll back",
    path: "/api/rollback",
    body: { generation: s.generation },
  });
}

async function act(what) {
  const opener = document.activeElement;
  const said = await confirmed(what);
  if (said) setText(parts.said, said);
  (opener?.isConnected ? opener : byId("snapshots-h")).focus();
}
