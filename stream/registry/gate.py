"""Whether a snapshot may serve: how its arms did on the last rows, against how the last good one did on its own.

Pure: the verdict follows from figures that the snapshot carries in its manifest, so every server and every restart
finds the same one. What is learned never depends on it. docs/decisions/snapshot-gate.md has the reasons.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import F64
from stream.evaluate.measures import losses
from stream.spec import GateSpec

_LOSS_LEAST = 1e-3  # a loss below counts as this much, so that nothing is many times worse than perfect


@dataclass(frozen=True, slots=True)
class Recent:
    """An arm's last rows, each scored before it was learned. gap: of the mean score from the mean outcome; of a
    regression in standard deviations of the outcome, of classes the largest."""

    rows: int
    loss: float
    gap: float

    def to_json(self) -> dict[str, Any]:
        """For the manifest; a number that JSON lacks is None."""
        loss, gap = (v if math.isfinite(v) else None for v in (self.loss, self.gap))
        return {"rows": self.rows, "loss": loss, "gap": gap}

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> "Recent":
        """The inverse of `to_json`."""
        loss, gap = (math.inf if given[n] is None else float(given[n]) for n in ("loss", "gap"))
        return cls(int(given["rows"]), loss, gap)


def recent_of(task: str, scores: F64, label: F64) -> Recent:
    """The figures of these rows. scores float64[n, 1 or classes]."""
    n = len(label)
    if not n:
        return Recent(0, 0.0, 0.0)
    flat = scores if task == "classes" else scores[:, 0]
    loss = float(losses(task, flat, label)[0].mean())
    if task == "classes":
        shares = np.bincount(label.astype(np.int64), minlength=scores.shape[1]) / n
        return Recent(n, loss, float(np.abs(flat.mean(axis=0) - shares).max()))
    gap = abs(float(flat.mean() - label.mean()))
    if task == "regression":
        spread = float(label.std())
        return Recent(n, math.sqrt(loss), gap / spread if spread > 0 else 0.0)
    return Recent(n, loss, gap)


def verdict(
    gate: GateSpec | None, recent: Mapping[str, Recent], good: Mapping[str, Recent], rows_since: int, before: str
) -> str:
    """Why a snapshot may not serve; '' if it may.

    good: figures of the last good one; rows_since: rows learned since it; before: the verdict on the snapshot before,
    which holds while there are too few rows to judge by.
    """
    if gate is None:
        return ""
    judged = {arm: r for arm, r in recent.items() if r.rows >= gate.rows_min}
    if not judged:
        return before
    found = []
    for arm, now in judged.items():
        then = good.get(arm)
        known = then is not None and then.rows >= gate.rows_min and rows_since < gate.patience_rows
        if then is not None and known and not now.loss <= gate.loss_factor * max(then.loss, _LOSS_LEAST):
            found.append(
                f"arm {arm}: loss {now.loss:.4g} over the last {now.rows} rows; at most {gate.loss_factor:g} times "
                f"{max(then.loss, _LOSS_LEAST):.4g}, that of the last good one, is allowed"
            )
        if not now.gap <= gate.calibration:
            found.append(
                f"arm {arm}: mean score and mean outcome of the last {now.rows} rows are {now.gap:.4g} apart; at most "
                f"{gate.calibration:g} is allowed"
            )
    return "; ".join(found)
