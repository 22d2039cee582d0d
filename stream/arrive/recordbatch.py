"""Kafka's record batches (format v2, decompressed) → where each record lies, compiled.

Source: the Kafka protocol guide, "Record Batch". A single self-contained kernel, so numba's own cache key (this file)
is enough.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import I64
from stream.jit import cached, compiled

OFFSET, TIMESTAMP, KEY_START, KEY_END, VALUE_START, VALUE_END = range(6)
FIRST, LAST, COUNT, BASE_OFFSET, BASE_TIME, APPEND_TIME = range(6)
NEVER = -(1 << 62)  # in APPEND_TIME: the batch keeps the producers' times


@compiled
def _varint(data: Any, at: int, end: int) -> Any:
    """(zigzag-decoded value, where it ends; -1 for none that ends before `end`)."""
    value = np.uint64(0)
    shift = np.uint64(0)
    while at < end and shift < np.uint64(70):
        byte = np.uint64(data[at])
        at += 1
        value |= (byte & np.uint64(0x7F)) << shift
        if byte < np.uint64(0x80):
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), np.int64(-1)


@compiled
def _span(data: Any, at: int, end: int) -> Any:
    """(start, end, where it ends) of length-prefixed bytes; start -1 for null; the last -1 when cut off."""
    length, at = _varint(data, at, end)
    if at < 0 or length > end - at:
        return np.int64(-1), np.int64(-1), np.int64(-1)
    if length < 0:
        return np.int64(-1), np.int64(-1), at
    return at, at + length, at + length


@compiled
def _skip_headers(data: Any, at: int, end: int) -> Any:
    """Where the headers of a record end; -1 when they are damaged."""
    headers, at = _varint(data, at, end)
    if at < 0 or headers < 0:
        return np.int64(-1)
    for _ in range(2 * headers):
        _, _, at = _span(data, at, end)
        if at < 0:
            return np.int64(-1)
    return at


@cached
def _read(data: Any, batches: Any, from_offset: int, out: Any) -> Any:
    row = np.int64(0)
    for number in range(batches.shape[0]):
        at, last = batches[number, FIRST], batches[number, LAST]
        for _ in range(batches[number, COUNT]):
            length, at = _varint(data, at, last)
            if at < 0 or length < 1 or length > last - at:
                return row, np.int64(number)
            end = at + length
            time, at = _varint(data, at + 1, end)  # a byte of attributes comes first
            if at < 0:
                return row, np.int64(number)
            step, at = _varint(data, at, end)
            if at < 0:
                return row, np.int64(number)
            key_start, key_end, at = _span(data, at, end)
            if at < 0:
                return row, np.int64(number)
            value_start, value_end, at = _span(data, at, end)
            if at < 0 or _skip_headers(data, at, end) != end:
                return row, np.int64(number)
            at = end
            append = batches[number, APPEND_TIME]
            if batches[number, BASE_OFFSET] + step >= from_offset:
                out[OFFSET, row] = batches[number, BASE_OFFSET] + step
                out[TIMESTAMP, row] = append if append != NEVER else batches[number, BASE_TIME] + time
                out[KEY_START, row], out[KEY_END, row] = key_start, key_end
                out[VALUE_START, row], out[VALUE_END, row] = value_start, value_end
                row += 1
        if at != last:
            return row, np.int64(number)
    return row, np.int64(-1)


def read_batches(data: NDArray[np.uint8], batches: I64, from_offset: int) -> tuple[I64, int]:
    """Places of the records at or beyond `from_offset`: int64[6, n] (OFFSET … VALUE_END), starts -1 for null.

    batches: int64[b, 6]: FIRST and LAST byte of the batch's records in `data`, their COUNT, BASE_OFFSET, BASE_TIME,
    and APPEND_TIME (the broker's time for all of them, or NEVER). Also returned: the number of the first damaged
    batch, at which reading ends; -1 when there is none.
    """
    out = np.empty((6, int(batches[:, COUNT].sum())), np.int64)
    rows, damaged = _read(data, batches, from_offset, out)
    return out[:, :rows], int(damaged)
