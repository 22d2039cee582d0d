"""What a sample of the data tells of an event to be: its columns, then a guess of each one's place.

What: `read_sample` looks at the rows, `guess_of_sample` guesses from the columns. Why: names and values together
say more than either.
Invariant: at most ROWS_MAX rows are read, and DISTINCT_MAX values of a column kept.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from consumers._rows import FALSE, MISSING, TRUE, Rows, field_name, to_epoch
from stream.errors import DataError

ROWS_MAX = 100_000
DISTINCT_MAX = 20_000
CLASSES_MAX = 50
ID = re.compile(r"(?i)(^|_)(id|uuid|guid|key)$|[a-z]Id$")
TIME = re.compile(r"(?i)(^|_)(time|timestamp|date|datetime|ts|at|ms|created|occurred)($|_)|[a-z](Time|At)$")
CODE = re.compile(r"(?i)(^|_)(id|code|zip|zipcode|postcode|number|no|nr|key)$|[a-z]Id$")
TEXT = re.compile(r"(?i)(^|_)(text|comment|description|message|title|body|review|note|notes|subject)$")
LABELS = ("label", "target", "outcome", "y")


@dataclass(slots=True)
class Found:
    """One field of the event to be: its Avro kind, its place in the spec, and why."""

    name: str
    kind: str
    type: str
    why: str = ""


@dataclass(slots=True)
class Guess:
    """All that is guessed of the event, its task and its label (the column, if one is known), and why."""

    fields: list[Found]
    id: str
    id_why: str
    time: str
    time_why: str
    task: str
    task_why: str
    classes: list[str] = field(default_factory=list)
    label: str | None = None


@dataclass(slots=True)
class Column:
    """What a sample tells of a column. kind: boolean, long, double, time or text; '' while all is missing."""

    name: str
    kind: str = ""
    rows: int = 0
    missing: int = 0
    distinct: set[Any] = field(default_factory=set)
    words: int = 0
    low: float = 0.0
    high: float = 0.0

    @property
    def unique(self) -> bool:
        """No value twice and none missing, as far as was counted."""
        return not self.missing and len(self.distinct) >= min(self.rows, DISTINCT_MAX) > 0

    def add(self, raw: Any, cell: bool) -> None:
        """One more value, typed or a cell of text. Raises ValueError for one that no field could hold."""
        self.rows += 1
        if raw is None or (cell and raw.strip().lower() in MISSING):
            self.missing += 1
            return
        if isinstance(raw, dict | list):
            raise ValueError("a nested value; only plain ones are drafted")
        if raw in self.distinct:
            return
        kind = _kind(raw, cell)
        wider = kind if not self.kind else _wider(self.kind, kind)
        if not cell and wider == "text" and not {kind, self.kind} <= {"text", "time", ""}:
            raise ValueError(f"found {raw!r}, a {kind}, after values of type {self.kind}; one type is wanted")
        self.kind = wider
        if isinstance(raw, str):
            self.words = max(self.words, len(raw.split()))
        if kind in ("long", "double"):
            first = not self.distinct
            self.low = float(raw) if first else min(self.low, float(raw))
            self.high = float(raw) if first else max(self.high, float(raw))
        if len(self.distinct) < DISTINCT_MAX:
            self.distinct.add(raw)


def _kind(raw: Any, cell: bool) -> str:
    text = str(raw).strip()
    if isinstance(raw, bool) or (cell and text.lower() in ("true", "false")):
        return "boolean"
    if isinstance(raw, float):
        return "double"
    if isinstance(raw, str) and not cell:
        return "time" if _is_iso(text) else "text"
    if re.fullmatch(r"-?(0|[1-9]\d{0,17})", text):
        return "long"
    if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d*([eE][+-]?\d+)?|[eE][+-]?\d+)", text):
        return "double"
    return "time" if _is_iso(text) else "text"


def _is_iso(text: str) -> bool:
    with suppress(ValueError):
        return bool(re.match(r"\d{4}-\d\d-\d\d", text)) and to_epoch(text) is not None
    return False


def _wider(one: str, other: str) -> str:
    return one if one == other else "double" if {one, other} == {"long", "double"} else "text"


def read_sample(file: Path, told: Callable[[int, int | None], object]) -> list[Column]:
    """The columns of the first ROWS_MAX rows. Raises DataError naming file and line for what can't be an event."""
    columns: dict[str, Column] = {}
    count = 0
    with Rows(file) as rows:
        for line, row in rows:
            count += 1
            for name, raw in row.items():
                column = columns.setdefault(name, Column(name, rows=count - 1, missing=count - 1))
                try:
                    column.add(raw, rows.text)
                except ValueError as e:
                    raise DataError(f"{file}:{line}: column {name}: {e}") from None
            if len(columns) > len(row):
                for name in columns.keys() - row.keys():
                    columns[name].add(None, rows.text)
            if count % 1000 == 0:
                told(rows.bytes_done, rows.bytes_total)
            if count >= ROWS_MAX:
                break
    if not count:
        raise DataError(f"{file}: no row; a sample of the data is wanted")
    names = [field_name(name) for name in columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{file}: several columns would be called {', '.join(twice)}; rename all but one")
    return list(columns.values())


def guess_of_sample(columns: list[Column], label: str | None, file: Path) -> Guess:
    """Guesses from names and values. Raises DataError for an unknown label, or with nothing to learn from."""
    names = [c.name for c in columns]
    if label is not None and label not in names:
        raise DataError(f"--label: found {label!r}; the columns are {', '.join(names)}")
    label = label or next((n for n in names if n.lower() in LABELS), None)
    rest = [c for c in columns if c.name != label]
    task, task_why, classes = _task(next((c for c in columns if c.name == label), None))
    times = [c for c in rest if c.kind == "time" or _is_epoch(c)]
    times.sort(key=lambda c: (c.missing > 0, not TIME.search(c.name)))
    ids = [c for c in rest if c.unique and c.kind in ("text", "long") and not _is_epoch(c)]
    ids = [c for c in ids if ID.search(c.name) or (c.kind == "text" and c.words == 1)]
    ids.sort(key=lambda c: not ID.search(c.name))
    are_times, is_id = {c.name for c in times}, {c.name for c in ids[:1]}
    fields = [_field(c, c.name in are_times, c.name in is_id) for c in rest]
    taken = {f.name for f in fields}
    the_id, the_time = (_free("event_id", taken), _WHY_ID), (_free("event_time", taken), _WHY_TIME)
    if ids:
        the_id = field_name(ids[0].name), f"no value twice in {ids[0].rows} rows"
    else:
        fields.insert(0, Found(the_id[0], "string", ""))
    if times:
        gaps = f"; {times[0].missing} of {times[0].rows} are missing, and will be refused" if times[0].missing else ""
        the_time = field_name(times[0].name), f"the first column of times{gaps}"
    else:
        fields.insert(1, Found(the_time[0], "timestamp", ""))
    return Guess(usable(fields, str(file)), *the_id, *the_time, task, task_why, classes, label)


_WHY_ID = "no column is one, so `headwater publish` makes it from file, line and content"
_WHY_TIME = "no column is one, so `headwater publish` takes the time of publishing"


def _free(name: str, taken: set[str]) -> str:
    return name if name not in taken else _free(f"{name}_", taken)


def _is_epoch(column: Column) -> bool:
    return column.kind == "long" and bool(TIME.search(column.name)) and 1e11 <= column.low <= column.high < 1e14


def _field(column: Column, is_time: bool, is_id: bool) -> Found:
    """A column as a field; `type` is '' for one that is no feature."""
    name, seen = field_name(column.name), len(column.distinct)
    many = f"{seen}{'+' if seen >= DISTINCT_MAX else ''} values in {column.rows} rows"
    if is_time:
        return Found(name, "timestamp", "time", "times")
    kind = {"long": "long", "double": "double", "boolean": "boolean"}.get(column.kind, "string")
    if is_id:
        return Found(name, kind, "")
    if kind in ("long", "double"):
        span = f"{column.low:g} to {column.high:g} in the sample"
        if kind == "long" and CODE.search(column.name):
            return Found(name, kind, "category", f"{many}; looks like a code")
        if TIME.search(column.name) and 1e8 <= column.low <= column.high < 1e10:
            span += "; seconds since 1970? Milliseconds or ISO times could be of type time"
        return Found(name, kind, "numeric", span)
    if kind == "boolean":
        return Found(name, kind, "boolean")
    if column.words >= 5 or TEXT.search(column.name):
        return Found(name, kind, "text", f"up to {column.words} words")
    if not seen:
        return Found(name, kind, "ignore", "no value in the sample")
    if seen > 0.9 * (column.rows - column.missing) and column.rows >= 20:
        return Found(name, kind, "ignore", f"{many}: nearly each its own, so nothing to learn")
    return Found(name, kind, "category", many)


def _task(label: Column | None) -> tuple[str, str, list[str]]:
    if label is None:
        return "binary", "no label's column is known; regression and classes are the others", []
    words = {str(v).strip().lower() for v in label.distinct}
    if words <= set(TRUE + FALSE):
        return "binary", f"{label.name} has {', '.join(sorted(words)) or 'no value'}", []
    if label.kind in ("long", "double"):
        return "regression", f"{label.name} has numbers, {label.low:g} to {label.high:g}", []
    if len(label.distinct) > CLASSES_MAX:
        raise DataError(
            f"--label {label.name}: {len(label.distinct)} different words; at most {CLASSES_MAX} make classes"
        )
    return "classes", f"{label.name} has these values", sorted(str(v) for v in label.distinct)


def usable(fields: list[Found], source: str) -> list[Found]:
    """At least one feature is needed; where all would be ignored, the first is taken all the same."""
    if not any(f.type not in ("", "ignore") for f in fields):
        first = next((f for f in fields if f.type == "ignore" and f.kind == "string"), None)
        if first is None:
            raise DataError(f"{source}: besides id, time and label there is nothing to learn from")
        first.type, first.why = "category", f"{first.why}; but there is no other field"
    return fields
