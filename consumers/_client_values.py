"""What the client gives and takes: plain frozen values, so that callers never touch a message."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from schemas import headwater_pb2 as pb
from stream.errors import HeadwaterError


class CallFailed(HeadwaterError):
    """The server, or the way to it, said no. status: gRPC's name; reason: the server's short code, or ''."""

    def __init__(self, status: str, reason: str, message: str) -> None:
        self.status, self.reason = status, reason
        super().__init__(f"{status}: {message}")


@dataclass(frozen=True, slots=True)
class Model:
    """Which model answered, and how far it had learned; times in milliseconds since 1970-01-01 UTC."""

    generation: int
    sha256: str
    state_hash: str
    training_offset: int
    rows: int
    label_offset: int
    label_time_ms: int
    label_published_ms: int
    as_of_ms: int


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction; see schemas/headwater.proto."""

    prediction_id: str
    event_id: str
    unit: str
    arm: str
    arm_requested: bool
    propensity: float
    score: float
    scores: tuple[float, ...]
    label: str
    model: Model
    staleness_ms: int
    experiment: str
    spec_hash: str
    control_seq: int = 0
    assigned: str = ""


@dataclass(frozen=True, slots=True)
class Event:
    """One event to score; what is None is left to the server."""

    fields: Mapping[str, Any]
    event_id: str | None = None
    unit: str | None = None
    arm: str | None = None
    max_staleness_ms: int | None = None
    avro: bytes | None = None


@dataclass(frozen=True, slots=True)
class Description:
    """What a server is, takes and gives, as in schemas/headwater.proto. model: None while there is none."""

    pipeline: str
    task: str
    classes: tuple[str, ...]
    spec_hash: str
    event_id_field: str
    event_time_field: str
    fields: tuple[pb.FieldInfo, ...]
    arms: tuple[pb.ArmInfo, ...]
    experiment: pb.ExperimentInfo
    model: Model | None
    staleness_ms: int | None
    exposures: pb.ExposureCounts


def model_of(m: pb.ModelVersion) -> Model:
    """The model in a message."""
    t = m.trained_through
    return Model(
        m.generation, m.sha256, m.state_hash, t.training_offset, t.rows,
        t.label_offset, t.label_time_ms, t.label_published_ms, t.as_of_ms,
    )  # fmt: skip


def row_error(error: pb.RowError) -> CallFailed:
    """The failure of one row."""
    name = next((c.name for c in grpc.StatusCode if c.value[0] == error.status), "UNKNOWN")
    return CallFailed(name, error.reason, error.message)
