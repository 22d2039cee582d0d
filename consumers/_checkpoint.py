"""The one order in which work becomes durable. The same five steps everywhere, and in docs/ARCHITECTURE.md:

1. begin a transaction
2. send every record, flush, and wait for *every* future (a timed-out send leaves the commit reporting success)
3. send the offsets, with the state that a restart needs in their metadata
4. commit
5. only then let the steps know where their records lie

All of it under the watchdog. Any exception ends the process; a producer that failed is never used again, since an
aborted send_offsets leaks its offsets into the next transaction.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kafka import KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from kafka.structs import ConsumerGroupMetadata, OffsetAndMetadata

from consumers._crash import crash_point
from consumers._kafka import Out
from consumers._watchdog import Watchdog
from consumers.settings import Settings
from stream.errors import LimitReached
from stream.limits import COMMIT_METADATA_BYTES_MAX


def commit(
    producer: KafkaProducer,
    group: ConsumerGroupMetadata,
    outs: Sequence[Out],
    offsets: Mapping[TopicPartition, OffsetAndMetadata],
    watchdog: Watchdog,
    settings: Settings,
) -> list[int]:
    """Commit records and offsets as one; returns the offset of each record. See the module."""
    for tp, mark in offsets.items():
        if len(mark.metadata) > COMMIT_METADATA_BYTES_MAX:
            size = len(mark.metadata)
            raise LimitReached(f"{tp}: {size} bytes of commit metadata; at most {COMMIT_METADATA_BYTES_MAX}")
    with watchdog.guard(settings.commit_timeout_s, "commit to Kafka"):
        producer.begin_transaction()
        crash_point("commit.begun")
        try:
            futures = [producer.send(o.topic, value=o.value, key=o.key, partition=o.partition) for o in outs]
            crash_point("commit.sent")
            producer.flush(settings.delivery_timeout_ms / 1000)
            written = [wait(f, settings) for f in futures]
            crash_point("commit.before_offsets")
            producer.send_offsets_to_transaction(dict(offsets), group)
            crash_point("commit.before_commit")
        except Exception:
            _abort(producer)
            raise
        producer.commit_transaction()
        crash_point("commit.after_commit")
    return written


def wait(future: Any, settings: Settings) -> int:
    """The offset at which a sent record lies. Raises when it was not taken: the check that prevents silent loss."""
    return int(future.get(timeout=settings.delivery_timeout_ms / 1000).offset)


def _abort(producer: KafkaProducer) -> None:
    """Abort, so that readers need not wait for the transaction to time out; the process ends anyway."""
    try:
        producer.abort_transaction()
    except KafkaError:
        return
