"""The rows of a person's file, and their values as a schema's types: .csv, .tsv, .jsonl, .ndjson, .avro.

What: `Rows` reads a file once, row by row; `field_value` and `label_value` type what a row holds.
Invariant: what does not fit is refused: by `Rows` as a DataError with file and line, by the others as a
ValueError that says what is wanted.
"""

import csv
import json
import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import fastavro

from stream.arrive.schema import Field, Node
from stream.errors import DataError
from stream.spec import Spec

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".avro")
MISSING = frozenset({"", "na", "n/a", "null", "none", "nan"})
"""Cells that mean "no value" in a column that is no text; in text only the empty cell does."""
TRUE, FALSE = ("true", "t", "yes", "y", "1", "1.0"), ("false", "f", "no", "n", "0", "0.0")
_INTEGER = re.compile(r"[+-]?\d+(\.0+)?")  # pandas writes 12.0 where a column has gaps
_WANTED = {
    "int": "a whole number of 32 bits", "long": "a whole number", "float": "a number", "double": "a number",
    "boolean": "true or false", "string": "text", "bytes": "text of Latin-1", "fixed": "text of Latin-1",
    "array": "a list", "map": "an object", "record": "an object",
}  # fmt: skip
_PER_SECOND = {"millis": 1_000, "micros": 1_000_000, "nanos": 1_000_000_000}


def field_name(column: str) -> str:
    """The Avro name for a column: 'Dep. delay (min)' → 'Dep_delay_min'."""
    plain = unicodedata.normalize("NFKD", column).encode("ascii", "ignore").decode()
    name = re.sub(r"\W+", "_", plain).strip("_") or "u" + "".join(f"{ord(c):x}" for c in column.strip())
    return f"_{name}" if name[0].isdigit() else name


class Rows:
    """The rows of one file: (line or record number, column → value), once; use it as a context manager.

    `text`: the values are cells of text. Raises DataError naming file and line for what can't be read.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.kind = path, path.suffix.lower()
        if self.kind not in SUFFIXES:
            raise DataError(f"{path}: found {self.kind or 'no suffix'}; wanted: {', '.join(SUFFIXES)}")
        self.text = self.kind in (".csv", ".tsv")
        try:
            self._file: IO[bytes] = path.open("rb")
            self.bytes_total = path.stat().st_size
        except OSError as e:
            raise DataError(f"{path}: can't be read: {e.strerror}") from None

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def bytes_done(self) -> int:
        """About how much of the file is read."""
        return self._file.tell()

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        read = self._cells() if self.text else self._avro() if self.kind == ".avro" else self._lines()
        self._at = 1
        try:
            for self._at, row in read:
                yield self._at, row
        except (csv.Error, ValueError, EOFError, OSError, RecursionError) as e:
            raise self._bad(f"not JSON: {e}" if isinstance(e, json.JSONDecodeError) else str(e)) from None
        except Exception as e:  # whatever fastavro meets in a damaged file
            if self.kind != ".avro" or isinstance(e, DataError):
                raise
            raise self._bad(f"{type(e).__name__}: {e}") from None

    def _bad(self, why: str) -> DataError:
        return DataError(f"{self.path}:{self._at}: {why}")

    def _cells(self) -> Iterator[tuple[int, dict[str, Any]]]:
        first = self._file.readline().decode("utf-8-sig", "replace")
        self._file.seek(0)
        delimiter = max(",;\t|", key=lambda c: (first.count(c), c == ","))
        lines = (line.decode("utf-8" if n else "utf-8-sig") for n, line in enumerate(self._file))
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        header = next(reader, None)
        if not header or len(set(header)) < len(header):
            twice = sorted({repr(c) for c in header or () if header and header.count(c) > 1})
            raise ValueError(f"column {', '.join(twice)} twice" if twice else "no header; column names are wanted")
        self._at = 2
        for cells in reader:
            if cells and len(cells) != len(header):
                self._at = reader.line_num
                raise ValueError(f"{len(cells)} cells found; {len(header)} are wanted, as in the header")
            if cells:
                yield reader.line_num, dict(zip(header, cells, strict=True))
            self._at = reader.line_num + 1

    def _lines(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, line in enumerate(self._file, 1):
            self._at = number
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"found {type(row).__name__}; one JSON object a line is wanted")
                yield number, row

    def _avro(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for number, row in enumerate(fastavro.reader(self._file), 1):
            if not isinstance(row, dict):
                raise ValueError(f"found {type(row).__name__}; records are wanted")
            yield number, row
            self._at = number + 1


def to_epoch(raw: Any, unit: str = "millis") -> int:
    """ISO time (without a zone: UTC), datetime or whole number → since 1970. Raises ValueError."""
    if isinstance(raw, str) and not _INTEGER.fullmatch(raw.strip()):
        try:
            raw = datetime.fromisoformat(raw.strip())
        except ValueError:
            raise ValueError(f"an ISO time or {unit} since 1970") from None
    if isinstance(raw, datetime):
        since = (raw if raw.tzinfo else raw.replace(tzinfo=UTC)) - datetime(1970, 1, 1, tzinfo=UTC)
        micros = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
        return micros * _PER_SECOND[unit] // 1_000_000
    return _whole(raw, 63, f"an ISO time or {unit} since 1970")


def _whole(raw: Any, bits: int, wanted: str) -> int:
    if isinstance(raw, str) and _INTEGER.fullmatch(raw.strip()):
        raw = int(raw.strip().partition(".")[0])
    if type(raw) is not int or not -(1 << bits) <= raw < 1 << bits:
        raise ValueError(wanted)
    return raw


def _truth(raw: Any) -> bool:
    """Of a boolean, 0, 1, or a word. Raises ValueError."""
    word = raw.strip().lower() if isinstance(raw, str) else str(raw).lower()
    if word not in TRUE + FALSE:
        raise ValueError("true or false, or 1 or 0")
    return word in TRUE


def _number(raw: Any, wanted: str = "a number") -> float:
    if isinstance(raw, bool) or not isinstance(raw, str | int | float) or "_" in str(raw):
        raise ValueError(wanted)
    try:
        return float(raw)
    except (ValueError, OverflowError):
        raise ValueError(wanted) from None


def typed(node: Node, unit: str | None, raw: Any, text: bool) -> Any:
    """A value that is there, as the schema's type; `text`: a cell. Raises ValueError: what is wanted."""
    kind = node.type
    if kind == "nullable":
        return None if raw is None else typed(node.bare, unit, raw, text)
    if unit is not None:
        return to_epoch(raw, unit)
    if kind == "enum" and raw in node.symbols:
        return raw
    wanted = _WANTED.get(kind) or f"one of {', '.join(node.symbols)}"
    if text and kind in ("array", "map", "record"):
        raw = json.loads(raw)
    if kind in ("int", "long") and (text or not isinstance(raw, str)):
        return _whole(raw, 31 if kind == "int" else 63, wanted)
    if kind in ("float", "double") and (text or not isinstance(raw, str)):
        return _number(raw)
    if kind == "boolean" and (text or isinstance(raw, bool)):
        return _truth(raw)
    if kind == "string" and isinstance(raw, str):
        return raw
    if kind in ("bytes", "fixed") and isinstance(raw, str | bytes):
        value = raw if isinstance(raw, bytes) else raw.encode("latin-1")
        if len(value) == (node.size or len(value)):
            return value
    if kind == "array" and isinstance(raw, list) and node.item is not None:
        return [typed(node.item, None, each, False) for each in raw]
    if kind == "map" and isinstance(raw, dict) and node.item is not None:
        return {k: typed(node.item, None, v, False) for k, v in raw.items()}
    if kind == "record" and isinstance(raw, dict):
        return {f.name: field_value(f, raw.get(f.name), False) for f in node.fields}
    raise ValueError(wanted)


def field_value(field: Field, raw: Any, text: bool) -> Any:
    """A field's value, null and default included. Raises ValueError saying what is wanted."""
    node = field.type.bare
    if text and (raw == "" or (node.type not in ("string", "enum") and raw.strip().lower() in MISSING)):
        if not field.nullable and not field.has_default and node.type == "string":
            return ""
        raw = None
    if raw is None and not field.nullable:
        if field.has_default:
            return field.default
        raise ValueError(f"{_WANTED.get(node.type, 'a value')}; the field may not be missing")
    return None if raw is None else typed(node, field.unit, raw, text)


def label_value(spec: Spec, raw: Any) -> bool | float | str:
    """The label as the task knows it. Raises ValueError saying what is wanted."""
    if spec.task == "binary":
        return _truth(raw)
    if spec.task == "regression":
        return _number(raw)
    if str(raw) not in spec.classes:
        raise ValueError(f"one of {', '.join(spec.classes)}")
    return str(raw)
