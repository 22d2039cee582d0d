"""Many units to arms at once, with the answers of both versions of assignment: xxh64 over one buffer, compiled.

The hash is written from its specification (Collet, "xxHash fast digest algorithm", XXH64); a test holds it to the
library's for any bytes, and the arms to `Assignment`'s. For analyses, simulations and plans of ramps; the server
assigns one by one.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from stream.block import F64, I64, U64
from stream.errors import DataError
from stream.experiment.slots import SLOTS
from stream.jit import cached, compiled

_BITS = 53
_P1, _P2, _P3 = np.uint64(0x9E3779B185EBCA87), np.uint64(0xC2B2AE3D27D4EB4F), np.uint64(0x165667B19E3779F9)
_P4, _P5 = np.uint64(0x85EBCA77C2B2AE63), np.uint64(0x27D4EB2F165667C5)
_ZERO = np.uint64(0)


@compiled
def _turned(x: np.uint64, by: int) -> np.uint64:
    return np.uint64((x << np.uint64(by)) | (x >> np.uint64(64 - by)))


@compiled
def _half(data: NDArray[np.uint8], at: int) -> np.uint64:
    """Four bytes, the least first."""
    low = np.uint64(data[at]) | np.uint64(data[at + 1]) << np.uint64(8)
    high = np.uint64(data[at + 2]) | np.uint64(data[at + 3]) << np.uint64(8)
    return np.uint64(low | high << np.uint64(16))


@compiled
def _word(data: NDArray[np.uint8], at: int) -> np.uint64:
    """Eight bytes, the least first."""
    return np.uint64(_half(data, at) | _half(data, at + 4) << np.uint64(32))


@compiled
def _round(lane: np.uint64, word: np.uint64) -> np.uint64:
    return np.uint64(_turned(lane + word * _P2, 31) * _P1)


@compiled
def _folded(found: np.uint64, lane: np.uint64) -> np.uint64:
    return np.uint64((found ^ _round(_ZERO, lane)) * _P1 + _P4)


@compiled
def _xxh64(data: NDArray[np.uint8], start: int, end: int, seed: np.uint64) -> np.uint64:
    at = start
    if end - start >= 32:
        a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
        while at + 32 <= end:
            a = _round(a, _word(data, at))
            b = _round(b, _word(data, at + 8))
            c = _round(c, _word(data, at + 16))
            d = _round(d, _word(data, at + 24))
            at += 32
        found = _turned(a, 1) + _turned(b, 7) + _turned(c, 12) + _turned(d, 18)
        found = _folded(_folded(_folded(_folded(found, a), b), c), d)
    else:
        found = seed + _P5
    found += np.uint64(end - start)
    while at + 8 <= end:
        found = _turned(found ^ _round(_ZERO, _word(data, at)), 27) * _P1 + _P4
        at += 8
    if at + 4 <= end:
        found = _turned(found ^ (_half(data, at) * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        found = _turned(found ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    found = (found ^ (found >> np.uint64(33))) * _P2
    found = (found ^ (found >> np.uint64(29))) * _P3
    return np.uint64(found ^ (found >> np.uint64(32)))


@cached
def _hash_all(data: NDArray[np.uint8], ends: I64, seed: np.uint64, out: U64) -> None:
    start = 0
    for i in range(len(ends)):
        out[i] = _xxh64(data, start, ends[i], seed)
        start = ends[i]


def hashes(data: NDArray[np.uint8], ends: I64, seed: int) -> U64:
    """xxh64 of each piece data[ends[i-1]:ends[i]] with a seed of 64 bits; uint64[n]. Ends ascend within `data`.

    Raises DataError otherwise.
    """
    if ends.size and (int(ends[0]) < 0 or (np.diff(ends) < 0).any() or int(ends[-1]) > data.size):
        raise DataError(f"ends of units: found up to {int(ends.max())}; ascending within {data.size} bytes is wanted")
    out = np.empty(ends.size, np.uint64)
    _hash_all(np.require(data, requirements=["C", "W"]), ends, np.uint64(seed), out)  # one kind of array, compiled once
    return out


def bytes_of(units: Sequence[str]) -> tuple[NDArray[np.uint8], I64]:
    """Units end to end in UTF-8, and where each ends. Raises UnicodeEncodeError for a lone surrogate."""
    text = "".join(units)
    data = text.encode()
    if len(data) == len(text):
        lengths = np.fromiter(map(len, units), np.int64, len(units))
    else:
        lengths = np.fromiter((len(u.encode()) for u in units), np.int64, len(units))
    return np.frombuffer(data, np.uint8), np.cumsum(lengths)


def points(units: Sequence[str], seed: int) -> F64:
    """Where each unit falls, in [0, 1), as `assign.point_of`; float64[n]. Raises UnicodeEncodeError as it does."""
    return points_of(*bytes_of(units), seed)


def points_of(data: NDArray[np.uint8], ends: I64, seed: int) -> F64:
    """As `points`, of units that lie end to end in UTF-8; see `hashes`."""
    return np.asarray((hashes(data, ends, seed) >> np.uint64(64 - _BITS)).astype(np.float64) / (1 << _BITS))


def slots_of(data: NDArray[np.uint8], ends: I64, seed: int) -> I64:
    """Which slot of version 2 each unit falls into, as `slots.slot_of`; int64[n]. See `bytes_of` and `hashes`."""
    upper = hashes(data, ends, seed) >> np.uint64(32)
    return ((upper * np.uint64(SLOTS)) >> np.uint64(32)).astype(np.int64)


def arms_at(found: F64, weights: Mapping[str, float]) -> I64:
    """The place in `weights` of the arm at each point; int64[n]. Raises DataError as `Assignment` does."""
    ends = np.array(list(accumulate(weights.values())), np.float64)
    if not ends.size or min(weights.values()) < 0 or not 0 < ends[-1] < math.inf:
        raise DataError(f"weights: found {dict(weights)}; each ≥ 0 and a sum above 0 is wanted")
    return np.searchsorted(ends / ends[-1], found, side="right").astype(np.int64)
