"""The regressor's state: the tree's nodes as the classifier keeps them, with moments of the target for classes.

Rows of `node_*` are nodes, of `slot_*` and `cat_*` the observers of one active leaf, of `entry_*` either one value
of a nominal observer (chained by SIBLING) or one key of a numeric observer's binary search tree (SIBLING is then
its parent). Columns that `stream.learn.tree` reads stand where it has them, so that its kernels for walking, growing
and indexing run on this state too. Row 0 of slots and entries is never used: 0 as a link means none.
"""

from typing import Any, NamedTuple

import numpy as np

from stream.learn.tree.layout import (
    COUNTERS,
    ENTRIES,
    SLOTS,
    Ids,
    Ints,
    Reals,
    capacity,
    refill,
    subset_width,
    table_size,
    used,
)

# node_real: THRESHOLD, WEIGHT, ATTEMPT as in the tree; then the target's mean and sum of squares in the leaf, and
# the faded squared errors of the leaf's mean and of its linear model.
MEAN, SQUARES, MEAN_ERROR, MODEL_ERROR = range(3, 7)
VALUE, COUNT, MIDDLE, SPREAD = range(4)  # entry_real: the key; weight, mean and sum of squares of its targets
BELOW, ABOVE = range(2, 4)  # entry_int, after OWNER and SIBLING: the search tree's children
ALL, LEFT, RIGHT = range(3)  # rows of Parts.moments for a split into two
MEAN_LEAF, MODEL_LEAF, ADAPTIVE_LEAF = range(3)  # Rules.leaf_mode


class State(NamedTuple):
    """n nodes, s slots, e entries; f numeric and c nominal attributes."""

    counters: Ints  # as in the tree
    node_int: Ints  # [n, 11] as in the tree
    node_real: Reals  # [n, 7]
    node_id: Ids  # [n, 2] as in the tree
    node_model: Reals  # [n, f + 1] weights of the leaf's linear model, then its intercept
    slot_int: Ints  # [s, 1 + f + c + ..] as in the tree
    slot_root: Ints  # [s, f] the roots of the search trees
    cat_int: Ints  # [s, c, 3] HEAD, TAIL, VALUES
    entry_int: Ints  # [e, 4]
    entry_id: Ids  # [e, 1]
    entry_real: Reals  # [e, 4]
    branch_table: Ints  # [power of two >= 2n] (parent, value) -> node
    entry_table: Ints  # [power of two >= 2e] (slot and attribute, value) -> entry


class Parts(NamedTuple):
    """Scratch: the moments (weight, mean, sum of squares) of each branch of a candidate split."""

    moments: Reals  # [branches + 1, 3], the leaf's own first
    entry: Ints  # [branches] the entries of a nominal observer, by value


class Rules(NamedTuple):
    """The parameters as the kernels read them. `two` is an exponent kept from the optimiser."""

    numeric: int
    categories: int
    leaf_mode: int
    grace_period: float
    max_depth: int
    log_confidence: float  # ln(1 / delta)
    tau: float
    decay: float
    min_samples_split: float
    binary_split: bool
    merit_preprune: bool
    digits_scale: float  # 10 ** digits; 0 for numbers as they are
    leaf_lr: float
    max_nodes: int
    max_observer_bytes: int
    slot_bytes: int
    entry_bytes: int
    two: float
    max_features: int  # attributes that a leaf draws to observe; 0: it observes all


def allocate(numeric: int, categories: int, nodes: int, slots: int, entries: int, max_features: int = 0) -> State:
    """An empty state with room for so many nodes, slots and entries (one of each is the unused null)."""
    state = State(
        counters=np.zeros(COUNTERS, np.int64),
        node_int=np.zeros((nodes, 11), np.int64),
        node_real=np.zeros((nodes, 7)),
        node_id=np.zeros((nodes, 2), np.uint64),
        node_model=np.zeros((nodes, numeric + 1)),
        slot_int=np.zeros((slots, 1 + numeric + categories + subset_width(max_features)), np.int64),
        slot_root=np.zeros((slots, numeric), np.int64),
        cat_int=np.zeros((slots, categories, 3), np.int64),
        entry_int=np.zeros((entries, 4), np.int64),
        entry_id=np.zeros((entries, 1), np.uint64),
        entry_real=np.zeros((entries, 4)),
        branch_table=np.zeros(table_size(nodes), np.int64),
        entry_table=np.zeros(table_size(entries), np.int64),
    )
    state.counters[[SLOTS, ENTRIES]] = 1
    return state


def scratch(branches: int) -> Parts:
    """Scratch for candidates of so many branches."""
    return Parts(moments=np.zeros((branches + 1, 3)), entry=np.zeros(branches, np.int64))


def slot_bytes(numeric: int, categories: int, max_features: int = 0) -> int:
    """Bytes of one active leaf's observers, without their entries."""
    return 8 * (1 + 2 * numeric + 4 * categories + subset_width(max_features))


ENTRY_BYTES = 8 * (4 + 1 + 4 + 2)  # its share of the hash table included


def enlarge(state: State, needed: tuple[int, int, int], useful: tuple[int, int, int]) -> State:
    """A state with the same content and the (nodes, slots, entries) needed; the tables are left empty."""
    held: Any = state
    numeric, categories = state.slot_root.shape[1], state.cat_int.shape[1]
    max_features = max(0, state.slot_int.shape[1] - numeric - categories - 2)
    nodes, slots, entries = capacity(held, needed, useful)
    larger = allocate(numeric, categories, nodes, slots, entries, max_features)
    into: Any = larger
    refill(into, used(held))
    return larger
