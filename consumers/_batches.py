"""A consumer whose polls hand over whole fetched batches as `Records`, without an object for each record.

kafka-python does all it did: connections, metadata, fetch sessions, positions, checksums, decompression, and which
transactions are aborted. Only its class for one partition's share of a fetch is replaced, the place at which it would
make the objects. Should a release of it have no such place, polls still work: its records are then copied.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from kafka import KafkaConsumer, TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.record.default_records import DefaultRecordBatch

from stream.arrive.recordbatch import NEVER, read_batches
from stream.arrive.records import Records, concat_records, records_of

_Base: Any = getattr(Fetcher, "PartitionRecords", object)


class _Taken:
    """What `take` gives to the fetcher: one thing to hand over, counted as its rows."""

    def __init__(self, records: Records | None) -> None:
        self._records = records

    def __len__(self) -> int:
        return 0 if self._records is None else len(self._records)

    def __iter__(self) -> Iterator[Records]:
        if self._records is not None:
            yield self._records


class BatchRecords(_Base):  # type: ignore[misc]
    """One partition's share of a fetch, taken in whole batches."""

    def __init__(self, fetch_offset: int, tp: TopicPartition, records: Any, **options: Any) -> None:
        super().__init__(fetch_offset, tp, records, **options)
        self._batches = records

    def take(self, n: int | None = None) -> _Taken:
        """Batches of at least `n` records together, if there are so many. Raises CorruptRecordError."""
        self._maybe_raise_next_inline_exception()
        found: list[Any] = []
        rows = 0
        try:
            while n is None or rows < n:
                batch = self._batches.next_batch()
                if batch is None:
                    self.drain()
                    break
                if self._wanted(batch):
                    found.append(batch)
                    rows += batch.records_count
                self.next_fetch_offset = batch.next_offset
            return _Taken(self._read(found))
        except CorruptRecordError as e:
            if not found:
                raise
            self._next_inline_exception = e
            self.next_fetch_offset = found[-1].next_offset
            return _Taken(self._read(found))

    def _wanted(self, batch: Any) -> bool:
        """Whether a batch holds records for us: checked, neither aborted nor a marker of Kafka's own."""
        if self.check_crcs and not batch.validate_crc():
            where = f"partition {self.topic_partition} at offset {batch.base_offset}"
            raise CorruptRecordError(f"Record batch for {where} failed crc check")
        if not isinstance(batch, DefaultRecordBatch):
            raise CorruptRecordError(f"{self.topic_partition}: message format v{batch.magic}; v2 is wanted")
        self.leader_epoch = batch.leader_epoch
        if self.isolation_level and batch.has_producer_id():
            self._consume_aborted_transactions_up_to(batch.last_offset)
            if self._contains_abort_marker(batch):
                self.aborted_producer_ids.discard(batch.producer_id)
            elif self._is_batch_aborted(batch):
                return False
        return not batch.is_control_batch

    def _read(self, batches: Sequence[Any]) -> Records | None:
        if not batches:
            return None
        pieces = []
        heads = np.empty((len(batches), 6), np.int64)
        at = 0
        for head, batch in zip(heads, batches, strict=True):
            iter(batch)  # decompresses
            body = memoryview(batch._buffer)[batch._pos :]
            append = batch.max_timestamp if batch.timestamp_type == batch.LOG_APPEND_TIME else NEVER
            head[:] = at, at + len(body), batch.records_count, batch.base_offset, batch.first_timestamp, append
            pieces.append(body)
            at += len(body)
        data = np.frombuffer(bytearray().join(pieces), np.uint8)
        places, damaged = read_batches(data, heads, self.fetch_offset)
        if damaged >= 0:
            where = f"partition {self.topic_partition} at offset {batches[damaged].base_offset}"
            raise CorruptRecordError(f"Record batch for {where}: found invalid record structure")
        self.records_read += places.shape[1]
        self.bytes_read += at
        return Records(self.topic_partition.topic, self.topic_partition.partition, data, *places)


def hand_over_batches(consumer: KafkaConsumer) -> KafkaConsumer:
    """Make this consumer's polls hand over `Records`; read them with `poll`."""
    fetcher: Any = getattr(consumer, "_fetcher", None)
    if hasattr(fetcher, "PartitionRecords"):
        read_batches(np.zeros(0, np.uint8), np.zeros((0, 6), np.int64), 0)  # compiles, or loads what was compiled
        fetcher.PartitionRecords = BatchRecords
    return consumer


def poll(consumer: KafkaConsumer, timeout_ms: int) -> dict[TopicPartition, Records]:
    """The records of one poll, by partition."""
    batch: Mapping[TopicPartition, Sequence[Any]] = consumer.poll(timeout_ms=timeout_ms)
    return {tp: _joined(tp, given) for tp, given in batch.items() if given}


def _joined(tp: TopicPartition, given: Sequence[Any]) -> Records:
    if isinstance(given[0], Records):
        return concat_records(given)
    return records_of(tp.topic, tp.partition, given)
