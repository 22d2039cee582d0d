"""Learning rates over the rows: constant, or falling as River's `optim.schedulers` do."""

import math
from collections.abc import Mapping

from stream.jit import compiled

CONSTANT, INVERSE_SCALING, OPTIMAL = range(3)
SCHEDULES: Mapping[str, int] = {"constant": CONSTANT, "inverse_scaling": INVERSE_SCALING, "optimal": OPTIMAL}


def first_rows(alpha: float) -> float:
    """Rows that `optimal` acts as if it had had before. River asks its loss too, but every loss answers the same."""
    typical = math.sqrt(1.0 / math.sqrt(alpha))
    return 1.0 / (typical * alpha)


@compiled
def rate_at(schedule: tuple[float, float, float], t: float) -> float:
    """The rate after t rows. schedule: kind, then rate and power, or alpha and first_rows(alpha)."""
    kind, a, b = schedule
    if kind == INVERSE_SCALING:
        return float(a / math.pow(t + 1.0, b))
    if kind == OPTIMAL:
        return float(1.0 / (a * (b + t)))
    return a
