"""The observers of an active leaf: a Gaussian a class for numbers, weights by value for categories."""

import math

from stream.jit import compiled, inlined
from stream.learn.tree.bayes import note_class
from stream.learn.tree.index import index_entry, known_entry, remove
from stream.learn.tree.layout import (
    BYTES,
    CHAIN,
    CLASSES,
    COUNT,
    ENTRIES,
    FREE_ENTRY,
    FREE_SLOT,
    HEAD,
    HIGH,
    INFINITE,
    LIVE_ENTRIES,
    LIVE_SLOTS,
    LOG_SD,
    LOW,
    MEAN,
    NODES,
    ORDER,
    OWNER,
    SIBLING,
    SLOTS,
    SPREAD,
    SQUARES,
    TAIL,
    VALUES,
    VALUES_DROPPED,
    Ids,
    Reals,
    Rules,
    State,
)


@inlined
def is_short(state: State, entries: int) -> bool:
    """Whether a row, which may bring a node and so many entries, might not find room for them."""
    nodes_short = state.counters[NODES] + 1 > len(state.node_int)
    slots_short = state.counters[LIVE_SLOTS] + 2 > len(state.slot_int)
    return bool(nodes_short or slots_short or state.counters[LIVE_ENTRIES] + 1 + entries > len(state.entry_int))


@inlined
def observe(state: State, rules: Rules, slot: int, numeric: Reals, categories: Ids, label: int, weight: float) -> None:
    """Show one row to a leaf's observers, making those for attributes not met before."""
    for attribute in range(rules.numeric):
        value = numeric[attribute]
        if math.isfinite(value):
            if state.gauss_order[slot, attribute, 0] == 0:
                enlist(state, slot, attribute)
            observe_number(state, slot, attribute, value, label, weight)
        elif not math.isnan(value):
            state.counters[INFINITE] += 1
    for nominal in range(rules.categories):
        if categories[nominal] != 0:
            observe_category(state, rules, slot, nominal, categories[nominal], label, weight)


@compiled
def enlist(state: State, slot: int, attribute: int) -> None:
    """Note that the slot now observes `attribute`."""
    state.slot_int[slot, 0] += 1
    state.slot_int[slot, state.slot_int[slot, 0]] = attribute


@inlined
def observe_number(state: State, slot: int, attribute: int, value: float, label: int, weight: float) -> None:
    """West's weighted mean and squares for the class, and its range."""
    gauss = state.gauss[slot, attribute, label]
    if gauss[COUNT] == 0.0:
        known = state.gauss_order[slot, attribute, 0] + 1
        state.gauss_order[slot, attribute, 0] = known
        state.gauss_order[slot, attribute, known] = label
        gauss[LOW] = value
        gauss[HIGH] = value
    elif value < gauss[LOW]:
        gauss[LOW] = value
    elif value > gauss[HIGH]:
        gauss[HIGH] = value
    before = gauss[MEAN]
    gauss[COUNT] += weight
    gauss[MEAN] += (weight / gauss[COUNT]) * (value - before)
    gauss[SQUARES] += weight * (value - before) * (value - gauss[MEAN])
    variance = gauss[SQUARES] / (gauss[COUNT] - 1.0) if gauss[COUNT] > 1.0 else 0.0
    if variance > 0.0:
        gauss[SPREAD] = -2.0 * variance
        gauss[LOG_SD] = 0.5 * math.log(variance)
    else:
        gauss[SPREAD] = 0.0
        gauss[LOG_SD] = 0.0


@compiled
def observe_category(
    state: State, rules: Rules, slot: int, nominal: int, value: int, label: int, weight: float
) -> None:
    """Add to the weight of (value, class); a new value needs an entry, and none may be left to give."""
    entry = known_entry(state, rules, slot, nominal, value)
    if entry == 0:
        if state.counters[BYTES] + rules.entry_bytes > rules.max_observer_bytes:
            state.counters[VALUES_DROPPED] += 1
            return
        if state.cat_int[slot, nominal, CLASSES] == 0:
            enlist(state, slot, rules.numeric + nominal)
        entry = take_entry(state, rules, slot, nominal, value)
    if state.entry_weight[entry, label] == 0.0:
        note_class(state, slot, nominal, label)
        chain_entry(state, rules, slot, nominal, label, entry)
    state.entry_weight[entry, label] += weight
    state.cat_total[slot, nominal, label] += weight


@compiled
def chain_entry(state: State, rules: Rules, slot: int, nominal: int, label: int, entry: int) -> None:
    """Append the entry to the class's list of values, which keeps the order first seen."""
    head = ORDER + rules.classes + label
    tail = head + rules.classes
    last = state.cat_int[slot, nominal, tail]
    if last == 0:
        state.cat_int[slot, nominal, head] = entry
    else:
        state.entry_int[last, CHAIN + label] = entry
    state.cat_int[slot, nominal, tail] = entry


@compiled
def bare_entry(state: State, rules: Rules) -> int:
    """A zeroed entry that belongs to nobody yet."""
    counters = state.counters
    entry: int = counters[FREE_ENTRY]
    if entry != 0:
        counters[FREE_ENTRY] = state.entry_int[entry, SIBLING]
        state.entry_int[entry, SIBLING] = 0
    else:
        entry = counters[ENTRIES]
        counters[ENTRIES] += 1
    counters[LIVE_ENTRIES] += 1
    counters[BYTES] += rules.entry_bytes
    return entry


@compiled
def take_entry(state: State, rules: Rules, slot: int, nominal: int, value: int) -> int:
    """A zeroed entry for the value, at the end of the observer's list and in the index."""
    entry = bare_entry(state, rules)
    state.entry_int[entry, OWNER] = slot * rules.categories + nominal
    state.entry_id[entry, 0] = value
    index_entry(state, entry)
    observer = state.cat_int[slot, nominal]
    if observer[TAIL] == 0:
        observer[HEAD] = entry
    else:
        state.entry_int[observer[TAIL], SIBLING] = entry
    observer[TAIL] = entry
    observer[VALUES] += 1
    return entry


@compiled
def free_entry(state: State, rules: Rules, entry: int) -> None:
    """Zero an entry and give it back."""
    remove(state.entry_table, state.entry_int, OWNER, state.entry_id, 0, entry)
    state.entry_int[entry, :] = 0
    state.entry_weight[entry, :] = 0.0
    state.entry_id[entry, 0] = 0
    state.entry_int[entry, SIBLING] = state.counters[FREE_ENTRY]
    state.counters[FREE_ENTRY] = entry
    state.counters[LIVE_ENTRIES] -= 1
    state.counters[BYTES] -= rules.entry_bytes


@compiled
def clear_slot(state: State, rules: Rules, slot: int) -> None:
    """Forget all that a leaf's observers saw; which attributes they may observe stays."""
    for nominal in range(rules.categories):
        entry = state.cat_int[slot, nominal, HEAD]
        while entry != 0:
            following = state.entry_int[entry, SIBLING]
            free_entry(state, rules, entry)
            entry = following
    state.slot_int[slot, : 1 + rules.numeric + rules.categories] = 0
    state.gauss[slot, :, :, :] = 0.0
    state.gauss_order[slot, :, :] = 0
    state.cat_int[slot, :, :] = 0
    state.cat_total[slot, :, :] = 0.0


@compiled
def take_slot(state: State, rules: Rules) -> int:
    """A zeroed slot for a new leaf."""
    counters = state.counters
    slot: int = counters[FREE_SLOT]
    if slot != 0:
        counters[FREE_SLOT] = state.slot_int[slot, 0]
        state.slot_int[slot, 0] = 0
    else:
        slot = counters[SLOTS]
        counters[SLOTS] += 1
    counters[LIVE_SLOTS] += 1
    counters[BYTES] += rules.slot_bytes
    return slot


@compiled
def free_slot(state: State, rules: Rules, slot: int) -> None:
    """Clear a slot and give it back."""
    clear_slot(state, rules, slot)
    state.slot_int[slot, :] = 0
    state.slot_int[slot, 0] = state.counters[FREE_SLOT]
    state.counters[FREE_SLOT] = slot
    state.counters[LIVE_SLOTS] -= 1
    state.counters[BYTES] -= rules.slot_bytes
