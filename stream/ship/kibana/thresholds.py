"""From which figures on somebody is told: the one place, for the rules and for the lines in the panels."""

from dataclasses import dataclass

from stream.experiment.ratio_lines import SRM_ALPHA


@dataclass(frozen=True, slots=True)
class Thresholds:
    """error_rate: refused share of events. lag_records: never below within the time, so nothing is caught up."""

    error_rate: float = 0.05
    error_rate_minutes: int = 5
    staleness_ms: float = 30_000.0
    staleness_minutes: int = 2
    lag_records: float = 1_000.0
    lag_minutes: int = 5
    drifts: float = 0.0
    drift_minutes: int = 15
    sample_ratio_p: float = SRM_ALPHA
    sample_ratio_minutes: int = 10
    guardrails: float = 0.0
    guardrail_minutes: int = 15
    documents: float = 1.0
    silence_minutes: int = 3


THRESHOLDS = Thresholds()
