"""The tree for a person: its text, and the list of its splits (read from the nodes, so bounded with them)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from stream.learn.tree.layout import (
    ATTRIBUTE,
    BORN,
    BRANCH,
    EQUAL,
    FIRST,
    KIND,
    LEAF,
    MULTIWAY,
    NEXT,
    NODES,
    NUMERIC,
    ROW,
    TEST,
    THRESHOLD,
    WEIGHT,
    State,
)


@dataclass(frozen=True)
class Split:
    """One split: `row` counts from 0; `threshold` for a numeric attribute, else the branches' category ids.

    One category means "this value or any other"; several mean a branch for each.
    """

    row: int
    node: int
    attribute: int
    threshold: float | None
    categories: tuple[int, ...]


def splits(state: State) -> list[Split]:
    """All splits, in the order in which they were made."""
    nodes = range(int(state.counters[NODES]))
    inner = sorted(
        (node for node in nodes if state.node_int[node, KIND] != LEAF),
        key=lambda node: (int(state.node_int[node, ROW]), int(state.node_int[node, FIRST])),
    )
    return [_split(state, node) for node in inner]


def _split(state: State, node: int) -> Split:
    ints = state.node_int[node]
    values: tuple[int, ...] = ()
    if ints[KIND] == EQUAL:
        values = (int(state.node_id[node, TEST]),)
    elif ints[KIND] == MULTIWAY:
        born = islice(children(state, node), int(ints[BORN]))
        values = tuple(int(state.node_id[child, BRANCH]) for child in born)
    threshold = float(state.node_real[node, THRESHOLD]) if ints[KIND] == NUMERIC else None
    return Split(int(ints[ROW]), node, int(ints[ATTRIBUTE]), threshold, values)


def children(state: State, node: int) -> Iterator[int]:
    """The node's children, in order."""
    child = int(state.node_int[node, FIRST])
    while child != 0:
        yield child
        child = int(state.node_int[child, NEXT])


def text(
    state: State,
    names: list[str],
    category_name: Callable[[int], str],
    leaf_text: Callable[[State, int], str] | None = None,
    root: int = 0,
) -> str:
    """One line a node: the test that leads there, and at leaves what `leaf_text` says, else the class shares."""
    leaf_text = leaf_text or _leaf
    lines: list[str] = []
    stack = [(root, 0, "")]
    while stack:
        node, depth, test = stack.pop()
        indent = "  " * max(0, depth - 1)
        if state.node_int[node, KIND] == LEAF:
            lines.append(indent + (f"{test}: " if test else "") + leaf_text(state, node))
        elif test:
            lines.append(indent + test)
        tests = _tests(state, node, names, category_name)
        below = [(child, depth + 1, way) for child, way in zip(children(state, node), tests, strict=True)]
        stack.extend(reversed(below))
    return "\n".join(lines) + "\n"


def _tests(state: State, node: int, names: list[str], category_name: Callable[[int], str]) -> list[str]:
    kind = state.node_int[node, KIND]
    if kind == LEAF:
        return []
    name = names[int(state.node_int[node, ATTRIBUTE])]
    if kind == NUMERIC:
        threshold = f"{state.node_real[node, THRESHOLD]:.6g}"
        return [f"{name} <= {threshold}", f"{name} > {threshold}"]
    if kind == EQUAL:
        value = category_name(int(state.node_id[node, TEST]))
        return [f"{name} = {value}", f"{name} is not {value}"]
    return [f"{name} = {category_name(int(state.node_id[child, BRANCH]))}" for child in children(state, node)]


def _leaf(state: State, node: int) -> str:
    weight = float(state.node_real[node, WEIGHT])
    if weight == 0.0:
        return "nothing seen"
    known = [(label, share / weight) for label, share in enumerate(state.class_weight[node]) if share > 0.0]
    return ", ".join(f"class {label} {share:.3f}" for label, share in known) + f" (weight {weight:.6g})"
