"""Version 2 of assignment, its numbers: which slot a unit falls into, and which arm owns a slot.

A unit falls into one of 10,000 slots: the upper 32 bits of xxh64 of its UTF-8 bytes, times 10,000, over 2^32; the seed
is xxh64 of "2:<experiment>:<salt>", that of a namespace xxh64 of "2::<namespace>". A table says who owns each slot. To
ramp, an arm that shrinks gives up its highest slots, and arms that grow take the free ones from the lowest up, in the
spec's order. Invariant: no more slots change hands than must, half the sum of what the quotas differ by; whoever knows
the same history of shares has the same table (tests/golden/assignment2.json holds both).
"""

from collections.abc import Mapping, Sequence

import numpy as np
import xxhash

from stream.block import I64
from stream.errors import DataError

SLOTS = 10_000
SUM_SLACK = 1e-9


def seed_of(experiment: str, salt: str) -> int:
    """The seed of an experiment's slots, 64 bits."""
    return int(xxhash.xxh64_intdigest(f"2:{experiment}:{salt}".encode()))


def namespace_seed(namespace: str) -> int:
    """The seed of a namespace's slots: no experiment's, since a name of one is never empty."""
    return int(xxhash.xxh64_intdigest(f"2::{namespace}".encode()))


def slot_of(seed: int, unit: str) -> int:
    """Which slot a unit falls into, from 0. Raises UnicodeEncodeError for a lone surrogate, which has no UTF-8."""
    return int(((xxhash.xxh64_intdigest(unit.encode(), seed) >> 32) * SLOTS) >> 32)


def quotas(shares: Sequence[float]) -> list[int]:
    """Whole slots for shares that add up to 1, the largest remainders first, then the earlier arm.

    Raises DataError for shares that can't be, or a share above 0 that is less than a slot.
    """
    if not shares or not all(s >= 0 for s in shares) or abs(sum(shares) - 1) > SUM_SLACK:
        raise DataError(f"shares: found {list(shares)}; each ≥ 0 and 1 together is wanted")
    exact = [share * SLOTS for share in shares]
    found = [int(x + SUM_SLACK) for x in exact]
    order = sorted(range(len(shares)), key=lambda i: (found[i] - exact[i], i))
    for i in order[: SLOTS - sum(found)]:
        found[i] += 1
    for share, count in zip(shares, found, strict=True):
        if share > 0 and not count:
            raise DataError(f"share: found {share:g}; 0, or at least {1 / SLOTS:g} is wanted")
    return found


def fresh(counts: Sequence[int]) -> I64:
    """The table of a beginning: arms own slots side by side, in order; int64[SLOTS], places of arms."""
    return np.repeat(np.arange(len(counts)), counts).astype(np.int64)


def ramped(table: I64, counts: Sequence[int]) -> I64:
    """The table with these quotas, and as few slots as can be in other hands."""
    out, free = table.copy(), [np.zeros(0, np.int64)]
    short: list[tuple[int, int]] = []  # arm, slots that it lacks
    for arm, count in enumerate(counts):
        own = np.flatnonzero(table == arm)
        free.append(own[count:])
        short.append((arm, max(0, count - len(own))))
    given = np.sort(np.concatenate([*free, np.flatnonzero(table >= len(counts))]))
    start = 0
    for arm, lacks in short:
        out[given[start : start + lacks]] = arm
        start += lacks
    return out


def shares_of(weights: Mapping[str, float], arms: Sequence[str], control: str) -> dict[str, float]:
    """Shares of these arms, adding up to 1; what is weighted by no arm of them goes to the control.

    Raises DataError when the weights don't add up to a number above 0, or one is below 0.
    """
    total = sum(weights.values())
    if not weights or not all(w >= 0 for w in weights.values()) or not 0 < total < float("inf"):
        raise DataError(f"weights: found {dict(weights)}; each ≥ 0 and a sum above 0 is wanted")
    found = {arm: weights.get(arm, 0.0) / total for arm in arms}
    found[control] += sum(w for arm, w in weights.items() if arm not in found) / total
    return found
