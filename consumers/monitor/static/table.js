// A table that becomes a list of cards where the page is narrow. Roles are written out: the narrow form would lose them.
import { el, keyed } from "./dom.js";

export class Table {
  // columns: [{name, num, fill(cell, item)}]; a cell is filled again each second and keeps what hasn't changed
  constructor(host, caption, columns, empty) {
    this.columns = columns;
    const head = columns.map((c) => el("th", { scope: "col", role: "columnheader", class: c.num ? "num" : null }, c.name));
    this.rows = el("tbody", { role: "rowgroup" });
    this.node = el("table", { class: "cards", role: "table" }, el("caption", { class: "unseen" }, caption), el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, head)), this.rows);
    this.none = el("p", { class: "none" }, empty);
    host.append(el("div", { class: "wide" }, this.node), this.none);
  }

  set(items, keyOf) {
    this.node.parentNode.hidden = !items.length;
    this.none.hidden = items.length > 0;
    keyed(this.rows, items, keyOf, () => this.row(), (tr, item) => this.columns.forEach((c, i) => c.fill(tr.cells[i], item, tr)));
  }

  row() {
    const cells = this.columns.map((c, i) =>
      el(i ? "td" : "th", { role: i ? "cell" : "rowheader", scope: i ? null : "row", class: c.num ? "num" : null, "data-label": c.name }));
    return el("tr", { role: "row" }, cells);
  }
}
