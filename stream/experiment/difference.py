"""By how much an arm's mean differs from the control's, valid at every moment; with a covariate, less noisily so.

Each outcome becomes one score whose expectation is the difference, given all that came before: with means m of both
arms *so far*, m₁ - m₀, corrected by (value - m₁) / propensity if the arm got it, by -(value - m₀) / propensity if the
control did. Source: augmented inverse propensity weighting, sequentially: Howard et al. 2021, corollary 2; Waudby-Smith
et al. 2024, section 3. So a ramp, or a world that changes, makes no false alarm: what is estimated is the mean
difference over the outcomes so far.

A covariate known before the exposure (CUPED: Deng, Xu, Kohavi and Walker 2013) shifts what is predicted for each
outcome along a slope learned from earlier outcomes of all arms. A bad covariate costs precision, never validity.

Values without bounds must be many enough for how skewed they are. The skewness of the scores themselves shows too late
at lopsided shares, where the rare arm's outcomes weigh most and its tail has hardly been seen. So it is also asked of
what both arms show together: what the scores' skewness would be if arms were equal, given the weights that they had.

Invariant: predictions use earlier outcomes only, and the state doesn't depend on how outcomes were cut into blocks.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.block import F64, I64
from stream.errors import DataError
from stream.experiment.sequence import ALPHA, TUNED_FOR, Interval, Sequence, check_values, running, skew_allows

CONTROL, TREATMENT, OTHER = 0, 1, 2
WARM = 10  # outcomes of each of both arms that only teach the predictions,
WARM_UNBOUNDED = 50  # and for values without bounds


class _Line:
    """Running means of one arm's values and covariates, and the sums that a slope is made of."""

    def __init__(self) -> None:
        self.n, self.y, self.c, self.cc, self.cy = 0, 0.0, 0.0, 0.0, 0.0

    def update(self, mine: Any, values: F64, covariate: F64) -> tuple[F64, F64, F64, F64, F64]:
        """Of the arm's rows before each row: count, mean value and covariate, squares and products of deviations."""
        kept = mine.astype(np.float64)
        n = running(float(self.n), kept)
        y, c = (running(held, np.where(mine, x, 0.0)) for held, x in ((self.y, values), (self.c, covariate)))
        count = np.maximum(n, 1.0)
        mean_y, mean_c = y / count, c / count
        before, after = covariate - mean_c[:-1], covariate - mean_c[1:]
        cc = running(self.cc, np.where(mine, before * after, 0.0))
        cy = running(self.cy, np.where(mine, before * (values - mean_y[1:]), 0.0))
        self.n, self.y, self.c = int(n[-1]), float(y[-1]), float(c[-1])
        self.cc, self.cy = float(cc[-1]), float(cy[-1])
        return n[:-1], mean_y[:-1], mean_c[:-1], cc[:-1], cy[:-1]


class _Tail:
    """How skewed the scores would be if both arms were equal: sums of residuals of both, and of the rows' weights."""

    def __init__(self) -> None:
        self.n, self.squares, self.cubes, self.weights, self.lean = 0.0, 0.0, 0.0, 0.0, 0.0

    def update(self, residual: F64, weight: F64) -> Any:
        """Whether outcomes up to each row are enough; bool[n].

        weight: of the row's residual in its score, below 0 for the control, 0 for other arms.
        """
        n = running(self.n, (weight != 0).astype(np.float64))
        squares, cubes = running(self.squares, residual**2), running(self.cubes, residual**3)
        weights, lean = running(self.weights, weight**2), running(self.lean, weight**3)
        self.n, self.squares, self.cubes = float(n[-1]), float(squares[-1]), float(cubes[-1])
        self.weights, self.lean = float(weights[-1]), float(lean[-1])
        count = np.maximum(n[1:], 1.0)
        return skew_allows(weights[1:] * squares[1:] / count, lean[1:] * cubes[1:] / count)


class Difference:
    """Arm minus control. State: two lines of sums, a tail, and a sequence.

    low, high: bounds of a value, both infinite where it has none. propensity_min: the least that either arm will ever
    have, needed with bounds; fixed beforehand, not chosen by outcomes. Raises DataError for what can't be.
    """

    def __init__(
        self,
        low: float = -math.inf,
        high: float = math.inf,
        propensity_min: float = 0.5,
        tuned_for: float = TUNED_FOR,
    ) -> None:
        if not 0 < propensity_min <= 1:
            raise DataError(f"propensity_min: found {propensity_min}; more than 0 and at most 1 is wanted")
        if not low < high:
            raise DataError(f"bounds of an outcome: found {low} to {high}; the first must be below the second")
        self._low, self._high, self._least = low, high, propensity_min
        self._bounded = not math.isinf(high - low)
        reach = (high - low) / propensity_min if self._bounded else None
        self._lines, self._tail = (_Line(), _Line()), _Tail()
        self._sequence = Sequence(reach, tuned_for)

    def update(self, arm: I64, propensity: F64, values: F64, covariate: F64 | None = None) -> None:
        """Take n outcomes in the order in which they became known.

        arm: CONTROL, TREATMENT or OTHER; propensity: the probability with which the row's arm was assigned; values: of
        OTHER are not looked at; covariate: known before the exposure, of every row. All of n.
        Raises DataError for values out of bounds, and for propensities that can't be.
        """
        if not len(values):
            return
        ours = arm != OTHER
        values, chance = np.where(ours, values, self._middle()), np.where(ours, propensity, 1.0)
        check_values(values, "value", self._low, self._high)
        check_propensity(chance, self._least if self._bounded else 0.0)
        given = np.zeros(len(values)) if covariate is None else covariate
        check_values(given, "covariate")
        told = [line.update(arm == which, values, given) for which, line in enumerate(self._lines)]
        slope = _slope(told)
        control, treated = (np.clip(t[1] + slope * (given - t[2]), self._low, self._high) for t in told)
        residual = np.where(arm == TREATMENT, values - treated, np.where(arm == CONTROL, values - control, 0.0))
        weight = np.where(arm == TREATMENT, 1.0, np.where(arm == CONTROL, -1.0, 0.0)) / chance
        expected = treated - control
        warm = np.minimum(told[0][0], told[1][0]) >= (WARM if self._bounded else WARM_UNBOUNDED)
        fit = None if self._bounded else self._tail.update(residual[warm], weight[warm])
        self._sequence.update((expected + weight * residual)[warm], expected[warm], fit)

    def _middle(self) -> float:
        return (self._low + self._high) / 2 if self._bounded else 0.0

    @property
    def p_value(self) -> float:
        """The least α at which "there is no difference" was ever rejected; it holds at every moment at once."""
        return self._sequence.p_value

    @property
    def log_e(self) -> float:
        """The evidence now against "there is no difference", as a natural logarithm."""
        return self._sequence.log_e

    @property
    def log_e_max(self) -> float:
        """The largest that `log_e` ever was."""
        return self._sequence.log_e_max

    def interval(self, alpha: float = ALPHA) -> Interval:
        """The chance that any of these intervals ever misses the mean difference so far is at most alpha.

        n counts outcomes of all arms, without those that only taught the predictions.
        """
        found, widest = self._sequence.interval(alpha), self._high - self._low
        return Interval(found.n, found.estimate, max(found.low, -widest), min(found.high, widest))

    def state(self) -> dict[str, Any]:
        """Plain numbers, as JSON has them."""
        lines = [dict(vars(line)) for line in self._lines]
        return {"lines": lines, "tail": dict(vars(self._tail)), "sequence": self._sequence.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a difference with the same bounds, propensity_min and tuning."""
        for line, held in zip(self._lines, state["lines"], strict=True):
            vars(line).update(held)
        vars(self._tail).update(state["tail"])
        self._sequence.restore(state["sequence"])


def _slope(told: list[tuple[F64, F64, F64, F64, F64]]) -> F64:
    """Of values along the covariate, within arms, from earlier outcomes; 0 while covariates don't differ."""
    squares, products = told[0][3] + told[1][3], told[0][4] + told[1][4]
    return np.divide(products, squares, out=np.zeros_like(products), where=squares > 0)


def check_propensity(propensity: F64, least: float = 0.0) -> None:
    """Raises DataError with the first that is no probability of something that happened, and its row."""
    wrong = ~(np.isfinite(propensity) & (propensity > 0) & (propensity >= least * (1 - 1e-9)) & (propensity <= 1))
    if wrong.any():
        row = int(wrong.argmax())
        bound = f"at least {least:g}" if least else "more than 0"
        raise DataError(f"propensity, row {row}: found {float(propensity[row])}; {bound} and at most 1 is wanted")
