"""The join's state as flat arrays, and how they grow. Kernels allocate nothing: what they may need is there before.

A row is an event that is no duplicate; rows of one id (a handle: stream/join/ids.py) are linked from the newest to the
oldest.
"""

from typing import NamedTuple, cast

import numpy as np

from stream.block import I64
from stream.join.ids import Ids, ids
from stream.join.places import Places, longer, places, resized, size_for
from stream.join.ring import Ring, ring

NEVER, FOREVER = -(1 << 62), 1 << 62
LONGEST_MS = 1 << 59  # a longer window or grace, 18 million years, is cut to this, so that sums stay in 64 bits

# rows. LAST_*: its newest event, duplicates included; OLDER: row of the same id before it, or -1; SLOT: where it is
# held, or -1; MENTIONS: events remembered that are this one or its duplicates; VALUE: bits of the label that counts;
# WAITS: it has neither a label nor timed out.
RANK, TIME, LAST_RANK, LAST_PART, LAST_POSITION, OLDER, SLOT, MATCHED, MENTIONS, HANDLE, VALUE, WAITS = range(12)
# parts. In a rebuild, rows before DUE_RANK, DUE_POSITION have timed out; WAITING: the first entry of `events` whose row
# has not timed out and is no duplicate's, or the end.
SEEN, NEXT, DUE_RANK, DUE_POSITION, WAITING = range(5)
EVENT_RANK, EVENT_POSITION, EVENT_ROW = range(3)  # events, the remembered ones. EVENT_ROW: -1 - row for a duplicate
REPEAT, BEFORE = range(2)  # repeats, of positions: a duplicate, and the event before it
AT, CLOCK_WAS = range(2)  # seen_before, clock_before: a position or label offset, the clock before it
LABEL_HANDLE, LABEL_TIME, LABEL_OFFSET, LABEL_PUBLISHED, LABEL_VALUE = range(5)  # labels; value: bits of a float64
CLOCK, DUE, PENDING = range(3)  # scalars. PENDING: rows that wait
(  # counts
    EVENTS_N,
    MATCHED_N,
    TIMED_OUT_N,
    DUPLICATE_EVENTS_N,
    LATE_N,
    ORPHANED_N,
    DUPLICATE_LABELS_N,
    CORRECTED_N,
) = range(8)


class State(NamedTuple):
    """All that the kernels know."""

    rows: I64
    row_places: Places
    ids: Ids
    parts: I64
    events: Ring
    repeats: Ring
    seen_before: Ring
    labels: Ring
    clock_before: Ring
    scalars: I64
    counts: I64


class Rules(NamedTuple):
    """What the spec says. apart_ms: events of an id further apart are no duplicates; wait_ms: a row without a label
    times out then, negative or not; corrections: another label of a row that has one teaches it anew; fake: a row is
    a negative first, whatever its label says later."""

    window_ms: int
    grace_ms: int
    apart_ms: int
    negative: bool
    wait_ms: int
    corrections: bool
    fake: bool


class Outcomes(NamedTuple):
    """What a kernel found. Rows for training, a place each in slot, value (bits of float64), offset, time_ms,
    published_ms and correction (0 or 1). Slots to free. refused int64[n, 3]: REFUSED_*. Offsets of forced labels."""

    slot: I64
    value: I64
    offset: I64
    time_ms: I64
    published_ms: I64
    correction: I64
    freed: I64
    refused: I64
    forced: I64


REFUSED_LABEL, REFUSED_WHY, REFUSED_AFTER = range(3)  # label, counted since the beginning; ms after the event
NO_EVENT, HAS_LABEL, TOO_LATE = (cast(int, np.int64(i)) for i in range(3))
TAKEN, CORRECTS = (cast(int, np.int64(i)) for i in (-1, -2))  # it is the row's label; it is the row's other label


def rules_of(
    window_ms: int, grace_ms: int, negative: bool, corrections: bool = False, fake_after_ms: int | None = None
) -> Rules:
    """Times in milliseconds; fake_after_ms: rows are negatives after this, even if their label may still come."""
    window, grace = min(window_ms, LONGEST_MS), min(grace_ms, LONGEST_MS)
    fake = fake_after_ms is not None
    wait = window if fake_after_ms is None else min(fake_after_ms, window)
    return Rules(window, grace, 2 * window + grace, negative or fake, wait, corrections, fake)


def state(partitions: int, size: int = 64) -> State:
    """Nothing read yet; room for `size` of everything."""
    parts = np.zeros((partitions, 5), np.int64)
    parts[:] = NEVER, 0, NEVER, -1, 0
    return State(
        rows=np.zeros((size, 12), np.int64),
        row_places=places(size),
        ids=ids(size),
        parts=parts,
        events=ring(partitions, 3, size),
        repeats=ring(partitions, 2, size),
        seen_before=ring(partitions, 2, size),
        labels=ring(1, 5, size),
        clock_before=ring(1, 2, size),
        scalars=np.array([NEVER, FOREVER, 0]),
        counts=np.zeros(8, np.int64),
    )


def outcomes(labels: int, pending: int, held: int, rules: Rules, forced: int) -> Outcomes:
    """Room for what so many waiting labels, rows that wait and rows held can come to; `forced`: forced labels."""
    trained = (2 if rules.fake else 1) * labels + (pending if rules.negative else 0)
    slot, value, offset, time_ms, published_ms, correction = np.empty((6, trained), np.int64)
    refused, freed, forced_at = (np.empty(n, np.int64) for n in (3 * labels, held, forced))
    return Outcomes(slot, value, offset, time_ms, published_ms, correction, freed, refused.reshape(-1, 3), forced_at)


def with_rows(of: State, more: int) -> State:
    """The same state with at least so many free rows."""
    size = size_for(of.row_places, more)
    if size == len(of.rows):
        return of
    return of._replace(rows=longer(of.rows, size), row_places=resized(of.row_places, size))
