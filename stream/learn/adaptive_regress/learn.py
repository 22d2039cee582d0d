"""How the adaptive regressor learns a row: River's order of judging, replacing, branching off and learning.

As in the adaptive tree (`stream.learn.adaptive.learn`), split attempts and the freeing of replaced subtrees wait until
the row is done; nothing later in the row depends on them.
"""

import math

from stream.jit import compiled
from stream.learn.adaptive.layout import (
    ALTERNATE,
    ALTERNATES_REFUSED,
    DRAWS,
    DUE,
    NESTING_MAX,
    PRUNED,
    SEED,
    STARTED,
    SWITCHED,
    TOP,
)
from stream.learn.adaptive_regress.layout import ERROR, ERROR_SQUARES, JUDGED, Habits, State, Work
from stream.learn.adaptive_regress.nodes import drop_alternates, free_tree
from stream.learn.adaptive_regress.shared import (
    add_alternate,
    add_child,
    answer,
    compare,
    detect,
    free_slot,
    heaviest,
    index_branch,
    learn_linear,
    learn_target,
    may_grow,
    observe_row,
    poisson_one,
    step,
    take_over,
    take_slot,
    variance,
    with_target,
)
from stream.learn.regress.layout import Rules
from stream.learn.tree.layout import (
    ATTEMPT,
    ATTRIBUTE,
    BRANCH,
    BRANCHES_REFUSED,
    DEPTH,
    KIND,
    LEAF,
    ONE,
    SLOT,
    WEIGHT,
    Ids,
    Reals,
)


@compiled
def judge(state: State, habits: Habits, node: int, error: float) -> bool:
    """Show an absolute error to the node's record and its detector: whether errors have grown.

    When they changed for the better, the record starts afresh.
    """
    record = state.node_error[node]
    before = record[ERROR]
    drift = detect(state, node, error, habits.adwin_delta)
    count, mean, squares = with_target((record[JUDGED], record[ERROR], record[ERROR_SQUARES]), error, 1.0)
    record[JUDGED] = count
    record[ERROR] = mean
    record[ERROR_SQUARES] = squares
    if drift and mean < before:
        record[:] = 0.0
        return False
    return bool(drift)


@compiled
def verdict(state: State, habits: Habits, branch: int, alternate: int) -> int:
    """1 when the alternate tree is better than the branch, -1 when it is worse, 0 when that can't be said yet.

    A z-test of two means, two-sided.
    """
    mine, other = state.node_error[branch], state.node_error[alternate]
    if not (other[JUDGED] > habits.window and mine[JUDGED] > habits.window):
        return 0
    spread = variance((other[JUDGED], other[ERROR], other[ERROR_SQUARES])) / other[JUDGED]
    spread += variance((mine[JUDGED], mine[ERROR], mine[ERROR_SQUARES])) / mine[JUDGED]
    gap = other[ERROR] - mine[ERROR]
    if not spread > 0.0:
        if gap == 0.0:
            return 0
        return 1 if gap < 0.0 else -1
    z = gap / math.sqrt(spread)
    chance = 2.0 * (0.5 * (1.0 + math.erf(-abs(z) / habits.root_two)))
    if not chance <= habits.significance:
        return 0
    return 1 if gap < 0.0 else -1


@compiled
def review(state: State, rules: Rules, habits: Habits, work: Work, branch: int, error: float, level: int) -> int:
    """Judge a branch, and start, take over or drop its alternate tree. Returns the one that is to learn, or 0."""
    alternate: int = state.node_link[branch, ALTERNATE]
    grown = judge(state, habits, branch, error)
    if alternate == 0:
        if grown:
            state.node_error[branch, :] = 0.0
            if level < NESTING_MAX and may_grow(state, rules, ONE):
                add_alternate(state, rules, branch)
                state.counters[STARTED] += 1
            else:
                state.counters[ALTERNATES_REFUSED] += 1
        return int(state.node_link[branch, ALTERNATE])
    better = verdict(state, habits, branch, alternate)
    if better > 0:
        state.counters[PRUNED] += drop_alternates(state, rules, branch)
        state.counters[SWITCHED] += 1
        root = branch == state.counters[TOP]
        take_over(state, branch)
        work.dead[work.size[1]] = branch
        work.size[1] += 1
        return alternate if root else 0
    if better < 0:
        state.counters[PRUNED] += 1 + drop_alternates(state, rules, alternate)
        free_tree(state, rules, alternate)
        state.node_link[branch, ALTERNATE] = 0
        return 0
    return alternate


@compiled
def open_branch(state: State, rules: Rules, node: int, value: int) -> int:
    """A new leaf below a multiway node for a value not met before; 0 when the bounds forbid it."""
    if not may_grow(state, rules, ONE):
        state.counters[BRANCHES_REFUSED] += 1
        return 0
    leaf: int = add_child(state, node)
    state.node_id[leaf, BRANCH] = value
    index_branch(state, leaf)
    state.node_int[leaf, SLOT] = take_slot(state, rules)
    return leaf


@compiled
def error_of(state: State, rules: Rules, node: int, numeric: Reals, categories: Ids, target: float) -> float:
    """The absolute error of the leaf that the row comes to from `node`."""
    while state.node_int[node, KIND] != LEAF:
        child = step(state, rules, node, numeric, categories)
        node = child if child > 0 else heaviest(state, node)
    return float(abs(target - answer(state, rules, node, numeric)))


@compiled
def learn_way(
    state: State,
    rules: Rules,
    habits: Habits,
    work: Work,
    node: int,
    numeric: Reals,
    categories: Ids,
    target: float,
    weight: float,
    level: int,
) -> None:
    """Learn the row from `node` down, with the alternate trees of the branches passed."""
    error = error_of(state, rules, node, numeric, categories, target)
    while state.node_int[node, KIND] != LEAF:
        alternate = review(state, rules, habits, work, node, error, level)
        if alternate != 0:
            learn_way(state, rules, habits, work, alternate, numeric, categories, target, weight, level + 1)
        child = step(state, rules, node, numeric, categories)
        if child == -1:
            child = open_branch(state, rules, node, categories[state.node_int[node, ATTRIBUTE] - rules.numeric])
            error = abs(target) if child > 0 else error
        node = child if child > 0 else heaviest(state, node)
    learn_leaf(state, rules, habits, work, node, numeric, categories, target, weight, error)


@compiled
def learn_leaf(
    state: State,
    rules: Rules,
    habits: Habits,
    work: Work,
    leaf: int,
    numeric: Reals,
    categories: Ids,
    target: float,
    weight: float,
    error: float,
) -> None:
    """Judge the leaf, then learn the row in it, drawn a Poisson number of times when sampling (once for none)."""
    if habits.bootstrap:
        drawn = poisson_one(state.counters, SEED, DRAWS)
        weight *= max(1, drawn)
    judge(state, habits, leaf, error)
    compare(state, rules, leaf, numeric, target)
    learn_target(state, leaf, target, weight)
    slot = state.node_int[leaf, SLOT]
    if slot != 0:
        observe_row(state, rules, slot, numeric, categories, target, weight)
    learn_linear(state, rules, leaf, numeric, target, weight)
    if slot == 0 or state.node_real[leaf, WEIGHT] - state.node_real[leaf, ATTEMPT] < rules.grace_period:
        return
    if state.node_int[leaf, DEPTH] >= rules.max_depth:
        free_slot(state, rules, slot)
        state.node_int[leaf, SLOT] = 0
        return
    state.node_link[leaf, DUE] = 1
    work.due[work.size[0]] = leaf
    work.size[0] += 1
