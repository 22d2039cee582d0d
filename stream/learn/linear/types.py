"""What the kernels work on: the state's arrays, and the parameters as numbers."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Ints = NDArray[np.int64]
Ids = NDArray[np.uint64]
Marks = NDArray[np.uint8]
INTERCEPT, STEPS, USED, OVERFLOWED, PENALTY, CLASS_STEPS = range(6)  # places in `scalars`
HAND, EVICTED = range(2)  # places in `clock`


class Arrays(NamedTuple):
    """f numeric columns, t places in the open-addressing table, m numbers remembered of each weight.

    Softmax has k weights where the others have one: its arrays have an axis of k before that of m.
    """

    stats: Reals  # [s, f] count, then what the scaler needs
    weights: Reals  # [f]
    memory: Reals  # [f, m]
    keys: Ids  # [t] 0 where free
    table: Reals  # [t] weights of the keys
    table_memory: Reals  # [t, m]
    scalars: Reals  # intercept, steps, keys held, keys refused a place; then cumulative L1; then softmax's k steps
    marks: Marks  # [t] table.py's, of each key
    clock: Ints  # [2] slot that the hand is at, keys evicted


class Rules(NamedTuple):
    """Parameters; each schedule is (kind, a, b) of schedules.py."""

    loss: int
    loss_parameter: float
    optimizer: int
    hyper: tuple[float, float, float, float]
    rate: tuple[float, float, float]
    intercept_rate: tuple[float, float, float]
    l2: float
    l1: float
    clip: float
    scale: int
    scaler: tuple[float, float, float, float]  # of the robust scale: lower and upper quantile, whether centred, scaled
    keys_max: int
    marks_max: int
