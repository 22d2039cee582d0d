"""The compiled tree is River's tree, one event at a time, and its state is a function of the rows alone."""

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, islice, pairwise, repeat
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from river import datasets, tree
from river.datasets import synth
from river.tree.nodes import htc_nodes
from river.tree.splitter.nominal_splitter_classif import NominalSplitterClassif
from river.tree.utils import BranchFactory

from stream.errors import SnapshotError
from stream.jit import OPTIONS
from stream.learn.tree import HoeffdingTree, layout, warm
from stream.learn.tree.bayes import likeliest
from stream.learn.tree.layout import BAYES_RIGHT, MAJORITY_RIGHT

EAGER = {"grace_period": 50, "delta": 1e-2, "tau": 0.2}


class Rows(NamedTuple):
    numeric: NDArray[np.float64]
    categories: NDArray[np.uint64]
    target: NDArray[np.int64]
    weight: NDArray[np.float64] | None = None

    def cut(self, begin: int, end: int) -> "Rows":
        return Rows(*(None if column is None else column[begin:end] for column in self))

    @property
    def classes(self) -> int:
        return int(self.target.max()) + 1


def collect(events: Iterator[tuple[dict[Any, Any], Any]], nominal: tuple[Any, ...], count: int) -> Rows:
    """The first `count` events as columns; nominal values move up by one, since 0 means absent."""
    taken = list(islice(events, count))
    labels = {label: index for index, label in enumerate(sorted({label for _, label in taken}))}
    numbers = [[float(value) for name, value in x.items() if name not in nominal] for x, _ in taken]
    values = [[int(x[name]) + 1 for name in nominal] for x, _ in taken]
    return Rows(
        np.array(numbers).reshape(len(taken), -1),
        np.array(values, np.uint64).reshape(len(taken), -1),
        np.array([labels[label] for _, label in taken], np.int64),
    )


def sea() -> Rows:
    return collect(iter(synth.SEA(seed=1)), (), 10_000)


def agrawal() -> Rows:
    stream = synth.Agrawal(classification_function=7, seed=4, perturbation=0.1)
    return collect(iter(stream), ("elevel", "car", "zipcode"), 10_000)


def led() -> Rows:
    return collect(iter(synth.LED(seed=112, noise_percentage=0.1)), tuple(range(7)), 10_000)


def rbf() -> Rows:
    stream = synth.RandomRBF(seed_model=42, seed_sample=7, n_classes=4, n_features=6, n_centroids=30)
    return collect(iter(stream), (), 10_000)


def phishing() -> Rows:
    nominal = ("empty_server_form_handler", "ip_in_url")
    again = chain.from_iterable(repeat(datasets.Phishing()))
    events = (({name: 2 * value for name, value in x.items()}, y) for x, y in again)
    return collect(events, nominal, 10_000)


def ragged(weights: Callable[[np.random.Generator, int], NDArray[np.float64]] | None, rows: Rows) -> Rows:
    """`rows` less a sixth of the values; one nominal column more, which meets new values; and weights."""
    rng = np.random.default_rng(5)
    count = len(rows.target)
    numeric, categories = rows.numeric.copy(), rows.categories.copy()
    numeric[rng.random(numeric.shape) < 1 / 6] = np.nan
    era = np.arange(count) // 1500
    late = np.where(rng.random(count) < 0.2, 3 * era, 0)
    growing = rng.integers(1, 4, count) + late
    target = np.where((growing % 3 == 0) & (rng.random(count) < 0.7), 0, rows.target)
    categories = np.hstack([categories, growing.astype(np.uint64)[:, None]])
    categories[rng.random(categories.shape) < 1 / 6] = 0
    return Rows(numeric, categories, target, None if weights is None else weights(rng, count))


def whole_weights(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.integers(1, 4, count).astype(np.float64)


def fractions(rng: np.random.Generator, count: int) -> NDArray[np.float64]:
    return rng.random(count) * 2 + 0.01


def as_dicts(rows: Rows) -> list[dict[str, Any]]:
    """The rows as River takes them: what is missing is not there."""
    numeric, categories = rows.numeric.tolist(), rows.categories.tolist()
    return [
        {f"x{at}": value for at, value in enumerate(numbers) if math.isfinite(value)}
        | {f"c{at}": value for at, value in enumerate(values) if value}
        for numbers, values in zip(numeric, categories, strict=True)
    ]


class River(tree.HoeffdingTreeClassifier):
    """River's tree, with a list of its splits."""

    def __init__(self, rows: Rows, **params: Any) -> None:
        numbers, nominal = rows.numeric.shape[1], rows.categories.shape[1]
        super().__init__(nominal_attributes=[f"c{at}" for at in range(nominal)], **params)
        self._numbers, self.row, self.splits = numbers, 0, []

    def _attempt_to_split(self, leaf: Any, parent: Any, branch: Any, **kwargs: Any) -> None:
        super()._attempt_to_split(leaf, parent, branch, **kwargs)
        node = self._root if parent is None else parent.children[branch]
        if node is not leaf:
            attribute = int(node.feature[1:]) + (self._numbers if node.feature[0] == "c" else 0)
            threshold = getattr(node, "threshold", None)
            values = () if threshold is not None else tuple(getattr(node, "_mapping", None) or (node.value,))
            self.splits.append((self.row, attribute, threshold, values))


def run_river(rows: Rows, **params: Any) -> tuple[NDArray[np.float64], list[Any]]:
    model = River(rows, **params)
    scores = np.zeros((len(rows.target), rows.classes))
    weights = repeat(1.0) if rows.weight is None else rows.weight.tolist()
    for row, (x, y, w) in enumerate(zip(as_dicts(rows), rows.target.tolist(), weights, strict=False)):
        model.row = row
        for label, share in model.predict_proba_one(x).items():
            scores[row, label] = share
        model.learn_one(x, y, w=w)
    return scores, model.splits


def new(rows: Rows, **params: Any) -> HoeffdingTree:
    return HoeffdingTree(rows.numeric.shape[1], rows.categories.shape[1], rows.classes, **params)


def digest(model: HoeffdingTree) -> str:
    whole = hashlib.sha256()
    for name, array in sorted(model.arrays().items()):
        whole.update(name.encode() + str(array.shape).encode() + array.tobytes())
    return whole.hexdigest()


def assert_equals_river(rows: Rows, splits_at_least: int, **params: Any) -> HoeffdingTree:
    wanted, wanted_splits = run_river(rows, **params)
    model = new(rows, **params)
    scores = model.score_learn(*rows)
    splits = [(split.row, split.attribute, split.threshold, split.categories) for split in model.split_log()]
    assert splits == wanted_splits
    assert np.abs(scores - wanted).max() <= 1e-9
    assert len(splits) >= splits_at_least
    return model


@pytest.fixture
def _mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """River without the two defects that docs/decisions/tree-equivalence.md describes."""
    ask, offer = htc_nodes.do_naive_bayes_prediction, NominalSplitterClassif.best_evaluated_split_suggestion

    def without_weightless(x: Any, weights: dict[Any, float], splitters: Any) -> dict[Any, float]:
        votes = ask(x, {label: weight for label, weight in weights.items() if weight > 0}, splitters)
        return {label: votes.get(label, 0.0) for label in weights} if votes else votes

    def only_real_splits(self: Any, *args: Any) -> BranchFactory:
        best = offer(self, *args)
        return best if best.merit > -math.inf else BranchFactory()

    monkeypatch.setattr(htc_nodes, "do_naive_bayes_prediction", without_weightless)
    monkeypatch.setattr(NominalSplitterClassif, "best_evaluated_split_suggestion", only_real_splits)


@pytest.mark.parametrize(
    ("rows", "splits", "params"),
    [
        (sea, 3, {}),
        (sea, 10, {"split_criterion": "gini", "grace_period": 50, "delta": 1e-3}),
        (agrawal, 3, {}),
        (agrawal, 5, {"leaf_prediction": "mc", "split_criterion": "hellinger", **EAGER}),
        (led, 10, {"binary_split": True, **EAGER}),
        (rbf, 100, {"grace_period": 40, "delta": 1e-1, "tau": 0.3}),
        (
            rbf,
            5,
            {"max_depth": 3, "max_share_to_split": 0.8, "leaf_prediction": "nb", "nb_threshold": 30, **EAGER},
        ),
        (phishing, 10, {"merit_preprune": False, "min_branch_fraction": 0.05, **EAGER}),
    ],
)
def test_splits_and_probabilities_are_rivers_at_every_event(
    rows: Callable[[], Rows], splits: int, params: dict[str, Any]
) -> None:
    assert_equals_river(rows(), splits, **params)


@pytest.mark.parametrize(("rows", "splits"), [(agrawal, 30), (rbf, 50)])
@pytest.mark.parametrize("leaf_prediction", ["nb", "nba"])
def test_missing_values_new_categories_and_weights_go_where_river_sends_them(
    rows: Callable[[], Rows], splits: int, leaf_prediction: str
) -> None:
    stream = ragged(whole_weights, rows())
    model = assert_equals_river(stream, splits, leaf_prediction=leaf_prediction, **EAGER)
    late = [split for split in model.split_log() if len(split.categories) > 1]
    assert late, "the stream must make multiway splits"
    assert model.stats()["nodes"] > 1 + sum(max(2, len(split.categories)) for split in model.split_log())


@pytest.mark.usefixtures("_mended")
@pytest.mark.parametrize("rows", [rbf, led])
def test_weights_that_are_not_whole_agree_with_river_but_for_its_defects(rows: Callable[[], Rows]) -> None:
    assert_equals_river(ragged(fractions, rows()), 10, **EAGER)


@pytest.mark.usefixtures("_mended")
def test_nominal_attributes_alone_agree_with_river_but_for_its_defects() -> None:
    assert_equals_river(led(), 20, **EAGER)


def test_hundreds_of_categories_agree_with_river() -> None:
    rng = np.random.default_rng(3)
    values = rng.zipf(1.3, (3000, 1)).clip(1, 600)
    target = ((values[:, 0] == 2) ^ (rng.random(3000) < 0.1)).astype(np.int64)
    assert len(np.unique(values)) > 256
    rows = Rows(rng.normal(size=(3000, 1)), values.astype(np.uint64), target)
    assert_equals_river(rows, 1, binary_split=True, grace_period=400, delta=1e-2, tau=0.3)


def test_a_leaf_counts_as_right_what_river_does_where_rounding_breaks_a_tie() -> None:
    rng = np.random.default_rng(1)
    wanted, found = [], []
    for _ in range(40):
        met = rng.integers(1, 30, 5)  # how many of a class's 30 rows have value 1; class 1 has them one attribute on
        first = [np.where(np.arange(30)[:, None] < np.roll(met, label), 1, 2) for label in range(2)]
        values = np.vstack([*first, np.ones((1, 5))]).astype(np.uint64)
        rows = Rows(np.zeros((61, 0)), values, np.array([0] * 30 + [1] * 31))
        river = River(rows, grace_period=1e9)
        for x, y in zip(as_dicts(rows), rows.target.tolist(), strict=True):
            river.predict_proba_one(x)
            river.learn_one(x, y)
        model = new(rows, grace_period=1e9)
        model.score_learn(*rows)
        wanted.append([river._root._mc_correct_weight, river._root._nb_correct_weight])
        found.append(model.arrays()["node_real"][0, [MAJORITY_RIGHT, BAYES_RIGHT]].tolist())
    assert found == wanted
    assert len({right for _, right in wanted}) > 1


def test_of_votes_whose_probabilities_round_to_the_same_the_class_seen_first_is_the_likeliest() -> None:
    ask = numba.njit(lambda state, votes: likeliest(state, 0, votes), **OPTIONS)
    state = layout.allocate(0, 0, 2, nodes=1, slots=1, entries=1)
    state.class_order[0], state.node_int[0, layout.SEEN] = [1, 0], 2
    assert ask(state, np.array([np.nextafter(-0.1, 0), -0.1])) == 1
    assert ask(state, np.array([-0.1, -0.2])) == 0


def test_shares_whose_product_is_too_low_for_a_float_make_rivers_probabilities() -> None:
    rng = np.random.default_rng(4)
    values, target = rng.integers(1, 61, (300, 200)).astype(np.uint64), rng.integers(0, 2, 300)
    rows = Rows(np.zeros((300, 0)), values, target)
    assert_equals_river(rows, 0, leaf_prediction="nb", grace_period=1e9)


def test_small_arrays_quadruple_and_large_ones_double_within_the_bounds() -> None:
    state = layout.allocate(1, 1, 2, nodes=16, slots=256, entries=4)
    assert layout.capacity(state, (17, 257, 5), (10_000, 10_000, 7)) == [64, 512, 7]
    assert layout.capacity(state, (16, 256, 40), (10_000, 10_000, 7)) == [16, 256, 40]


def test_a_class_without_weight_is_never_predicted_though_river_is_sure_of_it() -> None:
    numeric = np.array([[0.0], [1.0], [0.2], [0.8]] + [[0.1], [0.9]] * 60)
    target = np.array([2, 2] + [0, 1] * 61)
    rows = Rows(numeric, np.zeros((124, 0), np.uint64), target, np.where(target == 2, 0.3, 1.0))
    params = {"grace_period": 40, "delta": 0.5, "tau": 1.0, "leaf_prediction": "nb"}
    river, _ = run_river(rows, **params)
    scores = new(rows, **params).score_learn(*rows)
    assert river[60:, 2].max() >= 0.5
    assert scores[60:, 2].max() < 0.05


def test_a_leaf_never_splits_into_a_single_branch_though_river_does() -> None:
    rng = np.random.default_rng(0)
    rows = Rows(np.zeros((2000, 0)), np.full((2000, 1), 9, np.uint64), rng.integers(0, 2, 2000))
    _, river = run_river(rows, **EAGER)
    model = new(rows, **EAGER)
    model.score_learn(*rows)
    assert len(river) > 10
    assert model.split_log() == []


@pytest.fixture(scope="module")
def stream() -> Rows:
    return ragged(fractions, agrawal()).cut(0, 4000)


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 4000), max_size=12), score_between=st.booleans())
def test_the_state_does_not_depend_on_how_the_stream_is_cut(stream: Rows, cuts: list[int], score_between: bool) -> None:
    at_once, in_blocks = new(stream, **EAGER), new(stream, **EAGER)
    wanted = at_once.score_learn(*stream)
    edges = [0, *sorted(cuts), 4000]
    scores = []
    for begin, end in pairwise(edges):
        scores.append(in_blocks.score_learn(*stream.cut(begin, end)))
        if score_between:
            in_blocks.score(stream.numeric[:50], stream.categories[:50])
    assert np.array_equal(np.vstack(scores), wanted)
    assert digest(at_once) == digest(in_blocks)
    assert len(at_once.split_log()) >= 10


@pytest.mark.parametrize("stop", [0, 1, 777, 2000, 3999])
def test_a_restored_tree_goes_on_bit_for_bit(stream: Rows, stop: int) -> None:
    model = new(stream, **EAGER)
    model.score_learn(*stream.cut(0, stop))
    again = HoeffdingTree.restore(json.loads(json.dumps(model.meta())), model.arrays())
    assert digest(again) == digest(model)
    rest = stream.cut(stop, 4000)
    assert np.array_equal(again.score_learn(*rest), model.score_learn(*rest))
    assert digest(again) == digest(model)
    assert again.meta() == model.meta()


def test_a_snapshot_of_another_version_or_shape_is_refused(stream: Rows) -> None:
    model = new(stream)
    with pytest.raises(SnapshotError, match="wanted 1"):
        HoeffdingTree.restore(model.meta() | {"version": 2}, model.arrays())
    with pytest.raises(SnapshotError, match="slot_int"):
        HoeffdingTree.restore(model.meta() | {"numeric": 2}, model.arrays())


def test_scoring_never_learns_and_is_what_learning_would_have_scored(stream: Rows) -> None:
    model = new(stream, **EAGER)
    model.score_learn(*stream.cut(0, 3000))
    before = digest(model)
    ahead = model.score(stream.numeric[3000:3001], stream.categories[3000:3001])
    model.score(stream.numeric, stream.categories)
    assert digest(model) == before
    assert np.array_equal(ahead, model.score_learn(*stream.cut(3000, 3001)))


def test_many_threads_may_score_one_tree(stream: Rows) -> None:
    model = new(stream, **EAGER)
    model.score_learn(*stream)
    wanted = model.score(stream.numeric, stream.categories)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: model.score(stream.numeric, stream.categories), range(8)))
    assert all(np.array_equal(answer, wanted) for answer in answers)


def test_inputs_stay_as_they_are_and_may_be_read_only(stream: Rows) -> None:
    kept = Rows(*(column.copy() for column in stream))
    frozen = Rows(*(column.copy() for column in stream))
    for column in frozen:
        column.flags.writeable = False
    one, other = new(stream), new(stream)
    assert np.array_equal(one.score_learn(*stream), other.score_learn(*frozen))
    assert all(np.array_equal(a, b, equal_nan=a.dtype == np.float64) for a, b in zip(stream, kept, strict=True))


def test_two_processes_reach_the_same_bytes(stream: Rows) -> None:
    script = (
        "from tests.unit.test_learn_tree import *\n"
        "rows = ragged(fractions, agrawal()).cut(0, 4000)\n"
        "model = new(rows, **EAGER); model.score_learn(*rows); print(digest(model))"
    )
    model = new(stream, **EAGER)
    model.score_learn(*stream)
    environment = os.environ | {"PYTHONHASHSEED": "77", "PYTHONPATH": str(Path.cwd())}
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert other.stdout.strip() == digest(model)


def test_a_single_class_gives_certainty_and_no_split() -> None:
    rows = Rows(
        np.random.default_rng(0).normal(size=(2000, 2)),
        np.ones((2000, 1), np.uint64),
        np.zeros(2000, np.int64),
    )
    model = HoeffdingTree(2, 1, 2, **EAGER)
    scores = model.score_learn(*rows)
    assert scores[0].tolist() == [0.0, 0.0]
    assert np.abs(scores[1:] - [1.0, 0.0]).max() <= 1e-15
    assert model.split_log() == []


def test_extreme_values_neither_crash_nor_leave_nan_in_the_answers() -> None:
    rng = np.random.default_rng(2)
    extremes = np.array([1e300, -1e300, 1.7e308, -1.7e308, 5e-324, 0.0, 1e150, -1e150, 1.0])
    numeric = np.column_stack([rng.choice(extremes, (3000, 3)), np.zeros(3000), rng.normal(size=3000) * 1e-160])
    numeric[:, 1] = np.where(rng.random(3000) < 0.99, rng.normal(size=3000), 1e160)
    rows = Rows(numeric, np.zeros((3000, 0), np.uint64), rng.integers(0, 3, 3000))
    for leaf_prediction in ("nb", "nba", "mc"):
        scores = new(rows, leaf_prediction=leaf_prediction, **EAGER).score_learn(*rows)
        assert np.isfinite(scores).all()
        assert np.allclose(scores[1:].sum(axis=1), 1.0)


def test_votes_too_low_for_a_float_still_make_a_distribution() -> None:
    rng = np.random.default_rng(2)
    model = HoeffdingTree(4, 0, 2, leaf_prediction="nb")
    none = np.zeros((100, 0), np.uint64)
    model.score_learn(rng.normal(size=(100, 4)) * 1e-4, none, rng.integers(0, 2, 100))
    far = np.full((1, 4), 1.2e150)
    assert model.score(far, none[:1]).sum() == pytest.approx(1.0)


def test_an_infinite_number_is_missing_and_counted() -> None:
    rows = sea().cut(0, 3000)
    holes, infinite = rows.numeric.copy(), rows.numeric.copy()
    holes[::7, 1] = np.nan
    infinite[::7, 1] = np.inf
    infinite[::14, 1] = -np.inf
    one, other = new(rows, **EAGER), new(rows, **EAGER)
    scores = one.score_learn(holes, rows.categories, rows.target)
    assert np.array_equal(scores, other.score_learn(infinite, rows.categories, rows.target))
    assert (one.stats()["infinite"], other.stats()["infinite"]) == (0, 429)


def test_a_row_of_weight_zero_is_scored_and_not_learned(stream: Rows) -> None:
    model = new(stream, **EAGER)
    model.score_learn(*stream.cut(0, 2000))
    before = model.arrays()
    scores = model.score_learn(*stream.cut(2000, 2100)._replace(weight=np.zeros(100)))
    after = model.arrays()
    assert np.array_equal(scores, model.score(stream.numeric[2000:2100], stream.categories[2000:2100]))
    assert [name for name in before if not np.array_equal(before[name], after[name])] == ["counters"]
    assert model.stats()["unweighted_rows"] == 100


def test_growth_stops_at_the_node_cap_and_the_tree_goes_on_learning(stream: Rows) -> None:
    model = new(stream, max_nodes=12, **EAGER)
    model.score_learn(*stream.cut(0, 2000))
    before = digest(model)
    model.score_learn(*stream.cut(2000, 4000))
    stats = model.stats()
    assert stats["nodes"] <= 12
    assert stats["splits_refused"] > 0
    assert digest(model) != before
    assert np.isfinite(model.score(stream.numeric, stream.categories)).all()


def test_a_new_branch_beyond_the_cap_is_refused_and_its_rows_take_the_heaviest_way() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 4, (1500, 1)).astype(np.uint64)
    late = np.arange(100, 1600, dtype=np.uint64)[:, None]
    target = (values[:, 0] == 2).astype(np.int64)
    rows = Rows(np.zeros((1500, 0)), values, target)
    model = new(rows, max_nodes=4, **EAGER)
    model.score_learn(*rows)
    assert [len(split.categories) for split in model.split_log()] == [3]
    model.score_learn(rows.numeric, late, target)
    assert (model.stats()["nodes"], model.stats()["branches_refused"]) == (4, 1500)
    assert model.arrays()["node_real"][1:, 1].sum() == pytest.approx(3000)


@pytest.mark.parametrize("grace_period", [50, 10_000])
def test_observers_never_hold_more_than_their_bytes_and_what_is_dropped_is_counted(grace_period: int) -> None:
    rng = np.random.default_rng(1)
    rows = Rows(
        rng.normal(size=(6000, 2)),
        rng.integers(1, 2**63, (6000, 1), dtype=np.uint64),
        rng.integers(0, 2, 6000),
    )
    cap = 20_000
    model = new(rows, max_observer_bytes=cap, **(EAGER | {"grace_period": grace_period}))
    for begin in range(0, 6000, 500):
        model.score_learn(*rows.cut(begin, begin + 500))
        assert model.stats()["observer_bytes"] <= cap
    arrays = model.arrays()
    held = sum(arrays[name].nbytes for name in arrays if name.startswith(("slot", "gauss", "cat", "entry")))
    assert held <= 1.1 * cap
    assert model.stats()["values_dropped"] > 0
    state, rules = model._state, model._rules
    assert len(state.entry_int) <= cap // rules.entry_bytes + 3
    assert len(state.slot_int) <= cap // rules.slot_bytes + 2


def test_freed_observers_are_zero_and_used_again(stream: Rows) -> None:
    model = new(stream, **EAGER)
    model.score_learn(*stream)
    arrays, stats = model.arrays(), model.stats()
    live = np.unique(arrays["node_int"][:, 7])
    dead = np.setdiff1d(np.arange(len(arrays["gauss"])), live)
    assert not arrays["gauss"][dead].any()
    assert not arrays["cat_int"][dead].any()
    owned = arrays["entry_int"][:, 0] != 0
    assert not arrays["entry_weight"][~owned].any()
    assert len(live) - 1 == stats["active_leaves"]
    assert len(arrays["gauss"]) <= stats["leaves"] + 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"target": np.full(10, 9)}, "target 9..9: allowed are 0..1"),
        ({"weight": np.full(10, -1.0)}, "weight"),
        ({"weight": np.full(10, np.nan)}, "weight"),
        ({"numeric": np.zeros((10, 3))}, r"numeric: float64\[10, 3\], wanted float64\[10, 2\]"),
        ({"numeric": np.zeros((10, 2), np.float32)}, "numeric"),
        ({"categories": np.zeros((9, 1), np.uint64)}, "categories"),
    ],
)
def test_bad_input_is_refused_before_anything_is_learned(change: dict[str, Any], message: str) -> None:
    model = HoeffdingTree(2, 1)
    before = digest(model)
    good = {
        "numeric": np.zeros((10, 2)),
        "categories": np.zeros((10, 1), np.uint64),
        "target": np.zeros(10, np.int64),
    }
    with pytest.raises(ValueError, match=message):
        model.score_learn(**(good | change))
    assert digest(model) == before


def test_parameters_out_of_range_are_refused() -> None:
    for wrong in ({"delta": 0.0}, {"grace_period": 0}, {"leaf_prediction": "x"}, {"max_observer_bytes": 8}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            HoeffdingTree(2, 1, **wrong)


def test_the_text_names_attributes_and_categories() -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(1, 3, (2000, 1)).astype(np.uint64)
    target = ((values[:, 0] == 2) & (rng.random(2000) < 0.9)).astype(np.int64)
    rows = Rows(rng.normal(size=(2000, 1)), values, target)
    model = new(rows, **EAGER)
    model.score_learn(*rows)
    lines = model.text(["height", "colour"], {1: "red", 2: "blue"}.__getitem__).splitlines()
    assert lines[0].startswith("colour = red: class 0 1.000")
    assert any(line.startswith("colour = blue") for line in lines)
    assert HoeffdingTree(1, 1).text(["height", "colour"]) == "nothing seen\n"


def test_an_empty_block_changes_nothing_and_warming_up_is_repeatable() -> None:
    warm()
    model = HoeffdingTree(2, 1, 3)
    before = digest(model)
    assert model.score_learn(np.zeros((0, 2)), np.zeros((0, 1), np.uint64), np.zeros(0, np.int64)).shape == (
        0,
        3,
    )
    assert digest(model) == before
