"""The compiled loops for every loss, optimiser, schedule, penalty and scale; kernel.py is the fast special case.

One event at a time: scale, score, take the row into the scaler, then step with what the loss says of the new scale.
As kernel.py's loop it stops before a row for which the table might be too small.
"""

import math
from collections.abc import Callable

from stream.jit import cached, compiled
from stream.learn.linear.losses import mean, slope
from stream.learn.linear.optimise import rate_of_row, shrunk, stepped
from stream.learn.linear.scaling import scale_row
from stream.learn.linear.schedules import rate_at
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.table import find, short, slot_for
from stream.learn.linear.types import INTERCEPT, PENALTY, STEPS, Arrays, Ids, Ints, Reals, Rules

Learn = Callable[[Reals, Ids, Ids, Ints, Reals, int, Arrays, Rules, Reals, Reals], int]
Score = Callable[[Reals, Ids, Ids, Ints, Arrays, Rules, Reals, Reals], None]


@compiled
def keys_weight(a: Arrays, keys: Ids) -> float:
    """Sum of the weights of keys; 0 is no key."""
    total = 0.0
    for key in keys:
        slot = find(a.keys, key) if key != 0 else -1
        if slot >= 0:
            total += a.table[slot]
    return total


@compiled
def raw_score(a: Arrays, z: Reals, ids: Ids, tokens: Ids) -> float:
    """Weighted sum of one scaled row and its keys."""
    total = 0.0
    for j in range(z.size):
        if not math.isnan(z[j]):
            total += a.weights[j] * z[j]
    total += keys_weight(a, ids)
    total += keys_weight(a, tokens)
    return float(total + a.scalars[INTERCEPT])


@compiled
def update(rules: Rules, rate: float, penalty: float, g: float, weights: Reals, memory: Reals, at: int) -> None:
    """Step the weight at `at` by the loss's gradient g, with L2 or L1."""
    own = memory[at]
    w = stepped(rules, rate, g + rules.l2 * weights[at], weights[at], own)
    weights[at] = shrunk(w, penalty, own) if rules.l1 > 0.0 else w


@compiled
def update_keys(a: Arrays, rules: Rules, rate: float, penalty: float, g: float, keys: Ids) -> None:
    """Step the weights of keys; new ones are entered."""
    for key in keys:
        slot = slot_for(a, key, rules.keys_max, rules.marks_max) if key != 0 else -1
        if slot >= 0:
            update(rules, rate, penalty, g, a.table, a.table_memory, slot)


@compiled
def learn_row(a: Arrays, rules: Rules, z: Reals, ids: Ids, tokens: Ids, target: float) -> None:
    """One step, of the intercept and of every weight whose feature the row has."""
    steps = a.scalars[STEPS]
    g = slope(rules.loss, rules.loss_parameter, target, raw_score(a, z, ids, tokens))
    g = min(max(g, -rules.clip), rules.clip)
    a.scalars[INTERCEPT] -= rate_at(rules.intercept_rate, steps) * g
    if rules.l1 > 0.0:
        a.scalars[PENALTY] += rules.l1 * rate_at(rules.rate, steps + 1.0)
    rate, penalty = rate_of_row(rules, steps), a.scalars[PENALTY]
    for j in range(z.size):
        if not math.isnan(z[j]):
            update(rules, rate, penalty, g * z[j], a.weights, a.memory, j)
    update_keys(a, rules, rate, penalty, g, ids)
    update_keys(a, rules, rate, penalty, g, tokens)
    a.scalars[STEPS] += 1.0


def _entry_points(sources: int) -> tuple[Learn, Score]:
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

    @cached
    def score_rows(
        numeric: Reals, ids: Ids, tokens: Ids, ends: Ints, a: Arrays, rules: Rules, z: Reals, out: Reals
    ) -> None:
        """Score rows; no state is touched."""
        _ = sources
        for i in range(out.size):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            scale_row(rules, a.stats, numeric[i], z, False)
            out[i] = mean(rules.loss, raw_score(a, z, ids[i], own))

    return learn_rows, score_rows


learn_rows, score_rows = _entry_points(SOURCES)
