"""What `headwater status` makes of the marks that steps commit."""

import json

from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

from consumers.status import _spool


def mark(**about: int) -> OffsetAndMetadata:
    return OffsetAndMetadata(5, json.dumps(about), -1)


def test_the_spool_is_as_the_newest_mark_of_the_shipper_says() -> None:
    old = mark(spool=3, spool_batches=9, spool_bytes=900)  # of a partition that is shipped no more
    new = mark(spool=7, spool_batches=2, spool_bytes=150)
    marks = {TopicPartition("p.labels", n): m for n, m in enumerate((old, new, old))}
    assert _spool(marks) == {"batches": 2, "bytes": 150}


def test_without_a_shipper_or_with_one_of_an_older_version_nothing_is_said_of_a_spool() -> None:
    assert _spool({}) is None
    assert _spool({TopicPartition("p.labels", 0): mark(spool=3)}) is None
    assert _spool({TopicPartition("p.labels", 0): OffsetAndMetadata(5, "", -1)}) is None
