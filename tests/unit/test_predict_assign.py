"""Assignment: frozen, uniform, independent between salts, true to the weights."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from stream.errors import DataError
from stream.predict.assign import VERSION, Assignment, point_of, seed_of

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "assignment.json").read_text())
UNITS = [f"user-{i}" for i in range(200_000)]
P_MIN = 1e-4  # fixed inputs: a test that passes once passes always


def test_the_golden_vectors_hold() -> None:
    assert VERSION == GOLDEN["version"] == 1
    assert len(GOLDEN["points"]) + len(GOLDEN["arms"]) >= 50
    for v in GOLDEN["points"]:
        assert point_of(seed_of(v["experiment"], v["salt"]), v["unit"]).hex() == v["point"], v
    for v in GOLDEN["arms"]:
        found = Assignment(v["experiment"], v["salt"], v["weights"]).of(v["unit"])
        assert found == (v["arm"], v["propensity"]), v


def test_units_fall_uniformly() -> None:
    seed = seed_of("default", "1")
    points = np.array([point_of(seed, u) for u in UNITS])
    assert points.min() >= 0.0
    assert points.max() < 1.0
    counts = np.bincount((points * 1000).astype(int), minlength=1000)
    assert stats.chisquare(counts).pvalue > P_MIN


@pytest.mark.parametrize("other", [("default", "2"), ("default", "1 "), ("other", "1")])
def test_another_salt_or_experiment_assigns_independently(other: tuple[str, str]) -> None:
    a, b = seed_of("default", "1"), seed_of(*other)
    pairs = np.array([(point_of(a, u), point_of(b, u)) for u in UNITS])
    cells = (pairs * 20).astype(int)
    counts = np.bincount(cells[:, 0] * 20 + cells[:, 1], minlength=400)
    assert stats.chisquare(counts).pvalue > P_MIN
    assert abs(np.corrcoef(pairs.T)[0, 1]) < 0.01


def test_weights_are_honoured_and_need_not_add_up_to_one() -> None:
    assignment = Assignment("w", "s", {"a": 1.0, "b": 2.0, "c": 7.0})
    found = Counter(assignment.of(u)[0] for u in UNITS)
    expected = [len(UNITS) * share for share in (0.1, 0.2, 0.7)]
    assert stats.chisquare([found[n] for n in "abc"], expected).pvalue > P_MIN
    assert assignment.propensity == {"a": 0.1, "b": 0.2, "c": 0.7}


@pytest.mark.parametrize("zero_at", [0, 1, 2])
def test_an_arm_of_weight_zero_is_never_served(zero_at: int) -> None:
    weights = {n: 0.0 if i == zero_at else 1.0 for i, n in enumerate("abc")}
    assignment = Assignment("z", "s", weights)
    shadow = "abc"[zero_at]
    assert shadow not in {assignment.of(u)[0] for u in UNITS[:20_000]}
    assert assignment.propensity[shadow] == 0.0


def test_every_point_of_the_unit_interval_has_an_arm(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = {f"a{i}": 0.1 for i in range(10)} | {"none": 0.0}
    assignment = Assignment("e", "s", weights)
    for point in (0.0, 0.1, 0.5, np.nextafter(1.0, 0.0)):
        monkeypatch.setattr("stream.predict.assign.point_of", lambda *_, p=point: p)
        assert assignment.of("x")[0] != "none"


def test_a_ramp_of_two_arms_moves_only_the_units_that_must_move() -> None:
    before = Assignment("ramp", "s", {"old": 0.9, "new": 0.1})
    after = Assignment("ramp", "s", {"old": 0.7, "new": 0.3})
    moved = [(before.of(u)[0], after.of(u)[0]) for u in UNITS[:50_000]]
    assert ("new", "old") not in moved
    share = moved.count(("old", "new")) / len(moved)
    assert abs(share - 0.2) < 0.01


@pytest.mark.parametrize(
    "weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("inf")}, {"a": 1e308, "b": 1e308}]
)
def test_weights_that_are_no_shares_are_refused_with_what_was_given(weights: dict[str, float]) -> None:
    with pytest.raises(DataError, match="sum above 0 is wanted") as e:
        Assignment("e", "s", weights)
    assert str(weights) in str(e.value)
