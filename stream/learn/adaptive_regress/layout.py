"""The adaptive regressor's state: the regression tree's, and for each node its alternate tree, error and detector.

The arrays of `stream.learn.regress.layout.State` stand here under the same names, and those of the adaptive tree's
nodes under theirs, so that both their kernels run on this state.
"""

from typing import Any, NamedTuple

import numpy as np

from stream.learn.adaptive.detect import ADWIN_INTS, ADWIN_REALS
from stream.learn.adaptive.layout import ALTERNATES_REFUSED
from stream.learn.regress import layout as regress
from stream.learn.tree.layout import COUNTERS, NODES, Ids, Ints, Reals, capacity, refill, used

JUDGED, ERROR, ERROR_SQUARES = range(3)  # node_error: predictions judged; mean and squares of their absolute errors
SUM, ANSWERS = range(2)  # of what the leaves that a row reaches predict


class State(NamedTuple):
    """As the regressor's State; n nodes."""

    counters: Ints  # as the adaptive tree's
    node_int: Ints
    node_real: Reals
    node_id: Ids
    node_model: Reals
    slot_int: Ints
    slot_root: Ints
    cat_int: Ints
    entry_int: Ints
    entry_id: Ids
    entry_real: Reals
    branch_table: Ints
    entry_table: Ints
    node_link: Ints  # [n, 2] as the adaptive tree's
    node_error: Reals  # [n, 3]
    node_window: Reals  # [n, ADWIN_REALS]
    node_buckets: Ints  # [n, ADWIN_INTS]


class Work(NamedTuple):
    """Scratch for one row: leaves that are due for a split attempt, roots of trees to be freed."""

    size: Ints  # [2] how many of each
    due: Ints  # [n]
    dead: Ints  # [n]
    told: Reals  # [2] SUM and ANSWERS


class Habits(NamedTuple):
    """What the adaptive tree does besides growing."""

    bootstrap: bool
    grow_alternates: bool
    window: float  # drift_window_threshold
    significance: float  # switch_significance
    adwin_delta: float
    root_two: float


def allocate(numeric: int, categories: int, nodes: int, slots: int, entries: int) -> State:
    """An empty state with room for so many nodes, slots and entries (one of each is the unused null)."""
    grown = regress.allocate(numeric, categories, nodes, slots, entries)
    counters = np.zeros(ALTERNATES_REFUSED + 1, np.int64)
    counters[:COUNTERS] = grown.counters
    counters[NODES] = 1
    return State(
        **grown._replace(counters=counters)._asdict(),
        node_link=np.zeros((nodes, 2), np.int64),
        node_error=np.zeros((nodes, 3)),
        node_window=np.zeros((nodes, ADWIN_REALS)),
        node_buckets=np.zeros((nodes, ADWIN_INTS), np.int64),
    )


def scratch(nodes: int) -> Work:
    """Scratch for so many nodes."""
    counts = np.zeros((3, max(2, nodes)), np.int64)
    return Work(size=np.zeros(2, np.int64), due=counts[0], dead=counts[1], told=np.zeros(2))


def enlarge(state: State, needed: tuple[int, int, int], useful: tuple[int, int, int]) -> State:
    """A state with the same content and the (nodes, slots, entries) needed; the tables are left empty."""
    held: Any = state
    larger = allocate(state.slot_root.shape[1], state.cat_int.shape[1], *capacity(held, needed, useful))
    into: Any = larger
    refill(into, used(held))
    return larger
