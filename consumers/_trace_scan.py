"""Reading topics for what they hold about one event: bounded to where they end now, whole batches at a time.

A record is decoded only if its bytes hold the id, which a search of the fetched buffer tells; where an id is not
written as text, each record is. Invariant: no group is joined and nothing is committed, so looking changes nothing.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition

from consumers._kafka import consuming, make_consumer, partitions_of, read_range
from consumers.settings import Settings
from stream.arrive.records import Record, Records
from stream.errors import BrokerError
from stream.spec import Spec

Told = Callable[[int, int | None], None]
ONE_S_MAX = 15.0
NEEDLE_BYTES_MIN = 2  # a shorter one is nearly everywhere


def rows_with(records: Records, needles: Sequence[bytes]) -> list[int]:
    """Rows whose key or value holds one of these, ascending; all rows where one is too short to be looked for."""
    if any(len(n) < NEEDLE_BYTES_MIN for n in needles):
        return list(range(len(records)))
    begin = np.where(records.key_start >= 0, records.key_start, records.value_start)
    end = np.maximum(records.key_end, records.value_end)
    rows = np.flatnonzero(begin >= 0)  # their places ascend as they do: a record is its key, then its value
    begins, data, found = begin[rows], records.data.tobytes(), set[int]()
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            place = int(np.searchsorted(begins, at, side="right")) - 1
            row = int(rows[place]) if place >= 0 else -1
            if row >= 0 and at + len(needle) <= end[row]:
                found.add(row)
                at = data.find(needle, int(end[row]))
            else:
                at = data.find(needle, at + 1)
    return sorted(found)


class Scan:
    """One reader of a pipeline's topics. A context manager; `searched` tells what was read."""

    def __init__(self, spec: Spec, settings: Settings, since_ms: int | None, told: Told) -> None:
        self._spec, self._settings, self._since_ms, self._told = spec, settings, since_ms, told
        self._consumer: KafkaConsumer = make_consumer(settings, None, batches=True)
        self._bounds: dict[TopicPartition, tuple[int, int]] = {}
        self._done = 0
        self.searched: dict[str, int] = {}  # topic → records

    def __enter__(self) -> "Scan":
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close(autocommit=False, timeout_ms=2000)

    def bound(self, suffixes: Sequence[str], after: Mapping[TopicPartition, int]) -> None:
        """Fix from where to where each partition is read: up to its end now; not before what `after` names."""
        partitions = partitions_of(self._consumer, [self._spec.topic(s) for s in suffixes], self._settings)
        self._consumer.assign(partitions)
        first, ends = self._consumer.beginning_offsets(partitions), self._consumer.end_offsets(partitions)
        since = self._since(partitions)
        for tp in partitions:
            start = max(first[tp], since.get(tp, 0), after.get(tp, 0))
            self._bounds[tp] = min(start, ends[tp]), ends[tp]

    def _since(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        """Where the records of so long ago begin; the end, where there are none since."""
        if self._since_ms is None:
            return {}
        found = self._consumer.offsets_for_times(dict.fromkeys(partitions, self._since_ms))
        ends = self._consumer.end_offsets(list(partitions))
        return {tp: ends[tp] if mark is None else mark.offset for tp, mark in found.items()}

    def again(self) -> None:
        """Begin to count what is done from the start."""
        self._done, self.searched = 0, {}

    @property
    def total(self) -> int:
        """Records to read, Kafka's own markers counted too."""
        return sum(end - start for start, end in self._bounds.values())

    def records(self, suffix: str) -> Iterator[Records]:
        """All records of a topic, partition by partition."""
        topic = self._spec.topic(suffix)
        self.searched.setdefault(topic, 0)
        for tp, (start, end) in self._bounds.items():
            if tp.topic != topic:
                continue
            self._consumer.assign([tp])
            base = self._done
            for records in read_range(self._consumer, tp, start, end):
                if len(records):
                    self.searched[topic] += len(records)
                    yield records
                    self._told(base + int(records.offset[-1]) + 1 - start, self.total)
            self._done = base + end - start
            self._told(self._done, self.total)

    def with_text(self, suffix: str, needles: Sequence[bytes]) -> Iterator[Record]:
        """The records of a topic that hold one of these bytes."""
        for records in self.records(suffix):
            for row in rows_with(records, needles):
                yield records[row]


def one(settings: Settings, places: Sequence[tuple[TopicPartition, int]]) -> Iterator[tuple[int, Any]]:
    """The records at these places as kafka-python gives them, headers and all, each with its number in `places`.

    What is no longer there is passed over.
    """
    with consuming(settings) as consumer:
        for number, (tp, offset) in enumerate(places):
            consumer.assign([tp])
            first, end = consumer.beginning_offsets([tp])[tp], consumer.end_offsets([tp])[tp]
            if not first <= offset < end:
                continue
            consumer.seek(tp, offset)
            until_s = time.monotonic() + ONE_S_MAX
            while consumer.position(tp) <= offset:
                found = [r for r in consumer.poll(timeout_ms=200, max_records=1).get(tp, []) if r.offset == offset]
                if found:
                    yield number, found[0]
                    break
                if time.monotonic() > until_s:
                    raise BrokerError(f"{tp.topic} partition {tp.partition}: no record for {ONE_S_MAX:g} s at {offset}")
