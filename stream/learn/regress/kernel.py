"""The two loops over a block: score each row then learn it, and score alone.

Only these entry points are cached on disk; the digest of this package's and the tree's sources is part of the key.
"""

from collections.abc import Callable
from pathlib import Path

from stream.jit import cached, compiled, digest_of
from stream.learn.regress.layout import Parts, Rules, State
from stream.learn.regress.observe import free_slot, observe
from stream.learn.regress.predict import compare, learn_linear, learn_target, predict
from stream.learn.regress.shared import descend, heaviest, is_short, open_branch
from stream.learn.regress.split import attempt_split
from stream.learn.tree.kernel import FILES as TREE
from stream.learn.tree.layout import (
    ATTEMPT,
    ATTRIBUTE,
    DEPTH,
    KIND,
    LEAF,
    NO,
    ROOT,
    ROWS,
    SLOT,
    UNWEIGHTED,
    WEIGHT,
    YES,
    Ids,
    Reals,
)

SOURCES = digest_of(*TREE, *Path(__file__).parent.glob("*.py"))
Learn = Callable[[State, Rules, Parts, Reals, Ids, Reals, Reals, Reals, int, int], tuple[int, int, int, int]]
Show = Callable[[State, Rules, int, Reals, Ids, float, float], None]
LearnRow = Callable[[State, Rules, Reals, Ids, float, float, Reals], int]
Score = Callable[[State, Rules, Reals, Ids, Reals], None]


@compiled
def score_row(state: State, rules: Rules, numeric: Reals, categories: Ids) -> float:
    """The prediction for one row; nothing is written."""
    leaf, _direct = descend(state, rules, ROOT, numeric, categories, NO)
    return predict(state, rules, leaf, numeric)


def row_learner(show: Show) -> LearnRow:
    """A kernel that scores and learns a row; `show` shows it to the observers of the leaf that it belongs to."""

    @compiled
    def learn_row(
        state: State,
        rules: Rules,
        numeric: Reals,
        categories: Ids,
        target: float,
        weight: float,
        out: Reals,
    ) -> int:
        """Score the row into out[0], then learn it. Returns the leaf that is due for a split attempt, or -1."""
        if weight == 0.0:
            state.counters[UNWEIGHTED] += 1
            out[0] = score_row(state, rules, numeric, categories)
            return -1
        leaf, direct = descend(state, rules, ROOT, numeric, categories, YES)
        opened = 0
        if state.node_int[leaf, KIND] != LEAF:
            direct = False
            node = leaf
            leaf, _ = descend(state, rules, heaviest(state, node), numeric, categories, NO)
            opened = open_branch(state, rules, node, categories[state.node_int[node, ATTRIBUTE] - rules.numeric])
        out[0] = predict(state, rules, leaf, numeric)
        leaf = opened if opened != 0 else leaf
        compare(state, rules, leaf, numeric, target)
        learn_target(state, leaf, target, weight)
        slot = state.node_int[leaf, SLOT]
        if slot != 0:
            show(state, rules, slot, numeric, categories, target, weight)
        learn_linear(state, rules, leaf, numeric, target, weight)
        if not direct or slot == 0:
            return -1
        if state.node_int[leaf, DEPTH] >= rules.max_depth:
            free_slot(state, rules, slot)
            state.node_int[leaf, SLOT] = 0
            return -1
        gained = state.node_real[leaf, WEIGHT] - state.node_real[leaf, ATTEMPT]
        return int(leaf) if gained >= rules.grace_period else -1

    return learn_row


learn_row = row_learner(observe)


def _entry_points(sources: int) -> tuple[Learn, Score]:
    @cached
    def learn_block(
        state: State,
        rules: Rules,
        parts: Parts,
        numeric: Reals,
        categories: Ids,
        target: Reals,
        weight: Reals,
        out: Reals,
        row: int,
        due: int,
    ) -> tuple[int, int, int, int]:
        """Go on at `row` (learned already when leaf `due` waits for its split attempt). Returns row and due
        to go on with, and the branches and entries that need more room first."""
        _ = sources
        attributes = rules.numeric + rules.categories
        while row < len(target):
            if due < 0:
                if is_short(state, attributes):
                    return row, due, 1, attributes
                due = learn_row(
                    state, rules, numeric[row], categories[row], target[row], weight[row], out[row : row + 1]
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
            out[row] = score_row(state, rules, numeric[row], categories[row])

    return learn_block, score_block


learn_block, score_block = _entry_points(SOURCES)
