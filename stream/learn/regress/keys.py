"""A numeric attribute's observer: River's (T)E-BST, a binary search tree of the values met.

Each key holds the moments of the targets at or below it, down to its last right-hand ancestor. Sums over the tree
run in River's order, on parent links instead of a stack, so nothing is allocated however deep the tree is.
Source: Ikonomovska, Gama and Dzeroski (2011); Osojnik (2017); `river.tree.splitter.EBSTSplitter`.
"""

import math

import numpy as np

from stream.jit import compiled
from stream.learn.regress.layout import (
    ABOVE,
    BELOW,
    COUNT,
    LEFT,
    MIDDLE,
    RIGHT,
    SPREAD,
    VALUE,
    Parts,
    Rules,
    State,
)
from stream.learn.regress.moments import Moments, minus, of_entry, of_part, plus, put, reduction, with_target
from stream.learn.regress.shared import bare_entry
from stream.learn.tree.layout import BYTES, FREE_ENTRY, LIVE_ENTRIES, SIBLING, VALUES_DROPPED

HALVES = 134217729.0  # 2 ** 27 + 1: Dekker's constant for cutting a float into two halves
INTEGRAL = 2.0**53


@compiled
def rounded(value: float, scale: float) -> float:
    """`round(value, digits)` as Python does it, correct to the last bit; scale is 10 ** digits, at most 1e15."""
    product = value * scale
    if scale == 0.0 or not abs(product) < INTEGRAL:
        return value
    cut = HALVES * value
    high = cut - (cut - value)
    low = value - high
    cut = HALVES * scale
    scale_high = cut - (cut - scale)
    scale_low = scale - scale_high
    error = ((high * scale_high - product) + high * scale_low + low * scale_high) + low * scale_low
    whole = np.rint(product)
    apart = product - whole
    if apart == 0.5 and error > 0.0:
        whole += 1.0
    elif apart == -0.5 and error < 0.0:
        whole -= 1.0
    return float(whole / scale)


@compiled
def add_target(state: State, entry: int, target: float, weight: float) -> None:
    """Show a target to an entry."""
    count, middle, spread = with_target(of_entry(state, entry), target, weight)
    state.entry_real[entry, COUNT] = count
    state.entry_real[entry, MIDDLE] = middle
    state.entry_real[entry, SPREAD] = spread


@compiled
def observe_key(
    state: State, rules: Rules, slot: int, attribute: int, value: float, target: float, weight: float
) -> None:
    """Add the target at `value`; a new key needs an entry, and none may be left to give."""
    value = rounded(value, rules.digits_scale)
    last = 0
    key = state.slot_root[slot, attribute]
    above = False
    while key != 0:
        here = state.entry_real[key, VALUE]
        if value <= here:
            add_target(state, key, target, weight)
        if value == here:
            return
        last, above = key, value > here
        key = state.entry_int[key, ABOVE if above else BELOW]
    if state.counters[BYTES] + rules.entry_bytes > rules.max_observer_bytes:
        state.counters[VALUES_DROPPED] += 1
        return
    key = bare_entry(state, rules)
    state.entry_real[key, VALUE] = value
    add_target(state, key, target, weight)
    state.entry_int[key, SIBLING] = last
    if last == 0:
        state.slot_root[slot, attribute] = key
    else:
        state.entry_int[last, ABOVE if above else BELOW] = key


@compiled
def lowest(state: State, key: int) -> int:
    """The smallest key at or under `key`."""
    while state.entry_int[key, BELOW] != 0:
        key = state.entry_int[key, BELOW]
    return key


@compiled
def merit_at(state: State, rules: Rules, key: int, before: Moments, parts: Parts) -> tuple[float, Moments, Moments]:
    """Merit and both sides of a cut at `key`; `before` are the moments of its left-hand ancestors."""
    left = plus(rules, of_entry(state, key), before)
    right = minus(rules, of_part(parts, 0), left)
    return reduction(rules, parts, left, right), left, right


@compiled
def best_key(state: State, rules: Rules, slot: int, attribute: int, parts: Parts) -> tuple[float, float]:
    """(merit, threshold) of the best cut, the first of equals, its sides in `parts`; -inf when there is no key."""
    best, threshold = -math.inf, 0.0
    if state.slot_root[slot, attribute] == 0:
        return best, threshold
    before = (0.0, 0.0, 0.0)
    key = lowest(state, state.slot_root[slot, attribute])
    while key != 0:
        merit, left, right = merit_at(state, rules, key, before, parts)
        if merit > best:
            best, threshold = merit, state.entry_real[key, VALUE]
            put(parts, LEFT, left)
            put(parts, RIGHT, right)
        if state.entry_int[key, ABOVE] != 0:
            before = plus(rules, before, of_entry(state, key))
            key = lowest(state, state.entry_int[key, ABOVE])
            continue
        parent = state.entry_int[key, SIBLING]
        while parent != 0 and state.entry_int[parent, ABOVE] == key:
            before = minus(rules, before, of_entry(state, parent))
            key, parent = parent, state.entry_int[parent, SIBLING]
        key = parent
    return best, threshold


@compiled
def prune_keys(state: State, rules: Rules, slot: int, attribute: int, best: float, ratio: float, parts: Parts) -> None:
    """Drop keys, from the leaves of the search tree up, whose merit is under `ratio` of the best (FIMT-DD)."""
    if state.slot_root[slot, attribute] == 0:
        return
    before = (0.0, 0.0, 0.0)
    key = lowest(state, state.slot_root[slot, attribute])
    came_from_above, bad = False, True
    while key != 0:
        if not came_from_above and bad and state.entry_int[key, ABOVE] != 0:
            before = plus(rules, before, of_entry(state, key))
            key = lowest(state, state.entry_int[key, ABOVE])
            continue
        if came_from_above:
            before = minus(rules, before, of_entry(state, key))
        if bad:
            merit, _left, _right = merit_at(state, rules, key, before, parts)
            bad = merit / best < ratio
        parent = state.entry_int[key, SIBLING]
        came_from_above = parent != 0 and state.entry_int[parent, ABOVE] == key
        if bad:
            drop_key(state, rules, slot, attribute, key)
        key = parent


@compiled
def drop_key(state: State, rules: Rules, slot: int, attribute: int, key: int) -> None:
    """Take a key without children out of its search tree and give it back."""
    parent = state.entry_int[key, SIBLING]
    if parent == 0:
        state.slot_root[slot, attribute] = 0
    elif state.entry_int[parent, BELOW] == key:
        state.entry_int[parent, BELOW] = 0
    else:
        state.entry_int[parent, ABOVE] = 0
    give_back(state, rules, key)


@compiled
def give_back(state: State, rules: Rules, entry: int) -> None:
    """Zero an entry that nothing points to any more, and put it on the free list."""
    state.entry_int[entry, :] = 0
    state.entry_real[entry, :] = 0.0
    state.entry_id[entry, 0] = 0
    state.entry_int[entry, SIBLING] = state.counters[FREE_ENTRY]
    state.counters[FREE_ENTRY] = entry
    state.counters[LIVE_ENTRIES] -= 1
    state.counters[BYTES] -= rules.entry_bytes


@compiled
def clear_keys(state: State, rules: Rules, slot: int, attribute: int) -> None:
    """Give all keys of an observer back, leaves of the search tree first."""
    key = state.slot_root[slot, attribute]
    while key != 0:
        if state.entry_int[key, BELOW] != 0:
            key = state.entry_int[key, BELOW]
        elif state.entry_int[key, ABOVE] != 0:
            key = state.entry_int[key, ABOVE]
        else:
            parent = state.entry_int[key, SIBLING]
            drop_key(state, rules, slot, attribute, key)
            key = parent
