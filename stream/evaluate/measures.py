"""What each row adds to the sums of its task, and the metrics as formulas of those sums.

Sums can be forgotten as they grow (`Tally.add`), so one formula gives a metric of a window, since the beginning, or
fading. As River and sklearn: binary precision, recall and F1 are of class 1; those of a 'classes' task are macro
averages over the classes that occur among labels or predictions; a share of nothing is 0; R² is 0 for a constant
target. Brier is the squared distance to the outcome: of the probability of 1, or of all classes' probabilities.
Log loss clips probabilities to [1e-15, 1 - 1e-15].
"""

import math
from functools import lru_cache

import numpy as np

from stream.block import F64
from stream.jit import brief

EPSILON = 1e-15


def losses(task: str, scores: F64, label: F64) -> tuple[F64, F64]:
    """Per row: the loss (log loss, or squared error) and whether it was right (or the absolute error)."""
    if task == "regression":
        return (scores - label) ** 2, np.abs(scores - label)
    if task == "binary":
        p = np.clip(np.where(label == 1, scores, 1 - scores), EPSILON, 1 - EPSILON)
        return -np.log(p), ((scores > 0.5) == (label == 1)).astype(np.float64)
    chosen = scores[np.arange(label.size), label.astype(np.int64)]
    right = (scores.argmax(axis=1) == label).astype(np.float64)
    return -np.log(np.clip(chosen, EPSILON, 1 - EPSILON)), right


@brief
def _binary_terms(scores: F64, label: F64, out: F64) -> None:
    for row in range(len(label)):
        said, was = scores[row] > 0.5, label[row] == 1.0
        chosen = scores[row] if was else 1.0 - scores[row]
        out[row, 0] = 1.0
        out[row, 1] = -math.log(min(max(chosen, EPSILON), 1.0 - EPSILON))
        out[row, 2] = 1.0 if said == was else 0.0
        out[row, 3] = (scores[row] - (1.0 if was else 0.0)) ** 2
        out[row, 4] = 1.0 if said and was else 0.0
        out[row, 5] = 1.0 if said else 0.0
        out[row, 6] = 1.0 if was else 0.0


@brief
def _add(rows: F64, weights: F64, kept: float, sums: F64) -> None:
    """sums = kept * sums + the rows, weighted, added in order."""
    for term in range(len(sums)):
        added = 0.0
        for row in range(len(rows)):
            added += rows[row, term] * weights[row]
        sums[term] = kept * sums[term] + added


def terms(task: str, scores: F64, label: F64) -> F64:
    """[n, terms]: 1, loss, right or absolute error; for classifiers also the Brier term, then hits, predicted and
    actual (of class 1, or of each class)."""
    if task == "binary":
        out = np.empty((label.size, 7))
        _binary_terms(np.ascontiguousarray(scores), label, out)
        return out
    columns = [np.ones(label.size), *losses(task, scores, label)]
    if task == "classes":
        one = np.eye(scores.shape[1])
        said, was = one[scores.argmax(axis=1)], one[label.astype(np.int64)]
        columns += [((scores - was) ** 2).sum(axis=1), *(said * was).T, *said.T, *was.T]
    return np.stack(columns, axis=1)


@lru_cache(maxsize=4)
def _weights(factor: float, rows: int) -> tuple[float, F64]:
    """What so many rows leave of the weight of those before them, and what each weighs itself."""
    return float(factor**rows), factor ** np.arange(rows - 1, -1, -1, dtype=np.float64)


class Tally:
    """Weighted sums of rows, and the weighted mean and squared deviations of the label. State: two arrays."""

    def __init__(self, task: str, classes: int, factor: float = 1.0) -> None:
        self._task, self._factor = task, factor
        width = {"regression": 3, "binary": 7}.get(task, 4 + 3 * classes)
        self.sums, self.spread = np.zeros(width), np.zeros(2)

    def copy(self) -> "Tally":
        """One that shares nothing."""
        other = Tally.__new__(Tally)
        other._task, other._factor = self._task, self._factor
        other.sums, other.spread = self.sums.copy(), self.spread.copy()
        return other

    def add(self, rows: F64, label: F64) -> None:
        """Count rows float64[n, terms] in order; each makes all before it count by the factor less."""
        kept, weights = (1.0, np.ones(len(label))) if self._factor == 1.0 else _weights(self._factor, len(label))
        if self._task == "regression" and len(label):
            self._spread_by(weights, kept, label)
        sums = self.sums.copy()
        _add(rows, weights, kept, sums)
        self.sums = sums

    def _spread_by(self, weights: F64, kept: float, label: F64) -> None:
        """Chan, Golub and LeVeque's merge of the label's mean and squared deviations."""
        before, now = kept * self.sums[0], weights.sum()
        mean = float((weights * label).sum() / now)
        own = float((weights * (label - mean) ** 2).sum())
        gap, total = mean - self.spread[0], before + now
        between = gap * gap * before * now / total
        self.spread = np.array([self.spread[0] + gap * now / total, kept * self.spread[1] + own + between])

    def values(self) -> dict[str, float]:
        """Metric name → value; {} before the first row."""
        if not self.sums[0]:
            return {}
        first, second = (self.sums[1:3] / self.sums[0]).tolist()
        if self._task == "regression":
            r2 = 1 - self.sums[1] / self.spread[1] if self.spread[1] > 0 else 0.0
            return {"mse": first, "mae": second, "rmse": math.sqrt(first), "r2": float(r2)}
        found = {"log_loss": first, "accuracy": second, "brier": float(self.sums[3] / self.sums[0])}
        if self._task == "binary":
            hit, claimed, true = self.sums[4:].tolist()
            shares = {"precision": (hit, claimed), "recall": (hit, true), "f1": (2 * hit, claimed + true)}
            return found | {name: part / whole if whole > 0 else 0.0 for name, (part, whole) in shares.items()}
        hits, said, was = self.sums[4:].reshape(3, -1)
        macros = ((hits, said), (hits, was), (2 * hits, said + was))
        occurs = said + was > 0
        for name, (part, whole) in zip(("precision", "recall", "f1"), macros, strict=True):
            share = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
            found[name] = float(share[occurs].mean())
        return found
