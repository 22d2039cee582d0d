"""A typed client of the prediction server. Every call has a deadline, retries included.

What is UNAVAILABLE (or CANCELLED, as calls end that meet a leaving server) is tried again with growing,
jittered pauses while the deadline allows; everything else is told at once. A repeated Predict of the same
unit, or event id, gets the same arm; a repeated Feedback is learned once. Invariant: no method blocks longer
than its time-out.
"""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc

from consumers import _client_columns as columns
from consumers._client_columns import ColumnAnswers, Values
from consumers._client_values import Answer, CallFailed, Description, Event, Model, model_of, row_error
from consumers._serve_security import Security
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from stream.errors import DataError
from stream.predict import wire

_PAUSE_S_MIN, _PAUSE_S_MAX = 0.02, 0.5
_MESSAGE_BYTES_MAX = 8 << 20
_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_CHANNEL = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 1000),
    ("grpc.enable_retries", 0),
)


class PredictionClient:
    """One channel to one server, safe to share by threads. `timeout_s` bounds a call with its retries."""

    def __init__(
        self, address: str = "127.0.0.1:50051", timeout_s: float = 5.0, security: Security | None = None
    ) -> None:
        if timeout_s <= 0:
            raise DataError(f"timeout_s: found {timeout_s}; more than 0 is wanted")
        self._address, self._timeout_s = address, timeout_s
        security = security or Security()
        self._metadata = security.metadata()
        self._channel = security.channel(address, _CHANNEL)
        self._stub: Any = _make_stub(self._channel)

    def predict(
        self,
        fields: Mapping[str, Any],
        *,
        event_id: str | None = None,
        unit: str | None = None,
        arm: str | None = None,
        max_staleness_ms: int | None = None,
        avro: bytes | None = None,
        timeout_s: float | None = None,
    ) -> Answer:
        """One answer. Raises CallFailed, and DataError for a value that no message can carry."""
        event = Event(fields, event_id, unit, arm, max_staleness_ms, avro)
        return _answer(self._call(self._stub.Predict, _request(event), timeout_s))

    def predict_batch(
        self, events: Sequence[Event | Mapping[str, Any]], timeout_s: float | None = None
    ) -> list[Answer | CallFailed]:
        """An answer or its failure for each event, in order. Raises CallFailed when the call itself fails."""
        message = pb.PredictBatchRequest(requests=[_request(e if isinstance(e, Event) else Event(e)) for e in events])
        found = self._call(self._stub.PredictBatch, message, timeout_s)
        return [_answer(r.answer) if r.WhichOneof("result") == "answer" else row_error(r.error) for r in found.results]

    def predict_columns(
        self,
        fields: Mapping[str, Values],
        *,
        event_ids: Sequence[str] = (),
        units: Sequence[str] = (),
        arm: str | None = None,
        max_staleness_ms: int | None = None,
        unlogged: bool = False,
        timeout_s: float | None = None,
    ) -> ColumnAnswers:
        """Answers for up to 4096 events, given and taken as columns: sequences with None for nulls, or arrays.

        unlogged: bulk scoring, no part of the experiment. Raises CallFailed, DataError.
        """
        message = columns.request_of(fields, event_ids, units, arm, max_staleness_ms, unlogged)
        return columns.answers_of(self._call(self._stub.PredictBatch, message, timeout_s).columns)

    def predict_stream(
        self, events: Iterable[Event | Mapping[str, Any]], timeout_s: float
    ) -> Iterator[Answer | CallFailed]:
        """An answer or its failure for each event, in order, while `events` goes on in a thread of gRPC's.

        Nothing is tried again: after CallFailed, the events past the last answer are the caller's to give again.
        `timeout_s` bounds the whole stream. Leaving the iterator early ends the call. What `events` raises, a DataError
        among it, comes once the events before are answered.
        """
        wrong: list[Exception] = []  # what `events` raised, in the thread that asks for them
        call = self._stub.PredictStream(_requests(events, wrong), timeout=timeout_s, metadata=self._metadata)
        try:
            for found in call:
                yield _answer(found.answer) if found.WhichOneof("result") == "answer" else row_error(found.error)
        except grpc.RpcError as e:
            raise _failed(e, self._address) from e
        finally:
            call.cancel()
        if wrong:
            raise wrong[0]

    def feedback(
        self,
        value: bool | int | float | str,
        *,
        prediction_id: str | None = None,
        event_id: str | None = None,
        time_ms: int | None = None,
        timeout_s: float | None = None,
    ) -> int:
        """Tell an outcome; returns its offset on the labels topic once Kafka has it. Raises CallFailed."""
        if (prediction_id is None) == (event_id is None):
            raise DataError("prediction_id and event_id: exactly one of them is wanted")
        kinds = {bool: "bool_value", int: "int64_value", float: "double_value", str: "string_value"}
        if type(value) not in kinds or (type(value) is int and not -(1 << 63) <= value < 1 << 63):
            raise DataError(f"value: found {value!r}; bool, int of 64 bits, float or str is wanted")
        message = pb.FeedbackRequest(prediction_id=prediction_id, event_id=event_id, time_ms=time_ms)
        setattr(message, kinds[type(value)], value)
        return int(self._call(self._stub.Feedback, message, timeout_s).label_offset)

    def describe(self, timeout_s: float | None = None) -> Description:
        """What the server is. Raises CallFailed."""
        m = self._call(self._stub.Describe, pb.DescribeRequest(), timeout_s)
        return Description(
            m.pipeline,
            m.task,
            tuple(m.classes),
            m.spec_hash,
            m.event_id_field,
            m.event_time_field,
            tuple(m.fields),
            tuple(m.arms),
            m.experiment,
            model_of(m.model) if m.HasField("model") else None,
            m.staleness_ms if m.HasField("staleness_ms") else None,
            m.exposures,
        )

    def close(self) -> None:
        """Give the channel back."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _call(self, method: Callable[..., Any], message: Any, timeout_s: float | None) -> Any:
        """Call, and again while the server is UNAVAILABLE and time is left."""
        until_s = time.monotonic() + (self._timeout_s if timeout_s is None else timeout_s)
        pause_s = _PAUSE_S_MIN
        while True:
            try:
                left_s = max(0.0, until_s - time.monotonic())
                return method(message, timeout=left_s, metadata=self._metadata)
            except grpc.RpcError as e:
                pause_s = min(_PAUSE_S_MAX, 2 * pause_s)
                wait_s = pause_s * random.uniform(0.5, 1.0)
                again = e.code() in _AGAIN and time.monotonic() + wait_s < until_s
                if not again:
                    raise _failed(e, self._address) from e
            time.sleep(wait_s)


__all__ = [
    "Answer", "CallFailed", "ColumnAnswers", "Description", "Event", "Model", "PredictionClient", "Security", "Values",
]  # fmt: skip
_make_stub: Callable[[Any], Any] = pb_grpc.PredictionsStub  # generated without types


def _failed(error: Any, address: str) -> CallFailed:
    reasons = [v for k, v in error.trailing_metadata() or () if k == "headwater-reason"]
    detail = error.details() or ""
    shown = detail if reasons else f"prediction server at {address}: {detail}"
    return CallFailed(error.code().name, reasons[0] if reasons else "", shown)


def _request(event: Event) -> pb.PredictRequest:
    message = pb.PredictRequest(
        event_id=event.event_id,
        unit=event.unit,
        arm=event.arm,
        max_staleness_ms=event.max_staleness_ms,
        avro=event.avro,
    )
    for name, value in event.fields.items():
        try:
            message.fields[name].CopyFrom(wire.value_of(value))
        except (TypeError, ValueError) as e:
            raise DataError(f"{name}: {e}") from e
    return message


def _requests(events: Iterable[Event | Mapping[str, Any]], wrong: list[Exception]) -> Iterator[pb.PredictRequest]:
    """The messages of events, up to the first that can't be made."""
    try:
        for event in events:
            yield _request(event if isinstance(event, Event) else Event(event))
    except Exception as e:
        wrong.append(e)


def _answer(m: pb.PredictResponse) -> Answer:
    return Answer(
        m.prediction_id, m.event_id, m.unit, m.arm, m.arm_requested, m.propensity, m.score, tuple(m.scores),
        m.label, model_of(m.model), m.staleness_ms, m.experiment, m.spec_hash, m.control_seq, m.assigned,
    )  # fmt: skip
