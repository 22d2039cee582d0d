// An arm has one colour and one dash on the whole page. The colours differ for every kind of colour-blindness, in light
// and in dark; the dash and the label at a line's end say the same without colour.

const DASHES = [[], [7, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 4]];
export const KINDS = DASHES.length;

let order = [];
export const setArms = (names) => (order = names);
const place = (arm) => Math.max(0, order.indexOf(arm)) % KINDS;
export const armClass = (arm) => (order.includes(arm) ? `arm arm-${place(arm)}` : "arm");
export const armDash = (arm) => DASHES[place(arm)];

// A canvas wants a finished colour: the browser works it out on a probe, for the scheme that is shown.
let probe;
export function resolved(variable) {
  probe ??= document.body.appendChild(Object.assign(document.createElement("i"), { hidden: true }));
  probe.style.color = `var(${variable})`;
  return getComputedStyle(probe).color;
}
export const armColour = (arm) => resolved(`--arm-${place(arm)}`);
export const faded = (colour, alpha) => colour.replace(/^rgba?\(([^)]+)\)$/, (_, c) => `rgba(${c.split(",").slice(0, 3).join(",")}, ${alpha})`);

const listeners = new Set();
export const onColours = (f) => listeners.add(f);
export const coloursChanged = () => listeners.forEach((f) => f());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", coloursChanged);
