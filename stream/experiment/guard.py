"""Guardrails: is an arm shown to be worse than the control by more than its margin? Valid however often it is asked.

For each arm that has a share, outcomes count from the record on by which it last got one, while the control had one
too: who gives a drained arm a share again begins anew. The sequence is the report's (`Difference`); alpha is divided
by the number of arms that are compared. Invariant: what is found follows from what the topics hold, so a guard that
starts again finds the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream.block import F64
from stream.experiment.collect import Exposed, Outcomes
from stream.experiment.control import State, compared
from stream.experiment.difference import CONTROL, OTHER, TREATMENT, Difference
from stream.experiment.measure import METRICS, Metric, measured
from stream.experiment.sequence import Interval
from stream.spec import GuardrailSpec, Spec, control_of


@dataclass(frozen=True, slots=True)
class Finding:
    """One guardrail's look at one arm; difference: arm less control, its interval at `alpha`."""

    arm: str
    metric: str
    margin: float
    alpha: float
    difference: Interval
    worse: bool

    def why(self, control: str) -> str:
        """The reason that a control record gives."""
        d = self.difference
        return (
            f"{self.metric} of {self.arm} less {control}: {d.estimate:.4g}, between {d.low:.4g} and {d.high:.4g} at "
            f"every look with {1 - self.alpha:.4g}, over {d.n} outcomes; margin {self.margin:g}"
        )


def findings(spec: Spec, state: State, exposed: Exposed, outcomes: Outcomes) -> list[Finding]:
    """What each guardrail finds of each arm that has a share beside the control; nothing when the experiment ended."""
    control = control_of(spec)
    arms = [arm for arm, share in state.shares.items() if arm != control and share > 0]
    if state.ended or not len(outcomes):
        return []
    values = measured(spec.task, outcomes.scores, outcomes.label)
    metrics = {m.name: m for m in METRICS[spec.task]}
    return [
        _finding(spec, state, exposed, outcomes, (arm, control), rail, metrics[rail.metric], values, len(arms))
        for rail in spec.experiment.guardrails
        for arm in arms
    ]


def since(state: State, arm: str) -> int:
    """The number of the record by which the arm last got a share; 0: it had one from the beginning."""
    without = [seq for seq, shares in enumerate(state.epochs) if not shares[arm]]
    return without[-1] + 1 if without else 0


def _finding(
    spec: Spec,
    state: State,
    exposed: Exposed,
    outcomes: Outcomes,
    pair: tuple[str, str],
    rail: GuardrailSpec,
    metric: Metric,
    values: Mapping[str, F64],
    arms: int,
) -> Finding:
    arm, control = pair
    names, rows = list(spec.arms), outcomes.row
    counts = compared(state, exposed.seq[rows], arm, control, since(state, arm))
    given, propensity, value = exposed.arm[rows][counts], exposed.propensity[rows][counts], values[metric.name][counts]
    coded = np.where(
        given == names.index(control), CONTROL, np.where(given == names.index(arm), TREATMENT, OTHER)
    ).astype(np.int64)
    ours, alpha = propensity[coded != OTHER], rail.alpha / arms
    difference = Difference(metric.low, metric.high, float(ours.min()) if ours.size else 0.5)
    difference.update(coded, propensity, value)
    found = difference.interval(alpha)
    bad = found.low > rail.margin if metric.less else found.high < -rail.margin
    return Finding(arm, metric.name, rail.margin, alpha, found, bool(bad and math.isfinite(found.estimate)))
