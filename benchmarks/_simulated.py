"""Simulated experiments: metrics with a known effect, and how often and how soon the analysis finds it.

A peek after every outcome costs nothing here: a p-value of `Difference` is the least that it ever was, so the one after
the last outcome tells whether any of all peeks found something.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import norm

from stream.block import F64, I64
from stream.experiment.difference import Difference
from stream.experiment.ratio import SampleRatio

ALPHA, POWER = 0.05, 0.8
STEPS = 50  # peeks of a planted effect for each fixed horizon
FARTHEST = 3  # horizons after which an effect that wasn't found counts as missed
Draw = Callable[[np.random.Generator, int, F64], F64]


@dataclass(frozen=True, slots=True)
class Metric:
    """What is measured of a unit. draw: values of n units whose mean is raised by so many parts, float64[n].

    mean, deviation: of one that isn't raised; low, high: its bounds, both infinite where it has none.
    """

    name: str
    draw: Draw
    mean: float
    deviation: Callable[[float], float]
    low: float = -math.inf
    high: float = math.inf

    @property
    def bounded(self) -> bool:
        """Whether intervals hold without any assumption."""
        return not math.isinf(self.high - self.low)


def _rate(p: float) -> Metric:
    def draw(rng: np.random.Generator, n: int, lift: F64) -> F64:
        return (rng.random(n) < p * (1 + lift)).astype(np.float64)

    def deviation(lift: float) -> float:
        return math.sqrt(p * (1 + lift) * (1 - p * (1 + lift)))

    return Metric(f"rate of {100 * p:g} %", draw, p, deviation, 0.0, 1.0)


def _share() -> Metric:
    mean, size = 2 / 7, 7.0

    def draw(rng: np.random.Generator, n: int, lift: F64) -> F64:
        return rng.beta(size * mean * (1 + lift), size * (1 - mean * (1 + lift)), n)

    def deviation(lift: float) -> float:
        return math.sqrt(mean * (1 + lift) * (1 - mean * (1 + lift)) / (size + 1))

    return Metric("share (beta)", draw, mean, deviation, 0.0, 1.0)


def _normal() -> Metric:
    return Metric("normal", lambda rng, n, lift: rng.normal(10.0, 10.0, n) + 10.0 * lift, 10.0, lambda _: 10.0)


def _exponential() -> Metric:
    return Metric(
        "exponential", lambda rng, n, lift: rng.exponential(1.0, n) * (1 + lift), 1.0, lambda lift: 1.0 + lift
    )


def _log_normal(sigma: float) -> Metric:
    mean = math.exp(sigma * sigma / 2)
    deviation = mean * math.sqrt(math.expm1(sigma * sigma))
    name = f"log-normal, σ {sigma:g}"
    return Metric(
        name, lambda rng, n, lift: rng.lognormal(0, sigma, n) * (1 + lift), mean, lambda x: deviation * (1 + x)
    )


METRICS = (_rate(0.1), _rate(0.01), _share(), _normal(), _exponential(), _log_normal(1.0), _log_normal(1.5))
PLANTED = (_rate(0.1), _share(), _normal(), _exponential())


def fixed_horizon(metric: Metric, lift: float, share: float) -> int:
    """Outcomes of both arms that a two-sided z-test, looked at once, needs to find the effect with POWER.

    share: the treatment's. (z(1-α/2) + z(power))² (σ₁²/share + σ₀²/(1-share)) / effect²: Chow, Shao and Wang, "Sample
    size calculations in clinical research", 3.2.
    """
    z = norm.ppf(1 - ALPHA / 2) + norm.ppf(POWER)
    noise = metric.deviation(lift) ** 2 / share + metric.deviation(0.0) ** 2 / (1 - share)
    return math.ceil(float(z * z) * noise / (metric.mean * lift) ** 2)


@dataclass(frozen=True, slots=True)
class Run:
    """n outcomes of one experiment."""

    arm: I64
    propensity: F64
    value: F64

    def __len__(self) -> int:
        return len(self.arm)

    def cut(self, begin: int, end: int) -> "Run":
        """Some of them."""
        return Run(self.arm[begin:end], self.propensity[begin:end], self.value[begin:end])


def run_of(rng: np.random.Generator, metric: Metric, lift: float, share: float, n: int) -> Run:
    """One experiment; lift: of the treatment's mean."""
    arm = (rng.random(n) < share).astype(np.int64)
    return Run(arm, np.where(arm == 1, share, 1 - share), metric.draw(rng, n, lift * arm.astype(np.float64)))


def difference_of(metric: Metric, share: float) -> Difference:
    """The analysis as `headwater experiment report` makes it."""
    return Difference(metric.low, metric.high, min(share, 1 - share) if metric.bounded else 0.5)


def z_test(run: Run) -> float:
    """The p-value of the usual test of two means, looked at once."""
    treated, control = run.value[run.arm == 1], run.value[run.arm == 0]
    noise = math.sqrt(treated.var(ddof=1) / len(treated) + control.var(ddof=1) / len(control))
    return float(2 * norm.sf(abs(treated.mean() - control.mean()) / noise))


def z_fooled(run: Run) -> bool:
    """Whether that test, looked at after every outcome from the hundredth of each arm on, ever finds something."""
    parts = []
    for which in (1, 0):
        mine = run.arm == which
        count, total, square = (np.cumsum(np.where(mine, x, 0.0)) for x in (1.0, run.value, run.value**2))
        parts.append((count, total / np.maximum(count, 1), square / np.maximum(count, 1)))
    (n1, m1, s1), (n0, m0, s0) = parts
    looked = np.minimum(n1, n0) >= 100
    noise = np.sqrt((s1 - m1 * m1)[looked] / n1[looked] + (s0 - m0 * m0)[looked] / n0[looked])
    gap = np.abs(m1 - m0)[looked]
    return bool((gap[noise > 0] / noise[noise > 0] > norm.ppf(1 - ALPHA / 2)).any())


def equal_arms(metric: Metric, share: float, runs: int, outcomes: int, seed: int) -> Iterator[tuple[bool, bool, bool]]:
    """Of each run without an effect: whether any peek found one, whether the last could, whether a z-test's did."""
    rng = np.random.default_rng(seed)
    for _ in range(runs):
        run = run_of(rng, metric, 0.0, share, outcomes)
        difference = difference_of(metric, share)
        difference.update(run.arm, run.propensity, run.value)
        end = difference.interval(ALPHA)
        yield difference.p_value <= ALPHA, math.isfinite(end.low), z_fooled(run)


def kept_shares(shares: tuple[float, ...], runs: int, exposures: int, seed: int) -> Iterator[bool]:
    """Of each run whose shares are the planned ones: whether any peek says that they are not."""
    rng = np.random.default_rng(seed)
    for _ in range(runs):
        ratio = SampleRatio(shares)
        ratio.update(rng.choice(len(shares), exposures, p=shares).astype(np.int64))
        yield ratio.p_value <= ALPHA


@dataclass(frozen=True, slots=True)
class Found:
    """One run with an effect. outcomes: when it was found, in fixed horizons, infinite if never.

    held: whether the interval of that moment, or of the last, holds the effect; once: whether the z-test found it.
    """

    horizons: float
    held: bool
    once: bool


def planted(metric: Metric, lift: float, share: float, runs: int, seed: int) -> Iterator[Found]:
    """Runs with an effect, each watched until it is found or FARTHEST fixed horizons are over."""
    rng, horizon = np.random.default_rng(seed), fixed_horizon(metric, lift, share)
    step = max(1, horizon // STEPS)
    for _ in range(runs):
        run, difference = run_of(rng, metric, lift, share, FARTHEST * horizon), difference_of(metric, share)
        at = 0
        while at < len(run) and difference.p_value > ALPHA:
            piece: Any = run.cut(at, at + step)
            difference.update(piece.arm, piece.propensity, piece.value)
            at = min(at + step, len(run))
        interval = difference.interval(ALPHA)
        held = interval.low <= metric.mean * lift <= interval.high
        found = at / horizon if difference.p_value <= ALPHA else math.inf
        yield Found(found, held, z_test(run.cut(0, horizon)) <= ALPHA)
