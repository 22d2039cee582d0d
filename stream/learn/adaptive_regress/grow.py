"""Splits of the adaptive regressor's leaves, with hard bounds on growth."""

from stream.jit import compiled
from stream.learn.adaptive.layout import ALTERNATE, LIVE_NODES
from stream.learn.adaptive_regress.layout import Habits, State
from stream.learn.adaptive_regress.nodes import free_tree
from stream.learn.adaptive_regress.shared import (
    add_child,
    best_key,
    choose,
    clear_slot,
    forget,
    free_slot,
    index_branch,
    kind_of,
    load,
    may_grow,
    of_part,
    part_by_equality,
    part_by_value,
    sorted_entries,
    take_over,
    take_slot,
    widest,
)
from stream.learn.regress.layout import MEAN, MEAN_ERROR, MODEL_ERROR, SQUARES, Parts, Rules
from stream.learn.tree.layout import (
    ATTEMPT,
    ATTRIBUTE,
    BINARY,
    BORN,
    BRANCH,
    EQUAL,
    FIRST,
    KIND,
    LIVE_SLOTS,
    MULTIWAY,
    NEXT,
    NULL_WINS,
    NUMERIC,
    PARENT,
    ROW,
    ROWS,
    SLOT,
    SPLITS_REFUSED,
    TEST,
    THRESHOLD,
    WEIGHT,
)


@compiled
def part(state: State, rules: Rules, slot: int, kind: int, attribute: int, entry: int, parts: Parts) -> int:
    """The moments of each branch of the split into `parts`; returns how many branches it has."""
    if kind == NUMERIC:
        best_key(state, rules, slot, attribute, parts)
        return 2
    if kind == EQUAL:
        part_by_equality(state, rules, entry, parts)
        return 2
    branches: int = sorted_entries(state, slot, attribute - rules.numeric, parts.entry)
    part_by_value(state, branches, parts)
    return branches


@compiled
def attempt_split(state: State, rules: Rules, habits: Habits, leaf: int, parts: Parts) -> int:
    """Split the leaf if it is time to. Returns 0, or the branches it needs room for, to try again.

    Without `grow_alternates` an alternate tree takes over with its first split, as River's does.
    """
    slot = state.node_int[leaf, SLOT]
    branches = widest(state, rules, slot)
    if branches > len(parts.entry):
        return int(branches)
    room = branches if may_grow(state, rules, branches) else BINARY
    nodes_short = state.counters[LIVE_NODES] + 1 + room > len(state.node_int)
    if nodes_short or state.counters[LIVE_SLOTS] + 1 + room > len(state.slot_int):
        return int(room)
    load(state, leaf, parts)
    decided, attribute, threshold, entry = choose(state, rules, leaf, parts)
    if not decided:
        return 0
    if attribute < 0:
        state.counters[NULL_WINS] += 1
        clear_slot(state, rules, slot)
        return 0
    kind = kind_of(rules, attribute, entry)
    branches = part(state, rules, slot, kind, attribute, entry, parts)
    if not may_grow(state, rules, branches):
        state.counters[SPLITS_REFUSED] += 1
        return 0
    state.node_int[leaf, KIND] = kind
    state.node_int[leaf, ATTRIBUTE] = attribute
    state.node_int[leaf, ROW] = state.counters[ROWS]
    state.node_int[leaf, BORN] = branches
    state.node_real[leaf, THRESHOLD] = threshold
    if kind == EQUAL:
        state.node_id[leaf, TEST] = state.entry_id[entry, 0]
    forget(state, leaf)
    give_birth(state, rules, leaf, parts, branches)
    owner = state.node_int[leaf, PARENT]
    if not habits.grow_alternates and state.node_link[owner, ALTERNATE] == leaf:
        take_over(state, owner)
        free_tree(state, rules, owner)
    return 0


@compiled
def give_birth(state: State, rules: Rules, leaf: int, parts: Parts, branches: int) -> None:
    """Make the leaf's children from `parts`; they inherit its model. Its observers are given back."""
    for branch in range(branches):
        child = add_child(state, leaf)
        if state.node_int[leaf, KIND] == MULTIWAY:
            state.node_id[child, BRANCH] = state.entry_id[parts.entry[branch], 0]
            index_branch(state, child)
        count, mean, squares = of_part(parts, branch + 1)
        state.node_real[child, WEIGHT] = count
        state.node_real[child, ATTEMPT] = count
        state.node_real[child, MEAN] = mean
        state.node_real[child, SQUARES] = squares
        state.node_real[child, MEAN_ERROR] = state.node_real[leaf, MEAN_ERROR]
        state.node_real[child, MODEL_ERROR] = state.node_real[leaf, MODEL_ERROR]
        for at in range(rules.numeric + 1):
            state.node_model[child, at] = state.node_model[leaf, at]
    free_slot(state, rules, state.node_int[leaf, SLOT])
    state.node_int[leaf, SLOT] = 0
    state.node_model[leaf, :] = 0.0
    child = state.node_int[leaf, FIRST]
    while child != 0:
        state.node_int[child, SLOT] = take_slot(state, rules)
        child = state.node_int[child, NEXT]
