"""The Page-Hinkley test as a kernel: sums of deviations from the mean that stray too far from their extreme.

Source: Page 1954, "Continuous inspection schemes"; arithmetic and order are those of River 0.26's
`drift.PageHinkley`. A row of zeros is a new detector.
"""

from stream.jit import compiled
from stream.learn.drift.adwin import DETECTIONS, DRIFTED, LIMIT
from stream.learn.tree.layout import Ints, Reals

MEAN, INCREASE, DECREASE, LOWEST, HIGHEST, REALS = range(6)  # real row
COUNT, INTS = range(2, 4)  # int row, after ADWIN's DRIFTED and DETECTIONS
UP, DOWN, BOTH = range(3)


@compiled
def has_grown(real: Reals, threshold: float, mode: int) -> bool:
    """Whether the values have grown by more than the threshold."""
    return bool(mode != DOWN and real[INCREASE] - real[LOWEST] > threshold)


@compiled
def page_hinkley_update(
    real: Reals, ints: Ints, value: float, minimum: int, delta: float, threshold: float, alpha: float, mode: int
) -> bool:
    """Take one value; whether it shows a drift. One that isn't finite, or is beyond LIMIT, changes nothing."""
    if not abs(value) <= LIMIT:
        return False
    if ints[DRIFTED] != 0:
        ints[DRIFTED] = ints[COUNT] = 0
        for place in range(REALS):
            real[place] = 0.0
    ints[COUNT] += 1
    real[MEAN] += (1.0 / float(ints[COUNT])) * (value - real[MEAN])
    off = value - real[MEAN]
    real[INCREASE] = alpha * real[INCREASE] + off - delta
    real[DECREASE] = alpha * real[DECREASE] + off + delta
    if ints[COUNT] == 1 or real[INCREASE] < real[LOWEST]:
        real[LOWEST] = real[INCREASE]
    if ints[COUNT] == 1 or real[DECREASE] > real[HIGHEST]:
        real[HIGHEST] = real[DECREASE]
    grown = has_grown(real, threshold, mode)
    fallen = mode != UP and real[HIGHEST] - real[DECREASE] > threshold
    if ints[COUNT] >= minimum and (grown or fallen):
        ints[DRIFTED] = 1
        ints[DETECTIONS] += 1
    return bool(ints[DRIFTED] != 0)
