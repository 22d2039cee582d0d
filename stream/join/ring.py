"""Queues of integers in one array: one ring for each partition, whose size is a power of two (`places.roomy_size`).

Invariant: ring p holds its entries HEAD..TAIL, counted since the beginning; entry i lies at BASE + (i & MASK). Kernels
push and drop; only `roomy`, from Python, makes room. So a kernel is given room for all that it may push.
"""

from typing import NamedTuple

import numpy as np

from stream.block import I64
from stream.jit import cached, compiled
from stream.join.places import roomy_size, untouched

BASE, MASK, HEAD, TAIL = range(4)


class Ring(NamedTuple):
    """data int64[total, width]; bounds int64[partitions, 4]: BASE, MASK, HEAD, TAIL."""

    data: I64
    bounds: I64


def ring(partitions: int, width: int, size: int = 64) -> Ring:
    """Empty rings of `size` entries (a power of two) each."""
    bounds = np.zeros((partitions, 4), np.int64)
    bounds[:, BASE], bounds[:, MASK] = np.arange(partitions) * size, size - 1
    return Ring(np.zeros((partitions * size, width), np.int64), bounds)


def held(of: Ring, partition: int = 0) -> int:
    """Entries in one ring."""
    return int(of.bounds[partition, TAIL] - of.bounds[partition, HEAD])


def roomy(of: Ring, partition: int, more: int) -> Ring:
    """The same entries, with room for so many more in one ring; a copy when that is to grow."""
    needed = held(of, partition) + more
    if needed <= of.bounds[partition, MASK] + 1:
        return of
    sizes = of.bounds[:, MASK] + 1
    sizes[partition] = roomy_size(needed)
    bounds = of.bounds.copy()
    bounds[:, BASE], bounds[:, MASK] = np.cumsum(sizes) - sizes, sizes - 1
    grown = Ring(untouched((int(sizes.sum()), of.data.shape[1]), np.int64), bounds)
    _move(of, grown)
    return grown


@cached
def _move(old: Ring, new: Ring) -> None:
    for p in range(len(old.bounds)):
        for entry in range(old.bounds[p, HEAD], old.bounds[p, TAIL]):
            source = old.bounds[p, BASE] + (entry & old.bounds[p, MASK])
            target = new.bounds[p, BASE] + (entry & new.bounds[p, MASK])
            for k in range(old.data.shape[1]):
                new.data[target, k] = old.data[source, k]


@compiled
def empty(of: Ring, partition: int) -> bool:
    """No entry is held."""
    bare: bool = of.bounds[partition, HEAD] == of.bounds[partition, TAIL]
    return bare


@compiled
def place(of: Ring, partition: int, entry: int) -> int:
    """Row of `data` in which an entry, counted since the beginning, lies."""
    at: int = of.bounds[partition, BASE] + (entry & of.bounds[partition, MASK])
    return at


@compiled
def first(of: Ring, partition: int) -> int:
    """Row of `data` of the oldest entry; the ring is not empty."""
    return place(of, partition, of.bounds[partition, HEAD])


@compiled
def last(of: Ring, partition: int) -> int:
    """Row of `data` of the newest entry; the ring is not empty."""
    return place(of, partition, of.bounds[partition, TAIL] - 1)


@compiled
def push(of: Ring, partition: int) -> int:
    """Row of `data` for one more entry."""
    at = place(of, partition, of.bounds[partition, TAIL])
    of.bounds[partition, TAIL] += 1
    return at


@compiled
def drop(of: Ring, partition: int) -> None:
    """Forget the oldest entry."""
    of.bounds[partition, HEAD] += 1
