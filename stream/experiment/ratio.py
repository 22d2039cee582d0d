"""Do arms get their share of exposures? If not, something is broken, and no other figure is to be trusted.

Two answers: one that holds at every moment (Lindon and Malek 2022, "Anytime-valid inference for multinomial count
data": the Bayes factor of a Dirichlet prior around the planned shares against the planned shares), and the usual
chi-squared test, which holds for one look. A dimension (country, browser) splits exposures into levels, each of which
must keep the shares; evidence of the levels multiplies. Where several dimensions are tested, `holm` corrects.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import gammaincc

from stream.block import F64, I64
from stream.errors import DataError
from stream.experiment.sequence import running

CONCENTRATION = 1_000.0  # of the prior, in exposures: deviations of some percent are found soonest
LEVELS_MAX = 1_000  # of one dimension; whoever numbers levels puts further ones together
EXPECTED_MIN = 5.0  # of an arm in a level; levels with less are put together for chi-squared


class SampleRatio:
    """One dimension's exposures. State: counts int64[levels, arms], the log e-value, and the largest so far.

    shares: the planned share of each arm, above 0, adding up to 1. Raises DataError otherwise.
    """

    def __init__(self, shares: Sequence[float], concentration: float = CONCENTRATION) -> None:
        self._shares = np.array(shares, np.float64)
        if len(shares) < 2 or not (self._shares > 0).all() or abs(self._shares.sum() - 1) > 1e-9:
            raise DataError(f"shares: found {list(shares)}; two or more above 0 that add up to 1 are wanted")
        self._prior = concentration * self._shares
        self.counts = np.zeros((1, len(shares)), np.int64)
        self.log_e, self.log_e_max = 0.0, 0.0

    def update(self, arm: I64, level: I64 | None = None) -> None:
        """Count exposures in order. arm: its place in `shares`; level: from 0, below LEVELS_MAX; both int64[n].

        Raises DataError for an arm or level that can't be.
        """
        if not arm.size:
            return
        level = np.zeros(arm.size, np.int64) if level is None else level
        _check(arm, "arm", len(self._shares))
        _check(level, "level", LEVELS_MAX)
        self._make_room(int(level.max()) + 1)
        before = self.counts[level, arm] + _earlier(level * len(self._shares) + arm)
        in_level = self.counts.sum(axis=1)[level] + _earlier(level)
        predicted = (self._prior[arm] + before) / (self._prior.sum() + in_level)
        found = running(self.log_e, np.log(predicted / self._shares[arm]))
        self.log_e, self.log_e_max = float(found[-1]), max(self.log_e_max, float(found[1:].max()))
        np.add.at(self.counts, (level, arm), 1)

    def _make_room(self, levels: int) -> None:
        missing = levels - len(self.counts)
        if missing > 0:
            self.counts = np.concatenate([self.counts, np.zeros((missing, len(self._shares)), np.int64)])

    @property
    def p_value(self) -> float:
        """The least α at which "the shares are kept" was ever rejected; it holds at every moment at once."""
        return math.exp(-self.log_e_max)

    def chi_squared(self) -> tuple[float, float]:
        """Pearson's statistic over levels, and its p-value for this one look; (0, 1) while too few are counted."""
        rows = self.counts[self.counts.sum(axis=1) > 0].astype(np.float64)
        expected = rows.sum(axis=1)[:, None] * self._shares
        small = expected.min(axis=1) < EXPECTED_MIN
        rows = np.concatenate([rows[~small], rows[small].sum(axis=0, keepdims=True)])
        expected = rows.sum(axis=1)[:, None] * self._shares
        fits = expected.min(axis=1) >= EXPECTED_MIN
        if not fits.any():
            return 0.0, 1.0
        statistic = float(((rows[fits] - expected[fits]) ** 2 / expected[fits]).sum())
        free = int(fits.sum()) * (len(self._shares) - 1)
        return statistic, float(gammaincc(free / 2, statistic / 2))

    def state(self) -> dict[str, Any]:
        """Plain numbers and lists, as JSON has them."""
        return {"counts": self.counts.tolist(), "log_e": self.log_e, "log_e_max": self.log_e_max}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from the state of a ratio with the same shares and concentration."""
        self.counts = np.array(state["counts"], np.int64).reshape(-1, len(self._shares))
        self.log_e, self.log_e_max = state["log_e"], state["log_e_max"]


def _earlier(code: I64) -> I64:
    """How many rows before each one have its code."""
    order = np.argsort(code, kind="stable")
    place = np.empty(code.size, np.int64)
    place[order] = np.arange(code.size)
    first = np.searchsorted(code[order], code, side="left")
    return np.asarray(place - first, np.int64)


def _check(codes: I64, what: str, count: int) -> None:
    wrong = (codes < 0) | (codes >= count)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"{what}, row {row}: found {int(codes[row])}; 0 to {count - 1} is wanted")


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p-value corrected for there being several, whatever their dependence (Holm 1979)."""
    p: F64 = np.array(p_values, np.float64)
    if not p.size:
        return []
    order = np.argsort(p, kind="stable")
    raised = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    out = np.empty_like(p)
    out[order] = np.minimum(raised, 1.0)
    return [float(x) for x in out]
