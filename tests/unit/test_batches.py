"""Whole fetched batches against kafka-python's own reading of the same bytes."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.consumer.fetcher import Fetcher
from kafka.errors import CorruptRecordError
from kafka.protocol.consumer import IsolationLevel
from kafka.record.memory_records import MemoryRecords, MemoryRecordsBuilder

from consumers._batches import BatchRecords, _joined
from stream.arrive.records import Record, Records, concat_records, records_of

TP = TopicPartition("t", 3)
NONE, GZIP, LZ4, ZSTD = 0, 1, 3, 4
small = st.one_of(st.none(), st.binary(max_size=40))
one_record = st.tuples(small, small, st.lists(st.tuples(st.text(max_size=5), small), max_size=3))


def batch(codec: int, first: int, records: list[Any], **options: Any) -> bytes:
    """One batch of the format v2, as a producer makes it."""
    made = MemoryRecordsBuilder(2, codec, 1 << 22, offset=first, **options)
    for number, (key, value, headers) in enumerate(records):
        made.append(timestamp=1_000 + 7 * number, key=key, value=value, headers=headers)
    made.close()
    return bytes(made.buffer())


def stock(data: bytes, start: int, aborted: Any = None) -> list[Any]:
    """What kafka-python hands over."""
    part = Fetcher.PartitionRecords(
        start, TP, MemoryRecords(data), isolation_level=IsolationLevel.READ_COMMITTED, aborted_transactions=aborted
    )
    return list(part.take())


def ours(data: bytes, start: int, aborted: Any = None) -> BatchRecords:
    return BatchRecords(
        start, TP, MemoryRecords(data), isolation_level=IsolationLevel.READ_COMMITTED, aborted_transactions=aborted
    )


def plain(records: Any) -> list[tuple[Any, ...]]:
    return [(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value) for r in records]


@pytest.mark.parametrize("codec", [NONE, GZIP, LZ4, ZSTD])
@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(one_record, min_size=1, max_size=20), min_size=1, max_size=4), st.integers(0, 60))
def test_the_records_are_those_of_kafka_python(codec: int, batches: list[list[Any]], start: int) -> None:
    data, offset = b"", 0
    for records in batches:
        data += batch(codec, offset, records)
        offset += len(records)
    part = ours(data, start)
    taken = [r for records in part.take(1 << 30) for r in records]
    assert plain(taken) == plain(stock(data, start))
    assert part.next_fetch_offset == offset
    assert not part


def test_at_least_as_many_as_asked_for_come_in_whole_batches() -> None:
    data = b"".join(batch(NONE, first, [(None, b"v", [])] * 10) for first in (0, 10, 20, 30))
    part = ours(data, 0)
    sizes = []
    while part:
        taken = part.take(15)
        sizes.append(len(taken))
    assert sizes == [20, 20, 0]
    assert part.next_fetch_offset == 40


def test_aborted_transactions_and_markers_are_left_out() -> None:
    def transactional(first: int, producer: int) -> bytes:
        options = {"transactional": True, "producer_id": producer, "producer_epoch": 0, "base_sequence": 0}
        return batch(NONE, first, [(None, b"p%d" % producer, [])] * 5, **options)

    data = transactional(0, 7) + transactional(5, 8) + transactional(10, 7)

    class Aborted:
        producer_id, first_offset = 7, 0

    part = ours(data, 0, [Aborted])
    values = [r.value for records in part.take(1 << 30) for r in records]
    assert values == [r.value for r in stock(data, 0, [Aborted])] == [b"p8"] * 5
    assert part.next_fetch_offset == 15


def test_a_flipped_bit_is_found_and_what_came_before_is_handed_over_first() -> None:
    data = bytearray(batch(NONE, 0, [(None, b"good", [])] * 3) + batch(NONE, 3, [(None, b"bad", [])] * 3))
    data[-2] ^= 1
    part = ours(bytes(data), 0)
    assert len(part.take(100)) == 3
    with pytest.raises(CorruptRecordError, match="failed crc check"):
        part.take(100)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_is_read_over_when_checksums_are_off(data: Any) -> None:
    """A batch damaged behind its head either reads as kafka-python reads it or is refused."""
    whole = bytearray(batch(NONE, 0, [(b"key", b"value" * 3, [])] * 4))
    size = (len(whole) - 61) // 4  # of a record; its second byte is reserved, and kafka-python takes it for a varint
    at = data.draw(st.integers(61, len(whole) - 1).filter(lambda at: (at - 61) % size != 1))
    whole[at] = data.draw(st.integers(0, 255))
    theirs: Any = Fetcher.PartitionRecords(0, TP, MemoryRecords(bytes(whole)), check_crcs=False)
    mine = BatchRecords(0, TP, MemoryRecords(bytes(whole)), check_crcs=False)
    expected: Any = []
    try:
        while theirs:
            expected += plain(r for r in theirs.take() if r.offset >= 0)  # less is before where reading began
    except Exception:
        expected = "refused"
    try:
        found = plain(r for records in mine.take(100) for r in records)
    except CorruptRecordError:
        found = "refused"
    if expected == "refused" or found != "refused":
        assert found == expected


def test_records_behave_as_a_sequence_and_join() -> None:
    given = [Record("t", 3, n, 10 * n, None if n % 2 else b"k%d" % n, b"" if n == 2 else b"v%d" % n) for n in range(5)]
    records = records_of("t", 3, given)
    assert list(records) == given == [records[n] for n in range(5)]
    assert list(records[1:4]) == given[1:4]
    assert records[-1] == given[-1]
    assert list(concat_records([records[:2], records[2:]])) == given
    assert list(_joined(TP, given)) == given
    assert isinstance(records[:0], Records)
    assert np.all(records.key_start[1::2] == -1)
