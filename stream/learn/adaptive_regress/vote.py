"""What the tree predicts: the mean of its leaf's prediction and of those of the alternate trees passed on the way."""

from stream.jit import compiled
from stream.learn.adaptive.layout import ALTERNATE
from stream.learn.adaptive_regress.layout import ANSWERS, SUM, State
from stream.learn.adaptive_regress.shared import answer, heaviest, step
from stream.learn.regress.layout import Rules
from stream.learn.tree.layout import KIND, LEAF, Ids, Reals


@compiled
def add_answers(state: State, rules: Rules, node: int, numeric: Reals, categories: Ids, told: Reals) -> int:
    """Add what all leaves predict that the row reaches from `node`; returns how many branches it passed.

    As in River, a branch come to for want of the row's own way has its alternate tree asked twice.
    """
    passed, times = 0, 1
    while state.node_int[node, KIND] != LEAF:
        passed += 1
        alternate = state.node_link[node, ALTERNATE]
        if alternate != 0:
            for _ in range(times):
                below = add_answers(state, rules, alternate, numeric, categories, told)
            passed += below
        child = step(state, rules, node, numeric, categories)
        times = 1 if child > 0 else 2
        node = child if child > 0 else heaviest(state, node)
    told[SUM] += answer(state, rules, node, numeric)
    told[ANSWERS] += 1.0
    return passed
