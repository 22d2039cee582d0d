"""One regression tree of a forest over a block: River's `ARFRegressor.learn_one`, tree by tree (see `kernel`)."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from stream.jit import cached, compiled
from stream.learn.forest import judge as judging
from stream.learn.forest import kernel
from stream.learn.forest import subset as subsets
from stream.learn.forest.kernel import BACK_DUE, FRONT_DUE, SOURCES
from stream.learn.forest.layout import (
    BACK,
    DONE,
    DRAWN,
    DRIFTED,
    DUE_BACK,
    DUE_FRONT,
    FRONT,
    GROWING,
    LEFT,
    ROOM,
    ROW,
    Habits,
)
from stream.learn.regress.kernel import SOURCES as REGRESS
from stream.learn.regress.kernel import row_learner, score_row
from stream.learn.regress.layout import Parts, Rules, State
from stream.learn.regress.observe import observe_number, observe_value
from stream.learn.regress.split import attempt_split
from stream.learn.tree.layout import (
    ROWS,
    SUBSET_DRAWS,
    Ids,
    Ints,
    Reals,
)

draw: Any = judging.draw
pass_over: Any = judging.pass_over
settle: Any = judging.settle
draw_subset: Any = subsets.draw_subset
# Record.errors: predictions judged and their mean squared error, since the tree took its place; then count, mean
# and sum of squares of all errors that a detector saw, and the last value shown to it
JUDGED, SQUARED, SEEN, MEAN, SQUARES, SHOWN = range(6)
SIGMAS = 3.0


class Record(NamedTuple):
    """One tree's own record."""

    counts: Ints  # [5] as a Member's
    errors: Reals  # [6]
    window: Reals  # [2, ADWIN_REALS]
    buckets: Ints  # [2, ADWIN_INTS]


@compiled
def observe_subset(
    state: State, rules: Rules, slot: int, numeric: Reals, categories: Ids, target: float, weight: float
) -> None:
    """Show one row to the observers of a leaf's subset, in the order drawn."""
    size = 1 + rules.numeric + rules.categories
    subset = state.slot_int[slot, size:]
    if subset[0] == 0:
        draw_subset(state.counters, rules, numeric, categories, state.slot_int[slot, 1:size], subset)
    for at in range(subset[0]):
        attribute = subset[1 + at]
        nominal = attribute - rules.numeric
        if nominal < 0:
            observe_number(state, rules, slot, attribute, numeric[attribute], target, weight)
        elif categories[nominal] != 0:
            observe_value(state, rules, slot, nominal, categories[nominal], target, weight)


room: Any = kernel.room
attempt = kernel.attempter(attempt_split)
learn_row: Any = row_learner(observe_subset)
Grow = Callable[
    [State, State, Rules, Parts, Habits, Record, Ints, Reals, Reals, Ids, Reals, Reals, Reals, Reals, bool], int
]


@compiled
def judge(errors: Reals, error: float, shown: bool) -> None:
    """Count the error; if a detector is to see it, move it by what is known of its spread into about 0..1."""
    errors[JUDGED] += 1.0
    errors[SQUARED] += (1.0 / errors[JUDGED]) * (error * error - errors[SQUARED])
    if not shown:
        return
    before = errors[MEAN]
    errors[SEEN] += 1.0
    errors[MEAN] += (1.0 / errors[SEEN]) * (error - before)
    errors[SQUARES] += (error - before) * (error - errors[MEAN])
    errors[SHOWN] = 0.5
    if errors[SEEN] > 1.0:
        deviation = math.sqrt(errors[SQUARES] / (errors[SEEN] - 1.0))
        if deviation > 0.0:
            errors[SHOWN] = (error + SIGMAS * deviation) / (2.0 * SIGMAS * deviation)


def _entry_points(sources: tuple[int, int]) -> Grow:
    @cached
    def grow_block(
        front: State,
        back: State,
        rules: Rules,
        parts: Parts,
        habits: Habits,
        record: Record,
        progress: Ints,
        seen: Reals,
        numeric: Reals,
        categories: Ids,
        target: Reals,
        weight: Reals,
        votes: Reals,
        weights: Reals,
        apart: bool,
    ) -> int:
        """Predict each row into votes[row], with the error until then in weights[row]; then learn it by weight[row].

        apart: it is predicted by `seen`, and judged and learned by `numeric`; else these two are the same.
        """
        _ = sources
        attributes = rules.numeric + rules.categories
        detects = habits.warning_delta > 0.0 or habits.drift_delta > 0.0
        while progress[ROW] < len(target):
            row = progress[ROW]
            if progress[LEFT] < 0:
                draw(front.counters, habits, progress)
                weights[row] = record.errors[SQUARED]
                if weight[row] == 0.0:
                    pass_over(progress)
                if progress[DRAWN] == 0:
                    votes[row] = score_row(front, rules, numeric[row], categories[row])
                    if weight[row] != 0.0:
                        judge(record.errors, target[row] - votes[row], False)
                    if apart:
                        votes[row] = score_row(front, rules, seen[row], categories[row])
            if progress[LEFT] > 0:
                growing = record.counts[GROWING] != 0
                if not room(front, attributes, progress, FRONT):
                    return ROOM
                if growing and not room(back, attributes, progress, BACK):
                    return ROOM
                once = weight[row] * float(progress[DRAWN])
                out = votes[row : row + 1]
                told = score_row(front, rules, seen[row], categories[row]) if apart else 0.0
                if growing:
                    back.counters[SUBSET_DRAWS] = front.counters[SUBSET_DRAWS]
                    back.counters[ROWS] = front.counters[ROWS]
                    progress[DUE_BACK] = learn_row(back, rules, numeric[row], categories[row], target[row], once, out)
                    front.counters[SUBSET_DRAWS] = back.counters[SUBSET_DRAWS]
                progress[DUE_FRONT] = learn_row(front, rules, numeric[row], categories[row], target[row], once, out)
                judge(record.errors, target[row] - votes[row], detects)
                if apart:
                    votes[row] = told
                progress[LEFT] = 0
            if not attempt(back, rules, parts, progress, BACK_DUE, BACK):
                return ROOM
            if not attempt(front, rules, parts, progress, FRONT_DUE, FRONT):
                return ROOM
            if progress[DRAWN] > 0:
                happened = settle(habits, record, progress, record.errors[SHOWN])
                if happened == DRIFTED:
                    record.errors[JUDGED] = record.errors[SQUARED] = 0.0
                if happened != DONE:
                    return int(happened)
            progress[LEFT] = -1
            front.counters[ROWS] += 1
            progress[ROW] += 1
        return DONE

    return grow_block


grow_block = _entry_points((SOURCES, REGRESS))
