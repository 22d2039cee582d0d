"""When a leaf splits, and what it turns into: River's `_attempt_to_split`, with hard bounds on growth.

A candidate whose merit is -inf is no candidate (River may split on one). When no attribute offers a split
but the bound says decide, River deactivates the leaf and its memory manager revives it at once, empty: the
net effect, the observers start afresh, is what happens here.
"""

import math

from stream.jit import compiled
from stream.learn.tree.candidate import (
    best_threshold,
    best_values,
    kind_of,
    measure,
    part_at_threshold,
    part_by_equality,
    part_by_value,
    sorted_entries,
    sums_in_order,
)
from stream.learn.tree.index import index_branch
from stream.learn.tree.layout import (
    ATTEMPT,
    ATTRIBUTE,
    BINARY,
    BORN,
    BRANCH,
    BYTES,
    DEPTH,
    EQUAL,
    FIRST,
    GAIN,
    KIND,
    LAST,
    LEAF,
    LIVE_SLOTS,
    MULTIWAY,
    NEXT,
    NODES,
    NULL_WINS,
    NUMERIC,
    PARENT,
    ROW,
    ROWS,
    SEEN,
    SLOT,
    SPLITS_REFUSED,
    TEST,
    THRESHOLD,
    VALUES,
    WEIGHT,
    Parts,
    Rules,
    State,
)
from stream.learn.tree.merit import branch_weight, leaf_entropy, merit_range
from stream.learn.tree.observe import clear_slot, free_slot, take_slot
from stream.learn.tree.waits import surely_waits


@compiled
def is_pure(state: State, leaf: int) -> bool:
    """Whether fewer than two classes have weight."""
    classes = 0
    for rank in range(state.node_int[leaf, SEEN]):
        if state.class_weight[leaf, state.class_order[leaf, rank]] != 0.0:
            classes += 1
    return classes < 2


@compiled
def is_dominated(state: State, rules: Rules, leaf: int) -> bool:
    """Whether one class holds more than `max_share_to_split`."""
    most = 0.0
    for rank in range(state.node_int[leaf, SEEN]):
        most = max(most, state.class_weight[leaf, state.class_order[leaf, rank]])
    return bool(most / state.node_real[leaf, WEIGHT] > rules.max_share_to_split)


@compiled
def widest(state: State, rules: Rules, slot: int) -> int:
    """The most branches that any candidate of the slot could have."""
    branches = 2
    for nominal in range(rules.categories):
        branches = max(branches, state.cat_int[slot, nominal, VALUES])
    return branches


@compiled
def choose(state: State, rules: Rules, leaf: int, parts: Parts) -> tuple[bool, int, float, int]:
    """(decided, attribute or -1, threshold, entry): of equal merits the attribute observed last wins."""
    slot = state.node_int[leaf, SLOT]
    if is_dominated(state, rules, leaf):
        return True, -1, 0.0, 0
    bits = leaf_entropy(state, leaf)
    observers = state.slot_int[slot, 0]
    candidates = observers + (1 if rules.merit_preprune else 0)
    span = merit_range(state, rules, leaf)
    bound = math.sqrt((span * span * rules.log_confidence) / (2.0 * state.node_real[leaf, WEIGHT]))
    if rules.criterion == GAIN and bound >= rules.tau and surely_waits(state, rules, slot, bits, bound, parts):
        return False, -1, 0.0, 0
    best, second = -math.inf, -math.inf
    attribute, threshold, entry = -1, 0.0, 0
    for at in range(1, observers + 1):
        offered = state.slot_int[slot, at]
        cut, value = 0.0, 0
        if offered < rules.numeric:
            merit, cut = best_threshold(state, rules, slot, offered, bits, parts)
        else:
            merit, value = best_values(state, rules, slot, offered - rules.numeric, bits, parts)
        if merit >= best and merit > -math.inf:
            second, best = best, merit
            attribute, threshold, entry = offered, cut, value
        elif merit > second:
            second = merit
    if candidates < 2:
        return candidates > 0, attribute, threshold, entry
    return best - second > bound or bound < rules.tau, attribute, threshold, entry


@compiled
def attempt_split(state: State, rules: Rules, leaf: int, parts: Parts) -> int:
    """Split the leaf if it is time to. Returns 0, or the branches it needs room for, to try again."""
    if is_pure(state, leaf):
        return 0
    branches = widest(state, rules, state.node_int[leaf, SLOT])
    if branches > len(parts.size):
        return branches
    kind, attribute, threshold, entry, branches = plan(state, rules, leaf, parts)
    if kind == LEAF:
        return 0
    if not may_grow(state, rules, branches):
        state.counters[SPLITS_REFUSED] += 1
        return 0
    if state.counters[NODES] + branches > len(state.node_int):
        return branches
    if state.counters[LIVE_SLOTS] + branches > len(state.slot_int):
        return branches
    become_branch(state, leaf, kind, attribute, threshold, entry, branches)
    give_birth(state, rules, leaf, parts, branches)
    return 0


@compiled
def plan(state: State, rules: Rules, leaf: int, parts: Parts) -> tuple[int, int, float, int, int]:
    """(kind of node to become, attribute, threshold, entry, branches), the branches in `parts`; LEAF: no split now."""
    decided, attribute, threshold, entry = choose(state, rules, leaf, parts)
    branches = BINARY
    if not decided or attribute < 0:
        if decided:
            state.counters[NULL_WINS] += 1
            clear_slot(state, rules, state.node_int[leaf, SLOT])
        return LEAF, attribute, threshold, entry, branches
    slot = state.node_int[leaf, SLOT]
    kind = kind_of(rules, attribute, entry)
    nominal = attribute - rules.numeric
    if kind == NUMERIC:
        measure(state, rules, slot, attribute, parts)
        part_at_threshold(state, slot, attribute, threshold, parts)
    elif kind == EQUAL:
        part_by_equality(state, rules, slot, nominal, entry, parts, sums_in_order(state, rules, slot, nominal))
    else:
        branches = sorted_entries(state, slot, nominal, parts.entry)
        part_by_value(state, rules, branches, parts)
    return kind, attribute, threshold, entry, branches


@compiled
def become_branch(
    state: State, leaf: int, kind: int, attribute: int, threshold: float, entry: int, branches: int
) -> None:
    """Write down what the node tests from now on."""
    state.node_int[leaf, KIND] = kind
    state.node_int[leaf, ATTRIBUTE] = attribute
    state.node_int[leaf, ROW] = state.counters[ROWS]
    state.node_int[leaf, BORN] = branches
    state.node_real[leaf, THRESHOLD] = threshold
    if kind == EQUAL:
        state.node_id[leaf, TEST] = state.entry_id[entry, 0]


@compiled
def give_birth(state: State, rules: Rules, leaf: int, parts: Parts, branches: int) -> None:
    """Make the leaf's children from `parts`, and give its observers back."""
    first = state.counters[NODES]
    for branch in range(branches):
        endow(state, leaf, add_child(state, leaf), branch, parts)
    free_slot(state, rules, state.node_int[leaf, SLOT])
    state.node_int[leaf, SLOT] = 0
    for child in range(first, first + branches):
        state.node_int[child, SLOT] = take_slot(state, rules)


@compiled
def endow(state: State, leaf: int, child: int, branch: int, parts: Parts) -> None:
    """Give a child of the leaf what its branch in `parts` holds."""
    if state.node_int[leaf, KIND] == MULTIWAY:
        state.node_id[child, BRANCH] = state.entry_id[parts.entry[branch], 0]
        index_branch(state, child)
    for rank in range(parts.size[branch]):
        label = parts.label[branch, rank]
        state.class_order[child, rank] = label
        state.class_weight[child, label] = parts.weight[branch, rank]
    state.node_int[child, SEEN] = parts.size[branch]
    state.node_real[child, WEIGHT] = branch_weight(parts, branch)
    state.node_real[child, ATTEMPT] = state.node_real[child, WEIGHT]


@compiled
def may_grow(state: State, rules: Rules, leaves: int) -> bool:
    """Whether so many leaves more stay within the declared bounds."""
    if state.counters[NODES] + leaves > rules.max_nodes:
        return False
    return bool(state.counters[BYTES] + leaves * rules.slot_bytes <= rules.max_observer_bytes)


@compiled
def add_child(state: State, parent: int) -> int:
    """A bare leaf, last among the parent's children, without a slot."""
    node: int = state.counters[NODES]
    state.counters[NODES] += 1
    state.node_int[node, PARENT] = parent
    state.node_int[node, DEPTH] = state.node_int[parent, DEPTH] + 1
    last = state.node_int[parent, LAST]
    if last == 0:
        state.node_int[parent, FIRST] = node
    else:
        state.node_int[last, NEXT] = node
    state.node_int[parent, LAST] = node
    return node
