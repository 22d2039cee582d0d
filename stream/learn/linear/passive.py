"""Passive-aggressive models, as River's `PAClassifier` and `PARegressor`: the least step that mends a row's loss."""

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from pydantic import Field

from stream.block import F64, Block
from stream.jit import cached, compiled
from stream.learn.linear.general import raw_score, score_rows
from stream.learn.linear.kernel import LOG, SQUARED
from stream.learn.linear.losses import mean
from stream.learn.linear.model import Hashed
from stream.learn.linear.params import RowParams
from stream.learn.linear.scaling import scale_row
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.table import enter, find, short
from stream.learn.linear.types import INTERCEPT, STEPS, Arrays, Ids, Ints, Reals, Rules

TAU_MAX = 1e12  # a row of nearly no length would ask mode 0 for a step without bound
Learn = Callable[[Reals, Ids, Ids, Ints, Reals, int, Arrays, Rules, Reals, Reals], int]


class PassiveParams(RowParams):
    """`c` bounds the step (modes 1 and 2); River's default of 1 follows every wrong label. `eps` is the error that a
    regression lets pass; `binary` has no use for it."""

    c: float = Field(default=0.1, gt=0, le=1e6)
    mode: Literal[0, 1, 2] = 1
    eps: float = Field(default=0.1, ge=0, le=1e12)
    learn_intercept: bool = True

    def rules(self, loss: int) -> Rules:
        """As the kernel reads them: hyper is c, mode, whether the intercept learns."""
        hyper = (self.c, float(self.mode), float(self.learn_intercept), 0.0)
        return super().rules(loss)._replace(loss_parameter=self.eps, hyper=hyper)


@compiled
def held(a: Arrays, keys: Ids) -> float:
    """How many of the keys are in the table."""
    count = 0.0
    for key in keys:
        if key != 0 and find(a.keys, key) >= 0:
            count += 1.0
    return count


@compiled
def add(a: Arrays, keys: Ids, step: float) -> None:
    """Add the step to the weights of the keys in the table."""
    for key in keys:
        slot = find(a.keys, key) if key != 0 else -1
        if slot >= 0:
            a.table[slot] += step


@compiled
def step_size(rules: Rules, loss: float, square: float) -> float:
    """River's tau; square: the row's squared length."""
    c, mode, _, _ = rules.hyper
    if mode == 2.0:
        return float(loss / (square + 0.5 / c))
    tau = min(loss / square, TAU_MAX) if square > 0.0 else 0.0
    return min(c, tau) if mode == 1.0 else tau


@compiled
def learn_row(a: Arrays, rules: Rules, z: Reals, ids: Ids, tokens: Ids, target: float) -> None:
    """Move towards the target, if the row's loss is not 0."""
    enter(a, ids, rules.keys_max, rules.marks_max)
    enter(a, tokens, rules.keys_max, rules.marks_max)
    raw = raw_score(a, z, ids, tokens)
    square = held(a, ids) + held(a, tokens)
    for j in range(z.size):
        if not math.isnan(z[j]):
            square += z[j] * z[j]
    if rules.loss == LOG:
        sign = 1.0 if target != 0.0 else -1.0
        loss = max(1.0 - sign * raw, 0.0)
    else:
        sign = 1.0 if target > raw else -1.0
        loss = max(abs(raw - target) - rules.loss_parameter, 0.0)
    step = step_size(rules, loss, square) * sign
    for j in range(z.size):
        if not math.isnan(z[j]):
            a.weights[j] += step * z[j]
    add(a, ids, step)
    add(a, tokens, step)
    if rules.hyper[2] != 0.0:
        a.scalars[INTERCEPT] += step
    a.scalars[STEPS] += 1.0


def _entry_point(sources: int) -> Learn:
    @cached
    def learn_rows(
        numeric: Reals,
        ids: Ids,
        tokens: Ids,
        ends: Ints,
        target: Reals,
        start: int,
        a: Arrays,
        rules: Rules,
        z: Reals,
        out: Reals,
    ) -> int:
        """Score, then learn, rows start..n; returns the row stopped before (n when done). z: scratch[f]."""
        _ = sources
        for i in range(start, target.size):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            if short(a, ids.shape[1] + own.size, rules.keys_max):
                return i
            scale_row(rules, a.stats, numeric[i], z, False)
            out[i] = mean(rules.loss, raw_score(a, z, ids[i], own))
            scale_row(rules, a.stats, numeric[i], z, True)
            learn_row(a, rules, z, ids[i], own, target[i])
        return target.size

    return learn_rows


learn_rows = _entry_point(SOURCES)


class Passive(Hashed):
    """Scores are a sigmoid of the raw output (`binary`) or the output itself."""

    _kind = "passive_aggressive"

    def __init__(self, features: int, task: str, params: PassiveParams) -> None:
        super().__init__(features, (), 0, 4, params.rules(LOG if task == "binary" else SQUARED))
        self._params = params

    def _learn(self, block: Block, label: F64, done: int, out: F64) -> int:
        rows = (block.numeric, block.categories, block.tokens, block.token_ends)
        return learn_rows(*rows, label, done, self._a, self._rules, self._z, out)

    def _score(self, block: Block, out: F64) -> None:
        rows = (block.numeric, block.categories, block.tokens, block.token_ends)
        score_rows(*rows, self._a, self._rules, np.empty_like(self._z), out)

    def _meta(self) -> dict[str, Any]:
        return {**self._params.model_dump(), "loss": self._rules.loss}
