"""ADWIN as kernels: a window of the newest values that drops its oldest part once its mean has changed.

Source: Bifet and Gavaldà 2007, "Learning from time-changing data with adaptive windowing"; the arithmetic, in its
order, is that of River 0.26's `drift.ADWIN`, so detections, widths, totals and variances are the same bits.

One detector is one row of float64 and one row of int64, for any owner of many (a forest, a tree's nodes). A row of
zeros is a new detector. The window is kept as buckets: one of level k sums 2^k values, and a level with more than
`max_buckets` merges its two oldest into the next. A row has room for `levels` levels, hence for at least
(max_buckets - 1) * (2^levels - 1) values: 17 billion for the defaults, 67 million for 24 levels. When that is used
up, the oldest bucket is forgotten, as if it had been cut off. What a row doesn't use is zero.
"""

import math

from stream.jit import compiled
from stream.learn.tree.layout import Ints, Reals

LEVELS = 32
LIMIT = 1e100  # a larger value would overflow the variance; like NaN it is left out
TOTAL, VARIANCE, BUCKETS = range(3)  # real row; then for each level the totals of its buckets, then their variances
DRIFTED, DETECTIONS, TICK, WIDTH, LAST, SIZES = range(6)  # int row; then how many buckets each level holds


def adwin_real_width(max_buckets: int = 5, levels: int = LEVELS) -> int:
    """How many float64 a detector takes."""
    return BUCKETS + levels * 2 * (max_buckets + 1)


def adwin_int_width(max_buckets: int = 5, levels: int = LEVELS) -> int:
    """How many int64 a detector takes."""
    return SIZES + levels


@compiled
def adwin_reset(real: Reals, ints: Ints) -> None:
    """Make the detector a new one, its count of detections included."""
    for place in range(real.size):
        real[place] = 0.0
    for place in range(ints.size):
        ints[place] = 0


@compiled
def adwin_width(ints: Ints) -> int:
    """How many values the window holds."""
    return int(ints[WIDTH])


@compiled
def adwin_detections(ints: Ints) -> int:
    """How many drifts were detected since the detector was new."""
    return int(ints[DETECTIONS])


@compiled
def adwin_estimation(real: Reals, ints: Ints) -> float:
    """The mean of the window; 0 when it is empty."""
    return real[TOTAL] / ints[WIDTH] if ints[WIDTH] > 0 else 0.0


@compiled
def adwin_drifted(ints: Ints) -> bool:
    """Whether the newest value made the window shrink."""
    return bool(ints[DRIFTED] != 0)


@compiled
def adwin_update(
    real: Reals,
    ints: Ints,
    value: float,
    delta: float,
    clock: int,
    max_buckets: int,
    min_window: int,
    grace: int,
) -> bool:
    """Take one value; whether it shows a drift. `max_buckets` is that of the rows' widths, and at least 2.

    As in River, the update after a drift starts with an empty window. A value that isn't finite, or is beyond
    LIMIT, changes nothing.
    """
    if not abs(value) <= LIMIT:
        return False
    if ints[DRIFTED] != 0:
        _forget(real, ints)
    _insert(real, ints, value, max_buckets)
    ints[TICK] += 1
    if ints[TICK] % clock == 0 and ints[WIDTH] > grace:
        shrunk = False
        while _shows_change(real, ints, delta, max_buckets, float(min_window)):
            _cut(real, ints, max_buckets)
            shrunk = True
        if shrunk:
            ints[DETECTIONS] += 1
            ints[DRIFTED] = 1
    return bool(ints[DRIFTED] != 0)


@compiled
def _forget(real: Reals, ints: Ints) -> None:
    """Empty the window; detections stay counted."""
    a_level = (real.size - BUCKETS) // (ints.size - SIZES)
    for place in range(BUCKETS + (ints[LAST] + 1) * a_level):
        real[place] = 0.0
    for level in range(ints[LAST] + 1):
        ints[SIZES + level] = 0
    ints[TICK] = ints[WIDTH] = ints[DRIFTED] = ints[LAST] = 0


@compiled
def _append(real: Reals, ints: Ints, level: int, total: float, variance: float, max_buckets: int) -> None:
    """Give the level one more bucket, its newest."""
    place = BUCKETS + level * 2 * (max_buckets + 1) + ints[SIZES + level]
    real[place] = total
    real[place + max_buckets + 1] = variance
    ints[SIZES + level] += 1


@compiled
def _drop(real: Reals, ints: Ints, level: int, count: int, max_buckets: int) -> None:
    """Take the oldest `count` buckets off the level."""
    first = BUCKETS + level * 2 * (max_buckets + 1)
    kept = ints[SIZES + level] - count
    for place in range(first, first + max_buckets + 1):
        moved = place - first < kept
        real[place] = real[place + count] if moved else 0.0
        variance = place + max_buckets + 1
        real[variance] = real[variance + count] if moved else 0.0
    ints[SIZES + level] = kept


@compiled
def _insert(real: Reals, ints: Ints, value: float, max_buckets: int) -> None:
    """Put the value into level 0 and merge buckets where a level holds too many."""
    _append(real, ints, 0, value, 0.0, max_buckets)
    ints[WIDTH] += 1
    width = float(ints[WIDTH])
    if width > 1.0:
        off = value - real[TOTAL] / (width - 1.0)
        real[VARIANCE] += (width - 1.0) * off * off / width
    real[TOTAL] += value
    level = 0
    while ints[SIZES + level] > max_buckets:
        if SIZES + level + 1 == ints.size:
            _cut(real, ints, max_buckets)
            break
        _merge(real, ints, level, max_buckets)
        level += 1


@compiled
def _merge(real: Reals, ints: Ints, level: int, max_buckets: int) -> None:
    """Make the level's two oldest buckets the newest of the next level."""
    first = BUCKETS + level * 2 * (max_buckets + 1)
    spread = first + max_buckets + 1
    values = float(1 << level)
    gap = real[first] / values - real[first + 1] / values
    between = values * 0.5 * gap * gap
    _append(
        real, ints, level + 1, real[first] + real[first + 1], real[spread] + real[spread + 1] + between, max_buckets
    )
    ints[LAST] = max(ints[LAST], level + 1)
    _drop(real, ints, level, 2, max_buckets)


@compiled
def _cut(real: Reals, ints: Ints, max_buckets: int) -> None:
    """Take the oldest bucket off the window."""
    level = ints[LAST]
    first = BUCKETS + level * 2 * (max_buckets + 1)
    size = 1 << level
    values = float(size)
    total = real[first]
    ints[WIDTH] -= size
    real[TOTAL] -= total
    width = float(ints[WIDTH])
    gap = total / values - real[TOTAL] / width
    real[VARIANCE] -= real[first + max_buckets + 1] + values * width * gap * gap / (values + width)
    _drop(real, ints, level, 1, max_buckets)
    if ints[SIZES + level] == 0 and level > 0:
        ints[LAST] = level - 1


@compiled
def _shows_change(real: Reals, ints: Ints, delta: float, max_buckets: int, min_window: float) -> bool:
    """Whether some cut of the window parts it into halves whose means differ too much for chance."""
    width = float(ints[WIDTH])
    strictness = math.log(2.0 * math.log(width) / delta)
    spread = real[VARIANCE] / width
    old, new = 0.0, width
    old_total, new_total = 0.0, real[TOTAL]
    for level in range(ints[LAST], -1, -1):
        first = BUCKETS + level * 2 * (max_buckets + 1)
        values = float(1 << level)
        for place in range(first, first + ints[SIZES + level]):
            old += values
            new -= values
            old_total += real[place]
            new_total -= real[place]
            if level == 0 and place == first + ints[SIZES] - 1:
                return False
            if new >= min_window and old >= min_window:
                shares = 1.0 / (old - min_window + 1.0) + 1.0 / (new - min_window + 1.0)
                bound = math.sqrt(2.0 * shares * spread * strictness) + 2.0 / 3.0 * strictness * shares
                if abs(old_total / old - new_total / new) > bound:
                    return True
    return False
