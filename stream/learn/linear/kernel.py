"""The compiled loop of the linear models: for each row, in order, score it, then learn from it.

Numbers are River's: `StandardScaler | LogisticRegression` (or `LinearRegression`) with one-hot categories, one event
at a time. The score uses the statistics before the row, the step those after it, as River's pipeline does.
State is flat arrays; the kernel stops before a row for which the table might be too small, and says so by the
number of rows it did, so that the caller can grow it. Hence results do not depend on how a stream is cut.
"""

import math
from collections.abc import Callable

from stream.jit import cached, compiled, inlined, shared
from stream.learn.linear import lanes
from stream.learn.linear.natural import sigmoid, sigmoids
from stream.learn.linear.placing import batch, look_up, place_rows
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.table import find, slot_for
from stream.learn.linear.types import INTERCEPT, STEPS, USED, Arrays, Ids, Ints, Reals

LOG, SQUARED = 0, 1
Learn = Callable[[Reals, Ids, Ids, Ints, Reals, int, Arrays, int, Reals, int, int, Ints, Reals, Reals, Reals], int]
Score = Callable[[Reals, Ids, Ids, Ints, Arrays, int, Reals, Reals], None]


@shared
def gradient(loss: int, target: float, raw: float) -> float:
    """Derivative of the loss by the raw output; River's `optim.losses.Log` and `Squared`."""
    if loss == SQUARED:
        return 2.0 * (raw - target)
    y = 1.0 if target != 0.0 else -1.0
    z = raw * y
    if z > 18.0:
        return math.exp(-z) * -y
    if z < -18.0:
        return -y
    return -y / (math.exp(z) + 1.0)


@compiled
def invert(stats: Reals, scale: Reals) -> None:
    """1 / standard deviation of each column; 0 for one never seen, or flat."""
    for j in range(scale.size):
        scale[j] = 1.0 / math.sqrt(stats[2, j]) if stats[2, j] > 0.0 else 0.0


@compiled
def number_score(x: Reals, stats: Reals, scale: Reals, weights: Reals) -> float:
    """Weighted sum of a row's numbers. stats[3, f]: count, mean, variance; never changed here."""
    total = 0.0
    for j in range(x.size):
        z = (x[j] - stats[1, j]) * scale[j]
        total += weights[j] * z if z == z else 0.0
    return total


@inlined
def weigh(table: Reals, slots: Ints, begin: int, end: int) -> float:
    """Weighted sum of the keys at some slots."""
    total = 0.0
    for j in range(begin, end):
        if slots[j] >= 0:
            total += table[slots[j]]
    return total


@compiled
def key_score(keys: Ids, a: Arrays) -> float:
    """Weighted sum of keys."""
    total = 0.0
    for key in keys:
        slot = find(a.keys, key) if key != 0 else -1
        if slot >= 0:
            total += a.table[slot]
    return total


@compiled
def learn_batch(
    numeric: Reals,
    z: Reals,
    ids: Ids,
    tokens: Ids,
    ends: Ints,
    slots: Ints,
    target: Reals,
    i: int,
    rows: int,
    a: Arrays,
    loss: int,
    rates: Reals,
    keys_max: int,
    marks_max: int,
    held: bool,
    out: Reals,
) -> None:
    """Score, then learn, rows i.., of which the keys lie at slots if they are held; out gets raw scores.

    z: what lanes.take gave.
    """
    lr, lr_intercept, l2, clip = rates[0], rates[1], rates[2], rates[3]
    weights, intercept, width = a.weights, a.scalars[INTERCEPT], ids.shape[1]
    clips = loss != LOG or clip < 1.0
    for r in range(rows):
        before, after, at, keys = z[0, r], z[1, r], slots[r], width
        begin, end = ends[i + r - 1] if i + r else 0, ends[i + r]
        if not held:
            look_up(ids[i + r], tokens[begin:end], a.keys, at)
        early, late = 0.0, 0.0
        for j in range(weights.size):
            early += weights[j] * before[j]
            late += weights[j] * after[j]
        known = weigh(a.table, at, 0, width)
        if end > begin:
            keys += end - begin
            known += weigh(a.table, at, width, keys)
        out[i + r] = early + known + intercept
        g = gradient(loss, target[i + r], late + known + intercept)
        if clips:
            g = min(max(g, -clip), clip)
        intercept -= lr_intercept * g
        if l2 == 0.0:
            for j in range(weights.size):
                weights[j] -= lr * (g * after[j])
        else:
            step_decayed(numeric[i + r], after, weights, lr, g, l2)
        if held:
            step_held(a, at, keys, lr, g, l2, marks_max)
        else:
            step_keys(a, ids[i + r], lr, g, l2, keys_max, marks_max)
            step_keys(a, tokens[begin:end], lr, g, l2, keys_max, marks_max)
    a.scalars[INTERCEPT] = intercept


@compiled
def step_decayed(x: Reals, after: Reals, weights: Reals, lr: float, g: float, l2: float) -> None:
    """Step the weights of those of a row's numbers that there are, with L2."""
    for j in range(x.size):
        if x[j] == x[j]:
            weights[j] -= lr * (g * after[j] + l2 * weights[j])


@inlined
def step_held(a: Arrays, slots: Ints, keys: int, lr: float, g: float, l2: float, marks_max: int) -> None:
    """Step the weights at the first `keys` slots, and mark them."""
    table, marks, move = a.table, a.marks, lr * g
    for j in range(keys):
        slot = slots[j]
        if slot >= 0:
            w = table[slot]
            table[slot] = w - (move if l2 == 0.0 else lr * (g + l2 * w))
            if marks_max > 0:
                marks[slot] += 1 if marks[slot] < marks_max else 0


@compiled
def step_keys(a: Arrays, keys: Ids, lr: float, g: float, l2: float, keys_max: int, marks_max: int) -> None:
    """Step the weights of keys; new ones are entered, by which others may move or go."""
    for key in keys:
        slot = slot_for(a, key, keys_max, marks_max) if key != 0 else -1
        if slot >= 0:
            a.table[slot] -= lr * (g + l2 * a.table[slot])


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
        loss: int,
        rates: Reals,
        keys_max: int,
        marks_max: int,
        slots: Ints,
        work: Reals,
        z: Reals,
        out: Reals,
    ) -> int:
        """Score, then learn, rows start..n; returns the row stopped before (n when done).

        rates: learning rate, intercept's learning rate, L2, largest absolute gradient. Scratch: slots[rows of a batch,
        most keys of a row], and lanes.scratch.
        """
        _ = sources
        lanes.load(work, a.stats)
        i = start
        while i < target.size:
            rows, held = batch(a, ids.shape[1], ends, i, min(slots.shape[0], target.size - i), keys_max)
            if rows == 0:
                break
            lanes.take(work, numeric, i, rows, z)
            if held:
                a.scalars[USED] += place_rows(ids, tokens, ends, i, rows, a.keys, slots)
            learn_batch(
                numeric, z, ids, tokens, ends, slots, target, i, rows, a, loss, rates, keys_max, marks_max, held, out
            )
            i += rows
        if loss == LOG:
            sigmoids(out[start:i])
        lanes.store(work, a.stats)
        a.scalars[STEPS] += i - start
        return i

    @cached
    def score_rows(
        numeric: Reals,
        ids: Ids,
        tokens: Ids,
        ends: Ints,
        a: Arrays,
        loss: int,
        scale: Reals,
        out: Reals,
    ) -> None:
        """Score rows; no state is touched."""
        _ = sources
        invert(a.stats, scale)
        for i in range(out.size):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            of_row = key_score(ids[i], a)
            of_own = key_score(own, a)
            raw = number_score(numeric[i], a.stats, scale, a.weights) + (of_row + of_own) + a.scalars[INTERCEPT]
            out[i] = sigmoid(raw) if loss == LOG else raw

    return learn_rows, score_rows


learn_rows, score_rows = _entry_points(SOURCES)
