"""The tree's state: a handful of flat arrays, so that a snapshot is a copy and a kernel needs no objects.

Rows of `node_*` and `class_*` are nodes (0 is the root, and so 0 as a child or sibling means none). Rows of
`slot_*`, `gauss*` and `cat_*` are the observers of one active leaf; rows of `entry_*` are one value of one
nominal observer. Slot 0 and entry 0 are never used: 0 as a link means none.

Invariant: freed and unused rows are zero but for the free-list link, and which row is used next depends on
the rows learned alone. Capacity, the two hash tables and `found` are derived: they never leave the process.
"""

from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
Ids = NDArray[np.uint64]

# node_int columns. SLOT is 0 for an inactive leaf; ROW and BORN say when it split and into how many.
KIND, ATTRIBUTE, DEPTH, PARENT, FIRST, LAST, NEXT, SLOT, SEEN, ROW, BORN = range(11)
LEAF, NUMERIC, EQUAL, MULTIWAY = range(4)  # values of KIND
# node_real columns: the leaf's weight is the sum of its class weights, in the order first seen.
THRESHOLD, WEIGHT, ATTEMPT, MAJORITY_RIGHT, BAYES_RIGHT = range(5)
TEST, BRANCH = range(2)  # node_id columns: the value tested by EQUAL; the value leading here from MULTIWAY
COUNT, MEAN, SQUARES, LOW, HIGH, SPREAD, LOG_SD = range(7)  # gauss columns (SPREAD = -2 variance, or 0)
HEAD, TAIL, VALUES, CLASSES, ORDER = range(5)  # cat_int columns, then class order, list heads, list tails
OWNER, SIBLING, CHAIN = range(3)  # entry_int columns, then one link for each class
# counters
(ROWS, NODES, SLOTS, ENTRIES, FREE_SLOT, FREE_ENTRY, LIVE_SLOTS, LIVE_ENTRIES, BYTES) = range(9)
SPLITS_REFUSED, BRANCHES_REFUSED, VALUES_DROPPED, INFINITE, UNWEIGHTED, NULL_WINS, SUBSET_SEED, SUBSET_DRAWS = range(
    9, 17
)
COUNTERS = 17
SMALL = 256  # rows: up to here, growing costs more by the call than by the row


class State(NamedTuple):
    """n nodes, s slots, e entries; k classes, f numeric and c nominal attributes."""

    counters: Ints  # [17]
    node_int: Ints  # [n, 11]
    node_real: Reals  # [n, 5]
    node_id: Ids  # [n, 2]
    class_weight: Reals  # [n, k]
    class_order: Ints  # [n, k] classes as first seen; SEEN of them
    slot_int: Ints  # [s, 1 + f + c] how many observers, then their attributes as first seen; with subsets,
    # [.. + 1 + max_features] then how many attributes the leaf may observe (0: not drawn yet), and which
    gauss: Reals  # [s, f, k, 7]
    gauss_order: Ints  # [s, f, 1 + k] how many classes, then the classes as first seen
    cat_int: Ints  # [s, c, 4 + 3k]
    cat_total: Reals  # [s, c, k]
    entry_int: Ints  # [e, 2 + k]
    entry_id: Ids  # [e, 1]
    entry_weight: Reals  # [e, k]
    branch_table: Ints  # [power of two >= 2n] (parent, value) -> node
    entry_table: Ints  # [power of two >= 2e] (slot and attribute, value) -> entry
    found: Ints  # [s, c] where learning looks first: the entry that it found last, which may be another's by now


class Parts(NamedTuple):
    """Scratch: the class weights of each branch of a candidate split, classes in the branch's own order."""

    weight: Reals  # [branches, k]
    label: Ints  # [branches, k]
    size: Ints  # [branches] how many classes the branch holds
    entry: Ints  # [branches] the entries of a nominal observer, by value


class Rules(NamedTuple):
    """The parameters as the kernels read them. `half` and `two` are exponents kept from the optimiser."""

    numeric: int
    categories: int
    classes: int
    criterion: int
    leaf_mode: int
    grace_period: float
    max_depth: int
    log_confidence: float  # ln(1 / delta)
    tau: float
    nb_threshold: float
    n_splits: int
    binary_split: bool
    min_branch_fraction: float
    max_share_to_split: float
    merit_preprune: bool
    max_nodes: int
    max_observer_bytes: int
    slot_bytes: int
    entry_bytes: int
    half: float
    two: float


# Constants as arguments are numpy scalars: numba would compile a function afresh for each Python literal.
ROOT, ONE, BINARY = cast(int, np.int64(0)), cast(int, np.int64(1)), cast(int, np.int64(2))
LEFT, RIGHT = cast(int, np.int64(0)), cast(int, np.int64(1))
YES, NO = cast(bool, np.bool_(True)), cast(bool, np.bool_(False))

GAIN, GINI, HELLINGER = range(3)  # Rules.criterion
MAJORITY, BAYES, ADAPTIVE = range(3)  # Rules.leaf_mode
ROWS_OF = {"node": NODES, "class": NODES, "slot": SLOTS, "gauss": SLOTS, "cat": SLOTS, "entry": ENTRIES}
TABLES = ("branch_table", "entry_table", "found")


def allocate(
    numeric: int, categories: int, classes: int, nodes: int, slots: int, entries: int, max_features: int = 0
) -> State:
    """An empty state with room for so many nodes, slots and entries (one of each is the unused null)."""
    attributes = numeric + categories
    state = State(
        counters=np.zeros(COUNTERS, np.int64),
        node_int=np.zeros((nodes, 11), np.int64),
        node_real=np.zeros((nodes, 5)),
        node_id=np.zeros((nodes, 2), np.uint64),
        class_weight=np.zeros((nodes, classes)),
        class_order=np.zeros((nodes, classes), np.int64),
        slot_int=np.zeros((slots, 1 + attributes + subset_width(max_features)), np.int64),
        gauss=np.zeros((slots, numeric, classes, 7)),
        gauss_order=np.zeros((slots, numeric, 1 + classes), np.int64),
        cat_int=np.zeros((slots, categories, 4 + 3 * classes), np.int64),
        cat_total=np.zeros((slots, categories, classes)),
        entry_int=np.zeros((entries, 2 + classes), np.int64),
        entry_id=np.zeros((entries, 1), np.uint64),
        entry_weight=np.zeros((entries, classes)),
        branch_table=np.zeros(table_size(nodes), np.int64),
        entry_table=np.zeros(table_size(entries), np.int64),
        found=np.zeros((slots, categories), np.int64),
    )
    state.counters[[SLOTS, ENTRIES]] = 1
    return state


def scratch(classes: int, branches: int) -> Parts:
    """Scratch for candidates of so many branches."""
    return Parts(
        weight=np.zeros((branches, classes)),
        label=np.zeros((branches, classes), np.int64),
        size=np.zeros(branches, np.int64),
        entry=np.zeros(branches, np.int64),
    )


def subset_width(max_features: int) -> int:
    """Columns of slot_int for a leaf's subset of the attributes."""
    return 1 + max_features if max_features else 0


def slot_bytes(numeric: int, categories: int, classes: int, max_features: int = 0) -> int:
    """Bytes of one active leaf's observers, without the values of its nominal ones."""
    observers = numeric * (8 * classes + 1) + categories * (4 + 4 * classes)
    return 8 * (1 + numeric + categories + subset_width(max_features) + observers)


def entry_bytes(classes: int) -> int:
    """Bytes of one value of one nominal observer, its share of the hash table included."""
    return 8 * (2 + classes + 1 + classes + 2)


def used(state: State) -> dict[str, NDArray[Any]]:
    """Copies of the arrays that are the state, cut to the rows in use."""
    return {name: rows.copy() for name, rows in _used(state)}


def wipe(state: State) -> None:
    """Make the state an empty one, as `allocate` does, with the room that it has."""
    for _, rows in _used(state):
        rows[:] = 0
    for name in set(TABLES) & set(state._fields):
        getattr(state, name)[:] = 0
    state.counters[[SLOTS, ENTRIES]] = 1


def refill(target: State, arrays: dict[str, NDArray[Any]]) -> None:
    """Put `arrays` (as `used` gives them) into an empty state that has room for them; tables stay empty."""
    for name, rows in arrays.items():
        getattr(target, name)[: len(rows)] = rows


def _used(state: State) -> list[tuple[str, NDArray[Any]]]:
    rows = {"counters": len(state.counters)} | {
        name: int(state.counters[ROWS_OF[name.split("_")[0]]])
        for name in state._fields
        if name not in ("counters", *TABLES)
    }
    return [(name, getattr(state, name)[:count]) for name, count in rows.items()]


def enlarge(state: State, needed: tuple[int, int, int], useful: tuple[int, int, int]) -> State:
    """A state with the same content and the (nodes, slots, entries) needed; the tables are left empty."""
    numeric, classes = state.gauss.shape[1:3]
    categories = state.cat_int.shape[1]
    max_features = max(0, state.slot_int.shape[1] - numeric - categories - 2)
    nodes, slots, entries = capacity(state, needed, useful)
    larger = allocate(numeric, categories, classes, nodes, slots, entries, max_features)
    refill(larger, dict(_used(state)))
    return larger


def capacity(state: State, needed: tuple[int, int, int], useful: tuple[int, int, int]) -> list[int]:
    """Rows to make for (nodes, slots, entries): what is short doubles (small, it quadruples), but to no more than the
    bounds make useful."""
    present = (len(state.node_int), len(state.slot_int), len(state.entry_int))
    return [
        have if need <= have else max(need, min((4 if have < SMALL else 2) * have, most))
        for have, need, most in zip(present, needed, useful, strict=True)
    ]


def table_size(rows: int) -> int:
    return 1 << max(4, (2 * rows - 1).bit_length())
