"""Nodes that come and go: taking, freeing, putting an alternate tree in a subtree's place."""

from stream.jit import compiled
from stream.learn.adaptive.layout import ALTERNATE, FREE_NODE, LIVE_NODES, TOP, State
from stream.learn.adaptive.shared import free_slot, index_branch, remove, take_slot
from stream.learn.tree.layout import (
    BRANCH,
    BYTES,
    DEPTH,
    FIRST,
    KIND,
    LAST,
    LEAF,
    MULTIWAY,
    NEXT,
    NODES,
    PARENT,
    SLOT,
    Rules,
)


@compiled
def may_grow(state: State, rules: Rules, leaves: int) -> bool:
    """Whether so many leaves more stay within the declared bounds."""
    if state.counters[LIVE_NODES] + leaves > rules.max_nodes:
        return False
    return bool(state.counters[BYTES] + leaves * rules.slot_bytes <= rules.max_observer_bytes)


@compiled
def take_node(state: State, parent: int, depth: int) -> int:
    """A bare leaf that knows its parent, which doesn't know it yet."""
    counters = state.counters
    node: int = counters[FREE_NODE]
    if node != 0:
        counters[FREE_NODE] = state.node_int[node, NEXT]
        state.node_int[node, NEXT] = 0
    else:
        node = counters[NODES]
        counters[NODES] += 1
    counters[LIVE_NODES] += 1
    state.node_int[node, PARENT] = parent
    state.node_int[node, DEPTH] = depth
    return node


@compiled
def add_child(state: State, parent: int) -> int:
    """A bare leaf, last among the parent's children, without a slot."""
    node = take_node(state, parent, state.node_int[parent, DEPTH] + 1)
    last = state.node_int[parent, LAST]
    if last == 0:
        state.node_int[parent, FIRST] = node
    else:
        state.node_int[last, NEXT] = node
    state.node_int[parent, LAST] = node
    return node


@compiled
def add_alternate(state: State, rules: Rules, branch: int) -> None:
    """An empty alternate tree for a branch, at the branch's own depth."""
    node = take_node(state, branch, state.node_int[branch, DEPTH])
    state.node_int[node, SLOT] = take_slot(state, rules)
    state.node_link[branch, ALTERNATE] = node


@compiled
def free_node(state: State, rules: Rules, node: int) -> None:
    """Zero a node that nothing points to any more, and put it on the free list."""
    if state.node_int[node, SLOT] != 0:
        free_slot(state, rules, state.node_int[node, SLOT])
    state.node_int[node, :] = 0
    state.node_real[node, :] = 0.0
    state.node_id[node, :] = 0
    state.class_weight[node, :] = 0.0
    state.class_order[node, :] = 0
    state.node_link[node, :] = 0
    forget(state, node)
    state.node_int[node, NEXT] = state.counters[FREE_NODE]
    state.counters[FREE_NODE] = node
    state.counters[LIVE_NODES] -= 1


@compiled
def forget(state: State, node: int) -> None:
    """Start the node's error and its drift detector afresh."""
    state.node_error[node, :] = 0.0
    state.node_window[node, :] = 0.0
    state.node_buckets[node, :] = 0


@compiled
def free_tree(state: State, rules: Rules, node: int) -> None:
    """Free a node with all below it, alternate trees included."""
    if state.node_int[node, KIND] == LEAF:
        free_node(state, rules, node)
        return
    if state.node_link[node, ALTERNATE] != 0:
        free_tree(state, rules, state.node_link[node, ALTERNATE])
    child = state.node_int[node, FIRST]
    while child != 0:
        following = state.node_int[child, NEXT]
        if state.node_int[node, KIND] == MULTIWAY:
            remove(state.branch_table, state.node_int, PARENT, state.node_id, BRANCH, child)
        free_tree(state, rules, child)
        child = following
    free_node(state, rules, node)


@compiled
def drop_alternates(state: State, rules: Rules, node: int) -> int:
    """Free all alternate trees of branches below `node`; returns how many went, nested ones as River counts them."""
    if state.node_int[node, KIND] == LEAF:
        return 0
    dropped = 0
    child = state.node_int[node, FIRST]
    while child != 0:
        alternate = state.node_link[child, ALTERNATE]
        if alternate != 0:
            dropped += 1 + drop_alternates(state, rules, alternate)
            free_tree(state, rules, alternate)
            state.node_link[child, ALTERNATE] = 0
        dropped += drop_alternates(state, rules, child)
        child = state.node_int[child, NEXT]
    return dropped


@compiled
def take_over(state: State, branch: int) -> None:
    """Put a branch's alternate tree in its place; the branch is then no part of the tree, and not yet freed."""
    node = state.node_link[branch, ALTERNATE]
    parent = state.node_int[branch, PARENT]
    state.node_link[branch, ALTERNATE] = 0
    state.node_int[node, PARENT] = parent
    if branch == state.counters[TOP]:
        state.counters[TOP] = node
    elif state.node_link[parent, ALTERNATE] == branch:
        state.node_link[parent, ALTERNATE] = node
    else:
        replace_child(state, parent, branch, node)


@compiled
def replace_child(state: State, parent: int, old: int, new: int) -> None:
    """Put `new` where `old` stands among the parent's children."""
    before = 0
    child = state.node_int[parent, FIRST]
    while child != old:
        before, child = child, state.node_int[child, NEXT]
    if before == 0:
        state.node_int[parent, FIRST] = new
    else:
        state.node_int[before, NEXT] = new
    if state.node_int[parent, LAST] == old:
        state.node_int[parent, LAST] = new
    state.node_int[new, NEXT] = state.node_int[old, NEXT]
    state.node_int[old, NEXT] = 0
    if state.node_int[parent, KIND] == MULTIWAY:
        remove(state.branch_table, state.node_int, PARENT, state.node_id, BRANCH, old)
        state.node_id[new, BRANCH] = state.node_id[old, BRANCH]
        index_branch(state, new)
