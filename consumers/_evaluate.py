"""evaluate: outcomes meet the predictions that were served; quality by arm, as the callers saw it.

It reads predictions and labels from the beginning at each start, so it needs no state of its own; the records that
it writes replace themselves by key. Both sides wait in bounded memory, the oldest
of a million entries giving way. The first exposure of an event counts for each arm, and the first label. What a shadow
arm would have answered is measured the same way, beside it: kind `shadow` instead of `served`. Beside that it tells the
pipeline's vital signs (`_vitals.py`).
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

import schemas
from consumers._kafka import Out
from consumers._metric import metric_out
from consumers._vitals import Vitals
from stream.arrive.records import Records
from stream.arrive.reject import Reject
from stream.evaluate.prequential import Prequential
from stream.join.labels import LabelReader
from stream.spec import Spec

HELD_MAX = 1_000_000
SERVED, SHADOW = "served", "shadow"
_Of = tuple[str, str]  # kind and arm


class Evaluate:
    """Implements the loop's Chain."""

    shared = False
    overlaps = False

    def __init__(self, spec: Spec, vitals: Vitals | None = None) -> None:
        self._spec, self._vitals = spec, vitals
        self.group = f"{spec.name}.evaluate"
        self._reader = LabelReader(spec)
        self._labels: OrderedDict[str, float] = OrderedDict()
        self._waiting: OrderedDict[str, dict[_Of, Any]] = OrderedDict()  # event id → kind and arm → scores
        self._seen: OrderedDict[tuple[str, _Of], None] = OrderedDict()
        self._metrics: dict[_Of, Prequential] = {}
        kinds = [(SERVED, arm) for arm in spec.arms] + [(SHADOW, arm) for arm, a in spec.arms.items() if a.shadow]
        self.exposures: dict[_Of, int] = dict.fromkeys(kinds, 0)
        self.outcomes: dict[_Of, int] = dict.fromkeys(kinds, 0)
        self._time_ms = 0
        self._outs: list[Out] = []
        self._next: dict[TopicPartition, int] = {}
        self._dirty = False

    @property
    def topics(self) -> list[str]:
        """See Chain."""
        return [self._spec.topic("predictions"), self._spec.topic("labels")]

    @property
    def writes(self) -> list[str]:
        """See Chain."""
        return [self._spec.topic("metrics")]

    def begin(self, consumer: KafkaConsumer, committed: dict[TopicPartition, OffsetAndMetadata | None]) -> None:
        """See Chain. Always from the beginning."""
        consumer.seek_to_beginning(*committed)

    def paused(self) -> set[TopicPartition]:
        """See Chain."""
        return set()

    def feed(self, batch: Mapping[TopicPartition, Records], idle_s: float) -> None:
        """See Chain."""
        labels = self._spec.topic("labels")
        for tp, records in batch.items():
            for r in records:
                if tp.topic == labels:
                    self._label(r)
                else:
                    self._exposure(r)
            self._next[tp] = records[-1].offset + 1
        self._dirty |= bool(batch)

    def _label(self, record: Any) -> None:
        label = self._reader.read_bytes(record.value or b"", record.offset, record.timestamp)
        if isinstance(label, Reject) or label.id in self._labels:
            return
        _bounded_put(self._labels, label.id, label.value)
        self._time_ms = max(self._time_ms, label.time_ms)
        for of, scores in self._waiting.pop(label.id, {}).items():
            self._outcome(of, scores, label.value)

    def _exposure(self, record: Any) -> None:
        try:
            p = schemas.codec("prediction").decode(record.value or b"")
        except ValueError:
            return
        if self._vitals is not None:
            self._vitals.ratio.exposure(p)
        self._scored(p["id"], (SERVED, p["arm"]), p)
        for shadow in p["shadows"]:
            self._scored(p["id"], (SHADOW, shadow["arm"]), shadow)

    def _scored(self, event_id: str, of: _Of, by: Mapping[str, Any]) -> None:
        """An event was scored by an arm; `by` has score and scores."""
        key = event_id, of
        if key in self._seen or of not in self.exposures:
            return
        _bounded_put(self._seen, key, None)
        self.exposures[of] += 1
        scores = by["scores"] if self._spec.task == "classes" else [by["score"]]
        if event_id in self._labels:
            self._outcome(of, scores, self._labels[event_id])
        else:
            _bounded_put(self._waiting, event_id, {**self._waiting.get(event_id, {}), of: scores})

    def _outcome(self, of: _Of, scores: Sequence[float], label: float) -> None:
        if of not in self._metrics:
            size, fading = max(50, self._spec.metrics.window_rows // 5), self._spec.metrics.fading
            self._metrics[of] = Prequential(self._spec.task, len(self._spec.classes), size, fading)
        self.outcomes[of] += 1
        row = np.array([scores], np.float64) if self._spec.task == "classes" else np.array(scores, np.float64)
        times = np.array([self._time_ms], np.int64)
        for window in self._metrics[of].update(row, np.array([label]), times):
            self._tell(*of, window.number, window.rows, window.values)

    def _tell(self, kind: str, arm: str, window: int, rows: int, values: Mapping[str, float]) -> None:
        self._outs.append(metric_out(self._spec, kind, arm, window, rows, self._time_ms, values))

    def take(self) -> list[Out]:
        """See Chain."""
        if self._dirty:
            for of, exposures in self.exposures.items():
                kind, arm = of
                totals = self._metrics[of].totals() if of in self._metrics else {}
                counts = {"exposures": float(exposures), "outcomes": float(self.outcomes[of])}
                self._tell(f"{kind}_total", arm, 0, self.outcomes[of], {**totals, **counts})
            self._dirty = False
        outs, self._outs = self._outs, []
        return outs + (self._vitals.take() if self._vitals is not None else [])

    def marks(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """See Chain; for the lag that `status` shows, never for starting."""
        return {tp: OffsetAndMetadata(offset, "{}", -1) for tp, offset in self._next.items()}

    def written(self, outs: Sequence[Out], offsets: Sequence[int]) -> None:
        """See Chain."""

    def reached(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Chain."""
        self._next.update(positions)

    def finish(self) -> None:
        """See Chain."""


def _bounded_put(held: OrderedDict[Any, Any], key: Any, value: Any) -> None:
    held[key] = value
    if len(held) > HELD_MAX:
        held.popitem(last=False)
