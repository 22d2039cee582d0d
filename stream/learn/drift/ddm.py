"""DDM as a kernel: the share of errors, against the lowest that it ever was.

Source: Gama and others 2004, "Learning with drift detection"; arithmetic and order are those of River 0.26's
`drift.binary.DDM`. A row of zeros is a new detector.
"""

import math

from stream.jit import compiled
from stream.learn.drift.adwin import DETECTIONS, DRIFTED
from stream.learn.tree.layout import Ints, Reals

RATE, RATE_LOW, SPREAD_LOW, REALS = range(4)  # real row
COUNT, WARNED, KNOWN, INTS = range(2, 6)  # int row, after ADWIN's DRIFTED and DETECTIONS


@compiled
def ddm_update(real: Reals, ints: Ints, value: float, warm: int, warning: float, drift: float) -> bool:
    """Take one answer, 0 right or 1 wrong; whether it shows a drift. Any other value changes nothing."""
    if value not in (0.0, 1.0):
        return False
    if ints[DRIFTED] != 0:
        ints[DRIFTED] = ints[COUNT] = ints[WARNED] = ints[KNOWN] = 0
        for place in range(REALS):
            real[place] = 0.0
    ints[COUNT] += 1
    real[RATE] += (1.0 / float(ints[COUNT])) * (value - real[RATE])
    rate = real[RATE]
    spread = math.sqrt(rate * (1.0 - rate) / float(ints[COUNT]))
    if ints[COUNT] > warm:
        if ints[KNOWN] == 0 or rate + spread <= real[RATE_LOW] + real[SPREAD_LOW]:
            real[RATE_LOW] = rate
            real[SPREAD_LOW] = spread
            ints[KNOWN] = 1
        ints[WARNED] = 1 if rate + spread > real[RATE_LOW] + warning * real[SPREAD_LOW] else 0
        if rate + spread > real[RATE_LOW] + drift * real[SPREAD_LOW]:
            ints[DRIFTED] = 1
            ints[DETECTIONS] += 1
            ints[WARNED] = 0
    return bool(ints[DRIFTED] != 0)
