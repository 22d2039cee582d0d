"""Records that leave the server for Kafka behind the callers' backs: exposures and labels, a thread for each.

Invariant: to hand one over never waits. What waits is bounded; what finds no room is refused at once, and
what Kafka did not confirm is reported lost. A producer that failed is never used again: a new one is made,
with growing pauses, while what waits keeps waiting.
"""

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import structlog
from kafka import KafkaProducer
from kafka.errors import KafkaError

import schemas
from consumers._kafka import Out, make_producer
from consumers.settings import Settings
from stream.predict.answers import REFUSED, Answers
from stream.predict.plane import Answer

log = structlog.get_logger()
_BATCH_MAX = 500
_IDLE_S = 0.2
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
    """A bounded queue, a thread, an idempotent producer."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        waiting_max: int,
        make: MakeProducer = make_producer,
    ) -> None:
        self._settings, self._name, self._make = settings, name, make
        self._queue: queue.Queue[Parcel] = queue.Queue(waiting_max)
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
        if self._closing.is_set():
            return False
        try:
            self._queue.put_nowait(parcel)
        except queue.Full:
            return False
        return True

    @property
    def waiting(self) -> int:
        """How many are neither sent nor lost."""
        return self._queue.qsize() + self._in_hand

    def close(self, timeout_s: float) -> int:
        """Send what waits, for at most this long; returns how many were left behind."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._left = True
        return self.waiting

    def _run(self) -> None:
        while not self._closing.is_set() or not (self._left or self._queue.empty()):
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
        batch: list[Parcel] = []
        with contextlib.suppress(queue.Empty):
            batch.append(self._queue.get(timeout=_IDLE_S))
            while len(batch) < _BATCH_MAX:
                batch.append(self._queue.get_nowait())
        return batch

    def _send(self, batch: list[Parcel]) -> None:
        assert self._producer is not None
        sent: list[tuple[Parcel, Any]] = []
        error: Exception | None = None
        for parcel in batch:
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


@dataclass(frozen=True, slots=True)
class _Exposure:
    owner: "Exposures"
    answer: Answer
    served_ms: int
    latency_us: int
    dropped_before: int

    def out(self) -> Out:
        return self.owner.record(self)

    def sent(self, offset: int) -> None:
        self.owner.count_sent()

    def lost(self, why: str, maybe_written: bool) -> None:
        self.owner.count_dropped()


@dataclass(frozen=True, slots=True)
class _RowExposure:
    """A row of a batch; its answer is made when it is sent."""

    owner: "Exposures"
    answers: Answers
    row: int
    served_ms: int
    latency_us: int
    dropped_before: int

    def out(self) -> Out:
        answer = self.answers.at(self.row)
        return self.owner.record(_Exposure(self.owner, answer, self.served_ms, self.latency_us, self.dropped_before))

    def sent(self, offset: int) -> None:
        self.owner.count_sent()

    def lost(self, why: str, maybe_written: bool) -> None:
        self.owner.count_dropped()


class Exposures:
    """What was answered goes to `predictions`, keyed by event id. `dropped` counts what did not get there."""

    def __init__(self, topic: str, sender: Sender) -> None:
        self._topic, self._sender = topic, sender
        self._codec = schemas.codec("prediction")
        self._counting = threading.Lock()
        self._sent = self._dropped = 0
        self._faulty: set[str] = set()

    def start(self) -> None:
        """Begin to send."""
        self._sender.start()

    def put(self, answer: Answer, served_ms: int, latency_us: int) -> None:
        """Log an answer; never waits."""
        if not self._sender.offer(_Exposure(self, answer, served_ms, latency_us, self._dropped)):
            self.count_dropped()

    def put_all(self, answers: Answers, served_ms: int, latency_us: int) -> None:
        """Log the answered rows of a batch, up to the first that finds no room; never waits."""
        rows = np.flatnonzero(answers.arm != REFUSED).tolist()
        for done, row in enumerate(rows):
            if not self._sender.offer(_RowExposure(self, answers, row, served_ms, latency_us, self._dropped)):
                self.count_dropped(len(rows) - done)
                return

    def counts(self) -> tuple[int, int, int]:
        """sent, dropped, waiting."""
        with self._counting:
            return self._sent, self._dropped, self._sender.waiting

    def close(self, timeout_s: float) -> int:
        """Send what waits, for at most this long; what is left counts as dropped. Returns all dropped."""
        left = self._sender.close(timeout_s)
        with self._counting:
            self._dropped += left
            return self._dropped

    def count_sent(self) -> None:
        """One more is in Kafka."""
        with self._counting:
            self._sent += 1

    def count_dropped(self, count: int = 1) -> None:
        """So many more are not."""
        with self._counting:
            self._dropped += count

    def _shadows(self, answer: Answer) -> list[dict[str, Any]]:
        """What shadow arms say, scored here and now; a faulty one is told of once."""
        found = [s._asdict() for s in answer.shadows.at(answer.row)]
        for arm in answer.shadows.faults.keys() - self._faulty:
            self._faulty.add(arm)
            log.warning("shadow arm gives no scores", arm=arm, error=answer.shadows.faults[arm])
        return found

    def record(self, exposure: _Exposure) -> Out:
        """The record of the predictions topic."""
        a = exposure.answer
        value = {
            "prediction_id": a.prediction_id,
            "id": a.event_id,
            "unit": a.unit,
            "arm": a.arm,
            "propensity": a.propensity,
            "score": a.score,
            "scores": a.scores,
            "event_time_ms": a.event_time_ms,
            "served_ms": exposure.served_ms,
            "latency_us": exposure.latency_us,
            "model_generation": a.model.generation,
            "model_sha256": a.model.sha256,
            "trained_label_offset": a.model.label_offset,
            "staleness_ms": a.staleness_ms,
            "experiment": a.experiment,
            "spec_hash": a.spec_hash,
            "dropped_before": exposure.dropped_before,
            "assigned": a.assigned,
            "control_seq": a.control_seq,
            "shadows": self._shadows(a),
        }
        return Out(self._topic, self._codec.encode(value), a.event_id.encode())
