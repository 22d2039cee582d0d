"""The compiled adaptive tree is River's, one event at a time, and its state is a function of rows and seed alone."""

import hashlib
import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from equivalence import forests
from equivalence._tree_streams import DRIFTS, Rows, ragged, stream
from equivalence.trees import EAGER, drive, mended, outline, river_outline, versus_adaptive, versus_classifier
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import SnapshotError
from stream.learn.adaptive import AdaptiveTree, warm
from stream.learn.adaptive.layout import ALTERNATE, FREE_NODE, LIVE_NODES
from stream.learn.tree.layout import NEXT, NODES, SLOT

QUICK: dict[str, Any] = EAGER | {"drift_window_threshold": 40, "switch_significance": 0.3, "adwin_delta": 0.3}


def new(rows: Rows, **params: Any) -> AdaptiveTree:
    return AdaptiveTree(*rows.shape, **params)


def digest(model: AdaptiveTree) -> str:
    whole = hashlib.sha256()
    for name, array in sorted(model.arrays().items()):
        whole.update(name.encode() + str(array.shape).encode() + array.tobytes())
    return whole.hexdigest()


def flipping(rows: int, every: int = 500) -> Rows:
    """A stream that changes its mind: every so many rows the classes are the other way round."""
    rng = np.random.default_rng(8)
    numeric, categories = rng.random((rows, 3)), rng.integers(1, 5, (rows, 1)).astype(np.uint64)
    high = numeric[:, 0] + 0.4 * (categories[:, 0] == 2) > 0.5 + 0.3 * (numeric[:, 1] > 0.5)
    turned = (np.arange(rows) // every) % 2 == 1
    return Rows(numeric, categories, (high ^ turned ^ (rng.random(rows) < 0.05)).astype(np.int64))


@pytest.mark.parametrize("name", list(DRIFTS))
def test_splits_alternate_trees_draws_and_probabilities_are_rivers_at_every_event(name: str) -> None:
    worst, stats, _, _ = versus_adaptive(stream(name, DRIFTS, 2000), grow_alternates=True, **EAGER)
    assert worst <= 1e-9
    assert stats["nodes"] > 10


@pytest.mark.parametrize("name", list(DRIFTS)[:3])
def test_missing_values_new_categories_and_weights_go_where_river_sends_them(name: str) -> None:
    worst, stats, _, _ = versus_adaptive(ragged(stream(name, DRIFTS, 1500)), grow_alternates=False, **EAGER)
    assert worst <= 1e-9
    assert stats["nodes"] > 10


def test_flights_grow_rivers_trees_split_for_split() -> None:
    found = forests.flights(4000)
    flights = Rows(found.numeric, found.categories, found.target)
    with mended(False):
        assert versus_classifier(flights)[0] <= 1e-9
    assert versus_adaptive(flights, True)[0] <= 1e-9


@pytest.mark.parametrize("grow_alternates", [True, False])
def test_alternate_trees_come_and_go_at_rivers_events(grow_alternates: bool) -> None:
    worst, stats, _, _ = versus_adaptive(flipping(4000), grow_alternates, **QUICK)
    assert worst <= 1e-9
    assert stats["alternates_started"] >= 10
    assert stats["alternates_switched"] >= 3
    assert stats["alternates_pruned"] >= 3


def test_alternate_trees_of_ragged_rows_come_and_go_at_rivers_events() -> None:
    worst, stats, _, _ = versus_adaptive(ragged(flipping(4000)), True, **QUICK)
    assert worst <= 1e-9
    assert stats["alternates_started"] >= 5
    assert stats["alternates_switched"] >= 1


def test_without_growing_alternates_it_is_river_as_it_comes() -> None:
    worst, stats, _, _ = versus_adaptive(stream("SEA, four concepts", DRIFTS, 3000), False, mend=False)
    assert worst <= 1e-9
    assert stats["nodes"] > 5


@pytest.mark.parametrize(
    "params",
    [
        {"bootstrap_sampling": False, "leaf_prediction": "mc"},
        {"leaf_prediction": "nb", "nb_threshold": 20, "max_depth": 2, "split_criterion": "gini"},
    ],
    ids=["no sampling, majority", "Bayes, few levels"],
)
def test_parameters_mean_what_they_mean_in_river(params: dict[str, Any]) -> None:
    worst, stats, _, _ = versus_adaptive(flipping(2500), True, **QUICK, **params)
    assert worst <= 1e-9
    assert stats["alternates_started"] >= 3
    assert stats["draws"] == 0 or params.get("bootstrap_sampling", True)


@pytest.fixture(scope="module")
def changing() -> Rows:
    return ragged(flipping(4000))


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, 4000), max_size=12), score_between=st.booleans())
def test_the_state_does_not_depend_on_how_the_stream_is_cut(
    changing: Rows, cuts: list[int], score_between: bool
) -> None:
    at_once, in_blocks = new(changing, **QUICK), new(changing, **QUICK)
    wanted = at_once.score_learn(*changing)
    scores = []
    for begin, end in pairwise([0, *sorted(cuts), 4000]):
        scores.append(in_blocks.score_learn(*changing.cut(begin, end)))
        if score_between:
            in_blocks.score(changing.numeric[:50], changing.categories[:50])
    assert np.array_equal(np.vstack(scores), wanted)
    assert digest(at_once) == digest(in_blocks)
    assert at_once.stats()["alternates_switched"] >= 1


@pytest.mark.parametrize("stop", [0, 1, 777, 2500, 3999])
def test_a_restored_tree_goes_on_bit_for_bit(changing: Rows, stop: int) -> None:
    model = new(changing, seed=11, **QUICK)
    model.score_learn(*changing.cut(0, stop))
    again = AdaptiveTree.restore(json.loads(json.dumps(model.meta())), model.arrays())
    assert digest(again) == digest(model)
    assert again.meta() == model.meta()
    rest = changing.cut(stop, 4000)
    assert np.array_equal(again.score_learn(*rest), model.score_learn(*rest))
    assert digest(again) == digest(model)


def test_a_snapshot_of_another_kind_is_refused(changing: Rows) -> None:
    model = new(changing)
    with pytest.raises(SnapshotError, match="wanted"):
        AdaptiveTree.restore(model.meta() | {"format": "hoeffding-tree"}, model.arrays())
    with pytest.raises(SnapshotError, match="slot_int"):
        AdaptiveTree.restore(model.meta() | {"numeric": 2}, model.arrays())


def test_another_seed_draws_another_tree(changing: Rows) -> None:
    one, other = new(changing, seed=1, **QUICK), new(changing, seed=2, **QUICK)
    assert not np.array_equal(one.score_learn(*changing), other.score_learn(*changing))
    assert outline(one) != outline(other)


def test_scoring_never_learns_and_is_what_learning_would_have_scored(changing: Rows) -> None:
    model = new(changing, **QUICK)
    at = 2000
    while model.stats()["alternates"] == 0:
        model.score_learn(*changing.cut(0, at))
        at += 50
    before = digest(model)
    ahead = model.score(changing.numeric[at : at + 1], changing.categories[at : at + 1])
    model.score(changing.numeric, changing.categories)
    assert digest(model) == before
    assert np.array_equal(ahead, model.score_learn(*changing.cut(at, at + 1)))


@pytest.mark.parametrize("bound", [{"max_nodes": 1}, {"max_nodes": 30}, {"max_observer_bytes": 60_000}])
def test_growth_stops_at_the_bounds_and_learning_goes_on(changing: Rows, bound: dict[str, int]) -> None:
    model = new(changing, **QUICK, **bound)
    for begin in range(0, 4000, 50):
        model.score_learn(*changing.cut(begin, begin + 50))
        stats = model.stats()
        assert stats["nodes"] <= model.params.max_nodes
        assert stats["observer_bytes"] <= model.params.max_observer_bytes
    assert stats["splits_refused"] + stats["alternates_refused"] + stats["branches_refused"] > 0
    assert np.isfinite(model.score(changing.numeric, changing.categories)).all()


def test_freed_nodes_are_zero_and_are_used_again() -> None:
    rows = flipping(4000)
    model = new(rows, **QUICK)
    model.score_learn(*rows)
    arrays, counters = model.arrays(), model.arrays()["counters"]
    free, node = [], int(counters[FREE_NODE])
    while node != 0:
        free.append(node)
        node = int(arrays["node_int"][node, NEXT])
    assert free
    assert len(free) + counters[LIVE_NODES] + 1 == counters[NODES]
    arrays["node_int"][free, NEXT] = 0
    for name in ("node_int", "node_real", "node_id", "class_weight", "node_link", "node_error", "node_window"):
        assert not arrays[name][free].any(), name
    held = arrays["node_int"][:, SLOT]
    assert len(set(held[held > 0])) == (held > 0).sum() == model.stats()["active_leaves"]
    hung = arrays["node_link"][:, ALTERNATE]
    assert not set(hung[hung > 0]) & set(free)


def test_it_forgets_what_is_no_longer_so_sooner_than_a_tree_that_never_does() -> None:
    rows = flipping(8000, every=4000)
    adaptive, steady = new(rows, adwin_delta=0.002, **EAGER), new(rows, adwin_delta=1e-300, **EAGER)
    right = [(model.score_learn(*rows).argmax(1) == rows.target)[5000:].mean() for model in (adaptive, steady)]
    assert adaptive.stats()["alternates_started"] > 0
    assert right[0] > right[1] + 0.02


@pytest.mark.parametrize(
    "params",
    [{"switch_significance": 0.0}, {"drift_window_threshold": -1}, {"adwin_delta": 1.0}, {"seed": -1}, {"delta": 2.0}],
)
def test_parameters_out_of_range_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(params))):
        AdaptiveTree(1, 1, **params)


def test_text_tells_the_tree_without_its_alternates() -> None:
    rows = flipping(1500)
    model = new(rows, **QUICK)
    assert model.text([]) == "nothing seen\n"
    model.score_learn(*rows)
    assert "class 0" in model.text([f"a{at}" for at in range(sum(rows.shape[:2]))])


def test_the_comparison_sees_a_difference() -> None:
    rows = stream("SEA, four concepts", DRIFTS, 600)
    with pytest.raises(AssertionError, match="row"):
        versus_adaptive(rows, True, seed=3, bootstrap_sampling=True, **(EAGER | {"tau": Sneaky(0.2)}))
    assert river_outline(None) is None
    assert callable(drive)
    assert callable(mended)


class Sneaky(float):
    """A number that our side reads as another."""

    def __float__(self) -> float:
        return 0.0


def test_warming_up_compiles_everything() -> None:
    warm()
