"""Running quantiles by the P² algorithm: five markers each, no values kept.

Source: Jain and Chlamtac, "The P² algorithm for dynamic calculation of quantiles" (1985), as River's `stats.Quantile`
runs it: up to the fifth value it gives one of those seen, from the sixth on the middle marker's height.
"""

import math

import numpy as np

from stream.jit import compiled
from stream.learn.linear.types import Reals

MARKERS = 5
PLACES, WANTED, SIZE = 5, 10, 13  # in a quantile's numbers: 5 heights, 5 places, where the inner 3 ought to be


@compiled
def take_value(p: Reals, q: float, count: float, v: float) -> None:
    """Take v, the count-th value (from 1), into the numbers p[SIZE] of the quantile q."""
    if count <= MARKERS:
        at = int(count) - 1
        while at > 0 and p[at - 1] > v:
            p[at] = p[at - 1]
            at -= 1
        p[at] = v
        if count == MARKERS:
            for i in range(MARKERS):
                p[PLACES + i] = i + 1.0
            p[WANTED], p[WANTED + 1], p[WANTED + 2] = 1.0 + 2.0 * q, 1.0 + 4.0 * q, 3.0 + 2.0 * q
        return
    for i in range(cell(p, v), MARKERS):
        p[PLACES + i] += 1.0
    p[WANTED] += q / 2.0
    p[WANTED + 1] += q
    p[WANTED + 2] += (1.0 + q) / 2.0
    for i in range(1, MARKERS - 1):
        adjust(p, i)


@compiled
def cell(p: Reals, v: float) -> int:
    """The first marker whose place v moves up; the outer markers' heights follow v."""
    if v < p[0]:
        p[0] = v
        return 1
    for i in range(1, MARKERS):
        if v < p[i]:
            return i
    p[MARKERS - 1] = v
    return MARKERS - 1


@compiled
def adjust(p: Reals, i: int) -> None:
    """Move inner marker i one place towards where it ought to be, if there is room."""
    place, height = p[PLACES + i], p[i]
    below, above = p[PLACES + i - 1], p[PLACES + i + 1]
    off = p[WANTED + i - 1] - place
    if not ((off >= 1.0 and above - place > 1.0) or (off <= -1.0 and below - place < -1.0)):
        return
    d = math.copysign(1.0, off)
    left = (place - below + d) * (p[i + 1] - height) / (above - place)
    right = (above - place - d) * (height - p[i - 1]) / (place - below)
    curved = height + d / (above - below) * (left + right)
    if p[i - 1] < curved < p[i + 1]:
        p[i] = curved
    else:
        to = i + int(d)
        p[i] = height + d * (p[to] - height) / (p[PLACES + to] - place)
    p[PLACES + i] = place + d


@compiled
def value_of(p: Reals, q: float, count: float) -> float:
    """The estimate after `count` values, at least 1."""
    if count > MARKERS:
        return float(p[MARKERS // 2])
    return float(p[np.int64(min(count - 1.0, count * q))])
