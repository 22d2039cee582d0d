"""What was answered → the predictions topic, behind the callers' backs.

Invariant: to log an answer never waits; what finds no room, and what Kafka did not confirm, is counted as dropped.
"""

import threading
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import structlog

import schemas
from consumers._kafka import Out
from consumers._serve_log import QuickLog
from consumers._serve_sender import Sender
from stream.predict.answers import REFUSED, Answers
from stream.predict.plane import Answer
from stream.predict.quick.plane import Quick, answer_of

log = structlog.get_logger()


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


class _QuickExposure(NamedTuple):
    """An answer of the quick way; all else of it is made when it is sent."""

    owner: "Exposures"
    quick: Quick
    served_ms: int
    latency_us: int
    dropped_before: int

    def out(self) -> Out:
        if not self.quick.shadows:
            return self.owner.quick_record(self.quick, self.served_ms, self.latency_us, self.dropped_before)
        answer = answer_of(self.quick)
        return self.owner.record(_Exposure(self.owner, answer, self.served_ms, self.latency_us, self.dropped_before))

    def sent(self, offset: int) -> None:
        self.owner.count_sent()

    def lost(self, why: str, maybe_written: bool) -> None:
        self.owner.count_dropped()


class Exposures:
    """What was answered goes to `predictions`, keyed by event id. `dropped` counts what did not get there."""

    def __init__(self, topic: str, sender: Sender) -> None:
        self._topic, self._sender = topic, sender
        self._codec, self._quick = schemas.codec("prediction"), QuickLog()
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

    def put_quick(self, quick: Quick, served_ms: int, latency_us: int) -> None:
        """As `put`."""
        if not self._sender.offer(_QuickExposure(self, quick, served_ms, latency_us, self._dropped)):
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

    def quick_record(self, quick: Quick, served_ms: int, latency_us: int, dropped_before: int) -> Out:
        """The record of a quick answer."""
        value = self._quick.encode(quick, served_ms, latency_us, dropped_before)
        return Out(self._topic, value, quick.event_id.encode())

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
