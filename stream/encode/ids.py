"""64-bit ids of categories and tokens: xxh64 of the value, seeded with xxh64 of the field's name.

The same text in two fields has two ids. 0 is kept for 'missing'. Values repeat, so each field keeps a bounded
memory of ids it has made; forgetting costs time, never changes an id.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import xxhash

from stream.block import U64

_MEMORY_MAX = 1 << 17


def field_seed(field: str) -> int:
    """The seed for a field's values."""
    return int(xxhash.xxh64_intdigest(field.encode()))


def category_id(seed: int, value: str) -> int:
    """The id of one value of the field with this seed; never 0."""
    return int(xxhash.xxh64_intdigest(value.encode(), seed)) or 1


class Ids:
    """Ids of one field's values."""

    def __init__(self, field: str) -> None:
        self.field = field
        self._seed = field_seed(field)
        self._known: dict[str | None, int] = {None: 0}

    def of(self, value: str) -> int:
        """The id of one value."""
        known = self._known.get(value)
        if known is None:
            if len(self._known) >= _MEMORY_MAX:
                self._known = {None: 0}
            known = self._known[value] = category_id(self._seed, value)
        return known

    def column(self, values: Iterable[Any]) -> U64:
        """uint64 ids of a column; None gives 0."""
        get, of = self._known.get, self.of
        return np.array([i if (i := get(v)) is not None else of(v) for v in values], np.uint64)
