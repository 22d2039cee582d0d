"""The experiment as the page shows it: the report's analysis, of what was read so far, again and again.

It reads predictions and labels from their beginning, as `headwater experiment report` does, so a comparison holds at
every look. Reading ends at a bound: then the comparison is that of the first so many, which is as valid, and a note
says so. Looking costs: after each look it rests so long that looking takes a small share of the time.
"""

import math
import time
from typing import Any

import numpy as np
from kafka import KafkaConsumer
from kafka.errors import KafkaError

from consumers._kafka import broker_errors, make_consumer, partitions_of
from consumers._read import decoder_for
from consumers.monitor.state import HISTORY_MAX, Compared, Experiment, SampleRatio
from consumers.monitor.tail import offsets
from consumers.settings import Settings
from stream.block import I64
from stream.errors import BrokerError, DataError
from stream.experiment.collect import Collector
from stream.experiment.control import State, present_shares
from stream.experiment.measure import METRICS
from stream.experiment.report import Comparison, Question, Report, analyse
from stream.join.labels import Label, LabelReader
from stream.spec import Spec, control_of

EXPOSURES_MAX, LABELS_MAX = 100_000, 300_000
READ_S_MAX, READ_CPU_S_MAX = 5.0, 0.5  # of one look
REST = 9  # times what a look took of the processor
TIMES_MAX = 4_000


def goal_of(spec: Spec) -> str:
    """The metric that decides: that of the first guardrail, or the one with bounds."""
    if spec.experiment.guardrails:
        return spec.experiment.guardrails[0].metric
    return next((m.name for m in METRICS[spec.task] if m.bounded), METRICS[spec.task][0].name)


class Compare:
    """`look` now and then, from one thread; `told` from any. Raises BrokerError, TopicMissing."""

    def __init__(self, spec: Spec, settings: Settings) -> None:
        self._spec, self._settings, self._goal = spec, settings, goal_of(spec)
        self._collector, self._labels = Collector(spec), LabelReader(spec)
        self._decode = decoder_for(spec, "predictions")
        self._consumer: KafkaConsumer | None = None
        self._read_to: dict[Any, int] = {}
        self._exposures = self._outcomes = 0
        self._clock: list[tuple[int, int]] = []  # the labels' clock, and Kafka's time when it came so far
        self._due_s = 0.0
        self._comparisons: list[Compared] = []
        self._ratio: SampleRatio = {"p": None, "holds": None}
        self.note = ""

    def look(self, state: State) -> None:
        """Read on, and analyse, if it is due."""
        if time.monotonic() < self._due_s:
            return
        begun_s = time.thread_time()
        try:
            if not self._full and self._read():
                self._analyse(state)
        except DataError as e:
            self.note = f"the experiment is not compared: {e}"
        finally:
            self._due_s = time.monotonic() + max(0.5, REST * (time.thread_time() - begun_s))

    @property
    def _full(self) -> bool:
        return self._exposures >= EXPOSURES_MAX or self._outcomes >= LABELS_MAX

    def _read(self) -> bool:
        """What is new, for a while; whether anything was. Labels first up to their end: an outcome before its exposure
        only waits, and both are counted in the order of the labels."""
        before = self._exposures, self._outcomes
        until_s, until_cpu_s = time.monotonic() + READ_S_MAX, time.thread_time() + READ_CPU_S_MAX
        try:
            with broker_errors(self._settings):
                consumer = self._consumer = self._consumer or self._connect()
                ends = offsets(consumer.end_offsets, consumer.assignment())
                while any(consumer.position(tp) < end for tp, end in ends.items()):
                    for tp, records in consumer.poll(timeout_ms=100).items():
                        self._take(tp.topic == self._spec.topic("labels"), records)
                    if self._full or time.monotonic() > until_s or time.thread_time() > until_cpu_s:
                        break
                behind = sum(max(0, end - consumer.position(tp)) for tp, end in ends.items())
                self._read_to = {tp: consumer.position(tp) for tp in ends}
        except BrokerError:
            self.close()
            raise
        self.note = self._note(behind)
        return (self._exposures, self._outcomes) != before

    def _connect(self) -> KafkaConsumer:
        consumer = make_consumer(self._settings, None)
        try:
            topics = [self._spec.topic(t) for t in ("predictions", "labels")]
            partitions = partitions_of(consumer, topics, self._settings)
            consumer.assign(partitions)
            for tp, first in offsets(consumer.beginning_offsets, partitions).items():
                consumer.seek(tp, max(first, self._read_to.get(tp, first)))
        except BaseException:
            consumer.close(autocommit=False, timeout_ms=500)
            raise
        return consumer

    def _take(self, labels: bool, records: list[Any]) -> None:
        for r in records:
            if labels:
                self._outcomes += 1
                label = self._labels.read_bytes(r.value or b"", r.offset, r.timestamp)
                if isinstance(label, Label):
                    self._collector.label(label)
                    self._tick(label.time_ms, r.timestamp)
                continue
            self._exposures += 1
            try:
                self._collector.exposure(self._decode(r.value or b""), (r.partition, r.offset))
            except ValueError:
                self._collector.counts["undecodable exposures"] += 1

    def _tick(self, clock_ms: int, at_ms: int) -> None:
        if not self._clock or clock_ms > self._clock[-1][0]:
            self._clock.append((clock_ms, at_ms))
            if len(self._clock) > TIMES_MAX:
                self._clock = self._clock[::2]

    def _note(self, behind: int) -> str:
        if self._full:
            return (
                f"the comparison is that of the first {self._exposures:,} answers and {self._outcomes:,} labels; "
                "`headwater experiment report SPEC` takes all"
            )
        return f"the comparison has {behind:,} records still to read" if behind > 10_000 else ""

    def _analyse(self, state: State) -> None:
        exposed, kept = self._collector.exposed()
        outcomes = self._collector.outcomes(kept)
        asked = Question(state=state, metrics=(self._goal,))
        report = analyse(self._spec, exposed, outcomes, self._collector.counts, asked)
        [of] = report.metrics
        self._comparisons = [self._compared(c, outcomes.known_ms) for c in of.comparisons]
        self._ratio = _ratio(report)

    def _compared(self, c: Comparison, known_ms: I64) -> Compared:
        clock = np.array(self._clock, np.int64).reshape(-1, 2)
        series = []
        for n, point in zip(c.at, c.points, strict=True):
            if math.isfinite(point.high - point.low) and len(clock):
                at = min(int(np.searchsorted(clock[:, 0], known_ms[n - 1])), len(clock) - 1)
                figures = (float(f"{x:.5g}") for x in (point.estimate, point.low, point.high))
                series.append([float(clock[at, 1]), *figures])
        verdict = c.verdict if c.verdict in ("better", "worse") else "undecided"
        now = {n: x if math.isfinite(x) else None for n, x in
               (("estimate", c.now.estimate), ("low", c.now.low), ("high", c.now.high))}  # fmt: skip
        return {"arm": c.arm, "n": c.now.n, "verdict": verdict, "series": series, **now}  # type: ignore[typeddict-item]

    def told(self, state: State) -> Experiment | None:
        """For the page; None where there is nothing to compare and nobody ever changed anything."""
        spec = self._spec
        shares = present_shares(state)
        if sum(s > 0 for s in shares.values()) < 2 and not state.records:
            return None
        return {
            "name": spec.experiment.name,
            "salt": spec.experiment.salt,
            "control": control_of(spec),
            "goal_metric": self._goal,
            "weights": shares,
            "history": [
                {"seq": r.seq, "when_ms": r.when_ms, "action": r.action, "arm": r.arm, "who": r.who, "why": r.why,
                 "weights": dict(r.weights)}
                for r in state.records[-HISTORY_MAX:]
            ],
            "comparisons": self._comparisons,
            "sample_ratio": self._ratio,
        }  # fmt: skip

    def close(self) -> None:
        """Leave the broker; the next look connects anew."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            try:
                consumer.close(autocommit=False, timeout_ms=500)
            except (KafkaError, OSError):
                return


def _ratio(report: Report) -> SampleRatio:
    line = next((x for x in report.ratio if x.dimension == "all"), None)
    if line is None:
        return {"p": None, "holds": None}
    return {"p": line.corrected, "holds": not line.broken}
