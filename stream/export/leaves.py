"""What the leaves of classifying and regressing trees answer with, as tables: one row a leaf, over all trees.

Read from a tree's arrays (stream/learn/tree/layout.py, stream/learn/regress/layout.py), as its kernels read them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import F64
from stream.learn.regress.layout import MEAN as TARGET_MEAN
from stream.learn.regress.layout import MEAN_ERROR, MODEL_ERROR
from stream.learn.tree.bayes import HALF_LOG_TAU
from stream.learn.tree.layout import (
    BAYES_RIGHT,
    LOG_SD,
    MAJORITY_RIGHT,
    MEAN,
    OWNER,
    SLOT,
    SPREAD,
    WEIGHT,
)

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Bayes:
    """The naive Bayes leaves: b of them, k classes, f numbers. A density is apart² · inverse + constant, in logs.

    shares: (leaf's place here, nominal attribute, id) → the log share of the value in each class, [k].
    """

    prior: F64  # [b, k] -inf for a class of no weight
    mean: F64  # [b, f, k]
    inverse: F64  # [b, f, k] 0 where nothing is known
    constant: F64  # [b, f, k]
    shares: dict[tuple[int, int, int], F64]


def class_shares(arrays: Arrays, leaves: list[int]) -> F64:
    """[leaves, k]: class weights over the leaf's weight; zeros for a leaf that has seen nothing."""
    weight = arrays["node_real"][leaves, WEIGHT]
    scale = np.where(weight != 0, 1.0 / np.where(weight != 0, weight, 1.0), 1.0)
    return np.asarray(arrays["class_weight"][leaves] * scale[:, None])


def by_bayes(arrays: Arrays, leaves: list[int], mode: str, threshold: float) -> NDArray[np.bool_]:
    """bool[leaves]: which answer by naive Bayes now."""
    real, active = arrays["node_real"][leaves], arrays["node_int"][leaves, SLOT] != 0
    seen = real[:, WEIGHT] > 0
    if mode == "nba":
        return np.asarray(active & seen & (real[:, BAYES_RIGHT] >= real[:, MAJORITY_RIGHT]))
    return np.asarray(active & seen & (mode == "nb") & (real[:, WEIGHT] >= threshold))


def bayes(arrays: Arrays, leaves: list[int], categories: int) -> Bayes:
    """What naive Bayes needs at these leaves."""
    weights = arrays["class_weight"][leaves]
    slots = arrays["node_int"][leaves, SLOT]
    with np.errstate(divide="ignore"):
        prior = np.log(weights / arrays["node_real"][leaves, WEIGHT][:, None])
    gauss = arrays["gauss"][slots]
    known = (gauss[..., SPREAD] != 0) & (weights[:, None, :] > 0)
    inverse = np.divide(1.0, gauss[..., SPREAD], out=np.zeros(known.shape), where=known)
    constant = np.where(known, -HALF_LOG_TAU - gauss[..., LOG_SD], 0.0)
    shares = _shares(arrays, dict(zip(slots.tolist(), range(len(leaves)), strict=True)), weights, categories)
    return Bayes(prior, np.where(known, gauss[..., MEAN], 0.0), inverse, constant, shares)


def _shares(arrays: Arrays, leaf_of: dict[int, int], weights: F64, categories: int) -> dict[tuple[int, int, int], F64]:
    found: dict[tuple[int, int, int], F64] = {}
    for owner, key, seen in zip(
        arrays["entry_int"][:, OWNER].tolist(), arrays["entry_id"][:, 0].tolist(), arrays["entry_weight"], strict=True
    ):
        slot, nominal = divmod(owner, max(1, categories))
        leaf = leaf_of.get(slot)
        if key == 0 or leaf is None:
            continue
        known = (seen > 0) & (weights[leaf] > 0)
        total = np.where(known, arrays["cat_total"][slot, nominal], 1.0)
        found[leaf, nominal, key] = np.log(np.where(known, seen / total, 1.0))
    return found


def models(arrays: Arrays, leaves: list[int], mode: str) -> tuple[F64, F64]:
    """(weights [leaves, f], intercepts [leaves]) of a regressor's leaves; a leaf that gives its mean has no weights."""
    real, model = arrays["node_real"][leaves], arrays["node_model"][leaves]
    means = np.full(len(leaves), mode == "mean")
    if mode == "adaptive":
        means = real[:, MEAN_ERROR] < real[:, MODEL_ERROR]
    return np.where(means[:, None], 0.0, model[:, :-1]), np.where(means, real[:, TARGET_MEAN], model[:, -1])
