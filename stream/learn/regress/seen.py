"""A regression tree that scores a row by other numbers than it learns it by: those that were scaled before it came."""

from collections.abc import Callable
from typing import Any

import numpy as np

from stream.jit import cached
from stream.learn.regress.kernel import SOURCES, learn_row, score_row
from stream.learn.regress.layout import Parts, Rules, State
from stream.learn.regress.model import HoeffdingRegressor
from stream.learn.regress.shared import is_short
from stream.learn.regress.split import attempt_split
from stream.learn.tree.layout import ATTEMPT, ROWS, WEIGHT, Ids, Reals


def _entry_point(sources: int) -> Callable[..., tuple[int, int, int, int]]:
    @cached
    def learn_block(
        state: State,
        rules: Rules,
        parts: Parts,
        seen: Reals,
        numeric: Reals,
        categories: Ids,
        target: Reals,
        told: Reals,
        out: Reals,
        row: int,
        due: int,
    ) -> tuple[int, int, int, int]:
        """As `kernel.learn_block`; told [1] is scratch."""
        _ = sources
        attributes = rules.numeric + rules.categories
        while row < len(target):
            if due < 0:
                if is_short(state, attributes):
                    return row, due, 1, attributes
                out[row] = score_row(state, rules, seen[row], categories[row])
                due = learn_row(state, rules, numeric[row], categories[row], target[row], 1.0, told)
            if due >= 0:
                short = attempt_split(state, rules, due, parts)
                if short != 0:
                    return row, due, short, 0
                state.node_real[due, ATTEMPT] = state.node_real[due, WEIGHT]
                due = -1
            state.counters[ROWS] += 1
            row += 1
        return row, due, 0, 0

    return learn_block


learn_block = _entry_point(SOURCES)


def score_learn_seen(tree: HoeffdingRegressor, seen: Reals, numeric: Reals, categories: Ids, target: Any) -> Reals:
    """As `HoeffdingRegressor.score_learn`; each row is scored by `seen`, and learned by `numeric`, both [n, f]."""
    seen, _ = tree._inputs(seen, categories)
    numeric, categories, target, _ = tree._columns(numeric, categories, target)
    out, told = np.zeros(len(numeric)), np.zeros(1)
    row, due = 0, -1
    while row < len(out):
        columns = seen, numeric, categories, target, told, out
        row, due, branches, entries = learn_block(tree._state, tree._rules, tree._parts, *columns, row, due)
        if row < len(out):
            tree._grow(branches, entries)
    return out
