"""Exposures meet outcomes: what an experiment may count, in the order in which it became known.

Rules, each of which leaves a count:

- Only exposures of this experiment count, of arms that the spec has; an arm asked for by name has no experiment.
- The first exposure of an event counts, and the first of a unit: who comes back brings no independent news.
- The first label of an event counts. One that comes when the labels' clock is past the window is late; with `timeout:
  negative` an event without label became negative at that moment, as in training.

Labels come in the order of their topic; its clock is the largest label time so far. So what is counted follows from
what the topics hold, and a later look sees the same outcomes first.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import F64, I64
from stream.experiment.measure import usable
from stream.join.labels import Label
from stream.spec import Spec

KEPT = ("id", "unit", "arm", "propensity", "score", "scores", "served_ms", "event_time_ms", "control_seq")


@dataclass(frozen=True, slots=True)
class Exposed:
    """n exposures that count, in the order served. arm: its place in the spec; propensity float64[n]; ids of events;
    seq: number of the control record that was followed."""

    arm: I64
    propensity: F64
    served_ms: I64
    ids: list[str]
    seq: I64

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Outcomes:
    """n exposures whose outcome is known, in the order in which it became so.

    row: their place in `Exposed`; scores: float64[n], of a classes task [n, classes]; label: float64[n];
    known_ms: the labels' clock at that moment.
    """

    row: I64
    scores: F64
    label: F64
    known_ms: I64

    def __len__(self) -> int:
        return len(self.row)


class Collector:
    """Give it every exposure, then every label; then ask. each_event: count all exposures of a unit, not the first."""

    def __init__(self, spec: Spec, each_event: bool = False) -> None:
        self._spec, self._each = spec, each_event
        self._arms = {arm: i for i, arm in enumerate(spec.arms)}
        self._found: dict[str, tuple[int, tuple[int, int], dict[str, Any]]] = {}  # event id → served, place, exposure
        self._labels: dict[str, tuple[int, float]] = {}  # event id → clock when it came, value
        self._clock_ms = 0
        self.counts: Counter[str] = Counter()

    def exposure(self, record: Mapping[str, Any], place: tuple[int, int] = (0, 0)) -> None:
        """A record of the predictions topic, in any order; place breaks ties of the time served."""
        self.counts["exposures read"] += 1
        if record["experiment"] != self._spec.experiment.name:
            self.counts["not of this experiment"] += 1
        elif record["arm"] not in self._arms:
            self.counts["of an arm that the spec lacks"] += 1
        elif not usable(self._spec.task, len(self._spec.classes), record["score"], record["scores"]):
            self.counts["score that is none"] += 1
        else:
            key, other = (record["served_ms"], place), self._found.get(record["id"])
            self.counts["repeated events"] += other is not None
            if other is None or key < other[:2]:
                self._found[record["id"]] = (*key, {n: record[n] for n in KEPT if n in record})

    def label(self, label: Label) -> None:
        """A label, in the order of the topic."""
        self.counts["labels read"] += 1
        self._clock_ms = max(self._clock_ms, label.time_ms)
        if label.id in self._labels:
            self.counts["repeated labels"] += 1
        else:
            self._labels[label.id] = (self._clock_ms, label.value)

    def exposed(self) -> tuple[Exposed, list[dict[str, Any]]]:
        """The exposures that count, in order, and their records."""
        kept: list[dict[str, Any]] = []
        units: dict[str, str] = {}
        moved = back = 0
        for _, _, record in sorted(self._found.values(), key=lambda found: found[:2]):
            first = record["unit"] not in units
            moved += units.setdefault(record["unit"], record["arm"]) != record["arm"]
            back += not first
            if first or self._each:
                kept.append(record)
        self.counts["further exposures of units"] = back
        self.counts["exposures by another arm than the unit's first"] = moved
        self.counts["exposures counted"] = len(kept)
        exposed = Exposed(
            np.array([self._arms[r["arm"]] for r in kept], np.int64),
            np.array([r["propensity"] for r in kept], np.float64),
            np.array([r["served_ms"] for r in kept], np.int64),
            [r["id"] for r in kept],
            np.array([r.get("control_seq", 0) for r in kept], np.int64),
        )
        return exposed, kept

    def outcomes(self, records: list[dict[str, Any]]) -> Outcomes:
        """Of these exposures, those whose outcome is known."""
        window_ms, negative = self._spec.label.window, self._spec.label.timeout != "drop"
        known: list[tuple[int, int, int, float]] = []  # clock, order among those of the same clock, row, label
        order = {event: i for i, event in enumerate(self._labels)}
        self.counts.update({"late labels": 0, "timed out": 0, "waiting": 0})
        for row, record in enumerate(records):
            clock_ms, value = self._labels.get(record["id"], (None, 0.0))
            due_ms = record["event_time_ms"] + window_ms
            if clock_ms is not None and clock_ms <= due_ms:
                known.append((clock_ms, order[record["id"]], row, value))
                continue
            self.counts["late labels"] += clock_ms is not None
            if self._clock_ms <= due_ms:
                self.counts["waiting"] += 1
            elif negative:
                self.counts["timed out"] += 1
                known.append((due_ms + 1, -1, row, 0.0))
            else:
                self.counts["timed out"] += clock_ms is None
        self.counts["outcomes"] = len(known)
        return self._columns(sorted(known), records)

    def _columns(self, ordered: list[tuple[int, int, int, float]], records: list[dict[str, Any]]) -> Outcomes:
        classes = self._spec.task == "classes"
        scores = [records[row]["scores"] if classes else records[row]["score"] for _, _, row, _ in ordered]
        shape = (len(ordered), len(self._spec.classes)) if classes else (len(ordered),)
        return Outcomes(
            np.array([row for _, _, row, _ in ordered], np.int64),
            np.array(scores, np.float64).reshape(shape),
            np.array([value for *_, value in ordered], np.float64),
            np.array([clock for clock, *_ in ordered], np.int64),
        )
