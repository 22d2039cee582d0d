"""The front of the pipeline: any contiguous run of clean → encode → join, in one process.

A boundary inside the run is a function call; at its ends it is a topic. The code of a step is the same in both.
Positions are always those of the run's first topic. What a restart needs is in the commit's metadata: for clean the
counts; for join the marks from which its waiting rows are read again (see stream/join/join.py).
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from consumers._busy import Busy, Work
from consumers._kafka import Out, read_range
from consumers.clean import CleanCounts, CleanStep, dead_letter
from consumers.encode import EncodeStep
from consumers.join import JoinStep
from consumers.settings import Settings
from stream.arrive.records import Records
from stream.block import I64, Block, Columns, Training, concat, decode_features, take
from stream.clean.record import CleanCodec
from stream.join.join import fresh_features_mark, fresh_labels_mark
from stream.limits import LABELS_AHEAD_MAX
from stream.spec import Spec

READS = {"clean": "events", "encode": "clean", "join": "features"}
T = TypeVar("T")
Committed = Mapping[TopicPartition, OffsetAndMetadata | None]


class Front:
    """One run of steps. The loop calls `begin` once, then `feed`, `take_*` and `marks` in turn."""

    def __init__(self, spec: Spec, settings: Settings, steps: Sequence[str], upstream_done: Callable[[], bool]) -> None:
        self.spec, self.steps, self._upstream_done = spec, tuple(steps), upstream_done
        self.head = spec.topic(READS[steps[0]])
        self.labels = TopicPartition(spec.topic("labels"), 0) if "join" in steps else None
        self._clean = CleanStep(spec, settings) if "clean" in steps else None
        self._clean_codec = CleanCodec(spec)
        self._encode = EncodeStep(spec)
        self._join: JoinStep | None = None
        self._next: dict[TopicPartition, int] = {}
        self._outs: list[Out] = []
        self.busy = Busy()
        self._training: list[Training] = []

    @property
    def topics(self) -> list[str]:
        """What is read."""
        return [self.head] + ([self.labels.topic] if self.labels else [])

    @property
    def heads(self) -> dict[TopicPartition, int]:
        """Partitions of the first topic, and up to where each was read."""
        return {tp: at for tp, at in self._next.items() if tp.topic == self.head}

    # -- start -----------------------------------------------------------------------------------------

    def begin(self, consumer: KafkaConsumer, committed: Committed) -> None:
        """Take up the marks of the last commit; the consumer stands at the committed offsets afterwards."""
        if self._clean and len(self.steps) > 1:
            self._clean.warm()
        marks = {tp: json.loads(m.metadata) for tp, m in committed.items() if m}
        first = consumer.beginning_offsets(list(committed))
        self._next.update({tp: m.offset if m else first[tp] for tp, m in committed.items()})
        if self._clean:
            for tp in committed:
                if tp.topic == self.head:
                    self._clean.counts[tp.partition] = CleanCounts.of(marks.get(tp, {}).get("clean", {}))
        if self.labels is not None:
            self._begin_join(consumer, committed, marks)

    def _begin_join(self, consumer: KafkaConsumer, committed: Committed, marks: Mapping[TopicPartition, Any]) -> None:
        assert self.labels is not None
        heads = [tp for tp in committed if tp.topic == self.head]
        self._join = JoinStep(self.spec, [tp.partition for tp in heads])
        end = self._next[self.labels]
        mark = marks.get(self.labels) or fresh_labels_mark(end)
        features = {tp: marks.get(tp) or fresh_features_mark(self._next[tp]) for tp in heads}
        self._join.begin_rebuild({tp.partition: features[tp] for tp in heads}, mark, end)
        for tp in heads:
            for records in read_range(consumer, tp, features[tp]["low"], self._next[tp]):
                self._take_head(tp.partition, records, replay=True)
        settled = [r for records in read_range(consumer, self.labels, mark["low"], end) for r in records]
        self._join.end_rebuild(settled, mark["counts"])

    # -- work ------------------------------------------------------------------------------------------

    def paused(self) -> set[TopicPartition]:
        """Partitions that run too far ahead of the others to be read now."""
        ahead = self._join is not None and self._join.waiting_labels > LABELS_AHEAD_MAX
        return {self.labels} if ahead and self.labels else set()

    def feed(self, batch: Mapping[TopicPartition, Records], idle_s: float) -> None:
        """Work through the records of one poll."""
        for tp, records in batch.items():
            if tp == self.labels and self._join is not None:
                with self.busy.step("join", 0):
                    self._join.add_labels(records)
            else:
                self._take_head(tp.partition, records, replay=False)
            self._next[tp] = int(records.offset[-1]) + 1
        if self._join is not None:
            with self.busy.step("join", 0) as work:
                training, dead = self._join.advance(self._nothing_on_its_way(idle_s))
                if training is not None:
                    work.ids, work.about["headwater.joined"] = [training.block.ids], len(training)
            self._outs += dead
            self._training += [training] if training is not None else []

    def _nothing_on_its_way(self, idle_s: float) -> bool:
        assert self._join is not None
        patient = idle_s * 1000 >= self.spec.label.orphan_wait
        return bool(patient and self._join.waiting_labels and self._upstream_done())

    def _take_head(self, partition: int, records: Records, replay: bool) -> None:
        if self.steps[0] == "join":
            for r, block in self._readable(records, lambda r: decode_features(r.value), replay):
                self._take_block(partition, block, [r.offset] * len(block))
            return
        if self._clean is None:
            good = [r for r, _ in self._readable(records, lambda r: self._encode.read([r]), replay)]
            self._take_columns(partition, [self._encode.read(good)] if good else [], [r.offset for r in good])
        elif self.steps[-1] == "clean":
            self._tell_clean(partition, self._clean, records)
        else:
            with self.busy.step("clean", len(records)) as work:
                pieces, dead = self._clean.columns(partition, records, replay)
                work.ids = [] if replay else self._told_of(records, pieces, work)
            self._outs += dead
            self._take_columns(partition, pieces)

    def _told_of(self, records: Records, pieces: Sequence[Columns], work: Work) -> list[list[str]]:
        """Where spans are made: that of the publishing of each event, and where the block lies; its ids."""
        if self.busy.spans is not None and len(records):
            first, last = int(records.offset[0]), int(records.offset[-1])
            work.about = {"topic": records.topic, "partition": records.partition, "first": first, "last": last}
            for columns in pieces:
                times = records.timestamp[np.searchsorted(records.offset, columns.offset)].tolist()
                self.busy.spans.published(columns.ids, times)
        return [columns.ids for columns in pieces]

    def _tell_clean(self, partition: int, clean: CleanStep, records: Records) -> None:
        """Clean is the last step here: its topic is written."""
        with self.busy.step("clean", len(records)) as work:
            cleaned, dead = clean.clean(partition, records, replay=False)
            work.ids = self._told_of(records, [cleaned.columns], work)
        self._outs += dead
        values = self._clean_codec.encode(cleaned.columns, cleaned.changes)
        topic, ids = self.spec.topic("clean"), cleaned.columns.ids
        self._outs += [Out(topic, v, i.encode(), partition) for i, v in zip(ids, values, strict=True)]

    def _take_columns(self, partition: int, pieces: Sequence[Columns], positions: Sequence[int] | None = None) -> None:
        """Encode; rows of several pieces go back into the order of their offsets. positions: those, if not given."""
        rows = sum(map(len, pieces))
        if not rows:
            return
        with self.busy.step("encode", rows) as work:
            work.ids = [columns.ids for columns in pieces]
            block = concat([self._encode.encode(columns) for columns in pieces])
            if len(pieces) > 1:
                block = take(block, np.argsort(block.offset, kind="stable"))
        self._take_block(partition, block, block.offset if positions is None else positions)

    def _readable(self, records: Sequence[Any], read: Callable[[Any], T], replay: bool) -> Iterator[tuple[Any, T]]:
        """Records of our own topics with what `read` makes of them; those that are none of ours go to `dead`."""
        for r in records:
            try:
                found = read(r)
            except ValueError as e:
                if not replay:
                    self._outs.append(dead_letter(self.spec, r, self.steps[0], "block.undecodable", str(e)))
                continue
            yield r, found

    def _take_block(self, partition: int, block: Block, positions: Sequence[int] | I64) -> None:
        if self._join is not None:
            with self.busy.step("join", len(block)):
                self._join.add_features(block, partition, positions)
        else:
            self._outs += self._encode.outs(block, partition)

    # -- what comes out --------------------------------------------------------------------------------

    def take_outs(self) -> list[Out]:
        """Records to send, once."""
        outs, self._outs = self._outs, []
        return outs

    def take_training(self) -> list[Training]:
        """Joined rows, once."""
        training, self._training = self._training, []
        return training

    def marks(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What to commit with the records taken so far."""
        out = {}
        for tp, offset in self._next.items():
            mark: dict[str, Any] = {}
            if tp == self.labels and self._join is not None:
                mark, offset = self._join.labels_mark(), self._join.next_label
            elif self._join is not None:
                mark = self._join.features_mark(tp.partition)
            if self._clean and tp.topic == self.head:
                mark["clean"] = self._clean.counts[tp.partition].to_json()
            out[tp] = OffsetAndMetadata(offset, json.dumps(mark, separators=(",", ":")), -1)
        return out

    def reached(self, positions: Mapping[TopicPartition, int]) -> None:
        """Everything before these positions is read, be it records or Kafka's own markers."""
        self._next.update({tp: max(self._next[tp], at) for tp, at in positions.items() if tp in self._next})
        if self._join is not None and self.labels in positions:
            self._join.reached(positions[self.labels])
