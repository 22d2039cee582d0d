"""The whole analysis of one experiment, as plain data: what the table, the HTML page and `--json` all come from.

Arms are compared with the control, metric by metric, by sequences that hold at every look; alpha is divided by the
number of arms compared (Bonferroni), not by the number of metrics: decide beforehand which one counts. The sample
ratio is checked since the weights were last changed.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import F64, I64
from stream.errors import DataError
from stream.experiment.collect import Exposed, Outcomes
from stream.experiment.control import State, begin, compared, running_shares
from stream.experiment.difference import CONTROL, OTHER, TREATMENT, Difference
from stream.experiment.measure import METRICS, Metric, measured
from stream.experiment.offpolicy import PolicyValue, dr, ips, snips
from stream.experiment.ratio_lines import RatioLine, ratio_lines
from stream.experiment.sequence import ALPHA, Interval, Mean, check_alpha, running
from stream.spec import Spec, control_of

POINTS = 80  # moments at which intervals are kept for the plots


@dataclass(frozen=True, slots=True)
class Track:
    """One arm's mean, now and at moments before; `at`: outcomes of all arms known at each moment."""

    arm: str
    now: Interval
    at: list[int] = field(repr=False)
    points: list[Interval] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """An arm less the control. verdict: better, worse, no difference shown, too early."""

    arm: str
    now: Interval
    p_value: float
    verdict: str
    at: list[int] = field(repr=False)
    points: list[Interval] = field(repr=False)


@dataclass(frozen=True, slots=True)
class MetricReport:
    """One metric: arms in the spec's order, comparisons with the control, what all-to-one-arm would give."""

    metric: Metric
    arms: list[Track]
    comparisons: list[Comparison]
    policies: dict[str, list[PolicyValue]]


@dataclass(frozen=True, slots=True)
class Report:
    """See the module. planned: arm → share by the present weights; exposures and outcomes: arm → count."""

    pipeline: str
    experiment: str
    task: str
    training: str
    unit: str
    control: str
    alpha: float
    alpha_each: float
    covariate: str | None
    planned: dict[str, float]
    exposures: dict[str, int]
    outcomes: dict[str, int]
    metrics: list[MetricReport]
    ratio: list[RatioLine]
    shares: dict[str, list[float]] = field(repr=False)
    shares_at: list[int] = field(repr=False)
    counts: dict[str, int]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Without the moments before now."""
        out = asdict(self)
        for name in ("shares", "shares_at"):
            out.pop(name)
        for metric in out["metrics"]:
            for line in (*metric["arms"], *metric["comparisons"]):
                line.pop("at"), line.pop("points")
        for line, found in zip(out["ratio"], self.ratio, strict=True):
            line["broken"] = found.broken
        return out


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. control: default the first arm with a weight. covariate: its name and float64 of each exposure,
    NaN where missing; dimensions: name → value of each exposure; state: of the experiment, default the spec's; metrics:
    only these, default all."""

    control: str | None = None
    alpha: float = ALPHA
    covariate: tuple[str, F64] | None = None
    dimensions: Mapping[str, Sequence[str]] = field(default_factory=dict)
    each_event: bool = False
    state: State | None = None
    metrics: tuple[str, ...] = ()


def analyse(spec: Spec, exposed: Exposed, outcomes: Outcomes, counts: Mapping[str, int], asked: Question) -> Report:
    """The report. Raises DataError for an alpha or a control that can't be, or a propensity that is none."""
    check_alpha(asked.alpha)
    state = asked.state or begin(spec)
    planned, arms = dict(running_shares(state)), list(spec.arms)
    control = _control(spec, asked.control)
    arm, propensity = exposed.arm[outcomes.row], exposed.propensity[outcomes.row]
    others = [i for i, name in enumerate(arms) if name != control and (arm == i).any()]
    alpha_each = asked.alpha / max(1, len(others))
    covariate = _filled(asked.covariate[1][outcomes.row]) if asked.covariate else None
    values = measured(spec.task, outcomes.scores, outcomes.label)
    could_serve = {name: compared(state, exposed.seq[outcomes.row], name, name) for name in arms}
    metrics = []
    for metric in METRICS[spec.task]:
        if asked.metrics and metric.name not in asked.metrics:
            continue
        value = values[metric.name]
        tracks = [_track(name, metric, value, arm == i, asked.alpha) for i, name in enumerate(arms) if (arm == i).any()]
        comparisons = [
            _comparison(
                name,
                metric,
                value,
                _coded(arm, arms.index(control), i),
                propensity,
                covariate,
                alpha_each,
                compared(state, exposed.seq[outcomes.row], name, control),
            )
            for i, name in enumerate(arms)
            if i in others
        ]
        policies = {
            name: _policies(value[able], arm[able], i, propensity[able], asked.alpha)
            for i, (name, able) in enumerate(could_serve.items())
        }
        kept = {name: found for name, found in policies.items() if found}
        metrics.append(MetricReport(metric, tracks, comparisons, kept))
    since = _since(exposed, np.array([planned[a] for a in arms]))
    shares, shares_at = _shares(exposed.arm, arms)
    return Report(
        pipeline=spec.name,
        experiment=spec.experiment.name,
        task=spec.task,
        training=str(getattr(spec.experiment, "training", "shared")),
        unit="each event" if asked.each_event else spec.experiment.unit or "the event, or what a request names",
        control=control,
        alpha=asked.alpha,
        alpha_each=alpha_each,
        covariate=asked.covariate[0] if asked.covariate else None,
        planned=planned,
        exposures=_by_arm(exposed.arm, arms),
        outcomes=_by_arm(arm, arms),
        metrics=metrics,
        ratio=ratio_lines(exposed.arm[since:], planned, {k: v[since:] for k, v in asked.dimensions.items()}),
        shares=shares,
        shares_at=shares_at,
        counts=dict(counts),
        notes=_changes(state) + _notes(since, len(exposed), counts, metrics, asked.each_event),
    )


def _control(spec: Spec, given: str | None) -> str:
    if given is None:
        return control_of(spec)
    if given not in spec.arms:
        raise DataError(f"control: found {given!r}; allowed: {', '.join(spec.arms)}")
    return given


def _filled(covariate: F64) -> F64:
    """Missing ones as the mean of the others: all known before exposures, so nothing leaks into what is compared."""
    there = np.isfinite(covariate)
    return np.where(there, covariate, covariate[there].mean() if there.any() else 0.0)


def _moments(n: int) -> list[int]:
    """Ends of up to POINTS pieces of n outcomes; none are empty."""
    return sorted({int(x) for x in np.linspace(0, n, POINTS + 1).round()} - {0})


def _track(name: str, metric: Metric, value: F64, mine: Any, alpha: float) -> Track:
    mean, points, start = Mean(metric.low, metric.high), [], 0
    at = _moments(len(value))
    for end in at:
        mean.update(value[start:end][mine[start:end]])
        points.append(mean.interval(alpha))
        start = end
    return Track(name, mean.interval(alpha), at, points)


def _coded(arm: I64, control: int, treatment: int) -> I64:
    return np.where(arm == control, CONTROL, np.where(arm == treatment, TREATMENT, OTHER)).astype(np.int64)


def _comparison(
    name: str,
    metric: Metric,
    value: F64,
    coded: I64,
    propensity: F64,
    covariate: F64 | None,
    alpha: float,
    counts: NDArray[np.bool_],
) -> Comparison:
    """Of the outcomes that count; what came while one of both arms could not be given says nothing of a difference."""
    ours = propensity[(coded != OTHER) & counts]
    difference, points, start = Difference(metric.low, metric.high, _least(ours)), [], 0
    at = _moments(len(value))
    for end in at:
        piece = np.flatnonzero(counts[start:end]) + start
        given = None if covariate is None else covariate[piece]
        difference.update(coded[piece], propensity[piece], value[piece], given)
        points.append(difference.interval(alpha))
        start = end
    now = difference.interval(alpha)
    verdict = "no difference shown"
    if now.n == 0 or math.isinf(now.high - now.low):
        verdict = "too early"
    elif difference.p_value <= alpha:
        verdict = "better" if (now.estimate < 0) == metric.less else "worse"
    return Comparison(name, now, difference.p_value, verdict, at, points)


def _least(propensity: F64) -> float:
    """The smallest that is one; what is none is refused where it is used."""
    fine = propensity[(propensity > 0) & (propensity <= 1)]
    return float(fine.min()) if fine.size else 0.5


def _policies(value: F64, arm: I64, which: int, propensity: F64, alpha: float) -> list[PolicyValue]:
    """What all outcomes would have been with this arm alone; the model of DR is the arms' means so far."""
    if not (arm == which).any():
        return []
    target = (arm == which).astype(np.float64)
    count, total = running(0.0, target), running(0.0, np.where(arm == which, value, 0.0))
    expected = total[:-1] / np.maximum(count[:-1], 1.0)
    return [
        ips(value, propensity, target, alpha),
        snips(value, propensity, target, alpha),
        dr(value, propensity, target, expected, expected, alpha),
    ]


def _since(exposed: Exposed, planned: F64) -> int:
    """The first exposure after the last that was made under other weights."""
    other = np.flatnonzero(np.abs(exposed.propensity - planned[exposed.arm]) > 1e-9)
    return int(other[-1]) + 1 if other.size else 0


def _shares(arm: I64, arms: Sequence[str]) -> tuple[dict[str, list[float]], list[int]]:
    """Each arm's share of the first so many exposures."""
    at = _moments(len(arm))
    return {name: [float((arm[:n] == i).mean()) for n in at] for i, name in enumerate(arms)}, at


def _by_arm(arm: I64, arms: Sequence[str]) -> dict[str, int]:
    return dict(zip(arms, np.bincount(arm, minlength=len(arms)).tolist(), strict=True))


def _changes(state: State) -> list[str]:
    """What a reader must know of the experiment's past."""
    told = [f"change {r.seq}: a guardrail drained {r.arm}: {r.why}" for r in state.records if r.action == "guardrail"]
    if state.ended:
        told.append(f"the experiment ended by change {state.seq}; {state.rest} serves everybody")
    return told


def _notes(
    since: int, exposures: int, counts: Mapping[str, int], metrics: Sequence[MetricReport], each_event: bool
) -> list[str]:
    notes = []
    if since:
        notes.append(
            f"{since:,} of {exposures:,} exposures lie before the present weights; the sample ratio leaves them out"
        )
    if moved := counts.get("exposures by another arm than the unit's first", 0):
        notes.append(
            f"{moved:,} exposures came from another arm than their unit's first: weights, or the salt, changed"
        )
    if each_event and counts.get("further exposures of units", 0):
        notes.append("units come back, and each event counts as if it were independent: intervals are too narrow")
    early = sorted({m.metric.name for m in metrics for c in m.comparisons if c.verdict == "too early"})
    if early:
        notes.append(f"too early for {', '.join(early)}: outcomes are too few for how skewed they are")
    return notes
