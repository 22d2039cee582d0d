"""What of the join's state goes into the marks of a commit, from which a restart builds it again.

Taking a mark also drops what no later mark can need.
"""

from collections.abc import Callable

from stream.jit import cached
from stream.join.layout import (
    AT,
    BEFORE,
    CLOCK,
    CLOCK_WAS,
    EVENT_POSITION,
    EVENT_RANK,
    FOREVER,
    NEXT,
    REPEAT,
    SEEN,
    Rules,
    State,
)
from stream.join.ring import HEAD, TAIL, drop, empty, first, place
from stream.join.rows import SOURCES, oldest_waiting


def _entry_points(
    sources: int,
) -> tuple[Callable[[State, int], tuple[int, int, int, int]], Callable[[State, Rules], tuple[bool, int, int]]]:
    @cached
    def features_mark(s: State, part: int) -> tuple[int, int, int, int]:
        """Where a rebuild begins to read, the clock before it, and before which rank, position rows have timed out."""
        _ = sources
        low = s.parts[part, NEXT]
        if not empty(s.events, part):
            low = s.events.data[first(s.events, part), EVENT_POSITION]
        while not empty(s.repeats, part) and s.repeats.data[first(s.repeats, part), REPEAT] < low:
            drop(s.repeats, part)
        if not empty(s.repeats, part):
            low = min(low, s.repeats.data[first(s.repeats, part), BEFORE])
        clocks = s.seen_before
        bounds = clocks.bounds
        while bounds[part, TAIL] - bounds[part, HEAD] > 1:
            if clocks.data[place(clocks, part, bounds[part, HEAD] + 1), AT] > low:
                break
            drop(clocks, part)
        seen, due = s.parts[part, SEEN], oldest_waiting(s, part)
        clock = seen
        if not empty(clocks, part) and low < s.parts[part, NEXT]:
            at = first(clocks, part)
            clock = clocks.data[at, CLOCK_WAS] if clocks.data[at, AT] <= low else seen
        if due < 0:
            return low, clock, seen, s.parts[part, NEXT]
        return low, clock, s.events.data[due, EVENT_RANK], s.events.data[due, EVENT_POSITION]

    @cached
    def labels_mark(s: State, rules: Rules) -> tuple[bool, int, int]:
        """Whether some label's clock is still needed, and then the first such label's offset and the clock before."""
        _ = sources
        oldest_ms = FOREVER
        for part in range(len(s.parts)):
            if not empty(s.events, part):
                oldest_ms = min(oldest_ms, s.events.data[first(s.events, part), EVENT_RANK])
        first_ms = max(oldest_ms, s.scalars[CLOCK] - 2 * rules.window_ms) - rules.grace_ms
        clocks = s.clock_before
        bounds = clocks.bounds
        while not empty(clocks, 0):
            after = s.scalars[CLOCK]
            if bounds[0, TAIL] - bounds[0, HEAD] > 1:
                after = clocks.data[place(clocks, 0, bounds[0, HEAD] + 1), CLOCK_WAS]
            if after >= first_ms:
                at = first(clocks, 0)
                return True, clocks.data[at, AT], clocks.data[at, CLOCK_WAS]
            drop(clocks, 0)
        return False, 0, 0

    return features_mark, labels_mark


features_mark, labels_mark = _entry_points(SOURCES)
