"""One tree of a forest over a block, and the vote of all: River's `ARFClassifier.learn_one`, tree by tree.

A kernel comes back when a tree needs room (ROOM), needs a new background tree (WARNED) or is to be replaced (DRIFTED);
`progress` says where it stood, and calling it again goes on from there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np

from stream.jit import cached, compiled, digest_of
from stream.learn.forest.judge import begin_row, best_met, judge, learns_now, pass_over, settle, watch
from stream.learn.forest.layout import (
    BACK,
    DONE,
    DRAWN,
    DUE_BACK,
    DUE_FRONT,
    FRONT,
    GROWING,
    LEFT,
    ROOM,
    ROW,
    SHORT_BRANCHES,
    SHORT_ENTRIES,
    SHORT_TREE,
    WRONG,
    Habits,
    Member,
)
from stream.learn.forest.subset import observe_subset
from stream.learn.tree.bayes import predict
from stream.learn.tree.kernel import SOURCES as TREE
from stream.learn.tree.kernel import leaf_update, row_learner
from stream.learn.tree.layout import (
    ATTEMPT,
    NO,
    ROOT,
    ROWS,
    SUBSET_DRAWS,
    WEIGHT,
    YES,
    Ids,
    Ints,
    Parts,
    Reals,
    Rules,
    State,
)
from stream.learn.tree.observe import is_short
from stream.learn.tree.split import attempt_split
from stream.learn.tree.walk import descend

LEARN = Path(__file__).resolve().parents[1]
SOURCES = TREE ^ digest_of(*(file for part in ("forest", "drift", "adaptive") for file in (LEARN / part).glob("*.py")))
ONCE = cast(float, np.float64(1.0))
FRONT_DUE, BACK_DUE = cast(int, np.int64(DUE_FRONT)), cast(int, np.int64(DUE_BACK))
learn_row = row_learner(leaf_update(observe_subset))
Attempt = Callable[[Any, Any, Any, Ints, int, int], bool]
Grow = Callable[[State, State, Rules, Rules, Parts, Habits, Member, Ints, Reals, Ids, Ints, Reals, Reals, Reals], int]


@compiled
def room(state: State, entries: int, progress: Ints, tree: int) -> bool:
    """Whether the tree can take a row of at most so many new entries; if not, says in `progress` what it needs."""
    if is_short(state, entries):
        progress[SHORT_TREE], progress[SHORT_BRANCHES], progress[SHORT_ENTRIES] = tree, 1, entries
        return False
    return True


def attempter(attempt_split: Callable[[Any, Any, int, Any], int]) -> Attempt:
    """A kernel that lets the leaf which waits try to split, by `attempt_split`."""

    @compiled
    def attempt(state: Any, rules: Any, parts: Any, progress: Ints, due: int, tree: int) -> bool:
        """False when the tree needs room first."""
        leaf = progress[due]
        if leaf < 0:
            return True
        short = attempt_split(state, rules, leaf, parts)
        if short != 0:
            progress[SHORT_TREE], progress[SHORT_BRANCHES], progress[SHORT_ENTRIES] = tree, short, 0
            return False
        state.node_real[leaf, ATTEMPT] = state.node_real[leaf, WEIGHT]
        progress[due] = -1
        return True

    return attempt


attempt = attempter(attempt_split)


@compiled
def look(state: State, rules: Rules, numeric: Reals, categories: Ids, out: Reals, counted: bool) -> None:
    """The tree's vote on a row that it does not learn; of one that is counted observers note what they were asked."""
    leaf, _direct = descend(state, rules, ROOT, numeric, categories, NO)
    predict(state, rules, leaf, numeric, categories, out, counted)


def _entry_points(sources: int) -> tuple[Grow, Callable[[Reals, Reals, Reals], None]]:
    @cached
    def grow_block(
        front: State,
        back: State,
        rules: Rules,
        back_rules: Rules,
        parts: Parts,
        habits: Habits,
        member: Member,
        progress: Ints,
        numeric: Reals,
        categories: Ids,
        target: Ints,
        weight: Reals,
        votes: Reals,
        weights: Reals,
    ) -> int:
        """Vote on each row into votes[row] (zero on entry), with weights[row]; then learn it by its weight[row]."""
        _ = sources
        while progress[ROW] < len(target):
            row = progress[ROW]
            label = target[row]
            if progress[LEFT] < 0:
                begin_row(front.counters, habits, member, progress, weights[row : row + 1])
                if weight[row] == 0.0:
                    pass_over(progress)
                if progress[DRAWN] == 0:
                    counted = weight[row] != 0.0
                    look(front, rules, numeric[row], categories[row], votes[row], counted)
                    if counted:
                        judge(member, progress, votes[row], label)
            while learns_now(progress):
                if progress[DUE_FRONT] < 0 and progress[DUE_BACK] < 0:
                    growing = member.counts[GROWING] != 0
                    if not room(front, rules.categories, progress, FRONT):
                        return ROOM
                    if growing and not room(back, rules.categories, progress, BACK):
                        return ROOM
                    once = weight[row] * (ONCE if habits.repeats else float(progress[DRAWN]))
                    if growing:
                        back.counters[SUBSET_DRAWS] = front.counters[SUBSET_DRAWS]
                        back.counters[ROWS] = front.counters[ROWS]
                        parts.weight[1, :] = 0.0
                        progress[DUE_BACK] = learn_row(
                            back,
                            back_rules,
                            numeric[row],
                            categories[row],
                            label,
                            once,
                            parts.weight[1],
                            parts.weight[0],
                        )
                        front.counters[SUBSET_DRAWS] = back.counters[SUBSET_DRAWS]
                        member.met[BACK, label] = 1
                    first = not habits.repeats or progress[LEFT] == progress[DRAWN]
                    out = votes[row] if first else parts.weight[1]
                    if not first:
                        out[:] = 0.0
                    progress[DUE_FRONT] = learn_row(
                        front, rules, numeric[row], categories[row], label, once, out, parts.weight[0]
                    )
                    if first:
                        judge(member, progress, out, label)
                    member.met[FRONT, label] = 1
                    progress[LEFT] -= 1
                if not attempt(back, back_rules, parts, progress, BACK_DUE, BACK):
                    return ROOM
                if not attempt(front, rules, parts, progress, FRONT_DUE, FRONT):
                    return ROOM
            if habits.change_delta > 0.0 and weight[row] != 0.0:
                again = parts.weight[1]
                again[:] = 0.0
                look(front, rules, numeric[row], categories[row], again, YES)
                watch(member, habits, progress, best_met(again, member.met[FRONT]) != label)
            if progress[DRAWN] > 0:
                happened = settle(habits, member, progress, float(progress[WRONG]))
                if happened != DONE:
                    return happened
            progress[LEFT] = -1
            front.counters[ROWS] += 1
            progress[ROW] += 1
        return DONE

    @cached
    def combine(votes: Reals, weights: Reals, out: Reals) -> None:
        """out[n, k] = the trees' votes[t, n, k], weighted by weights[t, n] where that is positive, over their sum."""
        _ = sources
        for row in range(len(out)):
            for tree in range(len(votes)):
                weight = weights[tree, row] if weights[tree, row] > 0.0 else 1.0
                for label in range(out.shape[1]):
                    out[row, label] += votes[tree, row, label] * weight
            total = 0.0
            for label in range(out.shape[1]):
                total += out[row, label]
            if total > 0.0:
                for label in range(out.shape[1]):
                    out[row, label] /= total

    return grow_block, combine


grow_block, combine = _entry_points(SOURCES)
