"""predict: answers over gRPC, of the newest model.

Five things run side by side and none waits for another: calls, the followers of the models and the experiment topic,
exposures, labels. Invariant: whatever a caller sends, the answer has a status and a message (`_serve_status`).
"""

import gc
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock

import structlog

from consumers._exposures import Exposures
from consumers._follow import Follower
from consumers._follow_metrics import FollowState
from consumers._grpc import SERVICE, Server, ServerOptions, Service, Told
from consumers._kafka import broker_errors, consuming, make_producer, partitions_of
from consumers._log import set_up
from consumers._serve_calls import calls_of
from consumers._serve_labels import LABELS_WAITING_MAX, Labels
from consumers._serve_metrics import Meter, Metrics
from consumers._serve_oip import OPEN, Inference, add_inference
from consumers._serve_oip import SERVICE as OIP_SERVICE
from consumers._serve_outside import Outside
from consumers._serve_pool import Pool
from consumers._serve_predictions import Predictions, add_predictions
from consumers._serve_security import Tokens, server_credentials
from consumers._serve_sender import MakeProducer, Sender
from consumers._steer import Steering
from consumers.clean import find_writer
from consumers.settings import Settings
from stream.arrive.framing import Decoder
from stream.arrive.schema import EventSchema
from stream.clock import Clock, SystemClock
from stream.learn.warm import warm
from stream.limits import EXPOSURES_MAX
from stream.predict.batch import Columnar
from stream.predict.plane import Plane
from stream.spec import Spec
from stream.spec_load import event_schema

log = structlog.get_logger()
_YOUNG = 20_000  # objects made between two looks of the collector
CLOSE_S = 5.0  # for exposures and labels, each, when leaving


def make_decoder(spec: Spec, settings: Settings) -> Decoder:
    """Reads framed events as clean does; only one thread at a time asks who wrote them."""
    find, asking = find_writer(spec, settings), Lock()

    def find_alone(key: bytes | int) -> EventSchema | None:
        with asking:
            found: EventSchema | None = find(key)
            return found

    return Decoder(event_schema(spec), find_alone, discreet=bool(spec.event.private))


class PredictServer:
    """Everything of one prediction server, wired. `start`, look at `error` now and then, `close`."""

    def __init__(
        self,
        spec: Spec,
        settings: Settings,
        options: ServerOptions | None = None,
        clock: Clock | None = None,
        producer: MakeProducer | None = None,
    ) -> None:
        """`producer` makes those of exposures and labels; without it, the exposures' has a process of its own."""
        options = options or ServerOptions(message_bytes_max=settings.grpc_message_bytes_max)
        self._spec, self._settings = spec, settings
        self.plane = Plane(spec, make_decoder(spec, settings).decode)
        self._outside = Outside()
        exposures = Sender(settings, "exposures", EXPOSURES_MAX, producer or self._outside.make, prompt=False)
        self.exposures = Exposures(spec.topic("predictions"), exposures)
        self.labels = Labels(spec, Sender(settings, "labels", LABELS_WAITING_MAX, producer or make_producer))
        self._credentials = server_credentials(settings)
        self._meter = None if settings.metrics is None else Meter()
        self.metrics: Metrics | None = None
        self.server = self._make_server(options, clock or SystemClock())
        self._follower = Follower(spec, settings, self.plane, lambda: self.server.tell(True))
        if self._meter is not None:
            self._meter.registry.register(FollowState(self._follower))
        self._steering = Steering(spec, settings, self.plane)
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

        ours = Predictions(
            self.plane, columnar, self.exposures, self.labels, clock, leaving, pools, meter, options.gather_wait_s
        )
        self.quick = ours.quick
        oip = Inference(self.plane, columnar, self.quick, self.exposures, clock, leaving, side, meter)
        services = (
            Service(
                SERVICE,
                partial(add_predictions, ours),
                pools,
            ),
            Service(OIP_SERVICE, partial(add_inference, oip), open=OPEN),
        )
        tokens = Tokens.of(self._settings, side)
        told: Told = (lambda method, status: None) if meter is None else meter.call
        guards = (*(() if tokens is None else (tokens,)), *calls_of(self._spec, self._settings))
        server = Server(options, services, side, guards, told)
        if meter is not None:
            meter.watch(self.plane, server.pools, self.exposures.counts, clock)
        return server

    def start(self) -> int:
        """Listen and follow; returns the port. Raises HeadwaterError: address taken, no broker, no topic."""
        with broker_errors(self._settings), consuming(self._settings) as consumer:
            topics = [self._spec.topic(t) for t in ("models", "predictions", "labels")]
            partitions_of(consumer, topics, self._settings)
        self._steering.start()  # before any answer
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
        return self._follower.error or self._steering.error

    def close(self) -> None:
        """Leave in good order: calls first, then what they left to send. Bounded."""
        drained = self.server.drain()
        self._follower.stop()
        self._steering.stop()
        labels = self.labels.sender.close(CLOSE_S)
        dropped = self.exposures.close(CLOSE_S)
        self._outside.stop()
        if self.metrics is not None:
            self.metrics.close()
        log.info("left", drained=drained, exposures_dropped=dropped, labels_dropped=labels)


def settle() -> None:
    """Keep the collector from looking again at what the process has for good, and at each few calls at what is new."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG)


def serve(spec: Spec, settings: Settings, stop: Callable[[], bool], options: ServerOptions | None = None) -> None:
    """Serve until `stop()`. Raises HeadwaterError where a person can mend something."""
    set_up(settings, spec, "predict")
    warm(spec)
    server = PredictServer(spec, settings, options)
    settle()
    try:
        server.start()
        while not stop() and server.error is None:
            time.sleep(0.05)
    finally:
        server.close()
    if server.error is not None:
        raise server.error
