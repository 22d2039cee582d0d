"""Off-policy estimates: equal to their definitions, right about a policy that was never run, clear about bad input."""

import math
from typing import Any

import numpy as np
import pytest

from stream.errors import DataError
from stream.experiment.offpolicy import dr, effective_size, ips, snips, weights

TRUTH = np.array([0.2, 0.5, 0.7])
LOGGED, WANTED = np.array([0.6, 0.3, 0.1]), np.array([0.1, 0.1, 0.8])


def _log(n: int, seed: int) -> tuple[Any, Any, Any, Any]:
    """What was done, its value, its propensity and its probability by the policy asked about."""
    rng = np.random.default_rng(seed)
    done = rng.choice(3, n, p=LOGGED)
    return done, (rng.random(n) < TRUTH[done]).astype(np.float64), LOGGED[done], WANTED[done]


def test_estimates_are_those_of_the_definitions() -> None:
    done, value, propensity, target = _log(500, 1)
    weight, guess = target / propensity, np.array([0.3, 0.4, 0.6])
    assert ips(value, propensity, target).estimate == pytest.approx(np.mean(weight * value))
    assert snips(value, propensity, target).estimate == pytest.approx((weight * value).sum() / weight.sum())
    found = dr(value, propensity, target, guess[done], np.full(500, guess @ WANTED))
    assert found.estimate == pytest.approx(np.mean(guess @ WANTED + weight * (value - guess[done])))
    assert found.effective == pytest.approx(weight.sum() ** 2 / (weight**2).sum())


def test_all_three_hold_the_value_of_a_policy_that_was_never_run() -> None:
    done, value, propensity, target = _log(50_000, 2)
    found = [
        ips(value, propensity, target),
        snips(value, propensity, target),
        dr(value, propensity, target, TRUTH[done], np.full(50_000, TRUTH @ WANTED)),
    ]
    for each in found:
        assert each.low < TRUTH @ WANTED < each.high, each
        assert each.n == 50_000
    widths = [each.high - each.low for each in found]
    assert max(widths[1:]) < 0.7 * widths[0]
    assert max(widths) < 0.07


def test_a_model_that_is_wrong_costs_doubly_robust_no_truth() -> None:
    _, value, propensity, target = _log(50_000, 3)
    found = dr(value, propensity, target, np.full(50_000, 0.9), np.full(50_000, 0.9))
    assert found.low < TRUTH @ WANTED < found.high


def test_the_logged_policy_itself_is_the_plain_mean_with_every_outcome_effective() -> None:
    _, value, propensity, _ = _log(1_000, 4)
    for found in (ips(value, propensity, propensity), snips(value, propensity, propensity)):
        assert found.estimate == pytest.approx(value.mean())
        assert found.effective == pytest.approx(1_000)


def test_a_policy_that_never_did_what_was_done_has_no_estimate() -> None:
    found = snips(np.ones(5), np.full(5, 0.5), np.zeros(5))
    assert math.isnan(found.estimate)
    assert (found.effective, found.low, found.high) == (0.0, -math.inf, math.inf)
    assert effective_size(np.zeros(3)) == 0.0


@pytest.mark.parametrize(
    ("propensity", "target", "message"),
    [
        ([0.5, 0.0], [0.5, 0.5], "propensity, row 1: found 0.0; more than 0 and at most 1 is wanted"),
        ([math.nan, 0.5], [0.5, 0.5], "propensity, row 0: found nan"),
        ([1.1, 0.5], [0.5, 0.5], "propensity, row 0: found 1.1"),
        ([0.5, 0.5], [0.5, 1.5], r"target probability, row 1: found 1.5; a number in \[0, 1\] is wanted"),
        ([0.5], [0.5, 0.5], r"target: found \(2,\); the propensities' \(1,\) is wanted"),
    ],
)
def test_propensities_and_targets_that_can_t_be_are_refused(propensity: Any, target: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        weights(np.array(target), np.array(propensity))


def test_values_and_expectations_that_are_no_numbers_are_refused() -> None:
    half = np.full(2, 0.5)
    with pytest.raises(DataError, match="value, row 1: found nan"):
        ips(np.array([1.0, math.nan]), half, half)
    with pytest.raises(DataError, match=r"values: found \(3,\)"):
        snips(np.ones(3), half, half)
    with pytest.raises(DataError, match="expected value, row 0: found inf"):
        dr(np.ones(2), half, half, np.array([math.inf, 0.0]), half)
