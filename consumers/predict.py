"""predict: answers over gRPC, of the newest model. Servicers here only convert and delegate to the plane.

Four things run side by side and none waits for another: calls, the follower of the models topic, exposures,
labels. Invariant: whatever a caller sends, the answer has a status and a message (`_serve_status`).
"""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any

import structlog
from grpc import StatusCode

from consumers._exposures import Exposures, MakeProducer, Sender
from consumers._follow import Follower
from consumers._grpc import SERVICE, Pool, Server, ServerOptions, Service, Told, in_pool
from consumers._kafka import broker_errors, make_consumer, make_producer, partitions_of
from consumers._log import set_up
from consumers._serve_labels import LABELS_WAITING_MAX, Labels
from consumers._serve_metrics import Meter, Metrics, count_rows
from consumers._serve_oip import OPEN, Inference
from consumers._serve_oip import SERVICE as OIP_SERVICE
from consumers._serve_security import Tokens, server_credentials
from consumers._serve_status import STATUS, answered, streamed
from consumers._serve_stream import answers
from consumers.clean import find_writer
from consumers.settings import Settings
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from schemas import inference_pb2_grpc as oip_grpc
from stream.arrive.framing import Decoder
from stream.arrive.schema import EventSchema
from stream.clock import Clock, SystemClock
from stream.learn.warm import warm
from stream.limits import EXPOSURES_MAX
from stream.predict import wire
from stream.predict.batch import Columnar
from stream.predict.plane import Answer, Plane, event_id_of
from stream.predict.refuse import InvalidRequest, Refused
from stream.predict.served import Served
from stream.spec import Spec
from stream.spec_load import event_schema

log = structlog.get_logger()
LABEL_S_MAX = 10.0  # for a call that sets no deadline
CLOSE_S = 5.0  # for exposures and labels, each, when leaving


# -- the service ---------------------------------------------------------------------------------------


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
    ) -> None:
        self._plane, self._columnar, self._exposures = plane, columnar, exposures
        self._labels, self._clock, self._leaving, self.meter = labels, clock, leaving, meter
        self._model: tuple[Served, pb.ModelVersion] | None = None
        self.Feedback = in_pool(self._feedback, pools["Feedback"])  # type: ignore[method-assign]
        self.PredictStream = in_pool(self._stream, pools["PredictStream"])  # type: ignore[method-assign]

    @answered
    def Predict(self, request: pb.PredictRequest, context: Any) -> pb.PredictResponse:
        """See the .proto."""
        begun_ns, now_ms = time.perf_counter_ns(), self._clock.wall_ms()
        answer = self._plane.answer(wire.request_of(request), now_ms)
        message = wire.answer_message(answer, self._model_message(answer.model))
        self._expose("Predict", answer, now_ms, begun_ns)
        return message

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


# -- the process ---------------------------------------------------------------------------------------


def make_decoder(spec: Spec, settings: Settings) -> Decoder:
    """Reads framed events as clean does; only one thread at a time asks who wrote them."""
    find, asking = find_writer(spec, settings), Lock()

    def find_alone(key: bytes | int) -> EventSchema | None:
        with asking:
            found: EventSchema | None = find(key)
            return found

    return Decoder(event_schema(spec), find_alone)


class PredictServer:
    """Everything of one prediction server, wired. `start`, look at `error` now and then, `close`."""

    def __init__(
        self,
        spec: Spec,
        settings: Settings,
        options: ServerOptions | None = None,
        clock: Clock | None = None,
        producer: MakeProducer = make_producer,
    ) -> None:
        options = options or ServerOptions(message_bytes_max=settings.grpc_message_bytes_max)
        self._spec, self._settings = spec, settings
        self.plane = Plane(spec, make_decoder(spec, settings).decode)
        exposures = Sender(settings, "exposures", EXPOSURES_MAX, producer)
        self.exposures = Exposures(spec.topic("predictions"), exposures)
        self.labels = Labels(spec, Sender(settings, "labels", LABELS_WAITING_MAX, producer))
        self._credentials = server_credentials(settings)
        self._meter = None if settings.metrics is None else Meter()
        self.metrics: Metrics | None = None
        self.server = self._make_server(options, clock or SystemClock())
        self._follower = Follower(spec, settings, self.plane, lambda: self.server.tell(True))
        self.port = 0

    def _make_server(self, options: ServerOptions, clock: Clock) -> Server:
        meter = self._meter
        side, columnar = ThreadPoolExecutor(1, "side"), Columnar(self.plane)
        pools = {
            "Feedback": Pool(options.labels, "labels"),
            "PredictStream": Pool(options.streams, "streams", options.streams),
        }

        def leaving() -> bool:
            return self.server.gate.leaving

        ours = Predictions(self.plane, columnar, self.exposures, self.labels, clock, leaving, pools, meter)
        oip = Inference(self.plane, columnar, self.exposures, clock, leaving, side, meter)
        services = (
            Service(
                SERVICE,
                partial(pb_grpc.add_PredictionsServicer_to_server, ours),
                pools,
            ),
            Service(OIP_SERVICE, partial(oip_grpc.add_GRPCInferenceServiceServicer_to_server, oip), open=OPEN),
        )
        tokens = Tokens.of(self._settings, side)
        told: Told = (lambda method, status: None) if meter is None else meter.call
        server = Server(options, services, side, () if tokens is None else (tokens,), told)
        if meter is not None:
            meter.watch(self.plane, server.pools, self.exposures.counts, clock)
        return server

    def start(self) -> int:
        """Listen and follow; returns the port. Raises HeadwaterError: address taken, no broker, no topic."""
        with broker_errors(self._settings):
            consumer = make_consumer(self._settings, None)
            try:
                topics = [self._spec.topic(t) for t in ("models", "predictions", "labels")]
                partitions_of(consumer, topics, self._settings)
            finally:
                consumer.close(autocommit=False, timeout_ms=1000)
        self.listen(self._settings.grpc)
        self._follower.start()
        self.exposures.start()
        self.labels.sender.start()
        log.info("serving", address=self._settings.grpc, port=self.port)
        return self.port

    def listen(self, address: str) -> int:
        """Open the port, and that of the metrics; returns the port. Raises HeadwaterError."""
        if self._meter is not None and self._settings.metrics is not None:
            self.metrics = self._meter.serve(self._settings.metrics)
        self.port = self.server.start(address, self._credentials)
        if self._settings.grpc_token is not None and self._credentials is None:
            log.warning("tokens travel unencrypted; HEADWATER_GRPC_CERT and HEADWATER_GRPC_KEY switch TLS on")
        return self.port

    @property
    def error(self) -> BaseException | None:
        """Why the server can't go on."""
        return self._follower.error

    def close(self) -> None:
        """Leave in good order: calls first, then what they left to send. Bounded."""
        drained = self.server.drain()
        self._follower.stop()
        labels = self.labels.sender.close(CLOSE_S)
        dropped = self.exposures.close(CLOSE_S)
        if self.metrics is not None:
            self.metrics.close()
        log.info("left", drained=drained, exposures_dropped=dropped, labels_dropped=labels)


def serve(spec: Spec, settings: Settings, stop: Callable[[], bool], options: ServerOptions | None = None) -> None:
    """Serve until `stop()`. Raises HeadwaterError where a person can mend something."""
    set_up(settings, spec, "predict")
    warm(spec)
    server = PredictServer(spec, settings, options)
    try:
        server.start()
        while not stop() and server.error is None:
            time.sleep(0.05)
    finally:
        server.close()
    if server.error is not None:
        raise server.error
