"""Weight, mean and sum of squares of a target: River's `stats.Var`, its sums in River's order."""

from stream.jit import compiled
from stream.learn.regress.layout import COUNT, MIDDLE, SPREAD, Parts, Rules, State

Moments = tuple[float, float, float]


@compiled
def of_entry(state: State, entry: int) -> Moments:
    """The moments of an entry."""
    real = state.entry_real[entry]
    return real[COUNT], real[MIDDLE], real[SPREAD]


@compiled
def of_part(parts: Parts, row: int) -> Moments:
    """The moments of a branch."""
    real = parts.moments[row]
    return real[0], real[1], real[2]


@compiled
def put(parts: Parts, row: int, moments: Moments) -> None:
    """Keep the moments of a branch."""
    parts.moments[row, 0] = moments[0]
    parts.moments[row, 1] = moments[1]
    parts.moments[row, 2] = moments[2]


@compiled
def with_target(moments: Moments, target: float, weight: float) -> Moments:
    """West's update."""
    count, mean, squares = moments
    total = count + weight
    after = mean + (weight / total) * (target - mean)
    return total, after, squares + weight * (target - mean) * (target - after)


@compiled
def plus(rules: Rules, one: Moments, other: Moments) -> Moments:
    """Chan's union of two; the two weights must not both be 0."""
    count, mean, squares = one
    more, middle, spread = other
    total = count + more
    squares = squares + spread + (mean - middle) ** rules.two * count * more / total
    return total, (count * mean + more * middle) / total, squares


@compiled
def minus(rules: Rules, one: Moments, other: Moments) -> Moments:
    """What is left of `one` without `other`, as River takes it apart."""
    count, mean, squares = one
    less, middle, spread = other
    rest = count - less
    left = (count * mean - less * middle) / rest if rest > 0.0 else 0.0
    rest = max(rest, 0.0)
    return rest, left, squares - spread - (left - middle) ** rules.two * rest * less / (rest + less)


@compiled
def variance(moments: Moments) -> float:
    """Sample variance; 0 up to a weight of 1."""
    return moments[2] / (moments[0] - 1.0) if moments[0] > 1.0 else 0.0


@compiled
def reduction(rules: Rules, parts: Parts, left: Moments, right: Moments) -> float:
    """By how much a split into two lowers the variance; 0 when a side is too light."""
    if left[0] < rules.min_samples_split or right[0] < rules.min_samples_split:
        return 0.0
    whole = of_part(parts, 0)
    merit = variance(whole) - left[0] / whole[0] * variance(left)
    return merit - right[0] / whole[0] * variance(right)
