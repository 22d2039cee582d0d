"""The one loop: poll → work → commit. Every step, alone or fused with others, runs in it.

What is done between two commits is either all visible or not at all. On a restart the marks of the last commit say
where to go on. Any exception ends the process (see _checkpoint); whoever supervises it starts a new one.

While there is a backlog, what comes next is read and worked through while a commit is under way, in a thread of its
own: a broker's answer takes longer than the work. It is committed only after that, and of a commit that fails nothing
outlives the process, so nobody sees a difference. docs/decisions/overlapped-commits.md has the reasons.
"""

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import structlog
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import OffsetOutOfRangeError
from kafka.structs import OffsetAndMetadata

from consumers import _checkpoint
from consumers._batches import poll
from consumers._kafka import Out, broker_errors, check_offset, make_consumer, make_producer, partitions_of
from consumers._watchdog import Watchdog
from consumers.settings import Settings
from stream.arrive.records import Records
from stream.errors import BrokerError, DataError, OffsetLost

log = structlog.get_logger()
POLL_MS = 50
UNDER_WAY_POLL_MS = 2  # while a commit is under way, its end is not to wait for records
ROWS_BEFORE_COMMIT = 40_000
BACKLOG_LINGER = 5
BACKLOG_ROWS = 1_000  # a poll that gives this many says that there is a backlog


class Chain(Protocol):
    """A run of steps, as the loop sees it."""

    group: str
    shared: bool  # its partitions may be shared out among several processes
    overlaps: bool  # it may be fed, and `take` called, before `written` tells of the commit before

    @property
    def topics(self) -> list[str]:
        """Full names of the topics that are read."""
        ...

    @property
    def writes(self) -> list[str]:
        """Full names of the topics that are written."""
        ...

    def begin(self, consumer: KafkaConsumer, committed: dict[TopicPartition, OffsetAndMetadata | None]) -> None:
        """Take up the marks; the consumer must stand where reading goes on afterwards."""
        ...

    def paused(self) -> set[TopicPartition]:
        """Partitions not to read now."""
        ...

    def feed(self, batch: Mapping[TopicPartition, Records], idle_s: float) -> None:
        """Work through one poll's records (maybe none). idle_s: since when there has been nothing to read, or 0."""
        ...

    def take(self) -> list[Out]:
        """What is to be sent, once."""
        ...

    def marks(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """What is to be committed with it."""
        ...

    def written(self, outs: Sequence[Out], offsets: Sequence[int]) -> None:
        """The records of a `take` are committed, at these offsets; told in the order of the takes."""
        ...

    def reached(self, positions: dict[TopicPartition, int]) -> None:
        """All is read up to these positions, Kafka's own transaction markers included."""
        ...

    def finish(self) -> None:
        """The process is about to leave; what `take` gives afterwards is committed last."""
        ...


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A commit, and what it commits."""

    result: Future[list[int]]
    outs: list[Out]
    marks: dict[TopicPartition, OffsetAndMetadata]


class Loop:
    """One process's consumer, producer and chain. `run` ends when `stop()` says so."""

    def __init__(self, chain: Chain, settings: Settings) -> None:
        self._chain, self._settings = chain, settings
        self._watchdog = Watchdog()
        self._worked_s: float | None = None
        self._rows = 0
        self._behind = False
        self._idle_since_s: float | None = None
        self._rested: dict[TopicPartition, int] = {}
        self._committed: dict[TopicPartition, int | None] = {}
        self._under_way: UnderWay | None = None

    def run(self, stop: Callable[[], bool]) -> None:
        """Work until `stop()`; then commit what is finished and leave."""
        _calm_collector()
        with broker_errors(self._settings), ThreadPoolExecutor(1, "commit") as self._committer:
            self._producer = self._make_producer()
            self._consumer = make_consumer(self._settings, self._chain.group, batches=True)
            try:
                self._assign()
                log.info("started", group=self._chain.group, topics=self._chain.topics)
                while not stop():
                    self._turn()
                self._commit()
                self._settle()
                self._chain.finish()
                self._commit()
                self._settle()
            except OffsetOutOfRangeError as e:
                raise self._lost(e) from e
            finally:
                self._consumer.close(autocommit=False, timeout_ms=2000)
            self._producer.close(timeout=2)

    def _make_producer(self) -> KafkaProducer:
        """Its transactional id names the shard, so a new process fences out the one before."""
        producer = make_producer(self._settings, f"{self._chain.group}-{self._settings.shard.replace('/', '-of-')}")
        with self._watchdog.guard(self._settings.commit_timeout_s + 30, "the start of the transactional producer"):
            producer.init_transactions()
        return producer

    def _assign(self) -> None:
        """Take this shard's partitions, by arithmetic, and stand where their last commit says."""
        number, of = map(int, self._settings.shard.split("/"))
        if of > 1 and not self._chain.shared:
            raise DataError(
                f"shard {self._settings.shard}: {self._chain.group} is one process; only clean and encode share"
            )
        partitions = partitions_of(self._consumer, self._chain.topics, self._settings)
        partitions_of(self._consumer, self._chain.writes, self._settings)  # a missing one is said now, not at a commit
        for topic in self._chain.writes:
            self._producer.partitions_for(topic)
        mine = [tp for tp in partitions if tp.partition % of == number]
        if not mine:
            raise DataError(f"shard {self._settings.shard}: {len(partitions)} partitions leave none for it")
        self._consumer.assign(mine)
        committed = {tp: self._consumer.committed(tp, metadata=True) for tp in mine}
        for tp, mark in committed.items():
            if mark is None:
                self._consumer.seek_to_beginning(tp)
            else:
                check_offset(self._consumer, tp, mark.offset)
                self._consumer.seek(tp, mark.offset)
        self._committed = {tp: mark.offset if mark else None for tp, mark in committed.items()}
        self._chain.begin(self._consumer, committed)

    def _turn(self) -> None:
        held, assigned = self._chain.paused(), self._consumer.assignment()
        self._consumer.pause(*(held & assigned))
        self._consumer.resume(*(assigned - held))
        batch = poll(self._consumer, self._poll_ms())
        if batch:
            self._feed(batch)
            if self._is_time():
                self._commit()
            return
        if self._worked_s is not None:
            self._commit()
        self._settle()  # all that was read is learned before the chain is told that all is read
        self._feed(batch)
        self._rest()

    def _feed(self, batch: Mapping[TopicPartition, Records]) -> None:
        rows = sum(map(len, batch.values()))
        self._rows, self._behind = self._rows + rows, rows >= BACKLOG_ROWS
        self._chain.feed(batch, self._idle_s(bool(batch)))
        if batch and self._worked_s is None:
            self._worked_s = time.monotonic()

    def _is_time(self) -> bool:
        """Whether to commit now: when work has waited long enough, is a lot, or the commit before it is through."""
        through = self._under_way is not None and (self._under_way.result.done() or not self._behind)
        return through or self._lingered() or self._rows >= ROWS_BEFORE_COMMIT

    def _rest(self) -> None:
        """Nothing to read: commit what time alone brought forth, and positions beyond transaction markers."""
        positions = (
            {tp: self._consumer.position(tp) for tp in self._consumer.assignment()} if self._idle_since_s else {}
        )
        moved = positions != self._rested
        if moved and positions:
            self._rested = positions
            self._chain.reached(positions)
        self._commit(only_with_records=not moved)

    def _poll_ms(self) -> int:
        if self._under_way is not None:
            return 0 if self._under_way.result.done() else UNDER_WAY_POLL_MS
        if self._worked_s is None:
            return POLL_MS
        left_s = self._worked_s + self._settings.linger_ms / 1000 - time.monotonic()
        return max(0, min(POLL_MS, round(left_s * 1000)))

    def _lingered(self) -> bool:
        """Whether finished work has waited long enough; longer while there is a backlog, which larger commits clear."""
        assert self._worked_s is not None
        linger_ms = self._settings.linger_ms * (BACKLOG_LINGER if self._behind else 1)
        return time.monotonic() - self._worked_s >= linger_ms / 1000

    def _idle_s(self, read_some: bool) -> float:
        """Seconds since all was read; 0.0 while there is something."""
        if read_some or not self._at_end():
            self._idle_since_s = None
            return 0.0
        now = time.monotonic()
        self._idle_since_s = self._idle_since_s or now
        return max(now - self._idle_since_s, 1e-9)

    def _at_end(self) -> bool:
        for tp in self._consumer.assignment():
            end = self._consumer.highwater(tp)
            if end is None or self._consumer.position(tp) < end:
                return False
        return True

    def _commit(self, only_with_records: bool = False) -> None:
        """Commit what is finished; while there is a backlog, without waiting for the end of it."""
        before = self._ended()
        self._begin_commit(only_with_records)
        self._tell(before)  # while the next one is under way
        if not (self._behind and self._chain.overlaps):
            self._settle()

    def _begin_commit(self, only_with_records: bool) -> None:
        outs = self._chain.take()
        if only_with_records and not outs:
            return
        self._worked_s, self._rows = None, 0
        marks = self._chain.marks()
        if not marks and not outs:
            return
        if self._chain.shared:
            self._refuse_company()
        group = self._consumer.group_metadata()
        parts = (self._producer, group, outs, marks, self._watchdog, self._settings)
        self._under_way = UnderWay(self._committer.submit(_checkpoint.commit, *parts), outs, marks)
        self._committed.update({tp: mark.offset for tp, mark in marks.items()})

    def _settle(self) -> None:
        """Wait for the commit under way, if any, and tell the chain. Raises what it failed with."""
        self._tell(self._ended())

    def _ended(self) -> UnderWay | None:
        """The commit that was under way, if any, ended now. Raises what it failed with."""
        ended, self._under_way = self._under_way, None
        if ended is not None:
            ended.result.result()
        return ended

    def _tell(self, ended: UnderWay | None) -> None:
        if ended is not None:
            log.debug("committed", group=self._chain.group, records=len(ended.outs), positions=_shown(ended.marks))
            self._chain.written(ended.outs, ended.result.result())

    def _refuse_company(self) -> None:
        """A process of another sharding that works on our partitions moves their offsets: then this one ends."""
        for tp, ours in self._committed.items():
            now = self._consumer.committed(tp)
            if now != ours:
                raise BrokerError(
                    f"{tp.topic} partition {tp.partition}: committed offset is {now}, this process left it at {ours}; "
                    f"another process of {self._chain.group} works on it (shard here: {self._settings.shard})"
                )

    def _lost(self, error: OffsetOutOfRangeError) -> OffsetLost:
        lost: list[str] = []
        for tp, offset in dict(error.args[0] if error.args and isinstance(error.args[0], dict) else {}).items():
            first, end = self._consumer.beginning_offsets([tp])[tp], self._consumer.end_offsets([tp])[tp]
            lost.append(
                f"{tp.topic} partition {tp.partition}: offset {offset} is needed, the topic holds {first} to {end}"
            )
        return OffsetLost("; ".join(lost) or f"offset out of range: {error}")


def _shown(marks: Mapping[TopicPartition, OffsetAndMetadata]) -> str:
    """Up to where all is done, for the log: topic-partition@offset."""
    return " ".join(f"{tp.topic}-{tp.partition}@{mark.offset}" for tp, mark in sorted(marks.items()))


def _calm_collector() -> None:
    """A block's rows are many small objects that die young; looking through all others for each costs a third."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
