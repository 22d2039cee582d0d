"""A linear model as an ONNX graph: scale the numbers, weigh them, add the weights of the categories, apply the link.

With `swappable` what learning changes is an input with a default (`numeric_center`, `numeric_factor`,
`numeric_weight`, `category_weight`, `intercept`): a session goes on with newer weights by being given them. Which key
has which row of `category_weight` stays as it was at the export; keys learned later are not in it.
"""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import F64, U64, Layout
from stream.errors import DataError
from stream.explain.explainable import wide
from stream.export.categories import Categories
from stream.export.graph import Graph
from stream.learn.linear.losses import EXPONENT_MAX, POISSON, SIGMOID
from stream.learn.linear.model import Hashed
from stream.learn.linear.quantile import value_of
from stream.learn.linear.scaling import LOWER, MAX_ABS, MEDIAN, MIDDLE, MIN_MAX, ROBUST, SCALED_MAX, STANDARD, UPPER
from stream.learn.linear.softmax import Softmax
from stream.learn.linear.types import CLASS_STEPS, INTERCEPT, Rules

KEYS = "headwater.keys"  # metadata: the ids of category_weight's rows, base64 of little-endian uint64


@dataclass(frozen=True, slots=True)
class Weights:
    """What a linear model has learned, for k outputs; a number x counts as (x - center) * factor.

    missed: keys that the model holds and `keys` lacks.
    """

    keys: U64  # [t]
    numeric_center: F64  # [f]
    numeric_factor: F64  # [f]
    numeric_weight: F64  # [f, k]
    category_weight: F64  # [t + 1, k] the last row is that of any other key, and of none
    intercept: F64  # [k] -inf for a class that was never met
    missed: int = 0

    def feeds(self) -> dict[str, F64]:
        """The inputs of a session, by name; those without a place in the graph left out."""
        names = ["numeric_center", "numeric_factor", "numeric_weight"] if len(self.numeric_center) else []
        return {name: getattr(self, name) for name in [*names, "category_weight", "intercept"]}


def weights_of(model: Hashed, keys: U64 | None = None) -> Weights:
    """The model's weights now, with a row for each of `keys`, in their order; without, for each key that it holds.

    Raises DataError for a model that has learned nothing.
    """
    arrays = model.state().arrays
    held = np.flatnonzero(arrays["keys"])
    own, table = arrays["keys"][held], wide(arrays["table"][held])
    order = np.argsort(own)
    own, table = own[order], table[order]
    keys = own if keys is None else keys
    place = np.minimum(np.searchsorted(own, keys), max(0, len(own) - 1))
    known = own[place] == keys if len(own) else np.zeros(len(keys), bool)
    rows = np.zeros((len(keys) + 1, table.shape[1]))
    rows[:-1][known] = table[place[known]]
    center, factor = _scales(model.rules, arrays["stats"])
    intercept = arrays["scalars"][INTERCEPT : INTERCEPT + 1].copy()
    if isinstance(model, Softmax):
        met = arrays["scalars"][CLASS_STEPS:] > 0
        if not met.any():
            raise DataError("the model has learned nothing yet, so it has no classes to export")
        intercept = np.where(met, 0.0, -np.inf)
    missed = len(own) - int(np.isin(own, keys).sum())
    return Weights(keys, center, factor, wide(arrays["weights"]), rows, intercept, missed)


def keys_of(metadata: dict[str, str]) -> U64:
    """The keys of a swappable model's `category_weight`, from the metadata that its session tells.

    Raises DataError for a model that was not exported so.
    """
    if KEYS not in metadata:
        raise DataError(f"the model's metadata has no {KEYS}; `headwater export --swappable` writes models that have")
    return np.frombuffer(base64.b64decode(metadata[KEYS]), "<u8").astype(np.uint64)


def _scales(rules: Rules, stats: F64) -> tuple[F64, F64]:
    """center and factor of each column; a column never seen, or flat, has the factor 0."""
    zeros, ones = np.zeros(stats.shape[1]), np.ones(stats.shape[1])
    if rules.scale == STANDARD:
        return stats[1], _inverse(np.sqrt(stats[2]))
    if rules.scale == MIN_MAX:
        return stats[1], _inverse(stats[2] - stats[1])
    if rules.scale == MAX_ABS:
        return zeros, _inverse(stats[1])
    if rules.scale != ROBUST:
        return zeros, ones
    lower, upper, centred, scaled = rules.scaler
    estimate: Callable[[Any, float, float], float] = value_of.py_func  # type: ignore[attr-defined]

    def quantile(begin: int, end: int | None, q: float) -> F64:
        return np.array([estimate(c[begin:end], q, c[0]) if c[0] > 0 else 0.0 for c in stats.T])

    center = quantile(MEDIAN, LOWER, MIDDLE) if centred else zeros
    if not scaled:
        return center, ones
    width = quantile(UPPER, None, upper) - quantile(LOWER, UPPER, lower)
    return center, np.divide(1.0, width, out=np.zeros_like(width), where=width != 0)


def _inverse(width: F64) -> F64:
    return np.divide(1.0, width, out=np.zeros_like(width), where=width > 0)


def linear_graph(
    graph: Graph, layout: Layout, categories: Categories, model: Hashed, task: str, swappable: bool
) -> tuple[str, dict[str, str]]:
    """(name of the score, metadata) of the model as it is now."""
    weights = weights_of(model)
    if np.isinf(weights.numeric_factor).any() or np.isinf(weights.numeric_center).any():
        raise DataError("a number's scale is not finite, so it can't be exported")
    feeds = weights.feeds()
    place = graph.default if swappable else lambda name, values: graph.constant(values, name)
    terms = [place("intercept", feeds["intercept"])]
    if layout.numeric:
        center, factor, weight = (place(f"numeric_{n}", feeds[f"numeric_{n}"]) for n in ("center", "factor", "weight"))
        x = graph.input("numeric", np.float64, len(layout.numeric))
        terms.append(_numbers(graph, x, center, factor, weight, model.rules.scale != STANDARD))
    if layout.categories:
        table = place("category_weight", feeds["category_weight"])
        terms.append(graph.total(graph.op("Gather", table, _rows(graph, layout, categories, weights.keys), axis=0), 1))
    raw = terms[0]
    for term in terms[1:]:
        raw = graph.op("Add", term, raw)
    metadata = {KEYS: base64.b64encode(weights.keys.astype("<u8").tobytes()).decode()} if swappable else {}
    return _linked(graph, raw, model, task), metadata


def _numbers(graph: Graph, x: str, center: str, factor: str, weight: str, clipped: bool) -> str:
    """[n, k]: weighted sum of the numbers; an absent one adds nothing."""
    z = graph.op("Mul", graph.op("Sub", x, center), factor)
    if clipped:
        z = graph.op("Clip", z, graph.constant(np.array(-SCALED_MAX)), graph.constant(np.array(SCALED_MAX)))
    z = graph.op("Where", graph.op("IsNaN", x), graph.constant(np.array(0.0)), z)
    return graph.op("MatMul", z, weight)


def _rows(graph: Graph, layout: Layout, categories: Categories, keys: U64) -> str:
    """int64[n, c]: the row of each category's weight."""
    none = len(keys)
    if categories.by_id:
        return categories.all_mapped({key: at for at, key in enumerate(keys.tolist())}, none, none)
    columns: list[dict[int, int]] = [{} for _ in layout.categories]
    for at, key in enumerate(keys.tolist()):
        column = categories.column_of(key)
        if column is not None:
            columns[column][key] = at
    axis = graph.constant(np.array([1]))
    parts = [graph.op("Unsqueeze", categories.mapped(j, found, none, none), axis) for j, found in enumerate(columns)]
    return graph.op("Concat", *parts, axis=1)


def _linked(graph: Graph, raw: str, model: Hashed, task: str) -> str:
    """The score of the raw outputs [n, k]."""
    if isinstance(model, Softmax):
        shares = graph.op("Softmax", raw, axis=1)
        return graph.pick(shares, 1, 1) if task == "binary" else shares
    single = graph.pick(raw, 0, 1)
    if model.rules.loss in SIGMOID:
        return graph.op("Sigmoid", single)
    if model.rules.loss == POISSON:
        return graph.op("Exp", graph.op("Min", single, graph.constant(np.array(EXPONENT_MAX))))
    return single
