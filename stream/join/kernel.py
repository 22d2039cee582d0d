"""The loops of the join that Python calls, each over many events or labels; they release the GIL.

Kernels allocate nothing: stream/join/join.py makes room for all that a call may need before it.
"""

from collections.abc import Callable

from stream.block import I64
from stream.jit import cached, compiled
from stream.join.ids import QUEUED, handle_of
from stream.join.layout import (
    CLOCK,
    CORRECTS,
    DUE,
    EVENT_RANK,
    EVENT_ROW,
    EVENTS_N,
    FOREVER,
    LABEL_HANDLE,
    LABEL_OFFSET,
    LABEL_TIME,
    LABEL_VALUE,
    MENTIONS,
    REFUSED_AFTER,
    REFUSED_LABEL,
    REFUSED_WHY,
    SEEN,
    SLOT,
    TIME,
    TIMED_OUT_N,
    TOO_LATE,
    WAITS,
    Outcomes,
    Rules,
    State,
)
from stream.join.ring import HEAD, drop, empty, first, push
from stream.join.rows import (
    SOURCES,
    is_zero,
    keeps,
    move_clock,
    oldest_waiting,
    pass_waiting,
    plus,
    release_label,
    remember,
    row_for_label,
    row_of_event,
    see,
    settle,
    train,
    unlink,
    waits_no_more,
)
from stream.texts import Texts

_MOST = (1 << 63) - 1
Found = tuple[int, int, int, int]


@compiled
def next_due(s: State, rules: Rules) -> int:
    """The largest label clock at which no row has to time out yet."""
    oldest = FOREVER
    for part in range(len(s.parts)):
        at = oldest_waiting(s, part)
        if at >= 0:
            oldest = min(oldest, s.events.data[at, EVENT_RANK])
    return plus(oldest, rules.wait_ms)


@compiled
def part_due(s: State, before_ms: int) -> int:
    """The partition whose row times out next, of those with a rank time before `before_ms`; -1 for none."""
    part, least = -1, before_ms
    for p in range(len(s.parts)):
        at = oldest_waiting(s, p)
        if at >= 0 and s.events.data[at, EVENT_RANK] < least:
            part, least = p, s.events.data[at, EVENT_RANK]
    return part


@compiled
def expire(s: State, rules: Rules, out: Outcomes, trained: int, freed: int, label: int) -> tuple[int, int]:
    """Time rows out, in order of rank time, partition, position; with the `label` that moved the clock (else -1), as
    negatives. Returns how many rows train, and how many slots are free, now."""
    before_ms = s.scalars[CLOCK] - rules.wait_ms
    part = part_due(s, before_ms)
    while part >= 0:
        row = s.events.data[oldest_waiting(s, part), EVENT_ROW]
        if s.rows[row, WAITS]:
            s.counts[TIMED_OUT_N] += 1
            waits_no_more(s, row)
            if label >= 0:
                train(s, out, trained, s.rows[row, SLOT], label, 0, 0)
                trained += 1
            if label < 0 or not keeps(rules):
                out.freed[freed] = s.rows[row, SLOT]
                freed += 1
                s.rows[row, SLOT] = -1
        pass_waiting(s, part)
        part = part_due(s, before_ms)
    s.scalars[DUE] = next_due(s, rules)
    return trained, freed


@compiled
def forget(s: State, rules: Rules, out: Outcomes, freed: int) -> int:
    """Drop events on which nothing depends any more: no label's outcome, nor what is a duplicate. Returns how many
    slots are free now."""
    for part in range(len(s.parts)):
        until = min(s.scalars[CLOCK] - 2 * rules.window_ms, s.parts[part, SEEN] - rules.apart_ms)
        at = oldest_waiting(s, part)
        if at >= 0:
            until = min(until, s.events.data[at, EVENT_RANK])
        while not empty(s.events, part):
            at = first(s.events, part)
            if s.events.data[at, EVENT_RANK] >= until:
                break
            row = s.events.data[at, EVENT_ROW]
            row = row if row >= 0 else -1 - row
            drop(s.events, part)
            s.rows[row, MENTIONS] -= 1
            if s.rows[row, MENTIONS] == 0:
                slot = unlink(s, row)
                if slot >= 0:
                    out.freed[freed] = slot
                    freed += 1
    return freed


@compiled
def refuse(s: State, out: Outcomes, at: int, why: int, row: int) -> None:
    """The label at the head of the queue is refused."""
    label = first(s.labels, 0)
    out.refused[at, REFUSED_LABEL], out.refused[at, REFUSED_WHY] = s.labels.bounds[0, HEAD], why
    after = s.labels.data[label, LABEL_TIME] - s.rows[row, TIME] if why == TOO_LATE else 0
    out.refused[at, REFUSED_AFTER] = after


def _entry_points(
    sources: int,
) -> tuple[
    Callable[[State, Rules, int, Texts, I64, I64, I64, I64], int],
    Callable[[State, Rules, Outcomes, bool], Found],
    Callable[[State, Rules, Outcomes, I64], int],
    Callable[[State, Texts, I64], None],
]:
    @cached
    def add_events(
        s: State, rules: Rules, part: int, ids: Texts, times: I64, positions: I64, fresh: I64, rows: I64
    ) -> int:
        """Events of one partition. How many are to be held: fresh[k] is the number of such an event, rows[k] its
        row."""
        _ = sources
        held = 0
        for i in range(len(times)):
            see(s, part, times[i], positions[i])
            handle = handle_of(s.ids, ids.data, ids.start[i], ids.end[i])
            row, is_fresh = row_of_event(s, rules, handle, times[i], part, positions[i])
            waits = remember(s, part, positions[i], row, is_fresh)
            if waits or (is_fresh and keeps(rules)):
                fresh[held], rows[held] = i, row
                held += 1
        s.counts[EVENTS_N] += len(times)
        s.scalars[DUE] = next_due(s, rules)
        return held

    @cached
    def join(s: State, rules: Rules, out: Outcomes, caught_up: bool) -> Found:
        """Settle labels as far as certain. How many rows train, how many slots are free now, how many labels are
        refused, and how many were forced."""
        _ = sources
        trained, freed, refused, forced = 0, 0, 0, 0
        passed_ms = _MOST  # every features partition has reached this
        for part in range(len(s.parts)):
            passed_ms = min(passed_ms, s.parts[part, SEEN])
        while not empty(s.labels, 0):
            label = first(s.labels, 0)
            time_ms, offset = s.labels.data[label, LABEL_TIME], s.labels.data[label, LABEL_OFFSET]
            row = row_for_label(s, rules, s.labels.data[label, LABEL_HANDLE], time_ms)
            certain = row >= 0 or passed_ms > plus(time_ms, rules.grace_ms)
            if rules.negative:
                certain = certain and passed_ms > max(s.scalars[CLOCK], time_ms) - rules.wait_ms
            if not certain:
                if not caught_up or (row < 0 and forced >= len(out.forced)):
                    break
                if row < 0:
                    out.forced[forced] = offset
                    forced += 1
            move_clock(s, time_ms, offset)
            if rules.negative and s.scalars[CLOCK] > s.scalars[DUE]:
                trained, freed = expire(s, rules, out, trained, freed, label)
            slot, why = settle(s, rules, label, row)
            if why < 0:
                value = s.labels.data[label, LABEL_VALUE]
                if rules.fake and why != CORRECTS and not is_zero(value):
                    train(s, out, trained, slot, label, 0, 0)
                    trained, why = trained + 1, CORRECTS
                train(s, out, trained, slot, label, value, 1 if why == CORRECTS else 0)
                trained += 1
                if not keeps(rules):
                    out.freed[freed] = slot
                    freed += 1
            else:
                refuse(s, out, refused, why, row)
                refused += 1
            drop(s.labels, 0)
            release_label(s, label)
        if not rules.negative and s.scalars[CLOCK] > s.scalars[DUE]:
            trained, freed = expire(s, rules, out, trained, freed, -1)
        freed = forget(s, rules, out, freed)
        return trained, freed, refused, forced

    @cached
    def replay(s: State, rules: Rules, out: Outcomes, forced: I64) -> int:
        """Settle all labels in silence, those at offsets `forced` as orphans; how many slots are free now."""
        _ = sources
        freed = 0
        while not empty(s.labels, 0):
            label = first(s.labels, 0)
            time_ms, offset = s.labels.data[label, LABEL_TIME], s.labels.data[label, LABEL_OFFSET]
            row = row_for_label(s, rules, s.labels.data[label, LABEL_HANDLE], time_ms)
            for i in range(len(forced)):
                row = -1 if forced[i] == offset else row
            move_clock(s, time_ms, offset)
            slot, _why = settle(s, rules, label, row)
            if slot >= 0 and not keeps(rules):
                out.freed[freed] = slot
                freed += 1
            drop(s.labels, 0)
            release_label(s, label)
        return forget(s, rules, out, freed)

    @cached
    def queue(s: State, ids: Texts, columns: I64) -> None:
        """Labels behind those that wait; columns int64[4, n]: LABEL_TIME … LABEL_VALUE."""
        _ = sources
        for i in range(columns.shape[1]):
            at, handle = push(s.labels, 0), handle_of(s.ids, ids.data, ids.start[i], ids.end[i])
            s.labels.data[at, LABEL_HANDLE] = handle
            for k in range(4):
                s.labels.data[at, LABEL_TIME + k] = columns[k, i]
            s.ids.cells[handle, QUEUED] += 1

    return add_events, join, replay, queue


add_events, join, replay, queue = _entry_points(SOURCES)
