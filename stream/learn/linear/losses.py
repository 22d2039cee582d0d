"""Losses by the raw output of a linear model: their slope and what they make of the raw output as a score.

Source: River's `optim.losses`; FAKE_NEGATIVE: Ktena et al. 2019, "Addressing delayed feedback for continuous training
with neural networks in CTR prediction", the fake negative weighted loss.
Where they differ from River: docs/decisions/linear-equivalence.md.
"""

import math
from collections.abc import Mapping

from stream.jit import compiled, shared
from stream.learn.linear.kernel import LOG, SQUARED, gradient
from stream.learn.linear.natural import sigmoid

ABSOLUTE, HUBER, QUANTILE, EPSILON_INSENSITIVE, POISSON, HINGE, FAKE_NEGATIVE = range(2, 9)
REGRESSION: Mapping[str, int] = {
    "squared": SQUARED,
    "absolute": ABSOLUTE,
    "huber": HUBER,
    "quantile": QUANTILE,
    "epsilon_insensitive": EPSILON_INSENSITIVE,
    "poisson": POISSON,
}
BINARY: Mapping[str, int] = {"log": LOG, "hinge": HINGE}
SIGMOID = (LOG, HINGE, FAKE_NEGATIVE)  # losses of which the score is a sigmoid of the raw output
EXPONENT_MAX = 100.0  # a Poisson rate is no larger than e^100, so that it and its square are finite


@shared
def fake_negative(target: float, raw: float) -> float:
    """Slope of the log loss where every event is a negative first, and a positive again if its label comes true.

    With p the score, a positive weighs 1 + p and a negative (1 - p)(1 + p), by which the mean over such rows is that
    over true ones. The weights count as constants.
    """
    p, rest = sigmoid(raw), sigmoid(-raw)
    weight = (1.0 + p) * rest
    return float(-weight if target != 0.0 else weight * p)


@compiled
def slope(loss: int, parameter: float, target: float, raw: float) -> float:
    """Derivative of the loss by the raw output. parameter: of Huber and epsilon the half width, else the quantile."""
    if loss in (LOG, SQUARED):
        return float(gradient(loss, target, raw))
    if loss == HINGE:
        y = 1.0 if target != 0.0 else -1.0
        return -y if y * raw <= 1.0 else 0.0
    if loss == FAKE_NEGATIVE:
        return fake_negative(target, raw)
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
    if loss in SIGMOID:
        return float(sigmoid(raw))
    if loss == POISSON:
        return math.exp(min(raw, EXPONENT_MAX))
    return raw
