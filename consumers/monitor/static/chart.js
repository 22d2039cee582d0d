// Lines over time: a label at each line's end instead of a legend, a crosshair with its values above, arrows move it.
import { faded, onColours, resolved } from "./colours.js";
import { el, setAttr, setText } from "./dom.js";
import { clock } from "./format.js";

const FONT = '11px system-ui, "Segoe UI", Roboto, sans-serif';
const LABEL_FONT = '600 12px system-ui, "Segoe UI", Roboto, sans-serif';
const LABEL_GAP = 15;
const [S, MIN, H] = [1000, 60_000, 3_600_000];
const STEPS_MS = [S, 2 * S, 5 * S, 10 * S, 15 * S, 30 * S, MIN, 2 * MIN, 5 * MIN, 10 * MIN, 15 * MIN, 30 * MIN, H, 2 * H, 6 * H, 12 * H, 24 * H, 96 * H];

export class Chart {
  // show: value → text. mark: value and decimals → text of an axis. bounds: (min, max of the data) → [low, high].
  constructor(host, { height = 220, show, mark = show, bounds, right = 84, empty }) {
    Object.assign(this, { show, mark, bounds, right, height, at: null });
    this.readout = el("p", { class: "readout soft num" });
    this.plot = el("div", { class: "plot", role: "img", tabindex: "0", on: { keydown: (e) => this.key(e) } });
    this.none = el("p", { class: "none" }, empty);
    host.append(this.readout, this.plot, this.none);
    new ResizeObserver(() => this.fit()).observe(this.plot);
    onColours(() => this.build());
  }

  // lines: [{name, colour: () => css, dash, points: [[t, v]…], band: [[t, low, high]…] | null}]; rules: [{at, text, colour}]
  set(lines, rules, told) {
    this.lines = lines.filter((l) => l.points.length);
    this.rules = rules;
    const drawn = this.lines.length > 0;
    this.none.hidden = drawn;
    this.plot.hidden = this.readout.hidden = !drawn;
    if (!drawn) return this.drop();
    setAttr(this.plot, "aria-label", told);
    this.data = aligned(this.lines);
    const shape = JSON.stringify(this.lines.map((l) => [l.name, Boolean(l.band)]));
    if (!this.u || shape !== this.shape) this.build(shape);
    else this.u.setData(this.data);
    this.read();
  }

  drop() {
    this.u?.destroy();
    this.u = this.shape = null;
  }

  build(shape = this.shape) {
    if (!this.data || !this.lines?.length) return;
    this.drop();
    this.shape = shape;
    const soft = resolved("--soft");
    const axis = { stroke: soft, font: FONT, ticks: { stroke: resolved("--line"), width: 1, size: 4 }, grid: { stroke: resolved("--line"), width: 1 } };
    const series = [{}];
    const bands = [];
    for (const line of this.lines) {
      series.push({ label: line.name, stroke: line.colour(), width: 2, dash: line.dash, spanGaps: true, points: { show: false } });
      if (!line.band) continue;
      const edge = { stroke: faded(line.colour(), 0.45), width: 1, spanGaps: true, points: { show: false } };
      series.push(edge, edge);
      bands.push({ series: [series.length - 1, series.length - 2], fill: faded(line.colour(), 0.14) });
    }
    this.u = new uPlot(
      {
        ms: 1,
        width: this.plot.clientWidth || 600,
        height: this.height,
        padding: [10, this.right, 0, 0],
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 7 } },
        scales: { x: { time: true }, y: { range: (_, low, high) => this.bounds(low, high) } },
        axes: [
          { ...axis, size: 30, incrs: STEPS_MS, values: (_, ts) => ts.map((t) => clock(t)), space: 68, grid: { show: false } },
          { ...axis, size: 58, values: (_, vs, __, ___, step) => vs.map((v) => this.mark(v, digitsOf(step))), space: 34, ticks: { show: false } },
        ],
        series,
        bands,
        hooks: { draw: [(u) => this.label(u)], setCursor: [(u) => this.point(u)] },
      },
      this.data,
      this.plot,
    );
  }

  fit() {
    const width = this.plot.clientWidth;
    if (this.u && width && width !== this.u.width) this.u.setSize({ width, height: this.height });
  }

  index(line) {
    let i = 1;
    for (const l of this.lines) {
      if (l === line) return i;
      i += l.band ? 3 : 1;
    }
    return i;
  }

  label(u) {
    const { ctx } = u;
    const k = devicePixelRatio;
    ctx.save();
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    const ends = this.lines.map((line) => {
      const [t, v] = line.points.at(-1);
      return { text: line.end ?? line.name, colour: line.colour(), y: u.valToPos(v, "y", true), x: u.valToPos(t, "x", true) };
    });
    const gap = LABEL_GAP * k;
    ends.sort((a, b) => a.y - b.y);
    const { top, height, left, width } = u.bbox;
    let floor = top + gap / 2;
    for (const e of ends) floor = (e.to = Math.max(e.y, floor)) + gap;
    let ceiling = top + height - gap / 2;
    for (const e of [...ends].reverse()) ceiling = (e.to = Math.min(e.to, ceiling)) - gap;
    for (const rule of this.rules ?? []) this.rule(u, rule, k);
    ctx.font = scaled(LABEL_FONT, k);
    for (const e of ends) {
      ctx.fillStyle = ctx.strokeStyle = e.colour;
      ctx.beginPath();
      ctx.arc(Math.min(e.x, left + width), e.y, 3 * k, 0, 7);
      ctx.fill();
      ctx.fillText(e.text, left + width + 9 * k, e.to, (this.right - 12) * k);
    }
    ctx.restore();
  }

  rule(u, { at, text, colour, solid }, k) {
    const y = Math.round(u.valToPos(at, "y", true)) + 0.5;
    const { left, width, top, height } = u.bbox;
    if (y < top || y > top + height) return;
    const { ctx } = u;
    ctx.strokeStyle = ctx.fillStyle = colour();
    ctx.lineWidth = k;
    ctx.setLineDash(solid ? [] : [5 * k, 4 * k]);
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.font = scaled(FONT, k);
    if (!text) return;
    ctx.strokeStyle = resolved("--bg"); // a halo: lines may pass behind the words
    ctx.lineWidth = 4 * k;
    ctx.lineJoin = "round";
    ctx.strokeText(text, left + 6 * k, y - 9 * k);
    ctx.fillText(text, left + 6 * k, y - 9 * k);
  }

  point(u) {
    this.at = u.cursor.idx ?? null;
    this.read();
  }

  read() {
    const last = this.data[0].length - 1;
    const i = this.at === null || this.at > last ? last : this.at;
    const values = this.lines.map((l) => {
      const at = this.index(l);
      const value = near(this.data[at], i);
      const band = l.band ? ` (${this.show(near(this.data[at + 1], i))} … ${this.show(near(this.data[at + 2], i))})` : "";
      return `${l.name} ${this.show(value)}${band}`;
    });
    setText(this.readout, `${clock(this.data[0][i])}  ${values.join("   ")}`);
  }

  key(event) {
    const by = { ArrowLeft: -1, ArrowRight: 1, Home: -1e9, End: 1e9 }[event.key];
    if (!by || !this.u) return;
    event.preventDefault();
    const last = this.data[0].length - 1;
    const i = Math.min(last, Math.max(0, (this.at ?? last) + by));
    this.u.setCursor({ left: this.u.valToPos(this.data[0][i], "x"), top: 10 });
  }
}

// As many decimals as the steps of an axis differ in.
function digitsOf(step) {
  let digits = 0;
  while (digits < 8 && Math.abs(step * 10 ** digits - Math.round(step * 10 ** digits)) > 1e-6) digits += 1;
  return digits;
}
const scaled = (font, k) => font.replace(/(\d+)px/, (_, n) => `${n * k}px`);

// The value at a column, or the last known before it.
function near(values, i) {
  while (i > 0 && values[i] == null) i -= 1;
  return values[i];
}

// Arms report at times of their own; uPlot wants one axis of times with gaps.
function aligned(lines) {
  const times = [...new Set(lines.flatMap((l) => l.points.map((p) => p[0])))].sort((a, b) => a - b);
  const where = new Map(times.map((t, i) => [t, i]));
  const column = (points, n) => {
    const out = new Array(times.length).fill(null);
    for (const p of points) out[where.get(p[0])] = p[n];
    return out;
  };
  return [times, ...lines.flatMap((l) => [column(l.points, 1), ...(l.band ? [column(l.band, 1), column(l.band, 2)] : [])])];
}

// The range of the data with a little air; never so small that noise looks like change.
export function airy(least) {
  return (low, high) => {
    if (low === null || high === null) return [0, 1];
    const air = Math.max((high - low) * 0.12, least);
    return [low - air, high + air];
  };
}
