"""Trees and forests as an ONNX graph: one ensemble finds each tree's leaf, tables say what the leaf answers.

Everything is computed in float64, since a leaf's number is all that the ensemble, which answers in float32, has to
give. Naive Bayes and linear models in leaves are computed for the row; votes are put together as the forest does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import F64, Layout
from stream.errors import DataError
from stream.export.categories import Categories
from stream.export.graph import Graph
from stream.export.leaves import Arrays, Bayes, bayes, by_bayes, class_shares, models
from stream.export.walk import Ensemble, attributes
from stream.learn.adaptive.layout import ALTERNATE, TOP
from stream.learn.forest.layout import JUDGED, RIGHT
from stream.learn.forest.pack import parted
from stream.learn.forest.regress_kernel import SQUARED
from stream.learn.learner import State
from stream.learn.standard import SCALE
from stream.learn.tree.layout import ATTRIBUTE, BRANCH, EQUAL, KIND, MULTIWAY, OWNER, PARENT, TEST

ABSENT, OTHER, UNNAMED = 0, -1, -2  # codes of no value, of one that the trees don't know, of one without a name
LOWEST = -1e300  # as in stream/learn/tree/bayes.py: log votes go no lower


@dataclass(frozen=True, slots=True)
class Grown:
    """The trees that vote. weights: of each tree's vote, None where a median is taken."""

    trees: list[tuple[Arrays, int]]  # arrays, root
    params: Mapping[str, Any]
    weights: F64 | None


def grown_of(state: State) -> Grown:
    """The trees in the state of a tree or a forest. Raises DataError for one that can't be exported as it is."""
    arrays = state.arrays
    if SCALE in arrays:
        raise DataError("its numbers are scaled before the tree; one with `scale: none` can be exported")
    if state.meta["kind"] != "forest":
        meta = state.meta["tree"]
        root = int(arrays["counters"][TOP]) if "node_link" in arrays else 0
        if "node_link" in arrays and (growing := int((arrays["node_link"][:, ALTERNATE] != 0).sum())):
            raise DataError(
                f"{growing} alternate trees vote beside the tree for now, and ONNX has no way to say that; export a "
                "snapshot made before they started, or after they took over or were dropped"
            )
        return Grown([(arrays, root)], meta["params"], np.ones(1))
    meta = state.meta["forest"]
    each = parted({name: a for name, a in arrays.items() if not name.startswith("member_")})
    return Grown([(tree, 0) for tree in each[::2]], meta["params"], _votes(meta, arrays))


def _votes(meta: Mapping[str, Any], arrays: Arrays) -> F64 | None:
    """The weight of each tree's vote, as `Forest._combine` has it."""
    params, counts = meta["params"], arrays["member_counts"]
    if meta["format"] == "regressor-forest":
        if params["aggregation_method"] == "median":
            return None
        shares = np.ones(len(counts))
        if not params["disable_weighted_vote"]:
            errors = arrays["member_errors"][:, SQUARED]
            shares = errors.sum() - errors
            shares = shares if shares.sum() > 0 else np.ones(len(counts))
        return np.asarray(shares / shares.sum())
    if params.get("disable_weighted_vote", True):  # bagging has no weights
        return np.ones(len(counts))
    judged = counts[:, JUDGED]
    right = np.where(judged > 0, counts[:, RIGHT] / np.maximum(judged, 1), 0.0)
    return np.where(right > 0, right, 1.0)


class TreeGraph:
    """Builds the graph of one export."""

    def __init__(self, graph: Graph, layout: Layout, categories: Categories, grown: Grown) -> None:
        self._graph, self._layout, self._categories, self._grown = graph, layout, categories, grown
        self._numeric = len(layout.numeric)
        self._values = _values(grown, self._numeric, len(layout.categories))
        self._codes: list[str] = []
        self._x = ""

    def classes(self, task: str) -> str:
        """The name of the score of a classifier: float64[n], or [n, k]."""
        g, leaf, leaves = self._graph, *self._leaf()
        params = self._grown.params
        shares = np.concatenate([class_shares(a, found) for a, found in leaves])
        votes = g.op("Gather", g.constant(shares), leaf, axis=0)  # [n, trees, k]
        mode, threshold = params["leaf_prediction"], params["nb_threshold"]
        flags = [by_bayes(a, found, mode, threshold) for a, found in leaves]
        if any(flag.any() for flag in flags):
            votes = self._with_bayes(votes, leaf, leaves, flags)
        weights = self._grown.weights
        assert weights is not None
        total = g.total(g.op("Mul", votes, g.constant(weights[:, None])), 1)
        sums = g.op("ReduceSum", total, g.constant(np.array([1])), keepdims=1)
        nothing = g.constant(np.array(0.0))
        some = g.op("Where", g.op("Greater", sums, nothing), sums, g.constant(np.array(1.0)))
        scores = g.op("Div", total, some)
        return g.pick(scores, 1, 1) if task == "binary" else scores

    def values(self) -> str:
        """The name of the score of a regressor: float64[n]."""
        g, leaf, leaves = self._graph, *self._leaf()
        found = [models(a, at, self._grown.params["leaf_prediction"]) for a, at in leaves]
        votes = g.op("Gather", g.constant(np.concatenate([intercept for _, intercept in found])), leaf, axis=0)
        weights = np.concatenate([w for w, _ in found])
        if weights.any():
            own = g.op("Gather", g.constant(weights), leaf, axis=0)  # [n, trees, f]
            x = g.op("Unsqueeze", self._present(0.0), g.constant(np.array([1])))
            votes = g.op("Add", g.total(g.op("Mul", own, x), 2), votes)
        return self._together(votes)

    def _together(self, votes: str) -> str:
        """The mean or the median of [n, trees]."""
        g, trees = self._graph, len(self._grown.trees)
        if self._grown.weights is not None:
            return g.total(g.op("Mul", votes, g.constant(self._grown.weights)), 1)
        ordered = g.op("TopK", votes, g.constant(np.array([trees])), axis=1, unused=1)
        middle = g.op("Gather", ordered, g.constant(np.array([(trees - 1) // 2, trees // 2])), axis=1)
        return g.op("Mul", g.total(middle, 1), g.constant(np.array(0.5)))

    def _leaf(self) -> tuple[str, list[tuple[Arrays, list[int]]]]:
        """int64[n, trees], the leaf of each tree, numbered over all; and which leaves of which arrays those are."""
        g, columns = self._graph, []
        if self._layout.numeric:
            x = g.input("numeric", np.float64, self._numeric)
            self._x = g.op("Where", g.op("IsInf", x), g.constant(np.array(np.nan)), x)
            columns.append(self._x)
        axis = g.constant(np.array([1]))
        for j, values in enumerate(self._values):
            self._codes.append(self._categories.mapped(j, values, ABSENT, OTHER))
            code = g.op("Cast", self._codes[-1], to=g.double)
            gone = g.op("Equal", self._codes[-1], g.constant(np.array(ABSENT)))
            columns.append(g.op("Unsqueeze", g.op("Where", gone, g.constant(np.array(np.nan)), code), axis))
        ensemble = Ensemble()
        leaves = [(a, ensemble.add(a, root, self._numeric, self._code)) for a, root in self._grown.trees]
        rows = columns[0] if len(columns) == 1 else g.op("Concat", *columns, axis=1)
        found = g.op("TreeEnsembleRegressor", rows, **attributes(ensemble, g.tensor))
        return g.op("Cast", found, to=g.int64), leaves

    def _code(self, nominal: int, key: int) -> int:
        if not self._categories.by_id and self._categories.name(nominal, key) is None:
            return UNNAMED
        return self._values[nominal][key]

    def _present(self, instead: float) -> str:
        """The numbers, with `instead` for absent ones."""
        g = self._graph
        return g.op("Where", g.op("IsNaN", self._x), g.constant(np.array(instead)), self._x)

    def _with_bayes(self, votes: str, leaf: str, leaves: list[tuple[Arrays, list[int]]], flags: list[Any]) -> str:
        """The votes, with those of naive Bayes leaves computed for the row."""
        g, flag = self._graph, np.concatenate(flags)
        own = [
            bayes(a, [n for n, is_bayes in zip(at, flagged, strict=True) if is_bayes], len(self._layout.categories))
            for (a, at), flagged in zip(leaves, flags, strict=True)
        ]
        place = np.where(flag, np.cumsum(flag) - 1, 0)  # other leaves are given the first one's, and don't use it
        row = g.op("Gather", g.constant(place), leaf, axis=0)
        posterior = g.op("Gather", g.constant(np.concatenate([b.prior for b in own])), row, axis=0)
        if self._layout.numeric:
            posterior = g.op("Add", posterior, self._densities(row, own))
        for j, code in enumerate(self._codes):
            posterior = g.op("Add", posterior, self._shares(row, code, j, own))
        posterior = g.op("Softmax", posterior, axis=2)
        chosen = g.op("Gather", g.constant(flag[:, None]), leaf, axis=0)
        return g.op("Where", chosen, posterior, votes)

    def _densities(self, row: str, own: list[Bayes]) -> str:
        """[n, trees, k]: sum of the log densities of the numbers that there are."""
        g = self._graph

        def table(name: str) -> str:
            return g.op("Gather", g.constant(np.concatenate([getattr(b, name) for b in own])), row, axis=0)

        places = g.constant(np.array([1, 3]))
        x = g.op("Unsqueeze", self._x, places)  # [n, 1, f, 1]
        apart = g.op("Sub", x, table("mean"))
        density = g.op("Add", g.op("Mul", g.op("Mul", apart, apart), table("inverse")), table("constant"))
        silent = g.op("Or", g.op("IsNaN", x), g.op("IsInf", density))
        known = g.op("Where", silent, g.constant(np.array(0.0)), density)
        return g.op("Max", g.total(known, 2), g.constant(np.array(LOWEST)))

    def _shares(self, row: str, code: str, nominal: int, own: list[Bayes]) -> str:
        """[n, trees, k]: the log share of the row's value; a value that a leaf never met adds nothing."""
        g, values = self._graph, self._values[nominal]
        size, base, keys, table = len(values) + 1, 0, [], [np.zeros(own[0].prior.shape[1])]
        for one in own:
            for (leaf, at, key), logs in one.shares.items():
                if at == nominal:
                    keys.append((base + leaf) * size + values[key])
                    table.append(logs)
            base += len(one.prior)
        known = g.op("Max", code, g.constant(np.array(ABSENT)))
        pair = g.op("Mul", row, g.constant(np.array(size)))
        pair = g.op("Add", pair, g.op("Unsqueeze", known, g.constant(np.array([1]))))
        encoded = g.op(
            "LabelEncoder", pair, keys_int64s=[-1, *keys], values_int64s=list(range(len(keys) + 1)), default_int64=0
        )
        return g.op("Gather", g.constant(np.array(table)), encoded, axis=0)


def _values(grown: Grown, numeric: int, categories: int) -> list[dict[int, int]]:
    """For each nominal attribute, id → code, from 1, of every value that a tree tests or a leaf has met."""
    found: list[set[int]] = [set() for _ in range(categories)]
    for arrays, root in grown.trees:
        ints, ids = arrays["node_int"], arrays["node_id"]
        for node in range(len(ints)):
            parent = int(ints[node, PARENT])
            if node != root and ints[parent, KIND] == MULTIWAY:
                found[int(ints[parent, ATTRIBUTE]) - numeric].add(int(ids[node, BRANCH]))
            if ints[node, KIND] == EQUAL:
                found[int(ints[node, ATTRIBUTE]) - numeric].add(int(ids[node, TEST]))
        if "class_weight" in arrays and grown.params["leaf_prediction"] != "mc":
            owners = arrays["entry_int"][:, OWNER].tolist()
            for owner, key in zip(owners, arrays["entry_id"][:, 0].tolist(), strict=True):
                if key:
                    found[owner % categories].add(key)
    return [{key: code for code, key in enumerate(sorted(keys), 1)} for keys in found]
