"""A linear model explained: its weights by name, and one event as the sum of weight × value.

A score is the sum through the loss's link: a sigmoid for `binary`, e^x for Poisson, softmax for classes, else the sum.
Importance of a feature: the size of its weight, |w| (with classes the largest), as a share of all. Weights belong to
scaled numbers, so that they can be compared; with `scale: none` they can't.
"""

import math
from typing import Any

import numpy as np

from stream.block import F64, Block, Layout
from stream.explain.explainable import Explanation, Numbers, Part, Weight, shares, wide
from stream.explain.names import Names
from stream.learn.linear.model import Hashed
from stream.learn.linear.quantile import value_of
from stream.learn.linear.scaling import LOWER, MAX_ABS, MEDIAN, MIDDLE, MIN_MAX, ROBUST, STANDARD, UPPER
from stream.learn.linear.softmax import Softmax
from stream.learn.linear.types import INTERCEPT, Rules


class LinearExplained:
    """Implements Explainable for what `model` is now."""

    def __init__(self, model: Hashed, layout: Layout, names: Names, outputs: tuple[str, ...]) -> None:
        arrays = model.state().arrays
        self._model, self._layout, self._names, self._outputs = model, layout, names, outputs
        self._stats, self._weights = arrays["stats"], wide(arrays["weights"])
        held = np.flatnonzero(arrays["keys"])
        self._keys, self._table = arrays["keys"][held], wide(arrays["table"][held])
        order = np.argsort(self._keys)
        self._keys, self._table = self._keys[order], self._table[order]
        bare = isinstance(model, Softmax)
        self.intercept: Numbers = (0.0,) * self._weights.shape[1] if bare else (float(arrays["scalars"][INTERCEPT]),)

    def weights(self) -> list[Weight]:
        """See Explainable."""
        scales = [scale_text(self._model.rules, self._stats[:, j]) for j in range(len(self._layout.numeric))]
        found = [
            Weight(name, _numbers(w), scale)
            for name, w, scale in zip(self._layout.numeric, self._weights, scales, strict=True)
        ]
        keys = self._keys.tolist()
        found += [Weight(self._names.of(key), _numbers(w)) for key, w in zip(keys, self._table, strict=True)]
        return sorted(found, key=lambda w: (-_size(w.weight), w.feature))

    def importance(self) -> dict[str, float]:
        """See Explainable."""
        return shares({w.feature: _size(w.weight) for w in self.weights()})

    def text(self, top: int) -> str:
        """See Explainable."""
        found, counts = self.weights(), self._model.counts()
        width = max([len(w.feature) for w in found[:top]], default=0)
        lines = [f"intercept {_shown(self.intercept)}"]
        lines += [f"{w.feature:<{width}}  {_shown(w.weight)}  {w.scale}".rstrip() for w in found[:top]]
        lines.append(
            f"{min(top, len(found))} of {len(found)} weights; categories: {counts['held']} held, "
            f"{counts['evicted']} evicted, {counts['refused']} refused"
        )
        if len(self._outputs) > 1:
            lines.insert(0, f"one number for each class: {', '.join(self._outputs)}")
        return "\n".join(lines) + "\n"

    def explain(self, block: Block) -> list[Explanation]:
        """See Explainable."""
        scaled, scores = self._model.scaled(block), wide(self._model.score(block))
        return [self._explained(block, row, scaled[row], scores[row]) for row in range(len(block))]

    def _explained(self, block: Block, row: int, scaled: F64, score: F64) -> Explanation:
        parts = [
            self._part(name, float(z), self._weights[j])
            for j, (name, z) in enumerate(zip(self._layout.numeric, scaled, strict=True))
            if not math.isnan(z)
        ]
        keys = [k for k in block.categories[row].tolist() if k]
        keys += block.tokens[block.token_ends[row - 1] if row else 0 : block.token_ends[row]].tolist()
        parts += [self._part(self._names.of(key), 1.0, self._weight_of(key)) for key in keys]
        parts.sort(key=lambda p: (-_size(p.contribution), p.feature))
        sums = [math.fsum(p.contribution[k] for p in parts) for k in range(len(self.intercept))]
        total = tuple(base + s for base, s in zip(self.intercept, sums, strict=True))
        return Explanation(self.intercept, tuple(parts), total, _numbers(score))

    def _weight_of(self, key: int) -> F64:
        at = int(np.searchsorted(self._keys, np.uint64(key)))
        known = at < len(self._keys) and int(self._keys[at]) == key
        return np.asarray(self._table[at] if known else np.zeros(self._weights.shape[1]))

    def _part(self, name: str, value: float, weight: F64) -> Part:
        return Part(name, value, _numbers(weight), _numbers(weight * value))


def scale_text(rules: Rules, column: F64) -> str:
    """What standardisation does to a number x, given the column's statistics."""
    if rules.scale == STANDARD:
        return f"(x - {column[1]:.6g}) / {math.sqrt(column[2]):.6g}" if column[2] > 0 else "0, as it never varied"
    if rules.scale == MIN_MAX:
        return f"(x - {column[1]:.6g}) / {column[2] - column[1]:.6g}" if column[2] > column[1] else "0"
    if rules.scale == MAX_ABS:
        return f"x / {column[1]:.6g}" if column[1] > 0 else "0"
    if rules.scale != ROBUST:
        return "x"
    lower, upper, centred, scaled = rules.scaler
    if not column[0]:
        return "nothing seen yet"
    estimate: Any = value_of.py_func  # type: ignore[attr-defined]
    top = f"x - {estimate(column[MEDIAN:LOWER], MIDDLE, column[0]):.6g}" if centred else "x"
    if not scaled:
        return top
    width = estimate(column[UPPER:], upper, column[0]) - estimate(column[LOWER:UPPER], lower, column[0])
    return f"({top}) / {width:.6g}" if width else "0, as its quantiles are the same"


def _numbers(values: F64) -> Numbers:
    return tuple(float(v) for v in values)


def _size(numbers: Numbers) -> float:
    return max(abs(n) for n in numbers)


def _shown(numbers: Numbers) -> str:
    return "  ".join(f"{n:+.6g}" for n in numbers)
