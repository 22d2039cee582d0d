"""Values as the text that Python's str() makes of them, where that is simple."""

from typing import Any

import numpy as np

from stream.jit import compiled
from stream.predict.quick.types import BOOL, INT, STRING


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
