"""The picture of a pipeline: which steps there are, how fast they go, what waits, and who has fallen silent.

All of it follows from what groups have committed and from what steps say of themselves: each second of a running step,
each five of `evaluate`. Steps of one process speak for each other. A process that started and had nothing to do yet
says nothing, and one that was stopped neither; the notes say so.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kafka import TopicPartition

from consumers.monitor.rate import Progress
from consumers.monitor.seen import Metrics, Models, Predictions
from consumers.monitor.state import Flow, Step, Topic

FRONT = ("clean", "encode", "join")
READS = {
    "clean": ("events",),
    "encode": ("clean",),
    "join": ("features", "labels"),
    "learn": ("training",),
    "serve": ("models", "experiment"),
    "evaluate": ("predictions", "labels"),
    "ship": ("predictions", "labels", "metrics", "experiment", "dead", "logs"),
}
WRITES = {
    "clean": ("clean", "dead"),
    "encode": ("features",),
    "join": ("training", "dead"),
    "learn": ("models", "metrics"),
    "serve": ("predictions", "labels"),
    "evaluate": ("metrics",),
    "ship": (),
}
STALL_S = 10.0  # records wait, and the step committed nothing
SILENT_MS = 15_000  # it used to speak
ASKED_MS = 60_000  # the last answer is younger, or nobody asks
_BY_EVALUATE = ("lag", "counts", "freshness", "sample_ratio", "served_total")
Marks = Mapping[TopicPartition, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """One look at the broker. marks: group → committed; firsts, ends: of each partition; suffix: topic → our name."""

    now_s: float
    now_ms: int
    marks: Mapping[str, Marks]
    firsts: Mapping[TopicPartition, int]
    ends: Mapping[TopicPartition, int]
    suffix: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Picture:
    """See Flow; notes: what a reader should know of it."""

    flow: Flow
    notes: list[str] = field(default_factory=list)


def processes_of(marks: Mapping[str, Marks], suffix: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Step → the steps of its process, itself among them: a group's first topic tells which steps are fused."""
    order, out = (*FRONT, "learn"), dict[str, tuple[str, ...]]()
    for group in FRONT:
        for tp in marks.get(group, {}):
            for first, reads in ((s, READS[s][0]) for s in FRONT):
                if suffix.get(tp.topic) == reads:
                    mates = order[order.index(first) : order.index(group) + 1]
                    if group == "join" and not marks.get("learn"):
                        mates = (*mates, "learn")
                    out |= dict.fromkeys(mates, mates)
    return out


class Steps:
    """Looks, one after the other → pictures."""

    def __init__(self) -> None:
        self._progress = Progress()

    def add(self, look: Look, metrics: Metrics) -> None:
        """Remember how far all is."""
        for name, records in _records(look).items():
            self._progress.add(f"topic.{name}", look.now_s, records[1])
        for step, marks in _read_by(look).items():
            self._progress.add(f"read.{step}", look.now_s, sum(m.offset for m in marks.values()))
        for step, (_, rows) in metrics.steps.items():
            self._progress.add(f"rows.{step}", look.now_s, rows)

    def forget(self) -> None:
        """Rates begin anew: nothing was seen for a while."""
        self._progress.forget()

    def picture(self, look: Look, metrics: Metrics, models: Models, predictions: Predictions) -> Picture:
        """As of the last look that was added."""
        records, read_by = _records(look), _read_by(look)
        topics: list[Topic] = [
            {"name": name, "records": end - first, "per_s": self._progress.per_s(f"topic.{name}")}
            for name, (first, end) in records.items()
        ]
        spoke = _spoke(metrics, models)
        mates = processes_of(look.marks, look.suffix)
        steps, notes = list[Step](), list[str]()
        for name in READS:
            if name == "serve":
                steps.append(self._serve(look, records, predictions, notes))
                continue
            together = mates.get(name, (name,))
            present = name in read_by or name in metrics.steps or (name == "learn" and models.newest is not None)
            heard_ms = max((spoke[s] for s in together if s in spoke), default=None)
            steps.append(self._step(look, name, present, read_by, together, heard_ms))
        notes += _notes(steps, mates, spoke, look.now_ms)
        return Picture({"topics": topics, "steps": steps}, notes)

    def _step(
        self,
        look: Look,
        name: str,
        present: bool,
        read_by: Mapping[str, Marks],
        together: tuple[str, ...],
        heard_ms: int | None,
    ) -> Step:
        if not present:
            return _named(name, None, None, "absent")
        marks = read_by.get(name, {})
        lag = sum(max(0, look.ends.get(tp, m.offset) - m.offset) for tp, m in marks.items())
        waits = lag + sum(
            max(0, look.ends.get(tp, m.offset) - m.offset)
            for s in together
            if s != name
            for tp, m in read_by.get(s, {}).items()
        )
        whole = {look.suffix[tp.topic] for tp in marks} >= set(READS[name])
        per_s = self._progress.per_s(f"read.{name}" if whole else f"rows.{name}")
        still_s = min(self._progress.still_s(f"read.{s}", look.now_s) for s in together if s in read_by or s == name)
        silent = heard_ms is not None and look.now_ms - heard_ms > SILENT_MS
        stalled = silent or (waits > 0 and still_s > STALL_S)
        return _named(name, per_s, lag, "stalled" if stalled else "running")

    def _serve(
        self, look: Look, records: Mapping[str, tuple[int, int]], predictions: Predictions, notes: list[str]
    ) -> Step:
        first, end = records.get("predictions", (0, 0))
        if end == first or predictions.at_ms is None:
            return _named("serve", None, None, "absent")
        quiet_ms = look.now_ms - predictions.at_ms
        if quiet_ms > ASKED_MS:
            notes.append(f"serve gave no answer for {_long(quiet_ms)}: nobody asks, or no server runs")
        state: Literal["running", "stalled"] = "stalled" if quiet_ms > ASKED_MS else "running"
        return _named("serve", self._progress.per_s("topic.predictions"), None, state)


def _named(name: str, per_s: float | None, lag: int | None, state: Literal["running", "stalled", "absent"]) -> Step:
    read, written = list(READS[name]), list(WRITES[name])
    return {"name": name, "from": read, "to": written, "per_s": per_s, "lag": lag, "state": state}


def _records(look: Look) -> dict[str, tuple[int, int]]:
    """Our name of a topic → its first offsets, and its ends, over all partitions."""
    out: dict[str, tuple[int, int]] = {}
    for tp, end in look.ends.items():
        first, last = out.get(look.suffix[tp.topic], (0, 0))
        out[look.suffix[tp.topic]] = first + look.firsts.get(tp, 0), last + end
    return out


def _read_by(look: Look) -> dict[str, dict[TopicPartition, Any]]:
    """Step → the marks on the topics that it reads: of a fused group, each topic is its first reader's."""
    out: dict[str, dict[TopicPartition, Any]] = {}
    for group, marks in look.marks.items():
        for tp, mark in marks.items():
            topic = look.suffix.get(tp.topic, "")
            readers = [s for s in FRONT if topic in READS[s]] if group in FRONT else [group]
            for step in readers:
                out.setdefault(step, {})[tp] = mark
    return out


def _spoke(metrics: Metrics, models: Models) -> dict[str, int]:
    """Step → when its process last said anything."""
    out = {step: at_ms for step, (at_ms, _) in metrics.steps.items()}
    if models.spoke_ms is not None:
        out["learn"] = max(models.spoke_ms, out.get("learn", 0))
    told = [metrics.spoke[kind] for kind in _BY_EVALUATE if kind in metrics.spoke]
    return out | ({"evaluate": max(told)} if told else {}) | {k: v for k, v in metrics.spoke.items() if k == "ship"}


def _notes(steps: list[Step], mates: Mapping[str, tuple[str, ...]], spoke: Mapping[str, int], now_ms: int) -> list[str]:
    ours = [s for s in steps if s["name"] != "serve"]
    if all(s["state"] == "absent" for s in ours):
        return ["no step has run yet; `headwater run SPEC clean encode join learn` starts them"]
    notes, told = [], set[str]()
    for s in ours:
        together = mates.get(s["name"], (s["name"],))
        if s["state"] != "stalled" or s["name"] in told:
            continue
        told |= set(together)
        heard_ms = max((spoke[m] for m in together if m in spoke), default=None)
        if heard_ms is not None and now_ms - heard_ms > SILENT_MS:
            silent = f"{', '.join(together)}: silent for {_long(now_ms - heard_ms)}"
            notes.append(f"{silent}; stopped, or nothing to do since the start")
        else:
            notes.append(f"{', '.join(together)}: records wait, and nothing was committed for {STALL_S:g} s")
    return notes


def _long(ms: int) -> str:
    s = ms // 1000
    return f"{s} s" if s < 120 else f"{s // 60} min" if s < 7200 else f"{s // 3600} h"
