"""Decoded columns → clean columns: the rules of `cleaner`, without an event as a Python object.

The rules are the same functions; only how a column comes to them differs. Categories leave as ids (see `vocabulary`).
Invariant: for rows that a `ColumnDecoder` takes, the encoded columns and the refusals are those of `Cleaner` and
`Encoder` on the same events.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.arrive.columns import Column
from stream.block import I64, U64, Columns
from stream.clean.cleaner import ID_CHARS_MAX, RULES, check_id, checked_time, refuse_nan, take_columns
from stream.clean.rules import Findings
from stream.encode.ids import field_seed
from stream.encode.owner import ARM, owners_of
from stream.encode.spans import hash_spans, spans_to_str
from stream.intake.vocabulary import Spans, Vocabulary
from stream.limits import TIME_AHEAD_MS_MAX
from stream.spec import FieldSpec, Spec

NUMBERS = frozenset({"long", "double", "boolean"})
WHOLE = frozenset({"long", "boolean"})
WANTED: Mapping[str, frozenset[str]] = {
    "numeric": NUMBERS,
    "boolean": NUMBERS,
    "time": NUMBERS,
    "category": WHOLE | {"string", "enum"},
    "text": frozenset({"string"}),
}


class ColumnCleaner:
    """Cleans decoded columns under one spec; what it keeps between calls changes no result."""

    def __init__(self, spec: Spec) -> None:
        self._id, self._time = spec.event.id, spec.event.time
        self._fields = [(n, f) for n, f in spec.event.fields.items() if f.type != "ignore"]
        self._known = {n: Vocabulary(n, f, RULES[f.type]) for n, f in self._fields if f.type == "category"}
        self._seeds = {n: field_seed(n) for n in self._known}
        self._owners = owners_of(spec)
        self._unit = self._owners.unit if self._owners and self._owners.unit in self._known else None
        if self._owners and self._unit:  # its text is gone once it is an id
            field = spec.event.fields[self._unit]
            self._arms = Vocabulary(self._unit, field, RULES[field.type], self._owners)

    @property
    def names(self) -> set[str]:
        """Fields of the event that are read."""
        return {self._id, self._time, *(n for n, _ in self._fields)}

    def takes(self, kinds: Mapping[str, str]) -> bool:
        """Whether columns of these kinds can be cleaned here; otherwise `Cleaner` must. Fields may lack."""
        return (
            kinds.get(self._id) in ("string", "long")
            and kinds.get(self._time) == "long"
            and all(kinds[n] in WANTED[f.type] for n, f in self._fields if n in kinds)
        )

    def clean(
        self, columns: Mapping[str, Column], data: NDArray[np.uint8], partition: int, offset: I64, timestamp: I64
    ) -> tuple[Columns, dict[int, tuple[str, str]]]:
        """Clean the columns of n events: those that passed, and the refusals by row."""
        found = Findings()
        ids = self._ids(columns[self._id], data, found)
        times = self._times(columns[self._time], timestamp, found)
        values: dict[str, NDArray[Any]] = {}
        for name, field in self._fields:
            column = columns[name]
            if field.type == "category":
                values[name] = self._category(name, column, data, found, self._known[name])
            elif field.type == "text":
                values[name] = _texts(name, field, column, data, found)
            else:
                values[name] = _numbers(name, field, column, found)
        if self._owners and self._unit:
            arms = self._category(self._unit, columns[self._unit], data, Findings(), self._arms)
            values[ARM] = self._owners.filled(arms, ids)
        cleaned = Columns(ids, times, np.full(len(ids), partition, np.int32), offset, values)
        if found.rejects:
            cleaned = take_columns(cleaned, np.delete(np.arange(len(ids)), list(found.rejects)).tolist())
        return cleaned, found.rejects

    def _ids(self, column: Column, data: NDArray[np.uint8], found: Findings) -> list[str]:
        if column.kind != "string":
            ids = [str(v) if p else "" for v, p in zip(column.values.tolist(), column.present.tolist(), strict=True)]
            doubtful = np.flatnonzero(~column.present)
        else:
            ids = spans_to_str(data, column.start, column.end)
            size = column.end - column.start
            doubtful = np.flatnonzero((size == 0) | (size > ID_CHARS_MAX) | ~column.present)
        for row in doubtful.tolist():
            check_id(self._id, row, ids[row], found)
        return ids

    def _times(self, column: Column, timestamp: I64, found: Findings) -> I64:
        times = column.values
        good = column.present & (times >= 0) & (times <= timestamp + TIME_AHEAD_MS_MAX)
        for row in np.flatnonzero(~good).tolist():
            given = int(times[row]) if column.present[row] else None
            checked_time(self._time, row, given, int(timestamp[row]), found)
        return np.where(good, times, 0)

    def _category(self, name: str, column: Column, data: NDArray[np.uint8], found: Findings, known: Vocabulary) -> U64:
        if column.kind == "string":
            spans = Spans(data, column.start, column.end, hash_spans(data, column.start, column.end, self._seeds[name]))
            start, end = column.start, column.end
            return known.column(
                spans, column.present, lambda row: data[start[row] : end[row]].tobytes().decode(), found
            )
        whole = np.ascontiguousarray(column.values, np.int64)
        begin = np.arange(0, 8 * len(whole), 8)
        spans = Spans(whole.view(np.uint8), begin, begin + 8, whole.view(np.uint64))
        return known.column(spans, column.present, lambda row: _value(column, int(whole[row])), found)


def _value(column: Column, given: int) -> Any:
    """A whole number as a reader of events has it."""
    if column.kind == "enum":
        return column.symbols[given]
    return bool(given) if column.kind == "boolean" else given


def _numbers(name: str, field: FieldSpec, column: Column, found: Findings) -> NDArray[Any]:
    numbers: NDArray[Any] = np.where(column.present, column.values.astype(np.float64), np.nan)
    if column.kind == "double":
        refuse_nan(name, numbers, column.present, found)
    for rule in RULES[field.type]:
        numbers = rule(name, field, numbers, found)
    return numbers


def _texts(name: str, field: FieldSpec, column: Column, data: NDArray[np.uint8], found: Findings) -> NDArray[Any]:
    texts = np.empty(len(column.present), object)
    texts[:] = spans_to_str(data, column.start, column.end)
    texts[~column.present] = None
    for rule in RULES[field.type]:
        texts = rule(name, field, texts, found)
    return texts
