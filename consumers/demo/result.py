"""What a run of the demo found, as plain data: the table, the report and `--json` all come from this."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from consumers._read import decoder_for, read_topic
from consumers.demo.experiment import Experiment
from consumers.settings import Settings
from consumers.status import Status
from stream.spec import Spec


@dataclass(frozen=True, slots=True)
class Freshness:
    """Milliseconds from the broker taking a label to the first answer of a model that had learned it."""

    labels: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    all_ms: list[float] = field(repr=False)


def freshness(published: dict[int, int], answers: Sequence[tuple[int, int]]) -> Freshness | None:
    """published: label offset → ms; answers: (ms, label offset learned through), in the order they came.

    Labels that no answer had seen yet are not counted; None when there is none at all.
    """
    if not published or not answers:
        return None
    times = np.array([a[0] for a in answers], np.int64)
    through = np.maximum.accumulate(np.array([a[1] for a in answers], np.int64))
    offsets = np.array(sorted(published), np.int64)
    first = np.searchsorted(through, offsets, side="left")
    seen = first < len(times)
    if not seen.any():
        return None
    sent = np.array([published[o] for o in offsets[seen].tolist()], np.int64)
    took = (times[first[seen]] - sent).astype(np.float64)
    p50, p90, p99 = np.percentile(took, [50, 90, 99]).tolist()
    return Freshness(int(seen.sum()), p50, p90, p99, took.tolist())


@dataclass(frozen=True, slots=True)
class Result:
    """See the module. windows: metric records of kind prequential or served; steps: step → rows, busy_s, rows_per_s."""

    pipeline: str
    flights: int
    seconds: float
    published_events: int
    published_labels: int
    made_bad: dict[str, int]
    status: dict[str, Any]
    sums: dict[str, tuple[int, int]]
    steps: dict[str, dict[str, float]]
    prequential: dict[str, dict[str, float]]
    served: dict[str, dict[str, float]]
    windows: list[dict[str, Any]]
    experiment: Experiment
    freshness: Freshness | None
    answers: dict[str, int]
    failed_answers: int
    models: dict[str, str]
    runs_as: dict[str, str]
    snapshots: str
    state_hash: str
    report: str = ""

    def to_json(self) -> dict[str, Any]:
        """Without the long lists."""
        out = asdict(self)
        out.pop("windows")
        if out["freshness"]:
            out["freshness"].pop("all_ms")
        return out

    @property
    def adds_up(self) -> bool:
        """Whether every event and label is accounted for."""
        return all(a == b for a, b in self.sums.values())


def metric_records(spec: Spec, settings: Settings) -> list[dict[str, Any]]:
    """The newest record of each (kind, arm, window), in order."""
    decode = decoder_for(spec, "metrics")
    newest: dict[tuple[str, str, int], dict[str, Any]] = {}
    for r in read_topic(spec, settings, "metrics"):
        m = decode(r.value)
        newest[m["kind"], m["arm"], m["window"]] = m
    return [newest[k] for k in sorted(newest)]


def by_arm(values: dict[str, float], arms: Sequence[str]) -> dict[str, dict[str, float]]:
    """{'arm.metric': v} → {'arm': {'metric': v}}."""
    return {a: {k.removeprefix(f"{a}."): v for k, v in values.items() if k.startswith(f"{a}.")} for a in arms}


def step_rates(metrics: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Rows, busy seconds and rows a busy second of each step."""
    out = {}
    for m in metrics:
        if m["kind"] == "step" and m["values"].get("busy_s"):
            rows, busy = m["values"]["rows"], m["values"]["busy_s"]
            out[m["arm"]] = {"rows": rows, "busy_s": busy, "rows_per_s": rows / busy}
    order = ("clean", "encode", "join", "learn")
    return {s: out[s] for s in order if s in out}


def served_quality(status: Status, arms: Sequence[str]) -> dict[str, dict[str, float]]:
    """What evaluate found of each arm's answers."""
    return {a: status.metrics.get(f"served_total.{a}", {}) for a in arms}
