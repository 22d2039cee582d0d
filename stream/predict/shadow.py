"""Shadow arms: what they would have answered, for the log alone.

Scored by whoever logs, after the answer has left, once for a whole block: so a slow shadow makes no caller wait, and a
faulty one costs its own scores only. Invariant: nothing here reaches a caller, and answers are the same without it.
"""

import math
from threading import Lock
from typing import NamedTuple

import numpy as np

from stream.block import F64, Block
from stream.predict.served import Served


class ShadowScore(NamedTuple):
    """score and scores as an answer has them."""

    arm: str
    score: float
    scores: tuple[float, ...]


class Shadows:
    """Scores of shadow arms for the rows of one block; made when first asked for."""

    def __init__(
        self, block: Block | None, served: Served | None, arms: tuple[str, ...], discreet: bool = False
    ) -> None:
        self._block, self._served, self._arms = block, served, arms
        self._discreet = discreet  # a model's complaint may cite values
        self._found: dict[str, F64] | None = None
        self.faults: dict[str, str] = {}  # arm → why it gave no scores
        self._scoring = Lock()

    def __bool__(self) -> bool:
        return bool(self._arms)

    def at(self, row: int) -> list[ShadowScore]:
        """Those of one row, in the spec's order; a score that is no finite number is left out."""
        if not self._arms:
            return []
        found = []
        for arm, scores in self._scores().items():
            given = np.atleast_1d(scores[row]).tolist()
            if all(math.isfinite(s) for s in given):
                found.append(ShadowScore(arm, max(given), tuple(given) if scores.ndim == 2 else ()))
        return found

    def _scores(self) -> dict[str, F64]:
        with self._scoring:
            if self._found is None:
                self._found = {}
                for arm in self._arms:
                    try:
                        self._found[arm] = self._score(arm)
                    except Exception as e:  # what is on trial must not stop the log of what was served
                        self.faults[arm] = type(e).__name__ if self._discreet else f"{type(e).__name__} {e}"
                self._block = self._served = None  # an old model is not kept for the log
            return self._found

    def _score(self, arm: str) -> F64:
        assert self._served is not None
        assert self._block is not None
        return np.asarray(self._served.arms.score(arm, self._block), np.float64)


NO_SHADOWS = Shadows(None, None, ())
