"""Which rows of an array are in use. Places that were given back are taken again first, so a big array is touched no
further than it was ever needed."""

import math
import mmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.block import I64
from stream.jit import compiled

USED, FREE = range(2)
MAPPED_BYTES = 1 << 18
SMALL_BITS, GROWS_BITS = 18, 3  # up to 2 ** 18 the sizes are powers of eight


class Places(NamedTuple):
    """n places. free int64[n]: a stack of those given back. top int64[2]: USED ever, and FREE, the stack's height."""

    free: I64
    top: I64


def places(size: int) -> Places:
    """None in use."""
    return Places(np.zeros(size, np.int64), np.zeros(2, np.int64))


def size_for(of: Places, more: int) -> int:
    """How many places there must be for so many more: those that there are, or `roomy_size` of all."""
    short = int(of.top[USED] - of.top[FREE]) + more - len(of.free)
    return len(of.free) if short <= 0 else roomy_size(len(of.free) + short)


def roomy_size(needed: int) -> int:
    """A power of two that is no less; far more for few, as growing costs time, and zeros not yet used no memory."""
    exact = max(1, (needed - 1).bit_length())
    return 1 << (min(-(-exact // GROWS_BITS) * GROWS_BITS, max(exact, SMALL_BITS)))


def resized(of: Places, size: int) -> Places:
    """The same, with room for `size`."""
    return Places(longer(of.free, size), of.top)


def untouched(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """Zeros that take no memory until they are used, page by page; objects are None.

    numpy asks for huge pages, which are cleared whole when first touched, and the heap clears what it gives again:
    both cost more than the join itself.
    """
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    if kind.hasobject:
        return np.empty(shape, kind)
    if size < MAPPED_BYTES:
        return np.zeros(shape, kind)
    return np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), kind).reshape(shape)


def longer(items: NDArray[Any], size: int) -> NDArray[Any]:
    """A copy with `untouched` rows up to `size`."""
    out = untouched((size, *items.shape[1:]), items.dtype)
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
