"""The mean of a stream of values: an interval and a p-value that hold at every moment at once.

The mean is that of the values' expectations so far, so nothing need stay the same while a stream runs. Why these
sequences: docs/decisions/experiment-analysis.md. Invariant: sums are carried on value by value, so the state does not
depend on how values were cut into blocks, to the last bit.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import F64
from stream.errors import DataError
from stream.experiment.mixture import (
    bounded_reach,
    bounded_rho,
    log_bounded,
    log_unbounded,
    unbounded_g,
    unbounded_reach,
)

TUNED_FOR = 2_000.0  # outcomes at which the interval is narrowest for its data; elsewhere it is little wider
SPREAD = 0.1  # the variance that a bounded sequence is tuned for, in squared reaches
ALPHA = 0.05
SURE_FROM = 100  # values without bounds tell nothing before
SURE_SKEW = 355.0  # nor before so many times their squared skewness: Kohavi, Deng, Longbotham and Xu 2014, rule 7


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate from n values, NaN without any, and the interval that holds it."""

    n: int
    estimate: float
    low: float
    high: float


def running(carried: float, values: F64) -> F64:
    """[n + 1] sums, each of one value more, from what was carried; added strictly one after the other."""
    return np.add.accumulate(np.concatenate(([carried], values)))


def check_values(values: F64, what: str, low: float = -math.inf, high: float = math.inf) -> None:
    """Raises DataError with the first value that is not a number in [low, high], and its row."""
    wrong = ~(np.isfinite(values) & (values >= low) & (values <= high))
    if wrong.any():
        row = int(wrong.argmax())
        within = "a finite number" if math.isinf(high - low) else f"a number in [{low:g}, {high:g}]"
        raise DataError(f"{what}, row {row}: found {float(values[row])}; {within} is wanted")


def check_alpha(alpha: float) -> None:
    """Raises DataError for what is no error rate."""
    if not 0 < alpha < 1:
        raise DataError(f"alpha: found {alpha}; more than 0 and less than 1 is wanted")


class Sequence:
    """State: count, sum, spread, sum of cubed deviations, the largest log e-value against "the mean is zero" so far.

    reach: the farthest that a value may lie from what was predicted of it before it was seen; None where there is no
    bound: then the guarantee is one of many values, and nothing is said while skewed values are few. tuned_for:
    outcomes.
    """

    def __init__(self, reach: float | None, tuned_for: float = TUNED_FOR) -> None:
        if not tuned_for > 0 or (reach is not None and not 0 < reach < math.inf):
            raise DataError(f"sequence: found reach {reach}, tuned_for {tuned_for}; both must be above 0")
        self.reach = reach
        self._rho, self._g = bounded_rho(tuned_for, SPREAD), unbounded_g(tuned_for)
        self.n, self._total, self._spread, self._cubes, self.log_e_max = 0, 0.0, 0.0, 0.0, 0.0
        self._fit = True

    def update(self, values: F64, predicted: F64, fit: Any = None) -> None:
        """Take values in order. predicted: what each was expected to be before it was seen; both float64[n].

        fit: bool[n], whether the caller finds values, up to each, enough to speak of those without bounds.
        Raises DataError for values that aren't finite, or farther than `reach` from what was predicted.
        """
        if not values.size:
            return
        check_values(values, "value")
        count = np.arange(self.n, self.n + values.size + 1, dtype=np.float64)
        total = running(self._total, values)
        if self.reach is None:
            means = total / np.maximum(count, 1.0)
            distance = values - means[:-1]
            spread = running(self._spread, distance * (values - means[1:]))
            cubes = running(self._cubes, _cubes(distance, count[1:], spread[:-1]))
        else:
            distance = (values - predicted) / self.reach
            check_values(distance, "distance of a value to its prediction, in reaches", -1 - 1e-9, 1 + 1e-9)
            spread, cubes = running(self._spread, distance * distance), np.zeros_like(total)
        fit = np.ones(values.size, bool) if fit is None else fit
        log_e = self._log_e(count[1:], total[1:], spread[1:], cubes[1:], fit)
        self._fit = bool(fit[-1])
        self.log_e_max = max(self.log_e_max, float(log_e.max()))
        self.n, self._total = self.n + values.size, float(total[-1])
        self._spread, self._cubes = float(spread[-1]), float(cubes[-1])

    def _log_e(self, count: F64, total: F64, spread: F64, cubes: F64, fit: Any) -> F64:
        if self.reach is None:
            return np.where(fit & _sure(count, spread, cubes), log_unbounded(count, total, spread, self._g), 0.0)
        return log_bounded(total / self.reach, spread, self._rho)

    @property
    def log_e(self) -> float:
        """The evidence now against "the mean is zero", as a natural logarithm."""
        n, total, spread, cubes = (np.array([float(x)]) for x in (self.n, self._total, self._spread, self._cubes))
        return float(self._log_e(n, total, spread, cubes, np.array([self._fit]))[0]) if self.n else 0.0

    @property
    def p_value(self) -> float:
        """The least α at which "the mean is zero" was ever rejected; it holds at every moment at once."""
        return math.exp(-self.log_e_max)

    def interval(self, alpha: float = ALPHA) -> Interval:
        """The chance that any of these intervals ever misses the mean is at most alpha. Raises DataError for alpha."""
        check_alpha(alpha)
        if not self.n:
            return Interval(0, math.nan, -math.inf, math.inf)
        spread, mean = np.array([self._spread]), self._total / self.n
        if self.reach is None:
            count = np.array([float(self.n)])
            half = float(unbounded_reach(count, spread, self._g, alpha)[0])
            half = half if self._fit and _sure(count, spread, np.array([self._cubes]))[0] else math.inf
        else:
            half = float(bounded_reach(spread, self._rho, alpha)[0]) * self.reach / self.n
        return Interval(self.n, mean, mean - half, mean + half)

    def state(self) -> dict[str, float]:
        """Plain numbers, as JSON has them."""
        sums = {"total": self._total, "spread": self._spread, "cubes": self._cubes}
        return {"n": self.n, **sums, "log_e_max": self.log_e_max, "fit": float(self._fit)}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from the state of a sequence with the same reach and tuning."""
        self.n, self.log_e_max = int(state["n"]), state["log_e_max"]
        self._total, self._spread, self._cubes = state["total"], state["spread"], state["cubes"]


def _cubes(distance: F64, count: F64, spread: F64) -> F64:
    """What each value adds to the sum of cubed deviations (Pébay 2008); distance: to the mean of those before."""
    return distance**3 * (count - 1) * (count - 2) / (count * count) - 3 * distance * spread / count


def _sure(count: F64, spread: F64, cubes: F64) -> Any:
    """Whether values are many enough, for how skewed they are, to be near the normal law; bool of the same shape."""
    return (count >= SURE_FROM) & skew_allows(spread, cubes)


def skew_allows(spread: F64, cubes: F64) -> Any:
    """Whether values with these sums of squared and cubed deviations are SURE_SKEW times their squared skewness."""
    return SURE_SKEW * cubes * cubes <= spread**3  # squared skewness: count cubes² / spread³


class Mean:
    """The mean of values within bounds, or of any values (low and high infinite); evidence is against `null`.

    Each value is predicted by the mean of those before it.
    """

    def __init__(
        self, low: float = -math.inf, high: float = math.inf, null: float = 0.0, tuned_for: float = TUNED_FOR
    ) -> None:
        if not low < high:
            raise DataError(f"bounds of a mean: found {low} to {high}; the first must be below the second")
        self._low, self._high, self._null = low, high, null
        bounded = not math.isinf(high - low)
        self._sequence = Sequence(high - low if bounded else None, tuned_for)
        self._first = (low + high) / 2 if bounded else 0.0
        self._sum = 0.0

    def update(self, values: F64) -> None:
        """Take float64[n] in order. Raises DataError for what lies outside the bounds."""
        check_values(values, "value", self._low, self._high)
        sums = running(self._sum, values)
        count = np.arange(self._sequence.n, self._sequence.n + values.size, dtype=np.float64)
        means = np.where(count > 0, sums[:-1] / np.maximum(count, 1.0), self._first)
        self._sequence.update(values - self._null, np.clip(means, self._low, self._high) - self._null)
        self._sum = float(sums[-1])

    @property
    def p_value(self) -> float:
        """See Sequence; against "the mean is `null`"."""
        return self._sequence.p_value

    @property
    def log_e(self) -> float:
        """See Sequence; against "the mean is `null`"."""
        return self._sequence.log_e

    def interval(self, alpha: float = ALPHA) -> Interval:
        """See Sequence; never wider than the bounds."""
        found = self._sequence.interval(alpha)
        shifted = (found.estimate + self._null, found.low + self._null, found.high + self._null)
        return Interval(found.n, shifted[0], max(shifted[1], self._low), min(shifted[2], self._high))

    def state(self) -> dict[str, float]:
        """Plain numbers, as JSON has them."""
        return {"sum": self._sum, **self._sequence.state()}

    def restore(self, state: Mapping[str, float]) -> None:
        """Go on from the state of a mean with the same bounds, null and tuning."""
        self._sum = state["sum"]
        self._sequence.restore(state)
