"""Which steps a process runs, put together for the loop.

`headwater run clean encode join learn` fuses all four: between them data passes by function call, yet the training
log is still written, since it is what the models are a function of. Groups are named after the run's last step
before learn, so that a step keeps its place whether or not others run beside it; a changed cut is refused.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import structlog
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from consumers._busy import Busy
from consumers._front import Front
from consumers._kafka import Out, check_offset, consuming, group_offsets, lag, read_range
from consumers._metric import metric_out
from consumers._otel import spans_of
from consumers.clean import dead_letter
from consumers.learn import LearnStep
from consumers.settings import Settings
from stream.arrive.records import Records
from stream.block import Training, decode_training, encode_training, split_training
from stream.clock import Clock
from stream.errors import DataError, HeadwaterError
from stream.learn.warm import warm
from stream.spec import Spec

log = structlog.get_logger()
TELL_S = 1.0
ORDER = ("clean", "encode", "join", "learn")


def check_steps(steps: Sequence[str]) -> tuple[str, ...]:
    """The steps in data order. Raises DataError unless they are neighbours."""
    unknown = [s for s in steps if s not in ORDER]
    if unknown or not steps:
        raise DataError(f"steps: found {', '.join(unknown) or 'none'}; allowed: {', '.join(ORDER)}, evaluate")
    places = sorted({ORDER.index(s) for s in steps})
    if places != list(range(places[0], places[-1] + 1)):
        raise DataError(
            f"steps: found {', '.join(steps)}; steps of one process must be neighbours in {' → '.join(ORDER)}"
        )
    return tuple(ORDER[i] for i in places)


class Pipeline:
    """A contiguous run of clean → encode → join → learn. Implements the loop's Chain."""

    def __init__(self, spec: Spec, settings: Settings, steps: Sequence[str], clock: Clock) -> None:
        self.steps = check_steps(steps)
        self._spec, self._settings = spec, settings
        front = [s for s in self.steps if s != "learn"]
        self._front = Front(spec, settings, front, self._upstream_done) if front else None
        self._learn = LearnStep(spec, settings, clock) if "learn" in self.steps else None
        self.group = f"{spec.name}.{front[-1] if front else 'learn'}"
        self.shared = self.steps[-1] in ("clean", "encode")
        self.overlaps = not self.shared  # shards ask before each commit whether anybody else works here
        self._sent: deque[Training] = deque()  # taken, and not yet told to be written
        self._log = TopicPartition(spec.topic("training"), 0)
        self._busy = self._front.busy if self._front else Busy()
        self._busy.spans = spans_of(spec, "+".join(self.steps))
        if self._learn is not None:
            self._learn.spans = self._busy.spans
        self._clock, self._told_s = clock, clock.monotonic_s()

    @property
    def topics(self) -> list[str]:
        """See Chain."""
        return self._front.topics if self._front else [self._log.topic]

    @property
    def writes(self) -> list[str]:
        """See Chain."""
        by_step = {"clean": "clean", "encode": "features", "join": "training", "learn": "models"}
        last = {self.steps[-1], "join"} & set(self.steps)  # the training log is written even where learn is fused
        return [self._spec.topic(t) for t in ("dead", "metrics", *(by_step[s] for s in self.steps if s in last))]

    # -- start -----------------------------------------------------------------------------------------

    def begin(self, consumer: KafkaConsumer, committed: dict[TopicPartition, OffsetAndMetadata | None]) -> None:
        """See Chain."""
        self._refuse_other_cut()
        if self._learn is not None:
            warm(self._spec)
            for damaged in self._learn.begin():
                log.warning("snapshot passed over", reason=damaged)
        if self._front is not None:
            self._front.begin(consumer, committed)
            self._catch_up()
        elif self._learn is not None:
            consumer.seek(self._log, self._start_of_log(consumer))

    def _refuse_other_cut(self) -> None:
        """Positions of one cut of the steps mean nothing to another."""
        others = {tp.topic for tp in group_offsets(self._settings, self.group)} - set(self.topics)
        if others:
            raise HeadwaterError(
                f"group {self.group} last read {', '.join(sorted(others))}; `run {' '.join(self.steps)}` reads "
                f"{', '.join(self.topics)}; start the steps in the same groups as before, or use a new pipeline name"
            )

    def _catch_up(self) -> None:
        """Fused with learn: read what the training log holds beyond the snapshot, then go on by function call."""
        if self._learn is None:
            return
        with consuming(self._settings, batches=True) as consumer:
            consumer.assign([self._log])
            start, end = self._start_of_log(consumer), consumer.end_offsets([self._log])[self._log]
            for records in read_range(consumer, self._log, start, end):
                self._learn_records(records)
                self._learn.maybe_snapshot(caught_up=False)

    def _start_of_log(self, consumer: KafkaConsumer) -> int:
        """Where the learner goes on in the training log. Raises OffsetLost when that is no longer there."""
        assert self._learn is not None
        check_offset(consumer, self._log, self._learn.next_offset)
        return self._learn.next_offset

    def _upstream_done(self) -> bool:
        """Every event published so far has come through the steps before this process, and was read here.

        Goes up the chain by what each group reads: a step without a topic between runs in the process of the next.
        Where the topics end is asked last, so whatever moves meanwhile shows as lag.
        """
        assert self._front is not None
        read_to, topic, partitions = self._front.heads, self._front.head, len(self._front.heads)
        while topic != self._spec.topic("events"):
            step = "clean" if topic == self._spec.topic("clean") else "encode"
            marks = group_offsets(self._settings, f"{self._spec.name}.{step}")
            if len(marks) < partitions:
                return False  # it has not begun, or not all of its shards have
            read_to |= {tp: mark.offset for tp, mark in marks.items()}
            topic = next(iter(marks)).topic
        return lag(self._settings, read_to) == 0

    # -- work ------------------------------------------------------------------------------------------

    def paused(self) -> set[TopicPartition]:
        """See Chain."""
        return self._front.paused() if self._front else set()

    def feed(self, batch: Mapping[TopicPartition, Records], idle_s: float) -> None:
        """See Chain."""
        if self._front is not None:
            self._front.feed(batch, idle_s)
        elif self._learn is not None:
            for records in batch.values():
                self._learn_records(records)
        if self._learn is not None:
            self._learn.maybe_snapshot(caught_up=idle_s > 0)

    def _learn_records(self, records: Records) -> None:
        assert self._learn is not None
        for r in records:
            try:
                rows = decode_training(r.value or b"")
            except ValueError as e:
                self._learn.refuse(dead_letter(self._spec, r, "learn", "block.undecodable", str(e)), r.offset)
                continue
            with self._busy.step("learn", len(rows)) as work:
                work.ids, work.about["offset"] = [rows.block.ids], r.offset
                self._learn.learn(rows, r.offset)

    def take(self) -> list[Out]:
        """See Chain."""
        outs = self._learn.take_outs() if self._learn else []
        if self._front is not None:
            outs = self._front.take_outs() + outs
            sent = [piece for rows in self._front.take_training() for piece in split_training(rows)]
            outs = [Out(self._log.topic, encode_training(t), None, 0) for t in sent] + outs
            self._sent += sent
        return outs + self._pace()

    def _pace(self) -> list[Out]:
        """About once a second: rows and busy seconds of each step, for whoever watches."""
        now = self._clock.monotonic_s()
        if now - self._told_s < TELL_S:
            return []
        self._told_s = now
        return [
            metric_out(self._spec, "step", name, 0, int(v["rows"]), 0, v) for name, v in self._busy.totals().items()
        ]

    def marks(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """See Chain."""
        if self._front is not None:
            return self._front.marks()
        assert self._learn is not None
        return {self._log: OffsetAndMetadata(self._learn.next_offset, "{}", -1)}

    def written(self, outs: Sequence[Out], offsets: Sequence[int]) -> None:
        """See Chain. The training rows are durable now, so they may be learned."""
        if self._learn is not None:
            self._learn.written(outs)
        for out, offset in zip(outs, offsets, strict=True):
            if out.topic == self._log.topic:
                rows = self._sent.popleft()
                if self._learn is not None:
                    with self._busy.step("learn", len(rows)) as work:
                        work.ids, work.about["offset"] = [rows.block.ids], offset
                        self._learn.learn(rows, offset)

    def reached(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Chain."""
        if self._front is not None:
            self._front.reached(positions)
        elif self._learn is not None:
            self._learn.next_offset = max(self._learn.next_offset, positions[self._log])

    def finish(self) -> None:
        """Before leaving: a last snapshot of what was learned."""
        self._told_s = -TELL_S
        if self._learn is not None:
            self._learn.maybe_snapshot(caught_up=False, force=True)
