"""Numbers standardised for a model that takes them as they are: River's `StandardScaler` before it, in one state.

As in a River pipeline, a row is scored by what was known before it, and learned by what is known with it; so `take`
gives the numbers twice. A number that is absent stays so, a flat column gives 0, and nothing is further off than FAR.
"""

import math
from typing import Any

import numpy as np

from stream.block import F64
from stream.jit import cached
from stream.learn.learner import State
from stream.learn.tree.layout import ATTRIBUTE, KIND, NUMERIC, THRESHOLD

COUNT, MEAN, VARIANCE = range(3)
SCALE = "scale"  # the array of the statistics in a model's state
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

    def unscale(self, arrays: dict[str, Any]) -> None:
        """Put the thresholds in a tree's arrays into the numbers' own units, as they are scaled now."""
        for node in np.flatnonzero(arrays["node_int"][:, KIND] == NUMERIC):
            column, threshold = arrays["node_int"][node, ATTRIBUTE], arrays["node_real"][node, THRESHOLD]
            spread = math.sqrt(self.stats[VARIANCE, column])
            arrays["node_real"][node, THRESHOLD] = self.stats[MEAN, column] + threshold * spread


class Scaling:
    """What an arm keeps of its numbers' scales beside its model, in one state; `_standard` is None for none."""

    _standard: Standard | None

    def state(self) -> State:
        """See Learner."""
        found: State = super().state()  # type: ignore[misc]
        held = {} if self._standard is None else {SCALE: self._standard.stats.copy()}
        return State(found.arrays | held, found.meta)

    def restore(self, state: State) -> None:
        """See Learner."""
        model = State({name: a for name, a in state.arrays.items() if name != SCALE}, state.meta)
        super().restore(model)  # type: ignore[misc]
        if self._standard is not None:
            self._standard.stats = state.arrays[SCALE].copy()

    def finite(self) -> bool:
        """See Learner."""
        scaled = self._standard is None or bool(np.isfinite(self._standard.stats).all())
        return scaled and bool(super().finite())  # type: ignore[misc]
