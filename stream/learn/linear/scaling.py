"""Online scaling of numeric columns, as River's `preprocessing` does it. A column never seen, or flat, gives 0."""

import math
from collections.abc import Callable, Mapping

from stream.jit import cached, compiled
from stream.learn.linear.quantile import SIZE, take_value, value_of
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.types import Reals, Rules

STANDARD, MIN_MAX, MAX_ABS, NONE, ROBUST = range(5)
SCALES: Mapping[str, int] = {
    "standard": STANDARD,
    "min_max": MIN_MAX,
    "max_abs": MAX_ABS,
    "none": NONE,
    "robust": ROBUST,
}
SCALED_MAX = 1e15  # no value is larger once it is scaled, so that a nearly flat column can't make it infinite
MEDIAN, LOWER, UPPER = 1, 1 + SIZE, 1 + 2 * SIZE  # rows of a robust column's three quantiles
MIDDLE = 0.5


def rows_of(scale: int) -> int:
    """How many numbers are kept of a column."""
    return 1 + 3 * SIZE if scale == ROBUST else 3


@compiled
def observe(rules: Rules, stats: Reals, j: int, v: float) -> None:
    """Take v into column j's statistics: count, then mean and variance, extremes, largest absolute, or quantiles."""
    stats[0, j] += 1.0
    if rules.scale == STANDARD:
        before = stats[1, j]
        stats[1, j] += (v - before) / stats[0, j]
        stats[2, j] += ((v - before) * (v - stats[1, j]) - stats[2, j]) / stats[0, j]
    elif rules.scale == MIN_MAX:
        first = stats[0, j] == 1.0
        stats[1, j] = v if first else min(stats[1, j], v)
        stats[2, j] = v if first else max(stats[2, j], v)
    elif rules.scale == MAX_ABS:
        stats[1, j] = max(stats[1, j], abs(v))
    elif rules.scale == ROBUST:
        column = stats[:, j]
        if rules.scaler[2] != 0.0:
            take_value(column[MEDIAN:LOWER], MIDDLE, column[0], v)
        if rules.scaler[3] != 0.0:
            take_value(column[LOWER:UPPER], rules.scaler[0], column[0], v)
            take_value(column[UPPER:], rules.scaler[1], column[0], v)


@compiled
def robust(rules: Rules, column: Reals, v: float) -> float:
    """v less the median, by the distance of the two quantiles; each as far as it is asked for."""
    lower, upper, centred, scaled_too = rules.scaler
    seen = column[0] > 0.0
    if centred != 0.0 and seen:
        v -= value_of(column[MEDIAN:LOWER], MIDDLE, column[0])
    if scaled_too == 0.0:
        return v
    if not seen:
        return 0.0
    width = value_of(column[UPPER:], upper, column[0]) - value_of(column[LOWER:UPPER], lower, column[0])
    return v / width if width != 0.0 else 0.0


@compiled
def scaled(rules: Rules, stats: Reals, j: int, v: float) -> float:
    """v on column j's scale."""
    z = v
    if rules.scale == STANDARD:
        return (v - stats[1, j]) / math.sqrt(stats[2, j]) if stats[2, j] > 0.0 else 0.0
    if rules.scale == MIN_MAX:
        width = stats[2, j] - stats[1, j]
        z = (v - stats[1, j]) / width if width > 0.0 else 0.0
    elif rules.scale == MAX_ABS:
        z = v / stats[1, j] if stats[1, j] > 0.0 else 0.0
    elif rules.scale == ROBUST:
        z = robust(rules, stats[:, j], v)
    return min(max(z, -SCALED_MAX), SCALED_MAX)


@compiled
def scale_row(rules: Rules, stats: Reals, x: Reals, z: Reals, learn: bool) -> None:
    """Row x scaled into z, NaN where it has no value; first taken into the statistics if `learn`."""
    for j in range(x.size):
        z[j] = x[j]
        if not math.isnan(x[j]):
            if learn:
                observe(rules, stats, j, x[j])
            z[j] = scaled(rules, stats, j, x[j])


def _entry_point(sources: int) -> Callable[[Rules, Reals, Reals, Reals], None]:
    @cached
    def scale_rows(rules: Rules, stats: Reals, numeric: Reals, out: Reals) -> None:
        """Rows scaled into out[n, f]; no statistics are touched."""
        _ = sources
        for i in range(numeric.shape[0]):
            scale_row(rules, stats, numeric[i], out[i], False)

    return scale_rows


scale_rows = _entry_point(SOURCES)
