"""Ids as small numbers, *handles*, found by their bytes, so that all else about them can be arrays.

An id's bytes lie in cells of 24, the first of which is its handle; a longer id goes on in further cells. A handle lives
from when it is first asked for until no row has it and no label with it waits. Which handle an id gets never shows in
what comes out. The table is open addressing, at most half full; removal shifts back what follows, so that lookups stay
short. The hash is SipHash-1-3 (Aumasson and Bernstein, 2012), which Python's dict uses, keyed anew in each process, so
that nobody can choose ids that collide. Equal hashes are never taken for equal ids.
"""

from typing import NamedTuple

import numpy as np

from stream.block import I32, I64
from stream.jit import cached, compiled
from stream.join.places import Places, give_back, longer, places, resized, size_for, take_place
from stream.texts import Bytes

_U = np.uint64
WORDS = 3
NEXT_CELL, LENGTH, HASHED, NEWEST, QUEUED = range(WORDS, 8)  # cells; all but the first in a handle's cell alone
CELL_BYTES = 8 * WORDS


class Ids(NamedTuple):
    """cells int64[c, 8]: WORDS of bytes, the next cell or -1, length in bytes, hash, newest row or -1, labels that wait
    (so one cell is one cache line). table int32[2c]: handle or -1. key int64[2]."""

    cells: I64
    table: I32
    places: Places
    key: I64


def ids(size: int) -> Ids:
    """None known; room for `size` (a power of two) cells."""
    key = np.array([hash(("join", i)) for i in range(2)])  # Python's own seed, random unless PYTHONHASHSEED is set
    return Ids(np.zeros((size, 8), np.int64), _table(size), places(size), key)


def roomy_ids(of: Ids, cells: int) -> Ids:
    """The same ids with at least so many free cells; a copy when they must grow."""
    size = size_for(of.places, cells)
    if size == len(of.cells):
        return of
    table = _table(size)
    _reindex(of.cells, of.table, table)
    return Ids(longer(of.cells, size), table, resized(of.places, size), of.key)


def cells_of(lengths: I64) -> int:
    """Cells that ids of so many bytes take at most."""
    return int(np.maximum((lengths + (CELL_BYTES - 1)) // CELL_BYTES, 1).sum())


def _table(cells: int) -> I32:
    return np.full(2 * cells, -1, np.int32)


@cached
def _reindex(cells: I64, old: I32, new: I32) -> None:
    mask = len(new) - 1
    for i in range(len(old)):
        if old[i] >= 0:
            at = cells[old[i], HASHED] & mask
            while new[at] >= 0:
                at = (at + 1) & mask
            new[at] = old[i]


@compiled
def _word(data: Bytes, at: int, end: int) -> np.uint64:
    """Up to eight bytes, little-endian; zeros where they end. Spelled out with unsigned places, eight are one load."""
    i = _U(at)
    if end - at >= 8:
        low = _U(data[i]) | _U(data[i + _U(1)]) << _U(8) | _U(data[i + _U(2)]) << _U(16) | _U(data[i + _U(3)]) << _U(24)
        i += _U(4)
        high = (
            _U(data[i]) | _U(data[i + _U(1)]) << _U(8) | _U(data[i + _U(2)]) << _U(16) | _U(data[i + _U(3)]) << _U(24)
        )
        return low | high << _U(32)
    found = _U(0)
    for k in range(_U(end - at)):
        found |= _U(data[i + _U(k)]) << (_U(8) * _U(k))
    return found


@compiled
def _left(x: np.uint64, by: int) -> np.uint64:
    return (x << _U(by)) | (x >> _U(64 - by))


@compiled
def _round(a: np.uint64, b: np.uint64, c: np.uint64, d: np.uint64) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    a += b
    c += d
    b = _left(b, 13) ^ a
    d = _left(d, 16) ^ c
    a = _left(a, 32)
    c += b
    a += d
    b = _left(b, 17) ^ c
    d = _left(d, 21) ^ a
    c = _left(c, 32)
    return a, b, c, d


@compiled
def hash_of(key_0: int, key_1: int, data: Bytes, start: int, end: int) -> int:
    """SipHash-1-3 of data[start:end]."""
    k0, k1 = _U(key_0), _U(key_1)
    a, b = k0 ^ _U(0x736F6D6570736575), k1 ^ _U(0x646F72616E646F6D)
    c, d = k0 ^ _U(0x6C7967656E657261), k1 ^ _U(0x7465646279746573)
    at = start
    while end - at >= 8:
        m = _word(data, at, end)
        a, b, c, d = _round(a, b, c, d ^ m)
        a ^= m
        at += 8
    m = _word(data, at, end) | (_U(end - start) << _U(56))
    a, b, c, d = _round(a, b, c, d ^ m)
    a ^= m
    c ^= _U(0xFF)
    for _ in range(3):
        a, b, c, d = _round(a, b, c, d)
    return np.int64(a ^ b ^ c ^ d)  # type: ignore[return-value]


@compiled
def _is(s: Ids, handle: int, data: Bytes, start: int, end: int) -> bool:
    """The handle's id is data[start:end]."""
    if s.cells[handle, LENGTH] != end - start:
        return False
    cell, k = handle, 0
    for at in range(start, end, 8):
        if k == WORDS:
            cell, k = s.cells[cell, NEXT_CELL], 0
        if s.cells[cell, k] != np.int64(_word(data, at, end)):
            return False
        k += 1
    return True


@compiled
def handle_of(s: Ids, data: Bytes, start: int, end: int) -> int:
    """The handle of the id data[start:end], which gets one if it has none; there are cells enough."""
    mask = len(s.table) - 1
    hashed = hash_of(s.key[0], s.key[1], data, start, end)
    at = hashed & mask
    while s.table[at] >= 0:
        known = int(s.table[at])
        if s.cells[known, HASHED] == hashed and _is(s, known, data, start, end):
            return known
        at = (at + 1) & mask
    handle = _cell(s)
    s.table[at] = handle
    s.cells[handle, LENGTH], s.cells[handle, HASHED] = end - start, hashed
    s.cells[handle, NEWEST], s.cells[handle, QUEUED] = -1, 0
    cell, k = handle, 0
    for byte in range(start, end, 8):
        if k == WORDS:
            more = _cell(s)
            s.cells[cell, NEXT_CELL] = more
            cell, k = more, 0
        s.cells[cell, k] = np.int64(_word(data, byte, end))
        k += 1
    return handle


@compiled
def _cell(s: Ids) -> int:
    cell = take_place(s.places)
    s.cells[cell, NEXT_CELL] = -1
    return cell


@compiled
def release(s: Ids, handle: int) -> None:
    """Forget an id, once no row has it and no label with it waits."""
    if s.cells[handle, NEWEST] >= 0 or s.cells[handle, QUEUED] > 0:
        return
    mask = len(s.table) - 1
    hole = s.cells[handle, HASHED] & mask
    while s.table[hole] != handle:
        hole = (hole + 1) & mask
    s.table[hole] = -1
    at = (hole + 1) & mask
    while s.table[at] >= 0:
        home = s.cells[s.table[at], HASHED] & mask
        if ((at - home) & mask) >= ((at - hole) & mask):
            s.table[hole] = s.table[at]
            s.table[at] = -1
            hole = at
        at = (at + 1) & mask
    cell = handle
    while cell >= 0:
        give_back(s.places, cell)
        cell = s.cells[cell, NEXT_CELL]
