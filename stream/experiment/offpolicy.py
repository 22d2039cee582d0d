"""What would another policy have earned, from what this one logged? IPS, SNIPS, DR; intervals valid at every look.

Each logged outcome counts by its weight: how likely the other policy was to do what was done, over how likely it was
here (Horvitz and Thompson 1952). Self-normalised: Swaminathan and Joachims 2015. Doubly robust: Dudík, Langford and Li
2011. The intervals are asymptotic confidence sequences over what each outcome adds (Waudby-Smith et al. 2024; see
`mixture.unbounded_reach`); SNIPS by its linear form. A policy that seldom agrees with the logged one has few effective
samples, ESS = (Σw)² / Σw² (Kish 1965), and a wide interval.
"""

from dataclasses import dataclass

import numpy as np

from stream.block import F64
from stream.errors import DataError
from stream.experiment.difference import check_propensity
from stream.experiment.sequence import ALPHA, Sequence, check_values


@dataclass(frozen=True, slots=True)
class PolicyValue:
    """One estimate of a policy's mean outcome; effective: the effective sample size; n: outcomes logged."""

    estimator: str
    n: int
    effective: float
    estimate: float
    low: float
    high: float


def weights(target: F64, propensity: F64) -> F64:
    """target / propensity: probabilities, by the policy asked about and the logged one, of what was done; float64[n].

    Raises DataError, with the row, for a propensity that is 0, NaN or above 1, or a target that is no probability.
    """
    if target.shape != propensity.shape:
        raise DataError(f"target: found {target.shape}; the propensities' {propensity.shape} is wanted")
    check_propensity(propensity)
    check_values(target, "target probability", 0.0, 1.0)
    return target / propensity


def effective_size(weight: F64) -> float:
    """How many outcomes of weight 1 say as much about a mean; 0 when no outcome has a weight."""
    squares = float((weight * weight).sum())
    return float(weight.sum()) ** 2 / squares if squares else 0.0


def ips(value: F64, propensity: F64, target: F64, alpha: float = ALPHA) -> PolicyValue:
    """Inverse propensity score: unbiased, noisy. value: what came of it, float64[n]; see `weights`."""
    weight = _weighed(value, propensity, target)
    return _found("IPS", weight * value, weight, alpha)


def snips(value: F64, propensity: F64, target: F64, alpha: float = ALPHA) -> PolicyValue:
    """Self-normalised: divided by the sum of weights. Slightly biased for few outcomes; never outside their range."""
    weight = _weighed(value, propensity, target)
    if not weight.any():
        return PolicyValue("SNIPS", len(value), 0.0, float("nan"), float("-inf"), float("inf"))
    estimate = float((weight * value).sum() / weight.sum())
    return _found("SNIPS", estimate + weight * (value - estimate) / weight.mean(), weight, alpha)


def dr(
    value: F64, propensity: F64, target: F64, expected: F64, expected_target: F64, alpha: float = ALPHA
) -> PolicyValue:
    """Doubly robust: right if propensities or expectations are.

    expected: what a model expected of what was done; expected_target: what it expects of the policy asked about. Both
    made without the row's own value, float64[n].
    """
    weight = _weighed(value, propensity, target)
    check_values(expected, "expected value")
    check_values(expected_target, "expected value of the target")
    return _found("DR", expected_target + weight * (value - expected), weight, alpha)


def _weighed(value: F64, propensity: F64, target: F64) -> F64:
    if value.shape != propensity.shape:
        raise DataError(f"values: found {value.shape}; the propensities' {propensity.shape} is wanted")
    check_values(value, "value")
    return weights(target, propensity)


def _found(estimator: str, added: F64, weight: F64, alpha: float) -> PolicyValue:
    sequence = Sequence(None)
    sequence.update(added, np.zeros_like(added))
    found = sequence.interval(alpha)
    return PolicyValue(estimator, found.n, effective_size(weight), found.estimate, found.low, found.high)
