"""What one served prediction is worth once its outcome is known: the metrics that arms are compared by.

Formulas are those of the progressive metrics (`stream/evaluate/measures.py`), row by row instead of summed.
"""

import math
from dataclasses import dataclass

import numpy as np

from stream.block import F64
from stream.evaluate.measures import losses, terms

_BRIER = 3  # its column among the terms


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure a prediction. low, high: bounds of it, infinite where it has none; less: whether less is better."""

    name: str
    low: float
    high: float
    less: bool = True

    @property
    def bounded(self) -> bool:
        """Whether intervals hold without any assumption."""
        return not math.isinf(self.high - self.low)


LOG_LOSS, ACCURACY = Metric("log_loss", 0.0, math.inf), Metric("accuracy", 0.0, 1.0, less=False)
METRICS = {
    "binary": (LOG_LOSS, Metric("brier", 0.0, 1.0), ACCURACY),
    "classes": (LOG_LOSS, Metric("brier", 0.0, 2.0), ACCURACY),
    "regression": (Metric("squared_error", 0.0, math.inf), Metric("absolute_error", 0.0, math.inf)),
}


def measured(task: str, scores: F64, label: F64) -> dict[str, F64]:
    """Metric name → float64[n]. scores: float64[n], of a classes task [n, classes]; label: float64[n]."""
    first, second = losses(task, scores, label)
    if task == "regression":
        return {"squared_error": first, "absolute_error": second}
    return {"log_loss": first, "brier": terms(task, scores, label)[:, _BRIER], "accuracy": second}


def usable(task: str, classes: int, score: float, scores: list[float]) -> bool:
    """Whether a prediction can be measured: finite, probabilities where it must be, one for each class."""
    if task == "regression":
        return math.isfinite(score)
    given = scores if task == "classes" else [score]
    return len(given) == max(1, classes) and bool(np.all((np.array(given) >= 0) & (np.array(given) <= 1)))
