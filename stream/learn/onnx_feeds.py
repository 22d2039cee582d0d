"""What each input of an ONNX model is given of a block: by the column that bears its name, or all columns at once.

An input called `numeric` or `categories` takes the block's whole matrix. Any other is called as a column, and is of
one dimension, or [n, 1]. Numbers go in as float16, float32, float64, or as int32, int64, bool where the spec says what
stands for an absent one. Categories go in as their 64-bit ids (uint64, or the same bits as int64), 0 for none; or as
strings. A hash can't be reversed, but a model that only compares strings can tell apart those alone that it holds
itself (stream/learn/onnx_words.py): a category that is one of them gets its name, any other UNKNOWN, none "".
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import U64, Block, Layout
from stream.encode.ids import category_id, field_seed

FLOATS: Mapping[str, type] = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
WHOLE: Mapping[str, type] = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
IDS: Mapping[str, type] = {"tensor(uint64)": np.uint64, "tensor(int64)": np.int64}
WORDS = "tensor(string)"
NUMERIC, CATEGORIES = "numeric", "categories"
UNKNOWN = "(unknown)"


@dataclass(frozen=True, slots=True)
class Feed:
    """One input. columns: places in the block's matrix; words: by column, id → name, if it takes strings."""

    name: str
    matrix: str
    dtype: type
    columns: tuple[int, ...]
    flat: bool
    missing: float | None = None
    words: tuple[Mapping[int, str], ...] = ()

    def fill(self, block: Block) -> NDArray[Any]:
        """The input's array for n rows, [n] or [n, columns]."""
        if self.matrix == NUMERIC:
            x = block.numeric[:, self.columns]
            x = x if self.missing is None else np.where(np.isnan(x), self.missing, x)
            with np.errstate(over="ignore", invalid="ignore"):
                found: NDArray[Any] = x.astype(self.dtype)
        else:
            ids = np.ascontiguousarray(block.categories[:, self.columns])
            found = self._named(ids) if self.words else ids.view(self.dtype)
        return found[:, 0] if self.flat else found

    def _named(self, ids: U64) -> NDArray[Any]:
        out = np.empty(ids.shape, object)
        for j, words in enumerate(self.words):
            values, place = np.unique(ids[:, j], return_inverse=True)
            out[:, j] = np.array([words.get(v, UNKNOWN) for v in values.tolist()], object)[place]
        return out


def ids_of(column: str, words: Iterable[str]) -> Mapping[int, str]:
    """Id → name of each word as a value of the column; 0, no value, is the empty string."""
    seed = field_seed(column)
    return {0: ""} | {category_id(seed, word): word for word in words}


class Planner:
    """Decides the feed of each input; `problems` says why not, one line each."""

    def __init__(self, layout: Layout, names: Mapping[str, str], missing: float | None, words: Iterable[str]) -> None:
        self._layout, self._names, self._missing, self._words = layout, names, missing, tuple(words)
        self.problems: list[str] = []

    def plan(self, inputs: list[Any]) -> list[Feed]:
        """Feeds of onnxruntime's inputs; those with a problem are left out."""
        for name in sorted(set(self._names) - {i.name for i in inputs}):
            self.problems.append(
                f"params.inputs: found {name!r}; the model's inputs are {', '.join(i.name for i in inputs)}"
            )
        return [feed for given in inputs if (feed := self._feed(given, len(inputs) == 1)) is not None]

    def _feed(self, given: Any, alone: bool) -> Feed | None:
        column, layout = self._names.get(given.name, given.name), self._layout
        shape = list(given.shape)
        if not shape or isinstance(shape[0], int):
            return self._wrong(
                given, f"its shape is {shape}; the first dimension has to be free, for any number of rows"
            )
        if column == CATEGORIES and given.type in {*IDS, WORDS}:
            return self._matrix(given, CATEGORIES, layout.categories)
        as_category = given.type in (WORDS, "tensor(uint64)") or column not in layout.numeric
        if as_category and column in layout.categories:
            return self._single(given, CATEGORIES, layout.categories, column)
        if column in layout.numeric:
            return self._single(given, NUMERIC, layout.numeric, column)
        if column == NUMERIC or (alone and len(shape) == 2 and given.type in FLOATS):
            return self._matrix(given, NUMERIC, layout.numeric)
        known = ", ".join([NUMERIC, *layout.numeric, CATEGORIES, *dict.fromkeys(layout.categories)])
        return self._wrong(given, f"no such column; `params.inputs: {{{given.name}: COLUMN}}` names one of {known}")

    def _wrong(self, given: Any, why: str) -> Feed | None:
        self.problems.append(f"model: input {given.name!r} ({given.type}): {why}")
        return None

    def _matrix(self, given: Any, matrix: str, columns: tuple[str, ...]) -> Feed | None:
        shape = list(given.shape)
        if len(shape) != 2 or (isinstance(shape[1], int) and shape[1] != len(columns)):
            wanted = f"[n, {len(columns)}], for {', '.join(columns) or 'none'}"
            return self._wrong(given, f"its shape is {shape}; the arm's columns are {wanted}")
        return self._typed(given, matrix, tuple(range(len(columns))), columns, False)

    def _single(self, given: Any, matrix: str, columns: tuple[str, ...], column: str) -> Feed | None:
        shape = list(given.shape)
        if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
            return self._wrong(given, f"its shape is {shape}; one column is [n] or [n, 1]")
        return self._typed(given, matrix, (columns.index(column),), (column,), len(shape) == 1)

    def _typed(
        self, given: Any, matrix: str, places: tuple[int, ...], columns: tuple[str, ...], flat: bool
    ) -> Feed | None:
        if matrix == CATEGORIES:
            if given.type == WORDS:
                words = tuple(ids_of(c, self._words) for c in columns)
                return Feed(given.name, matrix, object, places, flat, None, words)
            if given.type in IDS:
                return Feed(given.name, matrix, IDS[given.type], places, flat)
            return self._wrong(given, f"a category goes in as {', '.join([WORDS, *IDS])}")
        if given.type in FLOATS:
            return Feed(given.name, matrix, FLOATS[given.type], places, flat, self._missing)
        if given.type not in WHOLE:
            return self._wrong(given, f"a number goes in as {', '.join([*FLOATS, *WHOLE])}")
        if self._missing is None:
            return self._wrong(given, "whole numbers have none for 'absent'; `params.missing` says what stands for it")
        return Feed(given.name, matrix, WHOLE[given.type], places, flat, self._missing)
