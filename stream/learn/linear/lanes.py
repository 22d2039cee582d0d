"""The scaler's part of the compiled loop: columns in lanes of eight, a vector instruction for each step of a lane.

A lane of `work` holds what is known of its columns; the columns that fill up the last one are ever 0. No bit depends
on that: each column's arithmetic is what one column alone would go through.
"""

import math

import numpy as np

from stream.jit import compiled, inlined
from stream.learn.linear.types import Reals

LANES = 8
MEAN, VARIANCE, SCALE = LANES, 2 * LANES, 3 * LANES  # places in a lane of `work`; the counts come first
ROWS_MAX = 64  # rows of a batch: few enough that what is known of them stays in the nearest cache


def scratch(features: int) -> tuple[Reals, Reals]:
    """work[lane, 4 * LANES], and z[2, row of a batch, column]: room for the deviations before, and after."""
    lanes = -(-features // LANES)
    rows = max(1, ROWS_MAX // max(1, lanes))
    return aligned(lanes, 4 * LANES), aligned(2, rows, lanes * LANES)


def aligned(*shape: int) -> Reals:
    """Zeros that begin where a cache line does: a vector that lies across two of them costs several times as much."""
    size = math.prod(shape)
    room = np.zeros(size + LANES)
    first = -(room.ctypes.data // room.itemsize) % LANES
    return room[first : first + size].reshape(shape)


@compiled
def load(work: Reals, stats: Reals) -> None:
    """Count, mean, variance and 1 / standard deviation of each column into its lane."""
    for j in range(stats.shape[1]):
        lane, at = work[j // LANES], j % LANES
        lane[at], lane[MEAN + at], lane[VARIANCE + at] = stats[0, j], stats[1, j], stats[2, j]
        lane[SCALE + at] = 1.0 / math.sqrt(stats[2, j]) if stats[2, j] > 0.0 else 0.0


@compiled
def store(work: Reals, stats: Reals) -> None:
    """The opposite of `load`."""
    for j in range(stats.shape[1]):
        lane, at = work[j // LANES], j % LANES
        stats[0, j], stats[1, j], stats[2, j] = lane[at], lane[MEAN + at], lane[VARIANCE + at]


@inlined
def take_lane(lane: Reals, before: Reals, after: Reals) -> None:
    """Take a lane's numbers, in `before`, into count, mean and variance; both get deviations, 0 where no number is."""
    for at in range(before.size):  # not range(LANES), which would be unrolled instead of made a vector
        v, count, mean, variance, scale = before[at], lane[at], lane[MEAN + at], lane[VARIANCE + at], lane[SCALE + at]
        there = v == v
        off = v - mean
        more = count + 1.0
        share = 1.0 / more
        then = mean + off * share
        late = v - then
        wide = variance + (off * late - variance) * share
        fine = 1.0 / math.sqrt(wide) if wide > 0.0 else 0.0
        before[at] = off * scale if there else 0.0
        after[at] = late * fine if there else 0.0
        lane[at] = more if there else count
        lane[MEAN + at] = then if there else mean
        lane[VARIANCE + at] = wide if there else variance
        lane[SCALE + at] = fine if there else scale


@compiled
def take(work: Reals, numeric: Reals, i: int, rows: int, z: Reals) -> None:
    """Take rows i.. into the statistics; z gets their deviations by what these were, and by what they are then."""
    before, after = z[0], z[1]
    for r in range(rows):
        for j in range(numeric.shape[1]):
            before[r, j] = numeric[i + r, j]
    for b in range(work.shape[0]):
        begin = b * LANES
        for r in range(rows):
            take_lane(work[b], before[r, begin : begin + LANES], after[r, begin : begin + LANES])
