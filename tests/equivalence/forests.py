"""Forests beside River's, given the same draws: `python -m tests.equivalence --only forests --rows 100000`.

River's random generator is replaced by `Draws`, which hands out ours: for a Poisson count of k, River's product of
uniforms is fed k ones and a zero; a sample is drawn as our kernel draws it. Streams have their attributes named so that
River's sorted order is the columns' order.
"""

import inspect
import math
import textwrap
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from river import datasets, drift, ensemble, forest, linear_model, tree
from river.datasets import synth

from benchmarks._rows import MANY_VALUES
from benchmarks._rows import flights as _flights
from stream.learn.forest import AdaptiveForest, AdwinBagging, Forest, RegressorForest
from stream.learn.forest.layout import poisson_chances, tree_seed
from tests.equivalence._table import Equal, difference
from tests.equivalence._tree_river import mended

MASK = 2**64 - 1


class Draws:
    """In place of `random.Random`: the draws of our trees, one after the other, as River goes through them."""

    def __init__(self, seed: int, trees: int, rate: float) -> None:
        self._seeds = [tree_seed(seed, at) for at in range(trees)]
        self._counts = [0] * trees
        self._chances = poisson_chances(rate).tolist()
        self._tree = -1
        self._ones: int | None = None

    def _uniform(self) -> float:
        self._counts[self._tree] += 1
        mixed = (self._seeds[self._tree] + self._counts[self._tree] * 0x9E3779B97F4A7C15) & MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & MASK
        return float((mixed ^ (mixed >> 31)) >> 11) * 2.0**-53

    def random(self) -> float:
        """One factor of River's product."""
        if self._ones is None:
            self._tree = (self._tree + 1) % len(self._seeds)
            drawn = self._uniform()
            self._ones = sum(drawn >= chance for chance in self._chances)
        if self._ones:
            self._ones -= 1
            return 1.0
        self._ones = None
        return 0.0

    def sample(self, population: list[str], k: int) -> list[str]:
        """k of the attributes, for a leaf of the tree whose turn it is."""
        pool = list(population)
        for at in range(k):
            other = at + int(self._uniform() * (len(pool) - at))
            pool[at], pool[other] = pool[other], pool[at]
        return pool[:k]


class Rows(NamedTuple):
    """numeric [n, f] with NaN for absent, categories [n, c] with 0 for absent, target [n], weight [n] or none."""

    numeric: NDArray[np.float64]
    categories: NDArray[np.uint64]
    target: NDArray[Any]
    weight: NDArray[np.float64] | None = None

    def weighted(self) -> "Rows":
        """With weights, of which some are no whole numbers."""
        rng = np.random.default_rng(8)
        return self._replace(weight=rng.choice([0.25, 0.5, 1.0, 2.0, 3.0], len(self.target)))

    def weights(self) -> list[dict[str, float]]:
        """For each row what River's `learn_one` is told of its weight."""
        if self.weight is None:
            return [{}] * len(self.target)
        return [{"w": weight} for weight in self.weight.tolist()]

    def dicts(self) -> list[dict[str, Any]]:
        """The rows as River takes them: what is missing is not there; the numbers sort before the categories."""
        return [
            {f"a{at:03}": value for at, value in enumerate(numbers) if math.isfinite(value)}
            | {f"c{at:03}": value for at, value in enumerate(values) if value}
            for numbers, values in zip(self.numeric.tolist(), self.categories.tolist(), strict=True)
        ]

    def nominal(self) -> list[str]:
        """Names of the categories."""
        return [f"c{at:03}" for at in range(self.categories.shape[1])]

    @property
    def classes(self) -> int:
        """How many labels."""
        return int(self.target.max()) + 1


def collect(stream: Iterator[Any], nominal: tuple[Any, ...], count: int) -> Rows:
    """The first `count` events as columns; nominal values move up by one, since 0 means absent."""
    taken = [next(stream) for _ in range(count)]
    numbers = [[float(v) for name, v in x.items() if name not in nominal] for x, _ in taken]
    values = [[int(x[name]) + 1 for name in nominal] for x, _ in taken]
    whole = all(isinstance(y, bool | int) for _, y in taken)
    return Rows(
        np.array(numbers).reshape(count, -1),
        np.array(values, np.uint64).reshape(count, -1),
        np.array([y for _, y in taken], np.int64 if whole else np.float64),
    )


def drifting(rows: int) -> Rows:
    """Agrawal's loans, whose rule changes twice; three nominal attributes; a tenth of the values is missing."""
    third = rows // 3
    parts = [
        collect(iter(synth.Agrawal(classification_function=f, seed=4 + f)), ("elevel", "car", "zipcode"), n)
        for f, n in ((0, third), (4, third), (7, rows - 2 * third))
    ]
    joined = Rows(*(np.concatenate(columns) for columns in zip(*(part[:3] for part in parts), strict=True)))
    rng = np.random.default_rng(3)
    joined.numeric[rng.random(joined.numeric.shape) < 0.1] = np.nan
    joined.categories[rng.random(joined.categories.shape) < 0.1] = 0
    joined.numeric[0], joined.categories[0] = 1.0, 1  # River counts the attributes of the first row
    return joined


def clusters(rows: int) -> Rows:
    """Four classes in moving clusters, six numbers."""
    stream = synth.RandomRBFDrift(
        seed_model=42, seed_sample=7, n_classes=4, n_features=6, n_centroids=20, change_speed=0.01, n_drift_centroids=10
    )
    return collect(iter(stream), (), rows)


def lights(rows: int) -> Rows:
    """Ten digits from seven lights and seventeen that tell nothing, with noise: nominal attributes alone."""
    stream = synth.LEDDrift(seed=112, noise_percentage=0.1, irrelevant_features=True, n_drift_features=4)
    return collect(iter(stream), tuple(range(24)), rows)


def flights(rows: int) -> Rows:
    """The example's flights through its encoder, without the flight and tail numbers: categories are 64-bit ids."""
    found = _flights(rows).without(*MANY_VALUES)
    return Rows(found.block.numeric, found.block.categories, found.label.astype(np.int64))


STREAMS: dict[str, Callable[[int], Rows]] = {
    "agrawal, drifting": drifting,
    "rbf, drifting": clusters,
    "led": lights,
    "flights": flights,
    "agrawal, drifting, weighted": lambda rows: drifting(rows).weighted(),
}


class Weighing:
    """River's adaptive forests take a weight and leave it out; this hands it to the trees, times the draw."""

    weight = 1.0

    def learn_one(self, x: dict[str, Any], y: Any, w: float = 1.0) -> None:
        """See River."""
        self.weight = w
        super().learn_one(x, y)  # type: ignore[misc]

    def _new_base_model(self) -> Any:
        made = super()._new_base_model()  # type: ignore[misc]
        learn_one = made.learn_one
        made.learn_one = lambda x, y, w: learn_one(x, y, w=w * self.weight)
        return made


class RiverForest(Weighing, forest.ARFClassifier):
    """River's adaptive forest, on our draws."""

    def __init__(self, seed: int = 0, **params: Any) -> None:
        super().__init__(seed=seed, **params)
        self._rng = Draws(seed, self.n_models, self.lambda_value)


class Numbers(linear_model.LinearRegression):
    """A leaf's model that leaves nominal attributes alone, as ours does."""

    def learn_one(self, x: dict[str, Any], y: float, w: float = 1.0) -> None:
        """See River."""
        super().learn_one({name: value for name, value in x.items() if name[0] == "a"}, y, w)

    def predict_one(self, x: dict[str, Any]) -> float:
        """See River."""
        return float(super().predict_one({name: value for name, value in x.items() if name[0] == "a"}))


class RiverRegressor(Weighing, forest.ARFRegressor):
    """River's adaptive forest for numbers, on our draws."""

    def __init__(self, seed: int = 0, **params: Any) -> None:
        super().__init__(seed=seed, leaf_model=Numbers(), **params)
        self._rng = Draws(seed, self.n_models, self.lambda_value)


def friedman(rows: int) -> Rows:
    """Friedman's function, which changes thrice, plus one of two nominal attributes; some values are missing."""
    stream = synth.FriedmanDrift(seed=5, drift_type="gra", position=(rows // 3, 2 * rows // 3), transition_window=50)
    found = collect(iter(stream), (), rows)
    rng = np.random.default_rng(1)
    numeric, categories = found.numeric, rng.integers(1, 5, (rows, 2)).astype(np.uint64)
    target = found.target + categories[:, 0]
    target[rows // 2 :] *= -1
    numeric[rng.random(numeric.shape) < 0.08] = np.nan
    categories[rng.random(categories.shape) < 0.08] = 0
    numeric[0], categories[0] = 0.5, 1
    return Rows(numeric, categories, target)


def planes(rows: int) -> Rows:
    """A plane that depends on the first of ten numbers, each -1, 0 or 1; it is turned over half-way."""
    found = collect(iter(synth.Planes2D(seed=3)), (), rows)
    found.target[rows // 2 :] *= -1
    return found


def trump(rows: int) -> Rows:
    """River's TrumpApproval, again and again: 1,001 days, six pollsters, one number of some hundred thousands."""
    return collect(cycle(datasets.TrumpApproval()), (), rows)


VALUES: dict[str, Callable[[int], Rows]] = {
    "friedman": friedman,
    "planes, turned over": planes,
    "trump approval, again and again": trump,
    "friedman, weighted": lambda rows: friedman(rows).weighted(),
}


def river_forest(rows: Rows, params: dict[str, Any], made: Any = RiverForest) -> Any:
    """River's forest for our parameters."""
    given = dict(params)
    for ours, theirs in (("warning_delta", "warning_detector"), ("drift_delta", "drift_detector")):
        if ours in given:
            delta = given.pop(ours)
            given[theirs] = drift.NoDrift() if delta is None else drift.ADWIN(delta=delta)
    return made(nominal_attributes=rows.nominal(), **given)


def river_bagging(rows: Rows, seed: int = 0, n_models: int = 10, **params: Any) -> ensemble.BaggingClassifier:
    """River's bagging of its trees, on our draws."""
    model = ensemble.BaggingClassifier(
        tree.HoeffdingTreeClassifier(nominal_attributes=rows.nominal(), **params), n_models=n_models
    )
    model._rng = Draws(seed, n_models, 1.0)
    return model


class RiverAdwin(ensemble.ADWINBaggingClassifier):
    """River's ADWIN bagging, shown errors instead of right answers; `log` has (row, tree) of each replacement."""

    def __init__(self, *args: Any, **params: Any) -> None:
        super().__init__(*args, **params)
        self.row, self.log = 0, list[tuple[int, int]]()

    def learn_one(self, x: dict[str, Any], y: Any, w: float = 1.0) -> None:
        """See River."""
        before = list(self.models)
        _adwin_step(self, x, y, w=w)
        self.log += [(self.row, at) for at, old in enumerate(before) if self.models[at] is not old]
        self.row += 1


def _mended_adwin() -> Any:
    """`ADWINBaggingClassifier.learn_one` with its one wrong comparison turned round."""
    source = textwrap.dedent(inspect.getsource(ensemble.ADWINBaggingClassifier.learn_one))
    assert source.count("int(y_pred == y)") == 1
    names = dict(vars(inspect.getmodule(ensemble.ADWINBaggingClassifier)))
    exec(source.replace("int(y_pred == y)", "int(y_pred != y)"), names)
    return names["learn_one"]


_adwin_step = _mended_adwin()


def river_adwin(rows: Rows, seed: int = 0, n_models: int = 10, adwin_delta: float = 0.002, **params: Any) -> RiverAdwin:
    """River's ADWIN bagging of its trees, on our draws."""
    model = RiverAdwin(tree.HoeffdingTreeClassifier(nominal_attributes=rows.nominal(), **params), n_models=n_models)
    model._rng = Draws(seed, n_models, 1.0)
    model._drift_detectors = [drift.ADWIN(adwin_delta) for _ in range(n_models)]
    return model


def happenings(model: Any) -> list[tuple[int, int]]:
    """Warnings and drifts of each tree so far."""
    return [(model.n_warnings_detected(at), model.n_drifts_detected(at)) for at in range(model.n_models)]


def run_river(model: Any, rows: Rows) -> tuple[NDArray[np.float64], list[Any]]:
    """Scores [n, classes], and (row, each tree's warnings and drifts) wherever these changed."""
    scores = np.zeros((len(rows.target), rows.classes))
    adaptive = isinstance(model, forest.ARFClassifier)
    log: list[Any] = []
    for row, (x, y, w) in enumerate(zip(rows.dicts(), rows.target.tolist(), rows.weights(), strict=True)):
        for label, share in model.predict_proba_one(x).items():
            scores[row, label] = share
        model.learn_one(x, y, **w)
        if adaptive:
            now = happenings(model)
            if (log[-1][1] if log else [(0, 0)] * len(now)) != now:
                log.append((row, now))
    return scores, log


def shape(node: Any, numbers: int) -> Any:
    """A River tree as nested tuples of (attribute, threshold or values, children)."""
    if node is None or not hasattr(node, "children"):
        return None
    at = int(node.feature[1:]) + (numbers if node.feature[0] == "c" else 0)
    test = getattr(node, "threshold", None)
    if test is None:
        test = tuple(getattr(node, "_mapping", None) or (node.value,))
    return at, test, [shape(child, numbers) for child in node.children]


def our_shape(model: Any, node: int = 0) -> Any:
    """One of our trees likewise."""
    from stream.learn.tree import describe
    from stream.learn.tree.layout import BRANCH, EQUAL, KIND, LEAF, NUMERIC, TEST, THRESHOLD

    state = model._state
    kind = state.node_int[node, KIND]
    if kind == LEAF:
        return None
    below = list(describe.children(state, node))
    test: Any = tuple(int(state.node_id[child, BRANCH]) for child in below)
    if kind == NUMERIC:
        test = float(state.node_real[node, THRESHOLD])
    elif kind == EQUAL:
        test = (int(state.node_id[node, TEST]),)
    return int(state.node_int[node, 1]), test, [our_shape(model, child) for child in below]


def line(name: str, rows: Rows, model: str, params: dict[str, Any]) -> Equal:
    """One stream, one model: the largest differences."""
    kinds: dict[str, Any] = {
        "forest.bagging": (Forest, river_bagging),
        "forest.adwin_bagging": (AdwinBagging, river_adwin),
        "forest.adaptive": (AdaptiveForest, lambda rows, **params: river_forest(rows, params)),
    }
    made, theirs_made = kinds[model]
    ours = made(rows.numeric.shape[1], rows.categories.shape[1], rows.classes, **params)
    theirs = theirs_made(rows, **params)
    begin = time.perf_counter()
    with mended(False):  # a class that a leaf was handed with weight 0 is near certain to River
        wanted, log = run_river(theirs, rows)
    middle = time.perf_counter()
    scores = ours.score_learn(*rows)
    end = time.perf_counter()
    same = all(
        our_shape(mine) == shape(other._root, rows.numeric.shape[1])
        for mine, other in zip(ours.trees(), theirs, strict=True)
    )
    if log:
        same &= log[-1][1] == [(int(g.record.counts[2]), int(g.record.counts[3])) for g in ours.growers]
    if isinstance(theirs, RiverAdwin):
        replaced = [sum(at == tree for _, at in theirs.log) for tree in range(theirs.n_models)]
        same &= replaced == [int(g.record.counts[3]) for g in ours.growers]
    apart = difference(scores.ravel().tolist(), wanted.ravel().tolist())
    return Equal(name, model, len(scores), apart, 0.0 if same else math.inf, middle - begin, end - middle)


def plan(rows: int) -> list[tuple[str, Callable[[], Equal]]]:
    """Every stream with its forests of ten trees; River's forest takes a second for some hundred rows."""
    count, seed = min(rows, 100_000), {"seed": 5}
    classes: list[tuple[str, Callable[[], Equal]]] = [
        (
            f"{model} on {name}",
            partial(lambda name, make, model: line(name, make(count), model, seed), name, make, model),
        )
        for name, make in STREAMS.items()
        for model in ("forest.adaptive", "forest.bagging", "forest.adwin_bagging")
    ]
    values: list[tuple[str, Callable[[], Equal]]] = [
        (f"forest.regressor on {name}", partial(lambda name, make: numbers(make(count), seed, name), name, make))
        for name, make in VALUES.items()
    ]
    return classes + values


def numbers(rows: Rows, params: dict[str, Any], name: str = "friedman") -> Equal:
    """The regressor's line; its weights column compares warnings and drifts."""
    ours = RegressorForest(rows.numeric.shape[1], rows.categories.shape[1], **params)
    theirs = river_forest(rows, params, RiverRegressor)
    begin = time.perf_counter()
    wanted = []
    for x, y, w in zip(rows.dicts(), rows.target.tolist(), rows.weights(), strict=True):
        wanted.append(theirs.predict_one(x))
        theirs.learn_one(x, y, **w)
    middle = time.perf_counter()
    scores = ours.score_learn(*rows)
    end = time.perf_counter()
    same = happenings(theirs) == [(int(g.record.counts[2]), int(g.record.counts[3])) for g in ours.growers]
    apart = difference(scores.tolist(), wanted)
    return Equal(name, "forest.regressor", len(scores), apart, 0.0 if same else math.inf, middle - begin, end - middle)
