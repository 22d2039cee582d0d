"""One encoded row → the score of a plain linear model, in one compiled call.

Invariant: the number is the one of `linear.kernel.score_rows`, to the last bit.
"""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from stream.jit import brief, digest_of
from stream.learn.linear.kernel import LOG
from stream.learn.linear.natural import sigmoid
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.table import find
from stream.learn.linear.types import INTERCEPT, Ids, Ints, Reals

Score = Callable[[Reals, Ids, Ints, Ints, Reals, Reals, Ids, Reals, Reals, int], float]


def _entry_point(sources: int) -> Score:
    @brief
    def score_row(
        numeric: Reals,
        ids: Ids,
        columns: Ints,
        id_columns: Ints,
        stats: Reals,
        weights: Reals,
        keys: Ids,
        table: Reals,
        scalars: Reals,
        loss: int,
    ) -> float:
        """numeric[1, n], ids[1, c]: the row; columns, id_columns: which of them the arm sees; then its state."""
        _ = sources
        total = 0.0
        for j in range(columns.size):
            variance = stats[2, j]
            scale = 1.0 / math.sqrt(variance) if variance > 0.0 else 0.0
            z = (numeric[0, columns[j]] - stats[1, j]) * scale
            total += weights[j] * z if z == z else 0.0
        of_row = 0.0
        for j in range(id_columns.size):
            key = ids[0, id_columns[j]]
            slot = find(keys, key) if key != 0 else -1
            if slot >= 0:
                of_row += table[slot]
        raw = total + (of_row + 0.0) + scalars[INTERCEPT]
        return float(sigmoid(raw) if loss == LOG else raw)

    found: Score = score_row
    return found


score_row = _entry_point(SOURCES ^ digest_of(Path(__file__)))


def warm() -> None:
    """Compile it, or load it."""
    none, table = np.zeros(0, np.int64), np.zeros(1)
    score_row(np.zeros((1, 0)), np.zeros((1, 0), np.uint64), none, none, np.zeros((3, 0)), np.zeros(0),
              np.zeros(1, np.uint64), table, np.zeros(INTERCEPT + 1), LOG)  # fmt: skip
