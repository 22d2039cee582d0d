"""Intervals and e-values of means and differences: equal to their definitions, clear about what can't be."""

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from stream.errors import DataError
from stream.experiment.difference import CONTROL, OTHER, TREATMENT, WARM, Difference
from stream.experiment.mixture import (
    bounded_reach,
    bounded_rho,
    log_bounded,
    log_unbounded,
    unbounded_g,
    unbounded_reach,
)
from stream.experiment.sequence import SURE_FROM, Mean, Sequence


def _mixed_bets(total: float, spread: float, rho: float) -> float:
    """The bounded e-value by numerical integration over its bets, as defined."""

    def bet(at: float) -> float:
        return math.exp(at * total + spread * (math.log1p(-at) + at))

    def density(at: float) -> float:
        return float((1 - at) ** (rho - 1) * math.exp(-rho * (1 - at)))

    def whole(of: Callable[[float], float]) -> float:
        return float(quad(of, 0, 1, limit=500, epsabs=0.0, epsrel=1e-11)[0])

    return math.log(whole(lambda at: bet(at) * density(at)) / whole(density)) - math.log(2)


@pytest.mark.parametrize(("total", "spread"), [(0.0, 0.0), (2.0, 5.0), (30.0, 100.0), (5.0, 0.3), (40.0, 60.0)])
@pytest.mark.parametrize("rho", [1.5, 20.0])
def test_the_bounded_e_value_is_the_mixture_of_bets_that_defines_it(total: float, spread: float, rho: float) -> None:
    for sign in (1, -1):
        found = float(log_bounded(np.array([sign * total]), np.array([spread]), rho)[0])
        assert found == pytest.approx(_mixed_bets(total, spread, rho), abs=1e-7)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-6])
def test_a_bounded_interval_ends_where_its_e_value_is_one_over_alpha(alpha: float) -> None:
    spread = np.array([0.0, 0.5, 10.0, 1e3, 1e6])
    ends = bounded_reach(spread, 8.0, alpha)
    np.testing.assert_allclose(log_bounded(ends, spread, 8.0), -math.log(alpha), rtol=1e-6)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 1e-6])
def test_an_unbounded_interval_ends_where_its_e_value_is_one_over_alpha(alpha: float) -> None:
    count, spread = np.array([50.0, 1e3, 1e6]), np.array([3.0, 2e3, 5e6])
    half = unbounded_reach(count, spread, 20.0, alpha)
    np.testing.assert_allclose(log_unbounded(count, half * count, spread, 20.0), -math.log(alpha), rtol=1e-6)
    assert math.isinf(float(unbounded_reach(np.array([2.0]), np.array([1.0]), 20.0, alpha)[0]))


def test_an_unbounded_e_value_of_many_values_is_that_of_a_normal_mixture_with_known_variance() -> None:
    n, total, g = 1e7, 4e3, 100.0
    found = float(log_unbounded(np.array([n]), np.array([total]), np.array([n]), g)[0])
    density = norm(scale=1 / math.sqrt(g))  # the mixture over means, of values with variance 1

    def bet(mean: float) -> float:
        return math.exp(mean * total - n * mean * mean / 2) * float(density.pdf(mean))

    peak = total / n
    assert found == pytest.approx(math.log(quad(bet, peak - 0.004, peak + 0.004)[0]), abs=1e-4)


def test_an_unbounded_e_value_knows_no_unit() -> None:
    values = np.random.default_rng(1).normal(0.3, 1.0, 300)
    logs = []
    for unit in (1.0, 1e-6, 1e6):
        sequence = Sequence(None)
        sequence.update(values * unit, values)
        logs.append(sequence.log_e)
    assert logs[0] > 3
    assert logs == pytest.approx([logs[0]] * 3, rel=1e-9)


def test_tuning_makes_an_interval_narrowest_where_it_was_tuned_for() -> None:
    count = np.array([1000.0])
    width = {n: float(unbounded_reach(count, count, unbounded_g(n), 0.05)[0]) for n in (200.0, 1000.0, 5000.0)}
    assert width[1000.0] < min(width[200.0], width[5000.0])
    rho = {n: float(bounded_reach(0.1 * count, bounded_rho(n, 0.1), 0.05)[0]) for n in (100.0, 1000.0, 10000.0)}
    assert rho[1000.0] < min(rho[100.0], rho[10000.0])


def test_a_mean_is_estimated_and_its_interval_narrows_around_it_within_the_bounds() -> None:
    values = (np.random.default_rng(2).random(20_000) < 0.3).astype(np.float64)
    mean, widths = Mean(0.0, 1.0), []
    for block in (values[:20], values[20:2_000], values[2_000:]):
        mean.update(block)
        found = mean.interval()
        assert 0.0 <= found.low < 0.3 < found.high <= 1.0
        widths.append(found.high - found.low)
    assert found.estimate == pytest.approx(values.mean(), abs=1e-12)
    assert found.n == 20_000
    assert widths[0] > widths[1] > widths[2]
    assert widths[2] < 6 * math.sqrt(0.21 / 20_000) * 1.3  # a fixed-size one has 3.9


def test_evidence_is_against_the_null_that_was_named() -> None:
    values = (np.random.default_rng(3).random(3_000) < 0.5).astype(np.float64)
    wrong, right = Mean(0.0, 1.0, null=0.4), Mean(0.0, 1.0, null=0.5)
    for mean in (wrong, right):
        mean.update(values)
    assert wrong.p_value < 1e-6
    assert right.p_value > 0.05
    assert asdict(wrong.interval()) == pytest.approx(asdict(right.interval()), rel=1e-9)


def test_the_p_value_never_grows_while_the_evidence_may_fall() -> None:
    mean = Mean(-1.0, 1.0)
    mean.update(np.full(200, 0.5))
    before, log_e = mean.p_value, mean.log_e
    mean.update(np.full(200, -0.5))
    assert mean.p_value == before < 0.001
    assert mean.log_e < 0 < log_e


def test_few_or_skewed_values_without_bounds_say_nothing_yet() -> None:
    few, skewed, many = Sequence(None), Sequence(None), Sequence(None)
    rng = np.random.default_rng(4)
    few.update(rng.normal(5, 1, SURE_FROM - 1), np.zeros(SURE_FROM - 1))
    rare = np.where(rng.random(3_000) < 0.005, 100.0, 0.0)  # skewness 14: some 70,000 values would be needed
    skewed.update(rare, np.zeros(3_000))
    many.update(rng.normal(5, 1, SURE_FROM + 1), np.zeros(SURE_FROM + 1))
    for sequence in (few, skewed):
        assert sequence.p_value == 1.0
        assert math.isinf(sequence.interval().high)
    assert many.p_value < 1e-6
    assert many.interval().low > 4


def test_the_skewness_is_that_of_the_values() -> None:
    values = np.random.default_rng(5).exponential(1.0, 500) + 1e3
    sequence = Sequence(None)
    sequence.update(values, values)
    state, gaps = sequence.state(), values - values.mean()
    assert state["cubes"] == pytest.approx((gaps**3).sum(), rel=1e-6)
    assert state["spread"] == pytest.approx((gaps**2).sum(), rel=1e-9)


def test_without_values_nothing_is_known() -> None:
    for empty in (Mean(), Mean(0.0, 1.0), Difference(), Difference(0.0, 1.0)):
        found = empty.interval()
        assert (found.n, empty.p_value, empty.log_e) == (0, 1.0, 0.0)
        assert math.isnan(found.estimate)


# -- differences -----------------------------------------------------------------------------------------


def _experiment(n: int, effect: float, seed: int, share: float = 0.5) -> tuple[Any, Any, Any, Any]:
    """arm, propensity, value, covariate: a value is the covariate, noise, and an effect."""
    rng = np.random.default_rng(seed)
    arm = (rng.random(n) < share).astype(np.int64)
    covariate = rng.normal(0, 2, n)
    value = covariate + rng.normal(0, 1, n) + effect * (arm == TREATMENT)
    return arm, np.where(arm == TREATMENT, share, 1 - share), value, covariate


def test_the_difference_is_that_of_the_means_and_its_interval_holds_it() -> None:
    arm, propensity, value, _ = _experiment(20_000, 0.4, 6)
    difference = Difference()
    difference.update(arm, propensity, value)
    found = difference.interval()
    assert found.estimate == pytest.approx(value[arm == 1].mean() - value[arm == 0].mean(), abs=0.02)
    assert found.low < 0.4 < found.high
    assert difference.p_value < 0.001


def test_the_scores_are_those_of_the_definition() -> None:
    arm, propensity, value, covariate = _experiment(400, 0.3, 7, share=0.3)
    arm[::9] = OTHER
    difference = Difference(-20.0, 20.0, 0.3)
    difference.update(arm, propensity, value, covariate)
    scores = []
    for i in range(400):
        mine = [np.flatnonzero(arm[:i] == which) for which in (CONTROL, TREATMENT)]
        if min(map(len, mine)) < WARM:
            continue
        gaps = [(value[at] - value[at].mean(), covariate[at] - covariate[at].mean()) for at in mine]
        slope = sum((y * c).sum() for y, c in gaps) / sum((c * c).sum() for _, c in gaps)
        control, treated = (value[at].mean() + slope * (covariate[i] - covariate[at].mean()) for at in mine)
        score = treated - control
        if arm[i] == TREATMENT:
            score += (value[i] - treated) / propensity[i]
        elif arm[i] == CONTROL:
            score -= (value[i] - control) / propensity[i]
        scores.append(score)
    found = difference.interval()
    assert found.n == len(scores) > 300
    assert found.estimate == pytest.approx(np.mean(scores), abs=1e-10)


def test_a_covariate_that_explains_the_values_makes_the_interval_as_narrow_as_what_it_leaves_over() -> None:
    arm, propensity, value, covariate = _experiment(10_000, 0.2, 8)
    widths = []
    for given in (None, covariate, np.random.default_rng(1).normal(size=10_000)):
        difference = Difference()
        difference.update(arm, propensity, value, given)
        found = difference.interval()
        assert found.low < 0.2 < found.high
        widths.append(found.high - found.low)
    assert widths[1] / widths[0] == pytest.approx(1 / math.sqrt(5), rel=0.1)  # the covariate is 4/5 of the variance
    assert widths[2] / widths[0] == pytest.approx(1.0, rel=0.05)


def test_a_ramp_in_a_world_that_changes_is_no_difference() -> None:
    rng = np.random.default_rng(9)
    chance = np.where(np.arange(8_000) < 4_000, 0.1, 0.9)  # most of the treatment's outcomes come in better times
    arm = (rng.random(8_000) < chance).astype(np.int64)
    value = (rng.random(8_000) < np.where(np.arange(8_000) < 4_000, 0.2, 0.6)).astype(np.float64)
    assert value[arm == 1].mean() - value[arm == 0].mean() > 0.25  # what a plain comparison would say
    difference = Difference(0.0, 1.0, propensity_min=0.1)
    difference.update(arm, np.where(arm == 1, chance, 1 - chance), value)
    found = difference.interval()
    assert found.low < 0 < found.high
    assert abs(found.estimate) < 0.05
    assert difference.p_value > 0.05


def test_the_state_is_json_and_goes_on() -> None:
    arm, propensity, value, covariate = _experiment(600, 0.5, 10)
    whole, first, second = (Difference() for _ in range(3))
    whole.update(arm, propensity, value, covariate)
    first.update(arm[:250], propensity[:250], value[:250], covariate[:250])
    second.restore(json.loads(json.dumps(first.state())))
    second.update(arm[250:], propensity[250:], value[250:], covariate[250:])
    assert second.state() == whole.state()
    assert first.state() != second.state()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"value": [0.5, math.nan]}, r"value, row 1: found nan; a number in \[0, 1\] is wanted"),
        ({"value": [1.5, 0.5]}, r"value, row 0: found 1.5"),
        ({"propensity": [0.5, 0.0]}, r"propensity, row 1: found 0.0; at least 0.5 and at most 1 is wanted"),
        ({"propensity": [math.nan, 0.5]}, r"propensity, row 0: found nan"),
        ({"propensity": [0.5, 0.4]}, r"propensity, row 1: found 0.4; at least 0.5"),
        ({"propensity": [0.5, 1.5]}, r"propensity, row 1: found 1.5"),
        ({"covariate": [math.inf, 0.0]}, r"covariate, row 0: found inf; a finite number is wanted"),
    ],
)
def test_what_no_outcome_can_be_is_refused_with_row_value_and_limit(change: dict[str, Any], message: str) -> None:
    given = {"arm": [0, 1], "propensity": [0.5, 0.5], "value": [0.0, 1.0], "covariate": [0.0, 0.0]} | change
    difference = Difference(0.0, 1.0)
    before = difference.state()
    with pytest.raises(DataError, match=message):
        difference.update(np.array(given["arm"]), *(np.array(given[k]) for k in ("propensity", "value", "covariate")))
    assert difference.state() == before


@pytest.mark.parametrize(
    "make",
    [
        lambda: Mean(1.0, 1.0),
        lambda: Sequence(0.0),
        lambda: Sequence(None, tuned_for=0),
        lambda: Difference(1.0, 0.0),
        lambda: Difference(0.0, 1.0, propensity_min=0.0),
        lambda: Mean(0.0, 1.0).interval(1.0),
        lambda: Sequence(1.0).update(np.array([2.0]), np.array([0.5])),
    ],
)
def test_what_can_t_be_asked_for_is_refused(make: Any) -> None:
    with pytest.raises(DataError, match="found"):
        make()
