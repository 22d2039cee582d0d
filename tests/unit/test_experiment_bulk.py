"""Assignment in bulk gives the answers of assignment one by one: hashes, points and arms, for any text and weights."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import DataError
from stream.experiment import slots
from stream.experiment.bulk import arms_at, bytes_of, hashes, points, points_of, slots_of
from stream.predict.assign import Assignment, point_of, seed_of

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden" / "assignment.json").read_text())
SEEDS = st.integers(0, 2**64 - 1)


@settings(max_examples=200, deadline=None)
@given(pieces=st.lists(st.binary(max_size=100), max_size=8), seed=SEEDS)
def test_hashes_are_the_librarys_for_any_bytes_and_seed(pieces: list[bytes], seed: int) -> None:
    data = np.frombuffer(b"".join(pieces), np.uint8)
    ends = np.cumsum([len(p) for p in pieces], dtype=np.int64)
    assert hashes(data, ends, seed).tolist() == [xxhash.xxh64_intdigest(p, seed) for p in pieces]


def test_hashes_are_the_librarys_for_every_length_around_its_blocks() -> None:
    data = np.random.default_rng(1).integers(0, 256, 300, dtype=np.uint8)
    for size in range(300):
        [found] = hashes(data, np.array([size]), 7).tolist()
        assert found == xxhash.xxh64_intdigest(data[:size].tobytes(), 7), size


def test_points_and_arms_are_the_golden_ones() -> None:
    for v in GOLDEN["points"]:
        assert float(points([v["unit"]], seed_of(v["experiment"], v["salt"]))[0]).hex() == v["point"], v
    for v in GOLDEN["arms"]:
        [arm] = arms_at(points([v["unit"]], seed_of(v["experiment"], v["salt"])), v["weights"]).tolist()
        assert list(v["weights"])[arm] == v["arm"], v


@settings(max_examples=50, deadline=None)
@given(
    units=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=40), max_size=30),
    shares=st.lists(st.sampled_from([0.0, 0.1, 1.0, 7.0]), min_size=1, max_size=5).filter(any),
)
def test_any_units_get_the_arms_that_they_get_one_by_one(units: list[str], shares: list[float]) -> None:
    named = {f"a{i}": w for i, w in enumerate(shares)}
    seed, one = seed_of("e", "s"), Assignment("e", "s", named)
    found = points(units, seed)
    assert found.tolist() == [point_of(seed, u) for u in units]
    assert [f"a{i}" for i in arms_at(found, named).tolist()] == [one.of(u)[0] for u in units]
    second = slots.seed_of("e", "s")
    assert slots_of(*bytes_of(units), second).tolist() == [slots.slot_of(second, u) for u in units]


def test_a_lone_surrogate_is_refused_as_it_is_one_by_one() -> None:
    with pytest.raises(UnicodeEncodeError):
        points(["a", "\ud800"], 1)


@pytest.mark.parametrize("ends", [[2, 1], [-1, 2], [5]])
def test_ends_that_don_t_ascend_within_the_bytes_are_refused(ends: list[int]) -> None:
    with pytest.raises(DataError, match="ascending within 4 bytes is wanted"):
        points_of(np.zeros(4, np.uint8), np.array(ends, np.int64), 1)


@pytest.mark.parametrize("weights", [{}, {"a": 0.0}, {"a": -1.0, "b": 2.0}, {"a": float("inf")}])
def test_weights_that_are_no_shares_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(DataError, match="sum above 0 is wanted"):
        arms_at(np.array([0.5]), weights)
