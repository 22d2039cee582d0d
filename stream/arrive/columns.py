"""Avro records → columns, without a Python object for a record or a value.

What: `ColumnDecoder` reads many records of one writer's schema, which lie in one buffer, into a `Column` for each
field that is wanted. Why: fastavro takes about 10 µs a record, learning 0.1 µs (docs/decisions/columnar-decode.md).
Invariant: a record without an error has the values that fastavro reads, and ends where its bytes do; all that fastavro
refuses is refused. Where fastavro is lax and the specification is not, the record is an error here; see `ERRORS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream.arrive.columnar import kernel
from stream.arrive.columnar.program import Compiler, Leaf, Program
from stream.arrive.schema import EventSchema
from stream.block import I64

ColumnKind = Literal["long", "double", "boolean", "enum", "string", "bytes"]
ERRORS: Mapping[int, str] = {
    kernel.TRUNCATED: "the record ends too early",
    kernel.VARINT: "a varint of more than 64 bits (fastavro takes it, without the bits above)",
    kernel.INTEGER: "an int of more than 32 bits (fastavro takes it)",
    kernel.BOOL: "a boolean that is neither 0 nor 1 (fastavro takes it as true)",
    kernel.BRANCH: "a branch that the union doesn't have (fastavro takes -1 and -2, counting from the end)",
    kernel.SYMBOL: "an index that the enum doesn't have (fastavro takes negative ones, counting from the end)",
    kernel.LENGTH: "a negative length",
    kernel.BEYOND: "a length beyond the end of the record",
    kernel.UTF8: "a string that is not UTF-8",
    kernel.BLOCK: "a block of an array or map that is not as long as it says (fastavro doesn't look)",
    kernel.TRAILING: "bytes are left over after the record",
    kernel.OUTSIDE: "the record's place is not inside the buffer",
}
"""What each code of `Decoded.error` says; 0, which is none of them, is a good record."""
REJECTS: Mapping[int, str] = {
    code: "avro.trailing" if code == kernel.TRAILING else "avro.undecodable" for code in ERRORS
}  # fmt: skip
"""Code of `Decoded.error` → code of stream.arrive.reject.CODES."""

_KINDS: Mapping[str, ColumnKind] = {
    "int": "long", "long": "long", "float": "double", "double": "double", "boolean": "boolean", "enum": "enum",
    "string": "string", "bytes": "bytes", "fixed": "bytes",
}  # fmt: skip


def _none() -> I64:
    return np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Column:
    """One field of n records; zeros where `present` (bool[n]) is false.

    values: int64 of a long (timestamps in the schema's unit) or an enum (index into `symbols`), float64 of a double,
    uint8 of a boolean; empty for strings and bytes, whose value i is data[start[i]:end[i]]. start and end are int64,
    empty for the other kinds.
    """

    kind: ColumnKind
    present: NDArray[np.bool_]
    values: NDArray[Any] = field(default_factory=_none)
    start: I64 = field(default_factory=_none)
    end: I64 = field(default_factory=_none)
    symbols: tuple[str, ...] = ()

    def at(self, rows: NDArray[np.bool_]) -> Column:
        """The column of these records alone."""
        values, start, end = (a[rows] if len(a) else a for a in (self.values, self.start, self.end))
        return Column(self.kind, self.present[rows], values, start, end, self.symbols)


@dataclass(frozen=True, slots=True)
class Decoded:
    """Columns by field name (a nested record's as 'outer.inner'), and error uint8[n]: 0, or a code of ERRORS.

    A record with an error is missing in every column.
    """

    columns: dict[str, Column]
    error: NDArray[np.uint8]


class ColumnDecoder:
    """Reads the records that one schema wrote. Thread-safe: calls share nothing that changes."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self.kinds: dict[str, ColumnKind] = {name: _KINDS[leaf.node.type] for name, leaf in program.leaves.items()}
        """Kind of each column."""

    @classmethod
    def of(cls, writer: EventSchema, wanted: Sequence[str] | None = None) -> ColumnDecoder | None:
        """A decoder of the wanted fields (dotted inside nested records), or of all.

        None where one of them is no column: a name that the schema lacks, a record, an array, a map, or inside those.
        """
        program = Compiler(None if wanted is None else frozenset(wanted)).program(writer.root)
        return None if program is None else cls(program)

    def decode(self, data: NDArray[np.uint8], start: I64, end: I64) -> Decoded:
        """Records i = data[start[i]:end[i]], without framing. `data` is C-contiguous; start and end are int64[n]."""
        rows, program = len(start), self._program
        out = np.zeros((program.slots, rows), np.int64)
        present = np.zeros((program.slots, rows), np.uint8)
        error = np.zeros(rows, np.uint8)
        scratch = np.zeros((2, program.depth), np.int64)
        kernel.read(data, start, end, program.steps, scratch, out, present, error)
        columns = {name: _column(leaf, out, present.view(np.bool_)) for name, leaf in program.leaves.items()}
        return Decoded(columns, error)


def _column(leaf: Leaf, out: I64, present: NDArray[np.bool_]) -> Column:
    kind, values, there = _KINDS[leaf.node.type], out[leaf.slot], present[leaf.slot]
    if kind in ("string", "bytes"):
        return Column(kind, there, start=values, end=out[leaf.slot + 1])
    if leaf.node.type == "float":
        with np.errstate(invalid="ignore"):  # a signalling NaN is a NaN
            return Column(kind, there, values.astype(np.uint32).view(np.float32).astype(np.float64))
    if kind == "double":
        return Column(kind, there, values.view(np.float64))
    return Column(kind, there, values.astype(np.uint8) if kind == "boolean" else values, symbols=leaf.node.symbols)
