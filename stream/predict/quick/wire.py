"""The wire format of `PredictRequest`, read into a row's room, each value held to its field's Avro type.

It reads what any protobuf library writes and doubts all else: what is given twice, or is out of its usual order.
"""

from typing import Any

import numpy as np

from stream.encode.spans import _xxh64 as xxh64
from stream.jit import compiled
from stream.predict.quick.texts import is_utf8
from stream.predict.quick.types import (
    A_BOOL,
    A_DOUBLE,
    A_ENUM,
    A_FLOAT,
    A_INT,
    A_LONG,
    A_OTHER,
    A_STRING,
    ABSENT,
    ARM,
    AVRO,
    BOOL,
    DOUBLE,
    ID,
    INT,
    NAME,
    NAME_END,
    NULL,
    NULLABLE,
    STALE_MAX,
    STRING,
    SYMBOLS,
    SYMBOLS_END,
    UNIT,
)  # fmt: skip


@compiled
def varint_of(text: Any, at: Any, end: Any) -> Any:
    """(value, where it got to; -1 where it does not end)."""
    value, shift = np.uint64(0), np.uint64(0)
    while at < end and shift < np.uint64(64):
        byte = text[at]
        at += 1
        value |= np.uint64(byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += np.uint64(7)
    return value, -1


@compiled
def span_of(text: Any, at: Any, end: Any) -> Any:
    """(begin, end) of bytes with their length before them; -1 where they go on past `end`."""
    size, begin = varint_of(text, at, end)
    if begin < 0 or size > np.uint64(end - begin):
        return begin, -1
    return begin, begin + np.int64(size)


@compiled
def same(text: Any, begin: Any, end: Any, pool: Any, from_: Any, to: Any) -> Any:
    size, i = end - begin, 0
    if size != to - from_:
        return False
    while i < size and text[begin + i] == pool[from_ + i]:
        i += 1
    return i == size


@compiled
def _field(tables: Any, text: Any, begin: Any, end: Any) -> Any:
    """Number of the field of this name; -1 for none."""
    mask = np.uint64(len(tables.places) - 1)
    at = xxh64(text, begin, end, np.uint64(0)) & mask
    while tables.places[at] >= 0:
        number = tables.places[at]
        row = tables.fields[number]
        if same(text, begin, end, tables.pool, row[NAME], row[NAME_END]):
            return number
        at = (at + np.uint64(1)) & mask
    return -1


@compiled
def word_of(tables: Any, first: Any, last: Any, text: Any, begin: Any, end: Any) -> Any:
    """Number of the word first..last with this text; -1 for none."""
    for number in range(first, last):
        if same(text, begin, end, tables.pool, tables.words[number, 0], tables.words[number, 1]):
            return number
    return -1


@compiled
def _value(row: Any, number: Any, at: Any, end: Any) -> Any:
    """Read a Value into row.given; whether it is plain."""
    text, given = row.text, row.given
    if at == end:
        given[number, 0] = NULL
        return True
    tag = text[at]
    at += 1
    if tag == 0x09 and end - at == 8:
        bits = np.uint64(0)
        for i in range(8):
            bits |= np.uint64(text[at + i]) << np.uint64(8 * i)
        row.bits[number] = bits
        given[number, 0] = DOUBLE
        return True
    if tag == 0x10 or tag == 0x20:
        value, at = varint_of(text, at, end)
        given[number, 0] = INT if tag == 0x10 else BOOL
        given[number, 1] = np.int64(value) if tag == 0x10 else np.int64(value != 0)
        return at == end
    if tag == 0x1A:
        begin, to = span_of(text, at, end)
        given[number, 0], given[number, 1], given[number, 2] = STRING, begin, to
        return to == end and is_utf8(text, begin, to)
    return False


@compiled
def _held(tables: Any, row: Any, number: Any) -> Any:
    """Hold a given value to the field's Avro type, narrowed as that; whether it fits."""
    spec, given = tables.fields[number], row.given[number]
    kind, avro = given[0], spec[AVRO]
    if kind == NULL:
        return avro != A_OTHER and spec[NULLABLE] == 1
    if avro in (A_DOUBLE, A_FLOAT):
        if kind == INT:
            row.real[number] = np.float64(given[1])
            given[0] = kind = DOUBLE
        if kind != DOUBLE:
            return False
        if avro == A_FLOAT:
            narrow = np.float64(np.float32(row.real[number]))
            if np.isinf(narrow) and not np.isinf(row.real[number]):
                return False
            row.real[number] = narrow
        return True
    if avro == A_INT:
        return kind == INT and -(1 << 31) <= given[1] < (1 << 31)
    if avro == A_LONG:
        return kind == INT
    if avro == A_BOOL:
        return kind == BOOL
    if avro == A_ENUM:
        return kind == STRING and word_of(tables, spec[SYMBOLS], spec[SYMBOLS_END], row.text, given[1], given[2]) >= 0
    return avro == A_STRING and kind == STRING


@compiled
def _entry(tables: Any, row: Any, at: Any, end: Any) -> Any:
    """One field of the request; whether it is plain, and the first of its name."""
    text = row.text
    if at >= end or text[at] != 0x0A:
        return False
    begin, to = span_of(text, at + 1, end)
    if to < 0 or to >= end or text[to] != 0x12:
        return False
    number = _field(tables, text, begin, to)
    if number < 0 or row.given[number, 0] != ABSENT:
        return False
    begin, to = span_of(text, to + 1, end)
    return to == end and _value(row, number, begin, to) and _held(tables, row, number)


@compiled
def read_message(tables: Any, row: Any, size: Any) -> Any:
    """Read the whole request; whether it is plain."""
    text, found = row.text, row.found
    at = np.int64(0)
    while at < size:
        tag = text[at]
        at += 1
        if tag == 0x28:
            value, at = varint_of(text, at, size)
            if at < 0 or found[STALE_MAX] >= 0 or np.int64(value) < 0:
                return False
            found[STALE_MAX] = np.int64(value)
            continue
        begin, at = span_of(text, at, size)
        if at < 0:
            return False
        if tag == 0x0A:
            if not _entry(tables, row, begin, at):
                return False
        elif tag == 0x12 or tag == 0x1A:
            place = ID if tag == 0x12 else UNIT
            if found[place + 1] >= 0 or not is_utf8(text, begin, at):
                return False
            if at > begin:
                found[place], found[place + 1] = begin, at
        elif tag == 0x22:
            if found[ARM] >= 0:
                return False
            for arm in range(len(tables.arms)):
                if same(text, begin, at, tables.pool, tables.arms[arm, 0], tables.arms[arm, 1]):
                    found[ARM] = arm
            if at > begin and found[ARM] < 0:
                return False
        else:
            return False
    return True
