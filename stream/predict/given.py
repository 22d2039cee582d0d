"""A field of many events as one column, held to the event's Avro type as `events` holds single values.

What a column gets wrong as a whole (its name, its kind, its length) is an InvalidRequest; what single rows get wrong
is a mask, and `batch` lets the row form say it. Invariant: a row outside the mask has the very value that `EventReader`
would have read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream.arrive.node import Field, Node
from stream.block import F64, I64
from stream.predict.refuse import InvalidRequest

Kind = Literal["double", "int64", "string", "bool"]
Mask = NDArray[np.bool_]
MISSING = -1
_KINDS: dict[str, tuple[Kind, ...]] = {
    "double": ("double", "int64"),
    "float": ("double", "int64"),
    "int": ("int64",),
    "long": ("int64",),
    "boolean": ("bool",),
    "string": ("string",),
    "enum": ("string",),
}
"""Avro's type → kinds of columns that can hold it."""


@dataclass(frozen=True, slots=True)
class Column:
    """n values of one field, as a caller gave them.

    values: float64[n], int64[n], bool[n]; or the distinct strings, of which row i has values[index[i]] (int64[n]).
    nulls: bool[n]; None where there are none. Raises InvalidRequest for an index outside of the strings.
    """

    kind: Kind
    values: NDArray[Any] | Sequence[str]
    index: I64 | None = None
    nulls: Mask | None = None

    def __len__(self) -> int:
        return len(self.values if self.index is None else self.index)

    def at(self, row: int) -> float | int | str | bool | None:
        """The value of one row, as a Python object."""
        if self.nulls is not None and self.nulls[row]:
            return None
        if self.index is not None:
            return str(self.values[self.index[row]])
        value: float | int | bool = self.values[row].item()  # type: ignore[union-attr]
        return value


def numbered(texts: Sequence[str]) -> tuple[list[str], I64]:
    """The distinct strings, and int64[n]: which of them each is."""
    place = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    return list(place), np.fromiter(map(place.__getitem__, texts), np.int64, len(texts))


@dataclass(frozen=True, slots=True)
class Read:
    """A column as its Avro type holds it.

    Numbers: values float64, int64 or bool[n], with zeros where `missing`. Strings: `texts`, and values int64[n], the
    place of each row's in it, MISSING where there is none. bad: bool[n], rows for the row form to judge.
    """

    values: NDArray[Any]
    missing: Mask
    bad: Mask
    texts: Sequence[str] | None = None

    def numbers(self) -> F64:
        """float64[n], NaN where missing."""
        return np.where(self.missing, np.nan, self.values.astype(np.float64))

    def distinct(self) -> tuple[list[Any], I64]:
        """The distinct values as Python objects, and int64[n]: the place of each row's, MISSING where there is none."""
        if self.texts is not None:
            return list(self.texts), self.values
        found, place = np.unique(self.values, return_inverse=True)
        return found.tolist(), np.where(self.missing, MISSING, place)


def read(field_: Field, column: Column, rows: int) -> Read:
    """The column of a field. Raises InvalidRequest for a column of another kind or length."""
    name, node = field_.name, field_.type.bare
    allowed = _KINDS.get(node.type)
    if allowed is None:
        detail = f"{name}: no column by name is wanted (this pipeline makes no use of the field)"
        raise InvalidRequest("field.wrong_type", detail)
    missing = np.zeros(rows, bool) if column.nulls is None else column.nulls
    for count, what in ((len(column), "values"), (len(missing), "nulls")):
        if count != rows:
            detail = f"{name}: {count} {what}; one for each of the {rows} rows is wanted"
            raise InvalidRequest("request.wrong", detail)
    bad = np.zeros(rows, bool) if field_.nullable else missing.copy()
    text = node.type in ("string", "enum")
    if rows and missing.all():  # nulls are of every kind
        values = np.full(rows, MISSING) if text else np.zeros(rows)
        return Read(values, missing, bad, () if text else None)
    if column.kind not in allowed:
        wanted = " or ".join(allowed)
        raise InvalidRequest("field.wrong_type", f"{name}: found a column of {column.kind}; {wanted} is wanted")
    if column.index is not None:
        return _strings(name, node, column, missing, bad)
    given = np.asarray(column.values)
    values, outside = _narrowed(node, np.where(missing, given.dtype.type(0), given))
    return Read(values, missing, bad | outside)


def _strings(name: str, node: Node, column: Column, missing: Mask, bad: Mask) -> Read:
    assert column.index is not None
    texts, index = [str(v) for v in column.values], np.where(missing, 0, column.index)
    if len(index) and not missing.all() and not 0 <= index.min() <= index.max() < len(texts):
        row = int(np.argmax((index < 0) | (index >= len(texts))))
        allowed = f"0 to {len(texts) - 1} is wanted, or a null" if texts else "no strings are given"
        detail = f"{name}: row {row}: found index {index[row]}; {allowed}"
        raise InvalidRequest("request.wrong", detail)
    index = np.where(missing, MISSING, index)
    if node.type == "enum" and not set(texts) <= set(node.symbols):
        strange = np.array([*(text not in node.symbols for text in texts), False])  # the last is MISSING's
        bad = bad | strange[index]
    return Read(index, missing, bad, texts)


def _narrowed(node: Node, values: NDArray[Any]) -> tuple[NDArray[Any], Mask]:
    """Values as the Avro type holds them, and which it can't."""
    none = np.zeros(len(values), bool)
    if node.type == "int":
        return values, (values < -(1 << 31)) | (values >= 1 << 31)
    if node.type in ("double", "float"):
        values = values.astype(np.float64)
    if node.type == "float":
        with np.errstate(over="ignore"):
            narrow = values.astype(np.float32).astype(np.float64)
        return narrow, np.isinf(narrow) & np.isfinite(values)
    return values, none


def absent(field_: Field, rows: int) -> Read:
    """The column of a field that was not given: the schema's default, else missing."""
    none, every = np.zeros(rows, bool), np.ones(rows, bool)
    needed = not field_.nullable and not field_.has_default
    text = field_.type.bare.type in ("string", "enum")
    if not field_.has_default or field_.default is None:
        values = np.full(rows, MISSING) if text else np.zeros(rows)
        return Read(values, every, every if needed else none, () if text else None)
    if text:
        return Read(np.zeros(rows, np.int64), none, none, (str(field_.default),))
    return Read(np.full(rows, field_.default), none, none)
