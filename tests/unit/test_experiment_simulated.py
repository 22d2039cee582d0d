"""The simulated experiments behind `python -m benchmarks.experiment`: their sizes, effects and counts are right."""

import math

import numpy as np
import pytest

from benchmarks._simulated import (
    ALPHA,
    METRICS,
    Metric,
    difference_of,
    equal_arms,
    fixed_horizon,
    kept_shares,
    planted,
    run_of,
    z_fooled,
    z_test,
)
from benchmarks.experiment import assignment, chi_squared, independent

NAMED = {m.name: m for m in METRICS}


@pytest.mark.parametrize("metric", METRICS, ids=lambda m: m.name)
def test_values_have_the_mean_and_deviation_that_the_fixed_size_is_worked_out_from(metric: Metric) -> None:
    n = 400_000
    for lift in (0.0, 0.2):
        values = metric.draw(np.random.default_rng(1), n, np.full(n, lift))
        noise = metric.deviation(lift)
        assert values.mean() == pytest.approx(metric.mean * (1 + lift), abs=5 * noise / math.sqrt(n))
        assert values.std() == pytest.approx(noise, rel=0.02 if "log-normal" not in metric.name else 0.3)


def test_a_fixed_size_is_that_of_the_rule_of_sixteen_and_grows_with_lopsided_shares() -> None:
    normal = NAMED["normal"]  # deviation 10, mean 10: a lift of 0.1 is a tenth of a deviation
    even = fixed_horizon(normal, 0.1, 0.5)
    assert even == pytest.approx(2 * 16 * 100, rel=0.02)
    assert fixed_horizon(normal, 0.1, 0.1) == pytest.approx(even / (4 * 0.1 * 0.9), rel=0.001)
    assert fixed_horizon(normal, 0.05, 0.5) == pytest.approx(4 * even, rel=0.001)


def test_a_z_test_of_the_fixed_size_has_the_power_that_it_is_for() -> None:
    for name, share in (("normal", 0.5), ("rate of 10 %", 0.1)):
        rng, metric = np.random.default_rng(2), NAMED[name]
        n = fixed_horizon(metric, 0.2, share)
        found = sum(z_test(run_of(rng, metric, 0.2, share, n)) <= ALPHA for _ in range(300)) / 300
        assert 0.73 <= found <= 0.87, name


def test_a_z_test_looked_at_always_is_the_one_test_repeated() -> None:
    metric, fooled = NAMED["normal"], []
    for seed in range(20):
        run = run_of(np.random.default_rng(seed), metric, 0.0, 0.5, 400)
        looks = [n for n in range(2, 401) if min(run.arm[:n].sum(), n - run.arm[:n].sum()) >= 100]
        fooled.append(z_fooled(run))
        repeated = min(z_test(run.cut(0, n)) for n in looks)
        if abs(repeated - ALPHA) > 0.01:  # the two differ by n and n - 1
            assert fooled[-1] == (repeated <= ALPHA)
    assert len(set(fooled)) == 2


def test_equal_arms_are_seldom_told_apart_and_shares_that_are_kept_seldom_doubted() -> None:
    found = [list(equal_arms(NAMED[name], 0.5, 100, 600, 3)) for name in ("normal", "share (beta)")]
    assert all(sum(wrong for wrong, _, _ in runs) <= 5 for runs in found)
    assert all(said for runs in found for _, said, _ in runs)
    assert sum(fooled for _, _, fooled in found[0]) > 5
    assert sum(kept_shares((0.9, 0.1), 100, 600, 4)) <= 5
    assert list(equal_arms(NAMED["normal"], 0.5, 5, 600, 3)) == found[0][:5]


def test_a_planted_effect_is_found_when_the_evidence_first_suffices() -> None:
    metric, lift = NAMED["normal"], 0.3
    found = list(planted(metric, lift, 0.5, 12, 5))
    assert sum(f.horizons <= 3 for f in found) >= 10
    horizon = fixed_horizon(metric, lift, 0.5)
    first = run_of(np.random.default_rng(5), metric, lift, 0.5, 3 * horizon)
    at = round(found[0].horizons * horizon)
    for end, wanted in ((at - horizon // 50, False), (at, True)):
        difference = difference_of(metric, 0.5)
        piece = first.cut(0, end)
        difference.update(piece.arm, piece.propensity, piece.value)
        assert (difference.p_value <= ALPHA) == wanted


def test_counts_that_are_uneven_or_belong_together_have_a_small_p() -> None:
    rng = np.random.default_rng(6)
    even = rng.multinomial(100_000, np.full(50, 0.02)).astype(np.float64)
    uneven = even + np.where(np.arange(50) % 2, 150.0, -150.0)
    assert chi_squared(even, np.full(50, 2_000.0)) > 0.01
    assert chi_squared(uneven, np.full(50, 2_000.0)) < 1e-6
    table = rng.multinomial(100_000, np.full(100, 0.01)).astype(np.float64).reshape(10, 10)
    assert independent(table) > 0.01
    assert independent(table + 150 * np.eye(10)) < 1e-6


def test_assignment_is_even_independent_and_its_rows_have_their_goals() -> None:
    rows = {row.name: row for row in assignment(1_000_000, lambda _, things, __: iter(things))}
    goals = [row for row in rows.values() if row.goal is not None]
    assert len(goals) == 7
    assert all(row.holds for row in goals if row.unit != "units/s")
    assert rows["in the arm of 10 %"].value == pytest.approx(10.0, abs=0.1)
