// Takes the state each second and has each part of the page draw its own.
import { accounts } from "./accounts.js";
import { arms } from "./arms.js";
import { banner } from "./banner.js";
import { coloursChanged, setArms } from "./colours.js";
import { byId, coded, el, keyed, setText, show } from "./dom.js";
import { experiment } from "./experiment.js";
import { figures } from "./figures.js";
import { flow } from "./flow.js";
import { freshness } from "./freshness.js";
import { metrics } from "./metrics.js";
import { moodOf } from "./mood.js";
import { predictions } from "./predictions.js";
import { radio } from "./radio.js";
import { rejected } from "./rejected.js";
import { snapshots } from "./snapshots.js";
import { Stream } from "./stream.js";

const PARTS = [figures, flow, metrics, freshness, arms, experiment, predictions, rejected, snapshots, accounts];
let state = null;
let come_ms = null; // when the last state came, by this machine's clock
let link = { lost: false };
let said = "";

function draw() {
  if (document.hidden || !state) return;
  setArms(state.arms.map((a) => a.name));
  for (const part of PARTS) {
    try {
      part(state);
    } catch (fault) {
      console.error(part.name, fault); // one part that fails leaves the others whole
    }
  }
  show(byId("notes"), state.notes.length);
  keyed(byId("notes"), state.notes, (n) => n, (n) => el("li", {}, coded(n)));
}

// Age of what is shown: since the broker fell silent, or since the monitor itself did.
function age_ms(mood) {
  if (link.lost || come_ms === null) return come_ms === null ? null : Date.now() - come_ms;
  return mood.since_ms ? state.at_ms - mood.since_ms + (Date.now() - come_ms) : null;
}

function tell() {
  const mood = moodOf(state, link, Date.now());
  const name = state?.pipeline ?? "Headwater";
  byId("mood").dataset.level = mood.level;
  setText(byId("mood-word"), mood.word);
  setText(byId("pipeline"), name);
  const title = state ? `${mood.word} · ${name} · Headwater` : `${mood.word} · Headwater`;
  if (document.title !== title) document.title = title;
  if (said !== mood.word && (said || mood.level !== "ok")) setText(byId("announce"), mood.title ?? mood.word);
  said = mood.word;
  byId("main").classList.toggle("stale", Boolean(mood.stale));
  byId("main").setAttribute("aria-busy", String(!state));
  banner(byId("banner"), mood, age_ms(mood), () => stream.open());
  if (state) setText(byId("meta"), `${state.task} · spec ${state.spec_hash.slice(0, 8)} · Kafka ${state.broker.address}`);
}

const CHOICES = [{ key: "auto", text: "Auto" }, { key: "light", text: "Light" }, { key: "dark", text: "Dark" }];
function theme(key) {
  document.documentElement.dataset.theme = key;
  try {
    localStorage.setItem("headwater-theme", key);
  } catch {
    // storage is switched off: the choice lives as long as the page does
  }
  radio(byId("theme"), CHOICES, key, theme);
  coloursChanged();
}

radio(byId("theme"), CHOICES, document.documentElement.dataset.theme, theme);
const stream = new Stream(
  "/api/stream",
  (next) => {
    state = next;
    come_ms = Date.now();
    draw();
    tell();
  },
  (next) => {
    link = next;
    tell();
  },
);
tell();
setInterval(tell, 1000);
for (const [target, kind] of [[document, "visibilitychange"], [window, "resize"]]) target.addEventListener(kind, draw);
