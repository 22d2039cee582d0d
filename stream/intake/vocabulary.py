"""What cleaning makes of each distinct value of a category, remembered: the rules run once a value, not once a row.

Text rules look at one value at a time, so what they did to a value holds for every row that has it. Invariant: an
outcome is that of the rules themselves (`cleaner.RULES`) on that value. A value is found by its 64-bit hash and then
compared byte for byte, so two values with one hash never share an outcome.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.block import I64, U64
from stream.clean.rules import Findings, Rule
from stream.encode.ids import Ids
from stream.jit import cached, compiled
from stream.spec import FieldSpec

MISSING = 0
VALUES_MAX = 1 << 17  # values remembered; past that all are forgotten, which costs time only
_FREE, _UNKNOWN = -1, -1
_MIX, _HALF, _ONE = np.uint64(0x9E3779B97F4A7C15), np.uint64(32), np.uint64(1)


class Namer(Protocol):
    """Numbers of cleaned values; None gives 0."""

    def column(self, values: Any) -> U64:
        """The numbers of a column."""
        ...


class Spans(NamedTuple):
    """A column of n values as bytes: data[start[i]:end[i]] is value i; equal hashes are likely equal values."""

    data: NDArray[np.uint8]
    start: I64
    end: I64
    hashes: U64


class _Table(NamedTuple):
    """Open addressing. slots: outcome, or _FREE; pool[places[outcome, 0]:places[outcome, 1]] is its raw value."""

    keys: U64
    slots: I64
    pool: NDArray[np.uint8]
    places: I64


@compiled
def _same(table: Any, slot: int, column: Any, row: int) -> bool:
    """Whether the outcome is that of the row's own bytes."""
    begin = table.places[slot, 0]
    length = table.places[slot, 1] - begin
    same = bool(length == column.end[row] - column.start[row])
    for i in range(length if same else 0):
        same &= table.pool[begin + i] == column.data[column.start[row] + i]
    return same


@cached
def _find(column: Any, rows: I64, table: Any, out: I64) -> int:
    """Outcomes of the given rows into `out`, _UNKNOWN where the value is new; how many are unknown."""
    mask = np.uint64(len(table.slots) - 1)
    unknown = 0
    for row in rows:
        at = ((column.hashes[row] * _MIX) >> _HALF) & mask
        out[row] = _UNKNOWN
        while table.slots[at] != _FREE:
            if table.keys[at] == column.hashes[row] and _same(table, table.slots[at], column, row):
                out[row] = table.slots[at]
                break
            at = (at + _ONE) & mask
        unknown += out[row] == _UNKNOWN
    return unknown


@cached
def _enter(column: Any, rows: I64, table: Any, first: int, pooled: int) -> int:
    """Give outcomes first, first + 1, … to the values of these rows; where the pool ends then."""
    mask = np.uint64(len(table.slots) - 1)
    for number in range(len(rows)):
        row, slot = rows[number], first + number
        table.places[slot, 0] = pooled
        for i in range(column.start[row], column.end[row]):
            table.pool[pooled] = column.data[i]
            pooled += 1
        table.places[slot, 1] = pooled
        at = ((column.hashes[row] * _MIX) >> _HALF) & mask
        while table.slots[at] != _FREE:
            at = (at + _ONE) & mask
        table.keys[at], table.slots[at] = column.hashes[row], slot
    return pooled


@cached
def _move(keys: U64, slots: I64, table: Any) -> None:
    """Put all that an older, smaller table holds into this one."""
    mask = np.uint64(len(table.slots) - 1)
    for old in range(len(slots)):
        if slots[old] != _FREE:
            at = ((keys[old] * _MIX) >> _HALF) & mask
            while table.slots[at] != _FREE:
                at = (at + _ONE) & mask
            table.keys[at], table.slots[at] = keys[old], slots[old]


class Vocabulary:
    """Outcomes for one field. An outcome's id is that of the cleaned value, 0 where it is missing or refused."""

    def __init__(self, name: str, field: FieldSpec, rules: Sequence[Rule], ids: Namer | None = None) -> None:
        self._name, self._field, self._rules = name, field, rules
        self._id = ids or Ids(name)
        self._clear()

    def _clear(self) -> None:
        self._ids, self._refused = np.zeros(0, np.uint64), np.zeros(0, bool)
        self._rejects: dict[int, tuple[str, str]] = {}
        self._pooled = 0
        places = np.zeros((64, 2), np.int64)
        self._table = _Table(np.zeros(256, np.uint64), np.full(256, _FREE), np.zeros(1024, np.uint8), places)
        self._judge([None])

    def column(self, column: Spans, present: NDArray[np.bool_], value_of: Callable[[int], Any], found: Findings) -> U64:
        """The ids of a column; refusals go to `found`. `value_of(row)` is the value as the rules want it."""
        rows = np.flatnonzero(present)
        outcome = np.full(len(present), MISSING, np.int64)
        while _find(column, rows, self._table, outcome):
            unknown = rows[outcome[rows] == _UNKNOWN]
            if len(self._ids) + len(unknown) > VALUES_MAX and len(self._ids) > 1:
                self._clear()
                continue
            first = unknown[np.unique(column.hashes[unknown], return_index=True)[1]]
            self._learn(column, np.sort(first), value_of)
        if self._rejects:
            for row in np.flatnonzero(self._refused[outcome]).tolist():
                found.reject(row, *self._rejects[int(outcome[row])])
        return self._ids[outcome]

    def _learn(self, column: Spans, rows: I64, value_of: Callable[[int], Any]) -> None:
        first = len(self._ids)
        self._judge([value_of(row) for row in rows.tolist()])
        self._make_room(len(self._ids), self._pooled + int((column.end[rows] - column.start[rows]).sum()))
        self._pooled = _enter(column, rows, self._table, first, self._pooled)

    def _judge(self, values: Sequence[Any]) -> None:
        """Run the rules on new values, and append their outcomes."""
        found, first = Findings(), len(self._ids)
        column = np.empty(len(values), object)
        column[:] = values
        for rule in self._rules:
            column = rule(self._name, self._field, column, found)
        refused = np.zeros(len(values), bool)
        refused[list(found.rejects)] = True
        self._rejects |= {first + row: reject for row, reject in found.rejects.items()}
        self._refused = np.concatenate([self._refused, refused])
        self._ids = np.concatenate([self._ids, np.where(refused, np.uint64(0), self._id.column(column))])

    def _make_room(self, outcomes: int, pooled: int) -> None:
        keys, slots, pool, places = self._table
        if outcomes > len(places):
            places = np.concatenate([places, np.zeros((max(len(places), outcomes), 2), np.int64)])
        if pooled > len(pool):
            pool = np.concatenate([pool, np.zeros(max(len(pool), pooled), np.uint8)])
        size = len(slots)
        while 2 * outcomes > size:
            size *= 2
        self._table = _Table(keys, slots, pool, places)
        if size > len(slots):
            self._table = _Table(np.zeros(size, np.uint64), np.full(size, _FREE), pool, places)
            _move(keys, slots, self._table)
