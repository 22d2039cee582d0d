"""The handlers of headwater.v1.Predictions: they convert, and delegate to the plane.

`Predict` takes and gives bytes: what `QuickPlane` can answer is never made into a message. What it hands over is
answered by the row form, together with the calls that wait at the same time (`_serve_gather`).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import StatusCode

from consumers._exposures import Exposures
from consumers._grpc import SERVICE, Handlers, in_pool
from consumers._serve_gather import Gatherer, Gone
from consumers._serve_labels import Labels
from consumers._serve_metrics import Meter, count_rows
from consumers._serve_pool import Pool
from consumers._serve_prompt import prompt_method
from consumers._serve_status import STATUS, answered, streamed
from consumers._serve_stream import answers
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from stream.clock import Clock
from stream.predict import wire
from stream.predict.batch import Columnar
from stream.predict.plane import Answer, Plane, Request, event_id_of
from stream.predict.quick.plane import Quick, QuickPlane
from stream.predict.refuse import InvalidRequest, Refused
from stream.predict.served import Served

LABEL_S_MAX = 10.0  # for a call that sets no deadline
GATHERED_MAX = 64  # calls that are answered as one block


def add_predictions(servicer: "Predictions", server: Any) -> None:
    """Register the handlers; that of Predict takes and gives bytes."""
    handlers = Handlers()
    register: Any = pb_grpc.add_PredictionsServicer_to_server  # generated without types
    register(servicer, handlers)
    handlers.of["Predict"] = grpc.unary_unary_rpc_method_handler(prompt_method(servicer.Predict, servicer.predict_now))
    server.add_registered_method_handlers(SERVICE, handlers.of)


def _code(refused: Refused) -> int:
    return int(STATUS[type(refused)].value[0])


class Predictions(pb_grpc.PredictionsServicer):
    """The handlers of headwater.v1.Predictions."""

    def __init__(
        self,
        plane: Plane,
        columnar: Columnar,
        exposures: Exposures,
        labels: Labels,
        clock: Clock,
        leaving: Callable[[], bool],
        pools: Mapping[str, Pool],
        meter: Meter | None = None,
        gather_wait_s: float = 0.0,
    ) -> None:
        self._plane, self._columnar, self._exposures = plane, columnar, exposures
        self._labels, self._clock, self._leaving, self.meter = labels, clock, leaving, meter
        self.quick = QuickPlane(plane)
        self._gatherer: Gatherer[Request, tuple[Answer | Refused, int]] = Gatherer(
            self._gathered, GATHERED_MAX, gather_wait_s
        )
        self._model: tuple[Served, pb.ModelVersion] | None = None
        self.Feedback = in_pool(self._feedback, pools["Feedback"])  # type: ignore[method-assign]
        self.PredictStream = in_pool(self._stream, pools["PredictStream"])  # type: ignore[method-assign]

    @answered
    def Predict(self, body: bytes, context: Any) -> bytes:
        """See the .proto; from bytes to bytes."""
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        quick = self.quick.answer(body, now_ms)
        if quick is None:
            return self._by_row(body, context, begun_ns)
        self._told(quick, now_ms, begun_ns)
        return quick.body

    def predict_now(self, body: bytes) -> bytes | None:
        """What Predict answers, if it can at once; see `_serve_prompt`."""
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        quick = self.quick.answer(body, now_ms, at_once=True)
        if quick is None:
            return None
        self._told(quick, now_ms, begun_ns)
        if self.meter is not None:
            self.meter.call("Predict", StatusCode.OK, (time.perf_counter_ns() - begun_ns) / 1e9)
        return quick.body

    def _told(self, quick: Quick, now_ms: int, begun_ns: int) -> None:
        """Count a quick answer, and log it."""
        if self.meter is not None:
            self.meter.rows("Predict", quick.arm, StatusCode.OK)
        self._exposures.put_quick(quick, now_ms, (time.perf_counter_ns() - begun_ns) // 1000)

    def _by_row(self, body: bytes, context: Any, begun_ns: int) -> bytes:
        """The answer by the row form. Raises Refused."""
        try:
            message = pb.PredictRequest.FromString(body)
        except DecodeError as e:
            raise InvalidRequest("request.wrong", f"found {len(body)} bytes that are no PredictRequest: {e}") from None
        try:
            answer, now_ms = self._gatherer.put(wire.request_of(message), context.is_active, context.time_remaining())
        except Gone:
            return b""  # there is nobody to read it
        if isinstance(answer, Refused):
            raise answer
        found = wire.answer_message(answer, self._model_message(answer.model)).SerializeToString()
        self._expose("Predict", answer, now_ms, begun_ns)
        return bytes(found)

    def _gathered(self, requests: list[Request]) -> list[tuple[Answer | Refused, int]]:
        """The answers to calls that waited at the same time, and when they were made."""
        now_ms = self._clock.wall_ms()
        return [(found, now_ms) for found in self._plane.predict_batch(requests, now_ms)]

    @answered
    def PredictBatch(self, request: pb.PredictBatchRequest, context: Any) -> pb.PredictBatchResponse:
        """See the .proto."""
        if request.HasField("columns"):
            return pb.PredictBatchResponse(columns=self._columns(request))
        return pb.PredictBatchResponse(results=self._block("PredictBatch", list(request.requests)))

    def _columns(self, request: pb.PredictBatchRequest) -> pb.AnswerColumns:
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        if request.requests:
            raise InvalidRequest("request.wrong", "requests and columns are both given; one of them is wanted")
        batch = wire.batch_of(request.columns)
        found = self._columnar.answer(batch, now_ms)
        model = self._model_message(found.model)
        message = wire.answers_message(found, self._plane.spec.classes, model, _code)
        if self.meter is not None:
            count_rows(self.meter, "PredictBatch", found)
        if not batch.unlogged:
            self._exposures.put_all(found, now_ms, (time.perf_counter_ns() - begun_ns) // 1000)
        return message

    def _result(self, method: str, found: Answer | Refused, now_ms: int, begun_ns: int) -> pb.PredictResult:
        """The message of one row; an answer is logged."""
        if isinstance(found, Refused):
            if self.meter is not None:
                self.meter.rows(method, "", STATUS[type(found)])
            return pb.PredictResult(error=pb.RowError(status=_code(found), reason=found.reason, message=str(found)))
        message = wire.answer_message(found, self._model_message(found.model))
        self._expose(method, found, now_ms, begun_ns)
        return pb.PredictResult(answer=message)

    @streamed
    def _stream(self, requests: Iterator[pb.PredictRequest], context: Any) -> Iterator[pb.PredictResult]:
        return answers(requests, partial(self._block, "PredictStream"), self._leaving)

    def _block(self, method: str, requests: list[pb.PredictRequest]) -> list[pb.PredictResult]:
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        found = self._plane.predict_batch([wire.request_of(r) for r in requests], now_ms)
        return [self._result(method, each, now_ms, begun_ns) for each in found]

    @answered
    def _feedback(self, request: pb.FeedbackRequest, context: Any) -> pb.FeedbackResponse:
        now_ms = self._clock.wall_ms()
        named = request.WhichOneof("of")
        event_id = event_id_of(request.prediction_id) if named == "prediction_id" else request.event_id
        left_s = context.time_remaining()
        timeout_s = LABEL_S_MAX if left_s is None else min(LABEL_S_MAX, left_s)
        time_ms = request.time_ms if request.HasField("time_ms") else now_ms
        offset = self._labels.put(event_id, wire.label_of(request), time_ms, now_ms, timeout_s)
        return pb.FeedbackResponse(event_id=event_id, label_offset=offset)

    @answered
    def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.DescribeResponse:
        """See the .proto."""
        return wire.describe_message(self._plane, self._clock.wall_ms(), self._exposures.counts())

    def _expose(self, method: str, answer: Answer, now_ms: int, begun_ns: int) -> None:
        if self.meter is not None:
            self.meter.rows(method, answer.arm, StatusCode.OK)
        self._exposures.put(answer, now_ms, (time.perf_counter_ns() - begun_ns) // 1000)

    def _model_message(self, served: Served) -> pb.ModelVersion:
        """The same message for as long as the model is the same."""
        known = self._model
        if known is None or known[0] is not served:
            known = self._model = (served, wire.model_message(served))
        return known[1]
