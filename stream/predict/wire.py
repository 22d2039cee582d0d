"""Messages of headwater.v1 ↔ the plane's values. Conversion only; what is wrong is for the plane to say."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from schemas import headwater_pb2 as pb
from stream.predict.answers import Answers, Batch
from stream.predict.events import FieldInfo, Scalar
from stream.predict.given import Column, numbered
from stream.predict.plane import Answer, Plane, Request
from stream.predict.refuse import InvalidRequest, Refused
from stream.predict.served import Served
from stream.predict.steer import EXPERIMENT


def request_of(message: pb.PredictRequest) -> Request:
    """The request in a message."""
    return Request(
        fields_of(message.fields),
        message.event_id,
        message.unit,
        message.arm,
        message.max_staleness_ms if message.HasField("max_staleness_ms") else None,
        message.avro,
    )


def fields_of(values: Mapping[str, pb.Value]) -> dict[str, Scalar]:
    """Python values by name; a Value with nothing set is None."""
    out: dict[str, Scalar] = {}
    for name, value in values.items():
        kind = value.WhichOneof("kind")
        out[name] = None if kind is None else getattr(value, kind)
    return out


def batch_of(message: pb.EventColumns) -> Batch:
    """The batch in a message. Raises InvalidRequest for a column without values, or a mask of another size."""
    return Batch(
        message.rows,
        {name: _column(name, column, message.rows) for name, column in message.fields.items()},
        list(message.event_ids),
        list(message.units),
        message.arm,
        message.max_staleness_ms if message.HasField("max_staleness_ms") else None,
        message.unlogged,
    )


def _column(name: str, message: pb.FieldColumn, rows: int) -> Column:
    kind, nulls = message.WhichOneof("values"), None
    if message.nulls:
        if len(message.nulls) != (rows + 7) // 8:
            detail = f"{name}: nulls of {len(message.nulls)} bytes; {(rows + 7) // 8} are wanted for {rows} rows"
            raise InvalidRequest("request.wrong", detail)
        nulls = np.unpackbits(np.frombuffer(message.nulls, np.uint8), count=rows, bitorder="little").astype(bool)
    if kind == "strings":
        values, index = list(message.strings.values), message.strings.index
        if index:
            return Column("string", values, np.array(index, np.int64), nulls)
        return Column("string", *numbered(values), nulls)
    if kind == "doubles":
        return Column("double", np.array(message.doubles.values, np.float64), None, nulls)
    if kind == "int64s":
        return Column("int64", np.array(message.int64s.values, np.int64), None, nulls)
    if kind == "bools":
        return Column("bool", np.array(message.bools.values, bool), None, nulls)
    raise InvalidRequest("request.wrong", f"{name}: no values; doubles, int64s, strings or bools are wanted")


def value_of(given: Any) -> pb.Value:
    """The message of one value. Raises TypeError for what no field can hold, ValueError past 64 bits."""
    if given is None:
        return pb.Value()
    if isinstance(given, bool):
        return pb.Value(bool_value=given)
    if isinstance(given, int):
        return pb.Value(int64_value=given)
    if isinstance(given, float):
        return pb.Value(double_value=given)
    if isinstance(given, str):
        return pb.Value(string_value=given)
    raise TypeError(f"found {type(given).__name__}; a number, a string, true, false or None is wanted")


def model_message(served: Served) -> pb.ModelVersion:
    """Which model it is, and how far it had learned."""
    return pb.ModelVersion(
        generation=served.generation,
        sha256=served.sha256,
        state_hash=served.state_hash,
        trained_through=pb.TrainedThrough(
            training_offset=served.training_offset,
            rows=served.rows,
            label_offset=served.label_offset,
            label_time_ms=served.label_time_ms,
            label_published_ms=served.label_published_ms,
            as_of_ms=served.as_of_ms,
        ),
    )


def answer_message(answer: Answer, model: pb.ModelVersion) -> pb.PredictResponse:
    """The message of an answer; `model` is that of `answer.model`."""
    return pb.PredictResponse(
        prediction_id=answer.prediction_id,
        event_id=answer.event_id,
        arm=answer.arm,
        propensity=answer.propensity,
        score=answer.score,
        scores=answer.scores,
        label=answer.label,
        model=model,
        staleness_ms=answer.staleness_ms,
        experiment=answer.experiment,
        spec_hash=answer.spec_hash,
        unit=answer.unit,
        arm_requested=answer.arm_requested,
        control_seq=answer.control_seq,
        assigned="" if answer.assigned == EXPERIMENT else answer.assigned,
    )


def answers_message(
    answers: Answers, classes: Sequence[str], model: pb.ModelVersion, status: Callable[[Refused], int]
) -> pb.AnswerColumns:
    """The message of a batch's answers; `status` gives a refusal's gRPC status code."""
    likeliest = answers.scores.argmax(axis=1) if classes and len(answers) else ()
    return pb.AnswerColumns(
        batch_id=answers.batch_id,
        event_ids=answers.event_ids,
        units=() if answers.units == answers.event_ids else answers.units,
        arms=answers.arms,
        arm=answers.arm,
        propensity=answers.propensity,
        score=answers.score,
        classes=classes,
        scores=answers.scores.ravel(),
        label=likeliest,
        errors={
            row: pb.RowError(status=status(e), reason=e.reason, message=str(e)) for row, e in answers.refused.items()
        },
        model=model,
        staleness_ms=answers.staleness_ms,
        experiment=answers.experiment,
        spec_hash=answers.spec_hash,
        arm_requested=answers.asked,
        control_seq=answers.control_seq,
        left_out=answers.left_out(),
    )


def label_of(message: pb.FeedbackRequest) -> bool | int | float | str:
    """The outcome in a message. Raises InvalidRequest when there is none."""
    kind = message.WhichOneof("value")
    if kind is None:
        raise InvalidRequest("request.wrong", "value: missing; bool, int64, double or string is wanted")
    value: bool | int | float | str = getattr(message, kind)
    return value


def _field_message(field: FieldInfo) -> pb.FieldInfo:
    return pb.FieldInfo(
        name=field.name,
        type=field.type,
        avro=field.avro,
        required=field.required,
        has_default=field.has_default,
        min=field.min,
        max=field.max,
        outside=field.outside,
        symbols=field.symbols,
    )


def describe_message(plane: Plane, now_ms: int, exposures: tuple[int, int, int]) -> pb.DescribeResponse:
    """What the plane is; exposures: sent, dropped, waiting."""
    spec, served, assignment = plane.spec, plane.served, plane.assignment
    sent, dropped, waiting = exposures
    return pb.DescribeResponse(
        pipeline=spec.name,
        task=spec.task,
        classes=spec.classes,
        spec_hash=plane.spec_hash,
        event_id_field=spec.event.id,
        event_time_field=spec.event.time,
        fields=[_field_message(f) for f in plane.events.fields],
        arms=[
            pb.ArmInfo(name=n, model=a.model, weight=a.weight, propensity=assignment.propensity[n], shadow=a.shadow)
            for n, a in spec.arms.items()
        ],
        experiment=pb.ExperimentInfo(
            name=spec.experiment.name,
            unit=spec.experiment.unit or "",
            assignment_version=assignment.version,
            control_seq=assignment.seq,
            ended=assignment.state.ended,
        ),
        model=None if served is None else model_message(served),
        staleness_ms=None if served is None else now_ms - served.as_of_ms,
        exposures=pb.ExposureCounts(sent=sent, dropped=dropped, waiting=waiting),
    )
