"""Records that leave the server for Kafka behind the callers' backs: a bounded queue, a thread, a producer.

Invariant: to hand one over never waits. What waits is bounded; what finds no room is refused at once, and
what Kafka did not confirm is reported lost. A producer that failed is never used again: a new one is made,
with growing pauses, while what waits keeps waiting.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

from consumers._kafka import Out, make_producer
from consumers.settings import Settings

log = structlog.get_logger()
_BATCH_MAX = 500
_IDLE_S = 0.2
LOOK_S = 0.05  # how long what is not prompt may wait for the thread to look
_BREATH = 16  # records made between two moments in which others may run
_PAUSE_S_MIN, _PAUSE_S_MAX = 0.1, 5.0
MakeProducer = Callable[[Settings], KafkaProducer]


class Parcel(Protocol):
    """Something to send, and someone to tell; its methods are called in the sender's thread."""

    def out(self) -> Out | None:
        """The record, made as late as this; None when it is no longer wanted."""
        ...

    def sent(self, offset: int) -> None:
        """Kafka has it, at this offset."""
        ...

    def lost(self, why: str, maybe_written: bool) -> None:
        """Kafka did not confirm it."""
        ...


class Sender:
    """A bounded queue, a thread, an idempotent producer.

    prompt: what is offered wakes the thread; else it looks every LOOK_S, which spares the callers its waking up.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        waiting_max: int,
        make: MakeProducer = make_producer,
        prompt: bool = True,
    ) -> None:
        self._settings, self._name, self._make = settings, name, make
        self._queue: deque[Parcel] = deque()
        self._max, self._prompt = waiting_max, prompt
        self._came = threading.Event()
        self._closing = threading.Event()
        self._left = False  # closed, and nobody waits any more
        self._producer: KafkaProducer | None = None
        self._in_hand = 0
        self._pause_s = 0.0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def offer(self, parcel: Parcel) -> bool:
        """Take it, or say at once that there is no room."""
        if len(self._queue) >= self._max or self._closing.is_set():
            return False
        self._queue.append(parcel)
        if self._prompt:
            self._came.set()
        return True

    @property
    def waiting(self) -> int:
        """How many are neither sent nor lost."""
        return len(self._queue) + self._in_hand

    def close(self, timeout_s: float) -> int:
        """Send what waits, for at most this long; returns how many were left behind."""
        self._closing.set()
        self._came.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._left = True
        return self.waiting

    def _run(self) -> None:
        while not self._closing.is_set() or not (self._left or not self._queue):
            if self._ready():
                batch = self._next()
                if batch:
                    self._in_hand = len(batch)
                    self._send(batch)
                    self._in_hand = 0
        self._drop_producer(timeout_s=1.0)

    def _ready(self) -> bool:
        """Have a producer; after a failure only once its pause is over."""
        if self._producer is not None:
            return True
        if self._pause_s:
            self._closing.wait(self._pause_s)
            if self._closing.is_set():
                time.sleep(min(self._pause_s, _IDLE_S))
        try:
            self._producer = self._make(self._settings)
        except KafkaError as e:
            self._failed(e)
            return False
        return True

    def _failed(self, error: Exception) -> None:
        log.warning("not sent to Kafka", sender=self._name, error=f"{type(error).__name__} {error}")
        self._pause_s = min(_PAUSE_S_MAX, max(_PAUSE_S_MIN, 2 * self._pause_s))
        self._drop_producer(timeout_s=0.0)

    def _drop_producer(self, timeout_s: float) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            try:
                producer.close(timeout=timeout_s)
            except KafkaError as e:
                log.debug("producer not closed", sender=self._name, error=str(e))

    def _next(self) -> list[Parcel]:
        if not self._queue:
            self._came.wait(_IDLE_S if self._prompt else LOOK_S)
            self._came.clear()
        batch: list[Parcel] = []
        with contextlib.suppress(IndexError):
            while len(batch) < _BATCH_MAX:
                batch.append(self._queue.popleft())
        return batch

    def _send(self, batch: list[Parcel]) -> None:
        assert self._producer is not None
        sent: list[tuple[Parcel, Any]] = []
        error: Exception | None = None
        for number, parcel in enumerate(batch):
            if number % _BREATH == 0:
                time.sleep(0)  # callers wait for the interpreter meanwhile
            out = parcel.out()
            if out is not None and error is None:
                try:
                    future = self._producer.send(out.topic, value=out.value, key=out.key, partition=out.partition)
                    sent.append((parcel, future))
                except KafkaError as e:
                    error = e
            if out is not None and error is not None:
                parcel.lost(f"{type(error).__name__} {error}", False)
        try:
            self._producer.flush(self._settings.delivery_timeout_ms / 1000)
        except KafkaError as e:
            error = e
        for parcel, future in sent:
            if future.succeeded():
                parcel.sent(int(future.value.offset))
            else:
                error = future.exception or error or TimeoutError("no answer")
                parcel.lost(f"{type(error).__name__} {error}", True)
        if error is None:
            self._pause_s = 0.0
        else:
            self._failed(error)
