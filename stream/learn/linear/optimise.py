"""One step of one weight, as River's optimisers make it, and the L1 penalty. A weight's memory is a short row.

Only weights of features that a row has are stepped, as in River.
"""

import math
from collections.abc import Mapping

from stream.jit import compiled
from stream.learn.linear.schedules import rate_at
from stream.learn.linear.types import Reals, Rules

SGD, ADA_GRAD, RMS_PROP, ADAM, FTRL = range(5)
OPTIMIZERS: Mapping[str, int] = {"sgd": SGD, "ada_grad": ADA_GRAD, "rms_prop": RMS_PROP, "adam": ADAM, "ftrl": FTRL}
MEMORY = (0, 1, 1, 2, 2)  # numbers that each optimiser remembers of a weight


@compiled
def rate_of_row(rules: Rules, steps: float) -> float:
    """The learning rate of the row after `steps` others; Adam's is corrected for its averages' zero start."""
    rate = rate_at(rules.rate, steps)
    if rules.optimizer == ADAM:
        first, second = math.pow(rules.hyper[0], steps + 1.0), math.pow(rules.hyper[1], steps + 1.0)
        rate *= math.sqrt(1.0 - second) / (1.0 - first)
    return float(rate)


@compiled
def stepped(rules: Rules, rate: float, g: float, w: float, memory: Reals) -> float:
    """The weight after a step against gradient g; memory is brought up to date.

    rules.hyper: ada_grad eps; rms_prop rho, eps; adam beta_1, beta_2, eps; ftrl alpha, beta, l1, l2.
    """
    if rules.optimizer == SGD:
        return w - rate * g
    if rules.optimizer == ADA_GRAD:
        memory[0] += g * g
        return w - rate / math.sqrt(memory[0] + rules.hyper[0]) * g
    if rules.optimizer == RMS_PROP:
        memory[0] = rules.hyper[0] * memory[0] + (1.0 - rules.hyper[0]) * (g * g)
        return w - rate / math.sqrt(memory[0] + rules.hyper[1]) * g
    if rules.optimizer == ADAM:
        memory[0] = rules.hyper[0] * memory[0] + (1.0 - rules.hyper[0]) * g
        memory[1] = rules.hyper[1] * memory[1] + (1.0 - rules.hyper[1]) * (g * g)
        return float(w - rate * memory[0] / (math.sqrt(memory[1]) + rules.hyper[2]))
    return follow_leader(rules, g, w, memory)


@compiled
def follow_leader(rules: Rules, g: float, w: float, memory: Reals) -> float:
    """FTRL-Proximal. memory: z, n. The weight follows from what was before this row; one within l1 stays as it is."""
    alpha, beta, l1, l2 = rules.hyper
    z, n = memory[0], memory[1]
    if abs(z) > l1:
        w = -(z - math.copysign(l1, z)) / ((beta + math.sqrt(n)) / alpha + l2)
    memory[0] += g - (math.sqrt(n + g * g) - math.sqrt(n)) / alpha * w
    memory[1] += g * g
    return w


@compiled
def shrunk(w: float, penalty: float, memory: Reals) -> float:
    """The weight after the cumulative L1 penalty, which the last number in memory has had its part of already."""
    last = memory.size - 1
    now = w
    if w > 0.0:
        now = max(0.0, w - (penalty + memory[last]))
    elif w < 0.0:
        now = min(0.0, w + (penalty - memory[last]))
    memory[last] += now - w
    return now
