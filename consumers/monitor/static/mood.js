// The state of the whole in one word, and what to do about it. Pure: the same state gives the same words.
import { span } from "./format.js";

const records = (state, name) => state.flow.topics.find((t) => t.name === name)?.records ?? 0;

export function moodOf(state, link, now_ms) {
  if (link.lost) return lost(state, link, now_ms);
  if (!state) return { level: "wait", word: "connecting" };
  const { broker } = state;
  if (broker.state === "waiting")
    return {
      level: "wait",
      word: "waiting for the broker",
      title: `Waiting for Kafka at ${broker.address}`,
      text: broker.detail ?? "The figures come as soon as it answers. If none runs here, this starts one:",
      command: broker.detail ? null : "python -m infra.kafka",
    };
  if (broker.state === "unreachable")
    return {
      level: "bad",
      word: "broker unreachable",
      title: "No contact with Kafka",
      text: broker.detail ?? `${broker.address} does not answer. See whether it runs; the page goes on by itself when it does.`,
      since_ms: broker.since_ms,
      stale: true,
    };
  if (broker.state === "topics_missing")
    return {
      level: "warn",
      word: "topics missing",
      title: "The pipeline's topics are not there yet",
      text: broker.detail,
      command: "headwater topics create SPEC",
    };
  if (records(state, "events") === 0)
    return {
      level: "wait",
      word: "no events yet",
      title: "No events yet",
      text: "The topics are there and empty. This publishes a file's events and labels:",
      command: "headwater publish SPEC FILE --label COLUMN",
    };
  const stalled = state.flow.steps.filter((s) => s.state === "stalled").map((s) => s.name);
  return stalled.length ? stalledMood(stalled) : { level: "ok", word: "live" };
}

function stalledMood(names) {
  const [one] = names;
  return {
    level: "warn",
    word: names.length === 1 ? `${one} stalled` : `${names.length} steps stalled`,
    title: names.length === 1 ? `The step ${one} does not go on` : `${names.length} steps do not go on: ${names.join(", ")}`,
    text: "See whether the process runs, and what it logged last. Started again it goes on from where it stopped.",
    command: starting(names),
  };
}

// Servers and the shipper have commands of their own; the other steps share one.
function starting(names) {
  const [alone] = names.filter((n) => n === "serve" || n === "ship");
  return alone && names.length === 1 ? `headwater ${alone} SPEC` : `headwater run SPEC ${names.filter((n) => n !== alone).join(" ")}`;
}

function lost(state, link, now_ms) {
  const wait = Math.max(0, link.next_ms - now_ms);
  return {
    level: "bad",
    word: "monitor lost",
    title: "The monitor itself does not answer",
    text: `The pipeline may well be running: only this page's source is gone. If you stopped it, start it again with the command below. Trying again ${wait < 500 ? "now" : `in ${span(wait)}`} (attempt ${link.failures}).`,
    command: "headwater monitor SPEC",
    stale: Boolean(state),
    retry: true,
  };
}
