"""The compiled adaptive tree for numbers is River's, and its state is a function of rows and seed alone."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from equivalence._tree_streams import VALUES, Rows, ragged, stream
from equivalence.trees import EAGER, versus_adaptive

from stream.errors import SnapshotError
from stream.learn.adaptive.layout import ALTERNATE, FREE_NODE, LIVE_NODES
from stream.learn.adaptive_regress import AdaptiveRegressor
from stream.learn.learner import State
from stream.learn.tree.layout import KIND, LEAF, NEXT, NODES, SLOT

QUICK: dict[str, Any] = EAGER | {"drift_window_threshold": 40, "switch_significance": 0.3, "adwin_delta": 0.3}


def new(rows: Rows, **params: Any) -> AdaptiveRegressor:
    return AdaptiveRegressor(*rows.shape, **params)


def digest(model: AdaptiveRegressor) -> str:
    return State(model.arrays(), model.meta()).digest()


def flipping(rows: int, every: int = 500) -> Rows:
    """A stream that changes its mind: every so many rows the values are the other way round."""
    rng = np.random.default_rng(8)
    numeric, categories = rng.random((rows, 3)), rng.integers(1, 5, (rows, 1)).astype(np.uint64)
    value = 4 * (numeric[:, 0] > 0.5) + 2 * (categories[:, 0] == 2) + numeric[:, 1]
    turned = (np.arange(rows) // every) % 2 == 1
    return Rows(numeric, categories, np.where(turned, 6 - value, value) + 0.3 * rng.normal(size=rows))


@pytest.mark.parametrize("name", list(VALUES)[:5])
def test_splits_alternate_trees_draws_and_predictions_are_rivers_at_every_event(name: str) -> None:
    worst, stats, _, _ = versus_adaptive(stream(name, VALUES, 1000), grow_alternates=True, **EAGER)
    assert worst <= 1e-9
    assert stats["nodes"] > 5


@pytest.mark.parametrize(
    ("grow_alternates", "params"),
    [
        (True, {}),
        (False, {"leaf_prediction": "mean"}),
        (True, {"leaf_prediction": "model", "bootstrap_sampling": False}),
    ],
)
def test_alternate_trees_come_and_go_at_rivers_events(grow_alternates: bool, params: dict[str, Any]) -> None:
    worst, stats, _, _ = versus_adaptive(flipping(3000), grow_alternates, **QUICK, **params)
    assert worst <= 1e-9
    assert stats["alternates_started"] >= 5
    assert stats["alternates_switched"] >= (2 if grow_alternates else 1)


@pytest.mark.parametrize("grow_alternates", [True, False])
def test_missing_values_new_categories_and_weights_go_where_river_sends_them(grow_alternates: bool) -> None:
    worst, stats, _, _ = versus_adaptive(ragged(flipping(2500)), grow_alternates, **QUICK)
    assert worst <= 1e-9
    assert stats["alternates_started"] >= 3
    assert stats["nodes"] > 5


def test_without_growing_alternates_it_is_river_as_it_comes() -> None:
    worst, stats, _, _ = versus_adaptive(stream("FriedmanDrift", VALUES, 1500), False, mend=False, **EAGER)
    assert worst <= 1e-9
    assert stats["nodes"] > 5


@pytest.fixture(scope="module")
def rows() -> Rows:
    return ragged(flipping(3000))


def test_the_state_does_not_depend_on_blocks(rows: Rows) -> None:
    whole = new(rows, **QUICK)
    wanted = whole.score_learn(*rows)
    for edges in ([0, 1, 2, 700, 3000], [0, 2999, 3000]):
        model = new(rows, **QUICK)
        scores = [model.score_learn(*rows.cut(begin, end)) for begin, end in pairwise(edges)]
        assert np.array_equal(np.concatenate(scores), wanted)
        assert digest(model) == digest(whole)


@pytest.mark.parametrize("stop", [0, 1, 900, 2300])
def test_a_restored_tree_goes_on_bit_for_bit(rows: Rows, stop: int) -> None:
    model = new(rows, **QUICK)
    model.score_learn(*rows.cut(0, stop))
    again = AdaptiveRegressor.restore(json.loads(json.dumps(model.meta())), model.arrays())
    assert digest(again) == digest(model)
    rest = rows.cut(stop, 3000)
    ahead = again.score(*rest[:2])[:1]
    scores = again.score_learn(*rest)
    assert np.array_equal(scores, model.score_learn(*rest))
    assert np.array_equal(scores[:1], ahead)
    assert digest(again) == digest(model)


def test_nodes_that_were_freed_are_blank_and_counted(rows: Rows) -> None:
    model = new(rows, **QUICK)
    model.score_learn(*rows)
    arrays = model.arrays()
    free, at = 0, int(arrays["counters"][FREE_NODE])
    while at != 0:
        ints = arrays["node_int"][at].copy()
        following, ints[NEXT] = int(ints[NEXT]), 0
        floats = ("node_real", "node_model", "node_error", "node_window")
        assert not ints.any()
        assert not any(arrays[name][at].any() for name in (*floats, "node_link", "node_buckets", "node_id"))
        free, at = free + 1, following
    assert free > 0
    assert int(arrays["counters"][NODES]) - 1 == int(arrays["counters"][LIVE_NODES]) + free
    held = arrays["node_int"][:, SLOT]
    assert len(set(held[held > 0].tolist())) == (held > 0).sum()
    branches = arrays["node_link"][:, ALTERNATE] != 0
    assert (arrays["node_int"][branches, KIND] != LEAF).all()


def test_bounds_hold_and_refusals_are_counted(rows: Rows) -> None:
    model = new(rows, **QUICK, max_nodes=9, max_observer_bytes=6_000)
    for begin in range(0, 3000, 500):
        model.score_learn(*rows.cut(begin, begin + 500))
        assert model.stats()["nodes"] <= 9
        assert model.stats()["observer_bytes"] <= 6_000
    stats = model.stats()
    assert stats["splits_refused"] + stats["alternates_refused"] > 0
    assert stats["values_dropped"] > 0


def test_extreme_targets_and_numbers_leave_the_state_finite(rows: Rows) -> None:
    rng = np.random.default_rng(2)
    numeric = rows.numeric * 10.0 ** rng.integers(-300, 300, rows.numeric.shape)
    target = rows.target * 10.0 ** rng.integers(-30, 29, len(rows.target))
    model = new(rows, **QUICK)
    assert np.isfinite(model.score_learn(numeric, rows.categories, target)).all()
    assert all(np.isfinite(a).all() for a in model.arrays().values() if a.dtype.kind == "f")


def test_wrong_parameters_targets_weights_and_snapshots_are_refused(rows: Rows) -> None:
    with pytest.raises(ValueError, match="0 < switch_significance < 1"):
        new(rows, switch_significance=0.0)
    model = new(rows)
    with pytest.raises(ValueError, match="target: every one must be a number within"):
        model.score_learn(rows.numeric, rows.categories, np.full(3000, np.nan))
    with pytest.raises(ValueError, match="weight: every one must be 0 or in"):
        model.score_learn(rows.numeric, rows.categories, rows.target, np.full(3000, -1.0))
    with pytest.raises(SnapshotError, match="wanted hoeffding-adaptive-regressor 1"):
        AdaptiveRegressor.restore(model.meta() | {"format": "hoeffding-regressor"}, model.arrays())
    assert model.stats()["rows"] == 0


def test_its_text_shows_the_tree_without_alternates(rows: Rows) -> None:
    model = new(rows, **QUICK)
    model.score_learn(*rows.cut(0, 1400))
    text = model.text(["a", "b", "c", "kind", "late"])
    assert "mean" in text
    assert len(text.splitlines()) > 2
