"""The compiled regressor is River's, one event at a time, and its state is a function of the rows alone."""

import hashlib
import json
import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from equivalence._tree_river import Regressor
from equivalence._tree_streams import VALUES, Rows, ragged, stream
from equivalence.trees import EAGER, drive, versus_regressor
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import njit

from stream.errors import SnapshotError
from stream.learn.regress import HoeffdingRegressor, keys, warm
from stream.learn.tree import draws


def new(rows: Rows, **params: Any) -> HoeffdingRegressor:
    return HoeffdingRegressor(*rows.shape, **params)


def digest(model: HoeffdingRegressor) -> str:
    whole = hashlib.sha256()
    for name, array in sorted(model.arrays().items()):
        whole.update(name.encode() + str(array.shape).encode() + array.tobytes())
    return whole.hexdigest()


@pytest.mark.parametrize("name", list(VALUES))
def test_splits_and_predictions_are_rivers_at_every_event(name: str) -> None:
    worst, splits, _, _ = versus_regressor(stream(name, VALUES, 4000))
    assert worst <= 1e-9
    assert splits >= 2


def test_a_long_stream_stays_rivers() -> None:
    worst, splits, _, _ = versus_regressor(stream("Planes2D", VALUES, 100_000))
    assert worst <= 1e-9
    assert splits >= 100


@pytest.mark.parametrize("name", list(VALUES))
@pytest.mark.parametrize(
    "params",
    [{}, {"digits": 3, "leaf_prediction": "mean", "binary_split": True, "merit_preprune": False}],
    ids=["adaptive", "mean, binary"],
)
def test_missing_values_new_categories_and_weights_go_where_river_sends_them(name: str, params: dict[str, Any]) -> None:
    worst, splits, _, _ = versus_regressor(ragged(stream(name, VALUES, 2000)), **EAGER, **params)
    assert worst <= 1e-9
    assert splits >= 30


@pytest.mark.parametrize(
    "params",
    [
        {"digits": None, "leaf_prediction": "model", "min_samples_split": 40},
        {"digits": 0, "max_depth": 2, "model_selector_decay": 0.5},
    ],
    ids=["plain E-BST", "few digits and levels"],
)
def test_parameters_mean_what_they_mean_in_river(params: dict[str, Any]) -> None:
    rows = ragged(stream("Mv", VALUES, 3000))
    worst, splits, _, _ = versus_regressor(rows, **(EAGER | params))
    assert worst <= 1e-9
    assert splits >= 3


def test_multiway_nodes_get_new_branches() -> None:
    rows = ragged(stream("Planes2D", VALUES, 4000))
    model = new(rows, **EAGER)
    model.score_learn(*rows)
    log = model.split_log()
    assert any(len(split.categories) > 1 for split in log)
    assert model.stats()["nodes"] > 1 + sum(max(2, len(split.categories)) for split in log)


def test_keys_far_behind_are_dropped_as_river_drops_them() -> None:
    rows = stream("Friedman", VALUES, 3000)
    params = {"grace_period": 100, "delta": 1e-7, "tau": 0.0, "digits": 3}
    worst, _, _, _ = versus_regressor(rows, **params)
    model = new(rows, **params)
    model.score_learn(*rows)
    every = len({(at, round(x, 3)) for at in range(10) for x in rows.numeric[:, at].tolist()})
    assert worst <= 1e-9
    assert model.stats()["observer_entries"] < 0.9 * every or model.stats()["nodes"] > 1


@njit  # type: ignore[untyped-decorator]
def _rounded(value: float, scale: float) -> float:
    return keys.rounded(value, scale)


@settings(max_examples=300, deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False), digits=st.integers(0, 15))
@example(value=0.15, digits=1)
@example(value=0.25, digits=1)
@example(value=-0.35, digits=1)
@example(value=2.675, digits=2)
@example(value=2.0**49 + 0.0625, digits=1)
def test_numbers_are_rounded_as_python_rounds(value: float, digits: int) -> None:
    assert _rounded(value, 10.0**digits) == round(value, digits)


@settings(max_examples=300, deadline=None)
@given(tenths=st.integers(-(10**7), 10**7), digits=st.integers(0, 6))
def test_halves_are_rounded_as_python_rounds(tenths: int, digits: int) -> None:
    value = (2 * tenths + 1) / 2 / 10**digits
    assert _rounded(value, 10.0**digits) == round(value, digits)


@pytest.fixture(scope="module")
def mixed() -> Rows:
    return ragged(stream("Mv", VALUES, 3000))


@settings(max_examples=15, deadline=None)
@given(cuts=st.lists(st.integers(0, 3000), max_size=12), score_between=st.booleans())
def test_the_state_does_not_depend_on_how_the_stream_is_cut(mixed: Rows, cuts: list[int], score_between: bool) -> None:
    at_once, in_blocks = new(mixed, **EAGER), new(mixed, **EAGER)
    wanted = at_once.score_learn(*mixed)
    scores = []
    for begin, end in pairwise([0, *sorted(cuts), 3000]):
        scores.append(in_blocks.score_learn(*mixed.cut(begin, end)))
        if score_between:
            in_blocks.score(mixed.numeric[:50], mixed.categories[:50])
    assert np.array_equal(np.concatenate(scores), wanted)
    assert digest(at_once) == digest(in_blocks)
    assert len(at_once.split_log()) >= 10


@pytest.mark.parametrize("stop", [0, 1, 777, 2999])
def test_a_restored_tree_goes_on_bit_for_bit(mixed: Rows, stop: int) -> None:
    model = new(mixed, **EAGER)
    model.score_learn(*mixed.cut(0, stop))
    again = HoeffdingRegressor.restore(json.loads(json.dumps(model.meta())), model.arrays())
    assert digest(again) == digest(model)
    rest = mixed.cut(stop, 3000)
    assert np.array_equal(again.score_learn(*rest), model.score_learn(*rest))
    assert digest(again) == digest(model)


def test_a_snapshot_of_another_version_or_shape_is_refused(mixed: Rows) -> None:
    model = new(mixed)
    with pytest.raises(SnapshotError, match="wanted 1"):
        HoeffdingRegressor.restore(model.meta() | {"version": 2}, model.arrays())
    with pytest.raises(SnapshotError, match="node_model"):
        HoeffdingRegressor.restore(model.meta() | {"numeric": 2}, model.arrays())


def test_scoring_never_learns_and_is_what_learning_would_have_scored(mixed: Rows) -> None:
    model = new(mixed, **EAGER)
    model.score_learn(*mixed.cut(0, 2000))
    before = digest(model)
    ahead = model.score(mixed.numeric[2000:2001], mixed.categories[2000:2001])
    model.score(mixed.numeric, mixed.categories)
    assert digest(model) == before
    assert np.array_equal(ahead, model.score_learn(*mixed.cut(2000, 2001)))


def _bounds(model: HoeffdingRegressor) -> tuple[bool, bool]:
    stats, params = model.stats(), model.params
    assert stats["nodes"] <= params.max_nodes
    assert stats["observer_bytes"] <= params.max_observer_bytes
    return stats["splits_refused"] + stats["branches_refused"] > 0, stats["values_dropped"] > 0


@pytest.mark.parametrize("bound", [{"max_nodes": 1}, {"max_nodes": 20}, {"max_observer_bytes": 3000}])
def test_growth_stops_at_the_bounds_and_learning_goes_on(mixed: Rows, bound: dict[str, int]) -> None:
    model = new(mixed, **EAGER, **bound)
    for begin in range(0, 3000, 100):
        model.score_learn(*mixed.cut(begin, begin + 100))
        _bounds(model)
    refused, dropped = _bounds(model)
    assert refused if "max_nodes" in bound else dropped
    before = digest(model)
    model.score_learn(*mixed.cut(0, 10))
    assert digest(model) != before
    assert np.isfinite(model.score(mixed.numeric, mixed.categories)).all()


def test_freed_entries_are_used_again(mixed: Rows) -> None:
    model = new(mixed, **EAGER)
    for _ in range(3):
        model.score_learn(*mixed)
    arrays, stats = model.arrays(), model.stats()
    live = 1 + stats["observer_entries"]
    assert len(arrays["entry_int"]) >= live
    unused = arrays["entry_real"][1:][(arrays["entry_real"][1:, 1] == 0.0)]
    assert len(unused) == len(arrays["entry_int"]) - live
    assert not unused.any()


@njit  # type: ignore[untyped-decorator]
def _poisson(counters: Any, count: int) -> Any:
    return [draws.poisson_one(counters, 0, 1) for _ in range(count)]


def test_poisson_draws_have_poissons_chances_and_depend_on_seed_and_count_alone() -> None:
    counters = np.array([7, 0], np.int64)
    drawn = np.array(_poisson(counters, 200_000))
    assert counters.tolist() == [7, 200_000]
    for events in range(6):
        assert abs((drawn == events).mean() - math.exp(-1) / math.factorial(events)) < 0.004
    assert _poisson(np.array([7, 1000], np.int64), 50) == drawn[1000:1050].tolist()


@pytest.mark.parametrize("value", [1e15, 1e150, 1e300, -1e300, 5e-324])
def test_extreme_numbers_leave_the_state_finite(mixed: Rows, value: float) -> None:
    numeric = mixed.numeric.copy()
    numeric[::7, 0] = value
    model = new(mixed, **EAGER)
    scores = model.score_learn(numeric, *mixed[1:])
    assert np.isfinite(scores).all()
    assert all(np.isfinite(a).all() for a in model.arrays().values() if a.dtype.kind == "f")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda rows: rows._replace(target=rows.target.astype(np.float32)), "target: float32"),
        (lambda rows: rows._replace(target=np.where(rows.target > 0, np.nan, 1.0)), "target: every one"),
        (lambda rows: rows._replace(target=rows.target + 1e31), "target: every one"),
        (lambda rows: rows._replace(weight=-rows.weight), "weight: every one"),
        (lambda rows: rows._replace(numeric=rows.numeric[:, :1]), "numeric: float64"),
    ],
)
def test_bad_input_is_refused_before_anything_is_learned(
    mixed: Rows, change: Callable[[Rows], Rows], problem: str
) -> None:
    model = new(mixed)
    before = digest(model)
    with pytest.raises(ValueError, match=problem):
        model.score_learn(*change(mixed))
    assert digest(model) == before


@pytest.mark.parametrize(
    "params",
    [{"grace_period": 0}, {"delta": 1.0}, {"leaf_prediction": "best"}, {"digits": 16}, {"model_selector_decay": 1.0}],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        HoeffdingRegressor(1, 1, **params)


def test_a_row_of_weight_0_is_scored_and_not_learned(mixed: Rows) -> None:
    model = new(mixed, **EAGER)
    model.score_learn(*mixed.cut(0, 1000))
    rest = mixed.cut(1000, 1010)._replace(weight=np.zeros(10))
    wanted = model.score(rest.numeric, rest.categories)
    assert np.array_equal(model.score_learn(*rest), wanted)
    assert model.stats()["unweighted_rows"] == 10


def test_text_tells_the_tree() -> None:
    rows = stream("Planes2D", VALUES, 2000)
    model = new(rows, **EAGER)
    assert model.text([]) == "mean 0 (weight 0)\n"
    model.score_learn(*rows)
    text = model.text([f"x{at}" for at in range(10)])
    assert "x0 <= " in text
    assert "mean " in text


def test_warming_up_compiles_everything() -> None:
    warm()
    assert Regressor((1, 0)).splits == []
    assert drive(Regressor((1, 0)), Rows(np.zeros((0, 1)), np.zeros((0, 0), np.uint64), np.zeros(0))).shape == (0,)
