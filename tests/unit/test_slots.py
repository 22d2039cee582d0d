"""Version 2 of assignment: frozen, uniform, true to the shares; a ramp moves only what it must."""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from stream.errors import DataError
from stream.experiment.slots import SLOTS, fresh, namespace_seed, quotas, ramped, seed_of, shares_of, slot_of

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "assignment2.json").read_text())
P_MIN = 1e-4  # fixed inputs: a test that passes once passes always
weights = st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(lambda w: sum(w) > 0)


def shares(counts: list[int]) -> list[float]:
    return [c / sum(counts) for c in counts]


def test_the_golden_vectors_hold() -> None:
    assert GOLDEN["version"] == 2
    assert len(GOLDEN["slots"]) + len(GOLDEN["namespaces"]) == 50
    for v in GOLDEN["slots"]:
        assert slot_of(seed_of(v["experiment"], v["salt"]), v["unit"]) == v["slot"], v
    for v in GOLDEN["namespaces"]:
        assert slot_of(namespace_seed(v["namespace"]), v["unit"]) == v["slot"], v


def test_the_golden_histories_of_shares_give_their_tables() -> None:
    for steps in GOLDEN["histories"]:
        table = None
        for step in steps:
            counts = quotas(step["shares"])
            assert counts == step["quotas"]
            table = fresh(counts) if table is None else ramped(table, counts)
            assert table[::1111].tolist() == step["sample"]
            assert zlib.crc32(table.astype("<i8").tobytes()) == step["crc32"]


@settings(max_examples=200, deadline=None)
@given(st.lists(weights, min_size=2, max_size=6))
def test_a_ramp_moves_half_of_what_shares_differ_by_and_no_slot_more(history: list[list[int]]) -> None:
    table = fresh(quotas(shares(history[0])))
    for step in history[1:]:
        counts = quotas(shares(step))
        after, before = ramped(table, counts), np.bincount(table, minlength=3)
        assert np.bincount(after, minlength=3).tolist() == counts
        assert int((after != table).sum()) == int(np.abs(before - counts).sum()) // 2
        for arm in range(3):  # who grows keeps all, who shrinks gets none
            grows = counts[arm] >= before[arm]
            assert not (((table == arm) & (after != arm)).any() if grows else ((table != arm) & (after == arm)).any())
        table = after


@settings(max_examples=200, deadline=None)
@given(weights)
def test_quotas_are_the_shares_to_within_a_slot(given_: list[int]) -> None:
    found = quotas(shares(given_))
    assert sum(found) == SLOTS
    assert all(abs(q - s * SLOTS) < 1 for q, s in zip(found, shares(given_), strict=True))


def test_units_fall_uniformly_and_independently_of_salt_and_namespace() -> None:
    seeds = [seed_of("e", "1"), seed_of("e", "2"), namespace_seed("e")]
    found = np.array([[slot_of(s, f"user-{i}") for s in seeds] for i in range(60_000)])
    assert found.min() >= 0
    assert found.max() < SLOTS
    cells = found * 20 // SLOTS
    for column in cells.T:
        assert stats.chisquare(np.bincount(column, minlength=20)).pvalue > P_MIN
    for other in (1, 2):
        assert stats.chisquare(np.bincount(cells[:, 0] * 20 + cells[:, other], minlength=400)).pvalue > P_MIN


@pytest.mark.parametrize("wrong", [[], [0.5, 0.4], [1.5, -0.5], [0.99999, 0.00001], [float("nan"), 1.0]])
def test_shares_that_no_slots_can_give_are_refused(wrong: list[float]) -> None:
    with pytest.raises(DataError, match="is wanted"):
        quotas(wrong)


def test_what_is_weighted_by_no_arm_of_the_spec_goes_to_the_control() -> None:
    assert shares_of({"a": 1, "b": 2, "gone": 1}, ["a", "b", "new"], "a") == {"a": 0.5, "b": 0.5, "new": 0.0}
    with pytest.raises(DataError, match="sum above 0 is wanted"):
        shares_of({"a": 0.0}, ["a"], "a")
