"""raw events → clean columns, by the ordered rules of the spec. What was refused or changed is said.

Invariant: every row given comes back exactly once, either among the kept rows or among the rejects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.block import Columns
from stream.clean import rules
from stream.clean.rules import Findings, Rule
from stream.limits import TIME_AHEAD_MS_MAX
from stream.spec import FieldSpec, Spec

NUMBER_RULES: tuple[Rule, ...] = (rules.finite, rules.magnitude, rules.in_range, rules.imputed_number)
TEXT_RULES: tuple[Rule, ...] = (rules.unified, rules.short_text, rules.imputed_text)
RULES: dict[str, tuple[Rule, ...]] = {
    "numeric": NUMBER_RULES,
    "boolean": (rules.imputed_number,),
    "time": (rules.imputed_number,),
    "category": TEXT_RULES,
    "text": TEXT_RULES,
}
ID_CHARS_MAX = 256


class Position(NamedTuple):
    """Where a raw event lies, and Kafka's time stamp of it (milliseconds)."""

    partition: int
    offset: int
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class Cleaned:
    """kept: columns of the rows that passed, and their numbers in the input; rejects: row → (code, detail);
    changes: for each kept row that was changed, its number among the kept → what was done."""

    columns: Columns
    rows: list[int]
    rejects: dict[int, tuple[str, str]]
    changes: dict[int, list[str]]


class Cleaner:
    """Cleans under one spec; keeps no state between calls."""

    def __init__(self, spec: Spec) -> None:
        self._id, self._time = spec.event.id, spec.event.time
        self._fields = [(n, f, RULES[f.type]) for n, f in spec.event.fields.items() if f.type != "ignore"]

    def clean(self, events: Sequence[dict[str, Any]], where: Sequence[Position]) -> Cleaned:
        """Clean decoded events; `where[i]` is the position of `events[i]`."""
        found = Findings()
        ids = self._event_ids(events, found)
        times = self._event_times(events, where, found)
        values: dict[str, NDArray[Any]] = {}
        for name, field, field_rules in self._fields:
            column = _column(name, field, events, found)
            for rule in field_rules:
                column = rule(name, field, column, found)
            values[name] = column
        columns = Columns(
            ids,
            np.array(times, np.int64),
            np.array([w.partition for w in where], np.int32),
            np.array([w.offset for w in where], np.int64),
            values,
        )
        if not found.rejects:
            return Cleaned(columns, list(range(len(events))), {}, found.changes)
        rows = [r for r in range(len(events)) if r not in found.rejects]
        changes = {i: found.changes[r] for i, r in enumerate(rows) if r in found.changes}
        return Cleaned(take_columns(columns, rows), rows, found.rejects, changes)

    def _event_ids(self, events: Sequence[dict[str, Any]], found: Findings) -> list[str]:
        given = [event.get(self._id) for event in events]
        ids = ["" if value is None else str(value) for value in given]
        for row, text in enumerate(ids):
            check_id(self._id, row, text, found)
        return ids

    def _event_times(self, events: Sequence[dict[str, Any]], where: Sequence[Position], found: Findings) -> list[int]:
        times: list[int] = []
        for row, (event, at) in enumerate(zip(events, where, strict=True)):
            times.append(checked_time(self._time, row, event.get(self._time), at.timestamp_ms, found))
        return times


def check_id(name: str, row: int, text: str, found: Findings) -> None:
    """Refuse a row without an id, or with too long a one."""
    if not text:
        found.reject(row, "event.no_id", f"{name}: missing; every event needs an id")
    elif len(text) > ID_CHARS_MAX:
        found.reject(row, "value.too_long", f"{name}: {len(text)} characters; at most {ID_CHARS_MAX}")


def checked_time(name: str, row: int, value: Any, timestamp_ms: int, found: Findings) -> int:
    """The row's event time; 0 where it is refused."""
    if type(value) is not int:
        found.reject(row, "event.no_time", f"{name}: found {value!r}; a time is wanted")
    elif not 0 <= value <= timestamp_ms + TIME_AHEAD_MS_MAX:
        limit = f"0 to Kafka's time {timestamp_ms} ms + {TIME_AHEAD_MS_MAX} ms"
        found.reject(row, "event.time_outside", f"{name}: {value} ms; {limit}")
    else:
        return value
    return 0


def _column(name: str, field: FieldSpec, events: Sequence[dict[str, Any]], found: Findings) -> NDArray[Any]:
    """One field of all events. Numbers: float64, null → NaN; a NaN given as a value is refused here."""
    raw = [event.get(name) for event in events]
    if field.type in ("category", "text"):
        out = np.empty(len(raw), object)
        out[:] = raw
        return out
    numbers = np.array([np.nan if v is None else v for v in raw], np.float64)
    refuse_nan(name, numbers, np.array([v is not None for v in raw], bool), found)
    return numbers


def refuse_nan(name: str, numbers: NDArray[Any], present: NDArray[np.bool_], found: Findings) -> None:
    """Refuse rows in which NaN was given as a value; what is missing is not present."""
    for row in np.flatnonzero(np.isnan(numbers) & present).tolist():
        found.reject(row, "value.not_finite", f"{name}: found nan; a finite number, or null for missing, is wanted")


def take_columns(columns: Columns, rows: Sequence[int]) -> Columns:
    """The rows with these numbers, in this order."""
    index = np.array(rows, np.int64)
    return Columns(
        [columns.ids[r] for r in rows],
        columns.time_ms[index],
        columns.partition[index],
        columns.offset[index],
        {name: values[index] for name, values in columns.values.items()},
    )
