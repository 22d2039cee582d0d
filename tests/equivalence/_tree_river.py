"""River's trees as the comparison drives them: their splits written down, our draws, and their defects mended."""

import inspect
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from river import linear_model, tree
from river.tree.nodes import hatc_nodes, hatr_nodes, htc_nodes
from river.tree.splitter.nominal_splitter_classif import NominalSplitterClassif
from river.tree.utils import BranchFactory

from ._tree_streams import Rows

Splits = list[tuple[int, int, float | None, tuple[int, ...]]]


def as_dicts(rows: Rows) -> list[dict[str, Any]]:
    """The rows as River takes them: what is missing is not there."""
    pairs = zip(rows.numeric.tolist(), rows.categories.tolist(), strict=True)
    return [
        {f"x{at}": value for at, value in enumerate(numbers) if math.isfinite(value)}
        | {f"c{at}": value for at, value in enumerate(values) if value}
        for numbers, values in pairs
    ]


class NumbersOnly(linear_model.LinearRegression):
    """River's linear regression, of the numbers of a row: it can't take categories."""

    def learn_one(self, x: dict[str, Any], y: float, w: float = 1.0) -> None:
        super().learn_one({name: value for name, value in x.items() if name[0] == "x"}, y, w)

    def predict_one(self, x: dict[str, Any]) -> float:
        return float(super().predict_one({name: value for name, value in x.items() if name[0] == "x"}))


class _Splits:
    """A list of a River tree's splits, and each on its branch; `row` is set by whoever drives it."""

    def __init__(self, shape: tuple[int, ...], **params: Any) -> None:
        super().__init__(nominal_attributes=[f"c{at}" for at in range(shape[1])], **params)
        self.row, self.numbers = 0, shape[0]
        self.splits: Splits = []

    def _attempt_to_split(self, leaf: Any, parent: Any, branch: Any, **kwargs: Any) -> None:
        super()._attempt_to_split(leaf, parent, branch, **kwargs)  # type: ignore[misc]
        node = self._root if parent is None else parent.children[branch]  # type: ignore[attr-defined]
        if hasattr(node, "children") and not hasattr(node, "split"):
            attribute = int(node.feature[1:]) + (self.numbers if node.feature[0] == "c" else 0)
            threshold = getattr(node, "threshold", None)
            values = () if threshold is not None else tuple(getattr(node, "_mapping", None) or (node.value,))
            node.split = (self.row, attribute, threshold, values)
            self.splits.append(node.split)


class Classifier(_Splits, tree.HoeffdingTreeClassifier):
    """See _Splits."""


class Regressor(_Splits, tree.HoeffdingTreeRegressor):
    """See _Splits."""


class Adaptive(_Splits, tree.HoeffdingAdaptiveTreeClassifier):
    """See _Splits; its draws are ours."""

    def __init__(self, shape: tuple[int, ...], seed: int, **params: Any) -> None:
        super().__init__(shape, **params)
        self._rng = Draws(seed)


class AdaptiveNumbers(_Splits, tree.HoeffdingAdaptiveTreeRegressor):
    """See _Splits; its draws are ours."""

    def __init__(self, shape: tuple[int, ...], seed: int, **params: Any) -> None:
        super().__init__(shape, leaf_model=NumbersOnly(), **params)
        self._rng = Draws(seed)


class Draws:
    """Our counter-based draws behind River's `random()`: its Poisson sampling then counts what we count."""

    def __init__(self, seed: int) -> None:
        self.seed, self.count, self.left = seed, 0, list[float]()

    def random(self) -> float:
        """As many ones as the Poisson count, and a zero: River multiplies them until they are too small."""
        if not self.left:
            self.left = [0.0] + [1.0] * self.poisson()
        return self.left.pop()

    def poisson(self) -> int:
        """SplitMix64 and inversion, in plain Python."""
        self.count += 1
        ones = 2**64 - 1
        mixed = (self.seed + self.count * 0x9E3779B97F4A7C15) & ones
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & ones
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & ones
        drawn = ((mixed ^ (mixed >> 31)) >> 11) / 2**53
        events, chance = 0, math.exp(-1.0)
        below = chance
        while drawn >= below and events < 20:
            events += 1
            chance /= events
            below += chance
        return events


class _Owner:
    """What an alternate tree is told is its parent: setting its child sets the alternate tree."""

    def __init__(self, branch: Any) -> None:
        self.branch, self.children = branch, self

    def __setitem__(self, _: Any, node: Any) -> None:
        self.branch._alternate_tree = node

    def __getitem__(self, _: Any) -> Any:
        return self.branch._alternate_tree


def _changed(owner: type, method: str, old: str, new: str) -> Any:
    """The method with a piece of its text replaced; the piece must be there once."""
    source = inspect.getsource(getattr(owner, method))
    assert source.count(old) == 1, (method, old)
    names = dict(vars(inspect.getmodule(owner))) | {"_Owner": _Owner}
    text = source.replace(old, new).replace("super()", f"super({owner.__name__}, self)")
    exec(f"class _{owner.__name__}:\n{text}", names)
    return getattr(names[f"_{owner.__name__}"], method)


@contextmanager
def mended(grow_alternates: bool) -> Iterator[None]:
    """River without the defects that docs/decisions/tree-equivalence.md describes."""
    ask, offer = htc_nodes.do_naive_bayes_prediction, NominalSplitterClassif.best_evaluated_split_suggestion

    def without_weightless(x: Any, weights: dict[Any, float], splitters: Any) -> dict[Any, float]:
        votes = ask(x, {label: weight for label, weight in weights.items() if weight > 0}, splitters)
        return {label: votes.get(label, 0.0) for label in weights} if votes else votes

    def only_real_splits(self: Any, *args: Any) -> BranchFactory:
        best = offer(self, *args)
        return best if best.merit > -math.inf else BranchFactory()

    patches: list[tuple[Any, str, Any]] = [
        (htc_nodes, "do_naive_bayes_prediction", without_weightless),
        (hatc_nodes, "do_naive_bayes_prediction", without_weightless),
        (NominalSplitterClassif, "best_evaluated_split_suggestion", only_real_splits),
    ]
    if grow_alternates:
        told = "                parent=parent,\n                parent_branch=parent_branch,"
        tell = "parent=None if tree._root is self._alternate_tree else _Owner(self), parent_branch=0,"
        for branch in (hatc_nodes.AdaBranchClassifier, hatr_nodes.AdaBranchRegressor):
            patches.append((branch, "learn_one", _changed(branch, "learn_one", told, tell)))
            patches.append((branch, "traverse", _changed(branch, "traverse", "append(\n", "extend(\n")))
    before = [(owner, name, getattr(owner, name)) for owner, name, _ in patches]
    try:
        for owner, name, value in patches:
            setattr(owner, name, value)
        yield
    finally:
        for owner, name, value in before:
            setattr(owner, name, value)
