"""Evidence against "the mean is zero" and the matching intervals, valid at every moment: two mixtures, in closed form.

An *e-value* is what a fair bet against the hypothesis has won: the chance that it ever reaches 1/α is at most α,
however often somebody looks (Ville's inequality). An interval holds every mean whose own e-value is below 1/α. Both
kinds need only a count, a sum and a spread, so what has been learned so far can be asked with any α.

- `bounded`: nothing is assumed but bounds. Howard, Ramdas, McAuliffe and Sekhon 2021, "Time-uniform, nonparametric,
  nonasymptotic confidence sequences", theorem 4 (empirical Bernstein) with the gamma-exponential mixture, proposition
  9.
- `unbounded`: a normal mixture with estimated variance, the asymptotic confidence sequence of Waudby-Smith, Arbour,
  Sinha, Kennedy and Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences"; in Student's
  form (Lindon, Ham, Tingley and Bojinov 2022, "Anytime-valid inference in linear models"), which is exact for normal
  values from the second on and the same in the limit.

All functions take arrays of one shape and are two-sided.
"""

import math

import numpy as np
from scipy.special import gammainc, gammaln

from stream.block import F64

TUNED_ALPHA = 0.05
_HALVINGS = 60


def bounded_rho(outcomes: float, spread: float) -> float:
    """The `rho` whose interval is narrowest after so many outcomes; spread: their variance in squared reaches."""
    bits = math.log(2 / TUNED_ALPHA)
    return outcomes * spread / (2 * bits + math.log1p(2 * bits))


def unbounded_g(outcomes: float) -> float:
    """The `g` whose interval is narrowest after so many outcomes."""
    bits = math.log(1 / TUNED_ALPHA)
    return outcomes / (2 * bits + math.log1p(2 * bits))


def log_bounded(total: F64, spread: F64, rho: float) -> F64:
    """log e-value of sums of values that lie at most 1 from what was predicted of them.

    spread: sum of squared distances to the predictions, which were made before each value was seen.
    """
    return _log_gamma_exponential(np.abs(total), spread, rho) - math.log(2)


def _log_gamma_exponential(total: F64, spread: F64, rho: float) -> F64:
    """One-sided, for sums ≥ 0: a bet of λ in [0, 1), 1 - λ spread as a gamma variable of shape and rate rho below 1."""
    shape = spread + rho
    rate = total + shape
    unit = rho * math.log(rho) - math.lgamma(rho) - math.log(float(gammainc(rho, rho)))
    found = unit + gammaln(shape) + np.log(gammainc(shape, rate)) - shape * np.log(rate) + rate - rho
    return np.asarray(found, np.float64)


def bounded_reach(spread: F64, rho: float, alpha: float) -> F64:
    """How far from zero a sum must lie for an e-value of 1/alpha: the root, by halving."""
    wanted = math.log(2 / alpha)
    low, high = np.zeros_like(spread), np.ones_like(spread)
    while np.any(short := _log_gamma_exponential(high, spread, rho) < wanted):
        high = np.where(short, 2 * high, high)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        short = _log_gamma_exponential(middle, spread, rho) < wanted
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return high


def log_unbounded(count: F64, total: F64, spread: F64, g: float) -> F64:
    """log e-value. spread: sum of squared distances to the mean of all values; 0 for fewer than two."""
    n, share = np.maximum(count, 1.0), g / (g + np.maximum(count, 1.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        shrunk = np.where(spread > 0, total * total / (n * spread), np.where(total == 0, 0.0, np.inf))
        # log((1 + shrunk) / (1 + share * shrunk)), which is -log(share) when shrunk is infinite
        odds = np.where(np.isinf(shrunk), -np.log(share), np.log1p(shrunk) - np.log1p(share * shrunk))
    return np.asarray(np.where(count < 2, 0.0, 0.5 * np.log(share) + 0.5 * n * odds), np.float64)


def unbounded_reach(count: F64, spread: F64, g: float, alpha: float) -> F64:
    """How far from zero a mean must lie for an e-value of 1/alpha; infinite while no mean would do."""
    n = np.maximum(count, 1.0)
    share = g / (g + n)
    kept = np.exp((2 * math.log(alpha) + np.log(share)) / n)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.sqrt((1 - kept) / (kept - share) * spread / n)
    return np.asarray(np.where((count < 2) | (kept <= share), np.inf, found), np.float64)
