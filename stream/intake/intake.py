"""The records of one poll → clean columns, wherever a compiled decoder reads the writer's schema.

Invariant: every record is in exactly one of the runs or among the rest. What a decoder does not read without
complaint is rest: `Decoder` reads it again, alone, and is the one authority on what is wrong with it.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.arrive.columns import Column, ColumnDecoder
from stream.arrive.framing import WRITERS_MAX, Decoder, Plan
from stream.arrive.records import Records
from stream.block import I64, Columns
from stream.intake.columns import ColumnCleaner
from stream.jit import cached
from stream.spec import Spec

RUNS_MAX = 4  # writers' schemas looked for in one poll; records of others are rest


@dataclass(frozen=True, slots=True)
class Run:
    """Records of one writer: the rows that passed, and the refused by their number in the poll."""

    columns: Columns
    rejects: dict[int, tuple[str, str]]


@cached
def _with_head(
    data: NDArray[np.uint8], start: I64, end: I64, head: NDArray[np.uint8], size_max: int, out: NDArray[np.bool_]
) -> None:
    """Which values begin with `head` and are no larger than `size_max`."""
    for row in range(len(start)):
        size = end[row] - start[row]
        out[row] = start[row] >= 0 and len(head) <= size <= size_max
        at = 0
        while out[row] and at < len(head):
            out[row] = data[start[row] + at] == head[at]
            at += 1


@dataclass(frozen=True, slots=True)
class _Reader:
    """What reads one writer's records. head: how its values begin; size_max: of a value, in bytes; names: the reader's
    field → the writer's; absent: fields that it lacks."""

    decoder: ColumnDecoder
    head: NDArray[np.uint8]
    size_max: int
    names: Mapping[str, str]
    absent: tuple[str, ...]

    def fits(self, records: Records, rows: I64) -> NDArray[np.bool_]:
        """Which of these records are its."""
        out = np.zeros(len(rows), np.bool_)
        start, end = records.value_start[rows], records.value_end[rows]
        _with_head(records.data, start, end, self.head, self.size_max, out)
        return out

    def columns(self, records: Records, rows: I64) -> tuple[dict[str, Column], NDArray[np.bool_]]:
        """The records' columns by the reader's names, those without an error, and which these are."""
        start, end = records.value_start[rows] + len(self.head), records.value_end[rows]
        decoded = self.decoder.decode(records.data, start, end)
        good = decoded.error == 0
        columns = {mine: decoded.columns[its] for mine, its in self.names.items()}
        if not good.all():
            columns = {name: column.at(good) for name, column in columns.items()}
        return columns | {name: _nothing(int(good.sum())) for name in self.absent}, good


class Intake:
    """Reads under one spec, with the plans of one `Decoder`."""

    def __init__(self, spec: Spec, decoder: Decoder) -> None:
        self._decoder = decoder
        self._cleaner = ColumnCleaner(spec)
        self._readers: dict[bytes, _Reader | None] = {}

    def read(self, records: Records) -> tuple[list[Run], I64]:
        """Runs, each in the order of the records, and the numbers of the records that are in none, ascending."""
        left = np.arange(len(records))
        runs: list[Run] = []
        rest: list[I64] = []
        while len(left) and len(runs) < RUNS_MAX:
            reader = self._reader(records[int(left[0])].value)
            fits = np.zeros(len(left), np.bool_) if reader is None else reader.fits(records, left)
            if reader is None or not fits[0]:  # the first may also be too large for its writer
                rest.append(left[:1])
                left = left[1:]
                continue
            run, bad = self._run(records, left[fits], reader)
            runs.append(run)
            rest.append(bad)
            left = left[~fits]
        return runs, np.sort(np.concatenate([left, *rest]))

    def _reader(self, value: bytes | None) -> _Reader | None:
        """What reads the writer of this value; None where each of its records needs `Decoder`."""
        plan = self._decoder.plan(value) if value else None
        if not value or not isinstance(plan, Plan):
            return None
        head = value[: plan.head]
        if head not in self._readers:
            if len(self._readers) >= WRITERS_MAX:
                del self._readers[next(iter(self._readers))]
            self._readers[head] = self._make_reader(head, plan)
        return self._readers[head]

    def _make_reader(self, head: bytes, plan: Plan) -> _Reader | None:
        wanted = self._cleaner.names
        pairs = [(n, n) for n in plan.schema.field_names] if plan.pairs is None else plan.pairs
        names = {mine: its for mine, its in pairs if mine in wanted}
        absent = tuple(wanted - names.keys())
        if plan.reader is not None or any(plan.defaults.get(n) is not None for n in absent):
            return None
        decoder = ColumnDecoder.of(plan.schema, list(names.values()))
        if decoder is None or not self._cleaner.takes({mine: decoder.kinds[its] for mine, its in names.items()}):
            return None
        return _Reader(decoder, np.frombuffer(bytearray(head), np.uint8), plan.size_max, names, absent)

    def _run(self, records: Records, rows: I64, reader: _Reader) -> tuple[Run, I64]:
        """Decode and clean these records; besides, the numbers of those that can't be decoded here."""
        columns, good = reader.columns(records, rows)
        bad, rows = rows[~good], rows[good]
        where = (records.partition, records.offset[rows], records.timestamp[rows])
        cleaned, rejects = self._cleaner.clean(columns, records.data, *where)
        return Run(cleaned, {int(rows[row]): reject for row, reject in rejects.items()}), bad


def _nothing(rows: int) -> Column:
    """A field that the writer lacks: missing in every row, whatever its kind."""
    none = np.zeros(rows, np.int64)
    return Column("long", np.zeros(rows, np.bool_), none, none, none)
