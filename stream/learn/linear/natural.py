"""e^x without a call and without a branch, to within one unit in the last place, so that kernels can do many at once.

e^x = 2^m 2^(i/128) e^r with |r| <= ln 2 / 256, of which a polynomial of degree 5 leaves 5e-19 (Tang 1989). All of it is
sums and products, each rounded as IEEE says: the same bits on every machine, which the C libraries don't promise.
"""

import math
from decimal import Decimal

import numpy as np

from stream.jit import compiled, inlined, shared
from stream.learn.linear.types import Reals

PARTS = 128
FRACTIONS = np.array([float(Decimal(2) ** (Decimal(i) / PARTS)) for i in range(PARTS)])  # rightly rounded
POWERS = np.array([2.0 ** (m if m < 1024 else max(m - 2048, -1022)) for m in range(2048)])  # by m's last 11 bits
PER_ONE = PARTS / math.log(2.0)
STEP_HIGH = float.fromhex("0x1.62e42fef00000p-8")  # ln 2 / 128: so few bits that m times it is exact, then the rest
STEP_LOW = float.fromhex("0x1.473de6af278edp-41")
ROUND = 1.5 * 2.0**52  # added, it leaves no room for a fraction
FAR = 700.0


@inlined
def power(x: float) -> float:
    """e^x for x within ±FAR; NaN for NaN."""
    steps = (x * PER_ONE + ROUND) - ROUND
    k = int(steps if x == x else 0.0)
    r = (x - steps * STEP_HIGH) - steps * STEP_LOW
    square = r * r
    rest = r + square * ((0.5 + r * (1.0 / 6.0)) + square * (1.0 / 24.0 + r * (1.0 / 120.0)))
    whole = FRACTIONS[k & (PARTS - 1)] * POWERS[(k >> 7) & 2047]
    return float(whole + whole * rest)


@shared
def sigmoid(z: float) -> float:
    """1 / (1 + e^-z) without overflow; and without a branch, which nobody could foresee."""
    far = abs(z)
    e = power(-(FAR if far > FAR else far))
    return (1.0 if z >= 0.0 else e) / (1.0 + e)


@compiled
def sigmoids(z: Reals) -> None:
    """Each number's sigmoid in its place."""
    for i in range(z.size):
        z[i] = sigmoid(z[i])
