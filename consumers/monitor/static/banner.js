// What is wrong, or not there yet, and what to do: once, above everything.
import { coded, el, keyed, setText, show } from "./dom.js";
import { span } from "./format.js";

export function banner(host, mood, age_ms, retry) {
  keyed(host, mood.title ? [mood] : [], (m) => m.word, (m) => make(m, retry), (node, m) => {
    const text = node.querySelector(".text");
    if (text.textContent !== (m.text ?? "").replaceAll("`", "")) text.replaceChildren(...coded(m.text ?? ""));
    const old = node.querySelector(".age");
    setText(old, m.stale && age_ms !== null ? `Below: the last known values, ${span(age_ms)} old.` : "");
    show(old, old.textContent);
  });
}

function make(mood, retry) {
  const command = mood.command && el("p", { class: "command" }, el("code", {}, mood.command), copy(mood.command));
  return el("section", { class: `banner ${mood.level}`, "aria-label": mood.word },
    el("h2", {}, mood.title), el("p", { class: "text" }), command,
    el("p", { class: "age num" }),
    mood.retry && el("button", { type: "button", on: { click: retry } }, "Try now"));
}

function copy(text) {
  if (!navigator.clipboard) return null; // only on loopback or TLS
  const button = el("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text).then(() => setText(button, "Copied"), () => setText(button, "Not allowed"));
    setTimeout(() => setText(button, "Copy"), 2000);
  });
  return button;
}
