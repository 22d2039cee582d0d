"""Area under the ROC curve: exact over a window's scores, and from scores counted in 10,000 equal bins; compiled.

The binned one is off by at most half the share of pairs that fall in one bin together, which count as ties.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import F64, I64
from stream.jit import brief

BINS = 10_000


@brief
def _area(ordered: F64, positive: NDArray[np.bool_], order: I64) -> float:
    """Pairs of a negative and a positive in the right order, ties half, as a share of all pairs; scores ascend."""
    pairs, negatives, positives = 0.0, 0.0, 0.0
    row, n = 0, len(ordered)
    while row < n:
        below, tied = 0.0, 0.0
        score = ordered[row]
        while row < n and ordered[row] == score:
            if positive[order[row]]:
                tied += 1.0
            else:
                below += 1.0
            row += 1
        pairs += tied * (negatives + below / 2)
        negatives, positives = negatives + below, positives + tied
    return pairs / (negatives * positives)


@brief
def _count(scores: F64, positive: NDArray[np.bool_], factor: float, counts: F64) -> None:
    """Add each row to its bin; with a factor below 1, all bins are worth less by factor ** rows first."""
    n = len(scores)
    if factor != 1.0:
        kept = factor**n
        for side in range(2):
            for place in range(counts.shape[1]):
                counts[side, place] *= kept
    weight = 1.0
    for back in range(n):
        row = n - 1 - back
        place = min(max(int(scores[row] * BINS), 0), BINS - 1)
        counts[1 if positive[row] else 0, place] += weight
        weight *= factor


@brief
def _binned(counts: F64) -> float:
    pairs, negatives, positives = 0.0, 0.0, 0.0
    for place in range(counts.shape[1]):
        pairs += counts[1, place] * (negatives + counts[0, place] / 2)
        negatives += counts[0, place]
        positives += counts[1, place]
    return pairs / (negatives * positives)


def auc(scores: F64, positive: NDArray[np.bool_]) -> float:
    """Exact area under the ROC curve (Mann-Whitney, ties half); NaN when one class is absent."""
    if positive.all() or not positive.any():
        return float("nan")
    order = np.argsort(scores)
    return float(_area(scores[order], positive, order))


def count(scores: F64, positive: NDArray[np.bool_], factor: float, counts: F64) -> None:
    """Add scores in order to bins float64[2, BINS] of negatives and positives, in place.

    Those outside 0 to 1 go to the outermost bins; each row makes those before it count by the factor less.
    """
    _count(np.ascontiguousarray(scores), positive, factor, counts)


def binned_auc(counts: NDArray[Any]) -> float:
    """AUC from counts or weights [2, bins] of negatives and positives by score; NaN when one class is absent."""
    weights = np.ascontiguousarray(counts, np.float64)
    if not (weights.sum(axis=1) > 0).all():
        return float("nan")
    return float(_binned(weights))
