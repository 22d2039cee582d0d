"""The spool keeps batches in order over restarts, never past its cap, and never half a batch."""

import os
from pathlib import Path

import pytest

from consumers import _ship_spool
from consumers._ship_spool import Spool
from stream.arrive.records import Record
from stream.errors import StorageError


def records(n: int, first: int = 0, size: int = 10) -> list[Record]:
    return [
        Record("p.labels", 1, first + i, 1_000 + i, None if i % 2 else b"k", bytes([i % 256]) * size) for i in range(n)
    ]


def test_batches_come_back_whole_and_in_order_also_to_a_new_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    assert spool.put(records(3))
    assert spool.put(records(2, first=3))
    again = Spool(tmp_path, 1 << 20)
    assert [again.read(n).records for n in again.numbers] == [records(3), records(2, first=3)]
    assert again.bytes == spool.bytes > 0


def test_what_is_delivered_is_gone_and_its_number_is_not_given_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    for n in range(3):
        spool.put(records(1, first=n))
    spool.start_after(2)
    assert spool.numbers == [3]
    assert spool.bytes == sum(p.stat().st_size for p in tmp_path.iterdir()) > 0
    again = Spool(tmp_path, 1 << 20)
    again.start_after(9)
    assert again.numbers == []
    again.put(records(1))
    assert again.numbers == [10]


def test_a_batch_beyond_the_cap_is_not_kept_and_the_next_that_fits_is(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    assert spool.put(records(2))
    noise = [r._replace(value=os.urandom(4000)) for r in records(1)]
    assert not spool.put(noise)
    assert spool.bytes <= 1000
    assert [p.suffix for p in tmp_path.iterdir()] == [".avro"]
    assert spool.put(records(1))
    assert len(spool) == 2


def test_a_torn_file_is_thrown_away_since_its_records_were_never_marked_as_read(tmp_path: Path) -> None:
    (tmp_path / "00000000000000000001.part").write_bytes(b"half")
    spool = Spool(tmp_path, 1 << 20)
    assert (len(spool), list(tmp_path.iterdir())) == (0, [])


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20)
    spool.put(records(3))
    [path] = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(StorageError, match=path.name):
        spool.read(1)


def test_a_full_disk_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(tmp_path, 1 << 20)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_ship_spool.os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        spool.put(records(3))
    assert len(spool) == 0
