"""The sample ratio: equal to its closed form and to scipy's test, silent when shares are kept, and clear when not."""

import json
import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from stream.errors import DataError
from stream.experiment.ratio import CONCENTRATION, SampleRatio, holm

SHARES = (0.5, 0.3, 0.2)


def _arms(n: int, shares: tuple[float, ...], seed: int) -> np.ndarray:
    return np.random.default_rng(seed).choice(len(shares), n, p=shares).astype(np.int64)


def _closed_form(counts: np.ndarray) -> float:
    """log of the Dirichlet-multinomial over the multinomial, of one sequence with these counts."""
    prior = CONCENTRATION * np.array(SHARES)
    fits = gammaln(prior.sum()) - gammaln(prior.sum() + counts.sum()) + (gammaln(prior + counts) - gammaln(prior)).sum()
    return float(fits - (counts * np.log(SHARES)).sum())


def test_the_evidence_is_the_bayes_factor_of_a_dirichlet_prior() -> None:
    arm = _arms(5_000, (0.5, 0.25, 0.25), 1)
    ratio = SampleRatio(SHARES)
    ratio.update(arm)
    assert ratio.log_e == pytest.approx(_closed_form(np.bincount(arm, minlength=3)), abs=1e-8)
    assert ratio.log_e > 10


def test_evidence_of_the_levels_of_a_dimension_multiplies() -> None:
    arm, level = _arms(3_000, (0.5, 0.25, 0.25), 2), np.random.default_rng(3).integers(0, 4, 3_000)
    ratio = SampleRatio(SHARES)
    ratio.update(arm, level)
    apart = [_closed_form(np.bincount(arm[level == k], minlength=3)) for k in range(4)]
    assert ratio.log_e == pytest.approx(sum(apart), abs=1e-8)


def test_chi_squared_is_scipys() -> None:
    arm = _arms(4_000, SHARES, 4)
    ratio = SampleRatio(SHARES)
    ratio.update(arm)
    wanted = stats.chisquare(np.bincount(arm), 4_000 * np.array(SHARES))
    assert ratio.chi_squared() == pytest.approx((wanted.statistic, wanted.pvalue), rel=1e-9)


def test_levels_too_small_for_chi_squared_are_put_together() -> None:
    arm = _arms(300, SHARES, 5)
    level = np.where(np.arange(300) < 200, 0, np.arange(300))  # 100 levels of one exposure
    ratio = SampleRatio(SHARES)
    ratio.update(arm, level.astype(np.int64))
    parts = [stats.chisquare(np.bincount(a, minlength=3), len(a) * np.array(SHARES)) for a in (arm[:200], arm[200:])]
    assert ratio.chi_squared()[0] == pytest.approx(sum(p.statistic for p in parts), rel=1e-9)
    few = SampleRatio(SHARES)
    few.update(arm[:3])
    assert few.chi_squared() == (0.0, 1.0)


def test_shares_that_are_kept_raise_no_alarm_and_a_loss_of_a_tenth_of_one_arm_does() -> None:
    kept, broken = SampleRatio((0.5, 0.5)), SampleRatio((0.5, 0.5))
    kept.update(_arms(50_000, (0.5, 0.5), 6))
    broken.update(_arms(50_000, (0.5 / 0.95, 0.45 / 0.95), 6))
    assert kept.p_value > 0.05
    assert broken.p_value < 1e-6


def test_a_loss_in_one_level_alone_is_found_by_the_dimension() -> None:
    rng = np.random.default_rng(7)
    level = rng.integers(0, 5, 40_000)
    arm = (rng.random(40_000) < np.where(level == 3, 0.42, 0.52)).astype(np.int64)  # about even over all
    whole, split = SampleRatio((0.5, 0.5)), SampleRatio((0.5, 0.5))
    whole.update(arm)
    split.update(arm, level)
    assert whole.p_value > 0.05
    assert split.p_value < 1e-6


def test_blocks_of_any_size_give_the_same_state_and_it_goes_on_from_json() -> None:
    arm, level = _arms(500, SHARES, 8), np.random.default_rng(9).integers(0, 6, 500)
    whole, parts = SampleRatio(SHARES), SampleRatio(SHARES)
    whole.update(arm, level)
    for start in range(0, 500, 37):
        other = SampleRatio(SHARES)
        other.restore(json.loads(json.dumps(parts.state())))
        parts = other
        parts.update(arm[start : start + 37], level[start : start + 37])
    assert parts.state() == whole.state()


def test_holm_corrects_as_published() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize("shares", [(1.0,), (0.5, 0.6), (1.0, 0.0), (math.nan, 0.5)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]) -> None:
    with pytest.raises(DataError, match="two or more above 0 that add up to 1"):
        SampleRatio(shares)


def test_an_arm_or_level_that_can_t_be_is_refused_with_its_row() -> None:
    ratio = SampleRatio(SHARES)
    with pytest.raises(DataError, match="arm, row 1: found 3; 0 to 2 is wanted"):
        ratio.update(np.array([0, 3]))
    with pytest.raises(DataError, match="level, row 0: found -1; 0 to 999 is wanted"):
        ratio.update(np.array([0]), np.array([-1]))
    assert ratio.counts.sum() == 0
