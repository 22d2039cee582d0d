"""What the tree answers: the votes of its leaf and of the leaves of alternate trees passed on the way.

Votes are divided by the square of their leaf's error rate, so that the better of the two trees has the say.
"""

import math

from stream.jit import compiled
from stream.learn.adaptive.layout import ALTERNATE, ERROR_RATE, State
from stream.learn.adaptive.shared import heaviest, predict, step
from stream.learn.tree.layout import KIND, LEAF, SEEN, Ids, Reals, Rules


@compiled
def leaf_votes(
    state: State, rules: Rules, leaf: int, numeric: Reals, categories: Ids, votes: Reals, learning: bool
) -> None:
    """The leaf's votes, by class; zeros when it has seen nothing."""
    votes[:] = 0.0
    seen = state.node_int[leaf, SEEN]
    if seen == 0:
        return
    predict(state, rules, leaf, numeric, categories, votes, learning)
    total = 0.0
    for rank in range(seen):
        total += votes[state.class_order[leaf, rank]]
    rate = state.node_error[leaf, ERROR_RATE]
    factor = total * rate * rate
    if factor != 0.0 and not math.isnan(factor):
        scale = 1.0 / factor
        for label in range(rules.classes):
            votes[label] *= scale


@compiled
def add_leaf(
    state: State, rules: Rules, leaf: int, numeric: Reals, categories: Ids, out: Reals, votes: Reals, learning: bool
) -> None:
    """Add the leaf's votes to `out`."""
    leaf_votes(state, rules, leaf, numeric, categories, votes, learning)
    for label in range(rules.classes):
        out[label] += votes[label]


@compiled
def add_votes(
    state: State, rules: Rules, node: int, numeric: Reals, categories: Ids, out: Reals, votes: Reals, learning: bool
) -> int:
    """Add the votes of all leaves that the row reaches from `node`; returns how many branches it passed.

    As in River, a branch come to for want of the row's own way has its alternate tree asked twice.
    """
    if state.node_int[node, KIND] == LEAF:
        add_leaf(state, rules, node, numeric, categories, out, votes, learning)
        return 0
    passed, times = 0, 1
    while state.node_int[node, KIND] != LEAF:
        passed += 1
        alternate = state.node_link[node, ALTERNATE]
        if alternate != 0:
            for _ in range(times):
                below = add_votes(state, rules, alternate, numeric, categories, out, votes, learning)
            passed += below
        child = step(state, rules, node, numeric, categories)
        times = 1 if child > 0 else 2
        node = child if child > 0 else heaviest(state, node)
    add_leaf(state, rules, node, numeric, categories, out, votes, learning)
    return passed


@compiled
def normalise(rules: Rules, out: Reals) -> None:
    """Votes to probabilities; zeros stay zeros."""
    total = 0.0
    for label in range(rules.classes):
        total += out[label]
    if total != 0.0 and not math.isnan(total):
        scale = 1.0 / total
        for label in range(rules.classes):
            out[label] *= scale
