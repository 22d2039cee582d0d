"""A file's rows as events on Kafka, and one of its columns as labels: .csv, .tsv, .jsonl, .ndjson, .avro.

What: each row is typed by the event's Avro schema; one that does not fit ends the publishing with a DataError
naming file and line, and nothing of it or after it is sent. *Values* are not judged: a distance of -1 is for
the pipeline to clean or refuse.
Labels go out when their time comes in the stream: an event of 12:00 before a label of 12:05, as in life.
"""

import hashlib
import heapq
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fastavro

import schemas
from consumers._kafka import broker_errors, consuming, make_producer, partitions_of
from consumers._pace import Pace
from consumers._registry import SchemaRegistry
from consumers._rows import MISSING, Rows, field_name, field_value, label_value, to_epoch
from consumers.settings import Settings
from stream.arrive.framing import frame_confluent, frame_single_object
from stream.arrive.schema import Field
from stream.errors import DataError, LimitReached, SchemaError
from stream.limits import EVENT_BYTES_MAX, PENDING_ROWS_MAX
from stream.spec import Spec
from stream.spec_load import event_schema

IN_FLIGHT_MAX = 20_000
TOLD_EVERY = 256


class _Typist:
    """Rows of a file → events of the schema and labels of the task."""

    def __init__(self, spec: Spec, rows: Rows, label: str | None, label_time: str | None) -> None:
        self._spec, self._rows, self._label, self._label_time = spec, rows, label, label_time
        self._schema = event_schema(spec)
        self._plans: dict[tuple[str, ...], list[tuple[Field, str | None]]] = {}
        self.notes: dict[str, None] = {}

    def event(self, line: int, row: dict[str, Any]) -> dict[str, Any]:
        """All fields of the schema. Raises DataError with line, column, what was found and what is wanted."""
        columns = tuple(row)
        plan = self._plans.get(columns)
        if plan is None:
            self._plans.clear()  # one plan is the rule; a file that changes its columns is slower, not larger
            plan = self._plans[columns] = self._plan(line, columns)
        event = {}
        for field, column in plan:
            try:
                if column is None:
                    event[field.name] = self._made(field, line, row)
                else:
                    event[field.name] = field_value(field, row[column], self._rows.text)
            except ValueError as e:
                raise self._wrong(line, column or field.name, row.get(column or ""), str(e)) from None
        return event

    def label(self, line: int, row: dict[str, Any], event: dict[str, Any]) -> dict[str, Any] | None:
        """The label record; None where the row has no label."""
        if self._label is None:
            return None
        raw = row.get(self._label)
        if self._label not in row and self._rows.kind in (".csv", ".tsv", ".avro"):
            raise DataError(f"{self._rows.path}: --label: found {self._label!r}; the columns are {', '.join(row)}")
        if raw is None or (self._rows.text and raw.strip().lower() in MISSING and raw not in self._spec.classes):
            return None
        column, time_ms = self._label, event[self._spec.event.time]
        try:
            value = label_value(self._spec, raw)
            if self._label_time is not None:
                column, raw = self._label_time, row.get(self._label_time)
                time_ms = to_epoch(raw)
            elif time_ms is None:
                return None  # nor will the pipeline take the event
        except ValueError as e:
            raise self._wrong(line, column, raw, str(e)) from None
        return {"id": str(event[self._spec.event.id]), "value": value, "time_ms": time_ms}

    def _plan(self, line: int, columns: tuple[str, ...]) -> list[tuple[Field, str | None]]:
        """Which column each field is read from; None for a field that is made up or has a default."""
        known = {name: name for name in columns}
        for name in columns:
            known.setdefault(field_name(name), name)
        plan = [(field, known.get(field.name)) for field in self._schema.fields]
        spare = set(columns) - {column for _, column in plan} - {self._label, self._label_time}
        if spare:
            self.notes[f"left out, since the schema has no such field: {', '.join(sorted(spare))}"] = None
        for field, column in plan:
            made = field.name in (self._spec.event.id, self._spec.event.time)
            if column is None and made:
                how = "the row" if field.name == self._spec.event.id else "the clock"
                self.notes[f"no column for {field.name}, so it is made from {how}"] = None
            elif column is None and not (field.has_default or field.nullable):
                place = f"{self._rows.path}:{line}"
                raise DataError(f"{place}: no column for field {field.name}; found {', '.join(columns)}")
        return plan

    def _made(self, field: Field, line: int, row: dict[str, Any]) -> Any:
        if field.name == self._spec.event.id and field.kind == "string":
            digest = hashlib.sha256(repr(row).encode()).hexdigest()[:8]
            return f"{self._rows.path.stem}-{line}-{digest}"
        if field.name == self._spec.event.time:
            return time.time_ns() // 1_000_000
        return field_value(field, None, False)

    def _wrong(self, line: int, column: str, found: Any, wanted: str) -> DataError:
        shown = repr(found) if len(repr(found)) <= 80 else repr(found)[:77] + "..."
        return DataError(f"{self._rows.path}:{line}: column {column}: found {shown}; wanted: {wanted}")


class _Sender:
    """Sends, and waits for every answer. Labels wait for their time."""

    def __init__(self, spec: Spec, settings: Settings, registry_id: int | None) -> None:
        self._spec, self._schema, self._registry_id = spec, event_schema(spec), registry_id
        self._events, self._labels = spec.topic("events"), spec.topic("labels")
        self._producer = make_producer(settings)
        self._futures: list[Any] = []
        self._held: list[tuple[int, int, str, bytes]] = []
        self._now_ms = 0
        self.events = self.labels = 0

    def send(self, event: dict[str, Any], label: dict[str, Any] | None, place: str) -> None:
        """One event, its label when that is due, and the labels that are due before it."""
        out = io.BytesIO()
        try:
            fastavro.schemaless_writer(out, self._schema.decoding, event)
        except Exception as e:  # half a surrogate pair, a number beyond 32-bit floats
            raise DataError(f"{place}: can't be written as Avro: {e}") from None
        payload, given = out.getvalue(), self._registry_id
        framed = frame_confluent(given, payload) if given is not None else frame_single_object(self._schema, payload)
        if len(framed) > EVENT_BYTES_MAX:
            raise DataError(f"{place}: an event of {len(framed)} bytes; at most {EVENT_BYTES_MAX} are taken")
        time_ms = event[self._spec.event.time] or 0
        self._release(time_ms - 1)
        self._put(self._events, framed, str(event[self._spec.event.id]))
        self.events += 1
        self._now_ms = max(self._now_ms, time_ms)
        if label is not None:
            item = (label["time_ms"], self.events, label["id"], schemas.codec("label").encode(label))
            heapq.heappush(self._held, item)
        if len(self._held) > PENDING_ROWS_MAX:
            raise LimitReached(f"{place}: {len(self._held)} labels wait for their time; {PENDING_ROWS_MAX} are held")
        self._release(self._now_ms)

    def finish(self, all_labels: bool) -> None:
        """Wait until the broker has everything; without `all_labels` those that are not due stay unsent."""
        if all_labels:
            self._release(None)
        self._settle()

    def close(self) -> None:
        self._producer.close(timeout=5)

    def _release(self, until_ms: int | None) -> None:
        while self._held and (until_ms is None or self._held[0][0] <= until_ms):
            _, _, key, value = heapq.heappop(self._held)
            self._put(self._labels, value, key)
            self.labels += 1

    def _put(self, topic: str, value: bytes, key: str) -> None:
        self._futures.append(self._producer.send(topic, value=value, key=key.encode("utf-8", "replace")))
        if len(self._futures) >= IN_FLIGHT_MAX:
            self._settle()

    def _settle(self) -> None:
        self._producer.flush(30)
        for future in self._futures:
            future.get(timeout=30)
        self._futures.clear()


def typed_events(spec: Spec, file: Path) -> Iterator[dict[str, Any]]:
    """The events in a file, one after the other. Raises DataError with the place of what is none."""
    with Rows(file) as rows:
        typist = _Typist(spec, rows, None, None)
        for line, row in rows:
            yield typist.event(line, row)


def publish_file(
    spec: Spec,
    settings: Settings,
    file: Path,
    label: str | None = None,
    label_time: str | None = None,
    rate: float = 0,
    registry_id: int | None = None,
    told: Callable[[int, int | None], object] = lambda done, total: None,
) -> dict[str, Any]:
    """Publish a file; gives {"events", "labels", "seconds", "notes"}. `told` hears of bytes read and in all.

    Raises DataError (the rows before it are sent), TopicMissing, BrokerError; SchemaError for a registry id
    of a schema other than the spec's.
    """
    if label_time is not None and label is None:
        raise DataError(f"--label-time {label_time}: goes with --label, which names the label's column")
    if rate < 0:
        raise DataError(f"--rate: found {rate:g}; 0 (as fast as possible) or more is wanted")
    begin_s = time.monotonic()
    with Rows(file) as rows, broker_errors(settings):
        _check_topics(spec, settings)
        _check_registry_id(spec, settings, registry_id)
        typist, sender = _Typist(spec, rows, label, label_time), _Sender(spec, settings, registry_id)
        try:
            _send_all(rows, typist, sender, Pace(rate), told)
            sender.finish(all_labels=True)
        except DataError as e:
            sender.finish(all_labels=False)
            raise DataError(f"{e} (sent before it: {sender.events} events, {sender.labels} labels)") from None
        finally:
            sender.close()
    seconds = time.monotonic() - begin_s
    return {"events": sender.events, "labels": sender.labels, "seconds": seconds, "notes": list(typist.notes)}


def _send_all(
    rows: Rows, typist: _Typist, sender: _Sender, pace: Pace, told: Callable[[int, int | None], object]
) -> None:
    for number, (line, row) in enumerate(rows, 1):
        event = typist.event(line, row)
        sender.send(event, typist.label(line, row, event), f"{rows.path}:{line}")
        pace.tick()
        if number % TOLD_EVERY == 0:
            told(rows.bytes_done, rows.bytes_total)


def _check_topics(spec: Spec, settings: Settings) -> None:
    with consuming(settings) as consumer:
        partitions_of(consumer, [spec.topic("events"), spec.topic("labels")], settings)


def _check_registry_id(spec: Spec, settings: Settings, registry_id: int | None) -> None:
    """With a registry at hand, its schema under this id must be the one that the events are written with."""
    if registry_id is None:
        return
    if not 0 <= registry_id < 1 << 32:
        raise DataError(f"--registry-id: found {registry_id}; 0 to {(1 << 32) - 1} is wanted")
    if settings.registry is not None:
        schema = SchemaRegistry(settings.registry, timeout_s=10.0).schema_by_id(registry_id)
        if schema is None or schema.canonical != event_schema(spec).canonical:
            found = f"a schema other than {spec.schema_path}" if schema else "no schema"
            raise SchemaError(f"--registry-id {registry_id}: {settings.registry} has {found} under it")
