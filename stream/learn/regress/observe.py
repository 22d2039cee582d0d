"""The observers of an active leaf: a search tree of keys for numbers, moments by value for categories."""

import math

from stream.jit import compiled
from stream.learn.regress.keys import add_target, clear_keys, give_back, observe_key
from stream.learn.regress.layout import Rules, State
from stream.learn.regress.shared import enlist, find_entry, remove, take_entry
from stream.learn.tree.layout import (
    BYTES,
    FREE_SLOT,
    HEAD,
    INFINITE,
    LIVE_SLOTS,
    OWNER,
    SIBLING,
    VALUES,
    VALUES_DROPPED,
    Ids,
    Reals,
)


@compiled
def observe(
    state: State, rules: Rules, slot: int, numeric: Reals, categories: Ids, target: float, weight: float
) -> None:
    """Show one row to a leaf's observers, making those for attributes not met before."""
    for attribute in range(rules.numeric):
        observe_number(state, rules, slot, attribute, numeric[attribute], target, weight)
    for nominal in range(rules.categories):
        if categories[nominal] != 0:
            observe_value(state, rules, slot, nominal, categories[nominal], target, weight)


@compiled
def observe_number(
    state: State, rules: Rules, slot: int, attribute: int, value: float, target: float, weight: float
) -> None:
    """Add the target at a number, unless it is absent."""
    if math.isfinite(value):
        if state.slot_root[slot, attribute] == 0 and not observed(state, slot, attribute):
            enlist(state, slot, attribute)
        observe_key(state, rules, slot, attribute, value, target, weight)
    elif not math.isnan(value):
        state.counters[INFINITE] += 1


@compiled
def observed(state: State, slot: int, attribute: int) -> bool:
    """Whether the slot observes `attribute` (its keys may all have been pruned)."""
    at = state.slot_int[slot, 0]
    while at > 0 and state.slot_int[slot, at] != attribute:
        at -= 1
    return bool(at > 0)


@compiled
def observe_value(
    state: State, rules: Rules, slot: int, nominal: int, value: int, target: float, weight: float
) -> None:
    """Add the target to a category; a new one needs an entry, and none may be left to give."""
    entry = find_entry(state, slot * rules.categories + nominal, value)
    if entry == 0:
        if state.counters[BYTES] + rules.entry_bytes > rules.max_observer_bytes:
            state.counters[VALUES_DROPPED] += 1
            return
        if state.cat_int[slot, nominal, VALUES] == 0:
            enlist(state, slot, rules.numeric + nominal)
        entry = take_entry(state, rules, slot, nominal, value)
    add_target(state, entry, target, weight)


@compiled
def clear_slot(state: State, rules: Rules, slot: int) -> None:
    """Forget all that a leaf's observers saw; which attributes they may be of stays."""
    for attribute in range(rules.numeric):
        clear_keys(state, rules, slot, attribute)
    for nominal in range(rules.categories):
        entry = state.cat_int[slot, nominal, HEAD]
        while entry != 0:
            following = state.entry_int[entry, SIBLING]
            remove(state.entry_table, state.entry_int, OWNER, state.entry_id, 0, entry)
            give_back(state, rules, entry)
            entry = following
    state.slot_int[slot, : 1 + rules.numeric + rules.categories] = 0
    state.cat_int[slot, :, :] = 0


@compiled
def free_slot(state: State, rules: Rules, slot: int) -> None:
    """Clear a slot and give it back."""
    clear_slot(state, rules, slot)
    state.slot_int[slot, :] = 0
    state.slot_int[slot, 0] = state.counters[FREE_SLOT]
    state.counters[FREE_SLOT] = slot
    state.counters[LIVE_SLOTS] -= 1
    state.counters[BYTES] -= rules.slot_bytes
