// What the page may ask for. The token came in the address's fragment; it is kept for this tab alone.

const KEY = "headwater-token";

function take() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  try {
    if (given) sessionStorage.setItem(KEY, given);
    if (given) history.replaceState(null, "", location.pathname + location.search);
    return given ?? sessionStorage.getItem(KEY);
  } catch {
    return given; // storage is switched off: the token lives as long as the page does
  }
}

let token = take();
export const hasToken = () => Boolean(token);
// A second address opened in the same tab changes the fragment only, which loads nothing.
addEventListener("hashchange", () => (token = take() ?? token));

export async function post(path, body) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Headwater-Token": token ?? "" },
      body: JSON.stringify(body),
    });
    const told = await answer.json().catch(() => ({}));
    if (answer.ok && told.ok) return { said: told.said };
    return { error: told.error ?? `The monitor answered ${answer.status}.` };
  } catch {
    return { error: "The monitor does not answer. Nothing is known of whether it was done: look before you try again." };
  }
}
