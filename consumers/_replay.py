"""Sending what is in `dead` again, once its cause is mended. Each record goes back to where it came from.

What was sent again is remembered by the group `<pipeline>.replay`, in one transaction with the records, so that a
second replay sends nothing twice: all before its offset was looked at, and its metadata tells what was picked beyond,
by place or by reason.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kafka import KafkaConsumer

import schemas
from consumers import _checkpoint
from consumers._kafka import (
    CONNECT_S,
    OffsetAndMetadata,
    Out,
    TopicPartition,
    broker_errors,
    consuming,
    make_consumer,
    make_producer,
    partitions_of,
)
from consumers._watchdog import Watchdog
from consumers.settings import Settings
from stream.errors import BrokerError, LimitReached
from stream.limits import COMMIT_METADATA_BYTES_MAX
from stream.spec import Spec

BATCH = 500
GAP = 500  # offsets that are read through rather than leapt over


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent again: all before `start` was looked at; beyond it, codes up to an offset, and single letters."""

    start: int
    codes: Mapping[str, int] = field(default_factory=dict)
    offsets: frozenset[int] = frozenset()

    @classmethod
    def of(cls, mark: OffsetAndMetadata | None, first: int) -> "Sent":
        """From the group's mark; none: nothing was. first: where the topic begins now."""
        if mark is None:
            return cls(first)
        told = json.loads(mark.metadata or "{}")
        spans = [list(map(int, span.split("-"))) for span in told.get("offsets", "").split(",") if span]
        return cls(mark.offset, told.get("codes", {}), frozenset(n for s in spans for n in range(s[0], s[-1] + 1)))

    def has(self, offset: int, code: str) -> bool:
        """Whether this letter needs no sending."""
        return offset < self.start or offset < self.codes.get(code, 0) or offset in self.offsets

    def upto(self, start: int) -> "Sent":
        """The same once all before `start` was looked at."""
        codes = {code: end for code, end in self.codes.items() if end > start}
        return Sent(start, codes, frozenset(n for n in self.offsets if n >= start))

    def mark(self) -> OffsetAndMetadata:
        """For the group. Raises LimitReached for more than Kafka keeps."""
        spans: list[list[int]] = []
        for n in sorted(self.offsets):
            if spans and n == spans[-1][-1] + 1:
                spans[-1][1:] = [n]
            else:
                spans.append([n])
        told = {"codes": dict(self.codes), "offsets": ",".join("-".join(map(str, s)) for s in spans)}
        text = json.dumps({k: v for k, v in told.items() if v})
        if len(text) > COMMIT_METADATA_BYTES_MAX:
            raise LimitReached(
                f"{len(self.offsets)} single letters were sent again, more than can be remembered in "
                f"{COMMIT_METADATA_BYTES_MAX} bytes; `headwater replay dead SPEC` sends all that is left"
            )
        return OffsetAndMetadata(self.start, "" if text == "{}" else text, -1)


@dataclass(frozen=True, slots=True)
class Replayed:
    """counts: code → how many were sent; before: sent earlier already; stays: carry no bytes, or were processed all
    the same; missing: of the offsets, those that the topic does not hold."""

    counts: dict[str, int]
    before: int
    stays: int
    missing: int


def replay_dead(
    spec: Spec, settings: Settings, codes: frozenset[str], dry_run: bool, progress: Callable[[int], Any]
) -> dict[str, int]:
    """Send dead events and labels again, those with these codes (none given: all). Returns code → how many.

    Blocks that the learner refused carry no bytes and stay. A record passed over for its code is not looked at
    again by later replays.
    """
    group, counts = f"{spec.name}.replay", Counter[str]()
    with broker_errors(settings):
        consumer = make_consumer(settings, group)
        tp, sent, end = _begin(consumer, spec, settings)
        consumer.seek(tp, sent.start)
        producer = None if dry_run else make_producer(settings, group)
        if producer is not None:
            producer.init_transactions()
        watchdog = Watchdog()
        while consumer.position(tp) < end:
            records = consumer.poll(timeout_ms=500, max_records=BATCH).get(tp, [])
            outs = []
            for offset, dead in _letters(records):
                if (
                    _goes_back(spec, dead)
                    and not sent.has(offset, dead["code"])
                    and (not codes or dead["code"] in codes)
                ):
                    counts[dead["code"]] += 1
                    outs.append(_out(dead))
            progress(len(records))
            if producer is not None and records:
                marks = {tp: sent.upto(records[-1].offset + 1).mark()}
                _checkpoint.commit(producer, consumer.group_metadata(), outs, marks, watchdog, settings)
        consumer.close(autocommit=False)
        if producer is not None:
            producer.close(timeout=5)
    return dict(counts)


def replay_picked(
    spec: Spec, settings: Settings, offsets: Iterable[int], code: str, watchdog: Watchdog | None = None
) -> Replayed:
    """Send these letters again, or all with this code, each once; the others stay as they are.

    Raises LimitReached when too many single ones were picked, BrokerError, TopicMissing.
    """
    group, wanted, counts = f"{spec.name}.replay", sorted(set(offsets)), Counter[str]()
    before = stays = found = 0
    with broker_errors(settings), consuming(settings, group) as consumer:
        producer = make_producer(settings, group)
        try:
            producer.init_transactions()  # fences others out; only then it is certain what was sent
            tp, sent, end = _begin(consumer, spec, settings)
            watchdog = watchdog or Watchdog()
            for records in _all(consumer, tp, sent.start, end) if code else _picked(consumer, tp, wanted, end):
                outs = []
                offsets_sent = set(sent.offsets)
                for offset, dead in _letters(records):
                    if code and dead["code"] != code:
                        continue
                    found += 1
                    if sent.has(offset, dead["code"]):
                        before += 1
                    elif not _goes_back(spec, dead):
                        stays += 1
                    else:
                        counts[dead["code"]] += 1
                        outs.append(_out(dead))
                        offsets_sent |= set() if code else {offset}
                codes = {**sent.codes, code: records[-1].offset + 1} if code else sent.codes
                sent = Sent(sent.start, codes, frozenset(offsets_sent))
                if outs:
                    _checkpoint.commit(producer, consumer.group_metadata(), outs, {tp: sent.mark()}, watchdog, settings)
        finally:
            producer.close(timeout=5)
    return Replayed(dict(counts), before, stays, 0 if code else len(wanted) - found)


def _begin(consumer: KafkaConsumer, spec: Spec, settings: Settings) -> tuple[TopicPartition, Sent, int]:
    """The dead topic's partition, assigned; what was sent; where it ends."""
    [tp] = partitions_of(consumer, [spec.topic("dead")], settings)
    consumer.assign([tp])
    sent = Sent.of(consumer.committed(tp, metadata=True), consumer.beginning_offsets([tp])[tp])
    return tp, sent, consumer.end_offsets([tp])[tp]


def _all(consumer: KafkaConsumer, tp: TopicPartition, start: int, end: int) -> Iterator[list[Any]]:
    """Records from start to end, BATCH at a time."""
    consumer.seek(tp, start)
    while consumer.position(tp) < end:
        if records := _more(consumer, tp):
            yield records


def _picked(consumer: KafkaConsumer, tp: TopicPartition, wanted: list[int], end: int) -> Iterator[list[Any]]:
    """Records at these offsets, as far as they are there."""
    first, at = consumer.beginning_offsets([tp])[tp], -GAP
    left = [n for n in wanted if first <= n < end]
    while left:
        if not at <= left[0] <= at + GAP:
            consumer.seek(tp, left[0])
        if chosen := [r for r in _more(consumer, tp) if r.offset in set(left)]:
            yield chosen
        at = consumer.position(tp)
        left = [n for n in left if n >= at]


def _more(consumer: KafkaConsumer, tp: TopicPartition) -> list[Any]:
    """What comes next; none where only Kafka's own markers do. Raises BrokerError when nothing comes at all."""
    at, until_s = consumer.position(tp), time.monotonic() + CONNECT_S
    while not (records := consumer.poll(timeout_ms=200, max_records=BATCH).get(tp, [])):
        if consumer.position(tp) > at:
            return []
        if time.monotonic() > until_s:
            raise BrokerError(f"{tp.topic}: no record for {CONNECT_S:g} s at offset {at}")
    return list(records)


def _letters(records: Iterable[Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    for r in records:
        yield r.offset, schemas.codec("dead").decode(r.value)


def _goes_back(spec: Spec, dead: Mapping[str, Any]) -> bool:
    """What the shipper buried was processed all the same: only its document is missing."""
    return dead["topic"] in (spec.topic("events"), spec.topic("labels")) and dead["step"] != "ship"


def _out(dead: Mapping[str, Any]) -> Out:
    return Out(dead["topic"], dead["value"], dead["key"])
