"""Strings that lie in one buffer: their hashes, and Python's strings of them, without a call for each.

Source: the xxHash specification, XXH64. A self-contained file, so numba's own cache key is enough.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import I64, U64
from stream.jit import cached, compiled

_P1, _P2, _P3, _P4, _P5 = (
    np.uint64(p)
    for p in (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)
)
_BITS = np.uint64(64)
_SEPARATOR = 0  # between the strings while they are one; a string that has it takes the slow way


@compiled
def _rotated(x: Any, by: Any) -> Any:
    return (x << np.uint64(by)) | (x >> (_BITS - np.uint64(by)))


@compiled
def _word(data: Any, at: Any, size: Any) -> Any:
    """`size` bytes from `at` on as a little-endian number."""
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return value


@compiled
def _round(lane: Any, word: Any) -> Any:
    return _rotated(lane + word * _P2, 31) * _P1


@compiled
def _merged(hashed: Any, lane: Any) -> Any:
    return (hashed ^ _round(np.uint64(0), lane)) * _P1 + _P4


@compiled
def _stripes(data: Any, at: Any, end: Any, seed: Any) -> Any:
    """(hash, where it got to) of all whole stripes of 32 bytes."""
    a, b, c, d = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
    while end - at >= 32:
        a, b = _round(a, _word(data, at, 8)), _round(b, _word(data, at + 8, 8))
        c, d = _round(c, _word(data, at + 16, 8)), _round(d, _word(data, at + 24, 8))
        at += 32
    hashed = _rotated(a, 1) + _rotated(b, 7) + _rotated(c, 12) + _rotated(d, 18)
    return _merged(_merged(_merged(_merged(hashed, a), b), c), d), at


@compiled
def _xxh64(data: Any, at: Any, end: Any, seed: Any) -> Any:
    size = np.uint64(end - at)
    hashed = seed + _P5
    if end - at >= 32:
        hashed, at = _stripes(data, at, end, seed)
    hashed += size
    while end - at >= 8:
        hashed = _rotated(hashed ^ _round(np.uint64(0), _word(data, at, 8)), 27) * _P1 + _P4
        at += 8
    if end - at >= 4:
        hashed = _rotated(hashed ^ (_word(data, at, 4) * _P1), 23) * _P2 + _P3
        at += 4
    while at < end:
        hashed = _rotated(hashed ^ (np.uint64(data[at]) * _P5), 11) * _P1
        at += 1
    hashed = (hashed ^ (hashed >> np.uint64(33))) * _P2
    hashed = (hashed ^ (hashed >> np.uint64(29))) * _P3
    return hashed ^ (hashed >> np.uint64(32))


@cached
def _hash(data: Any, start: Any, end: Any, seed: Any, out: Any) -> None:
    for i in range(len(start)):
        out[i] = _xxh64(data, start[i], end[i], seed)


@cached
def _gather(data: Any, start: Any, end: Any, out: Any) -> Any:
    """The spans one after another, each with a separator behind it; whether none of them has one inside."""
    to, clean = 0, True
    for i in range(len(start)):
        for at in range(start[i], end[i]):
            out[to] = data[at]
            clean = clean and data[at] != _SEPARATOR
            to += 1
        out[to] = _SEPARATOR
        to += 1
    return clean


def hash_spans(data: NDArray[np.uint8], start: I64, end: I64, seed: int) -> U64:
    """uint64[n]: xxh64 of each data[start[i]:end[i]], as the package `xxhash` gives it. `seed` is unsigned, 64 bits.

    IndexError for a span outside `data`.
    """
    _check(data, start, end)
    out = np.empty(len(start), np.uint64)
    _hash(data, start, end, np.uint64(seed), out)
    return out


def spans_to_str(data: NDArray[np.uint8], start: I64, end: I64) -> list[str]:
    """The strings data[start[i]:end[i]]. IndexError for one outside `data`, UnicodeDecodeError for one not in UTF-8."""
    _check(data, start, end)
    if not len(start):
        return []
    joined = np.empty(int((end - start).sum()) + len(start), np.uint8)
    if _gather(data, start, end, joined):
        return joined[:-1].tobytes().decode().split("\0")
    return [data[a:b].tobytes().decode() for a, b in zip(start.tolist(), end.tolist(), strict=True)]


def _check(data: NDArray[np.uint8], start: I64, end: I64) -> None:
    """Refuse what a kernel would read outside of its buffer."""
    if len(start) != len(end) or (len(start) and (start.min() < 0 or end.max() > len(data) or (end < start).any())):
        raise IndexError(f"spans outside a buffer of {len(data)} bytes")
