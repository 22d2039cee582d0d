"""An open-addressing index from (owner, value) to a row, for branches and for nominal values.

The rows hold their own keys, so the table is a list of row numbers (0 = empty). Removal shifts back what
follows: there are no tombstones, and lookups stay short however long the tree runs.
"""

import numpy as np

from stream.jit import compiled
from stream.learn.tree.layout import (
    BRANCH,
    ENTRIES,
    FIRST,
    KIND,
    MULTIWAY,
    NEXT,
    NODES,
    OWNER,
    PARENT,
    Ids,
    Ints,
    Rules,
    State,
)


@compiled
def home(table: Ints, owner: int, value: int) -> int:
    """The place where the search for a key begins (a multiply-xorshift of both halves)."""
    mixed = (np.uint64(value) ^ (np.uint64(owner) * np.uint64(0x9E3779B97F4A7C15))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(31)
    mixed *= np.uint64(0x94D049BB133111EB)
    return np.int64((mixed >> np.uint64(29)) & np.uint64(table.size - 1))  # type: ignore[return-value]


@compiled
def place(table: Ints, ints: Ints, column: int, ids: Ids, id_column: int, owner: int, value: int) -> int:
    """The place that holds the key, or the empty place where it belongs."""
    at = home(table, owner, value)
    while table[at] != 0:
        row = table[at]
        if ids[row, id_column] == value and ints[row, column] == owner:
            break
        at = (at + 1) & (table.size - 1)
    return at


@compiled
def remove(table: Ints, ints: Ints, column: int, ids: Ids, id_column: int, row: int) -> None:
    """Take `row` (whose key is still in place) out of the table."""
    mask = table.size - 1
    hole = place(table, ints, column, ids, id_column, ints[row, column], ids[row, id_column])
    table[hole] = 0
    at = (hole + 1) & mask
    while table[at] != 0:
        begin = home(table, ints[table[at], column], ids[table[at], id_column])
        if ((at - begin) & mask) >= ((at - hole) & mask):
            table[hole] = table[at]
            table[at] = 0
            hole = at
        at = (at + 1) & mask


@compiled
def find_branch(state: State, node: int, value: int) -> int:
    """The child of multiway `node` for `value`, or 0."""
    at = place(state.branch_table, state.node_int, PARENT, state.node_id, BRANCH, node, value)
    child: int = state.branch_table[at]
    return child


@compiled
def find_entry(state: State, owner: int, value: int) -> int:
    """The entry of a nominal observer for `value`, or 0."""
    at = place(state.entry_table, state.entry_int, OWNER, state.entry_id, 0, owner, value)
    entry: int = state.entry_table[at]
    return entry


@compiled
def known_entry(state: State, rules: Rules, slot: int, nominal: int, value: int) -> int:
    """As `find_entry`, looking first at the entry found last."""
    owner = slot * rules.categories + nominal
    entry: int = state.found[slot, nominal]
    if state.entry_id[entry, 0] == value and state.entry_int[entry, OWNER] == owner:
        return entry
    return find_entry(state, owner, value)


@compiled
def index_branch(state: State, node: int) -> None:
    """Make a child of a multiway node, its PARENT and BRANCH set, findable."""
    value = state.node_id[node, BRANCH]
    parent = state.node_int[node, PARENT]
    at = place(state.branch_table, state.node_int, PARENT, state.node_id, BRANCH, parent, value)
    state.branch_table[at] = node


@compiled
def index_entry(state: State, entry: int) -> None:
    """Make an entry, its owner and value set, findable."""
    owner = state.entry_int[entry, OWNER]
    at = place(state.entry_table, state.entry_int, OWNER, state.entry_id, 0, owner, state.entry_id[entry, 0])
    state.entry_table[at] = entry


@compiled
def index_all(state: State) -> None:
    """Fill both empty tables from the rows (a free entry has owner 0: slots begin at 1)."""
    for node in range(state.counters[NODES]):
        if state.node_int[node, KIND] == MULTIWAY:
            child = state.node_int[node, FIRST]
            while child != 0:
                index_branch(state, child)
                child = state.node_int[child, NEXT]
    for entry in range(1, state.counters[ENTRIES]):
        if state.entry_int[entry, OWNER] != 0:
            index_entry(state, entry)
