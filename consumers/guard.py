"""guard: guardrails watched while an experiment runs; an arm shown to be worse loses its share to the control.

It reads predictions and labels from their beginning, as the report does, and goes on reading; nothing is kept, so a
guard that was killed, or a second one beside it, finds the same and drains an arm once: the number of a control record
is taken only once. Invariant: nothing is drained but by a record that says who, when and why.
"""

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import structlog
from kafka import TopicPartition

from consumers._control import change, state_of
from consumers._guard_metrics import Teller
from consumers._kafka import broker_errors, make_consumer, partitions_of
from consumers._log import set_up
from consumers._read import decoder_for
from consumers.settings import Settings
from stream.clock import Clock, SystemClock
from stream.errors import DataError, HeadwaterError
from stream.experiment.collect import Collector
from stream.experiment.control import Control, State, drain
from stream.experiment.guard import Finding, findings
from stream.join.labels import Label, LabelReader
from stream.spec import Spec, control_of

log = structlog.get_logger()
WHO = "guardrail"
BUSY_SHARE = 4  # a look that took t is followed by a rest of at least so many times t


class _Settled(HeadwaterError):
    """The arm has no share any more: somebody else saw to it."""


@dataclass(frozen=True, slots=True)
class Look:
    """What one look found, and what it changed."""

    findings: list[Finding]
    drained: list[Control]


class Guard:
    """Reads on at each look. Raises DataError for a spec without guardrails, TopicMissing, BrokerError."""

    def __init__(self, spec: Spec, settings: Settings, clock: Clock | None = None) -> None:
        if not spec.experiment.guardrails:
            raise DataError("experiment.guardrails: found none; at least one is wanted, {metric: ...}")
        self._spec, self._settings, self._clock = spec, settings, clock or SystemClock()
        self._collector, self._labels = Collector(spec), LabelReader(spec)
        self._decode = decoder_for(spec, "predictions")
        with broker_errors(settings):
            self._consumer = make_consumer(settings, None)
            try:
                topics = [spec.topic(t) for t in ("predictions", "labels")]
                self._partitions: list[TopicPartition] = partitions_of(self._consumer, topics, settings)
                self._consumer.assign(self._partitions)
                for tp, first in self._consumer.beginning_offsets(self._partitions).items():
                    self._consumer.seek(tp, first)
            except BaseException:
                self.close()
                raise

    def look(self) -> Look:
        """Read what is new, judge, and drain who is shown to be worse."""
        found = self.judge()
        drained = [self._drain(f) for f in {f.arm: f for f in found if f.worse}.values()]
        return Look(found, [d for d in drained if d is not None])

    def judge(self) -> list[Finding]:
        """Read what is new, and judge; nothing is drained."""
        with broker_errors(self._settings):
            ends = self._consumer.end_offsets(self._partitions)
            while any(self._consumer.position(tp) < end for tp, end in ends.items()):
                for tp, records in self._consumer.poll(timeout_ms=200).items():
                    self._take(tp, records)
        exposed, kept = self._collector.exposed()
        outcomes = self._collector.outcomes(kept)
        return findings(self._spec, state_of(self._spec, self._settings), exposed, outcomes)

    def _take(self, tp: TopicPartition, records: list[object]) -> None:
        labels = tp.topic == self._spec.topic("labels")
        for r in records:
            self._label(r) if labels else self._exposure(r)

    def _exposure(self, r: object) -> None:
        try:
            self._collector.exposure(self._decode(r.value or b""), (r.partition, r.offset))  # type: ignore[attr-defined]
        except ValueError:
            self._collector.counts["undecodable exposures"] += 1

    def _label(self, r: object) -> None:
        label = self._labels.read_bytes(r.value or b"", r.offset, r.timestamp)  # type: ignore[attr-defined]
        if isinstance(label, Label):
            self._collector.label(label)

    def _drain(self, finding: Finding) -> Control | None:
        why = finding.why(control_of(self._spec))

        def make(state: State) -> Control:
            if state.ended or not state.shares[finding.arm]:
                raise _Settled(finding.arm)
            return drain(self._spec, state, finding.arm, WHO, self._clock.wall_ms(), why)

        try:
            done = change(self._spec, self._settings, make)
        except _Settled:
            return None
        except DataError as e:  # another change came first: the next look sees what is left to do
            log.warning("not drained yet", arm=finding.arm, error=str(e))
            return None
        log.warning("arm drained", arm=finding.arm, seq=done.record.seq, why=why, shares=dict(done.after.shares))
        return done.record

    def close(self) -> None:
        """Leave."""
        self._consumer.close(autocommit=False, timeout_ms=2000)


def watch(
    spec: Spec, settings: Settings, stop: Callable[[], bool], every_s: float, told: Callable[[Look], None]
) -> None:
    """Look again and again until `stop()`; `told` hears of each look, and so does the metrics topic.

    Log lines go where those of steps go.
    """
    set_up(settings, spec, "guard")
    with closing(Guard(spec, settings)) as guard, closing(Teller(spec, settings)) as teller:
        while not stop():
            begun_s = time.monotonic()
            look = guard.look()
            teller.tell(look.findings)
            told(look)
            until_s = time.monotonic() + max(every_s, BUSY_SHARE * (time.monotonic() - begun_s))
            while not stop() and time.monotonic() < until_s:
                time.sleep(0.05)
