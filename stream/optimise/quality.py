"""What a form of a model loses: against the labels where there are some, else against the original's answers.

Losses are in percent, so that one bound fits all: points of accuracy or of agreement, growth of the log loss or of the
RMSE. A gain is a loss below 0. The worst of a form's losses is the one that is held to the bound: an accuracy that
stays says nothing of probabilities that were ruined, and those are what is served.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream.block import F64
from stream.evaluate.measures import losses


@dataclass(frozen=True, slots=True)
class Loss:
    """One measure of a form: what it is now, and what was lost, in percent."""

    measure: str
    value: float
    percent: float


@dataclass(frozen=True, slots=True)
class Quality:
    """Values of each measure, over the rows that were judged."""

    values: Mapping[str, float]

    def lost(self, to: "Quality") -> list[Loss]:
        """What `to` loses, the worst first."""
        found = []
        for measure, own in self.values.items():
            now = to.values[measure]
            percent = own - now if measure.endswith("%") else 100.0 * (now - own) / max(own, 1e-12)
            found.append(Loss(measure, now, percent))
        return sorted(found, key=lambda x: -x.percent)


def quality(task: str, scores: F64, label: F64 | None, original: F64) -> Quality:
    """label: None where there is none; original: the original's scores of the same rows.

    Without labels a number's answers are judged by how far they lie from the original's, in percent of its spread.
    """
    if label is not None:
        loss, right = losses(task, scores, label)
        if task == "regression":
            return Quality({"RMSE": float(np.sqrt(loss.mean()))})
        return Quality({"accuracy %": 100.0 * float(right.mean()), "log loss": float(loss.mean())})
    if task == "regression":
        apart = np.sqrt(np.mean((scores - original) ** 2)) / max(float(original.std()), 1e-12)
        return Quality({"nearness %": 100.0 * (1.0 - float(apart))})
    same = _decided(scores) == _decided(original)
    return Quality({"agreement %": 100.0 * float(same.mean())})


def _decided(scores: F64) -> F64:
    return np.asarray(scores.argmax(axis=1) if scores.ndim == 2 else scores > 0.5, np.float64)
