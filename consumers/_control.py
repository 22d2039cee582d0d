"""The experiment topic: read into a state, and written to by people and guardrails.

One partition, kept whole, read from its beginning by everyone. A pipeline without the topic has the spec's weights.
Invariant: a change is told as done only once it was read back as the one that counts.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

import schemas
from consumers._kafka import CONNECT_S, broker_errors, create_topics, make_consumer, make_producer
from consumers.settings import Settings
from stream.errors import BrokerError, DataError
from stream.experiment.control import Control, State, after, begin
from stream.learn.training import refuse_other_weights
from stream.spec import Spec

TOPIC = "experiment"
Make = Callable[[State], Control]


class Fold:
    """Raw records of the topic, in order → the state; `passed_over`: why records did not count, by offset."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self.state = begin(spec)
        self.passed_over: dict[int, str] = {}

    def take(self, records: Iterable[Any]) -> None:
        """Further consumed records."""
        for r in records:
            try:
                record = Control(**schemas.codec("control").decode(r.value or b""))
            except ValueError as e:
                self.passed_over[r.offset] = str(e)
                continue
            self.state, why_not = after(self._spec, self.state, record)
            if why_not:
                self.passed_over[r.offset] = why_not


def connected(spec: Spec, settings: Settings) -> KafkaConsumer | None:
    """A consumer that stands at the topic's beginning; None where there is no such topic."""
    consumer = make_consumer(settings, None)
    try:
        if spec.topic(TOPIC) not in consumer.topics():
            consumer.close(autocommit=False, timeout_ms=1000)
            return None
        tp = TopicPartition(spec.topic(TOPIC), 0)
        consumer.assign([tp])
        consumer.seek(tp, consumer.beginning_offsets([tp])[tp])
    except BaseException:
        consumer.close(autocommit=False, timeout_ms=1000)
        raise
    return consumer


def read_on(consumer: KafkaConsumer, fold: Fold, end: int | None = None) -> None:
    """Read to the topic's present end, or to an offset beyond it that is known to come.

    Raises KafkaError, and BrokerError when the broker gives nothing for too long.
    """
    [tp] = consumer.assignment()
    end = consumer.end_offsets([tp])[tp] if end is None else end
    heard_s = time.monotonic()
    while consumer.position(tp) < end:
        for records in consumer.poll(timeout_ms=200).values():
            heard_s = time.monotonic()
            fold.take(records)
        if time.monotonic() - heard_s > CONNECT_S:
            raise BrokerError(f"{tp.topic}: no record for {CONNECT_S:g} s while reading up to offset {end}")


def state_of(spec: Spec, settings: Settings) -> State:
    """The experiment's state now. Raises BrokerError."""
    with broker_errors(settings):
        fold, consumer = Fold(spec), connected(spec, settings)
        if consumer is not None:
            try:
                read_on(consumer, fold)
            finally:
                consumer.close(autocommit=False, timeout_ms=2000)
    return fold.state


@dataclass(frozen=True, slots=True)
class Changed:
    """A change that counts, and what it changed."""

    record: Control
    before: State
    after: State


def change(spec: Spec, settings: Settings, make: Make) -> Changed:
    """Write the record that `make` gives for the present state, and see it count.

    Raises DataError when it can't be, or when another change came first; BrokerError.
    """
    refuse_other_weights(spec)
    create_topics(settings, spec, [TOPIC])
    with broker_errors(settings):
        fold, consumer = Fold(spec), connected(spec, settings)
        if consumer is None:
            raise BrokerError(f"no topic {spec.topic(TOPIC)} on {settings.kafka}, though it was just made; try again")
        try:
            read_on(consumer, fold)
            before = fold.state
            record = make(before)
            read_on(consumer, fold, _send(spec, settings, record) + 1)
        finally:
            consumer.close(autocommit=False, timeout_ms=2000)
    counted = next((r for r in fold.state.records if r.seq == record.seq), None)
    if counted != record:
        won = "" if counted is None else f": {counted.action} by {counted.who}, {counted.why!r}"
        raise DataError(f"change {record.seq} of {spec.name}: another one came first{won}; look, then say it again")
    state, _ = after(spec, before, record)
    return Changed(record, before, state)


def _send(spec: Spec, settings: Settings, record: Control) -> int:
    """Its offset, once Kafka has it."""
    producer = make_producer(settings)
    try:
        value, key = schemas.codec("control").encode(asdict(record)), record.experiment.encode()
        sent = producer.send(spec.topic(TOPIC), value=value, key=key, partition=0)
        return int(sent.get(timeout=settings.delivery_timeout_ms / 1000).offset)
    finally:
        producer.close(timeout=2)
