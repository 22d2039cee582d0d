"""Random draws that are a function of a seed and of how many came before, so a state needs two numbers for them.

SplitMix64 (Steele, Lea and Flood, 2014) of seed + count; the count is the state.
"""

import math

import numpy as np

from stream.jit import compiled
from stream.learn.tree.layout import Ints

GOLDEN = 0x9E3779B97F4A7C15
NONE_OF_ONE = math.exp(-1.0)  # the chance that a Poisson(1) count is 0
COUNT_MAX = 20  # more has no chance in 53 bits


@compiled
def uniform(counters: Ints, seed: int, count: int) -> float:
    """The next number of [0, 1), 53 bits; `seed` and `count` say where in `counters` the two numbers are."""
    counters[count] += 1
    mixed = np.uint64(counters[seed]) + np.uint64(counters[count]) * np.uint64(GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return float(np.int64(mixed >> np.uint64(11))) * 2.0**-53


@compiled
def poisson_one(counters: Ints, seed: int, count: int) -> int:
    """The next Poisson(1) count, by inversion of one uniform draw."""
    drawn = uniform(counters, seed, count)
    events = 0
    chance = NONE_OF_ONE
    below = chance
    while drawn >= below and events < COUNT_MAX:
        events += 1
        chance /= events
        below += chance
    return events
