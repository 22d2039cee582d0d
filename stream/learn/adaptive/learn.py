"""How the adaptive tree learns a row: River's order of judging, replacing, branching off and learning.

A row takes one way from the root, and one way more through each alternate tree that hangs on the branches it passes.
Split attempts and the freeing of replaced subtrees wait until the row is done; nothing later in the row depends
on them.
"""

import math

from stream.jit import compiled
from stream.learn.adaptive.detect import detect
from stream.learn.adaptive.layout import (
    ALTERNATE,
    ALTERNATES_REFUSED,
    DRAWS,
    DUE,
    ERROR_RATE,
    ERRORS,
    NESTING_MAX,
    PRUNED,
    SEED,
    STARTED,
    SWITCHED,
    TOP,
    Habits,
    State,
    Work,
)
from stream.learn.adaptive.nodes import add_alternate, add_child, drop_alternates, free_tree, may_grow, take_over
from stream.learn.adaptive.shared import (
    first_best,
    free_slot,
    heaviest,
    index_branch,
    naive_bayes,
    poisson_one,
    shares,
    step,
    take_slot,
    update_leaf,
)
from stream.learn.adaptive.vote import leaf_votes
from stream.learn.tree.layout import (
    ATTEMPT,
    ATTRIBUTE,
    BAYES_RIGHT,
    BRANCH,
    BRANCHES_REFUSED,
    DEPTH,
    KIND,
    LEAF,
    MAJORITY_RIGHT,
    ONE,
    SEEN,
    SLOT,
    WEIGHT,
    YES,
    Ids,
    Reals,
    Rules,
)


@compiled
def judge(state: State, habits: Habits, node: int, wrong: float) -> bool:
    """Show one judged answer to the node's error and its detector: whether the error has grown.

    When it changed for the better, the node's error starts afresh.
    """
    error = state.node_error[node]
    before = error[ERROR_RATE]
    drift = detect(state, node, wrong, habits.adwin_delta)
    error[ERRORS] += 1.0
    error[ERROR_RATE] += (1.0 / error[ERRORS]) * (wrong - error[ERROR_RATE])
    if drift and before > error[ERROR_RATE]:
        error[:] = 0.0
        return False
    return drift


@compiled
def verdict(state: State, habits: Habits, branch: int, alternate: int) -> int:
    """1 when the alternate tree is better than the branch, -1 when it is worse, 0 when that can't be said yet."""
    seen, rate = state.node_error[branch, ERRORS], state.node_error[branch, ERROR_RATE]
    others, other_rate = state.node_error[alternate, ERRORS], state.node_error[alternate, ERROR_RATE]
    if not (others > habits.window and seen > habits.window):
        return 0
    share = 1.0 / others + 1.0 / seen
    bound = math.sqrt(2.0 * rate * (1.0 - rate) * habits.log_significance * share)
    if bound < rate - other_rate:
        return 1
    return -1 if bound < other_rate - rate else 0


@compiled
def review(state: State, rules: Rules, habits: Habits, work: Work, branch: int, wrong: float, level: int) -> int:
    """Judge a branch, and start, take over or drop its alternate tree. Returns the one that is to learn, or 0."""
    alternate: int = state.node_link[branch, ALTERNATE]
    if judge(state, habits, branch, wrong):
        state.node_error[branch, :] = 0.0
        if alternate != 0:
            free_tree(state, rules, alternate)
            state.node_link[branch, ALTERNATE] = 0
        if level < NESTING_MAX and may_grow(state, rules, ONE):
            add_alternate(state, rules, branch)
            state.counters[STARTED] += 1
        else:
            state.counters[ALTERNATES_REFUSED] += 1
    elif alternate != 0:
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
    return int(state.node_link[branch, ALTERNATE])


@compiled
def open_branch(state: State, rules: Rules, node: int, value: int) -> int:
    """A new leaf below a multiway node for a value not met before; 0 when the bounds forbid it."""
    if not may_grow(state, rules, ONE):
        state.counters[BRANCHES_REFUSED] += 1
        return 0
    leaf = add_child(state, node)
    state.node_id[leaf, BRANCH] = value
    index_branch(state, leaf)
    state.node_int[leaf, SLOT] = take_slot(state, rules)
    return leaf


@compiled
def is_wrong(state: State, rules: Rules, node: int, numeric: Reals, categories: Ids, label: int, votes: Reals) -> float:
    """1.0 unless the leaf that the row comes to from `node` votes most for its class."""
    while state.node_int[node, KIND] != LEAF:
        child = step(state, rules, node, numeric, categories)
        node = child if child > 0 else heaviest(state, node)
    leaf_votes(state, rules, node, numeric, categories, votes, YES)
    return 0.0 if first_best(state, node, votes) == label else 1.0


@compiled
def learn_way(
    state: State,
    rules: Rules,
    habits: Habits,
    work: Work,
    node: int,
    numeric: Reals,
    categories: Ids,
    label: int,
    weight: float,
    level: int,
) -> None:
    """Learn the row from `node` down, with the alternate trees of the branches passed."""
    wrong = is_wrong(state, rules, node, numeric, categories, label, work.votes[0])
    if state.node_int[node, KIND] == LEAF:
        learn_leaf(state, rules, habits, work, node, numeric, categories, label, weight, wrong)
        return
    while state.node_int[node, KIND] != LEAF:
        alternate = review(state, rules, habits, work, node, wrong, level)
        if alternate != 0:
            learn_way(state, rules, habits, work, alternate, numeric, categories, label, weight, level + 1)
        child = step(state, rules, node, numeric, categories)
        if child == -1:
            child = open_branch(state, rules, node, categories[state.node_int[node, ATTRIBUTE] - rules.numeric])
            wrong = 1.0 if child > 0 else wrong
        node = child if child > 0 else heaviest(state, node)
    learn_leaf(state, rules, habits, work, node, numeric, categories, label, weight, wrong)


@compiled
def learn_leaf(
    state: State,
    rules: Rules,
    habits: Habits,
    work: Work,
    leaf: int,
    numeric: Reals,
    categories: Ids,
    label: int,
    weight: float,
    wrong: float,
) -> None:
    """Judge the leaf, then learn the row in it, drawn a Poisson number of times when sampling (once for none)."""
    if habits.bootstrap:
        drawn = poisson_one(state.counters, SEED, DRAWS)
        weight *= max(1, drawn)
    judge(state, habits, leaf, wrong)
    if state.node_int[leaf, SLOT] != 0:
        tally(state, rules, work, leaf, numeric, categories, label, weight)
    update_leaf(state, rules, leaf, numeric, categories, label, weight)
    if state.node_real[leaf, WEIGHT] - state.node_real[leaf, ATTEMPT] < rules.grace_period:
        return
    slot = state.node_int[leaf, SLOT]
    if state.node_int[leaf, DEPTH] >= rules.max_depth:
        if slot != 0:
            free_slot(state, rules, slot)
            state.node_int[leaf, SLOT] = 0
    elif slot != 0:
        state.node_link[leaf, DUE] = 1
        work.due[work.size[0]] = leaf
        work.size[0] += 1


@compiled
def tally(
    state: State, rules: Rules, work: Work, leaf: int, numeric: Reals, categories: Ids, label: int, weight: float
) -> None:
    """Count which of the leaf's two ways of answering is right."""
    majority, posterior = work.votes[1], work.votes[2]
    majority[:] = 0.0
    posterior[:] = 0.0
    shares(state, leaf, majority)
    if state.node_int[leaf, SEEN] == 0 or first_best(state, leaf, majority) == label:
        state.node_real[leaf, MAJORITY_RIGHT] += weight
    answered = naive_bayes(state, rules, leaf, numeric, categories, posterior, YES)
    if answered and first_best(state, leaf, posterior) == label:
        state.node_real[leaf, BAYES_RIGHT] += weight
