"""What a running pipeline looks like from outside: lag by step, counts, last snapshot, arms, freshness.

All of it is read from Kafka (group offsets with their metadata, the models and metrics topics), so it needs no
access to the processes.
"""

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any

from consumers._kafka import broker_errors, consuming, groups_offsets
from consumers._pin import pin_key
from consumers._read import decoder_for, read_with
from consumers.settings import Settings
from stream.spec import Spec

MODELS_READ = 50
METRICS_READ = 2_000  # newest records of the metrics topic that are looked at
GROUPS = ("clean", "encode", "join", "learn", "evaluate", "ship")


@dataclass(frozen=True, slots=True)
class StepStatus:
    """One group's position. lag: records still to read; by: topic-partition → lag."""

    lag: int
    by: dict[str, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """Where every event and every label went. They add up; see `sums`."""

    events_in: int = 0
    cleaned: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    matched: int = 0
    timed_out: int = 0
    pending: int = 0
    duplicate_events: int = 0
    labels_in: int = 0
    late: int = 0
    orphaned: int = 0
    duplicate_labels: int = 0
    rejected_labels: int = 0
    waiting_labels: int = 0
    corrected: int = 0

    def sums(self) -> dict[str, tuple[int, int]]:
        """Each equation as (one side, the other)."""
        joined = self.matched + self.timed_out + self.pending + self.duplicate_events
        refused = self.late + self.orphaned + self.duplicate_labels + self.rejected_labels
        labels = self.matched + self.corrected + refused
        return {
            "events in = cleaned + rejected": (self.events_in, self.cleaned + sum(self.rejected.values())),
            "cleaned = matched + timed out + pending + duplicates": (self.cleaned, joined),
            "labels in = matched + corrected + late + orphaned + duplicates + rejected + waiting": (
                self.labels_in,
                labels + self.waiting_labels,
            ),
        }


@dataclass(frozen=True, slots=True)
class Status:
    """See the module."""

    pipeline: str
    spec_hash: str
    steps: dict[str, StepStatus]
    counts: Counts
    model: dict[str, Any] | None
    model_age_ms: int | None
    metrics: dict[str, dict[str, float]]
    spool: dict[str, int] | None = None  # batches and bytes that ship keeps on disk for Elasticsearch; None: no ship

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


def status(spec: Spec, settings: Settings) -> Status:
    """Read everything once. Raises BrokerError or TopicMissing."""
    with broker_errors(settings), consuming(settings) as consumer:
        models, metrics = (
            list(read_with(consumer, spec.topic(t), settings, last=last))
            for t, last in (("models", MODELS_READ), ("metrics", METRICS_READ))
        )  # before the offsets: so what a model has learned, the counts have too
        found = groups_offsets(settings, [f"{spec.name}.{g}" for g in GROUPS])
        offsets = {g: marks for g in GROUPS if (marks := found[f"{spec.name}.{g}"])}
        ends = consumer.end_offsets([tp for marks in offsets.values() for tp in marks]) if offsets else {}
    steps = {}
    for group, marks in offsets.items():
        by = {f"{tp.topic}-{tp.partition}": max(0, ends[tp] - mark.offset) for tp, mark in marks.items()}
        steps[group] = StepStatus(sum(by.values()), by)
    announced = [r.value for r in models if r.key != pin_key(spec)]
    model = decoder_for(spec, "models")(announced[-1]) if announced else None
    age = time.time_ns() // 1_000_000 - model["as_of_ms"] if model else None
    read = decoder_for(spec, "metrics")
    latest = {f"{m['kind']}.{m['arm']}".rstrip("."): m["values"] for m in (read(r.value) for r in metrics)}
    return Status(spec.name, spec.hash, steps, counts_of(offsets), model, age, latest, _spool(offsets.get("ship", {})))


def _spool(marks: dict[Any, Any]) -> dict[str, int] | None:
    """As ship's newest commit says; each of its commits marks all its partitions."""
    found: list[dict[str, int]] = [json.loads(m.metadata or "{}") for m in marks.values()]
    newest: dict[str, int] = max(found, key=lambda m: m.get("spool", 0), default={})
    return {n: newest[f"spool_{n}"] for n in ("batches", "bytes")} if "spool_bytes" in newest else None


def counts_of(offsets: dict[str, dict[Any, Any]]) -> Counts:
    """From what each group has committed."""
    marks = [json.loads(m.metadata or "{}") for found in offsets.values() for m in found.values()]
    clean = [m["clean"] for m in marks if "clean" in m]
    rejected: Counter[str] = Counter()
    for c in clean:
        rejected.update(c["dead"])
    joins = [m for m in marks if "counts" in m]
    if not joins:
        return Counts(sum(c["in"] for c in clean), sum(c["clean"] for c in clean), dict(rejected))
    m, n = joins[0], joins[0]["counts"]
    corrected = n.get("corrected", 0)  # marks of older programs don't have it
    settled = n["matched"] + corrected + n["late"] + n["orphaned"] + n["duplicate_labels"] + m["rejected"]
    return Counts(
        sum(c["in"] for c in clean),
        sum(c["clean"] for c in clean),
        dict(rejected),
        n["matched"],
        n["timed_out"],
        m["pending"],
        n["duplicate_events"],
        settled + m["waiting"],
        n["late"],
        n["orphaned"],
        n["duplicate_labels"],
        m["rejected"],
        m["waiting"],
        corrected,
    )
