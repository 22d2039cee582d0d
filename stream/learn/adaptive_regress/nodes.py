"""Freeing of nodes and trees; taking them and putting one in another's place is the adaptive tree's."""

from stream.jit import compiled
from stream.learn.adaptive.layout import ALTERNATE, FREE_NODE, LIVE_NODES
from stream.learn.adaptive_regress.layout import State
from stream.learn.adaptive_regress.shared import forget, free_slot, remove
from stream.learn.regress.layout import Rules
from stream.learn.tree.layout import BRANCH, FIRST, KIND, LEAF, MULTIWAY, NEXT, PARENT, SLOT


@compiled
def free_node(state: State, rules: Rules, node: int) -> None:
    """Zero a node that nothing points to any more, and put it on the free list."""
    if state.node_int[node, SLOT] != 0:
        free_slot(state, rules, state.node_int[node, SLOT])
    state.node_int[node, :] = 0
    state.node_real[node, :] = 0.0
    state.node_id[node, :] = 0
    state.node_model[node, :] = 0.0
    state.node_link[node, :] = 0
    forget(state, node)
    state.node_int[node, NEXT] = state.counters[FREE_NODE]
    state.counters[FREE_NODE] = node
    state.counters[LIVE_NODES] -= 1


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
