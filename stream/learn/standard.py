"""Numbers standardised for a model that takes them as they are: River's `StandardScaler` before it, in one state.

As in a River pipeline, a row is scored by what was known before it, and learned by what is known with it; so `take`
gives the numbers twice. A number that is absent stays so, a flat column gives 0, and nothing is further off than FAR.
"""

import math

import numpy as np

from stream.block import F64
from stream.jit import cached

COUNT, MEAN, VARIANCE = range(3)
FAR = 1e15
LIMIT = 1e100  # a larger number is no part of the statistics, which then stay finite
HALF = 0.5  # an argument, so that the root is pow's, as Python's is


@cached
def _standardise(stats: F64, numeric: F64, before: F64, after: F64, half: float, learn: bool) -> None:
    """Rows scaled by the statistics before each into `before`, with it into `after`; without `learn` none is taken."""
    for row in range(len(numeric)):
        for j in range(numeric.shape[1]):
            value = numeric[row, j]
            before[row, j] = after[row, j] = value
            if not math.isfinite(value):
                continue
            for step in range(2 if learn else 1):
                if step == 1 and abs(value) <= LIMIT:
                    stats[COUNT, j] += 1.0
                    mean = stats[MEAN, j]
                    stats[MEAN, j] += (value - mean) / stats[COUNT, j]
                    apart = (value - mean) * (value - stats[MEAN, j])
                    stats[VARIANCE, j] += (apart - stats[VARIANCE, j]) / stats[COUNT, j]
                scaled = 0.0
                if stats[VARIANCE, j] > 0.0:
                    scaled = (value - stats[MEAN, j]) / stats[VARIANCE, j] ** half
                scaled = min(max(scaled, -FAR), FAR)
                if step == 0:
                    before[row, j] = scaled
                else:
                    after[row, j] = scaled


class Standard:
    """State: how many values each of `width` columns had, their mean and variance, float64[3, width]."""

    def __init__(self, width: int) -> None:
        self.stats = np.zeros((3, width))

    def take(self, numeric: F64) -> tuple[F64, F64]:
        """Take rows [n, width] in order; each scaled before, and after, it was taken."""
        before, after = np.empty_like(numeric), np.empty_like(numeric)
        _standardise(self.stats, np.ascontiguousarray(numeric), before, after, HALF, True)
        return before, after

    def scaled(self, numeric: F64) -> F64:
        """Rows scaled; nothing is taken."""
        before, unused = np.empty_like(numeric), np.empty_like(numeric)
        _standardise(self.stats, np.ascontiguousarray(numeric), before, unused, HALF, False)
        return before

    def unscaled(self, column: int, value: float) -> float:
        """The number of a column that is `value` once scaled."""
        return float(self.stats[MEAN, column] + value * math.sqrt(self.stats[VARIANCE, column]))
