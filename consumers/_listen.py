"""A thread that follows a topic with a consumer of its own, and outlives every trouble with Kafka.

No call ever waits for it. Invariants: at each (re)connect the topic is read anew, as `_connect` of the subclass says; a
consumer that hears nothing for long is replaced, since a connection that died unseen would hide a change. What is no
trouble of the outside but a bug ends up in `error`, and the process must stop.
"""

import threading
import time
from typing import Any

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers._kafka import broker_errors
from consumers.settings import Settings
from stream.errors import BrokerError

log = structlog.get_logger()
POLL_MS = 200
LOOK_S = 5.0  # between two looks for a topic that is not there yet; each is a connection
SILENCE_S_MAX = 30.0
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.2, 5.0

Batch = dict[TopicPartition, list[Any]]


class Listener:
    """What all that follow a topic have in common."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings = settings
        self._consumer: KafkaConsumer | None = None
        self._stopping = threading.Event()
        self._told = ""  # the last complaint, so that it is said once
        self._heard_s = self._pause_s = 0.0
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _connect(self) -> KafkaConsumer | None:
        """A consumer at the place from which to read; None where the topic is not there yet."""
        raise NotImplementedError

    def _turn(self, batch: Batch | None) -> None:
        """Work on what came: often nothing; None where Kafka is away."""
        raise NotImplementedError

    def _away(self, error: Exception) -> None:
        """Complain that the topic can't be read."""
        raise NotImplementedError

    def start(self) -> None:
        """Connect, then follow in the background. Raises BrokerError, TopicMissing."""
        with broker_errors(self._settings):
            self._begin()
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Leave."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _begin(self) -> None:
        self._consumer = self._connect()
        self._heard_s = time.monotonic()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._turn(self._poll())
        except BaseException as e:
            self.error = e
            log.error("reader of a topic ended", thread=self._thread.name, error=f"{type(e).__name__} {e}")
        finally:
            close(self._consumer)

    def _poll(self) -> Batch | None:
        """What is new; None where Kafka is away, after a pause that grows with each failure."""
        try:
            if self._consumer is None:
                self._begin()
            if self._consumer is None:
                self._stopping.wait(LOOK_S)
                return {}
            batch: Batch = self._consumer.poll(timeout_ms=POLL_MS)
        except (KafkaError, BrokerError) as e:
            self._away(e)
            self._drop()
            self._pause_s = min(_PAUSE_S_MAX, max(_PAUSE_S_MIN, 2 * self._pause_s))
            self._stopping.wait(self._pause_s)
            return None
        self._pause_s = 0.0
        if batch:
            self._heard_s = time.monotonic()
        elif time.monotonic() - self._heard_s > SILENCE_S_MAX:
            self._drop()
        return batch

    def _drop(self) -> None:
        close(self._consumer)
        self._consumer, self._heard_s = None, time.monotonic()

    def _complain(self, what: str, error: Exception, **where: Any) -> None:
        """Say it, unless it was the last thing said."""
        text = f"{what}: {type(error).__name__} {error}"
        if text != self._told:
            self._told = text
            log.warning(what, error=f"{type(error).__name__} {error}", **where)


def close(consumer: KafkaConsumer | None) -> None:
    """Close it, if there is one; a broker that is away is no trouble."""
    if consumer is not None:
        try:
            consumer.close(autocommit=False, timeout_ms=1000)
        except KafkaError as e:
            log.debug("consumer not closed", error=str(e))
