// Where every record went: equations that hold, or by how much they don't.
import { body, el, setText } from "./dom.js";
import { count } from "./format.js";
import { Table } from "./table.js";

let table;

export function accounts({ counts }) {
  table ??= new Table(body("accounts"), "Accounts", [
    { name: "what must hold", fill: (cell, s) => setText(cell, s.what) },
    { name: "left", num: true, fill: (cell, s) => setText(cell, count(s.left)) },
    { name: "right", num: true, fill: (cell, s) => setText(cell, count(s.right)) },
    { name: "", fill: (cell, s) => {
      const by = s.left - s.right;
      cell.dataset.level = by ? "warn" : "good";
      setText(cell, by ? `${count(Math.abs(by))} under way` : "✓ equal");
    } },
  ], "Nothing was counted yet.");
  table.set(counts.sums, (s) => s.what);
}
