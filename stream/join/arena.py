"""Rows that wait for labels: columns of a fixed layout in which a row has a slot until it is taken or dropped.

Slots are reused, so memory follows the number of waiting rows, not of rows seen. Which slot a row gets never
shows in what comes out.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import I64, Block, Layout
from stream.join.places import longer, roomy_size

_START = 1024


class Arena:
    """Feature rows by slot number."""

    def __init__(self, spec_hash: str, layout: Layout) -> None:
        self._spec_hash = spec_hash
        self._has_tokens = bool(layout.tokens)
        self._columns: dict[str, NDArray[Any]] = {
            "time_ms": np.zeros(_START, np.int64),
            "partition": np.zeros(_START, np.int32),
            "offset": np.zeros(_START, np.int64),
            "numeric": np.zeros((_START, len(layout.numeric))),
            "categories": np.zeros((_START, len(layout.categories)), np.uint64),
        }
        self._ids = np.empty(_START, object)  # str
        self._tokens = np.empty(_START if self._has_tokens else 0, object)  # bytes, which slice and join fast
        self._free = np.zeros(_START, np.int64)  # slots given back: a stack, filled up to _left
        self._left = 0
        self._used = 0  # slots that were ever taken

    @property
    def waiting(self) -> int:
        """Rows held now."""
        return self._used - self._left

    def put(self, block: Block, rows: Sequence[int] | I64) -> I64:
        """Copy these rows of a block, ascending, in; returns their slots."""
        n = len(rows)
        if self._used - self._left + n > len(self._ids):
            self._grow(roomy_size(self._used - self._left + n))
        again = min(n, self._left)
        slots = np.append(self._free[self._left - again : self._left], np.arange(n - again) + self._used)
        self._left -= again
        self._used += n - again
        index: Any = slice(None) if n == len(block) else np.asarray(rows, np.int64)
        for name, column in self._columns.items():
            column[slots] = getattr(block, name)[index]
        self._ids[slots] = _objects(block.ids)[index]
        if self._has_tokens:
            raw, ends = np.ascontiguousarray(block.tokens).tobytes(), (8 * block.token_ends).tolist()
            pieces = [raw[a:b] for a, b in zip([0, *ends], ends, strict=False)]
            self._tokens[slots] = _objects(pieces)[index]
        return slots

    def gather(self, slots: Sequence[int] | I64) -> Block:
        """A block of the rows in these slots, in this order."""
        index = np.asarray(slots, np.int64)
        pieces: list[bytes] = self._tokens[index].tolist() if self._has_tokens else []
        lengths = [len(p) >> 3 for p in pieces] if self._has_tokens else np.zeros(len(index), np.int64)
        return Block(
            self._spec_hash,
            self._ids[index].tolist(),
            tokens=np.frombuffer(bytearray(b"").join(pieces), np.uint64),
            token_ends=np.cumsum(lengths, dtype=np.int64),
            **{name: column.take(index, 0) for name, column in self._columns.items()},
        )

    def free(self, slots: Sequence[int] | I64) -> None:
        """Give slots back."""
        index = np.asarray(slots, np.int64)
        self._ids[index] = None
        if self._has_tokens:
            self._tokens[index] = None
        self._free[self._left : self._left + len(index)] = index
        self._left += len(index)

    def _grow(self, size: int) -> None:
        self._columns = {name: longer(column, size) for name, column in self._columns.items()}
        self._ids, self._free = longer(self._ids, size), longer(self._free, size)
        self._tokens = longer(self._tokens, size) if self._has_tokens else self._tokens


def _objects(items: Sequence[Any]) -> NDArray[Any]:
    out = np.empty(len(items), object)
    out[:] = items
    return out
