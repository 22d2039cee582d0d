"""The pipeline spec: one YAML file that says everything. This module is its shape; `spec_load` reads files.

A `Spec` is frozen. `Spec.hash` names it in every record that is written, and a snapshot of another hash is refused.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

_UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


def duration_ms(value: Any) -> Any:
    """'500ms', '36h', '2d' → milliseconds; a bare whole number is milliseconds already."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)\s*", value)
        if not match:
            raise ValueError("a duration such as 500ms, 5s, 10m, 36h or 2d is wanted")
        return round(float(match[1]) * _UNITS_MS[match[2]])
    return value


Duration = Annotated[int, BeforeValidator(duration_ms), Field(gt=0)]
DurationOrZero = Annotated[int, BeforeValidator(duration_ms), Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class FieldSpec(_Part):
    """How one field of the event is cleaned, then encoded."""

    type: Literal["numeric", "category", "boolean", "time", "text", "ignore"]
    required: bool = False
    min: float | None = None
    max: float | None = None
    outside: Literal["reject", "clip"] = "reject"
    impute: float | str | bool | None = None
    strip: bool = True
    case: Literal["keep", "lower", "upper"] = "keep"
    unify: dict[str, str] = Field(default_factory=dict)
    parts: tuple[Literal["hour", "weekday", "month", "day"], ...] = ("hour", "weekday", "month")
    as_: tuple[Literal["number", "category", "cycle"], ...] = Field(default=("number", "category"), alias="as")

    @model_validator(mode="after")
    def _fits(self) -> "FieldSpec":
        if (self.min is not None or self.max is not None) and self.type != "numeric":
            raise ValueError(f"min and max go with type numeric, not {self.type}")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        kinds: dict[str, tuple[type, ...]] = {"numeric": (int, float), "boolean": (bool,)}
        allowed = kinds.get(self.type, (str,))
        if self.impute is not None and not isinstance(self.impute, allowed):
            raise ValueError(f"impute {self.impute!r} is not a {self.type} value")
        if self.required and self.impute is not None:
            raise ValueError("a required field is rejected when missing, so impute has nothing to do")
        return self


class EventSpec(_Part):
    """What arrives: the Avro schema of an event and what its fields mean."""

    schema_: Path = Field(alias="schema", description="Avro schema of an event; relative to the spec")
    writers: Path | None = Field(default=None, description="folder of further schemas that producers may use")
    id: str
    time: str
    fields: dict[str, FieldSpec]


class LabelSpec(_Part):
    """Where outcomes come from and how long they are waited for, in event time."""

    window: Duration = 86_400_000
    timeout: Literal["drop", "negative"] = "drop"
    grace: DurationOrZero = 0
    orphan_wait: Duration = 5_000


class ArmSpec(_Part):
    """One competitor: a model, its hyper-parameters, the fields that it sees, its share of traffic."""

    model: str = Field(examples=["linear.logistic", "tree.hoeffding", "river:linear_model.LogisticRegression"])
    params: dict[str, Any] = Field(default_factory=dict)
    fields: tuple[str, ...] | None = None
    without: tuple[str, ...] = ()
    weight: float = Field(default=1.0, ge=0, le=1e6)


class ExperimentSpec(_Part):
    """Who gets which arm."""

    name: Name = "default"
    salt: str = Field(default="1", min_length=1)
    unit: str | None = Field(default=None, description="field whose value is assigned; the event id if absent")


class SnapshotSpec(_Part):
    """When the learner writes its state, and how many are kept."""

    every: Duration = 500
    keep: int = Field(default=3, ge=1, le=100)


class MetricsSpec(_Part):
    """How often progressive metrics are written; with `fading` (0.999, say) also metrics that forget by that factor."""

    window_rows: int = Field(default=1000, ge=10, le=1_000_000)
    fading: float | None = Field(default=None, gt=0, lt=1)


class TopicsSpec(_Part):
    """Partitions of the topics that scale; labels and training have one, which is the order of learning."""

    events: int = Field(default=2, ge=1, le=1000)
    predictions: int = Field(default=2, ge=1, le=1000)
    replication: int = Field(default=1, ge=1, le=10)


class Spec(_Part):
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
        return self

    @property
    def schema_path(self) -> Path:
        """The event schema's file."""
        return self.folder / self.event.schema_

    @property
    def hash(self) -> str:
        """16 hex digits that change when anything that shapes data or models changes."""
        return spec_hash(self)

    def topic(self, name: str) -> str:
        """The Kafka topic called `name` here: pipeline name, dot, name."""
        return f"{self.name}.{name}"


def spec_hash(spec: Spec) -> str:
    """sha256 of what shapes data and models (not: weights, partitions, snapshot cadence), 16 hex digits.

    The event schema counts by its content, so that moving a file changes nothing.
    """
    kept = spec.model_dump(mode="json", by_alias=True, exclude={"snapshot", "topics", "experiment"})
    for arm in kept["arms"].values():
        arm.pop("weight")
    kept["event"].pop("writers")
    if spec.schema_path.is_file():
        kept["event"]["schema"] = json.loads(spec.schema_path.read_text())
    kept["event"]["fields"] = list(kept["event"]["fields"].items())  # their order is that of the columns
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
