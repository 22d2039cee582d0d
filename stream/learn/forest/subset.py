"""What a leaf of a random tree observes: a random subset of the attributes, drawn with its first row.

Source: River 0.26's `tree.nodes.arf_htc_nodes.BaseRandomLeaf`. The draws come from the tree's own counter.
"""

import math
from typing import cast

import numpy as np

from stream.jit import compiled
from stream.learn.tree.draws import uniform
from stream.learn.tree.layout import INFINITE, SUBSET_DRAWS, SUBSET_SEED, Ids, Ints, Reals, Rules, State
from stream.learn.tree.observe import enlist, observe_category, observe_number

SEED_AT, DRAWS_AT = cast(int, np.int64(SUBSET_SEED)), cast(int, np.int64(SUBSET_DRAWS))


@compiled
def observe_subset(
    state: State, rules: Rules, slot: int, numeric: Reals, categories: Ids, label: int, weight: float
) -> None:
    """Show one row to a leaf's observers; with room for a subset, to those in it, in the order drawn."""
    shown = rules.numeric + rules.categories
    subset = state.slot_int[slot, 1 + shown :]
    some = len(subset) > 0
    if some:
        if subset[0] == 0:
            draw_subset(state.counters, rules, numeric, categories, state.slot_int[slot, 1 : 1 + shown], subset)
        shown = subset[0]
    for at in range(shown):
        attribute = subset[1 + at] if some else at
        nominal = attribute - rules.numeric
        if nominal >= 0:
            if categories[nominal] != 0:
                observe_category(state, rules, slot, nominal, categories[nominal], label, weight)
        elif math.isfinite(numeric[attribute]):
            if state.gauss_order[slot, attribute, 0] == 0:
                enlist(state, slot, attribute)
            observe_number(state, slot, attribute, numeric[attribute], label, weight)
        elif not math.isnan(numeric[attribute]):
            state.counters[INFINITE] += 1


@compiled
def draw_subset(counters: Ints, rules: Rules, numeric: Reals, categories: Ids, pool: Ints, subset: Ints) -> None:
    """Draw as many of the row's attributes as the subset has room for; all of them, in order, when it has fewer.

    `subset` becomes how many, then which. `pool`, a slot's list of observers, is scratch: zero before and after.
    """
    present = 0
    for attribute in range(rules.numeric):
        if math.isfinite(numeric[attribute]):
            pool[present] = attribute
            present += 1
    for nominal in range(rules.categories):
        if categories[nominal] != 0:
            pool[present] = rules.numeric + nominal
            present += 1
    wanted = len(subset) - 1
    for at in range(min(present, wanted)):
        other = at
        if present >= wanted:
            other += int(uniform(counters, SEED_AT, DRAWS_AT) * (present - at))
        pool[at], pool[other] = pool[other], pool[at]
        subset[1 + at] = pool[at]
    subset[0] = min(present, wanted)
    pool[:] = 0
