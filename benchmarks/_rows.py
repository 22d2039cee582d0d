"""Labelled rows in memory, in the two forms that learners want: an encoded block, and numbers and texts by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers.demo.flights import read_flights
from stream.block import F64, U64, Block, Columns, Layout, take
from stream.encode.encoder import Encoder, layout_of, time_part
from stream.encode.ids import Ids
from stream.limits import BLOCK_ROWS_MAX
from stream.spec import FieldSpec
from stream.spec_load import load_spec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights.yaml"
MANY_VALUES = ("flight", "tailnum")  # trees are not given these: a nominal attribute splits into a branch a value


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows of one stream. label: float64[n]; classes: how many, 0 where the label is a number.

    texts: the categories' values, object[n, c], None is missing; their ids are the block's. events: raw dicts, if any.
    """

    name: str
    layout: Layout
    block: Block
    texts: NDArray[Any]
    label: F64
    classes: int = 2
    events: tuple[dict[str, Any], ...] = ()

    def __len__(self) -> int:
        return len(self.label)

    @property
    def task(self) -> str:
        """As a spec calls it."""
        return {0: "regression", 2: "binary"}.get(self.classes, "classes")

    def head(self, rows: int) -> "Rows":
        """The first rows only."""
        if rows >= len(self):
            return self
        block = take(self.block, range(rows))
        return Rows(
            self.name, self.layout, block, self.texts[:rows], self.label[:rows], self.classes, self.events[:rows]
        )

    def without(self, *names: str) -> "Rows":
        """Rows that lack some categories."""
        kept = [i for i, n in enumerate(self.layout.categories) if n not in names]
        layout = Layout(self.layout.numeric, tuple(self.layout.categories[i] for i in kept), ())
        block = block_of(self.block.numeric, np.ascontiguousarray(self.block.categories[:, kept]))
        return Rows(self.name, layout, block, self.texts[:, kept], self.label, self.classes, self.events)

    def blocks(self) -> list[tuple[Block, F64]]:
        """Cut as the pipeline cuts."""
        starts = range(0, len(self), BLOCK_ROWS_MAX)
        pieces = (range(at, min(at + BLOCK_ROWS_MAX, len(self))) for at in starts)
        return [(take(self.block, piece), self.label[piece.start : piece.stop]) for piece in pieces]

    @property
    def text_names(self) -> tuple[str, ...]:
        """Names of the texts in a dict that has the numbers too: the hour is given as both."""
        return tuple(f"{n}_is" if n in self.layout.numeric else n for n in self.layout.categories)

    def dicts(self) -> Iterator[tuple[dict[str, float], dict[str, str]]]:
        """Of each row the numbers and the texts by name; what is missing is absent."""
        names = self.text_names
        for numbers, texts in zip(self.block.numeric.tolist(), self.texts.tolist(), strict=True):
            yield (
                {n: v for n, v in zip(self.layout.numeric, numbers, strict=True) if v == v},
                {n: v for n, v in zip(names, texts, strict=True) if v is not None},
            )

    def targets(self) -> list[Any]:
        """Labels as River wants them: bool, int or float."""
        kind = {0: float, 2: bool}.get(self.classes, int)
        return [kind(y) for y in self.label.tolist()]


def block_of(numeric: F64, categories: U64) -> Block:
    """A block of these columns; its rows have no ids or places of their own."""
    n = len(numeric)
    zeros = np.zeros(n, np.int64)
    return Block(
        "bench", [""] * n, zeros, np.zeros(n, np.int32), zeros, numeric, categories, np.zeros(0, np.uint64), zeros
    )


def rows_of(
    name: str, numeric: dict[str, Any], texts: dict[str, list[str | None]], label: Any, classes: int = 2
) -> Rows:
    """Rows of columns by name; ids are the encoder's."""
    y = np.asarray(label, np.float64)
    n = len(y)
    numbers = np.column_stack([np.asarray(v, np.float64) for v in numeric.values()]) if numeric else np.zeros((n, 0))
    ids = np.column_stack([Ids(k).column(v) for k, v in texts.items()]) if texts else np.zeros((n, 0), np.uint64)
    values = np.empty((n, len(texts)), object)
    for i, column in enumerate(texts.values()):
        values[:, i] = column
    return Rows(name, Layout(tuple(numeric), tuple(texts), ()), block_of(numbers, ids), values, y, classes)


def flights(rows: int | None = None) -> Rows:
    """The first flights that arrived, through the example spec's encoder."""
    spec = load_spec(EXAMPLE)
    found = [f for f in read_flights(None if rows is None else 2 * rows + 1000) if f.late is not None][:rows]
    events = tuple(f.event for f in found)
    values = {name: _column(field, [e.get(name) for e in events]) for name, field in spec.event.fields.items()}
    zeros = np.zeros(len(events), np.int64)
    times = np.array([e["scheduled"] for e in events], np.int64)
    columns = Columns([e["flight_id"] for e in events], times, zeros.astype(np.int32), zeros, values)
    block, layout = Encoder(spec).encode(columns), layout_of(spec)
    texts = np.empty((len(events), len(layout.categories)), object)
    for i, name in enumerate(layout.categories):
        part = name.partition(".")[2]
        texts[:, i] = [str(v) for v in time_part(times, part)] if part else values[name]
    label = np.array([f.late for f in found], np.float64)
    return Rows("flights", layout, block, texts, label, 2, events)


def _column(field: FieldSpec, raw: list[Any]) -> NDArray[Any]:
    if field.type == "category":
        out = np.empty(len(raw), object)
        out[:] = [None if v is None else str(v) for v in raw]
        return out
    return np.array([np.nan if v is None else v for v in raw], np.float64)


def agrawal(rows: int, seed: int = 42) -> Rows:
    """River's Agrawal generator, function 0: six numbers and three categories."""
    from river.datasets import synth

    return generated("agrawal", synth.Agrawal(classification_function=0, seed=seed), rows, ("elevel", "car", "zipcode"))


def generated(name: str, stream: Any, rows: int, nominal: tuple[str, ...] = (), classes: int = 2) -> Rows:
    """The first rows of a River stream; the attributes in `nominal` become texts."""
    pairs = list(stream.take(rows))
    names = list(dict.fromkeys(n for x, _ in pairs for n in x))
    numeric = {str(n): [_number(x.get(n)) for x, _ in pairs] for n in names if n not in nominal}
    texts = {str(n): [None if x.get(n) is None else str(x[n]) for x, _ in pairs] for n in names if n in nominal}
    found = [y for _, y in pairs]
    if classes:
        order = sorted(set(found))
        found = [order.index(y) for y in found]
    return rows_of(name, numeric, texts, found, classes)


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
