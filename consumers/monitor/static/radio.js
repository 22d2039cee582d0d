// One choice of few: a group that Tab enters once and arrows move in.
import { el, keyed } from "./dom.js";

export function radio(group, choices, chosen, choose) {
  keyed(
    group,
    choices,
    (c) => c.key,
    (c) => el("button", { type: "button", role: "radio", on: { click: () => choose(c.key), keydown: (e) => moved(e, group) } }, c.text),
    (node, c) => {
      const on = c.key === chosen;
      node.setAttribute("aria-checked", on);
      node.tabIndex = on ? 0 : -1;
    },
  );
}

function moved(event, group) {
  const by = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  const all = [...group.children];
  const next = all[(all.indexOf(event.currentTarget) + by + all.length) % all.length];
  next.click();
  next.focus();
}
