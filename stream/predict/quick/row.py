"""One request's bytes → one encoded row, in one compiled call: read, checked, cleaned and encoded.

A Python object a field would cost more than all the rest. The kernel only ever *doubts*: whatever is not plainly right
(an unknown field, a letter outside ASCII whose case is to change, a value that a rule would refuse) ends the call, and
the row form, the one authority on what is wrong, answers. Invariant: where nothing is doubted, the row is the very row
that `EventReader`, `Cleaner` and `Encoder` make.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from stream.clean.cleaner import ID_CHARS_MAX
from stream.encode import spans
from stream.encode.spans import _xxh64 as xxh64
from stream.jit import brief, compiled, digest_of
from stream.limits import MAGNITUDE_MAX, STRING_CHARS_MAX, TIME_AHEAD_MS_MAX
from stream.predict.quick.texts import as_text, is_space, maybe_blank
from stream.predict.quick.types import (
    ABSENT,
    CASE,
    CATEGORY,
    CLEAN,
    CLIPPED,
    COLUMN,
    DEFAULT,
    DOUBLE,
    FIXED,
    HAS_MAX,
    HAS_MIN,
    HOUR,
    ID,
    ID_END,
    IMPUTED,
    INT,
    IS_UNIT,
    KEEP,
    LOWER,
    MONTH,
    NEEDED,
    NULL,
    NUMBER,
    P_CATEGORY,
    P_CYCLE,
    P_IDS,
    P_KIND,
    P_NUMBER,
    PARTS,
    PARTS_END,
    R_NONE,
    R_TIME,
    REQUIRED,
    ROLE,
    STRIP,
    TIME,
    TIME_MAX,
    TIME_MS,
    UNIFY,
    UNIFY_END,
    UNIT,
    UNIT_END,
    WEEKDAY,
    Row,
    Tables,
)  # fmt: skip
from stream.predict.quick.wire import read_message, same, word_of

_HOUR_MS, _DAY_MS = 3_600_000, 86_400_000


@compiled
def _category(tables: Any, row: Any, number: Any, room: Any) -> Any:
    """Clean and encode a category; where room is left from, or -1 where it is doubted."""
    spec, text, kind = tables.fields[number], row.text, row.given[number, 0]
    column, held = spec[COLUMN], np.uint64(0)
    if kind == FIXED:
        row.categories[0, column] = tables.ids[number, 2]
        return -1 if spec[IS_UNIT] else room
    missing = kind in (ABSENT, NULL)
    if not missing:
        begin, end, room = as_text(row, number, room)
        if end < 0:
            return -1
        if spec[STRIP]:
            while begin < end and is_space(text[begin]):
                begin += 1
            while begin < end and is_space(text[end - 1]):
                end -= 1
            if maybe_blank(text, begin, end):
                return -1
        if spec[CASE] != KEEP:
            low, high, off = (65, 90, 32) if spec[CASE] == LOWER else (97, 122, -32)
            for i in range(end - begin):
                byte = np.int64(text[begin + i])
                if byte >= 0x80:
                    return -1
                text[room + i] = np.uint8(byte + off if low <= byte <= high else byte)
            begin, end, room = room, room + end - begin, room + end - begin
        word = word_of(tables, spec[UNIFY], spec[UNIFY_END], text, begin, end)
        if word >= 0:
            if spec[IS_UNIT]:
                return -1
            missing, held = tables.words[word, 2] == 0, tables.word_ids[word]
        elif begin == end:
            missing = True
        elif end - begin > STRING_CHARS_MAX:
            return -1
        else:
            held = xxh64(text, begin, end, tables.ids[number, 0])
            held = held if held != 0 else np.uint64(1)
            if spec[IS_UNIT] and row.found[UNIT_END] < 0:
                row.found[UNIT], row.found[UNIT_END] = begin, end
    if missing:
        if spec[REQUIRED] or (spec[IS_UNIT] and spec[IMPUTED]):
            return -1
        held = tables.ids[number, 1] if spec[IMPUTED] else np.uint64(0)
    row.categories[0, column] = held
    return room


@compiled
def _number(tables: Any, row: Any, number: Any) -> Any:
    """(a number or boolean, cleaned; whether it passes)."""
    spec, kind = tables.fields[number], row.given[number, 0]
    if kind in (ABSENT, NULL):
        if spec[REQUIRED]:
            return np.nan, False
        return (tables.reals[number, 2] if spec[IMPUTED] else np.nan), True
    if kind == FIXED:
        value = tables.reals[number, 3]
    else:
        value = row.real[number] if kind == DOUBLE else np.float64(row.given[number, 1])
    if not abs(value) <= MAGNITUDE_MAX:
        return value, False
    low, high = tables.reals[number, 0], tables.reals[number, 1]
    if spec[HAS_MIN] and value < low:
        return low, spec[CLIPPED] == 1
    if spec[HAS_MAX] and value > high:
        return high, spec[CLIPPED] == 1
    return value, True


@compiled
def _part(kind: Any, time_ms: Any) -> Any:
    """hour, weekday, month or day of a time in UTC, not before 1970. Months by Howard Hinnant's days-to-civil."""
    days = time_ms // _DAY_MS
    if kind == HOUR:
        return time_ms % _DAY_MS // _HOUR_MS
    if kind == WEEKDAY:
        return (days + 3) % 7
    of_era = (days + 719_468) % 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    month = (5 * of_year + 2) // 153
    if kind == MONTH:
        return month + 3 if month < 10 else month - 9
    return of_year - (153 * month + 2) // 5 + 1


@compiled
def _time(tables: Any, row: Any, number: Any) -> Any:
    """Encode a time; whether it passes."""
    spec, kind = tables.fields[number], row.given[number, 0]
    missing = kind in (ABSENT, NULL)
    if kind == FIXED or (missing and spec[REQUIRED]):
        return False
    time_ms = np.int64(0) if missing else row.given[number, 1]
    if not 0 <= time_ms <= TIME_MAX:
        return False
    for p in range(spec[PARTS], spec[PARTS_END]):
        part = tables.parts[p]
        value = _part(part[P_KIND], time_ms)
        if part[P_NUMBER] >= 0:
            row.numeric[0, part[P_NUMBER]] = np.nan if missing else np.float64(value)
        if part[P_CYCLE] >= 0:
            row.numeric[0, part[P_CYCLE]] = np.nan if missing else tables.cycles[p, 0, value]
            row.numeric[0, part[P_CYCLE] + 1] = np.nan if missing else tables.cycles[p, 1, value]
        if part[P_CATEGORY] >= 0:
            held = np.uint64(0) if missing else tables.part_ids[part[P_IDS] + value]
            row.categories[0, part[P_CATEGORY]] = held
    return True


@compiled
def _own(tables: Any, row: Any, number: Any, now_ms: Any) -> Any:
    """The event's own id or time; whether it is right."""
    given, found, text = row.given[number], row.found, row.text
    missing = given[0] in (ABSENT, NULL)
    if tables.fields[number, ROLE] == R_TIME:
        if missing:
            given[0], given[1] = INT, now_ms
        found[TIME_MS] = given[1]
        return 0 <= given[1] <= now_ms + TIME_AHEAD_MS_MAX
    if not missing:
        agrees = found[ID_END] < 0 or same(text, found[ID], found[ID_END], text, given[1], given[2])
        found[ID], found[ID_END] = given[1], given[2]
        if not agrees or given[1] == given[2]:
            return False
    return found[ID_END] - found[ID] <= ID_CHARS_MAX or found[ID_END] < 0


Read = Callable[[bytes, Tables, Row, int], int]


def _entry_point(sources: int) -> Read:
    @brief
    def read_row(body: bytes, tables: Tables, row: Row, now_ms: int) -> int:
        """Fill `row` from a request of at most len(row.text) / 4 bytes; 0, or a number of where it was doubted."""
        _ = sources
        size, found = len(body), row.found
        for i in range(size):
            row.text[i] = body[i]
        row.given[:, 0] = ABSENT
        found[:] = -1
        if not read_message(tables, row, size):
            return 1
        if found[UNIT_END] - found[UNIT] > STRING_CHARS_MAX:
            return 2
        room = np.int64(size)
        for number in range(len(tables.fields)):
            spec = tables.fields[number]
            if row.given[number, 0] == ABSENT:
                if spec[NEEDED]:
                    return 3
                if spec[DEFAULT]:
                    row.given[number, 0] = FIXED
            if spec[ROLE] != R_NONE and not _own(tables, row, number, now_ms):
                return 4
            if spec[CLEAN] == CATEGORY:
                room = _category(tables, row, number, room)
                if room < 0:
                    return 5
            elif spec[CLEAN] == NUMBER:
                value, passes = _number(tables, row, number)
                if not passes:
                    return 6
                row.numeric[0, spec[COLUMN]] = value
            elif spec[CLEAN] == TIME and not _time(tables, row, number):
                return 7
            if spec[IS_UNIT] and spec[CLEAN] != CATEGORY and found[UNIT_END] < 0:
                kind = row.given[number, 0]
                if kind != ABSENT and kind != NULL:
                    begin, end, room = as_text(row, number, room)
                    if end < 0 or end - begin > STRING_CHARS_MAX:
                        return 8
                    found[UNIT], found[UNIT_END] = begin, end
        return 0

    found: Read = read_row
    return found


read_row = _entry_point(digest_of(*Path(__file__).parent.glob("*.py"), Path(spans.__file__)))
