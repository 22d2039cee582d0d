"""ADWIN bagging: online bagging whose worst tree gives way to an empty one when a tree has come to err more often.

Sources: Bifet et al. 2009, "New ensemble methods for evolving data streams"; River 0.26's
`ensemble.ADWINBaggingClassifier`, but for what its detectors are shown (docs/decisions/forest-equivalence.md).

Each tree can cause the replacing of any other, so trees can't go through a whole block apart. But a detector looks at
its window at every 32nd value only, and between two looks nothing can change: the block is cut where a detector looks.
"""

from typing import Any

import numpy as np

from stream.learn.adaptive.detect import CLOCK
from stream.learn.drift.adwin import DRIFTED, TICK, TOTAL, WIDTH
from stream.learn.forest.layout import DRIFT
from stream.learn.forest.member import Grower
from stream.learn.forest.model import Forest
from stream.learn.forest.params import AdwinBaggingParams
from stream.learn.tree.layout import Ids, Ints, Reals


class AdwinBagging(Forest):
    """See the module; drifts in its `stats` are trees that were replaced."""

    FORMAT = "adwin-bagging-forest"
    PARAMS = AdwinBaggingParams

    def _learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals) -> Reals:
        out = np.zeros((len(target), self.shape[2]))
        begin = 0
        while begin < len(target):
            here = slice(begin, min(len(target), begin + min(map(_until_look, self.growers))))
            out[here] = self._between_looks(numeric[here], categories[here], target[here], weight[here])
            begin = here.stop
        return out

    def _between_looks(self, *columns: Any) -> Reals:
        """Rows of which only the last may show a change."""
        changed = [False] * len(self.growers)

        def learn(tree: int, rows: slice, votes: Reals, weights: Reals) -> None:
            numeric, categories, target, weight = (column[rows] for column in columns)
            changed[tree] |= self.growers[tree].learn(numeric, categories, target, weight, votes, weights)

        out = self._vote(len(columns[0]), learn)
        if any(changed):
            max(self.growers, key=_error).renew()
        return out


def _until_look(grower: Grower) -> int:
    """How many rows it takes at least until the tree's detector looks at its window."""
    buckets = grower.record.buckets[DRIFT]
    return int(CLOCK) if buckets[DRIFTED] else int(CLOCK - buckets[TICK] % CLOCK)


def _error(grower: Grower) -> float:
    """The tree's share of wrong answers in its detector's window."""
    width = grower.record.buckets[DRIFT, WIDTH]
    return float(grower.record.window[DRIFT, TOTAL] / width) if width else 0.0
