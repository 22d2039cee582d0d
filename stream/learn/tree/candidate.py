"""The best split that one observer can offer, and the class weights it would give to each branch."""

import math

from stream.jit import compiled
from stream.learn.tree.layout import (
    BINARY,
    CHAIN,
    CLASSES,
    COUNT,
    EQUAL,
    HEAD,
    HIGH,
    LEFT,
    LOW,
    MEAN,
    MULTIWAY,
    NUMERIC,
    ORDER,
    RIGHT,
    SIBLING,
    SQUARES,
    VALUES,
    Ints,
    Parts,
    Reals,
    Rules,
    State,
)
from stream.learn.tree.merit import append, merit

ROOT_TWO = math.sqrt(2.0)
DEVIATIONS = 2  # a row of Parts.weight that two branches leave free
WHOLE_MAX = 2.0**53
EXACT_VALUES = 256  # up to here "all other values" is summed as River sums it; beyond, total minus value


@compiled
def variance_of(gauss: Reals) -> float:
    """Of what one class's observer saw; 0 of too little. Rounding can take it below 0 where weights are far apart."""
    return gauss[SQUARES] / (gauss[COUNT] - 1.0) if gauss[COUNT] > 1.0 else 0.0


@compiled
def range_of(state: State, slot: int, attribute: int) -> tuple[float, float]:
    """(lowest, highest) value that a number's observer saw."""
    low = math.inf
    high = -math.inf
    order = state.gauss_order[slot, attribute]
    for rank in range(1, order[0] + 1):
        low = min(low, state.gauss[slot, attribute, order[rank], LOW])
        high = max(high, state.gauss[slot, attribute, order[rank], HIGH])
    return low, high


@compiled
def measure(state: State, rules: Rules, slot: int, attribute: int, parts: Parts) -> None:
    """Each class's standard deviation into parts.weight[DEVIATIONS], by rank, for `part_at_threshold`."""
    order = state.gauss_order[slot, attribute]
    for rank in range(1, order[0] + 1):
        parts.weight[DEVIATIONS, rank - 1] = variance_of(state.gauss[slot, attribute, order[rank]]) ** rules.half


@compiled
def part_at_threshold(state: State, slot: int, attribute: int, threshold: float, parts: Parts) -> None:
    """Two branches, from each class's Gaussian cut at the threshold; `measure` comes first."""
    parts.size[:2] = 0
    order = state.gauss_order[slot, attribute]
    for rank in range(1, order[0] + 1):
        gauss = state.gauss[slot, attribute, order[rank]]
        if threshold < gauss[LOW]:
            append(parts, RIGHT, order[rank], gauss[COUNT])
        elif threshold >= gauss[HIGH]:
            append(parts, LEFT, order[rank], gauss[COUNT])
        else:
            deviation = parts.weight[DEVIATIONS, rank - 1]
            below = 0.0
            if deviation != 0.0:
                below = 0.5 * (1.0 + math.erf((threshold - gauss[MEAN]) / deviation / ROOT_TWO))
            below *= gauss[COUNT]
            append(parts, LEFT, order[rank], below)
            append(parts, RIGHT, order[rank], gauss[COUNT] - below)


@compiled
def best_threshold(
    state: State, rules: Rules, slot: int, attribute: int, bits_before: float, parts: Parts
) -> tuple[float, float]:
    """(merit, threshold) of the best of `n_splits` evenly spaced cuts; merit -inf when none is valid."""
    low, high = range_of(state, slot, attribute)
    best = -math.inf
    chosen = 0.0
    width = (high - low) / (rules.n_splits + 1.0)
    measure(state, rules, slot, attribute, parts)
    for cut in range(1, rules.n_splits + 1):
        threshold = low + width * cut
        if low < threshold < high:
            part_at_threshold(state, slot, attribute, threshold, parts)
            value = merit(rules, parts, BINARY, bits_before)
            if value > best:
                best, chosen = value, threshold
    return best, chosen


@compiled
def sorted_entries(state: State, slot: int, nominal: int, entries: Ints) -> int:
    """The observer's entries into `entries`, by ascending value (shell sort); how many there are."""
    size = 0
    entry = state.cat_int[slot, nominal, HEAD]
    while entry != 0:
        entries[size] = entry
        size += 1
        entry = state.entry_int[entry, SIBLING]
    gap = size // 2
    while gap > 0:
        for at in range(gap, size):
            entry = entries[at]
            hole = at
            while hole >= gap and state.entry_id[entries[hole - gap], 0] > state.entry_id[entry, 0]:
                entries[hole] = entries[hole - gap]
                hole -= gap
            entries[hole] = entry
        gap //= 2
    return size


@compiled
def part_by_value(state: State, rules: Rules, size: int, parts: Parts) -> None:
    """A branch for each of the first `size` entries, classes ascending."""
    for branch in range(size):
        parts.size[branch] = 0
        for label in range(rules.classes):
            weight = state.entry_weight[parts.entry[branch], label]
            if weight > 0.0:
                append(parts, branch, label, weight)


@compiled
def sums_are_exact(state: State, rules: Rules, slot: int, nominal: int) -> bool:
    """Whether all weights are whole numbers, as without event weights: then a sum is the same in whatever order."""
    for label in range(rules.classes):
        total = 0.0
        entry = state.cat_int[slot, nominal, ORDER + rules.classes + label]
        while entry != 0:
            weight = state.entry_weight[entry, label]
            if weight != math.floor(weight):
                return False
            total += weight
            entry = state.entry_int[entry, CHAIN + label]
        if total != state.cat_total[slot, nominal, label] or total >= WHOLE_MAX:
            return False
    return True


@compiled
def sums_in_order(state: State, rules: Rules, slot: int, nominal: int) -> bool:
    """Whether the weight of "all other values" must be added up as River does, for the same bits."""
    return state.cat_int[slot, nominal, VALUES] <= EXACT_VALUES and not sums_are_exact(state, rules, slot, nominal)


@compiled
def part_by_equality(
    state: State, rules: Rules, slot: int, nominal: int, entry: int, parts: Parts, in_order: bool
) -> None:
    """Two branches: the entry's value, and all others; in_order: what `sums_in_order` says."""
    parts.size[:2] = 0
    for rank in range(state.cat_int[slot, nominal, CLASSES]):
        label = state.cat_int[slot, nominal, ORDER + rank]
        weight = state.entry_weight[entry, label]
        others = state.cat_total[slot, nominal, label] - weight
        if in_order:
            others = 0.0
            other = state.cat_int[slot, nominal, ORDER + rules.classes + label]
            while other != 0:
                if other != entry:
                    others += state.entry_weight[other, label]
                other = state.entry_int[other, CHAIN + label]
        if weight > 0.0:
            append(parts, LEFT, label, weight)
        if others > 0.0:
            append(parts, RIGHT, label, others)


@compiled
def best_values(
    state: State, rules: Rules, slot: int, nominal: int, bits_before: float, parts: Parts
) -> tuple[float, int]:
    """(merit, entry) of the best split by category; entry 0 stands for one branch a value."""
    size = sorted_entries(state, slot, nominal, parts.entry)
    best = -math.inf
    chosen = 0
    if not rules.binary_split:
        part_by_value(state, rules, size, parts)
        best = merit(rules, parts, size, bits_before)
    in_order = sums_in_order(state, rules, slot, nominal)
    for rank in range(size):
        part_by_equality(state, rules, slot, nominal, parts.entry[rank], parts, in_order)
        value = merit(rules, parts, BINARY, bits_before)
        if value > best:
            best, chosen = value, parts.entry[rank]
    return best, chosen


@compiled
def kind_of(rules: Rules, attribute: int, entry: int) -> int:
    """What kind of node the split makes."""
    if attribute < rules.numeric:
        return NUMERIC
    return EQUAL if entry != 0 else MULTIWAY
