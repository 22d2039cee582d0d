"""ship: what is on Kafka becomes documents of Elasticsearch; each record once, whatever is killed.

A record's document has its place on Kafka as id, and is created, never replaced. Offsets are committed once its
document is there, or refused and in `dead`, or the record lies in the spool. The spool is delivered first, in order;
while it is full nothing is read from Kafka. While something waits there, a metric record says so now and then, and once
more when it is empty again; else none is written, since each would be shipped. `docs/decisions/shipping.md` tells what
that leaves open.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog
from elasticsearch import ApiError, TransportError
from kafka import KafkaConsumer, TopicPartition
from kafka.structs import OffsetAndMetadata

from consumers._crash import crash_point
from consumers._kafka import Out
from consumers._log import set_up
from consumers._loop import Loop
from consumers._metric import metric_out
from consumers._otel import spans_of
from consumers._ship_client import ATTEMPTS, BULK_DOCUMENTS, NotDelivered, Refusal, Sender, highest, make_client, told
from consumers._ship_portion import PORTION_BYTES_MAX, Portion, Press, portions
from consumers._ship_spool import Spool
from consumers.clean import dead_letter
from consumers.settings import Settings
from stream.arrive.records import Record, Records
from stream.clock import Clock, SystemClock
from stream.spec import Spec

log = structlog.get_logger()
PAUSE_S_MIN, PAUSE_S_MAX = 0.5, 10.0
DRAIN_S = 2.0  # of delivering from the spool before Kafka is looked at again
TELL_S = 10.0


class Ship:
    """Implements the loop's Chain."""

    shared = False
    overlaps = False

    def __init__(self, spec: Spec, settings: Settings, topics: Sequence[str] = (), clock: Clock | None = None) -> None:
        self._spec, self._clock = spec, clock or SystemClock()
        self._press = Press(spec, topics)
        self.group = f"{spec.name}.ship"
        self._client = make_client(settings)
        self._sender = Sender(self._client, spans_of(spec, "ship"))
        self._spool = Spool(settings.data / spec.name / "spool", settings.ship_spool_bytes_max)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ship")
        self._sent: dict[TopicPartition, int] | None = None  # next offset that nobody can have sent; None: not known
        self._next: dict[TopicPartition, int] = {}
        self._outs: list[Out] = []
        self._done = self._committing = 0  # batch of the spool whose dead letters are ready, or being committed
        self._full = False
        self._pause_s = self._retry_s = self._told_s = 0.0
        self.delivered = self.refused = 0

    @property
    def topics(self) -> list[str]:
        """See Chain."""
        return list(self._press.datasets)

    @property
    def writes(self) -> list[str]:
        """See Chain."""
        return [self._spec.topic("dead"), self._spec.topic("metrics")]

    @property
    def waiting(self) -> int:
        """Batches in the spool."""
        return len(self._spool)

    @property
    def _behind(self) -> bool:
        """Whether something in the spool is still to be delivered."""
        return self._spool.newest > self._done

    def begin(self, consumer: KafkaConsumer, committed: dict[TopicPartition, OffsetAndMetadata | None]) -> None:
        """See Chain."""
        self._consumer = consumer
        self._next = {tp: consumer.position(tp) for tp in committed}  # to have marks for the spool alone
        marks = [json.loads(m.metadata or "{}") for m in committed.values() if m is not None]
        self._done = max((m.get("spool", 0) for m in marks), default=0)
        self._spool.start_after(self._done)
        self._learn_what_is_there()
        if self._spool:
            log.info("delivering what a former process left", batches=len(self._spool), bytes=self._spool.bytes)

    def _learn_what_is_there(self) -> None:
        """Beyond the highest offset that has a document, nothing can have been sent: no need to look for it."""
        try:
            found = highest(self._client, self._press.streams, self._spec.name)
        except (ApiError, TransportError) as error:
            log.warning("not known what was delivered before, so it is looked up", error=told(error))
            return
        self._sent = {TopicPartition(t, p): at + 1 for t, by in found.items() for p, at in by.items()}

    def paused(self) -> set[TopicPartition]:
        """See Chain."""
        return set(self._consumer.assignment()) if self._full else set()

    # -- work ------------------------------------------------------------------------------------------

    def feed(self, batch: Mapping[TopicPartition, Records], idle_s: float) -> None:
        """See Chain."""
        self._drain()
        sending: tuple[Portion, Future[list[Refusal]]] | None = None
        for records in portions(batch, BULK_DOCUMENTS):
            portion = self._press.portion(records)  # made while the one before is under way
            if sending is not None:
                self._settle(*sending)
                sending = None
            if self._full:
                self._give_back(records)
            elif self._behind or self._clock.monotonic_s() < self._retry_s:
                self._keep(portion)
            else:
                doubtful, attempts = self._doubtful(records), 1 if self._pause_s else ATTEMPTS
                sending = portion, self._thread.submit(self._sender.send, portion.documents, doubtful, attempts)
        if sending is not None:
            self._settle(*sending)
        self._tell()

    def _doubtful(self, records: list[Record]) -> bool:
        if self._sent is None:
            return True
        return any(r.offset < self._sent.get(TopicPartition(r.topic, r.partition), 0) for r in records)

    def _doubt(self, records: list[Record]) -> None:
        """They may have been sent."""
        if self._sent is not None:
            for r in records:
                tp = TopicPartition(r.topic, r.partition)
                self._sent[tp] = max(r.offset + 1, self._sent.get(tp, 0))

    def _settle(self, portion: Portion, under_way: "Future[list[Refusal]]") -> None:
        try:
            refusals = under_way.result()
        except NotDelivered as error:
            self._wait_longer(error)
            self._doubt(portion.records)
            self._keep(portion)
            return
        crash_point("ship.sent")
        self._heal()
        self._bury(portion, refusals)
        self._advance(portion.records)

    def _keep(self, portion: Portion) -> None:
        """Into the spool; where that is full, the records are read again later."""
        if self._spool.put(portion.records):
            crash_point("ship.spooled")
            self._advance(portion.records)
            return
        self._full = True
        log.warning("spool full: reading from Kafka pauses", bytes=self._spool.bytes, batches=len(self._spool))
        self._give_back(portion.records)

    def _give_back(self, records: list[Record]) -> None:
        for tp, offset in {TopicPartition(r.topic, r.partition): r.offset for r in reversed(records)}.items():
            if offset < self._consumer.position(tp):
                self._consumer.seek(tp, offset)

    def _advance(self, records: list[Record]) -> None:
        for r in records:
            self._next[TopicPartition(r.topic, r.partition)] = r.offset + 1

    def _drain(self) -> None:
        """Deliver from the spool, the oldest first, for a while."""
        begun_s = self._clock.monotonic_s()
        if begun_s < self._retry_s:
            return
        for number, records in self._together():
            portion = self._press.portion(records)
            try:
                refusals = self._sender.send(portion.documents, doubtful=True, attempts=1)
            except NotDelivered as error:
                self._wait_longer(error)
                return
            self._bury(portion, refusals)
            last = number == self._spool.newest
            if self._outs or last:
                self._done = number  # they go when what is said of them is committed
            else:
                self._spool.start_after(number)
            if last:
                self._report()
            self._heal()
            if self._clock.monotonic_s() - begun_s > DRAIN_S:
                return
        self._full = False

    def _together(self) -> Iterator[tuple[int, list[Record]]]:
        """Spooled batches, the oldest first, as many at once as one request takes; with the number of the last."""
        number, records, size = 0, list[Record](), 0
        for n in [n for n in self._spool.numbers if n > self._done]:
            found = self._spool.read(n).records
            further = sum(len(r.value or b"") for r in found)
            if records and (len(records) + len(found) > BULK_DOCUMENTS or size + further > PORTION_BYTES_MAX):
                yield number, records
                records, size = [], 0
            number, size = n, size + further
            records += found
        if records:
            yield number, records

    def _bury(self, portion: Portion, refusals: Sequence[Refusal]) -> None:
        """Dead letters for what will never be a document; one that is a dead letter itself stays where it is."""
        dead = self._spec.topic("dead")
        found = [dead_letter(self._spec, u.at, "ship", "ship.unreadable", u.why)
                 for u in portion.unreadable if u.at.topic != dead]  # fmt: skip
        found += [dead_letter(self._spec, r.document.at, "ship", "ship.refused", r.why)
                  for r in refusals if r.document.at.topic != dead]  # fmt: skip
        lost = len(refusals) + len(portion.unreadable) - len(found)
        if lost:
            reasons = [r.why for r in refusals] + [u.why for u in portion.unreadable]
            log.error("records of the dead topic are only on Kafka", records=lost, reason=reasons[0])
        self._outs += found
        self.refused += len(refusals) + len(portion.unreadable)
        self.delivered += len(portion.documents) - len(refusals)

    # -- trouble ---------------------------------------------------------------------------------------

    def _wait_longer(self, error: NotDelivered) -> None:
        if not self._pause_s:
            log.warning("Elasticsearch takes nothing: records go to the spool", error=str(error))
            self._told_s = -TELL_S
        self._pause_s = min(PAUSE_S_MAX, max(PAUSE_S_MIN, 2 * self._pause_s))
        self._retry_s = self._clock.monotonic_s() + self._pause_s

    def _heal(self) -> None:
        if self._pause_s and not self._behind:
            log.info("Elasticsearch takes documents again", delivered=self.delivered)
            self._pause_s = self._retry_s = 0.0

    def _tell(self) -> None:
        now_s = self._clock.monotonic_s()
        if now_s - self._told_s >= TELL_S:
            self._told_s = now_s
            counts = {"delivered": self.delivered, "refused": self.refused, "spool_bytes": self._spool.bytes}
            log.debug("shipping", **counts)
            if self._behind:
                self._report()

    def _report(self) -> None:
        """Say by a metric record how much waits."""
        batches, size = self._spool.beyond(self._done)
        values = {"spool_batches": batches, "spool_bytes": size, "spool_full": float(self._full),
                  "delivered": self.delivered, "refused": self.refused}  # fmt: skip
        self._outs.append(metric_out(self._spec, "ship", "", 0, self.delivered, self._clock.wall_ms(), values))

    # -- commits ---------------------------------------------------------------------------------------

    def take(self) -> list[Out]:
        """See Chain."""
        outs, self._outs = self._outs, []
        self._committing = self._done
        return outs

    def marks(self) -> dict[TopicPartition, OffsetAndMetadata]:
        """See Chain."""
        batches, size = self._spool.beyond(self._done)
        about = json.dumps({"spool": self._done, "spool_batches": batches, "spool_bytes": size})
        return {tp: OffsetAndMetadata(offset, about, -1) for tp, offset in self._next.items()}

    def written(self, outs: Sequence[Out], offsets: Sequence[int]) -> None:
        """See Chain."""
        self._spool.start_after(self._committing)

    def reached(self, positions: Mapping[TopicPartition, int]) -> None:
        """See Chain."""
        self._next.update(positions)

    def finish(self) -> None:
        """See Chain."""
        self._thread.shutdown()
        self._client.close()


def ship(spec: Spec, settings: Settings, topics: Sequence[str], stop: Callable[[], bool]) -> None:
    """Ship until `stop()`. Its own log lines stay on standard error: shipped, they would bring forth new ones."""
    set_up(settings.model_copy(update={"log_topic": False}), spec, "ship")
    Loop(Ship(spec, settings, topics), settings).run(stop)
