"""Laws of the analysis: state knows no blocks, inputs stay as they are, and the error rate holds at every peek at once.

Simulations have fixed seeds, so a test that passes once passes always. Bounds are the promised rate and three standard
errors of so many runs.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.experiment.difference import Difference
from stream.experiment.ratio import SampleRatio
from stream.experiment.sequence import Mean

ALPHA, RUNS = 0.1, 300
LIMIT = ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / RUNS)

SUBJECTS: dict[str, Callable[[], Any]] = {
    "mean, bounded": lambda: Mean(0.0, 1.0),
    "mean": Mean,
    "difference, bounded": lambda: Difference(0.0, 1.0, 0.2),
    "difference": Difference,
    "ratio": lambda: SampleRatio((0.4, 0.4, 0.2)),
}


def _given(name: str, seed: int, n: int = 400) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    arm, value = rng.integers(0, 3, n), rng.random(n)
    if name.startswith("mean"):
        return (value,)
    if name == "ratio":
        return arm, rng.integers(0, 4, n)
    return arm, np.where(arm == 2, 0.2, 0.4), value, rng.normal(size=n)


def _feed(subject: Any, rows: tuple[np.ndarray, ...], cuts: list[int]) -> Any:
    for start, end in pairwise([0, *sorted(cuts), len(rows[0])]):
        subject.update(*(column[start:end] for column in rows))
    return subject


@pytest.mark.parametrize("name", SUBJECTS)
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 400), max_size=12), seed=st.integers(0, 1000))
def test_blocks_of_any_sizes_give_the_same_state_to_the_last_bit(name: str, cuts: list[int], seed: int) -> None:
    rows = _given(name, seed)
    whole, cut = (_feed(SUBJECTS[name](), rows, c) for c in ([], cuts))
    assert whole.state() == cut.state()


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_state_restored_goes_on_as_if_nothing_had_been(name: str) -> None:
    rows = _given(name, 1)
    whole, half, rest = (SUBJECTS[name]() for _ in range(3))
    whole.update(*rows)
    half.update(*(column[:150] for column in rows))
    rest.restore(half.state())
    rest.update(*(column[150:] for column in rows))
    assert rest.state() == whole.state()
    assert rest.p_value == whole.p_value


@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_given_is_left_as_it_is(name: str) -> None:
    rows = _given(name, 2)
    for column in rows:
        column.flags.writeable = False
    SUBJECTS[name]().update(*rows)


def _values(kind: str, rng: np.random.Generator, n: int) -> np.ndarray:
    draws: dict[str, Callable[[], np.ndarray]] = {
        "rare": lambda: (rng.random(n) < 0.03).astype(np.float64),
        "even": lambda: (rng.random(n) < 0.5).astype(np.float64),
        "uniform": lambda: rng.random(n),
        "normal": lambda: rng.normal(3.0, 1.0, n),
        "exponential": lambda: rng.exponential(1.0, n),
        "squared": lambda: rng.normal(0.0, 1.0, n) ** 2,
    }
    return draws[kind]()


BOUNDED = ("rare", "even", "uniform")
TRUE_MEAN = {"rare": 0.03, "even": 0.5, "uniform": 0.5, "normal": 3.0, "exponential": 1.0, "squared": 1.0}


@pytest.mark.parametrize("kind", TRUE_MEAN)
def test_a_mean_is_missed_at_any_of_all_moments_at_most_at_the_promised_rate(kind: str) -> None:
    missed, rng, bounds = 0, np.random.default_rng(11), (0.0, 1.0) if kind in BOUNDED else (-math.inf, math.inf)
    for _ in range(RUNS):
        mean = Mean(*bounds, null=TRUE_MEAN[kind], tuned_for=300)
        mean.update(_values(kind, rng, 1_500))
        missed += mean.p_value <= ALPHA
    assert missed / RUNS <= LIMIT


@pytest.mark.parametrize("share", [0.5, 0.15])
@pytest.mark.parametrize("kind", TRUE_MEAN)
def test_two_equal_arms_are_told_apart_at_any_of_all_peeks_at_most_at_the_promised_rate(
    kind: str, share: float
) -> None:
    missed, rng, bounds = 0, np.random.default_rng(12), (0.0, 1.0) if kind in BOUNDED else (-math.inf, math.inf)
    for _ in range(RUNS):
        arm = (rng.random(1_500) < share).astype(np.int64)
        difference = Difference(*bounds, propensity_min=share, tuned_for=300)
        difference.update(arm, np.where(arm == 1, share, 1 - share), _values(kind, rng, 1_500))
        missed += difference.p_value <= ALPHA
    assert missed / RUNS <= LIMIT


def test_heavy_tails_at_lopsided_shares_make_no_false_alarms_for_want_of_the_rare_arms_tail() -> None:
    missed, rng, runs = 0, np.random.default_rng(3), 500
    for _ in range(runs):
        arm = (rng.random(3_000) < 0.05).astype(np.int64)
        difference = Difference()
        difference.update(arm, np.where(arm == 1, 0.05, 0.95), rng.lognormal(0.0, 1.5, 3_000))
        missed += difference.p_value <= 0.05
    assert missed / runs <= 0.05


def test_skewed_values_at_lopsided_shares_are_spoken_of_once_they_are_enough() -> None:
    rng, n = np.random.default_rng(16), 30_000
    arm = (rng.random(n) < 0.1).astype(np.int64)
    value = rng.exponential(1.0, n) * (1 + 0.3 * arm)
    difference = Difference()
    difference.update(arm[:5_000], np.where(arm == 1, 0.1, 0.9)[:5_000], value[:5_000])
    assert math.isinf(difference.interval().high)
    difference.update(arm[5_000:], np.where(arm == 1, 0.1, 0.9)[5_000:], value[5_000:])
    assert difference.interval().low < 0.3 < difference.interval().high
    assert difference.p_value < 0.01


def test_planned_shares_that_are_kept_are_doubted_at_any_of_all_moments_at_most_at_the_promised_rate() -> None:
    doubted, rng = 0, np.random.default_rng(13)
    for _ in range(RUNS):
        ratio = SampleRatio((0.7, 0.2, 0.1), concentration=50)
        ratio.update(rng.choice(3, 1_500, p=(0.7, 0.2, 0.1)))
        doubted += ratio.p_value <= ALPHA
    assert doubted / RUNS <= LIMIT


def test_a_fixed_size_test_looked_at_always_is_what_all_this_is_for() -> None:
    fooled, rng = 0, np.random.default_rng(14)
    for _ in range(RUNS):
        values = rng.normal(size=1_500)
        count = np.arange(1, 1_501)
        z = np.abs(np.cumsum(values)) / np.sqrt(count)
        fooled += bool((z[99:] > 1.645).any())  # each look alone errs at 0.1
    assert fooled / RUNS > 3 * ALPHA


@pytest.mark.parametrize("kind", ["even", "normal"])
def test_a_planted_effect_is_found_and_its_interval_holds_it(kind: str) -> None:
    rng, effect, found, held = np.random.default_rng(15), 0.15, 0, 0
    bounds = (0.0, 1.0) if kind == "even" else (-math.inf, math.inf)
    for _ in range(60):
        arm = rng.integers(0, 2, 4_000)
        if kind == "even":
            value = (rng.random(4_000) < 0.4 + effect * arm).astype(np.float64)
        else:
            value = rng.normal(0.0, 1.0, 4_000) + effect * arm
        difference = Difference(*bounds)
        difference.update(arm, np.full(4_000, 0.5), value)
        interval = difference.interval()
        found += difference.p_value <= 0.05
        held += interval.low <= effect <= interval.high
    assert held >= 55
    assert found >= 45
