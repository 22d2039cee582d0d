"""KSWIN as a kernel: a two-sample Kolmogorov-Smirnov test of the newest values against a draw of those before.

Source: Raab, Heusinger and Schleif 2020, "Reactive soft prototype computing for concept drift streams"; as River
0.26's `drift.KSWIN`, whose exact p-value for two samples of one size (Hodges 1958) depends only on how many ranks
the samples differ by. So the test is `gap >= gap_min`, with `gap_min` found once. Draws without replacement
(Knuth's algorithm S) are a function of the seed and of how many came before.
"""

from fractions import Fraction
from math import comb

from stream.jit import compiled
from stream.learn.drift.adwin import DETECTIONS, DRIFTED, LIMIT
from stream.learn.tree.draws import uniform
from stream.learn.tree.layout import Ints, Reals

COUNT, HEAD, SEED, DRAWS, GAP, INTS = range(2, 8)  # int row, after ADWIN's DRIFTED and DETECTIONS
STATISTIC_MIN = 0.1  # River's: a smaller distance is never a drift


def p_value(gap: int, size: int) -> float:
    """Chance that two samples of `size` from one distribution differ by at least `gap` of `size` ranks somewhere."""
    if gap <= 0:
        return 1.0
    terms = ((-1) ** (k - 1) * comb(2 * size, size - k * gap) for k in range(1, size // gap + 1))
    return float(Fraction(2 * sum(terms), comb(2 * size, size)))


def gap_min(size: int, alpha: float) -> int:
    """The smallest gap that is a drift; size + 1 when none is."""
    low, high = 1, size + 1
    while low < high:
        middle = (low + high) // 2
        drift = middle / size > STATISTIC_MIN and p_value(middle, size) <= alpha
        low, high = (low, middle) if drift else (middle + 1, high)
    return low


@compiled
def kswin_update(real: Reals, ints: Ints, work: Reals, value: float, size: int, smallest: int) -> bool:
    """Take one value; whether it shows a drift. One that isn't finite, or is beyond LIMIT, changes nothing.

    real is the window, a ring; work is scratch for 2 * size. As in River, the update after a drift starts with an
    empty window.
    """
    if not abs(value) <= LIMIT:
        return False
    if ints[DRIFTED] != 0:
        ints[DRIFTED] = ints[COUNT] = ints[HEAD] = 0
        for place in range(real.size):
            real[place] = 0.0
    if ints[COUNT] < real.size:
        real[ints[COUNT]] = value
        ints[COUNT] += 1
    else:
        real[ints[HEAD]] = value
        ints[HEAD] = (ints[HEAD] + 1) % real.size
    if ints[COUNT] == real.size:
        _sample(real, ints, work, size)
        _sort(work, 0, size)
        _sort(work, size, size)
        ints[GAP] = _gap(work, size)
        if ints[GAP] >= smallest:
            ints[DRIFTED] = 1
            ints[DETECTIONS] += 1
    return bool(ints[DRIFTED] != 0)


@compiled
def _sample(real: Reals, ints: Ints, work: Reals, size: int) -> None:
    """Into work: `size` older values, drawn, then the newest `size`."""
    older = real.size - size
    drawn = 0
    for place in range(older):
        if uniform(ints, SEED, DRAWS) * float(older - place) < float(size - drawn):
            work[drawn] = real[(ints[HEAD] + place) % real.size]
            drawn += 1
    for place in range(size):
        work[size + place] = real[(ints[HEAD] + older + place) % real.size]


@compiled
def _sort(work: Reals, start: int, size: int) -> None:
    """Shell sort, in place."""
    step = 1
    while step < size // 3:
        step = 3 * step + 1
    while step > 0:
        for place in range(start + step, start + size):
            value = work[place]
            to = place
            while to >= start + step and work[to - step] > value:
                work[to] = work[to - step]
                to -= step
            work[to] = value
        step //= 3


@compiled
def _gap(work: Reals, size: int) -> int:
    """The largest difference of ranks between the two sorted halves; equal values are passed together."""
    first = second = widest = 0
    while first < size and second < size:
        value = min(work[first], work[size + second])
        while first < size and work[first] == value:
            first += 1
        while second < size and work[size + second] == value:
            second += 1
        widest = max(widest, abs(first - second))
    return widest


@compiled
def has_risen(work: Reals, size: int) -> bool:
    """Whether the newest values of the last test are larger than the older ones, in the mean."""
    gap = 0.0
    for place in range(size):
        gap += work[size + place] - work[place]
    return bool(gap > 0.0)
