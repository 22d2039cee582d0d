"""What a leaf predicts: class shares, or naive Bayes over its observers, added up in River's order."""

import math

from stream.jit import compiled, inlined
from stream.learn.tree.index import known_entry
from stream.learn.tree.layout import (
    ADAPTIVE,
    BAYES,
    BAYES_RIGHT,
    CLASSES,
    LOG_SD,
    MAJORITY_RIGHT,
    MEAN,
    ORDER,
    SEEN,
    SLOT,
    SPREAD,
    WEIGHT,
    Ids,
    Reals,
    Rules,
    State,
)

HALF_LOG_TAU = 0.5 * math.log(math.tau)
SWALLOWS = -1e15  # below this, adding the log of a small number changes nothing
CLOSE = 1e-7  # log votes further apart (as a share of the highest) keep their order however they are rounded
TINY = 1e-290  # a product of shares that is no smaller has lost no bits on its way
LOWEST = -1e300  # a log vote goes no lower, so that votes never add up to -inf and the posterior to NaN


@compiled
def uses_bayes(state: State, rules: Rules, leaf: int) -> bool:
    """Whether this leaf answers with naive Bayes now."""
    if state.node_int[leaf, SLOT] == 0:
        return False
    real = state.node_real
    if rules.leaf_mode == ADAPTIVE:
        return bool(real[leaf, BAYES_RIGHT] >= real[leaf, MAJORITY_RIGHT])
    return rules.leaf_mode == BAYES and bool(real[leaf, WEIGHT] >= rules.nb_threshold)


@compiled
def shares(state: State, leaf: int, out: Reals) -> None:
    """Class weights over their sum; zeros for a leaf that has seen nothing."""
    total = state.node_real[leaf, WEIGHT]
    scale = 1.0 / total if total != 0.0 else 1.0
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        out[label] = state.class_weight[leaf, label] * scale


@compiled
def first_best(state: State, leaf: int, scores: Reals) -> int:
    """The class with the highest score; the first seen of equals; -1 when none was seen."""
    best = -1
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        if best < 0 or scores[label] > scores[best]:
            best = label
    return best


@inlined
def add_gauss(state: State, rules: Rules, leaf: int, slot: int, attribute: int, value: float, out: Reals) -> None:
    """Add the log density of `value` to each class; a class without a variance is left as it is."""
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        spread = state.gauss[slot, attribute, label, SPREAD]
        if spread != 0.0 and state.class_weight[leaf, label] > 0.0:
            apart = value - state.gauss[slot, attribute, label, MEAN]
            density = apart * apart / spread - HALF_LOG_TAU - state.gauss[slot, attribute, label, LOG_SD]
            if density > -math.inf:
                out[label] = max(out[label] + density, LOWEST)


@compiled
def add_share(state: State, rules: Rules, leaf: int, slot: int, nominal: int, value: int, out: Reals) -> None:
    """Add the log share of `value` to each class; a class that never met the value is left as it is."""
    entry = known_entry(state, rules, slot, nominal, value)
    if entry == 0:
        return
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        weight = state.entry_weight[entry, label]
        if weight > 0.0 and state.class_weight[leaf, label] > 0.0:
            out[label] += math.log(weight / state.cat_total[slot, nominal, label])


@compiled
def note_classes(state: State, leaf: int, slot: int, nominal: int) -> None:
    """Let a nominal observer know the leaf's classes, in order, as asking River's observer does."""
    seen = state.node_int[leaf, SEEN]
    if state.cat_int[slot, nominal, CLASSES] >= seen:
        return
    for rank in range(seen):
        label = state.class_order[leaf, rank]
        if state.class_weight[leaf, label] > 0.0:
            note_class(state, slot, nominal, label)


@compiled
def note_class(state: State, slot: int, nominal: int, label: int) -> None:
    """Append a class to a nominal observer's order unless it is there."""
    known = state.cat_int[slot, nominal, CLASSES]
    for rank in range(known):
        if state.cat_int[slot, nominal, ORDER + rank] == label:
            return
    state.cat_int[slot, nominal, ORDER + known] = label
    state.cat_int[slot, nominal, CLASSES] = known + 1


@compiled
def multiply_shares(
    state: State, rules: Rules, leaf: int, slot: int, categories: Ids, out: Reals, learning: bool
) -> bool:
    """Each class's share of the leaf times its shares of the row's values; False when a product may have underflown."""
    total = state.node_real[leaf, WEIGHT]
    seen = state.node_int[leaf, SEEN]
    for rank in range(seen):
        label = state.class_order[leaf, rank]
        out[label] = state.class_weight[leaf, label] / total
    for at in range(1, state.slot_int[slot, 0] + 1):
        nominal = state.slot_int[slot, at] - rules.numeric
        if nominal >= 0 and categories[nominal] != 0:
            if learning:
                note_classes(state, leaf, slot, nominal)
            entry = known_entry(state, rules, slot, nominal, categories[nominal])
            if entry != 0:
                if learning:
                    state.found[slot, nominal] = entry
                for rank in range(seen):
                    label = state.class_order[leaf, rank]
                    weight = state.entry_weight[entry, label]
                    if weight > 0.0:
                        out[label] *= weight / state.cat_total[slot, nominal, label]
    for rank in range(seen):
        label = state.class_order[leaf, rank]
        if state.class_weight[leaf, label] > 0.0 and out[label] < TINY:
            return False
    return True


@compiled
def exact_votes(state: State, rules: Rules, leaf: int, slot: int, numeric: Reals, categories: Ids, out: Reals) -> None:
    """Log votes added up in River's order, to its bits."""
    total = state.node_real[leaf, WEIGHT]
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        weight = state.class_weight[leaf, label]
        out[label] = math.log(weight / total) if weight > 0.0 else -math.inf
    for at in range(1, state.slot_int[slot, 0] + 1):
        attribute = state.slot_int[slot, at]
        nominal = attribute - rules.numeric
        if nominal < 0:
            if math.isfinite(numeric[attribute]):
                add_gauss(state, rules, leaf, slot, attribute, numeric[attribute], out)
        elif categories[nominal] != 0:
            add_share(state, rules, leaf, slot, nominal, categories[nominal], out)


@compiled
def bayes_votes(
    state: State, rules: Rules, leaf: int, numeric: Reals, categories: Ids, out: Reals, learning: bool
) -> bool:
    """Naive Bayes log votes into `out` (left as it is where a class was not seen); False when the leaf is empty.

    A class's log is that of a product, which may move a vote by a few ulps; where that could change which class
    is the likeliest, the votes are River's to the bit.
    """
    if state.node_real[leaf, WEIGHT] == 0.0:
        return False
    slot = state.node_int[leaf, SLOT]
    if not multiply_shares(state, rules, leaf, slot, categories, out, learning):
        exact_votes(state, rules, leaf, slot, numeric, categories, out)
        return True
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        out[label] = math.log(out[label]) if out[label] > 0.0 else -math.inf
    for at in range(1, state.slot_int[slot, 0] + 1):
        attribute = state.slot_int[slot, at]
        if attribute < rules.numeric and math.isfinite(numeric[attribute]):
            add_gauss(state, rules, leaf, slot, attribute, numeric[attribute], out)
    if is_close(state, leaf, out):
        exact_votes(state, rules, leaf, slot, numeric, categories, out)
    return True


@compiled
def is_close(state: State, leaf: int, votes: Reals) -> bool:
    """Whether rounding might decide which class has the highest log vote."""
    best = first_best(state, leaf, votes)
    for rank in range(state.node_int[leaf, SEEN]):
        label = state.class_order[leaf, rank]
        if label != best and not votes[best] - votes[label] > CLOSE * (1.0 + abs(votes[best])):
            return True
    return False


@compiled
def likeliest(state: State, leaf: int, votes: Reals) -> int:
    """The class with the highest posterior, of log votes; they are scratch afterwards.

    Probabilities are made only where rounding them may tie votes that differ.
    """
    if is_close(state, leaf, votes):
        normalise(state, leaf, votes)
    return first_best(state, leaf, votes)


@compiled
def bayes(state: State, rules: Rules, leaf: int, numeric: Reals, categories: Ids, out: Reals, learning: bool) -> bool:
    """Naive Bayes posteriors into `out` (zeros where a class was not seen); False when the leaf is empty."""
    answered = bayes_votes(state, rules, leaf, numeric, categories, out, learning)
    if answered:
        normalise(state, leaf, out)
    return answered


@compiled
def normalise(state: State, leaf: int, out: Reals) -> None:
    """Log votes to probabilities, by log-sum-exp, or by division where votes would swallow the log."""
    seen = state.node_int[leaf, SEEN]
    highest = -math.inf
    for rank in range(seen):
        highest = max(highest, out[state.class_order[leaf, rank]])
    total = 0.0
    for rank in range(seen):
        apart = out[state.class_order[leaf, rank]] - highest
        total += 1.0 if apart == 0.0 else math.exp(apart)
    far = highest < SWALLOWS
    level = highest if far else highest + math.log(total)
    for rank in range(seen):
        label = state.class_order[leaf, rank]
        out[label] = math.exp(out[label] - level) / (total if far else 1.0)


@compiled
def predict(state: State, rules: Rules, leaf: int, numeric: Reals, categories: Ids, out: Reals, learning: bool) -> None:
    """The leaf's class probabilities into `out`, which is zero on entry."""
    if uses_bayes(state, rules, leaf):
        bayes(state, rules, leaf, numeric, categories, out, learning)
    else:
        shares(state, leaf, out)
