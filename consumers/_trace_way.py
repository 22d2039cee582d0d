"""Facts about one event → its way: one step after the other, in the order of their times.

A step without a time of its own (in a fused process nothing is written between clean and join) stands where it belongs.
Invariant: each record that was found is in exactly one step; what is told without a record says what it follows from.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from consumers._trace_facts import Facts, Seen
from stream.spec import Spec

Groups = Mapping[str, Mapping[TopicPartition, OffsetAndMetadata]]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened, or did not yet. at_ms: None where no record tells; seen: the record that tells;
    after_ms: of one without a time, when it can't have been before."""

    step: str
    state: str
    at_ms: int | None = None
    seen: Seen | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    after_ms: int = 0


def way_of(spec: Spec, facts: Facts, groups: Groups) -> list[Step]:
    """All steps, in the order of time."""
    steps = [*_publish(facts), *_clean(spec, facts, groups), *_predict(facts), *_label(facts)]
    steps += [*_join(spec, facts, groups), *_learn(facts), *_evaluate(spec, facts, groups)]
    return in_time(steps)


def in_time(steps: list[Step]) -> list[Step]:
    """By time; a step without one stays behind the one before it."""
    keys, last = [], 0
    for number, step in enumerate(steps):
        last = max(last, step.after_ms) if step.at_ms is None else step.at_ms
        keys.append((last, number))
    return [steps[number] for _, number in sorted(keys)]


def _of(step: str, state: str, seen: Seen, **more: Any) -> Step:
    return Step(step, state, seen.at_ms, seen, {**seen.about, **more})


def _publish(facts: Facts) -> Iterator[Step]:
    for number, seen in enumerate(facts.events):
        yield _of("publish", "published again" if number else "published", seen)


def _refused(facts: Facts, step: str) -> Iterator[Step]:
    for seen in facts.dead:
        if seen.about["step"] == step:
            yield _of(step, f"refused: {seen.about['code']}", seen)


def _clean(spec: Spec, facts: Facts, groups: Groups) -> Iterator[Step]:
    yield from _refused(facts, "clean")
    yield from (_of("clean", "cleaned", seen) for seen in facts.clean)
    yield from _refused(facts, "encode")
    yield from (_of("encode", "encoded", seen) for seen in facts.features)
    if facts.clean or facts.features:
        return
    refused = {tuple(d.about["refused"]) for d in facts.dead}
    learned = {tuple(t.about["source"]) for t in facts.training}
    for seen in facts.events:
        if seen.place in refused:
            continue
        read = _is_read(groups, spec.name, ("join", "encode", "clean"), seen)
        if (seen.partition, seen.offset) in learned:
            yield Step("clean, encode", "done", about={"follows_from": "its row in the training log"})
        elif read:
            yield Step(
                "clean, encode", "done", about={"follows_from": f"group {read} is past it, and it is not in dead"}
            )
        else:
            yield Step("clean", "waits", about={"follows_from": "no group has read it yet"})


def _is_read(groups: Groups, pipeline: str, names: tuple[str, ...], seen: Seen) -> str:
    """The group that is past a record; '' for none."""
    for name in names:
        mark = groups.get(f"{pipeline}.{name}", {}).get(TopicPartition(seen.topic, seen.partition))
        if mark is not None and mark.offset > seen.offset:
            return f"{pipeline}.{name}"
    return ""


def _predict(facts: Facts) -> Iterator[Step]:
    return (_of("predict", "predicted", seen) for seen in facts.predictions)


def _label(facts: Facts) -> Iterator[Step]:
    for number, seen in enumerate(facts.labels):
        yield _of("label", "arrived again" if number else "arrived", seen)


def _join(spec: Spec, facts: Facts, groups: Groups) -> Iterator[Step]:
    yield from _refused(facts, "join")
    labels = {seen.offset for seen in facts.labels}
    for seen in facts.training:
        if seen.about["label_offset"] not in labels:
            yield _of("join", "in the training log without a label of its own: no label came in time", seen)
        else:
            yield _of("join", "joined, in the training log" + (", a correction" * seen.about["correction"]), seen)
    settled = {tuple(d.about["refused"]) for d in facts.dead}
    used = {seen.about["label_offset"] for seen in facts.training}
    for seen in facts.labels:
        if seen.place not in settled and seen.offset not in used:
            yield Step("join", "waits", about={"follows_from": "the label has neither a row nor a dead letter"})
    if facts.events and not facts.training and not facts.labels and not facts.dead:
        yield _without_label(spec, facts.events[0], groups)


def _without_label(spec: Spec, event: Seen, groups: Groups) -> Step:
    """What is known of an event to which no label came."""
    marks = groups.get(f"{spec.name}.join", {})
    mark = marks.get(TopicPartition(spec.topic("labels"), 0))
    clock = json.loads(mark.metadata or "{}").get("clock") if mark is not None else None
    time_ms = event.about.get("event_time_ms")
    if clock is not None and time_ms is not None and clock > time_ms + spec.label.window:
        why = f"the labels' clock is {clock - time_ms} ms past the event; the window is {spec.label.window} ms"
        return Step("join", "timed out", about={"follows_from": why})
    return Step("join", "waits for its label", about={"follows_from": "no label of this id so far"})


def _learn(facts: Facts) -> Iterator[Step]:
    yield from _refused(facts, "learn")
    for seen in facts.learned:
        generation, gate = seen.about["generation"], seen.about["refused"]
        first = "first in" if seen.about["surely_first"] else "in (an earlier one may be gone from the compacted topic)"
        held = f", which may not serve: {gate}" if gate else ""
        yield _of("learn", f"{first} snapshot {generation}{held}", seen)
    if facts.training and not facts.learned:
        yield Step("learn", "waits", about={"follows_from": "no snapshot is past its row in the training log"})
    if facts.answer is not None:
        a = facts.answer.about
        state = f"first answer that knows it: snapshot {a['model_generation']}, arm {a['arm']}"
        yield _of("answer", state, facts.answer)


def _evaluate(spec: Spec, facts: Facts, groups: Groups) -> Iterator[Step]:
    """Evaluate writes no record of its own for an event; its positions tell whether both sides were counted."""
    if not facts.predictions or not facts.labels:
        return
    sides = facts.predictions[0], facts.labels[0]
    if all(_is_read(groups, spec.name, ("evaluate",), seen) for seen in sides):
        why = f"group {spec.name}.evaluate is past its first exposure and its first label"
        arms = list(dict.fromkeys(seen.about["arm"] for seen in facts.predictions))
        after_ms = max(seen.at_ms for seen in sides)
        yield Step("evaluate", f"counted for arm {', '.join(arms)}", about={"follows_from": why}, after_ms=after_ms)
