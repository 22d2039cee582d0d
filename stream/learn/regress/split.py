"""When a leaf splits, and what it turns into: River's regressor, with hard bounds on growth.

When no attribute is observed, River deactivates the leaf and its memory manager revives it at once, empty: the
observers start afresh here too.
"""

import math

from stream.jit import compiled
from stream.learn.regress.keys import best_key, prune_keys
from stream.learn.regress.layout import ALL, LEFT, MEAN, MEAN_ERROR, MODEL_ERROR, RIGHT, SQUARES, Parts, Rules, State
from stream.learn.regress.moments import minus, of_entry, of_part, put, reduction, variance
from stream.learn.regress.observe import clear_slot, free_slot
from stream.learn.regress.shared import add_child, index_branch, kind_of, may_grow, sorted_entries, take_slot, widest
from stream.learn.tree.layout import (
    ATTEMPT,
    ATTRIBUTE,
    BINARY,
    BORN,
    BRANCH,
    EQUAL,
    KIND,
    LIVE_SLOTS,
    MULTIWAY,
    NODES,
    NULL_WINS,
    NUMERIC,
    ROW,
    ROWS,
    SLOT,
    SPLITS_REFUSED,
    TEST,
    THRESHOLD,
    WEIGHT,
)


@compiled
def load(state: State, leaf: int, parts: Parts) -> None:
    """The leaf's own moments into `parts`."""
    real = state.node_real[leaf]
    put(parts, ALL, (real[WEIGHT], real[MEAN], real[SQUARES]))


@compiled
def part_by_value(state: State, size: int, parts: Parts) -> None:
    """A branch for each of the first `size` entries."""
    for branch in range(size):
        put(parts, branch + 1, of_entry(state, parts.entry[branch]))


@compiled
def part_by_equality(state: State, rules: Rules, entry: int, parts: Parts) -> None:
    """Two branches: the entry's value, and all others."""
    put(parts, LEFT, of_entry(state, entry))
    put(parts, RIGHT, minus(rules, of_part(parts, ALL), of_entry(state, entry)))


@compiled
def reduction_by_value(rules: Rules, size: int, parts: Parts) -> float:
    """By how much a branch for each of `size` values lowers the variance; 0 when one is too light."""
    merit = variance(of_part(parts, ALL))
    whole = parts.moments[ALL, 0]
    for branch in range(1, size + 1):
        count = parts.moments[branch, 0]
        if count < rules.min_samples_split:
            return 0.0
        merit -= count / whole * variance(of_part(parts, branch))
    return merit


@compiled
def best_values(state: State, rules: Rules, slot: int, nominal: int, parts: Parts) -> tuple[float, int]:
    """(merit, entry) of the best split by category; entry 0 stands for one branch a value."""
    size = sorted_entries(state, slot, nominal, parts.entry)
    best, chosen = -math.inf, 0
    if not rules.binary_split and size > 2:
        part_by_value(state, size, parts)
        best = reduction_by_value(rules, size, parts)
    for rank in range(size):
        part_by_equality(state, rules, parts.entry[rank], parts)
        merit = reduction(rules, parts, of_part(parts, LEFT), of_part(parts, RIGHT))
        if merit > best:
            best, chosen = merit, parts.entry[rank]
    return best, chosen


@compiled
def choose(state: State, rules: Rules, leaf: int, parts: Parts) -> tuple[bool, int, float, int]:
    """(decided, attribute or -1, threshold, entry): of equal merits the attribute observed last wins.

    When a better candidate is still possible, keys of the search trees that stand far behind are dropped.
    """
    slot = state.node_int[leaf, SLOT]
    best, second = -math.inf, -math.inf
    attribute, threshold, entry = -1, 0.0, 0
    observers = state.slot_int[slot, 0]
    for at in range(1, observers + 1):
        offered = state.slot_int[slot, at]
        cut, value = 0.0, 0
        if offered < rules.numeric:
            merit, cut = best_key(state, rules, slot, offered, parts)
        else:
            merit, value = best_values(state, rules, slot, offered - rules.numeric, parts)
        if merit >= best and merit > -math.inf:
            second, best = best, merit
            attribute, threshold, entry = offered, cut, value
        elif merit > second:
            second = merit
    candidates = observers + (1 if rules.merit_preprune else 0)
    if candidates < 2:
        return candidates > 0, attribute, threshold, entry
    bound = math.sqrt(rules.log_confidence / (2.0 * state.node_real[leaf, WEIGHT]))
    if best > 0.0 and (second / best < 1.0 - bound or bound < rules.tau):
        return True, attribute, threshold, entry
    if best > 0.0 and second > 0.0:
        for at in range(1, observers + 1):
            if state.slot_int[slot, at] < rules.numeric:
                prune_keys(state, rules, slot, state.slot_int[slot, at], best, second / best - 2.0 * bound, parts)
    return False, attribute, threshold, entry


@compiled
def attempt_split(state: State, rules: Rules, leaf: int, parts: Parts) -> int:
    """Split the leaf if it is time to. Returns 0, or the branches it needs room for, to try again."""
    slot = state.node_int[leaf, SLOT]
    branches = widest(state, rules, slot)
    if branches > len(parts.entry):
        return int(branches)
    room = branches if may_grow(state, rules, branches) else BINARY
    nodes_short = state.counters[NODES] + room > len(state.node_int)
    if nodes_short or state.counters[LIVE_SLOTS] + room > len(state.slot_int):
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
    branches = 2
    if kind == NUMERIC:
        best_key(state, rules, slot, attribute, parts)
    elif kind == EQUAL:
        part_by_equality(state, rules, entry, parts)
    else:
        branches = sorted_entries(state, slot, attribute - rules.numeric, parts.entry)
        part_by_value(state, branches, parts)
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
    give_birth(state, rules, leaf, parts, branches)
    return 0


@compiled
def give_birth(state: State, rules: Rules, leaf: int, parts: Parts, branches: int) -> None:
    """Make the leaf's children from `parts`; they inherit its model. Its observers are given back."""
    first = state.counters[NODES]
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
    for child in range(first, first + branches):
        state.node_int[child, SLOT] = take_slot(state, rules)
