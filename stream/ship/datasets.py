"""For each topic that is shipped: which fields its documents have. The one source of documents and mappings.

`@timestamp` is when it happened here: an answer served, a change made, a line logged; else when Kafka took the record.
The times of the data itself, which may be years ago, are in `headwater.event.time`.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import schemas
from stream.arrive.records import Record
from stream.ship.fields import KEYWORD_CHARS_MAX, Field, always, finite, finite_values, key, number, numbers, values
from stream.ship.logline import LOG_FIELDS, REST_FIELD, log_field, read_line
from stream.trace import trace_id

ECS_VERSION = "9.0.0"
MODULE = "headwater"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One topic's documents. retention: how long they are kept. decode: value bytes → record; raises ValueError."""

    topic: str
    type: Literal["logs", "metrics"]
    retention: str
    decode: Callable[[bytes], Mapping[str, Any]]
    fields: tuple[Field, ...]

    @property
    def name(self) -> str:
        """The middle of the data stream's name."""
        return f"{MODULE}.{self.topic}"

    def stream(self, pipeline: str) -> str:
        """The data stream of a pipeline: type-dataset-namespace."""
        return f"{self.type}-{self.name}-{namespace(pipeline)}"

    @property
    def pattern(self) -> str:
        """Of the data streams of all pipelines."""
        return f"{self.type}-{self.name}-*"


def namespace(pipeline: str) -> str:
    """A pipeline's name as the last part of a data stream's, where a hyphen would be taken for the next separator."""
    return pipeline.replace("-", "_")


# Every document's own; `documents` adds what the pipeline and the dataset say.
COMMON = (
    Field("ecs.version", "keyword", always(ECS_VERSION)),
    Field("event.module", "keyword", always(MODULE)),
    Field("service.name", "keyword", always(MODULE)),
    Field("headwater.kafka.topic", "keyword", lambda r, at: at.topic),
    Field("headwater.kafka.partition", "long", lambda r, at: at.partition),
    Field("headwater.kafka.offset", "long", lambda r, at: at.offset),
    Field("headwater.kafka.time", "date", lambda r, at: at.timestamp),
)
BY_PIPELINE: tuple[str, ...] = (
    "event.dataset", "data_stream.type", "data_stream.dataset", "data_stream.namespace", "headwater.pipeline",
)  # fmt: skip
BY_ARRIVAL = "event.ingested"  # set by the ingest pipeline

_SPEC = Field("headwater.spec_hash", "keyword", key("spec_hash"))
_KAFKA_TIME = Field("@timestamp", "date", lambda r, at: at.timestamp)


def _trace(record: Mapping[str, Any], at: Record) -> str:
    """Of the event with the record's id, in the pipeline whose topic the record lies in."""
    return trace_id(at.topic.rpartition(".")[0], record["id"])


def _refused_id(record: Mapping[str, Any], _: Record) -> str | None:
    """The id of a refused event or label: what could be read, else its key, which is the id by our contract."""
    if record["event_id"]:
        return str(record["event_id"])
    key, whose = record["key"], record["topic"].rpartition(".")[2]
    if not key or len(key) > KEYWORD_CHARS_MAX or whose not in ("events", "labels"):
        return None
    try:
        return bytes(key).decode()
    except UnicodeDecodeError:
        return None


def _refused_trace(record: Mapping[str, Any], at: Record) -> str | None:
    event_id = _refused_id(record, at)
    return trace_id(at.topic.rpartition(".")[0], event_id) if event_id else None


def _shadow_scores(record: Mapping[str, Any], _: Record) -> dict[str, float] | None:
    return finite_values({s["arm"]: s["score"] for s in record.get("shadows") or ()})


def _label_number(record: Mapping[str, Any], _: Record) -> float | None:
    value = record["value"]
    found = finite(value)
    return None if found is None else float(found)


def _label_text(record: Mapping[str, Any], _: Record) -> str | None:
    return record["value"] if isinstance(record["value"], str) else None


def _line_time(record: Mapping[str, Any], at: Record) -> Any:
    found = record.get("@timestamp")
    return found if found and isinstance(found, str) else at.timestamp


PREDICTIONS = Dataset(
    "predictions",
    "logs",
    "30d",
    schemas.codec("prediction").decode,
    (
        Field("@timestamp", "date", key("served_ms")),
        Field("event.kind", "keyword", always("event")),
        Field("event.action", "keyword", always("predict")),
        Field("event.id", "keyword", key("prediction_id")),
        Field("event.duration", "long", lambda r, at: 1000 * r["latency_us"]),
        Field("trace.id", "keyword", _trace),
        Field("headwater.event.id", "keyword", key("id")),
        Field("headwater.event.time", "date", key("event_time_ms")),
        Field("headwater.unit", "keyword", key("unit")),
        Field("headwater.arm", "keyword", key("arm")),
        Field("headwater.propensity", "double", number("propensity")),
        Field("headwater.score", "double", number("score")),
        Field("headwater.scores", "double", numbers("scores")),
        Field("headwater.shadow_scores", "values", _shadow_scores),
        Field("headwater.latency_ms", "double", lambda r, at: r["latency_us"] / 1000),
        Field("headwater.staleness_ms", "long", key("staleness_ms")),
        Field("headwater.model.generation", "long", key("model_generation")),
        Field("headwater.model.sha256", "keyword", key("model_sha256")),
        Field("headwater.model.label_offset", "long", key("trained_label_offset")),
        Field("headwater.experiment.name", "keyword", key("experiment")),
        Field("headwater.experiment.assigned", "keyword", key("assigned")),
        Field("headwater.experiment.seq", "long", key("control_seq")),
        Field("headwater.dropped_before", "long", key("dropped_before")),
        _SPEC,
    ),
)
LABELS = Dataset(
    "labels",
    "logs",
    "30d",
    schemas.codec("label").decode,
    (
        _KAFKA_TIME,
        Field("event.kind", "keyword", always("event")),
        Field("event.action", "keyword", always("label")),
        Field("trace.id", "keyword", _trace),
        Field("headwater.event.id", "keyword", key("id")),
        Field("headwater.event.time", "date", key("time_ms")),
        Field("headwater.label.value", "double", _label_number),
        Field("headwater.label.text", "keyword", _label_text),
    ),
)


def _source(record: Mapping[str, Any], at: Record) -> str:
    """Whose metric it is, in one word for the groups of alert rules: the pipeline, and the step or arm."""
    return f"{at.topic.rpartition('.')[0]} {record['arm']}".rstrip()


METRICS = Dataset(
    "metrics",
    "metrics",
    "90d",
    schemas.codec("metric").decode,
    (
        _KAFKA_TIME,
        Field("event.kind", "keyword", always("metric")),
        Field("headwater.metric.kind", "keyword", key("kind")),
        Field("headwater.metric.source", "keyword", _source),
        Field("headwater.metric.window", "long", key("window")),
        Field("headwater.metric.rows", "long", key("rows")),
        Field("headwater.arm", "keyword", key("arm")),
        Field("headwater.event.time", "date", key("event_time_ms")),
        Field("headwater.values", "values", values("values")),
        _SPEC,
    ),
)
EXPERIMENT = Dataset(
    "experiment",
    "logs",
    "365d",
    schemas.codec("control").decode,
    (
        Field("@timestamp", "date", key("when_ms")),
        Field("event.kind", "keyword", always("event")),
        Field("event.action", "keyword", key("action")),
        Field("event.reason", "text", key("why")),
        Field("user.name", "keyword", key("who")),
        Field("headwater.arm", "keyword", key("arm")),
        Field("headwater.experiment.name", "keyword", key("experiment")),
        Field("headwater.experiment.salt", "keyword", key("salt")),
        Field("headwater.experiment.seq", "long", key("seq")),
        Field("headwater.experiment.before", "values", values("before")),
        Field("headwater.experiment.weights", "values", values("weights")),
    ),
)
# The refused bytes stay on Kafka: they are a stranger's, and may hold what nobody should find by searching.
DEAD = Dataset(
    "dead",
    "logs",
    "90d",
    schemas.codec("dead").decode,
    (
        _KAFKA_TIME,
        Field("event.kind", "keyword", always("pipeline_error")),
        Field("event.outcome", "keyword", always("failure")),
        Field("error.code", "keyword", key("code")),
        Field("error.message", "text", key("detail")),
        Field("trace.id", "keyword", _refused_trace),
        Field("headwater.event.id", "keyword", _refused_id),
        Field("headwater.step", "keyword", key("step")),
        Field("headwater.refused.topic", "keyword", key("topic")),
        Field("headwater.refused.partition", "long", key("partition")),
        Field("headwater.refused.offset", "long", key("offset")),
        Field("headwater.refused.time", "date", key("timestamp_ms")),
        Field("headwater.refused.bytes", "long", lambda r, at: len(r["value"])),
        Field("headwater.refused.sha256", "keyword", lambda r, at: hashlib.sha256(r["value"]).hexdigest()),
        _SPEC,
    ),
)
LOGS = Dataset(
    "logs",
    "logs",
    "14d",
    read_line,
    (
        Field("@timestamp", "date", _line_time),
        Field("event.kind", "keyword", always("event")),
        *(log_field(name, kind) for name, kind in LOG_FIELDS.items()),
        Field(REST_FIELD, "rest", key(REST_FIELD)),
    ),
)
DATASETS: dict[str, Dataset] = {d.topic: d for d in (PREDICTIONS, LABELS, METRICS, EXPERIMENT, DEAD, LOGS)}
"""By topic, in the order in which they are told of."""
