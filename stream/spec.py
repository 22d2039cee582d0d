"""The pipeline spec: one YAML file that says everything. This module is its shape; `spec_load` reads files.

A `Spec` is frozen. `Spec.hash` names it in every record that is written, and a snapshot of another hash is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from stream.spec_event import EventSpec, FieldSpec
from stream.spec_part import Duration, DurationOrZero, Name, Part, duration_ms

__all__ = ["EventSpec", "FieldSpec", "duration_ms"]  # besides what is made here


class LabelSpec(Part):
    """Where outcomes come from and how long they are waited for, in event time."""

    window: Duration = 86_400_000
    timeout: Literal["drop", "negative", "importance"] = Field(
        default="drop",
        description="of an event without label: dropped; a negative; a negative at first, weighted",
    )
    negative_after: DurationOrZero = Field(default=0, description="with importance: how long a label is waited for")
    corrections: Literal["first", "learn"] = Field(
        default="first", description="another value for an event with a label: refused; learned as a row of its own"
    )
    grace: DurationOrZero = 0
    orphan_wait: Duration = 5_000

    @model_validator(mode="after")
    def _waits_within(self) -> "LabelSpec":
        if self.negative_after and self.timeout != "importance":
            raise ValueError(f"negative_after goes with timeout importance, not {self.timeout}")
        if self.negative_after > self.window:
            raise ValueError(f"negative_after {self.negative_after} ms is longer than the window, {self.window} ms")
        if self.timeout == "importance" and self.corrections == "learn":
            raise ValueError("corrections learn goes with timeout drop or negative, not with importance")
        return self

    @property
    def fake_after_ms(self) -> int | None:
        """After which an event is learned as a negative though its label may still come; None: never so."""
        return self.negative_after if self.timeout == "importance" else None


class ArmSpec(Part):
    """One competitor: a model, its hyper-parameters, the fields that it sees, its share of traffic."""

    model: str = Field(examples=["linear.logistic", "tree.hoeffding", "river:linear_model.LogisticRegression"])
    params: dict[str, Any] = Field(default_factory=dict)
    fields: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    weight: float = Field(default=1.0, ge=0, le=1e6)
    shadow: bool = Field(default=False, description="scored for every answer and logged, never served; weight 0")

    @model_validator(mode="before")
    @classmethod
    def _no_weight(cls, given: Any) -> Any:
        shadow = isinstance(given, dict) and given.get("shadow") is True
        return {"weight": 0.0, **given} if shadow else given

    @model_validator(mode="after")
    def _never_served(self) -> "ArmSpec":
        if self.shadow and self.weight:
            raise ValueError(f"a shadow arm is never served; found weight {self.weight:g}, 0 is wanted")
        return self


METRIC_NAMES = {
    "binary": ("log_loss", "brier", "accuracy"),
    "classes": ("log_loss", "brier", "accuracy"),
    "regression": ("squared_error", "absolute_error"),
}


class GuardrailSpec(Part):
    """An arm that is shown to be worse than the control by more than `margin` loses its share to it."""

    metric: str
    margin: float = Field(default=0.0, ge=0, description="in units of the metric; so much worse is borne")
    alpha: float = Field(default=0.05, gt=0, lt=1, description="chance of ever draining an arm that is not worse")


class NamespaceSpec(Part):
    """Experiments of one namespace with slots apart never share a unit."""

    name: Name
    slots: tuple[int, int] = Field(default=(0, 10_000), description="of 10,000: the first, and the one after the last")

    @model_validator(mode="after")
    def _a_range(self) -> "NamespaceSpec":
        if not 0 <= self.slots[0] < self.slots[1] <= 10_000:
            raise ValueError(f"slots: found {list(self.slots)}; from < to within 0 to 10000 is wanted")
        return self


class ExperimentSpec(Part):
    """Who gets which arm."""

    name: Name = "default"
    salt: str = Field(default="1", min_length=1)
    unit: str | None = Field(default=None, description="field whose value is assigned; the event id if absent")
    assignment: Literal[1, 2] = Field(default=1, description="version: 1 intervals, 2 slots, of which ramps move least")
    control: Name | None = Field(default=None, description="what arms are compared with; the first with a weight")
    namespace: NamespaceSpec | None = None
    holdout: float = Field(default=0.0, ge=0, lt=1, description="share of the namespace that keeps the control")
    overrides: dict[str, Name] = Field(default_factory=dict, description="unit → arm, outside the experiment")
    guardrails: tuple[GuardrailSpec, ...] = ()

    @property
    def held_out_from(self) -> int:
        """The namespace's first slot of the hold-out, its last ones."""
        return 10_000 - round(self.holdout * 10_000)

    training: Literal["shared", "own", "equal"] = Field(
        default="shared",
        description="rows an arm learns: all; those of the units it serves; an equal share of its own",
    )


class GateSpec(Part):
    """What a snapshot must hold to before it serves, over the last `metrics.window_rows` rows."""

    loss_factor: float = Field(default=1.5, ge=1, le=1e6, description="so many times the last good one's loss is borne")
    calibration: float = Field(default=0.1, gt=0, le=1e6, description="how far mean score and outcome may lie apart")
    rows_min: int = Field(default=200, ge=10, le=1_000_000, description="with fewer, the verdict before holds")
    patience_rows: int = Field(default=50_000, ge=10, description="after so many, the last good loss is out of date")


class SnapshotSpec(Part):
    """When the learner writes its state, and how many are kept: the newest, and some good ones further apart."""

    every: Duration = 500
    keep: int = Field(default=3, ge=1, le=100)
    history: int = Field(default=6, ge=0, le=1000, description="good ones kept besides, to roll back to")
    history_every: Duration = 600_000
    gate: GateSpec | None = None


def _detectors(value: Any) -> Any:
    """A list of names stands for these names without parameters; so does a name with nothing behind it."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    return {k: {} if v is None else v for k, v in value.items()} if isinstance(value, dict) else value


class MetricsSpec(Part):
    """How often progressive metrics are written; with `fading` (0.999, say) also metrics that forget by that factor.

    `drift` names the detectors that watch each arm's loss, by name or with their parameters.
    """

    window_rows: int = Field(default=1000, ge=10, le=1_000_000)
    fading: float | None = Field(default=None, gt=0, lt=1)
    drift: Annotated[dict[str, dict[str, Any]], BeforeValidator(_detectors)] = Field(default={"adwin": {}})


class TopicsSpec(Part):
    """Partitions of the topics that scale; labels and training have one, which is the order of learning."""

    events: int = Field(default=2, ge=1, le=1000)
    predictions: int = Field(default=2, ge=1, le=1000)
    replication: int = Field(default=1, ge=1, le=10)


class Spec(Part):
    """A whole pipeline. Build it with `stream.spec_load.load_spec`."""

    name: Name
    task: Literal["binary", "regression", "classes"]
    classes: tuple[str, ...] = ()
    event: EventSpec
    label: LabelSpec = LabelSpec()
    arms: dict[Name, ArmSpec] = Field(min_length=1)
    experiment: ExperimentSpec = ExperimentSpec()
    snapshot: SnapshotSpec = SnapshotSpec()
    metrics: MetricsSpec = MetricsSpec()
    topics: TopicsSpec = TopicsSpec()
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _agrees(self) -> "Spec":
        if (self.task == "classes") != bool(self.classes):
            raise ValueError("classes are named when the task is 'classes', and only then")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError(f"classes has a name twice: {list(self.classes)}")
        if sum(a.weight for a in self.arms.values()) <= 0:
            raise ValueError("the arms' weights add up to 0; at least one must be above 0")
        gate = self.snapshot.gate
        if gate is not None and gate.rows_min > self.metrics.window_rows:
            raise ValueError(
                f"snapshot.gate.rows_min: found {gate.rows_min}; at most metrics.window_rows, "
                f"{self.metrics.window_rows}, is wanted"
            )
        problem = _experiment_problem(self)
        if problem:
            raise ValueError(f"experiment.{problem}")
        return self

    @property
    def schema_path(self) -> Path:
        """The event schema's file."""
        return self.folder / self.event.schema_

    @cached_property
    def hash(self) -> str:
        """16 hex digits that change when anything that shapes data or models changes; computed once."""
        return spec_hash(self)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """See pydantic; a copy has a hash of its own."""
        made = super().model_copy(update=update, deep=deep)
        made.__dict__.pop("hash", None)
        return made

    def topic(self, name: str) -> str:
        """The Kafka topic called `name` here: pipeline name, dot, name."""
        return f"{self.name}.{name}"


def control_of(spec: Spec) -> str:
    """The arm that others are compared with, and that gets what they lose."""
    return spec.experiment.control or next(name for name, arm in spec.arms.items() if arm.weight > 0)


def _experiment_problem(spec: Spec) -> str:
    """What an experiment says that its arms, task or namespace can't bear; or nothing."""
    given, allowed = spec.experiment, METRIC_NAMES[spec.task]
    for where, arm in {"control": given.control, **{f"overrides.{u}": a for u, a in given.overrides.items()}}.items():
        if arm is not None and arm not in spec.arms:
            return f"{where}: found {arm!r}; the arms are {', '.join(spec.arms)}"
        if arm is not None and spec.arms[arm].shadow:
            return f"{where}: found {arm!r}; a shadow arm is never served"
    for i, guardrail in enumerate(given.guardrails):
        if guardrail.metric not in allowed:
            return f"guardrails.{i}.metric: found {guardrail.metric!r}; for {spec.task}: {', '.join(allowed)}"
    if given.namespace is not None and given.namespace.slots[1] > given.held_out_from:
        return f"namespace.slots: up to {given.namespace.slots[1]}; the hold-out begins at {given.held_out_from}"
    total = sum(a.weight for a in spec.arms.values())
    least = min(a.weight for a in spec.arms.values() if a.weight > 0) / total
    if given.assignment == 2 and least < 1e-4:
        return f"assignment: version 2 has 10000 slots; found a share of {least:g}, at least 0.0001 is wanted"
    return ""


def spec_hash(spec: Spec) -> str:
    """sha256 of what shapes data and models (not: weights, partitions, snapshot cadence), 16 hex digits.

    The event schema counts by its content, so that moving a file changes nothing.
    """
    kept = spec.model_dump(mode="json", by_alias=True, exclude={"snapshot", "topics", "experiment"})
    for arm in kept["arms"].values():
        arm.pop("weight"), arm.pop("shadow")
    kept["event"].pop("writers")
    for field in kept["event"]["fields"].values():
        field.pop("private")
    for name, default in (("negative_after", 0), ("corrections", "first")):  # younger than many a pipeline
        if kept["label"][name] == default:
            kept["label"].pop(name)
    if kept["metrics"]["drift"] == {"adwin": {}}:
        kept["metrics"].pop("drift")
    if spec.schema_path.is_file():
        kept["event"]["schema"] = json.loads(spec.schema_path.read_text())
    kept["event"]["fields"] = list(kept["event"]["fields"].items())  # their order is that of the columns
    training = spec.experiment.training
    if training != "shared":
        kept["experiment"] = {"training": training}
    if training == "own":  # who serves what decides who learns what
        kept["experiment"] = spec.experiment.model_dump(mode="json", exclude={"control", "guardrails"})
        kept["experiment"]["weights"] = [[name, arm.weight] for name, arm in spec.arms.items()]
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
