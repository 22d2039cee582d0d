// Refused records: how many for which reason, the newest in full, and the way back.
import { hasToken } from "./api.js";
import { confirmed, howToWrite, outcome } from "./confirm.js";
import { body, byId, el, keyed, setText, show } from "./dom.js";
import { ago, bytes, count, plural } from "./format.js";
import { Table } from "./table.js";

let parts, allowed, now_ms, prefix;

export function rejected(state) {
  parts ??= start();
  allowed = state.writable && hasToken();
  now_ms = state.at_ms;
  prefix = `${state.pipeline}.`;
  const { by_code, latest, total } = state.dead;
  setText(parts.how, total ? howToWrite(state.writable, allowed) : "");
  show(parts.how, parts.how.textContent);
  const codes = Object.entries(by_code).sort((a, b) => b[1] - a[1]);
  const most = Math.max(1, ...codes.map(([, n]) => n));
  show(parts.codes, codes.length);
  keyed(parts.codes, codes, ([c]) => c, code, (li, [c, n]) => {
    setText(li.querySelector("b"), count(n));
    li.querySelector("i").style.width = `${(100 * n) / most}%`;
    button(li.lastChild, "Replay all", `Replay all with ${c}`, () => replayCode(c, li.headwaterCount));
    li.headwaterCount = n;
  });
  setText(parts.more, total > latest.length && latest.length ? `The newest ${count(latest.length)} of ${count(total)}:` : "");
  show(parts.more, parts.more.textContent);
  parts.table.set(latest, (d) => `${d.partition} ${d.offset}`);
}

function start() {
  const at = body("rejected");
  const how = el("p", { class: "how" });
  const said = outcome();
  const codes = el("ul", { class: "codes", "aria-label": "By reason" });
  const more = el("p", { class: "soft" });
  const held = el("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "The newest rejected records" });
  at.append(how, said, codes, more, held);
  const table = new Table(held, "Rejected records, newest first", [
    { name: "when", num: true, fill: (cell, d) => setText(cell, ago(d.at_ms, now_ms)) },
    { name: "reason", fill: (cell, d) => cell.firstChild ?? cell.append(el("code", {}, d.code)) },
    { name: "step", fill: (cell, d) => setText(cell, d.step) },
    { name: "what was found", fill: (cell, d) => setText(cell, d.detail) },
    { name: "from", fill: (cell, d) => setText(cell, from(d)) },
    { name: "size", num: true, fill: (cell, d) => setText(cell, bytes(d.bytes)) },
    { name: "", fill: (cell, d) => button(place(cell), "Replay", `Replay ${from(d)}`, () => replayOne(d), d.bytes > 0) },
  ], "Nothing was rejected.");
  return { how, said, codes, more, table };
}

// Topics are named after the pipeline, which the page's head says.
const from = (d) => `${d.topic.startsWith(prefix) ? d.topic.slice(prefix.length) : d.topic} ${d.source_partition}@${d.source_offset}`;
const place = (cell) => cell.firstChild ?? cell.appendChild(el("span"));
const code = ([c]) => el("li", {}, el("code", {}, c), el("span", { class: "meter", "aria-hidden": "true" }, el("i")), el("b", { class: "num" }), el("span"));

// Buttons come and go with the right to press them; one that stays keeps its focus.
function button(at, text, label, press, can = true) {
  if (!allowed || !can) return at.replaceChildren();
  if (!at.firstChild) at.append(el("button", { type: "button", "aria-label": label, on: { click: press } }, text));
}

function replayOne(d) {
  return ask({
    title: "Replay this record?",
    lines: [
      `It goes back to ${d.topic} as it was (${bytes(d.bytes)}), and the steps take it like a new one.`,
      `If its cause (${d.code}) is not mended it is refused again, with a new line here.`,
    ],
    body: { positions: [{ partition: d.partition, offset: d.offset }] },
  });
}

function replayCode(code, n) {
  return ask({
    title: `Replay all with ${code}?`,
    lines: [
      `${plural(n, "record")} go back to where they came from as they were. What was sent again before is not sent twice.`,
      "Those whose cause is not mended are refused again, with new lines here.",
    ],
    body: { code },
  });
}

async function ask(what) {
  const opener = document.activeElement;
  const said = await confirmed({ action: "Replay", path: "/api/replay", ...what });
  if (said) setText(parts.said, said);
  (opener?.isConnected ? opener : byId("rejected-h")).focus();
}
