"""Softmax regression: one weight for each class and feature, no intercept, as River's `SoftmaxRegression`.

A class takes part from its first label on: before that its probability is 0, and its steps are counted apart, since
in River each class has an optimiser of its own.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from stream.block import F64, Block
from stream.jit import cached, compiled
from stream.learn.linear.kernel import LOG
from stream.learn.linear.model import Hashed
from stream.learn.linear.optimise import rate_of_row, stepped
from stream.learn.linear.params import StepParams
from stream.learn.linear.scaling import scale_row
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.table import enter, find, short
from stream.learn.linear.types import CLASS_STEPS, STEPS, Arrays, Ids, Ints, Reals, Rules

Learn = Callable[[Reals, Ids, Ids, Ints, Reals, int, Arrays, Rules, Reals, Reals, Reals], int]
Score = Callable[[Reals, Ids, Ids, Ints, Arrays, Rules, Reals, Reals], None]


class SoftmaxParams(StepParams):
    """See StepParams."""


@compiled
def add_keys(a: Arrays, keys: Ids, p: Reals) -> None:
    """Add the weights of keys to p; 0 is no key."""
    for key in keys:
        slot = find(a.keys, key) if key != 0 else -1
        if slot >= 0:
            for c in range(p.size):
                p[c] += a.table[slot, c]


@compiled
def probabilities(a: Arrays, z: Reals, ids: Ids, tokens: Ids, p: Reals) -> None:
    """Softmax over the classes that were met, into p; the others get 0."""
    p[:] = 0.0
    for j in range(z.size):
        if not math.isnan(z[j]):
            for c in range(p.size):
                p[c] += a.weights[j, c] * z[j]
    add_keys(a, ids, p)
    add_keys(a, tokens, p)
    largest, total = -math.inf, 0.0
    for c in range(p.size):
        if a.scalars[CLASS_STEPS + c] > 0.0:
            largest = max(largest, p[c])
    for c in range(p.size):
        p[c] = math.exp(p[c] - largest) if a.scalars[CLASS_STEPS + c] > 0.0 else 0.0
        total += p[c]
    if total > 0.0:
        for c in range(p.size):
            p[c] /= total


@compiled
def step_class(a: Arrays, rules: Rules, c: int, g: float, z: Reals, ids: Ids, tokens: Ids) -> None:
    """Step the weights of one class by the slope g of its raw score."""
    rate = rate_of_row(rules, a.scalars[CLASS_STEPS + c])
    for j in range(z.size):
        if not math.isnan(z[j]):
            w = a.weights[j, c]
            a.weights[j, c] = stepped(rules, rate, g * z[j] + rules.l2 * w, w, a.memory[j, c])
    step_keys(a, rules, rate, c, g, ids)
    step_keys(a, rules, rate, c, g, tokens)
    a.scalars[CLASS_STEPS + c] += 1.0


@compiled
def step_keys(a: Arrays, rules: Rules, rate: float, c: int, g: float, keys: Ids) -> None:
    """Step the weights of those keys that are in the table."""
    for key in keys:
        slot = find(a.keys, key) if key != 0 else -1
        if slot >= 0:
            w = a.table[slot, c]
            a.table[slot, c] = stepped(rules, rate, g + rules.l2 * w, w, a.table_memory[slot, c])


@compiled
def learn_row(a: Arrays, rules: Rules, z: Reals, ids: Ids, tokens: Ids, label: int, p: Reals) -> None:
    """One step of every class that was met, and of the label's."""
    probabilities(a, z, ids, tokens, p)
    enter(a, ids, rules.keys_max, rules.marks_max)
    enter(a, tokens, rules.keys_max, rules.marks_max)
    for c in range(p.size):
        if a.scalars[CLASS_STEPS + c] > 0.0 or c == label:
            g = min(max(p[c], 1e-15), 1.0 - 1e-15) - (1.0 if c == label else 0.0)
            step_class(a, rules, c, g, z, ids, tokens)
    a.scalars[STEPS] += 1.0


def _entry_points(sources: int) -> tuple[Learn, Score]:
    @cached
    def learn_rows(
        numeric: Reals,
        ids: Ids,
        tokens: Ids,
        ends: Ints,
        label: Reals,
        start: int,
        a: Arrays,
        rules: Rules,
        z: Reals,
        p: Reals,
        out: Reals,
    ) -> int:
        """Score, then learn, rows start..n; returns the row stopped before. z, p: scratch[f], scratch[k]."""
        _ = sources
        for i in range(start, label.size):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            if short(a, ids.shape[1] + own.size, rules.keys_max):
                return i
            scale_row(rules, a.stats, numeric[i], z, False)
            probabilities(a, z, ids[i], own, out[i])
            scale_row(rules, a.stats, numeric[i], z, True)
            learn_row(a, rules, z, ids[i], own, int(label[i]), p)
        return label.size

    @cached
    def score_rows(
        numeric: Reals, ids: Ids, tokens: Ids, ends: Ints, a: Arrays, rules: Rules, z: Reals, out: Reals
    ) -> None:
        """Score rows; no state is touched."""
        _ = sources
        for i in range(out.shape[0]):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            scale_row(rules, a.stats, numeric[i], z, False)
            probabilities(a, z, ids[i], own, out[i])

    return learn_rows, score_rows


learn_rows, score_rows = _entry_points(SOURCES)


class Softmax(Hashed):
    """Scores are float64[n, classes], zeros before the first label; for the task `binary` class 1's alone."""

    _kind = "softmax"

    def __init__(self, features: int, classes: int, params: SoftmaxParams, task: str = "classes") -> None:
        self._binary = task == "binary"
        super().__init__(features, (classes,), params.memory(), CLASS_STEPS + classes, params.rules(LOG))
        self._params, self._p = params, np.empty(classes)

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        return self._scores(super().score_learn(block, label))

    def score(self, block: Block) -> F64:
        """See Learner."""
        return self._scores(super().score(block))

    def _scores(self, p: F64) -> F64:
        return np.ascontiguousarray(p[:, 1]) if self._binary else p

    def _learn(self, block: Block, label: F64, done: int, out: F64) -> int:
        rows = (block.numeric, block.categories, block.tokens, block.token_ends)
        return learn_rows(*rows, label, done, self._a, self._rules, self._z, self._p, out)

    def _score(self, block: Block, out: F64) -> None:
        rows = (block.numeric, block.categories, block.tokens, block.token_ends)
        score_rows(*rows, self._a, self._rules, np.empty_like(self._z), out)

    def _meta(self) -> dict[str, Any]:
        return self._params.model_dump()
