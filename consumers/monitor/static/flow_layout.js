// Where each topic and step stands, in columns and rows; wide for a desk, narrow for a phone.

export const TOPICS = ["events", "labels", "training", "models", "experiment", "predictions", "metrics", "dead"];

const WIDE = {
  columns: 8,
  at: {
    labels: [2, 0], experiment: [7, 0],
    events: [0, 1], clean: [1, 1], encode: [2, 1], join: [3, 1], training: [4, 1], learn: [5, 1], models: [6, 1], serve: [7, 1],
    dead: [2, 2], ship: [4, 2], metrics: [5, 2], evaluate: [6, 2], predictions: [7, 2],
  },
};
const NARROW = {
  columns: 3,
  at: {
    events: [0, 0], clean: [1, 0], encode: [2, 0],
    dead: [0, 1], labels: [1, 1], join: [2, 1],
    models: [0, 2], learn: [1, 2], training: [2, 2],
    serve: [0, 3], predictions: [1, 3], evaluate: [2, 3],
    experiment: [0, 4], ship: [1, 4], metrics: [2, 4],
  },
};
// Of the three ways between encode and its neighbours only the first is a topic when the steps run in processes of
// their own; the picture shows the way of the records, which is the same.
export const EDGES = [
  ["events", "clean"], ["clean", "encode"], ["encode", "join"], ["labels", "join"], ["join", "training"], ["training", "learn"],
  ["learn", "models"], ["models", "serve"], ["experiment", "serve"], ["serve", "predictions"], ["predictions", "evaluate"],
  ["evaluate", "metrics"], ["learn", "metrics"], ["metrics", "ship"], ["clean", "dead"], ["join", "dead"],
];

export function layout(width) {
  const narrow = width < 720;
  const { columns, at } = narrow ? NARROW : WIDE;
  const pitch = width / columns;
  const w = Math.min(128, pitch - (narrow ? 18 : pitch > 120 ? 32 : 16));
  const h = 64;
  const row = h + (narrow ? 26 : 30);
  const rows = 1 + Math.max(...Object.values(at).map(([, r]) => r));
  const gap = columns > 1 ? (width - w - 2) / (columns - 1) : 0;
  const boxes = Object.fromEntries(Object.entries(at).map(([name, [c, r]]) => [name, { x: 1 + c * gap, y: 4 + r * row, w, h, c, r }]));
  return { boxes, narrow, height: rows * row - (row - h) + 8 };
}

// From the side of one box to the side of another that faces it.
export function path(a, b, narrow) {
  const middle = (o) => [o.x + o.w / 2, o.y + o.h / 2];
  const [ax, ay] = middle(a);
  const [bx, by] = middle(b);
  if (a.r === b.r) {
    if (Math.abs(a.c - b.c) !== 1) return null;
    const way = Math.sign(bx - ax);
    return `M${ax + (way * a.w) / 2},${ay} L${bx - way * (b.w / 2 + 5)},${by}`;
  }
  const down = Math.sign(by - ay);
  const [y0, y1] = [ay + (down * a.h) / 2, by - down * (b.h / 2 + 5)];
  if (a.c === b.c) return Math.abs(a.r - b.r) === 1 ? `M${ax},${y0} L${bx},${y1}` : null;
  if (narrow && (Math.abs(a.c - b.c) > 1 || Math.abs(a.r - b.r) > 1)) return null;
  const lean = Math.sign(bx - ax) * b.w * 0.3;
  const [x0, x1] = [ax + Math.sign(bx - ax) * a.w * 0.3, bx - lean];
  const m = (y0 + y1) / 2;
  return `M${x0},${y0} C${x0},${m} ${x1},${m} ${x1},${y1}`;
}
