"""The compiled loop of the linear models: for each row, in order, score it, then learn from it.

Numbers are River's: `StandardScaler | LogisticRegression` (or `LinearRegression`) with one-hot categories, one event
at a time. The score uses the statistics before the row, the step those after it, as River's pipeline does.
State is flat arrays; the kernel stops before a row for which the table might be too small, and says so by the
number of rows it did, so that the caller can grow it. Hence results do not depend on how a stream is cut.
"""

import math
from collections.abc import Callable

from stream.jit import cached, compiled, inlined, shared
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.table import find, short, slot_for
from stream.learn.linear.types import INTERCEPT, STEPS, USED, Arrays, Ids, Ints, Reals

LOG, SQUARED = 0, 1
Learn = Callable[[Reals, Ids, Ids, Ints, Reals, int, Arrays, int, Reals, int, int, Ints, Reals, Reals, Reals], int]
Score = Callable[[Reals, Ids, Ids, Ints, Arrays, int, Ints, Reals, Reals], None]


@shared
def sigmoid(z: float) -> float:
    """1 / (1 + e^-z) without overflow; and without a branch, which nobody could foresee."""
    e = math.exp(-abs(z))
    return (1.0 if z >= 0.0 else e) / (1.0 + e)


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


@compiled
def key_score(keys: Ids, a: Arrays, slots: Ints) -> tuple[float, bool]:
    """Weighted sum of keys, and whether one is new; slots gets where each lies, negative for one that has no place."""
    total, new = 0.0, False
    for j in range(keys.size):
        slot = find(a.keys, keys[j]) if keys[j] != 0 else -1
        slots[j] = slot
        if slot >= 0:
            total += a.table[slot]
        else:
            new |= keys[j] != 0
    return total, new


@inlined
def take_numbers(x: Reals, stats: Reals, scale: Reals, weights: Reals, z: Reals, none: float) -> tuple[float, float]:
    """Take a row into count, mean and variance; its weighted sum by what they were before, and by what they are then.

    z[f] gets the latter's deviations, `none` where there is no number. One pass, since a short loop costs more to enter
    than to go round.
    """
    before, after = 0.0, 0.0
    for j in range(x.size):
        v, mean, w = x[j], stats[1, j], weights[j]
        if v == v:
            off = v - mean
            count = stats[0, j] + 1.0
            share = 1.0 / count
            late = v - (mean + off * share)
            variance = stats[2, j] + (off * late - stats[2, j]) * share
            before += w * (off * scale[j])
            stats[0, j], stats[1, j], stats[2, j] = count, mean + off * share, variance
            scale[j] = 1.0 / math.sqrt(variance) if variance > 0.0 else 0.0
            z[j] = late * scale[j]
            after += w * z[j]
        else:
            z[j] = none
    return before, after


@inlined
def step_numbers(z: Reals, weights: Reals, lr: float, g: float, l2: float) -> None:
    """Step the weights of a row's numbers. z: where there is none, NaN, or, if l2 is 0, 0."""
    if l2 == 0.0:
        for j in range(z.size):
            weights[j] -= lr * (g * z[j])
        return
    for j in range(z.size):
        if z[j] == z[j]:
            weights[j] -= lr * (g * z[j] + l2 * weights[j])


@compiled
def step_held(table: Reals, slots: Ints, lr: float, g: float, l2: float) -> None:
    """Step the weights at slots, as far as there are any."""
    for j in range(slots.size):
        if slots[j] >= 0:
            table[slots[j]] -= lr * (g + l2 * table[slots[j]])


@compiled
def step_keys(a: Arrays, keys: Ids, slots: Ints, lr: float, g: float, l2: float, keys_max: int, marks_max: int) -> None:
    """Step the weights of keys, known to lie at slots; new ones are entered, and all are marked.

    An entry at the bound may move other keys: from then on each is looked for again.
    """
    moved = False
    for j in range(keys.size):
        slot = slots[j]
        if slot < 0 or moved:
            moved |= a.scalars[USED] >= keys_max
            slot = slot_for(a, keys[j], keys_max, marks_max) if keys[j] != 0 else -1
        elif marks_max > 0 and a.marks[slot] < marks_max:
            a.marks[slot] += 1
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
        scale: Reals,
        z: Reals,
        out: Reals,
    ) -> int:
        """Score, then learn, rows start..n; returns the row stopped before (n when done).

        rates: learning rate, intercept's learning rate, L2, largest absolute gradient. Scratch: slots[most keys of a
        row], scale[f], z[f].
        """
        _ = sources
        lr, lr_intercept, l2, clip = rates[0], rates[1], rates[2], rates[3]
        stats, weights, scalars = a.stats, a.weights, a.scalars
        none = math.nan if l2 != 0.0 else 0.0
        invert(stats, scale)
        for i in range(start, target.size):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            if short(a, ids.shape[1] + own.size, keys_max):
                return i
            x, row = numeric[i], ids[i]
            at, at_own = slots[: row.size], slots[row.size : row.size + own.size]
            of_row, new = key_score(row, a, at)
            of_own, new_own = key_score(own, a, at_own)
            known = of_row + of_own
            before, after = take_numbers(x, stats, scale, weights, z, none)
            raw = before + known + scalars[INTERCEPT]
            out[i] = sigmoid(raw) if loss == LOG else raw
            raw = after + known + scalars[INTERCEPT]
            g = min(max(gradient(loss, target[i], raw), -clip), clip)
            scalars[INTERCEPT] -= lr_intercept * g
            step_numbers(z, weights, lr, g, l2)
            if new or new_own or marks_max > 0:
                step_keys(a, row, at, lr, g, l2, keys_max, marks_max)
                if scalars[USED] >= keys_max:
                    at_own[:] = -1  # an entry may have moved them
                step_keys(a, own, at_own, lr, g, l2, keys_max, marks_max)
            else:
                step_held(a.table, at, lr, g, l2)
                step_held(a.table, at_own, lr, g, l2)
            scalars[STEPS] += 1.0
        return target.size

    @cached
    def score_rows(
        numeric: Reals,
        ids: Ids,
        tokens: Ids,
        ends: Ints,
        a: Arrays,
        loss: int,
        slots: Ints,
        scale: Reals,
        out: Reals,
    ) -> None:
        """Score rows; no state is touched."""
        _ = sources
        invert(a.stats, scale)
        for i in range(out.size):
            own = tokens[(ends[i - 1] if i else 0) : ends[i]]
            of_row, _new = key_score(ids[i], a, slots[: ids.shape[1]])
            of_own, _new = key_score(own, a, slots[ids.shape[1] :])
            raw = number_score(numeric[i], a.stats, scale, a.weights) + (of_row + of_own) + a.scalars[INTERCEPT]
            out[i] = sigmoid(raw) if loss == LOG else raw

    return learn_rows, score_rows


learn_rows, score_rows = _entry_points(SOURCES)
