"""From the root to a leaf, as River walks: an absent attribute goes the heaviest way."""

import math

from stream.jit import compiled
from stream.learn.tree.index import find_branch
from stream.learn.tree.layout import (
    ATTRIBUTE,
    EQUAL,
    FIRST,
    KIND,
    LEAF,
    NEXT,
    NUMERIC,
    TEST,
    THRESHOLD,
    WEIGHT,
    Ids,
    Ints,
    Reals,
    Rules,
    State,
)


@compiled
def subtree_weight(node_int: Ints, node_real: Reals, node: int) -> float:
    """The weight below `node`, summed child by child (no deeper than `max_depth`)."""
    if node_int[node, KIND] == LEAF:
        weight: float = node_real[node, WEIGHT]
        return weight
    total = 0.0
    child = node_int[node, FIRST]
    while child != 0:
        total += subtree_weight(node_int, node_real, child)
        child = node_int[child, NEXT]
    return total


@compiled
def heaviest(state: State, node: int) -> int:
    """The child with the most weight below it; the first of equals."""
    best: int = state.node_int[node, FIRST]
    weight = subtree_weight(state.node_int, state.node_real, best)
    child = state.node_int[best, NEXT]
    while child != 0:
        other = subtree_weight(state.node_int, state.node_real, child)
        if other > weight:
            best, weight = child, other
        child = state.node_int[child, NEXT]
    return best


@compiled
def step(state: State, rules: Rules, node: int, numeric: Reals, categories: Ids) -> int:
    """The child for the row's own value: 0 when the attribute is absent, -1 when the value is new."""
    attribute = state.node_int[node, ATTRIBUTE]
    first: int = state.node_int[node, FIRST]
    other: int = state.node_int[first, NEXT]
    if state.node_int[node, KIND] == NUMERIC:
        value = numeric[attribute]
        if not math.isfinite(value):
            return 0
        return first if value <= state.node_real[node, THRESHOLD] else other
    category = categories[attribute - rules.numeric]
    if category == 0:
        return 0
    if state.node_int[node, KIND] == EQUAL:
        return first if category == state.node_id[node, TEST] else other
    child = find_branch(state, node, category)
    return child if child != 0 else -1


@compiled
def descend(state: State, rules: Rules, node: int, numeric: Reals, categories: Ids, growing: bool) -> tuple[int, bool]:
    """The leaf for the row, and whether its own values led there all the way.

    With `growing`, stops at a multiway node that has no branch for the row's value, and returns that node.
    """
    direct = True
    while state.node_int[node, KIND] != LEAF:
        child = step(state, rules, node, numeric, categories)
        if child == -1 and growing:
            return node, direct
        if child <= 0:
            direct = False
            child = heaviest(state, node)
        node = child
    return node, direct
