"""The demo's producer: flights to `events` in scheduled order, labels to `labels` as the flights arrive.

Real data is not dirty enough to show what happens to bad records, so a small share is made bad on purpose, the same
ones each time: broken bytes, a number that is none, a missing carrier, an event or a label sent twice, a label of no
flight. `Published` counts them, so that the table at the end can be checked against what was sent.
"""

import io
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import fastavro
from kafka import KafkaProducer

import schemas
from consumers._kafka import make_producer
from consumers._pace import Pace
from consumers.demo.flights import Flight, timeline
from consumers.settings import Settings
from stream.arrive.framing import frame_single_object
from stream.arrive.schema import EventSchema
from stream.spec import Spec
from stream.spec_load import event_schema

DIRTY_EVERY = 500
IN_FLIGHT_MAX = 20_000


@dataclass(slots=True)
class Published:
    """What was sent. label_at: offset in the labels topic → wall clock in ms when the broker had taken it."""

    events: int = 0
    labels: int = 0
    made_bad: Counter[str] = field(default_factory=Counter)
    label_at: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0


class FlightProducer:
    """Encodes and sends flights of one pipeline."""

    def __init__(self, spec: Spec, settings: Settings, dirty: bool) -> None:
        self._events, self._labels = spec.topic("events"), spec.topic("labels")
        self._schema: EventSchema = event_schema(spec)
        self._producer: KafkaProducer = make_producer(settings)
        self._dirty = dirty
        self.published = Published()

    def run(
        self, flights: list[Flight], rate: float, progress: Callable[[int], Any], seen: Callable[[Flight], None]
    ) -> Published:
        """Send all flights and labels; `seen` is told of each flight before it is sent, `progress` after."""
        begin_s, pace = time.monotonic(), Pace(rate)
        futures: list[Any] = []
        for time_ms, kind, flight in timeline(flights):
            if kind == "event":
                seen(flight)
                futures += self._send_event(flight)
                progress(1)
                pace.tick()
            else:
                futures += self._send_label(flight, time_ms)
            if len(futures) > IN_FLIGHT_MAX:
                self._settle(futures)
                futures = []
        self._producer.flush(30)
        self._settle(futures)
        self._producer.close(timeout=5)
        self.published.seconds = time.monotonic() - begin_s
        return self.published

    @staticmethod
    def _settle(futures: list[Any]) -> None:
        for f in futures:
            f.get(timeout=30)

    def _send_event(self, flight: Flight) -> Iterator[Any]:
        key = flight.event["flight_id"].encode()
        for value in self._event_values(flight):
            self.published.events += 1
            yield self._producer.send(self._events, value=value, key=key)

    def _event_values(self, flight: Flight) -> Iterator[bytes]:
        number = self.published.events
        if not self._dirty or number % DIRTY_EVERY != DIRTY_EVERY - 1:
            yield self._encode(flight.event)
            return
        kind = ("undecodable", "trailing", "nan", "huge", "missing", "twice")[number // DIRTY_EVERY % 6]
        self.published.made_bad[f"event {kind}"] += 1
        if kind == "undecodable":
            yield self._encode(flight.event)[:-3]
        elif kind == "trailing":
            yield self._encode(flight.event) + b"\0"
        elif kind == "twice":
            yield self._encode(flight.event)
            yield self._encode(flight.event)
        else:
            change: dict[str, Any] = {
                "nan": {"distance": float("nan")},
                "huge": {"distance": 1e300},
                "missing": {"carrier": None},
            }
            yield self._encode({**flight.event, **change[kind]})

    def _encode(self, event: dict[str, Any]) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._schema.decoding, event)
        return frame_single_object(self._schema, out.getvalue())

    def _send_label(self, flight: Flight, time_ms: int) -> Iterator[Any]:
        label = {"id": flight.event["flight_id"], "value": flight.late, "time_ms": time_ms}
        yield self._label(label)
        if self._dirty and self.published.labels % DIRTY_EVERY == 0:
            twice = self.published.labels // DIRTY_EVERY % 2
            self.published.made_bad["label twice" if twice else "label orphaned"] += 1
            yield self._label(label if twice else {**label, "id": f"nobody-{self.published.labels}"})

    def _label(self, label: dict[str, Any]) -> Any:
        self.published.labels += 1
        future = self._producer.send(self._labels, value=schemas.codec("label").encode(label), key=label["id"].encode())
        return future.add_callback(lambda m: self.published.label_at.__setitem__(m.offset, time.time_ns() // 1_000_000))
