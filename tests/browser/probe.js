// What the tests measure on the page. Given to the browser with each question; it leaves nothing behind.
const draw = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

const known = new Map();
function rgba(css) {
  if (!known.has(css)) known.set(css, drawn(css));
  return known.get(css);
}

function drawn(css) {
  draw.clearRect(0, 0, 1, 1);
  draw.fillStyle = "transparent"; // `none` is no colour, and would leave the last one
  draw.fillStyle = css;
  draw.fillRect(0, 0, 1, 1);
  return [...draw.getImageData(0, 0, 1, 1).data];
}

function variable(name) {
  const probe = document.body.appendChild(document.createElement("i"));
  probe.style.color = `var(${name})`;
  const found = rgba(getComputedStyle(probe).color);
  probe.remove();
  return found.slice(0, 3);
}

// WCAG 2: relative luminance, and the ratio of two colours.
function light(colour) {
  const [r, g, b] = colour.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
function ratio(a, b) {
  const [high, low] = [light(a), light(b)].sort((p, q) => q - p);
  return (high + 0.05) / (low + 0.05);
}

function ground(element) {
  for (let n = element; n; n = n.parentElement) {
    const rect = n.matches("svg .node") ? n.querySelector("rect") : null;
    const colour = rgba(rect ? getComputedStyle(rect).fill : getComputedStyle(n).backgroundColor);
    if (colour[3] === 255) return colour.slice(0, 3);
  }
  return rgba("Canvas").slice(0, 3);
}

const boxes = (selector) => [...document.querySelectorAll(selector)].map((e) => e.getBoundingClientRect());
const cross = (p, q) => p.left < q.right && q.left < p.right && p.top < q.bottom && q.top < p.bottom;
const named = (e) => e.outerHTML.slice(0, 90);

const probe = {
  // Every text that is shown, against the ground under it: how many, and those below 4.5.
  contrast() {
    const poor = [];
    let seen = 0;
    for (const e of document.querySelectorAll("body *")) {
      if (![...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
      if (!e.checkVisibility() || e.closest(".unseen, .skip, noscript")) continue;
      const style = getComputedStyle(e);
      const found = ratio(rgba(e instanceof SVGElement ? style.fill : style.color).slice(0, 3), ground(e));
      seen += 1;
      if (found < 4.5) poor.push(`${named(e)} ${found.toFixed(2)}`);
    }
    return { seen, poor };
  },
  // Of colours that marks have, against the page's ground.
  marks: (names) => Object.fromEntries(names.map((n) => [n, ratio(variable(n), variable("--bg"))])),
  // Pixels of a canvas that have just this colour.
  pixels(selector, name) {
    const canvas = document.querySelector(selector);
    const want = variable(name);
    Object.assign(draw.canvas, { width: canvas.width, height: canvas.height });
    draw.drawImage(canvas, 0, 0);
    const { data } = draw.getImageData(0, 0, canvas.width, canvas.height);
    let n = 0;
    for (let i = 0; i < data.length; i += 4)
      if (data[i + 3] > 250 && want.every((v, j) => Math.abs(data[i + j] - v) < 3)) n += 1;
    return n;
  },
  // What reaches beyond the right edge and lies in nothing that scrolls by itself.
  beyond: () =>
    [...document.querySelectorAll("main *")]
      .filter((e) => e.getBoundingClientRect().right > innerWidth + 1 && e.checkVisibility())
      .filter((e) => !e.closest(".wide, .scroll, .answers, .unseen, .plot"))
      .map(named),
  // Of the picture: boxes that lie on each other, texts that don't fit their box.
  untidy() {
    const all = boxes("#flow rect");
    const crossing = all.filter((p, i) => all.some((q, j) => i < j && cross(p, q))).length;
    const out = [...document.querySelectorAll("#flow .node")].filter((n) => {
      const r = n.querySelector("rect").getBoundingClientRect();
      return [...n.querySelectorAll("text")].some((t) => {
        const b = t.getBoundingClientRect();
        return b.width > 0 && (b.left < r.left || b.right > r.right || b.bottom > r.bottom + 1);
      });
    });
    return crossing ? [`${crossing} boxes lie on others`] : out.map(named);
  },
  // Controls and pictures without a name.
  nameless: () =>
    [...document.querySelectorAll("button, [role=img], [role=listbox], [role=radiogroup], section, table, dialog[open]")]
      .filter((e) => !(e.ariaLabel || e.getAttribute("aria-labelledby") || e.innerText?.trim() || e.caption))
      .map(named),
};
