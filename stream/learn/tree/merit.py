"""How good a split of the class weights is: information gain, Gini or Hellinger, summed in River's order."""

import math

from stream.jit import compiled
from stream.learn.tree.layout import GAIN, GINI, LEFT, RIGHT, SEEN, Parts, Reals, Rules, State


@compiled
def append(parts: Parts, branch: int, label: int, weight: float) -> None:
    """Give the branch one more class."""
    size = parts.size[branch]
    parts.weight[branch, size] = weight
    parts.label[branch, size] = label
    parts.size[branch] = size + 1


@compiled
def branch_weight(parts: Parts, branch: int) -> float:
    """The branch's weight, summed in its class order."""
    total = 0.0
    for rank in range(parts.size[branch]):
        total += parts.weight[branch, rank]
    return total


@compiled
def entropy(weights: Reals, size: int) -> float:
    """Bits of the distribution of the first `size` weights."""
    bits = 0.0
    total = 0.0
    for rank in range(size):
        weight = weights[rank]
        if weight > 0.0:
            bits -= weight * math.log2(weight)
            total += weight
    return (bits + total * math.log2(total)) / total if total > 0.0 else 0.0


@compiled
def leaf_entropy(state: State, leaf: int) -> float:
    """Bits of the leaf's class distribution."""
    bits = 0.0
    total = 0.0
    for rank in range(state.node_int[leaf, SEEN]):
        weight = state.class_weight[leaf, state.class_order[leaf, rank]]
        if weight > 0.0:
            bits -= weight * math.log2(weight)
            total += weight
    return (bits + total * math.log2(total)) / total if total > 0.0 else 0.0


@compiled
def gini(weights: Reals, size: int, total: float) -> float:
    """Gini impurity of the first `size` weights."""
    impurity = 1.0
    if total != 0.0:
        for rank in range(size):
            share = weights[rank] / total
            impurity -= share * share
    return impurity


@compiled
def hellinger(parts: Parts, two: float) -> float:
    """Distance between how classes 0 and 1 spread over the first two branches; 0 where a class is missing."""
    found = 0
    for branch in range(2):
        for rank in range(parts.size[branch]):
            found += 1 if parts.label[branch, rank] <= 1 else 0
    if found < 4:
        return 0.0
    left_negative, left_positive = class_weight(parts, LEFT)
    right_negative, right_positive = class_weight(parts, RIGHT)
    negative = left_negative + right_negative
    positive = left_positive + right_positive
    if not (negative > 0.0 and positive > 0.0):
        return 0.0
    left = math.sqrt(left_negative / negative) - math.sqrt(left_positive / positive)
    right = math.sqrt(right_negative / negative) - math.sqrt(right_positive / positive)
    return math.sqrt(left**two + right**two)


@compiled
def class_weight(parts: Parts, branch: int) -> tuple[float, float]:
    """What the branch holds of class 0 and of class 1."""
    negative = positive = 0.0
    for rank in range(parts.size[branch]):
        if parts.label[branch, rank] == 0:
            negative = parts.weight[branch, rank]
        elif parts.label[branch, rank] == 1:
            positive = parts.weight[branch, rank]
    return negative, positive


@compiled
def merit(rules: Rules, parts: Parts, branches: int, bits_before: float) -> float:
    """The candidate's merit; -inf unless two branches hold more than `min_branch_fraction` of the weight."""
    total = 0.0
    for branch in range(branches):
        total += branch_weight(parts, branch)
    wide = 0
    for branch in range(branches):
        if total > 0.0 and branch_weight(parts, branch) / total > rules.min_branch_fraction:
            wide += 1
    if wide < 2:
        return -math.inf
    if rules.criterion != GAIN and rules.criterion != GINI:
        return hellinger(parts, rules.two)
    after = 0.0
    for branch in range(branches):
        weight = branch_weight(parts, branch)
        if rules.criterion == GAIN:
            after += weight * entropy(parts.weight[branch], parts.size[branch])
        else:
            after += (weight / total) * gini(parts.weight[branch], parts.size[branch], weight)
    return bits_before - after / total if rules.criterion == GAIN else 1.0 - after


@compiled
def merit_range(state: State, rules: Rules, leaf: int) -> float:
    """The widest difference of merits, for the Hoeffding bound."""
    return 1.0 if rules.criterion == GINI else math.log2(max(2.0, float(state.node_int[leaf, SEEN])))
