"""Avro records of one schema → columns, compiled: one interpreter for every schema, so that none is compiled anew.

Source: Avro 1.12 specification, "Binary Encoding". A single self-contained kernel, so numba's own cache key (this
file) is enough. Invariants: no byte outside start[i]:end[i] is read; a record takes time in the order of its bytes,
since each item of an array or map takes at least one byte (stream/arrive/schema.py) and a block that claims more items
than bytes are left is refused at once.
"""

from typing import Any, cast

import numpy as np

from stream.jit import cached, compiled

BOOLEAN, INT, LONG, FLOAT, DOUBLE, BYTES, STRING, ENUM, FIXED, RECORD, ARRAY, MAP, ITEMS, ENTRIES = (
    cast(int, np.int64(i)) for i in range(14)
)
"""Operations. ITEMS and ENTRIES close an ARRAY and a MAP: they begin blocks and go back for each item."""
OP, NULL, SLOT, SIZE, JUMP = range(5)
"""Columns of a program. NULL: the branch of null, -1 for no union. SLOT: the row of `out` (spans take two), -1 to skip.
SIZE: bytes of a fixed, symbols of an enum, the ITEMS or ENTRIES of an ARRAY or MAP. JUMP: where to go on after a null;
of ITEMS and ENTRIES the first operation of an item."""
GOOD, TRUNCATED, VARINT, INTEGER, BOOL, BRANCH, SYMBOL, LENGTH, BEYOND, UTF8, BLOCK, TRAILING, OUTSIDE = range(13)
"""Errors; see stream.arrive.columns.ERRORS."""
LEFT, BLOCK_END = range(2)
"""Rows of `scratch`: of each open array or map, the items that its block still has, and where the block must end."""

_DATA_BITS, _HIGH = np.uint64(0x7F), np.uint64(0x80)


@compiled
def _long(data: Any, at: Any, end: Any) -> Any:
    """(value, where it ends) of a zigzag varint of at most 64 bits; -error for where if there is none."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < end:
        byte = np.uint64(data[at])
        at += 1
        if shift == np.uint64(63) and byte > np.uint64(1):
            return np.int64(0), np.int64(-VARINT)
        value |= (byte & _DATA_BITS) << shift
        if byte < _HIGH:
            return np.int64(value >> np.uint64(1)) ^ -np.int64(value & np.uint64(1)), at
        shift += np.uint64(7)
    return np.int64(0), np.int64(-TRUNCATED)


@compiled
def _span(data: Any, at: Any, end: Any) -> Any:
    """(start, end) of length-prefixed bytes; -error for the end."""
    length, at = _long(data, at, end)
    if at < 0:
        return at, at
    if length < 0:
        return at, np.int64(-LENGTH)
    if length > end - at:
        return at, np.int64(-BEYOND)
    return at, at + length


@compiled
def _follows(data: Any, at: Any, count: Any) -> Any:
    """Whether `count` bytes from `at` on are continuation bytes of UTF-8."""
    good = True
    for i in range(at, at + count):
        good = good and data[i] & 0xC0 == 0x80
    return good


@compiled
def _utf8(data: Any, at: Any, end: Any) -> Any:
    """Whether the bytes are UTF-8 as RFC 3629 has it: shortest forms, no surrogates, at most U+10FFFF."""
    while at < end and data[at] < 0x80:
        at += 1
    while at < end:
        lead = np.int64(data[at])
        if lead < 0x80:
            at += 1
            continue
        if lead < 0xC2 or lead > 0xF4:
            return False
        count = 1 + (lead >= 0xE0) + (lead >= 0xF0)
        if count >= end - at or not _follows(data, at + 1, count):
            return False
        second = np.int64(data[at + 1])
        if (lead == 0xE0 and second < 0xA0) or (lead == 0xED and second > 0x9F):
            return False
        if (lead == 0xF0 and second < 0x90) or (lead == 0xF4 and second > 0x8F):
            return False
        at += 1 + count
    return True


@compiled
def _text(data: Any, at: Any, end: Any) -> Any:
    """(start, end) of a string; -error for the end."""
    start, at = _span(data, at, end)
    if at >= 0 and not _utf8(data, start, at):
        return start, np.int64(-UTF8)
    return start, at


@compiled
def _bits(data: Any, at: Any, end: Any, size: Any) -> Any:
    """(`size` bytes as a little-endian number, where they end); -error for where."""
    if end - at < size:
        return np.int64(0), np.int64(-TRUNCATED)
    value = np.uint64(0)
    for i in range(size):
        value |= np.uint64(data[at + i]) << np.uint64(8 * i)
    return np.int64(value), at + size


@compiled
def _whole(data: Any, at: Any, end: Any, op: Any, size: Any) -> Any:
    """(value, where it ends) of a boolean, an int, a long or an enum's index; -error for where."""
    if op == BOOLEAN:
        if at >= end:
            return np.int64(0), np.int64(-TRUNCATED)
        return np.int64(data[at]), (at + 1 if data[at] <= 1 else np.int64(-BOOL))
    value, at = _long(data, at, end)
    if at < 0:
        return value, at
    if op == INT and value != np.int64(np.int32(value)):
        return value, np.int64(-INTEGER)
    if op == ENUM and (value < 0 or value >= size):
        return value, np.int64(-SYMBOL)
    return value, at


@compiled
def _block(data: Any, at: Any, end: Any, scratch: Any, depth: Any) -> Any:
    """Begin the next block of the innermost array or map; where its first item is, or -error. LEFT 0: there's none."""
    if scratch[BLOCK_END, depth] >= 0 and at != scratch[BLOCK_END, depth]:
        return np.int64(-BLOCK)
    count, at = _long(data, at, end)
    if at < 0:
        return at
    size = np.int64(-1)
    if count < 0:
        size, at = _long(data, at, end)
        if at < 0:
            return at
        if size < 0 or count == -count:
            return np.int64(-LENGTH)
        if size > end - at:
            return np.int64(-BEYOND)
        count = -count
    if count > end - at:
        return np.int64(-BEYOND)
    scratch[LEFT, depth] = count
    scratch[BLOCK_END, depth] = at + size if size >= 0 else np.int64(-1)
    return at


@compiled
def _record(data: Any, at: Any, end: Any, program: Any, scratch: Any, row: Any, out: Any, present: Any) -> Any:
    """Read one record into column `row` of out and present; where it ends, or -error."""
    step, depth = np.int64(0), np.int64(-1)
    while at >= 0 and step < len(program):
        op, null, slot = program[step, OP], program[step, NULL], program[step, SLOT]
        if null >= 0:
            branch, at = _long(data, at, end)
            if at < 0:
                return at
            if branch != 0 and branch != 1:
                return np.int64(-BRANCH)
            if branch == null:
                step = program[step, JUMP]
                continue
        if op in (STRING, BYTES):
            start, at = _text(data, at, end) if op == STRING else _span(data, at, end)
            if slot >= 0 and at >= 0:
                out[slot, row], out[slot + 1, row], present[slot, row] = start, at, 1
        elif op == FIXED:
            if program[step, SIZE] > end - at:
                return np.int64(-TRUNCATED)
            if slot >= 0:
                out[slot, row], out[slot + 1, row], present[slot, row] = at, at + program[step, SIZE], 1
            at += program[step, SIZE]
        elif op in (ARRAY, MAP):
            depth += 1
            scratch[LEFT, depth], scratch[BLOCK_END, depth] = 0, -1
            step = program[step, SIZE]
            continue
        elif op in (ITEMS, ENTRIES):
            if scratch[LEFT, depth] == 0:
                at = _block(data, at, end, scratch, depth)
            if at >= 0 and scratch[LEFT, depth] > 0:
                scratch[LEFT, depth] -= 1
                if op == ENTRIES:
                    _, at = _text(data, at, end)
                step = program[step, JUMP]
                continue
            depth -= 1
        elif op != RECORD:
            if op in (DOUBLE, FLOAT):
                value, at = _bits(data, at, end, 8 if op == DOUBLE else 4)
            else:
                value, at = _whole(data, at, end, op, program[step, SIZE])
            if slot >= 0 and at >= 0:
                out[slot, row], present[slot, row] = value, 1
        step += 1
    return at


@cached
def read(
    data: Any, start: Any, end: Any, program: Any, scratch: Any, out: Any, present: Any, error: Any
) -> Any:  # fmt: skip
    """Read n records; returns how many are bad.

    data uint8: record i is start[i]:end[i]. program int64[m, 5]. scratch int64[2, depth]. out int64[slots, n] and
    present uint8[slots, n], both zeros: values, bits of floating-point numbers, or spans. error uint8[n].
    """
    bad = 0
    for row in range(len(start)):
        at, last = start[row], end[row]
        if at < 0 or last < at or last > len(data):
            at = np.int64(-OUTSIDE)
        else:
            at = _record(data, at, last, program, scratch, row, out, present)
            if at >= 0 and at != last:
                at = np.int64(-TRAILING)
        error[row] = -at if at < 0 else GOOD
        if at < 0:
            bad += 1
            for slot in range(len(out)):
                out[slot, row], present[slot, row] = 0, 0
    return bad
