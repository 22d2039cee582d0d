"""Losses by the raw output of a linear model: their slope and what they make of the raw output as a score.

Source: River's `optim.losses`. Where they differ from it: docs/decisions/linear-equivalence.md.
"""

import math
from collections.abc import Mapping

from stream.jit import compiled
from stream.learn.linear.kernel import LOG, SQUARED, gradient, sigmoid

ABSOLUTE, HUBER, QUANTILE, EPSILON_INSENSITIVE, POISSON, HINGE = range(2, 8)
REGRESSION: Mapping[str, int] = {
    "squared": SQUARED,
    "absolute": ABSOLUTE,
    "huber": HUBER,
    "quantile": QUANTILE,
    "epsilon_insensitive": EPSILON_INSENSITIVE,
    "poisson": POISSON,
}
BINARY: Mapping[str, int] = {"log": LOG, "hinge": HINGE}
EXPONENT_MAX = 100.0  # a Poisson rate is no larger than e^100, so that it and its square are finite


@compiled
def slope(loss: int, parameter: float, target: float, raw: float) -> float:
    """Derivative of the loss by the raw output. parameter: of Huber and epsilon the half width, else the quantile."""
    if loss in (LOG, SQUARED):
        return float(gradient(loss, target, raw))
    if loss == HINGE:
        y = 1.0 if target != 0.0 else -1.0
        return -y if y * raw <= 1.0 else 0.0
    if loss == POISSON:
        return math.exp(min(raw, EXPONENT_MAX)) - target
    if loss == QUANTILE:
        return (1.0 if target < raw else 0.0) - parameter
    error = raw - target
    if loss == ABSOLUTE:
        return 1.0 if error > 0.0 else -1.0
    if loss == HUBER:
        return min(max(error, -parameter), parameter)
    if raw > target + parameter:
        return 1.0
    return -1.0 if raw + parameter < target else 0.0


@compiled
def mean(loss: int, raw: float) -> float:
    """The score for a raw output: a probability, a Poisson rate, or the output itself."""
    if loss in (LOG, HINGE):
        return float(sigmoid(raw))
    if loss == POISSON:
        return math.exp(min(raw, EXPONENT_MAX))
    return raw
