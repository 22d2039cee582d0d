"""What a leaf predicts: its mean, or a linear model of the row's numbers stepped by SGD.

The model is River's `linear_model.LinearRegression` with its defaults (squared loss, clipped gradient, no penalty).
Nominal attributes are no part of it. Nothing here overflows: a prediction stays within HUGE, and a step that
would leave that range is not made.
"""

import math

from stream.jit import compiled
from stream.learn.regress.layout import (
    ADAPTIVE_LEAF,
    MEAN,
    MEAN_ERROR,
    MEAN_LEAF,
    MODEL_ERROR,
    SQUARES,
    Rules,
    State,
)
from stream.learn.regress.moments import with_target
from stream.learn.tree.layout import WEIGHT, Reals

CLIP = 1e12  # River's bound on a gradient
HUGE = 1e100


@compiled
def linear(state: State, rules: Rules, leaf: int, numeric: Reals) -> float:
    """The linear model's value for the row; absent numbers have no part."""
    total = 0.0
    for attribute in range(rules.numeric):
        if math.isfinite(numeric[attribute]):
            total += state.node_model[leaf, attribute] * numeric[attribute]
    total += state.node_model[leaf, rules.numeric]
    return min(max(total, -HUGE), HUGE) if not math.isnan(total) else 0.0


@compiled
def predict(state: State, rules: Rules, leaf: int, numeric: Reals) -> float:
    """The leaf's prediction."""
    real = state.node_real[leaf]
    by_mean = rules.leaf_mode == MEAN_LEAF
    if rules.leaf_mode == ADAPTIVE_LEAF:
        by_mean = real[MEAN_ERROR] < real[MODEL_ERROR]
    return float(real[MEAN]) if by_mean else linear(state, rules, leaf, numeric)


@compiled
def learn_target(state: State, leaf: int, target: float, weight: float) -> None:
    """Show a target to the leaf's moments."""
    real = state.node_real[leaf]
    count, mean, squares = with_target((real[WEIGHT], real[MEAN], real[SQUARES]), target, weight)
    real[WEIGHT] = count
    real[MEAN] = mean
    real[SQUARES] = squares


@compiled
def compare(state: State, rules: Rules, leaf: int, numeric: Reals, target: float) -> None:
    """Add this row's squared errors to the two faded sums that an adaptive leaf chooses by."""
    if rules.leaf_mode == ADAPTIVE_LEAF:
        real = state.node_real[leaf]
        by_mean = (target - real[MEAN]) ** rules.two
        by_model = (target - linear(state, rules, leaf, numeric)) ** rules.two
        real[MEAN_ERROR] = rules.decay * real[MEAN_ERROR] + by_mean
        real[MODEL_ERROR] = rules.decay * real[MODEL_ERROR] + by_model


@compiled
def learn_linear(state: State, rules: Rules, leaf: int, numeric: Reals, target: float, weight: float) -> None:
    """One step of gradient descent."""
    if rules.leaf_mode == MEAN_LEAF:
        return
    slope = 2.0 * (linear(state, rules, leaf, numeric) - target) * weight
    slope = min(max(slope, -CLIP), CLIP)
    step_weight(state, leaf, rules.numeric, rules.leaf_lr * slope)
    for attribute in range(rules.numeric):
        if math.isfinite(numeric[attribute]):
            step_weight(state, leaf, attribute, rules.leaf_lr * (numeric[attribute] * slope))


@compiled
def step_weight(state: State, leaf: int, at: int, step: float) -> None:
    """Lower a weight by `step`, unless that leaves the range."""
    after = state.node_model[leaf, at] - step
    if abs(after) <= HUGE:
        state.node_model[leaf, at] = after
