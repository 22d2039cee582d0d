"""Which unit gets which arm: a pure function of experiment, salt, weights and unit. Version 1.

A unit falls on a point of [0, 1): xxh64 of its UTF-8 bytes, seeded with the xxh64 of "1:<experiment>:<salt>",
the upper 53 bits of it over 2^53. The arms, in the spec's order, own consecutive intervals as wide as their
share. Why so: docs/decisions/assignment.md. Invariant: version 1 never changes (tests/golden/assignment.json
holds it); another way of assigning is another version.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping
from itertools import accumulate

import xxhash

from stream.errors import DataError

VERSION = 1
_BITS = 53


def seed_of(experiment: str, salt: str) -> int:
    """The seed of an experiment's points, 64 bits."""
    return int(xxhash.xxh64_intdigest(f"{VERSION}:{experiment}:{salt}".encode()))


def point_of(seed: int, unit: str) -> float:
    """Where a unit falls, in [0, 1). Raises UnicodeEncodeError for a lone surrogate, which has no UTF-8."""
    return int(xxhash.xxh64_intdigest(unit.encode(), seed) >> (64 - _BITS)) / (1 << _BITS)


class Assignment:
    """Assigns units to the arms of one experiment; immutable, safe to share between threads.

    weights: arm → weight ≥ 0, in the spec's order; an arm of weight 0 gets no unit. Raises DataError when
    they don't add up to a number above 0.
    """

    def __init__(self, experiment: str, salt: str, weights: Mapping[str, float]) -> None:
        ends = list(accumulate(weights.values()))
        if not ends or min(weights.values()) < 0 or not 0 < ends[-1] < math.inf:
            raise DataError(f"weights of {experiment}: found {dict(weights)}; each ≥ 0 and a sum above 0 is wanted")
        self.seed = seed_of(experiment, salt)
        self._names = tuple(weights)
        self._ends = [end / ends[-1] for end in ends]
        self.propensity = {arm: weight / ends[-1] for arm, weight in weights.items()}

    def of(self, unit: str) -> tuple[str, float]:
        """The arm of a unit, and the probability with which a unit gets that arm."""
        arm = self._names[bisect_right(self._ends, point_of(self.seed, unit))]
        return arm, self.propensity[arm]
