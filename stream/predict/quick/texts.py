"""Texts: whether bytes are UTF-8, where one may be blank at its ends, and the text that str() makes of a value."""

from typing import Any

import numpy as np

from stream.jit import compiled
from stream.predict.quick.types import BOOL, INT, STRING


@compiled
def is_utf8(text: Any, begin: Any, end: Any) -> Any:
    """Whether the bytes are UTF-8 as protobuf and Python want it: shortest forms, no surrogates."""
    at = begin
    while at < end:
        lead = text[at]
        if lead < 0x80:
            at += 1
            continue
        if lead < 0xC2 or lead > 0xF4:
            return False
        more = 1 if lead < 0xE0 else 2 if lead < 0xF0 else 3
        if end - at <= more:
            return False
        low = 0xA0 if lead == 0xE0 else 0x90 if lead == 0xF0 else 0x80
        high = 0x9F if lead == 0xED else 0x8F if lead == 0xF4 else 0xBF
        if not low <= text[at + 1] <= high:
            return False
        for i in range(2, more + 1):
            if text[at + i] & 0xC0 != 0x80:
                return False
        at += more + 1
    return True


@compiled
def maybe_blank(text: Any, begin: Any, end: Any) -> Any:
    """Whether a text without blanks of ASCII at its ends may have others there; some punctuation counts too."""
    last = end - 1
    while last > begin and text[last] & 0xC0 == 0x80:
        last -= 1
    for at in (begin, last):
        if at < end and text[at] >= 0x80:
            lead, second = text[at], text[at + 1]
            if lead == 0xC2 and (second == 0x85 or second == 0xA0):
                return True
            if (
                (lead == 0xE1 and second == 0x9A)
                or (lead == 0xE2 and second <= 0x81)
                or (lead == 0xE3 and second == 0x80)
            ):
                return True
    return False


@compiled
def _decimal(text: Any, at: Any, value: Any) -> Any:
    """Write a whole number at `at`; where it ends."""
    left = np.uint64(value)
    if value < 0:
        text[at] = 45
        at += 1
        left = np.uint64(0) - left
    digits, rest = 1, left // np.uint64(10)
    while rest > 0:
        digits, rest = digits + 1, rest // np.uint64(10)
    for i in range(digits):
        text[at + digits - 1 - i] = np.uint8(48 + left % np.uint64(10))
        left //= np.uint64(10)
    return at + digits


@compiled
def _boolean(text: Any, at: Any, value: Any) -> Any:
    """Write True or False as Python does; where it ends."""
    for letter in (84, 114, 117, 101) if value else (70, 97, 108, 115):
        text[at] = letter
        at += 1
    if not value:
        text[at] = 101
        at += 1
    return at


@compiled
def is_space(byte: Any) -> Any:
    return byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31


@compiled
def as_text(row: Any, number: Any, room: Any) -> Any:
    """(begin, end, room left from) of a value as Python's str() gives it; end -1 for a number with a point."""
    kind, value = row.given[number, 0], row.given[number, 1]
    if kind == STRING:
        return value, row.given[number, 2], room
    if kind == INT:
        end = _decimal(row.text, room, value)
        return room, end, end
    if kind == BOOL:
        end = _boolean(row.text, room, value)
        return room, end, end
    return room, -1, room
