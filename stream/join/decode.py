"""Label records → columns, compiled: clean labels of the task; all else is left to be read one by one.

Source: Avro 1.12 specification, "Binary Encoding" and "Single-object encoding"; schemas/label.avsc. Invariant: a row
that is taken here is read as LabelReader reads it. `read` takes a digest of the files that it
depends on into its cache key.
"""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from stream import limits
from stream.block import F64, I64
from stream.jit import cached, compiled, digest_of

Bytes = NDArray[np.uint8]
BINARY, REGRESSION, CLASSES = (cast(int, np.int64(i)) for i in range(3))  # tasks
ODD, ASCII, WIDE = range(3)  # kinds: to be read one by one; clean; clean but for the id, which is not ASCII
ID_START, ID_END, VALUE_START, VALUE_END, TIME, KIND = range(6)
_BOOLEAN, _LONG, _DOUBLE, _STRING = 0, 2, 4, 6  # branches of the union, as written
_MAGNITUDE = int(limits.MAGNITUDE_MAX)
_MAGNITUDE_BITS, _ONE_BITS = (int(x) for x in np.array([limits.MAGNITUDE_MAX, 1.0]).view(np.int64))
_SIZE = (1 << 63) - 1  # all bits of a double but its sign


@compiled
def _long(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """A zigzag varint of at most nine bytes, and where it ends; -1 for any other."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(63):
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at  # type: ignore[return-value]
        shift += np.uint64(7)
    return 0, -1


@compiled
def _string(data: Bytes, at: int, end: int) -> tuple[int, int]:
    """Where the bytes of a string begin and end; -1 when they don't fit."""
    length, at = _long(data, at, end)
    if at < 0 or length < 0 or length > end - at:
        return -1, -1
    return at, at + length


@compiled
def _ascii(data: Bytes, start: int, end: int) -> bool:
    plain = True
    for at in range(start, end):
        plain = plain and data[at] < 0x80
    return plain


@compiled
def _number(data: Bytes, at: int, end: int, task: int, value: F64, bits: I64) -> int:
    """Put the task's number for a value that is no string into value[0], which is bits[0]; where the value ends, or -1
    for one that is none of the task. Doubles are compared by their bits: those of positive ones order as they do."""
    branch = data[at]
    at += 1
    if branch == _BOOLEAN:
        if task != BINARY or at >= end or data[at] > 1:
            return -1
        value[0] = data[at]
        return at + 1
    if branch == _LONG:
        number, at = _long(data, at, end)
        value[0] = number
        return at if number == 0 or number == 1 or (task == REGRESSION and -_MAGNITUDE <= number <= _MAGNITUDE) else -1
    if branch != _DOUBLE or end - at < 8:
        return -1
    double = np.uint64(0)
    for i in range(8):
        double |= np.uint64(data[at + i]) << np.uint64(8 * i)
    bits[0] = np.int64(double)
    size = np.int64(double & np.uint64(_SIZE))
    limit = _MAGNITUDE_BITS if task == REGRESSION else 0
    return at + 8 if size <= limit or np.int64(double) == _ONE_BITS else -1


def _entry_point(sources: int) -> Callable[[Bytes, Bytes, I64, I64, I64, int, I64, F64, I64], int]:
    @cached
    def read(
        data: Bytes, prefix: Bytes, start: I64, end: I64, latest_ms: I64, task: int, out: I64, value: F64, bits: I64
    ) -> int:
        """out int64[6, n]: the columns ID_START … KIND of each record, which lies at start[i]:end[i] in data; for
        CLASSES its value is a span, else it goes to value float64[n], of which `bits` is the int64 view. A time is
        within 0..latest_ms[i], a number of a regression within ±MAGNITUDE_MAX. Returns how many are ODD."""
        _ = sources
        odd = 0
        for i in range(len(start)):
            out[KIND, i] = ODD
            odd += 1
            at, last = start[i], end[i]
            if at < 0 or last - at < len(prefix):
                continue
            framed = True
            for k in range(len(prefix)):
                framed = framed and data[at + k] == prefix[k]
            if not framed:
                continue
            id_start, at = _string(data, at + len(prefix), last)
            if at < 0 or at >= last:
                continue
            id_end = at
            if task != CLASSES:
                at = _number(data, at, last, task, value[i : i + 1], bits[i : i + 1])
            elif data[at] == _STRING:
                out[VALUE_START, i], at = _string(data, at + 1, last)
                out[VALUE_END, i] = at
            else:
                continue
            if at < 0:
                continue
            time_ms, at = _long(data, at, last)
            if at != last or time_ms < 0 or time_ms > latest_ms[i]:
                continue
            out[ID_START, i], out[ID_END, i], out[TIME, i] = id_start, id_end, time_ms
            out[KIND, i] = ASCII if _ascii(data, id_start, id_end) else WIDE
            odd -= 1
        return odd

    return read


read = _entry_point(digest_of(Path(__file__), Path(limits.__file__)))
