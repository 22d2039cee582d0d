"""Whether a leaf surely does not split yet, from merits that are near enough; doubt is left to the exact way.

Most attempts end without a split, and the exact merits of all candidates, each an error function and logarithms, were
most of what a forest does. Here both come from tables, and a merit is within `SLACK` a class of the exact one. Only a
decision that no such error could change is taken: what a tree becomes is the same to the bit.
"""

import math

import numpy as np

from stream.jit import compiled
from stream.learn.tree.candidate import range_of, variance_of
from stream.learn.tree.layout import (
    COUNT,
    HEAD,
    HIGH,
    LEFT,
    LOW,
    MEAN,
    RIGHT,
    SIBLING,
    Parts,
    Rules,
    State,
)

SLACK = 5e-4  # the tables' error in a merit, for each class; tests/unit/test_tree_waits.py measures it
NEAR = 1e-4  # a branch whose share of the weight is so near to `min_branch_fraction` is in doubt
TINIEST = 1e-9  # weights whose sum is no larger are left to the exact way
INVERSES = 2  # a row of Parts.weight that two branches leave free
BELOW_STEPS = 128  # of a standard deviation
BELOW_REACH = 6
BITS_STEPS = 4096
BELOW = np.array([0.5 * math.erfc(-i / BELOW_STEPS / math.sqrt(2.0)) for i in range(BELOW_STEPS * BELOW_REACH + 2)])
BITS = np.array([-(i / BITS_STEPS) * math.log2(i / BITS_STEPS) if i else 0.0 for i in range(BITS_STEPS + 1)] + [0.0])


@compiled
def share_below(deviations: float) -> float:
    """How much of a normal distribution lies below its mean plus so many standard deviations."""
    at = abs(deviations) * BELOW_STEPS
    if not at < BELOW_STEPS * BELOW_REACH:
        return 0.0 if deviations < 0.0 else 1.0
    step = int(at)
    above_half: float = BELOW[step] + (at - step) * (BELOW[step + 1] - BELOW[step])
    return 1.0 - above_half if deviations < 0.0 else above_half


@compiled
def bits(share: float) -> float:
    """-share * log2(share), of a share in [0, 1]."""
    at = share * BITS_STEPS
    step = int(at)
    found: float = BITS[step] + (at - step) * (BITS[step + 1] - BITS[step])
    return found


@compiled
def entropy_of(parts: Parts, branch: int, size: int, weight: float) -> float:
    """Bits of the branch's first `size` weights, whose sum is `weight`, times that sum."""
    scale = 1.0 / weight
    found = 0.0
    for rank in range(size):
        found += bits(parts.weight[branch, rank] * scale)
    return found * weight


@compiled
def doubtful(rules: Rules, share: float) -> bool:
    """Whether it can't be told if a branch with this share counts."""
    return abs(share - rules.min_branch_fraction) < NEAR


@compiled
def gain(rules: Rules, parts: Parts, size: int, left: float, right: float, before: float) -> tuple[float, bool]:
    """(about the merit of two branches of such weights, False when it is in doubt)."""
    total = left + right
    if not total > TINIEST:
        return -math.inf, False
    lesser = min(left, right) / total
    if doubtful(rules, lesser):
        return -math.inf, False
    if lesser <= rules.min_branch_fraction or lesser <= 0.0:
        return -math.inf, True
    after = entropy_of(parts, LEFT, size, left) + entropy_of(parts, RIGHT, size, right)
    return before - after / total, True


@compiled
def near_threshold(
    state: State, rules: Rules, slot: int, attribute: int, before: float, parts: Parts
) -> tuple[float, bool]:
    """(about what `best_threshold` finds, False when that is in doubt)."""
    low, high = range_of(state, slot, attribute)
    order = state.gauss_order[slot, attribute]
    size = order[0]
    for rank in range(size):
        variance = variance_of(state.gauss[slot, attribute, order[1 + rank]])
        if not 0.0 <= variance < math.inf:
            return -math.inf, False
        parts.weight[INVERSES, rank] = 1.0 / math.sqrt(variance) if variance > 0.0 else 0.0
    best = -math.inf
    width = (high - low) / (rules.n_splits + 1.0)
    for cut in range(1, rules.n_splits + 1):
        threshold = low + width * cut
        if low < threshold < high:
            left = right = 0.0
            for rank in range(size):
                gauss = state.gauss[slot, attribute, order[1 + rank]]
                below = 0.0
                if threshold >= gauss[HIGH]:
                    below = gauss[COUNT]
                elif threshold >= gauss[LOW] and parts.weight[INVERSES, rank] > 0.0:
                    below = gauss[COUNT] * share_below((threshold - gauss[MEAN]) * parts.weight[INVERSES, rank])
                parts.weight[LEFT, rank] = below
                parts.weight[RIGHT, rank] = gauss[COUNT] - below
                left += below
                right += gauss[COUNT] - below
            value, sure = gain(rules, parts, size, left, right, before)
            if not sure:
                return best, False
            best = max(best, value)
    return best, True


@compiled
def near_values(state: State, rules: Rules, slot: int, nominal: int, before: float, parts: Parts) -> tuple[float, bool]:
    """(about what `best_values` finds, False when that is in doubt)."""
    total = 0.0
    for label in range(rules.classes):
        total += state.cat_total[slot, nominal, label]
    if not total > TINIEST:
        return -math.inf, False
    best = -math.inf
    wide = 0
    after = 0.0
    entry = state.cat_int[slot, nominal, HEAD]
    while entry != 0:
        left = 0.0
        for label in range(rules.classes):
            weight = state.entry_weight[entry, label]
            parts.weight[LEFT, label] = weight
            parts.weight[RIGHT, label] = max(0.0, state.cat_total[slot, nominal, label] - weight)
            left += weight
        if doubtful(rules, left / total):
            return best, False
        value, sure = gain(rules, parts, rules.classes, left, max(0.0, total - left), before)
        if not sure:
            return best, False
        best = max(best, value)
        if not rules.binary_split and left > 0.0:
            wide += 1 if left / total > rules.min_branch_fraction else 0
            after += entropy_of(parts, LEFT, rules.classes, left)
        entry = state.entry_int[entry, SIBLING]
    if wide >= 2:
        best = max(best, before - after / total)
    return best, True


@compiled
def surely_waits(state: State, rules: Rules, slot: int, before: float, bound: float, parts: Parts) -> bool:
    """Whether the two best candidates of a leaf of so many bits are certainly no further apart than the bound."""
    best, second = -math.inf, -math.inf
    for at in range(1, state.slot_int[slot, 0] + 1):
        attribute = state.slot_int[slot, at]
        if attribute < rules.numeric:
            value, sure = near_threshold(state, rules, slot, attribute, before, parts)
        else:
            value, sure = near_values(state, rules, slot, attribute - rules.numeric, before, parts)
        if not sure:
            return False
        if value > best:
            best, second = value, best
        elif value > second:
            second = value
    return bool(second > -math.inf and best - second < bound - 2.0 * SLACK * rules.classes)
