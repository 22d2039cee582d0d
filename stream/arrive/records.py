"""Many records of one Kafka partition without a Python object for each: one buffer, and where each record lies in it.

To older code a `Records` is a sequence of `Record`s, made when asked for; compiled code reads its arrays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from stream.block import I64


class Record(NamedTuple):
    """One record; key and value are None where Kafka has null. timestamp: milliseconds, as kafka-python names it."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Records(Sequence[Record]):
    """n records. data uint8; offset, timestamp, and where key and value start and end in data: int64[n].

    A null key or value starts at -1. Offsets ascend, not always by one.
    """

    topic: str
    partition: int
    data: NDArray[np.uint8]
    offset: I64
    timestamp: I64
    key_start: I64
    key_end: I64
    value_start: I64
    value_end: I64

    def __len__(self) -> int:
        return len(self.offset)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> "Records": ...

    def __getitem__(self, index: int | slice) -> "Record | Records":
        if isinstance(index, slice):
            columns = (getattr(self, name)[index] for name in _COLUMNS)
            return Records(self.topic, self.partition, self.data, *columns)
        return Record(
            self.topic,
            self.partition,
            int(self.offset[index]),
            int(self.timestamp[index]),
            self._bytes(int(self.key_start[index]), int(self.key_end[index])),
            self._bytes(int(self.value_start[index]), int(self.value_end[index])),
        )

    def __iter__(self) -> Iterator[Record]:
        data = self.data.tobytes()
        for offset, timestamp, ks, ke, vs, ve in zip(*(getattr(self, n).tolist() for n in _COLUMNS), strict=True):
            key, value = None if ks < 0 else data[ks:ke], None if vs < 0 else data[vs:ve]
            yield Record(self.topic, self.partition, offset, timestamp, key, value)

    def _bytes(self, start: int, end: int) -> bytes | None:
        return None if start < 0 else self.data[start:end].tobytes()


_COLUMNS = ("offset", "timestamp", "key_start", "key_end", "value_start", "value_end")


def records_of(topic: str, partition: int, given: Sequence[Record]) -> Records:
    """The columnar form of single records, copied."""
    pieces: list[bytes] = []
    places = np.full((4, len(given)), -1, np.int64)
    at = 0
    for row, record in enumerate(given):
        for part, piece in enumerate((record.key, record.value)):
            if piece is not None:
                places[2 * part : 2 * part + 2, row] = at, at + len(piece)
                pieces.append(piece)
                at += len(piece)
    data = np.frombuffer(bytearray().join(pieces), np.uint8)
    offset = np.array([r.offset for r in given], np.int64)
    timestamp = np.array([r.timestamp for r in given], np.int64)
    return Records(topic, partition, data, offset, timestamp, *places)


def concat_records(given: Sequence[Records]) -> Records:
    """Records of one partition, end to end; at least one."""
    if len(given) == 1:
        return given[0]
    bases = np.cumsum([0, *(len(r.data) for r in given[:-1])])
    columns = {name: np.concatenate([getattr(r, name) for r in given]) for name in _COLUMNS}
    shift = np.repeat(bases, [len(r) for r in given])
    for name in _COLUMNS[2:]:
        columns[name] = np.where(columns[name] < 0, -1, columns[name] + shift)
    return Records(given[0].topic, given[0].partition, np.concatenate([r.data for r in given]), **columns)
