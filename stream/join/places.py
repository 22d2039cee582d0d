"""Which rows of an array are in use. Places that were given back are taken again first, so a big array is touched no
further than it was ever needed."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.block import I64
from stream.jit import compiled

USED, FREE = range(2)


class Places(NamedTuple):
    """n places. free int64[n]: a stack of those given back. top int64[2]: USED ever, and FREE, the stack's height."""

    free: I64
    top: I64


def places(size: int) -> Places:
    """None in use."""
    return Places(np.zeros(size, np.int64), np.zeros(2, np.int64))


def size_for(of: Places, more: int) -> int:
    """How many places there must be for so many more: those that there are, or a power of two."""
    short = int(of.top[USED] - of.top[FREE]) + more - len(of.free)
    return len(of.free) if short <= 0 else 1 << (len(of.free) + short - 1).bit_length()


def resized(of: Places, size: int) -> Places:
    """The same, with room for `size`."""
    return Places(longer(of.free, size), of.top)


def longer(items: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy with zeros up to `size` rows, which take no memory until they are used."""
    out = np.zeros((size, *items.shape[1:]), items.dtype)
    out[: len(items)] = items
    return out


@compiled
def take_place(of: Places) -> int:
    """A place that is not in use; there is one."""
    if of.top[FREE] > 0:
        of.top[FREE] -= 1
        again: int = of.free[of.top[FREE]]
        return again
    of.top[USED] += 1
    fresh: int = of.top[USED] - 1
    return fresh


@compiled
def give_back(of: Places, place: int) -> None:
    """The place is not in use any more."""
    of.free[of.top[FREE]] = place
    of.top[FREE] += 1
