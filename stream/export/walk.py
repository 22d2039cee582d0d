"""A tree's way from the root to a leaf, as nodes of ONNX's tree ensemble.

Categories come as whole numbers, one code a value. A node with a branch for each value becomes a chain of 'is it this
one', which ends at the heaviest branch: that is where a new value goes, and an absent one, as
`stream/learn/tree/walk.py` has it. An absent attribute is NaN, and goes the heaviest way.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from stream.export.leaves import Arrays
from stream.learn.tree.layout import (
    ATTRIBUTE,
    BRANCH,
    EQUAL,
    FIRST,
    KIND,
    LEAF,
    MULTIWAY,
    NEXT,
    NUMERIC,
    TEST,
    THRESHOLD,
    WEIGHT,
)

Code = Callable[[int, int], int]  # (nominal attribute, id) → code
_NODES = ("treeids", "nodeids", "featureids", "modes", "values", "truenodeids", "falsenodeids", "missing")
_TARGETS = ("treeids", "nodeids", "ids", "weights")


@dataclass(slots=True)
class Ensemble:
    """Attributes of a TreeEnsembleRegressor whose target t is the number of the leaf that tree t comes to."""

    trees: int = 0
    leaves: int = 0
    nodes: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _NODES})
    targets: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _TARGETS})

    def add(self, arrays: Arrays, root: int, numeric: int, code: Code) -> list[int]:
        """Add a tree; returns its leaves, which get the next numbers in this order."""
        found = _Tree(self, arrays, numeric, code).walk(root)
        self.trees += 1
        return found


class _Tree:
    def __init__(self, ensemble: Ensemble, arrays: Arrays, numeric: int, code: Code) -> None:
        self._ensemble, self._arrays, self._numeric, self._code = ensemble, arrays, numeric, code
        self._weights = arrays["node_real"][:, WEIGHT].tolist()
        self._made = 0

    def walk(self, root: int) -> list[int]:
        self._weigh(root)
        leaves: list[int] = []
        stack = [(root, self._take())]
        while stack:
            node, place = stack.pop()
            if self._arrays["node_int"][node, KIND] == LEAF:
                self._leaf(place)
                leaves.append(node)
            else:
                stack += reversed(self._split(node, place))
        return leaves

    def _take(self) -> int:
        self._made += 1
        return self._made - 1

    def _children(self, node: int) -> list[int]:
        ints = self._arrays["node_int"]
        found, child = [], int(ints[node, FIRST])
        while child != 0:
            found.append(child)
            child = int(ints[child, NEXT])
        return found

    def _weigh(self, root: int) -> None:
        """The weight below each node: of its children's, one by one, as the kernel adds them."""
        order, stack = [], [root]
        while stack:
            node = stack.pop()
            order.append(node)
            stack += self._children(node)
        for node in reversed(order):
            if self._arrays["node_int"][node, KIND] != LEAF:
                total = 0.0
                for child in self._children(node):
                    total += self._weights[child]
                self._weights[node] = total

    def _split(self, node: int, place: int) -> list[tuple[int, int]]:
        """Write the tests of a node; returns its children with their places."""
        ints = self._arrays["node_int"][node]
        children, attribute = self._children(node), int(ints[ATTRIBUTE])
        heaviest = max(children, key=lambda child: self._weights[child])
        if ints[KIND] == MULTIWAY:
            return self._chain(children, heaviest, attribute, place)
        first, other = children[:2]
        if ints[KIND] == NUMERIC:
            mode, value = "BRANCH_LEQ", float(self._arrays["node_real"][node, THRESHOLD])
        else:
            assert ints[KIND] == EQUAL
            test = int(self._arrays["node_id"][node, TEST])
            mode, value = "BRANCH_EQ", float(self._code(attribute - self._numeric, test))
        below = [(first, self._take()), (other, self._take())]
        self._write(place, attribute, mode, value, (below[0][1], below[1][1]), heaviest == first)
        return below

    def _chain(self, children: list[int], heaviest: int, attribute: int, place: int) -> list[tuple[int, int]]:
        below = []
        for child in children:
            if child != heaviest:
                key = int(self._arrays["node_id"][child, BRANCH])
                yes, no = self._take(), self._take()
                self._write(
                    place, attribute, "BRANCH_EQ", float(self._code(attribute - self._numeric, key)), (yes, no), False
                )
                below.append((child, yes))
                place = no
        return [*below, (heaviest, place)]

    def _write(self, place: int, attribute: int, mode: str, value: float, ways: tuple[int, int], missing: bool) -> None:
        row = (self._ensemble.trees, place, attribute, mode, value, *ways, int(missing))
        for name, part in zip(_NODES, row, strict=True):
            self._ensemble.nodes[name].append(part)

    def _leaf(self, place: int) -> None:
        self._write(place, 0, "LEAF", 0.0, (0, 0), False)
        row = (self._ensemble.trees, place, self._ensemble.trees, float(self._ensemble.leaves))
        for name, part in zip(_TARGETS, row, strict=True):
            self._ensemble.targets[name].append(part)
        self._ensemble.leaves += 1


def attributes(ensemble: Ensemble, tensor: Callable[[Any], Any]) -> dict[str, Any]:
    """As the operator takes them."""
    nodes = {f"nodes_{name}": values for name, values in ensemble.nodes.items()}
    targets = {f"target_{name}": values for name, values in ensemble.targets.items()}
    values, missing, weights = nodes.pop("nodes_values"), nodes.pop("nodes_missing"), targets.pop("target_weights")
    return {
        **nodes,
        **targets,
        "nodes_values_as_tensor": tensor(values),
        "nodes_missing_value_tracks_true": missing,
        "target_weights_as_tensor": tensor(weights),
        "n_targets": ensemble.trees,
    }
