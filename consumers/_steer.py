"""The experiment topic → the assignment that answers. A thread of its own; no call ever waits for it.

Read from its beginning at each (re)connect, and to its end before anything is replaced: so a server that starts, or one
that lost Kafka for a while, never answers by a state that is past. Invariant: while Kafka is away the assignment in
place stays. A bug ends up in `error`, and the server must stop.
"""

import threading
import time

import structlog
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from consumers._control import Fold, connected, read_on
from consumers._kafka import broker_errors
from consumers.settings import Settings
from stream.errors import BrokerError
from stream.predict.plane import Plane
from stream.predict.steer import Assigner
from stream.spec import Spec

log = structlog.get_logger()
POLL_MS = 200
LOOK_S = 5.0  # between two looks for a topic that is not there yet; each is a connection
SILENCE_S_MAX = 30.0  # then the consumer is made anew: a connection that died unseen would hide a change
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.2, 5.0


class Steering:
    """Keeps `plane` at the newest state of the experiment."""

    def __init__(self, spec: Spec, settings: Settings, plane: Plane) -> None:
        self._spec, self._settings, self._plane = spec, settings, plane
        self._consumer: KafkaConsumer | None = None
        self._fold = Fold(spec)
        self._stopping = threading.Event()
        self._told, self._said = "", 0
        self._heard_s = self._pause_s = 0.0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="steer", daemon=True)

    def start(self) -> None:
        """Have the present state in place, then follow in the background. Raises BrokerError."""
        with broker_errors(self._settings):
            self._connect()
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Leave."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _connect(self) -> None:
        fold, consumer = Fold(self._spec), connected(self._spec, self._settings)
        if consumer is not None:
            try:
                read_on(consumer, fold)
            except BaseException:
                _close(consumer)
                raise
            self._consumer, self._fold = consumer, fold
            self._place()
        self._heard_s = time.monotonic()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn()
        except BaseException as e:
            self.error = e
            log.error("steering ended", error=f"{type(e).__name__} {e}")
        finally:
            _close(self._consumer)

    def _turn(self) -> None:
        """Read what is new, and put it in place. Trouble with Kafka is waited out."""
        try:
            if self._consumer is None:
                self._connect()
            if self._consumer is None:
                self._stopping.wait(LOOK_S)
                return
            batch = self._consumer.poll(timeout_ms=POLL_MS)
            self._pause_s, self._told = 0.0, ""
        except (KafkaError, BrokerError) as e:
            self._complain(f"{type(e).__name__} {e}")
            self._drop()
            self._pause_s = min(_PAUSE_S_MAX, max(_PAUSE_S_MIN, 2 * self._pause_s))
            self._stopping.wait(self._pause_s)
            return
        if batch:
            self._heard_s = time.monotonic()
            for records in batch.values():
                self._fold.take(records)
            self._place()
        elif time.monotonic() - self._heard_s > SILENCE_S_MAX:
            self._drop()

    def _place(self) -> None:
        state = self._fold.state
        if state.seq != self._plane.assignment.seq:
            self._plane.steer(Assigner(self._spec, state))
            last = {n: getattr(state.records[-1], n) for n in ("action", "who", "why")} if state.records else {}
            log.info("assignment changed", seq=state.seq, shares=dict(state.shares), ended=state.ended, **last)
        for offset, why in sorted(self._fold.passed_over.items())[self._said :]:
            log.warning("control record passed over", topic=self._spec.topic("experiment"), offset=offset, error=why)
        self._said = max(self._said, len(self._fold.passed_over))

    def _drop(self) -> None:
        _close(self._consumer)
        self._consumer, self._heard_s = None, time.monotonic()

    def _complain(self, error: str) -> None:
        if error != self._told:
            self._told = error
            log.warning("experiment topic not read; the assignment in place stays", error=error)


def _close(consumer: KafkaConsumer | None) -> None:
    if consumer is not None:
        try:
            consumer.close(autocommit=False, timeout_ms=1000)
        except KafkaError as e:
            log.debug("consumer not closed", error=str(e))
