"""The two loops over a block: score each row then learn it, and score alone.

Only these entry points are cached on disk. numba stamps a cached kernel with its own file alone, so the
digest of the package's sources is part of the cache key: an edit to any of them compiles afresh.
"""

from collections.abc import Callable
from pathlib import Path

from stream.jit import cached, compiled, digest_of, inlined
from stream.learn.tree.bayes import bayes, bayes_votes, first_best, likeliest, predict, shares, uses_bayes
from stream.learn.tree.index import index_all, index_branch
from stream.learn.tree.layout import (
    ADAPTIVE,
    ATTEMPT,
    ATTRIBUTE,
    BAYES_RIGHT,
    BRANCH,
    BRANCHES_REFUSED,
    DEPTH,
    KIND,
    LEAF,
    MAJORITY_RIGHT,
    NO,
    ONE,
    ROOT,
    ROWS,
    SEEN,
    SLOT,
    UNWEIGHTED,
    WEIGHT,
    YES,
    Ids,
    Ints,
    Parts,
    Reals,
    Rules,
    State,
)
from stream.learn.tree.observe import free_slot, is_short, observe, take_slot
from stream.learn.tree.split import add_child, attempt_split, may_grow
from stream.learn.tree.walk import descend, heaviest

FILES = tuple(Path(__file__).parent.glob("*.py"))
SOURCES = digest_of(*FILES)
Learn = Callable[[State, Rules, Parts, Reals, Ids, Ints, Reals, Reals, int, int], tuple[int, int, int, int]]
Show = Callable[[State, Rules, int, Reals, Ids, int, float], None]
Update = Callable[[State, Rules, int, Reals, Ids, int, float], None]
LearnRow = Callable[[State, Rules, Reals, Ids, int, float, Reals, Reals], int]
Score = Callable[[State, Rules, Reals, Ids, Reals], None]


@inlined
def enter_class(state: State, leaf: int, label: int) -> None:
    """Append the class to the leaf's order unless it is there (a split may hand down a class of weight 0)."""
    seen = state.node_int[leaf, SEEN]
    for rank in range(seen):
        if state.class_order[leaf, rank] == label:
            return
    state.class_order[leaf, seen] = label
    state.node_int[leaf, SEEN] = seen + 1


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
def score_row(state: State, rules: Rules, numeric: Reals, categories: Ids, out: Reals) -> None:
    """Class probabilities for one row into `out`, which is zero on entry; nothing else is written."""
    leaf, _direct = descend(state, rules, ROOT, numeric, categories, NO)
    predict(state, rules, leaf, numeric, categories, out, NO)


@inlined
def score_and_tally(
    state: State,
    rules: Rules,
    leaf: int,
    numeric: Reals,
    categories: Ids,
    label: int,
    weight: float,
    out: Reals,
    scratch: Reals,
) -> None:
    """The leaf's prediction into `out`; an adaptive leaf also counts which of its two ways was right."""
    if rules.leaf_mode != ADAPTIVE or state.node_int[leaf, SLOT] == 0:
        predict(state, rules, leaf, numeric, categories, out, YES)
        return
    by_bayes = uses_bayes(state, rules, leaf)
    scratch[:] = 0.0
    majority, posterior = (scratch, out) if by_bayes else (out, scratch)
    shares(state, leaf, majority)
    if state.node_int[leaf, SEEN] == 0 or first_best(state, leaf, majority) == label:
        state.node_real[leaf, MAJORITY_RIGHT] += weight
    if by_bayes:
        right = bayes(state, rules, leaf, numeric, categories, posterior, YES) and (
            first_best(state, leaf, posterior) == label
        )
    else:
        right = bayes_votes(state, rules, leaf, numeric, categories, posterior, YES) and (
            likeliest(state, leaf, posterior) == label
        )
    if right:
        state.node_real[leaf, BAYES_RIGHT] += weight


def leaf_update(show: Show) -> Update:
    """A kernel that adds a row to a leaf; `show` shows it to the leaf's observers."""

    @inlined
    def update_leaf(
        state: State, rules: Rules, leaf: int, numeric: Reals, categories: Ids, label: int, weight: float
    ) -> None:
        """Add the row to the leaf's class weights and observers."""
        if state.class_weight[leaf, label] == 0.0:
            enter_class(state, leaf, label)
        state.class_weight[leaf, label] += weight
        total = 0.0
        for rank in range(state.node_int[leaf, SEEN]):
            total += state.class_weight[leaf, state.class_order[leaf, rank]]
        state.node_real[leaf, WEIGHT] = total
        slot = state.node_int[leaf, SLOT]
        if slot != 0:
            show(state, rules, slot, numeric, categories, label, weight)

    return update_leaf


def row_learner(update_leaf: Update) -> LearnRow:
    """A kernel that scores and learns a row, with `update_leaf` for the leaf that it belongs to."""

    @inlined
    def learn_row(
        state: State,
        rules: Rules,
        numeric: Reals,
        categories: Ids,
        label: int,
        weight: float,
        out: Reals,
        scratch: Reals,
    ) -> int:
        """Score the row into `out`, then learn it. Returns the leaf that is due for a split attempt, or -1."""
        if weight == 0.0:
            state.counters[UNWEIGHTED] += 1
            score_row(state, rules, numeric, categories, out)
            return -1
        leaf, direct = descend(state, rules, ROOT, numeric, categories, YES)
        opened = 0
        if state.node_int[leaf, KIND] != LEAF:
            direct = False
            node = leaf
            leaf, _ = descend(state, rules, heaviest(state, node), numeric, categories, NO)
            value = categories[state.node_int[node, ATTRIBUTE] - rules.numeric]
            opened = open_branch(state, rules, node, value)
        if opened != 0:
            predict(state, rules, leaf, numeric, categories, out, YES)
            leaf = opened
            state.node_real[leaf, MAJORITY_RIGHT] += weight
        else:
            score_and_tally(state, rules, leaf, numeric, categories, label, weight, out, scratch)
        update_leaf(state, rules, leaf, numeric, categories, label, weight)
        slot = state.node_int[leaf, SLOT]
        if not direct or slot == 0:
            return -1
        if state.node_int[leaf, DEPTH] >= rules.max_depth:
            free_slot(state, rules, slot)
            state.node_int[leaf, SLOT] = 0
            return -1
        gained = state.node_real[leaf, WEIGHT] - state.node_real[leaf, ATTEMPT]
        return leaf if gained >= rules.grace_period else -1

    return learn_row


update_leaf = leaf_update(observe)
learn_row = row_learner(update_leaf)


def _entry_points(sources: int) -> tuple[Learn, Score, Callable[[State], None]]:
    @cached
    def learn_block(
        state: State,
        rules: Rules,
        parts: Parts,
        numeric: Reals,
        categories: Ids,
        target: Ints,
        weight: Reals,
        out: Reals,
        row: int,
        due: int,
    ) -> tuple[int, int, int, int]:
        """Go on at `row` (learned already when leaf `due` waits for its split attempt). Returns row and due
        to go on with, and the branches and entries that need more room first."""
        _ = sources
        while row < len(target):
            if due < 0:
                if is_short(state, rules.categories):
                    return row, due, 1, rules.categories
                due = learn_row(
                    state,
                    rules,
                    numeric[row],
                    categories[row],
                    target[row],
                    weight[row],
                    out[row],
                    parts.weight[0],
                )
            if due >= 0:
                short = attempt_split(state, rules, due, parts)
                if short != 0:
                    return row, due, short, 0
                state.node_real[due, ATTEMPT] = state.node_real[due, WEIGHT]
                due = -1
            state.counters[ROWS] += 1
            row += 1
        return row, due, 0, 0

    @cached
    def score_block(state: State, rules: Rules, numeric: Reals, categories: Ids, out: Reals) -> None:
        _ = sources
        for row in range(len(out)):
            score_row(state, rules, numeric[row], categories[row], out[row])

    @cached
    def index_state(state: State) -> None:
        _ = sources
        index_all(state)

    return learn_block, score_block, index_state


learn_block, score_block, index_state = _entry_points(SOURCES)
