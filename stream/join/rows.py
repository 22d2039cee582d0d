"""What happens to one row or one label; the loops over many are in stream/join/kernel.py.

Everything here is what the docstring of stream/join/join.py says, on the arrays of stream/join/layout.py.
"""

from pathlib import Path

from stream.jit import compiled, digest_of
from stream.join.ids import NEWEST, QUEUED, release
from stream.join.layout import (
    AT,
    BEFORE,
    CLOCK,
    CLOCK_WAS,
    CORRECTED_N,
    CORRECTS,
    DUE_POSITION,
    DUE_RANK,
    DUPLICATE_EVENTS_N,
    DUPLICATE_LABELS_N,
    EVENT_POSITION,
    EVENT_RANK,
    EVENT_ROW,
    HANDLE,
    HAS_LABEL,
    LABEL_HANDLE,
    LABEL_OFFSET,
    LABEL_PUBLISHED,
    LABEL_TIME,
    LABEL_VALUE,
    LAST_PART,
    LAST_POSITION,
    LAST_RANK,
    LATE_N,
    MATCHED,
    MATCHED_N,
    MENTIONS,
    NEXT,
    NO_EVENT,
    OLDER,
    ORPHANED_N,
    PENDING,
    RANK,
    REPEAT,
    SEEN,
    SLOT,
    TAKEN,
    TIME,
    TOO_LATE,
    VALUE,
    WAITING,
    WAITS,
    Outcomes,
    Rules,
    State,
)
from stream.join.places import give_back, take_place
from stream.join.ring import TAIL, empty, last, place, push

_MOST = (1 << 63) - 1
SOURCES = digest_of(*Path(__file__).parent.glob("*.py"))
"""Changes with every file of this package: what its entry points are compiled from."""


@compiled
def plus(time_ms: int, more_ms: int) -> int:
    """The sum, or the largest number there is."""
    return time_ms + more_ms if time_ms <= _MOST - more_ms else _MOST


# -- an event comes ------------------------------------------------------------------------------------------


@compiled
def see(s: State, part: int, time_ms: int, position: int) -> None:
    """Move the clock of a features partition; what it was before this position stays known."""
    if empty(s.seen_before, part) or s.seen_before.data[last(s.seen_before, part), AT] != position:
        at = push(s.seen_before, part)
        s.seen_before.data[at, AT], s.seen_before.data[at, CLOCK_WAS] = position, s.parts[part, SEEN]
    s.parts[part, SEEN] = max(s.parts[part, SEEN], time_ms)
    s.parts[part, NEXT] = position + 1


@compiled
def repeat(s: State, part: int, position: int, before: int) -> None:
    """Keep what a rebuild must begin with to know this duplicate; the smallest `before` stays first."""
    ring = s.repeats
    while not empty(ring, part) and ring.data[last(ring, part), BEFORE] >= before:
        ring.bounds[part, TAIL] -= 1
    at = push(ring, part)
    ring.data[at, REPEAT], ring.data[at, BEFORE] = position, before


@compiled
def row_of_event(s: State, rules: Rules, handle: int, time_ms: int, part: int, position: int) -> tuple[int, bool]:
    """The row that an event is, or is a duplicate of; and whether it is new. The clock has been moved."""
    seen, newest = s.parts[part, SEEN], s.ids.cells[handle, NEWEST]
    if newest >= 0:
        before = s.rows[newest, LAST_RANK]
        if seen - rules.apart_ms <= before and before - rules.apart_ms <= seen:
            if s.rows[newest, LAST_PART] == part:
                repeat(s, part, position, s.rows[newest, LAST_POSITION])
            s.rows[newest, MENTIONS] += 1
            _last_event(s, newest, seen, part, position)
            s.counts[DUPLICATE_EVENTS_N] += 1
            return newest, False
    row = take_place(s.row_places)
    s.rows[row, RANK], s.rows[row, TIME], s.rows[row, OLDER] = seen, time_ms, newest
    s.rows[row, SLOT], s.rows[row, MATCHED], s.rows[row, MENTIONS] = -1, 0, 1
    s.rows[row, HANDLE], s.rows[row, VALUE], s.rows[row, WAITS] = handle, 0, 0
    _last_event(s, row, seen, part, position)
    s.ids.cells[handle, NEWEST] = row
    return row, True


@compiled
def _last_event(s: State, row: int, rank_ms: int, part: int, position: int) -> None:
    s.rows[row, LAST_RANK], s.rows[row, LAST_PART], s.rows[row, LAST_POSITION] = rank_ms, part, position


@compiled
def remember(s: State, part: int, position: int, row: int, is_fresh: bool) -> bool:
    """Put an event into the ring of its partition; whether its row waits from now on."""
    bounds, seen = s.events.bounds, s.parts[part, SEEN]
    due = s.parts[part, DUE_RANK]
    waits = is_fresh and (seen > due or (seen == due and position >= s.parts[part, DUE_POSITION]))
    at = push(s.events, part)
    s.events.data[at, EVENT_RANK], s.events.data[at, EVENT_POSITION] = seen, position
    s.events.data[at, EVENT_ROW] = row if waits else -1 - row
    if waits:
        s.rows[row, WAITS] = 1
        s.scalars[PENDING] += 1
    elif s.parts[part, WAITING] == bounds[part, TAIL] - 1:
        s.parts[part, WAITING] += 1
    return waits


# -- a label comes -------------------------------------------------------------------------------------------


@compiled
def row_for_label(s: State, rules: Rules, handle: int, time_ms: int) -> int:
    """The newest row of the label's id that came in time for it, unless that is two windows back; else -1."""
    row, until = s.ids.cells[handle, NEWEST], plus(time_ms, rules.grace_ms)
    while row >= 0 and s.rows[row, RANK] > until:
        row = s.rows[row, OLDER]
    if row < 0 or s.rows[row, RANK] < max(s.scalars[CLOCK], time_ms) - 2 * rules.window_ms:
        return -1
    found: int = row
    return found


@compiled
def move_clock(s: State, time_ms: int, offset: int) -> None:
    """The clock of the labels; what it was before this offset stays known."""
    if time_ms > s.scalars[CLOCK]:
        at = push(s.clock_before, 0)
        s.clock_before.data[at, AT], s.clock_before.data[at, CLOCK_WAS] = offset, s.scalars[CLOCK]
        s.scalars[CLOCK] = time_ms


@compiled
def is_zero(bits: int) -> bool:
    """Of a float64's bits, whether it is 0."""
    return bits & _MOST == 0


@compiled
def keeps(rules: Rules) -> bool:
    """Whether rows are held after they trained, since they may train again."""
    return rules.corrections or rules.fake


@compiled
def waits_no_more(s: State, row: int) -> None:
    """The row has its label, or has timed out."""
    s.scalars[PENDING] -= s.rows[row, WAITS]
    s.rows[row, WAITS] = 0


@compiled
def corrects(s: State, rules: Rules, row: int, value: int, is_late: bool) -> bool:
    """Whether a label with this value (bits) is another than the one that the row was learned with, and is to be
    learned too. What came after the window counts where silence has been taken for a negative."""
    differs = value != s.rows[row, VALUE] and not (is_zero(value) and is_zero(s.rows[row, VALUE]))
    if s.rows[row, MATCHED]:
        return rules.corrections and differs
    timed_out = rules.negative and s.rows[row, RANK] < s.scalars[CLOCK] - rules.wait_ms
    return timed_out and differs and (rules.corrections if is_late else rules.fake)


@compiled
def settle(s: State, rules: Rules, label: int, row: int) -> tuple[int, int]:
    """Give one label (row of labels.data) its outcome: its row's slot and TAKEN or CORRECTS, or -1 and why it is
    refused."""
    time_ms, value = s.labels.data[label, LABEL_TIME], s.labels.data[label, LABEL_VALUE]
    if row < 0:
        s.counts[ORPHANED_N] += 1
        return -1, NO_EVENT
    rank = s.rows[row, RANK]
    late = rank < s.scalars[CLOCK] - rules.window_ms or time_ms > plus(s.rows[row, TIME], rules.window_ms)
    slot = s.rows[row, SLOT]
    if corrects(s, rules, row, value, late):
        s.counts[CORRECTED_N] += 1
        s.rows[row, MATCHED], s.rows[row, VALUE] = 1, value
        return slot, CORRECTS
    if s.rows[row, MATCHED] or (rules.fake and not late and rank < s.scalars[CLOCK] - rules.wait_ms):
        s.counts[DUPLICATE_LABELS_N] += 1
        return -1, HAS_LABEL
    if late:
        s.counts[LATE_N] += 1
        return -1, TOO_LATE
    s.counts[MATCHED_N] += 1
    waits_no_more(s, row)
    s.rows[row, MATCHED], s.rows[row, VALUE] = 1, value
    if not keeps(rules):
        s.rows[row, SLOT] = -1
    return slot, TAKEN


@compiled
def train(s: State, out: Outcomes, at: int, slot: int, label: int, value: int, correction: int) -> None:
    """One row for the training log, with the label that it came with."""
    out.slot[at], out.value[at], out.correction[at] = slot, value, correction
    out.offset[at], out.time_ms[at] = s.labels.data[label, LABEL_OFFSET], s.labels.data[label, LABEL_TIME]
    out.published_ms[at] = s.labels.data[label, LABEL_PUBLISHED]


@compiled
def release_label(s: State, label: int) -> None:
    """The label is settled: its id need not be known for its sake any more."""
    handle = s.labels.data[label, LABEL_HANDLE]
    s.ids.cells[handle, QUEUED] -= 1
    release(s.ids, handle)


# -- a row goes ----------------------------------------------------------------------------------------------


@compiled
def oldest_waiting(s: State, part: int) -> int:
    """Row of events.data of the first entry whose row has not timed out; -1 when none waits."""
    if s.parts[part, WAITING] == s.events.bounds[part, TAIL]:
        return -1
    return place(s.events, part, s.parts[part, WAITING])


@compiled
def pass_waiting(s: State, part: int) -> None:
    """Go on to the next entry whose row waits."""
    s.parts[part, WAITING] += 1
    at = oldest_waiting(s, part)
    while at >= 0 and s.events.data[at, EVENT_ROW] < 0:
        s.parts[part, WAITING] += 1
        at = oldest_waiting(s, part)


@compiled
def unlink(s: State, row: int) -> int:
    """Forget a row that no remembered event is; the slot that it had still, or -1."""
    handle, older = s.rows[row, HANDLE], s.rows[row, OLDER]
    newer = s.ids.cells[handle, NEWEST]
    if newer == row:
        s.ids.cells[handle, NEWEST] = older
        release(s.ids, handle)
    else:
        while s.rows[newer, OLDER] != row:
            newer = s.rows[newer, OLDER]
        s.rows[newer, OLDER] = older
    slot: int = s.rows[row, SLOT]
    give_back(s.row_places, row)
    return slot
