"""The adaptive tree's state: the Hoeffding tree's, and for each node its alternate tree, error and drift detector.

The arrays of `stream.learn.tree.layout.State` stand here under the same names, so that its kernels run on this state.
Node 0 is never used: the root is wherever TOP says, since an alternate tree may take its place. Nodes come and go;
a freed one is zero but for NEXT, the link of the free list.
"""

from typing import Any, NamedTuple

import numpy as np

from stream.learn.tree import layout as tree
from stream.learn.tree.layout import COUNTERS, NODES, Ids, Ints, Reals, capacity, refill, used

# counters after the tree's own: the root, the free list of nodes and how many nodes are in use; the draws; how
# often an alternate tree was started, took over, or was dropped, or could not be started for want of room.
TOP, FREE_NODE, LIVE_NODES, SEED, DRAWS, STARTED, SWITCHED, PRUNED, ALTERNATES_REFUSED = range(COUNTERS, COUNTERS + 9)
ALTERNATE, DUE = range(2)  # node_link: the root of the alternate tree, or 0; whether a split attempt waits
ERRORS, ERROR_RATE = range(2)  # node_error: how many predictions were judged, and the share that was wrong
NESTING_MAX = 16  # alternate trees within alternate trees


class State(NamedTuple):
    """As the tree's State; n nodes."""

    counters: Ints  # [15 + 9]
    node_int: Ints
    node_real: Reals
    node_id: Ids
    class_weight: Reals
    class_order: Ints
    slot_int: Ints
    gauss: Reals
    gauss_order: Ints
    cat_int: Ints
    cat_total: Reals
    entry_int: Ints
    entry_id: Ids
    entry_weight: Reals
    branch_table: Ints
    entry_table: Ints
    found: Ints
    node_link: Ints  # [n, 2]
    node_error: Reals  # [n, 2]
    node_window: Reals  # [n, ADWIN_REALS] the drift detector's numbers
    node_buckets: Ints  # [n, ADWIN_INTS] and its counts


class Work(NamedTuple):
    """Scratch for one row: leaves that are due for a split attempt, roots of trees to be freed, votes."""

    size: Ints  # [2] how many of each
    due: Ints  # [n]
    dead: Ints  # [n]
    votes: Reals  # [3, k]


class Habits(NamedTuple):
    """What the adaptive tree does besides growing."""

    bootstrap: bool
    grow_alternates: bool
    window: float  # drift_window_threshold
    log_significance: float  # ln(2 / switch_significance)
    adwin_delta: float


def allocate(
    numeric: int, categories: int, classes: int, widths: tuple[int, int], nodes: int, slots: int, entries: int
) -> State:
    """An empty state with room for so many nodes, slots and entries (one of each is the unused null)."""
    grown = tree.allocate(numeric, categories, classes, nodes, slots, entries)
    counters = np.zeros(ALTERNATES_REFUSED + 1, np.int64)
    counters[:COUNTERS] = grown.counters
    counters[NODES] = 1
    return State(
        **grown._replace(counters=counters)._asdict(),
        node_link=np.zeros((nodes, 2), np.int64),
        node_error=np.zeros((nodes, 2)),
        node_window=np.zeros((nodes, widths[0])),
        node_buckets=np.zeros((nodes, widths[1]), np.int64),
    )


def scratch(classes: int, nodes: int) -> Work:
    """Scratch for so many nodes."""
    counts = np.zeros((3, max(2, nodes)), np.int64)
    return Work(size=np.zeros(2, np.int64), due=counts[0], dead=counts[1], votes=np.zeros((3, classes)))


def enlarge(state: State, needed: tuple[int, int, int], useful: tuple[int, int, int]) -> State:
    """A state with the same content and the (nodes, slots, entries) needed; the tables are left empty."""
    held: Any = state
    numeric, classes = state.gauss.shape[1:3]
    widths = state.node_window.shape[1], state.node_buckets.shape[1]
    rows = capacity(held, needed, useful)
    larger = allocate(numeric, state.cat_int.shape[1], classes, widths, *rows)
    into: Any = larger
    refill(into, used(held))
    return larger
