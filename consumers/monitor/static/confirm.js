// Asks before anything is changed, and says what will happen. Focus starts on "Cancel" and stays inside.
import { post } from "./api.js";
import { byId, el, setText, show } from "./dom.js";

// lines: what will happen. Resolves to what the monitor said, or null when it was cancelled.
export function confirmed({ title, lines, action, path, body }) {
  const dialog = byId("confirm");
  const fault = el("p", { class: "fault", role: "alert", hidden: true });
  const go = el("button", { type: "button", class: "go" }, action);
  const back = el("button", { type: "button", autofocus: true }, "Cancel");
  dialog.replaceChildren(el("h2", { id: "confirm-h" }, title), ...lines.map((l) => el("p", {}, l)), fault, el("div", { class: "buttons" }, back, go));
  return new Promise((resolve) => {
    let said = null;
    let busy = false;
    back.addEventListener("click", () => dialog.close());
    go.addEventListener("click", async () => {
      if (busy) return;
      busy = true;
      go.setAttribute("aria-disabled", "true");
      setText(go, "Working…");
      const answer = await post(path, body);
      busy = false;
      go.removeAttribute("aria-disabled");
      setText(go, action);
      if (answer.error) {
        setText(fault, answer.error);
        show(fault, true);
        return;
      }
      said = answer.said ?? "Done.";
      dialog.close();
    });
    dialog.addEventListener("close", () => resolve(said), { once: true });
    dialog.showModal();
    back.focus();
  });
}

// Where buttons would be, for those who may not press them.
export function howToWrite(writable, allowed) {
  if (allowed) return "";
  return writable
    ? "This tab has no token, so there are no buttons. Open the address that headwater monitor printed, with its #token."
    : "Only to look at. headwater monitor SPEC --write prints an address that has buttons.";
}

export const outcome = () => el("p", { class: "outcome", role: "status" });
