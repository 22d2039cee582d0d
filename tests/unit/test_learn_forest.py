"""The compiled forests are River's, given the same draws; their state is a function of the rows and the seed alone."""

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from stream.errors import SnapshotError
from stream.learn.forest import AdaptiveForest, AdwinBagging, Forest
from stream.learn.forest.layout import DRIFTS, GROWING, WARNINGS, poisson_chances
from stream.learn.learner import State
from tests.equivalence._forest_seeds import CASES, ERRORS_MAX, Case, compare, kept
from tests.equivalence._tree_river import mended
from tests.equivalence.forests import (
    Rows,
    clusters,
    drifting,
    flights,
    lights,
    line,
    our_shape,
    river_adwin,
    river_bagging,
    river_forest,
    run_river,
    shape,
)

SENSITIVE = {"warning_delta": 0.2, "drift_delta": 0.05, "n_models": 3, "seed": 11}


def new(rows: Rows, made: type[Forest] = AdaptiveForest, **params: Any) -> Forest:
    return made(rows.numeric.shape[1], rows.categories.shape[1], rows.classes, **params)


def cut(rows: Rows, begin: int, end: int) -> Rows:
    return Rows(*(None if column is None else column[begin:end] for column in rows))


def digest(model: Forest) -> str:
    return State(model.arrays(), model.meta()).digest()


def changes(model: Forest, rows: Rows) -> tuple[Any, list[Any]]:
    """Scores, and (row, each tree's warnings and drifts) wherever these changed, learning row by row."""
    scores, log, last = [], [], [(0, 0)] * len(model.growers)
    for row in range(len(rows.target)):
        scores.append(model.score_learn(*cut(rows, row, row + 1)))
        counts = [(int(g.record.counts[WARNINGS]), int(g.record.counts[DRIFTS])) for g in model.growers]
        if counts != last:
            log.append((row, counts))
            last = counts
    return np.vstack(scores), log


def assert_same_trees(model: Forest, river: Any, rows: Rows) -> None:
    for mine, other in zip(model.trees(), river, strict=True):
        assert our_shape(mine) == shape(other._root, rows.numeric.shape[1])


@pytest.mark.parametrize(
    ("stream", "count", "params", "drifts"),
    [
        (drifting, 1500, {"n_models": 3, "seed": 5}, 0),
        (drifting, 1800, SENSITIVE, 2),
        (lambda rows: drifting(rows).weighted(), 1200, SENSITIVE, 1),
        (drifting, 1500, SENSITIVE | {"warning_delta": None, "max_features": 0.5, "leaf_prediction": "mc"}, 1),
        (clusters, 800, SENSITIVE | {"drift_delta": None, "disable_weighted_vote": True, "lambda_value": 2}, 0),
        (clusters, 700, SENSITIVE | {"max_features": None, "leaf_prediction": "nb", "split_criterion": "gini"}, 0),
        (lights, 800, SENSITIVE | {"max_features": "log2", "max_depth": 4, "binary_split": True, "tau": 0.2}, 0),
    ],
)
def test_votes_splits_warnings_and_drifts_are_rivers_at_every_event(
    stream: Any, count: int, params: dict[str, Any], drifts: int
) -> None:
    rows = stream(count)
    river = river_forest(rows, params)
    wanted, wanted_log = run_river(river, rows)
    model = new(rows, **params)
    scores, log = changes(model, rows)
    assert log == wanted_log
    assert_same_trees(model, river, rows)
    assert np.abs(scores - wanted).max() <= 1e-9
    assert model.stats()["drifts"] >= drifts
    assert [tree is not None for tree in river._background or [None] * 3] == [
        bool(g.record.counts[GROWING]) for g in model.growers
    ]


def test_flights_whose_categories_are_64_bit_ids_of_many_values_are_voted_on_as_by_river_mended() -> None:
    found = line("flights", flights(400), "forest.adaptive", {"n_models": 4, "seed": 5, "grace_period": 60})
    assert found.difference <= 1e-9
    assert found.weights_difference == 0


@pytest.mark.parametrize(
    ("stream", "count"), [(drifting, 1200), (clusters, 600), (lambda rows: drifting(rows).weighted(), 800)]
)
def test_bagging_is_rivers_at_every_event(stream: Any, count: int) -> None:
    rows = stream(count)
    params = {"n_models": 3, "seed": 2, "grace_period": 50, "delta": 0.05, "tau": 0.2}
    river = river_bagging(rows, **params)
    wanted, _ = run_river(river, rows)
    model = new(rows, Forest, **params)
    assert np.abs(model.score_learn(*rows) - wanted).max() <= 1e-9
    assert_same_trees(model, river, rows)
    assert sum(len(tree.split_log()) for tree in model.trees()) >= 6


@pytest.mark.parametrize(
    ("stream", "count"), [(drifting, 2000), (clusters, 1200), (lambda rows: drifting(rows).weighted(), 1500)]
)
def test_adwin_bagging_replaces_the_trees_that_river_mended_would_at_its_events(stream: Any, count: int) -> None:
    rows = stream(count)
    params = {"n_models": 3, "seed": 2, "grace_period": 50, "delta": 0.05, "tau": 0.2, "adwin_delta": 0.3}
    river = river_adwin(rows, **params)
    with mended(False):  # a class that a leaf was handed with weight 0 is near certain to River
        wanted, _ = run_river(river, rows)
    model, log = new(rows, AdwinBagging, **params), list[int]()
    for row in range(count):
        score = model.score_learn(*cut(rows, row, row + 1))
        assert np.abs(score - wanted[row]).max() <= 1e-9
        replaced = sum(int(g.record.counts[DRIFTS]) for g in model.growers)
        log += [row] * (replaced - len(log))
    assert log == [row for row, _ in river.log]
    assert [int(g.record.counts[DRIFTS]) for g in model.growers] == [
        sum(at == tree for _, at in river.log) for tree in range(3)
    ]
    assert_same_trees(model, river, rows)
    assert log


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.title)
def test_with_its_own_seeds_a_forest_is_within_rivers_spread(case: Case) -> None:
    golden = kept()[case.title]
    assert (golden["rows"], golden["params"], len(golden["values"])) == (case.rows, case.params, 10)
    theirs = np.array(golden["values"])
    ours, apart = compare(case, golden["values"])
    assert abs(apart) < ERRORS_MAX
    assert theirs.min() - 2 * theirs.std() <= min(ours) <= max(ours) <= theirs.max() + 2 * theirs.std()


@pytest.mark.parametrize("made", [AdaptiveForest, Forest, AdwinBagging])
def test_a_row_that_weighs_nothing_is_scored_and_not_learned(made: type[Forest]) -> None:
    rows = drifting(400)
    model = new(rows, made, n_models=2)
    model.score_learn(*cut(rows, 0, 300))
    before, rest = model.arrays(), cut(rows, 300, 400)
    scores = model.score_learn(*rest._replace(weight=np.zeros(100)))
    assert np.array_equal(scores, model.score(*rest[:2]))
    after = model.arrays()
    assert {name for name, a in before.items() if not np.array_equal(a, after[name])} == {"counters"}
    assert model.stats()["rows"] == 400
    model.score_learn(*rest)
    assert not np.array_equal(model.score(*rest[:2]), scores)


@pytest.mark.parametrize("weight", [-1.0, np.nan, np.inf, 1e101])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    rows = drifting(30)
    model = new(rows)
    with pytest.raises(ValueError, match=r"weight: every one must be 0 or in 1e-100\.\.1e\+100"):
        model.score_learn(*rows._replace(weight=np.full(30, weight)))
    assert model.stats()["rows"] == 0


@pytest.fixture(scope="module")
def stream() -> Rows:
    """Enough for warnings, drifts and background trees."""
    return drifting(3000)


@pytest.mark.parametrize("made", [AdaptiveForest, Forest, AdwinBagging])
def test_the_state_does_not_depend_on_blocks_or_threads(stream: Rows, made: type[Forest]) -> None:
    params = {"n_models": 5, "seed": 3, "grace_period": 40, "delta": 0.1}
    params |= {"warning_delta": 0.2, "drift_delta": 0.05} if made is AdaptiveForest else {}
    params |= {"adwin_delta": 0.3} if made is AdwinBagging else {}
    whole = new(stream, made, n_jobs=1, **params)
    wanted = whole.score_learn(*stream)
    for jobs, edges in ((2, [0, 1, 2, 700, 3000]), (5, [0, 2999, 3000]), (None, [0, 3000])):
        model = new(stream, made, n_jobs=jobs, **params)
        scores = [model.score_learn(*cut(stream, begin, end)) for begin, end in pairwise(edges)]
        assert np.array_equal(np.vstack(scores), wanted)
        assert digest(model) == digest(whole)


@pytest.mark.parametrize("stop", [0, 1, 900, 1500, 2300])
def test_a_restored_forest_goes_on_bit_for_bit(stream: Rows, stop: int) -> None:
    model = new(stream, **SENSITIVE)
    model.score_learn(*cut(stream, 0, stop))
    again = AdaptiveForest.restore(json.loads(json.dumps(model.meta())), model.arrays())
    assert digest(again) == digest(model)
    rest = cut(stream, stop, 3000)
    assert np.array_equal(again.score_learn(*rest), model.score_learn(*rest))
    assert digest(again) == digest(model)


def test_the_stream_of_these_tests_has_what_they_are_about(stream: Rows) -> None:
    model = new(stream, **SENSITIVE)
    seen = set()
    for at in range(0, 3000, 100):
        model.score_learn(*cut(stream, at, at + 100))
        seen.add(model.stats()["background_trees"])
    assert model.stats()["drifts"] >= 3
    assert len(seen) >= 2


def test_scoring_never_learns_and_is_what_learning_would_have_scored(stream: Rows) -> None:
    model = new(stream, **SENSITIVE)
    model.score_learn(*cut(stream, 0, 2000))
    before = digest(model)
    ahead = model.score(stream.numeric[2000:2001], stream.categories[2000:2001])
    model.score(stream.numeric, stream.categories)
    assert digest(model) == before
    assert np.array_equal(ahead, model.score_learn(*cut(stream, 2000, 2001)))


def test_seeds_make_forests_differ_and_trees_differ(stream: Rows) -> None:
    one, other = (new(stream, seed=seed, n_models=2) for seed in (1, 2))
    assert not np.array_equal(one.score_learn(*stream), other.score_learn(*stream))
    first, second = (tree.split_log() for tree in one.trees())
    assert first != second


def test_bounds_hold_for_the_whole_forest_and_refusals_are_counted(stream: Rows) -> None:
    model = new(stream, n_models=4, max_nodes=80, max_observer_bytes=8 * 30_000, delta=0.2, tau=0.5)
    for begin in range(0, 3000, 500):
        model.score_learn(*cut(stream, begin, begin + 500))
        stats = model.stats()
        assert stats["nodes"] <= 80
        assert stats["observer_bytes"] <= 8 * 30_000
    assert stats["splits_refused"] > 0
    assert model.finite()


def test_a_snapshot_of_another_kind_version_or_length_is_refused(stream: Rows) -> None:
    model = new(stream, n_models=2)
    model.score_learn(*cut(stream, 0, 100))
    meta, arrays = model.meta(), model.arrays()
    for wrong in ({"version": 2}, {"format": "bagging-forest"}):
        with pytest.raises(SnapshotError, match="wanted 1"):
            AdaptiveForest.restore(meta | wrong, arrays)
    with pytest.raises(SnapshotError, match="node_int"):
        AdaptiveForest.restore(meta, arrays | {"node_int": arrays["node_int"][1:]})
    with pytest.raises(SnapshotError, match="trees"):
        AdaptiveForest.restore(meta | {"params": meta["params"] | {"n_models": 3}}, arrays)


def test_bad_parameters_and_labels_are_refused_before_anything_is_learned(stream: Rows) -> None:
    for wrong in ({"n_models": 0}, {"max_features": "most"}, {"max_features": 1.5}, {"drift_delta": 1.0}):
        with pytest.raises(ValueError, match="does not hold"):
            new(stream, **wrong)
    model = new(stream, n_models=2)
    before = digest(model)
    with pytest.raises(ValueError, match=r"allowed are 0\.\.1"):
        model.score_learn(stream.numeric, stream.categories, np.full(3000, 2))
    assert digest(model) == before


def test_rivers_rules_for_how_many_attributes_a_leaf_draws() -> None:
    for wanted, count in (("sqrt", 3), ("log2", 3), (4, 4), (0.5, 5), (None, 10), (-3, 7), (0, 1), (99, 10), (-99, 1)):
        assert AdaptiveForest(6, 4, max_features=wanted).trees()[0].params.max_features == count


def test_poisson_chances_are_those_of_the_distribution() -> None:
    chances = poisson_chances(6.0)
    assert chances[0] == pytest.approx(np.exp(-6))
    counts = np.searchsorted(chances, np.random.default_rng(0).random(200_000), side="right")
    assert counts.mean() == pytest.approx(6, abs=0.02)
    assert counts.var() == pytest.approx(6, abs=0.1)
    assert len(poisson_chances(100.0)) < 250


def test_detectors_that_never_fire_leave_the_forest_as_without_them(stream: Rows) -> None:
    off = {"warning_delta": None, "drift_delta": None}
    still = new(stream, n_models=2, **off).score_learn(*stream)
    assert np.array_equal(new(stream, n_models=2, warning_delta=1e-300, drift_delta=1e-300).score_learn(*stream), still)
