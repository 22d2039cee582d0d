"""join: features + labels → the training log. Holds the label side, the marks of a restart, and the dead letters.

A label that is refused (undecodable, outside the task, late, orphaned, duplicate) goes to `dead` in its turn, so
that a restart neither loses nor repeats it.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from consumers._kafka import Out
from consumers.clean import dead_letter
from stream.block import I64, Block, Training
from stream.encode.encoder import layout_of
from stream.join.columns import LabelColumns
from stream.join.join import Join
from stream.join.labels import decode_label
from stream.join.warm import warm
from stream.spec import Spec


class JoinStep:
    """The join of one pipeline, with its labels topic."""

    def __init__(self, spec: Spec, partitions: Sequence[int]) -> None:
        warm(spec)
        label = spec.label
        negative = label.timeout == "negative"
        self._spec = spec
        self._reader = LabelColumns(spec)
        policy = (negative, label.corrections == "learn", label.fake_after_ms)
        self._join = Join(spec.hash, layout_of(spec), partitions, label.window, label.grace, *policy)
        self._bad: deque[tuple[int, Out]] = deque()
        self._end = 0  # labels were read up to here
        self._rejected = 0

    # -- start -----------------------------------------------------------------------------------------

    def begin_rebuild(self, features: Mapping[int, dict[str, Any]], labels: dict[str, Any], end: int) -> None:
        """Take up the marks of the last commit."""
        self._join.begin_rebuild(dict(features), labels)
        self._rejected, self._end = labels["rejected"], end

    def end_rebuild(self, settled: Sequence[Any], counts: dict[str, int]) -> None:
        """Replay, in silence, the label records between the mark and the last commit."""
        labels, _ = self._reader.read(settled)
        self._join.end_rebuild(labels, counts)

    # -- work ------------------------------------------------------------------------------------------

    def add_features(self, block: Block, partition: int, positions: Sequence[int] | I64) -> None:
        """Encoded events; see Join."""
        self._join.add_features(block, partition, positions)

    def add_labels(self, records: Sequence[Any]) -> None:
        """Consumed records of the labels topic: `Records`, or objects like `Record`."""
        labels, rejects = self._reader.read(records)
        for row, reject in rejects:
            r = records[row]
            letter = dead_letter(self._spec, r, "join", reject.code, reject.detail, _id_in(r.value))
            self._bad.append((r.offset, letter))
        self._join.add_labels(labels)
        self._end = records[-1].offset + 1

    def reached(self, end: int) -> None:
        """Labels are read up to here, Kafka's own markers included."""
        self._end = max(self._end, end)

    def advance(self, caught_up: bool) -> tuple[Training | None, list[Out]]:
        """Join as far as certain: rows for the training log, and dead letters."""
        training, refused = self._join.advance(caught_up)
        dead = [dead_letter(self._spec, r.label.source, "join", r.code, r.detail, r.label.id) for r in refused]
        while self._bad and self._bad[0][0] < self.next_label:
            dead.append(self._bad.popleft()[1])
            self._rejected += 1
        return training, dead

    # -- what a restart needs --------------------------------------------------------------------------

    @property
    def next_label(self) -> int:
        """Offset from which labels must be read again."""
        return self._join.next_label(self._end)

    @property
    def waiting_labels(self) -> int:
        """Labels that wait for their event."""
        return self._join.waiting_labels

    def features_mark(self, partition: int) -> dict[str, Any]:
        """See Join.features_mark."""
        return dict(self._join.features_mark(partition))

    def labels_mark(self) -> dict[str, Any]:
        """See Join.labels_mark; besides, how many labels were rejected and how many rows wait."""
        mark = self._join.labels_mark(self._end)
        return {**mark, "rejected": self._rejected, "pending": self._join.pending, "waiting": self.waiting_labels}


def _id_in(value: bytes | None) -> str:
    """The id of a label whose value or time is refused; nothing where it can't be read."""
    try:
        return decode_label(value or b"")[0]
    except ValueError:
        return ""
