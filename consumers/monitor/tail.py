"""Following a pipeline's topics, little by little: a thread that looks each second, and reads what came since.

It joins no group and writes nothing. Of topics that only show what happens now, it reads the newest records and leaps
over more than it can take; `dead` and `experiment` it reads on without a gap. When the broker falls silent it says so,
and connects anew until there is an answer: what was seen stays. Invariant: one look costs a bounded time, whatever the
pipeline's speed.
"""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import structlog
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.errors import KafkaError

from consumers._kafka import TOPICS, broker_errors, make_admin, make_consumer
from consumers.monitor.flow import Look
from consumers.settings import Settings
from consumers.status import GROUPS
from infra.kafka import wait_until_ready
from stream.clock import Clock, SystemClock
from stream.errors import BrokerError, TopicMissing
from stream.spec import Spec

log = structlog.get_logger()
EVERY_S = 1.0
READ_S_MAX = 0.3  # of reading in one look
SILENT_S = 5.0  # without any answer the broker counts as unreachable
ASK_MS = 8_000  # for one answer
TOPICS_EVERY_S = 10.0  # for topics that are new
# The newest so many offsets of a partition are read; with more, those before are leapt over.
NEWEST = {"events": 1_000, "predictions": 2_000, "labels": 5_000, "metrics": 20_000, "models": 400, "dead": 20_000}
WHOLE = ("experiment",)
NEEDED = ("events", "labels", "training", "models", "metrics", "predictions", "dead")
Contact = Literal["ok", "waiting", "unreachable", "topics_missing"]


@dataclass(frozen=True, slots=True)
class Told:
    """What is known of the broker. since_ms: of this state."""

    contact: Contact
    detail: str | None
    since_ms: int


def offsets(ask: Callable[..., Any], partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
    """Beginnings or ends. Raises KafkaError, and BrokerError for a partition that nobody leads (yet)."""
    asked = list(partitions)
    try:
        return dict(ask(asked, ASK_MS)) if asked else {}
    except KeyError as e:  # kafka-python drops those without an answer
        raise BrokerError(f"{' '.join(map(str, e.args))}: nobody leads it yet") from None


class Tail:
    """`taken` gets (our name of the topic, record) in the order of each partition, `looked` ends each look."""

    def __init__(
        self,
        spec: Spec,
        settings: Settings,
        taken: Callable[[str, Any], None],
        looked: Callable[[Look], None],
        clock: Clock | None = None,
    ) -> None:
        self._spec, self._settings, self._clock = spec, settings, clock or SystemClock()
        self._taken, self._looked = taken, looked
        self._stopping = threading.Event()
        self._consumer: KafkaConsumer | None = None
        self._admin: KafkaAdminClient | None = None
        self._suffix: dict[str, str] = {}
        self._partitions: list[TopicPartition] = []
        self._read_to: dict[TopicPartition, int] = {}
        self._firsts: dict[TopicPartition, int] = {}
        self._topics_s = 0.0
        self._heard_s: float | None = None
        self._told = Told("waiting", None, self._clock.wall_ms())
        self.error: BaseException | None = None
        self.leapt: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="monitor-tail", daemon=True)

    def start(self) -> None:
        """Begin; it connects by itself."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Leave."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    @property
    def told(self) -> Told:
        """What is known of the broker now: silence in the middle of a question counts too."""
        told, heard_s = self._told, self._heard_s
        if told.contact == "ok" and heard_s is not None:
            silent_s = self._clock.monotonic_s() - heard_s
            if silent_s > SILENT_S:
                since_ms = self._clock.wall_ms() - round(1000 * silent_s)
                return Told("unreachable", self._unreachable("no answer"), since_ms)
        return told

    def _unreachable(self, why: str) -> str:
        return (
            f"Kafka at {self._settings.kafka}: {why}; see whether it runs and is reached from here (HEADWATER_KAFKA, "
            "--kafka). What is shown is from before, and goes on by itself"
        )

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                begun_s = time.monotonic()
                self._turn()
                self._stopping.wait(max(0.05, EVERY_S - (time.monotonic() - begun_s)))
        except BaseException as e:
            self.error = e
            log.error("monitor's reader ended", error=f"{type(e).__name__} {e}")
        finally:
            self._drop()

    def _turn(self) -> None:
        try:
            if self._consumer is None:
                self._connect()
            self._look()
            self._tell("ok", None)
        except TopicMissing as e:
            self._drop()
            self._tell("topics_missing", str(e))
        except (KafkaError, BrokerError, OSError) as e:
            self._drop()
            why = " ".join(str(e).split()) or type(e).__name__
            self._tell("unreachable", self._unreachable(why.removeprefix(f"Kafka at {self._settings.kafka}: ")))

    def _tell(self, contact: Contact, detail: str | None) -> None:
        since_ms = self._clock.wall_ms()
        if contact == "unreachable" and self._heard_s is not None:
            since_ms -= round(1000 * (self._clock.monotonic_s() - self._heard_s))
        if self._told.contact == contact:
            since_ms = self._told.since_ms
        self._told = Told(contact, detail, since_ms)

    # -- the connection ----------------------------------------------------------------------------------

    def _connect(self) -> None:
        """Asked first without a client: one that never reached the broker leaves threads behind."""
        wait_until_ready(self._settings.kafka, 2.0, alive=lambda: not self._stopping.is_set())
        with broker_errors(self._settings):
            self._consumer, self._admin = make_consumer(self._settings, None), make_admin(self._settings)
        self._topics_s = 0.0

    def _drop(self) -> None:
        consumer, self._consumer = self._consumer, None
        admin, self._admin = self._admin, None
        try:
            if consumer is not None:
                consumer.close(autocommit=False, timeout_ms=500)
            if admin is not None:
                admin.close()
        except (KafkaError, OSError) as e:
            log.debug("client not closed", error=str(e))

    def _assign(self, consumer: KafkaConsumer) -> None:
        """All topics of the pipeline that there are, each from where it was read to."""
        ours = {self._spec.topic(name): name for name in TOPICS}
        there = consumer.topics() & set(ours)
        missing = [self._spec.topic(name) for name in NEEDED if self._spec.topic(name) not in there]
        if missing:
            raise TopicMissing(
                f"no topic {', '.join(missing)} on {self._settings.kafka}; `headwater topics create SPEC` makes them"
            )
        self._suffix = {topic: ours[topic] for topic in ours if topic in there}
        partitions = [
            TopicPartition(topic, n)
            for topic in self._suffix
            for n in sorted(consumer.partitions_for_topic(topic) or ())
        ]
        known = set(partitions) == consumer.assignment()
        if not known:
            consumer.assign(partitions)  # all of them, since a consumer knows nothing of where others end
        self._partitions = partitions
        self._firsts = offsets(consumer.beginning_offsets, partitions)
        if not known:
            self._take_places(consumer, offsets(consumer.end_offsets, partitions))

    def _take_places(self, consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        """Each is read on from where it was; those that only their ends are wanted of are not read."""
        for tp, end in ends.items():
            name, at = self._suffix[tp.topic], self._read_to.get(tp, -1)
            if name not in NEWEST and name not in WHOLE:
                consumer.seek(tp, end)
                consumer.pause(tp)
            else:
                consumer.seek(tp, at if self._firsts[tp] <= at <= end else self._start(tp, end))

    def _start(self, tp: TopicPartition, end: int) -> int:
        name = self._suffix[tp.topic]
        if name in WHOLE or end - NEWEST[name] <= self._firsts[tp]:
            return self._firsts[tp]
        self.leapt.add(name)
        return end - NEWEST[name]

    # -- one look ----------------------------------------------------------------------------------------

    def _look(self) -> None:
        consumer, admin = self._consumer, self._admin
        assert consumer is not None
        assert admin is not None
        now_s = self._clock.monotonic_s()
        if now_s - self._topics_s > TOPICS_EVERY_S or not self._topics_s:
            self._assign(consumer)
            self._topics_s = now_s
        groups = {f"{self._spec.name}.{g}": g for g in GROUPS}
        ends = offsets(consumer.end_offsets, self._partitions)
        self._heard_s = self._clock.monotonic_s()
        self._read(consumer, ends)
        try:
            found = admin.list_group_offsets(dict.fromkeys(groups))
        except KafkaError as e:
            if not e.retriable:
                raise
            found = {}  # a broker that is new has no coordinator yet
        self._heard_s = self._clock.monotonic_s()
        ends = offsets(consumer.end_offsets, self._partitions)  # after the marks: what moves shows as lag
        marks = {g: {tp: m for tp, m in found.get(group, {}).items() if m.offset >= 0} for group, g in groups.items()}
        self._heard_s = self._clock.monotonic_s()
        self._looked(Look(self._heard_s, self._clock.wall_ms(), marks, self._firsts, ends, self._suffix))

    def _read(self, consumer: KafkaConsumer, ends: dict[TopicPartition, int]) -> None:
        """Up to these ends, as far as the time for it goes."""
        until_s = time.monotonic() + READ_S_MAX
        followed = consumer.assignment() - consumer.paused()
        for tp in followed:
            name = self._suffix[tp.topic]
            if name in NEWEST and ends[tp] - consumer.position(tp) > NEWEST[name]:
                consumer.seek(tp, ends[tp] - NEWEST[name])
                self.leapt.add(name)
        while any(consumer.position(tp) < ends[tp] for tp in followed):
            for tp, records in consumer.poll(timeout_ms=50).items():
                for record in records:
                    self._taken(self._suffix[tp.topic], record)
            if time.monotonic() > until_s:
                break
        self._read_to |= {tp: consumer.position(tp) for tp in followed}
