"""Splits of the adaptive tree's leaves, with hard bounds on growth."""

from stream.jit import compiled
from stream.learn.adaptive.layout import ALTERNATE, LIVE_NODES, Habits, State
from stream.learn.adaptive.nodes import add_child, forget, free_tree, may_grow, take_over
from stream.learn.adaptive.shared import become_branch, endow, free_slot, is_pure, plan, take_slot, widest
from stream.learn.tree.layout import (
    FIRST,
    LEAF,
    LIVE_SLOTS,
    NEXT,
    PARENT,
    SLOT,
    SPLITS_REFUSED,
    Parts,
    Rules,
)


@compiled
def attempt_split(state: State, rules: Rules, habits: Habits, leaf: int, parts: Parts) -> int:
    """Split the leaf if it is time to. Returns 0, or the branches it needs room for, to try again.

    Without `grow_alternates` an alternate tree takes over with its first split, as River's does.
    """
    if is_pure(state, leaf):
        return 0
    branches = widest(state, rules, state.node_int[leaf, SLOT])
    if branches > len(parts.size):
        return int(branches)
    kind, attribute, threshold, entry, branches = plan(state, rules, leaf, parts)
    if kind == LEAF:
        return 0
    if not may_grow(state, rules, branches):
        state.counters[SPLITS_REFUSED] += 1
        return 0
    nodes_short = state.counters[LIVE_NODES] + 1 + branches > len(state.node_int)
    if nodes_short or state.counters[LIVE_SLOTS] + 1 + branches > len(state.slot_int):
        return int(branches)
    become_branch(state, leaf, kind, attribute, threshold, entry, branches)
    forget(state, leaf)
    for branch in range(branches):
        endow(state, leaf, add_child(state, leaf), branch, parts)
    free_slot(state, rules, state.node_int[leaf, SLOT])
    state.node_int[leaf, SLOT] = 0
    child = state.node_int[leaf, FIRST]
    while child != 0:
        state.node_int[child, SLOT] = take_slot(state, rules)
        child = state.node_int[child, NEXT]
    owner = state.node_int[leaf, PARENT]
    if not habits.grow_alternates and state.node_link[owner, ALTERNATE] == leaf:
        take_over(state, owner)
        free_tree(state, rules, owner)
    return 0
