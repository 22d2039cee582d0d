"""The input `categories` of an exported model, and what each value in it stands for inside.

By name it takes strings, and the model holds the names of the values that it knows: those that are known here
(`Names`), since a hash can't be reversed. By id it takes our 64-bit ids, as int64 of the same bits, and needs no names.
"""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from stream.block import Layout
from stream.explain.names import Names
from stream.export.graph import Graph

CATEGORIES = "categories"
By = Literal["name", "id"]


class Categories:
    """Of one export. unnamed: ids that no name is known of; they are left out, as if never seen."""

    def __init__(self, graph: Graph, layout: Layout, by: By, names: Names | None) -> None:
        self._graph, self._layout, self._names = graph, layout, names
        self.by_id = by == "id"
        self._input = ""
        self.unnamed: set[int] = set()
        if layout.categories:
            dtype: Any = object if by == "name" else np.int64
            self._input = graph.input(CATEGORIES, dtype, len(layout.categories))

    def mapped(self, column: int, values: Mapping[int, int], absent: int, other: int) -> str:
        """int64[n]: what each row's id in the column maps to; `absent` for none, `other` for any that isn't there."""
        given = self._graph.pick(self._input, column, 1)
        if self.by_id:
            return self._by_id(given, values, absent, other)
        named = {name: to for key, to in values.items() if (name := self.name(column, key)) is not None}
        pairs: dict[str, Any] = {"keys_strings": ["", *named], "values_int64s": [absent, *named.values()]}
        return self._graph.op("LabelEncoder", given, default_int64=other, **pairs)

    def all_mapped(self, values: Mapping[int, int], absent: int, other: int) -> str:
        """int64[n, c]: as `mapped`, for all columns by id at once."""
        return self._by_id(self._input, values, absent, other)

    def _by_id(self, given: str, values: Mapping[int, int], absent: int, other: int) -> str:
        ids = np.array([0, *values], np.uint64).view(np.int64).tolist()
        pairs: dict[str, Any] = {"keys_int64s": ids, "values_int64s": [absent, *values.values()]}
        return self._graph.op("LabelEncoder", given, default_int64=other, **pairs)

    def name(self, column: int, key: int) -> str | None:
        """A value's name; None, and noted, where it is not known."""
        field, _, value = self._names.of(key).partition("=") if self._names else ("", "", "")
        if field == self._layout.categories[column] and value:
            return value
        self.unnamed.add(key)
        return None

    def column_of(self, key: int) -> int | None:
        """The column that a bare id belongs to, by its name; None, and noted, where that is not known."""
        field, _, value = self._names.of(key).partition("=") if self._names else ("", "", "")
        if field in self._layout.categories and value:
            return self._layout.categories.index(field)
        self.unnamed.add(key)
        return None
