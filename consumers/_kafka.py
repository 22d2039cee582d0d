"""The adapter to Kafka: clients made the one safe way, and errors turned into ours.

Pitfalls that are measured in docs/decisions/kafka-loop.md decide each setting here. Values are bytes both ways:
a deserializer that raises makes kafka-python's poll spin.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError, TopicAlreadyExistsError
from kafka.structs import OffsetAndMetadata
from tenacity import retry, retry_if_exception, stop_after_delay, wait_random_exponential

from consumers._batches import hand_over_batches, poll
from consumers._producer import CONNECT_S, DEAD_BYTES_MAX, MESSAGE_BYTES_MAX, Out, common, make_producer
from consumers.settings import Settings
from stream.arrive.records import Records
from stream.errors import BrokerError, OffsetLost, TopicMissing

__all__ = [
    "CONNECT_S", "DEAD_BYTES_MAX", "MESSAGE_BYTES_MAX", "OffsetAndMetadata", "Out", "TopicPartition", "make_producer",
]  # fmt: skip
POLL_RECORDS, BATCHED_POLL_RECORDS = 4_000, 16_000


@contextmanager
def broker_errors(settings: Settings) -> Iterator[None]:
    """Turn kafka-python's errors into one line."""
    try:
        yield
    except KafkaError as e:
        text = " ".join(str(e).split()) or type(e).__name__
        raise BrokerError(f"Kafka at {settings.kafka}: {text}") from e


def make_consumer(settings: Settings, group: str | None, batches: bool = False) -> KafkaConsumer:
    """A consumer of committed records only; where to begin is always said explicitly.

    With `batches`, read it with `_batches.poll`: records come as columns.
    """
    consumer = KafkaConsumer(
        **common(settings),
        group_id=group,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="none",
        allow_auto_create_topics=False,
        max_poll_records=BATCHED_POLL_RECORDS if batches else POLL_RECORDS,
        fetch_max_wait_ms=100,
        max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
        bootstrap_timeout_ms=round(CONNECT_S * 1000),
        metrics_enabled=False,
    )
    return hand_over_batches(consumer) if batches else consumer


@contextmanager
def consuming(settings: Settings, group: str | None = None, batches: bool = False) -> Iterator[KafkaConsumer]:
    """A consumer, closed in the end; it never commits by itself."""
    consumer = make_consumer(settings, group, batches)
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=2000)


def make_admin(settings: Settings) -> KafkaAdminClient:
    """An admin client."""
    return KafkaAdminClient(**common(settings), bootstrap_timeout_ms=round(CONNECT_S * 1000))


def partitions_of(consumer: KafkaConsumer, topics: Iterable[str], settings: Settings) -> list[TopicPartition]:
    """All partitions of the topics. Raises TopicMissing naming those that don't exist."""
    found, missing = [], []
    for topic in topics:
        numbers = _partitions_soon(consumer, topic)
        found += [TopicPartition(topic, n) for n in sorted(numbers)]
        missing += [] if numbers else [topic]
    if missing:
        raise TopicMissing(
            f"no topic {', '.join(missing)} on {settings.kafka}; `headwater topics create SPEC` makes them"
        )
    return found


def _partitions_soon(consumer: KafkaConsumer, topic: str, seconds: float = 3.0) -> set[int]:
    """Partitions of a topic; asked again for a while, since metadata of a new topic lags behind."""
    until = time.monotonic() + seconds
    while not (numbers := consumer.partitions_for_topic(topic)) and time.monotonic() < until:
        time.sleep(0.2)
    return set(numbers or ())


def check_offset(consumer: KafkaConsumer, tp: TopicPartition, offset: int) -> None:
    """Raise OffsetLost when `offset` is no longer, or not yet, in the partition."""
    first, end = consumer.beginning_offsets([tp])[tp], consumer.end_offsets([tp])[tp]
    if not first <= offset <= end:
        raise OffsetLost(
            f"{tp.topic} partition {tp.partition}: offset {offset} is needed, but the topic holds {first} to {end}; "
            "going on would skip or repeat records, so this stops"
        )


TOPICS: Mapping[str, Mapping[str, str]] = {
    "events": {},
    "clean": {},
    "features": {},
    "labels": {},
    "training": {"retention.ms": "-1"},
    "predictions": {},
    "metrics": {"cleanup.policy": "compact"},
    "models": {"cleanup.policy": "compact"},
    "experiment": {"retention.ms": "-1"},
    "dead": {"max.message.bytes": str(DEAD_BYTES_MAX)},
    "logs": {},
}
_AS_EVENTS = ("events", "clean", "features")


def _topic(spec: Any, suffix: str) -> dict[str, Any]:
    count = spec.topics.events if suffix in _AS_EVENTS else 1
    return {
        "num_partitions": spec.topics.predictions if suffix == "predictions" else count,
        "replication_factor": spec.topics.replication,
        "configs": {"max.message.bytes": str(MESSAGE_BYTES_MAX), **TOPICS[suffix]},
    }


def create_topics(settings: Settings, spec: Any, suffixes: Iterable[str] = TOPICS) -> dict[str, bool]:
    """Make the pipeline's topics; returns full name → whether it is new. Those that exist are left alone."""
    made: dict[str, bool] = {}
    with broker_errors(settings):
        admin = make_admin(settings)
        try:
            there = set(admin.list_topics())
            wanted = {spec.topic(suffix): _topic(spec, suffix) for suffix in suffixes}
            made = {name: name not in there for name in wanted}
            if any(made.values()):
                admin.create_topics({n: t for n, t in wanted.items() if made[n]}, wait_for_metadata=True)
        except TopicAlreadyExistsError:
            return {**made, **dict.fromkeys(made, False)}  # somebody else made them at the same time
        finally:
            admin.close()
    return made


def read_range(consumer: KafkaConsumer, tp: TopicPartition, start: int, end: int) -> Iterator[Records]:
    """Records of one assigned partition with start ≤ offset < end, in batches; the position is `end` after.

    Raises OffsetLost when `start` is no longer there, BrokerError when the broker gives nothing for 60 s.
    """
    if start >= end:
        return
    check_offset(consumer, tp, start)
    others = [other for other in consumer.assignment() if other != tp]
    consumer.pause(*others)
    consumer.seek(tp, start)
    heard_s = time.monotonic()
    while consumer.position(tp) < end:
        records = poll(consumer, 500).get(tp)
        if records:
            heard_s = time.monotonic()
            yield records[: int(np.searchsorted(records.offset, end))]
        elif time.monotonic() - heard_s > 60:
            where = f"{tp.topic} partition {tp.partition}"
            raise BrokerError(f"{where}: no record for 60 s while reading {start} to {end}")
    consumer.seek(tp, end)
    consumer.resume(*others)


@retry(
    retry=retry_if_exception(lambda e: isinstance(e, KafkaError) and bool(e.retriable)),
    wait=wait_random_exponential(0.1, max=1.0),
    stop=stop_after_delay(CONNECT_S),
    reraise=True,
)
def _again(call: Callable[[], Any]) -> Any:
    """Ask again for what a new or restarted broker can't say yet (no coordinator so far, say)."""
    return call()


def groups_offsets(settings: Settings, groups: Iterable[str]) -> dict[str, dict[TopicPartition, OffsetAndMetadata]]:
    """What each group has committed; {} for one that never did."""
    admin, asked = make_admin(settings), list(groups)
    try:
        found = _again(lambda: admin.list_group_offsets(dict.fromkeys(asked)))
    finally:
        admin.close()
    return {g: {tp: mark for tp, mark in found.get(g, {}).items() if mark.offset >= 0} for g in asked}


def group_offsets(settings: Settings, group: str) -> dict[TopicPartition, OffsetAndMetadata]:
    """What one group has committed; {} for one that never did."""
    return groups_offsets(settings, [group])[group]


def end_offsets(settings: Settings, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Where committed records of the partitions end now."""
    with consuming(settings) as consumer:
        return dict(consumer.end_offsets(list(partitions)))


def lag(settings: Settings, read_to: Mapping[TopicPartition, int]) -> int:
    """Committed records that lie at or beyond these offsets now."""
    ends = end_offsets(settings, read_to)
    return sum(max(0, ends[tp] - offset) for tp, offset in read_to.items())
