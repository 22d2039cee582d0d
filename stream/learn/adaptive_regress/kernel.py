"""The two loops over a block: score each row then learn it, and score alone.

Only these entry points are cached on disk; the digest of all sources that they are made of is part of the key.
"""

from collections.abc import Callable
from pathlib import Path

from stream.jit import cached, compiled, digest_of
from stream.learn.adaptive.kernel import SOURCES as ADAPTIVE
from stream.learn.adaptive.layout import DUE, LIVE_NODES, TOP
from stream.learn.adaptive_regress.grow import attempt_split
from stream.learn.adaptive_regress.layout import ANSWERS, SUM, Habits, State, Work
from stream.learn.adaptive_regress.learn import learn_way
from stream.learn.adaptive_regress.nodes import free_tree
from stream.learn.adaptive_regress.vote import add_answers
from stream.learn.regress.kernel import SOURCES as REGRESS
from stream.learn.regress.layout import Parts, Rules
from stream.learn.tree.layout import (
    ATTEMPT,
    LIVE_ENTRIES,
    LIVE_SLOTS,
    ROOT,
    ROWS,
    UNWEIGHTED,
    WEIGHT,
    Ids,
    Reals,
)

SOURCES = (digest_of(*Path(__file__).parent.glob("*.py")), ADAPTIVE, REGRESS)
Learn = Callable[
    [State, Rules, Habits, Work, Parts, Reals, Reals, Ids, Reals, Reals, Reals, bool, int, int],
    tuple[int, int, int, int],
]
Score = Callable[[State, Rules, Reals, Ids, Reals, Reals], None]


@compiled
def score_row(state: State, rules: Rules, numeric: Reals, categories: Ids, out: Reals, row: int, told: Reals) -> int:
    """The prediction for one row into out[row]; returns how many branches the row passed."""
    told[:] = 0.0
    passed = add_answers(state, rules, state.counters[TOP], numeric, categories, told)
    out[row] = told[SUM] / told[ANSWERS]
    return passed


@compiled
def begin_row(
    state: State,
    rules: Rules,
    habits: Habits,
    work: Work,
    seen: Reals,
    numeric: Reals,
    categories: Ids,
    target: float,
    weight: float,
    out: Reals,
    apart: bool,
    row: int,
) -> tuple[int, int]:
    """Score the row by `seen`, then learn it by `numeric` but for its split attempts; `apart`: these two differ.

    Returns the nodes and entries that it needs first, or 0.
    """
    work.size[:] = 0
    passed = score_row(state, rules, seen, categories, out, row, work.told)
    if apart:
        passed = add_answers(state, rules, state.counters[TOP], numeric, categories, work.told)
    if weight == 0.0:
        state.counters[UNWEIGHTED] += 1
        return 0, 0
    nodes, entries = 2 * passed + 2, (passed + 1) * (rules.numeric + rules.categories)
    nodes_short = state.counters[LIVE_NODES] + 1 + nodes > len(state.node_int)
    slots_short = state.counters[LIVE_SLOTS] + 1 + nodes > len(state.slot_int)
    if nodes_short or slots_short or state.counters[LIVE_ENTRIES] + 1 + entries > len(state.entry_int):
        return nodes, entries
    learn_way(state, rules, habits, work, state.counters[TOP], numeric, categories, target, weight, ROOT)
    for at in range(work.size[1]):
        free_tree(state, rules, work.dead[at])
    return 0, 0


def _entry_points(sources: tuple[int, ...]) -> tuple[Learn, Score]:
    @cached
    def learn_block(
        state: State,
        rules: Rules,
        habits: Habits,
        work: Work,
        parts: Parts,
        seen: Reals,
        numeric: Reals,
        categories: Ids,
        target: Reals,
        weight: Reals,
        out: Reals,
        apart: bool,
        row: int,
        attempt: int,
    ) -> tuple[int, int, int, int]:
        """Go on at `row`, from its split attempt number `attempt` on (-1: from its start). Returns row and
        attempt to go on with, and the nodes and entries that need more room first."""
        _ = sources
        while row < len(target):
            if attempt < 0:
                given = seen[row], numeric[row], categories[row], target[row], weight[row]
                nodes, entries = begin_row(state, rules, habits, work, *given, out, apart, row)
                if nodes != 0:
                    return row, attempt, nodes, entries
                attempt = 0
            while attempt < work.size[0]:
                leaf = work.due[attempt]
                if state.node_link[leaf, DUE] != 0:
                    short = attempt_split(state, rules, habits, leaf, parts)
                    if short != 0:
                        return row, attempt, short, 0
                    state.node_real[leaf, ATTEMPT] = state.node_real[leaf, WEIGHT]
                    state.node_link[leaf, DUE] = 0
                attempt += 1
            attempt = -1
            state.counters[ROWS] += 1
            row += 1
        return row, attempt, 0, 0

    @cached
    def score_block(state: State, rules: Rules, numeric: Reals, categories: Ids, out: Reals, told: Reals) -> None:
        _ = sources
        for row in range(len(out)):
            score_row(state, rules, numeric[row], categories[row], out, row, told)

    return learn_block, score_block


learn_block, score_block = _entry_points(SOURCES)
