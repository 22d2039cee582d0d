"""A tree explained: its text, its nodes for a picture, what its splits are worth, and the path of one event.

Importance of an attribute, as scikit-learn's: over its splits, the rows that went through the split times what the
split takes off the impurity (Gini of the class weights; for values the variance), divided by the sum over all splits.
Rows and impurities are those of the leaves below: what a split is worth now, not what it promised when it was made.
Along a path, a step adds what the mean below it differs from the mean above; a leaf that answers by naive Bayes or a
linear model may score other than this mean.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stream.block import F64, Block, Layout
from stream.explain.explainable import Explanation, Numbers, Part, Weight, shares, wide
from stream.explain.names import Names
from stream.learn.adaptive.layout import TOP
from stream.learn.learner import Learner
from stream.learn.regress.layout import MEAN, SQUARES
from stream.learn.tree.describe import children
from stream.learn.tree.layout import ATTRIBUTE, BRANCH, EQUAL, KIND, LEAF, NUMERIC, TEST, THRESHOLD, WEIGHT


@dataclass(slots=True)
class Node:
    """test: how one comes here; weight: rows below; mean: their class shares or value; impurity: theirs."""

    test: str
    attribute: int
    kind: int
    threshold: float
    key: int
    branch: int
    weight: float = 0.0
    mean: F64 = field(default_factory=lambda: np.zeros(0))
    impurity: float = 0.0
    below: list["Node"] = field(default_factory=list)

    def walk(self) -> Iterator["Node"]:
        """This node and all below it, parents first."""
        stack = [self]
        while stack:
            node = stack.pop()
            yield node
            stack.extend(reversed(node.below))


class TreeExplained:
    """Implements Explainable for what the arm's tree is now."""

    def __init__(
        self, arm: Learner, trees: list[dict[str, Any]], layout: Layout, names: Names, outputs: tuple[str, ...]
    ) -> None:
        self._arm, self._outputs = arm, outputs
        self._columns, self._numeric = [*layout.numeric, *layout.categories], len(layout.numeric)
        self.roots = [_tree(arrays, self._columns, names) for arrays in trees]

    @property
    def root(self) -> Node:
        """The first tree's."""
        return self.roots[0]

    def weights(self) -> list[Weight]:
        """See Explainable."""
        return []

    def importance(self) -> dict[str, float]:
        """See Explainable."""
        return shares(gains(self.root, self._columns))

    def text(self, top: int) -> str:
        """See Explainable."""
        return self._text(self.root)

    def _text(self, root: Node) -> str:
        lines: list[str] = []
        stack = [(root, 0)]
        while stack:
            node, depth = stack.pop()
            what = node.test if node.below else ": ".join(filter(None, [node.test, self.answer(node)]))
            lines += ["  " * max(0, depth - 1) + what] if what else []
            stack.extend((child, depth + 1) for child in reversed(node.below))
        return "\n".join(lines) + "\n"

    def answer(self, node: Node) -> str:
        """What is known at a node, in words."""
        rows = f"({node.weight:.6g} rows)"
        if node.weight == 0.0:
            return "nothing seen"
        if len(node.mean) == 1:
            return f"mean {node.mean[0]:.6g} {rows}"
        known = [f"{name} {p:.3f}" for name, p in zip(self._outputs, node.mean, strict=True) if p > 0]
        return f"{', '.join(known)} {rows}"

    def explain(self, block: Block) -> list[Explanation]:
        """See Explainable."""
        scores = wide(self._arm.score(block))
        return [self._path(self.root, block, row, scores[row]) for row in range(len(block))]

    def _path(self, root: Node, block: Block, row: int, score: F64) -> Explanation:
        node, parts = root, []
        shown = slice(1, 2) if len(score) == 1 and len(node.mean) == 2 else slice(None)  # binary: class 1's share
        while node.below:
            child, value = self._step(node, block, row)
            gain = _numbers((child.mean - node.mean)[shown])
            parts.append(Part(child.test, value, (), gain, self._columns[node.attribute]))
            node = child
        return Explanation(_numbers(root.mean[shown]), tuple(parts), _numbers(node.mean[shown]), _numbers(score))

    def _step(self, node: Node, block: Block, row: int) -> tuple[Node, float]:
        """The child that a row goes to, and its number there (NaN: a category, or absent)."""
        heaviest = max(node.below, key=lambda child: child.weight)
        if node.kind == NUMERIC:
            value = float(block.numeric[row, node.attribute])
            return (heaviest if np.isnan(value) else node.below[0 if value <= node.threshold else 1]), value
        key = int(block.categories[row, node.attribute - self._numeric])
        if key == 0:
            return heaviest, float("nan")
        if node.kind == EQUAL:
            return node.below[0 if key == node.key else 1], float("nan")
        return next((child for child in node.below if child.branch == key), heaviest), float("nan")


class ForestExplained(TreeExplained):
    """Means over the trees: of each one's importance, and of what each column adds along the trees' paths.

    All trees count alike here; the forest's own vote may weigh them by how well they did.
    """

    def importance(self) -> dict[str, float]:
        """See Explainable."""
        return mean_shares([shares(gains(root, self._columns)) for root in self.roots])

    def text(self, top: int) -> str:
        """See Explainable."""
        numbered = enumerate(self.roots, 1)
        return "\n".join(f"tree {i} of {len(self.roots)}\n{self._text(root)}" for i, root in numbered)

    def explain(self, block: Block) -> list[Explanation]:
        """See Explainable."""
        scores = wide(self._arm.score(block))
        return [self._together(block, row, scores[row]) for row in range(len(block))]

    def _together(self, block: Block, row: int, score: F64) -> Explanation:
        paths = [self._path(root, block, row, score) for root in self.roots]
        sums: dict[str, F64] = {}
        for part in (p for path in paths for p in path.parts):
            sums[part.column] = sums.get(part.column, np.zeros(len(part.contribution))) + part.contribution
        parts = [Part(c, float("nan"), (), _numbers(s / len(paths)), c) for c, s in sums.items()]
        parts.sort(key=lambda p: (-max(map(abs, p.contribution)), p.feature))
        base, total = (np.mean([getattr(p, n) for p in paths], axis=0) for n in ("base", "total"))
        return Explanation(_numbers(base), tuple(parts), _numbers(total), _numbers(score))


def mean_shares(found: list[dict[str, float]]) -> dict[str, float]:
    """The mean over trees, as shares again, since a tree without a split has none."""
    return shares({name: sum(one[name] for one in found) for name in found[0]})


def gains(root: Node, columns: list[str]) -> dict[str, float]:
    """What each column's splits take off the impurity, in rows; 0 for a column without any."""
    found = dict.fromkeys(columns, 0.0)
    for node in root.walk():
        if node.below:
            left = sum(child.weight * child.impurity for child in node.below)
            found[columns[node.attribute]] += max(0.0, node.weight * node.impurity - left)
    return found


class _Arrays:
    """A state's arrays under their names, as `describe` reads them."""

    def __init__(self, arrays: dict[str, Any]) -> None:
        self.__dict__.update(arrays)


def _tree(arrays: dict[str, Any], columns: list[str], names: Names) -> Node:
    """The nodes of a tree's state, with the sums of the leaves below each."""
    state: Any = _Arrays(arrays)
    ints, root = arrays["node_int"], int(arrays["counters"][TOP]) if "node_link" in arrays else 0
    made: list[tuple[int, Node]] = []
    stack: list[tuple[int, Node | None, str]] = [(root, None, "")]
    while stack:
        at, parent, test = stack.pop()
        node = _node(arrays, at, test)
        made.append((at, node))
        if parent is not None:
            parent.below.append(node)
        if ints[at, KIND] != LEAF:
            below = list(children(state, at))
            tests = _tests(arrays, at, below, columns[int(ints[at, ATTRIBUTE])], names)
            stack.extend((child, node, way) for child, way in reversed(list(zip(below, tests, strict=True))))
    for at, node in reversed(made):
        _sum_up(arrays, at, node)
    return made[0][1]


def _node(arrays: dict[str, Any], at: int, test: str) -> Node:
    ints, keys = arrays["node_int"][at], arrays["node_id"][at]
    threshold = float(arrays["node_real"][at, THRESHOLD])
    return Node(test, int(ints[ATTRIBUTE]), int(ints[KIND]), threshold, int(keys[TEST]), int(keys[BRANCH]))


def _tests(arrays: dict[str, Any], at: int, below: list[int], column: str, names: Names) -> list[str]:
    """How a row comes to each child."""
    kind = arrays["node_int"][at, KIND]
    if kind == NUMERIC:
        threshold = f"{arrays['node_real'][at, THRESHOLD]:.6g}"
        return [f"{column} <= {threshold}", f"{column} > {threshold}"]
    if kind == EQUAL:
        value = _value(int(arrays["node_id"][at, TEST]), names)
        return [f"{column} = {value}", f"{column} is not {value}"]
    return [f"{column} = {_value(int(arrays['node_id'][child, BRANCH]), names)}" for child in below]


def _value(key: int, names: Names) -> str:
    return names.of(key).partition("=")[2] or names.of(key)


def _sum_up(arrays: dict[str, Any], at: int, node: Node) -> None:
    """Weight, mean and impurity of a leaf from the state, of a split from its children."""
    real, classes = arrays["node_real"][at], arrays.get("class_weight")
    if node.below:
        node.weight = sum(child.weight for child in node.below)
        parts = [child.weight / node.weight * child.mean for child in node.below if node.weight]
        node.mean = sum(parts, np.zeros(len(node.below[0].mean)))
        spread = [child.weight * (child.impurity + (child.mean[0] - node.mean[0]) ** 2) for child in node.below]
        node.impurity = _gini(node.mean) if classes is not None else sum(spread) / max(node.weight, 1e-300)
    elif classes is not None:
        node.weight = float(classes[at].sum())
        node.mean = classes[at] / node.weight if node.weight else np.zeros(classes.shape[1])
        node.impurity = _gini(node.mean)
    else:
        node.weight, node.mean = float(real[WEIGHT]), np.array([real[MEAN]])
        node.impurity = float(real[SQUARES]) / node.weight if node.weight else 0.0


def _gini(shares_of: F64) -> float:
    return float(1.0 - (shares_of**2).sum())


def _numbers(values: F64) -> Numbers:
    return tuple(float(v) for v in np.atleast_1d(values))
