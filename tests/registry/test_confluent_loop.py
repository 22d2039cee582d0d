"""Confluent framing through the whole loop: a real registry, a real broker, events of two schema versions."""

import io
import time
from pathlib import Path
from typing import Any

import fastavro
import pytest
import yaml

import schemas
from consumers._chain import Pipeline
from consumers._kafka import create_topics, make_producer
from consumers._loop import Loop
from consumers._read import decoder_for, read_topic
from consumers._registry import SchemaRegistry
from consumers.settings import Settings
from consumers.status import status
from stream.arrive.framing import frame_confluent
from stream.arrive.schema import EventSchema, load_schema
from stream.clock import SystemClock
from stream.spec import Spec
from stream.spec_load import load_spec

FIELDS: list[dict[str, Any]] = [
    {"name": "id", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "km", "type": "double"},
]
RAIN = {"name": "rain", "type": "boolean", "default": False}


def _schema(*more: dict[str, Any]) -> EventSchema:
    return load_schema({"type": "record", "name": "Ride", "namespace": "city", "fields": [*FIELDS, *more]})


def _spec(folder: Path, name: str) -> Spec:
    (folder / "ride.avsc").write_text(_schema().text)
    fields = {"km": {"type": "numeric"}}
    arm = {"model": "linear.logistic"}
    event = {"schema": "ride.avsc", "id": "id", "time": "time", "fields": fields}
    raw = {"name": name, "task": "binary", "event": event, "arms": {"one": arm}, "label": {"window": "1h"}}
    path = folder / "rides.yaml"
    path.write_text(yaml.safe_dump(raw))
    return load_spec(path)


@pytest.mark.broker
def test_events_framed_with_registry_ids_are_learned_and_those_of_an_unknown_id_are_dead(
    registry_url: str, kafka_address: str, prefix: str, tmp_path: Path
) -> None:
    spec = _spec(tmp_path, prefix.strip("._-").lower())
    settings = Settings(kafka=kafka_address, data=tmp_path, registry=registry_url)
    registry = SchemaRegistry(registry_url, timeout_s=20)
    old, new = _schema(), _schema(RAIN)
    known = {s.text: registry.register(f"{spec.name}.events-value", s) for s in (old, new)}
    create_topics(settings, spec)
    producer, now_ms = make_producer(settings), time.time_ns() // 1_000_000
    for i in range(60):
        schema = (old, new)[i % 2]
        event = {"id": f"r{i}", "time": now_ms - 60_000 + i, "km": float(i)}
        event |= {"rain": True} if schema is new else {}
        schema_id = 2_000_000_000 if i == 59 else known[schema.text]
        value = frame_confluent(schema_id, _payload(schema, event))
        producer.send(spec.topic("events"), value=value, key=event["id"].encode())
        label = {"id": event["id"], "value": i > 30, "time_ms": now_ms}
        producer.send(spec.topic("labels"), value=schemas.codec("label").encode(label), key=event["id"].encode())
    producer.flush(20)
    producer.close(timeout=5)
    chain = Pipeline(spec, settings, ["clean", "encode", "join", "learn"], SystemClock())
    until_s = time.monotonic() + 60
    Loop(chain, settings).run(lambda: _learned(chain) >= 59 or time.monotonic() > until_s)
    counts = status(spec, settings).counts
    assert (counts.events_in, counts.cleaned, counts.matched) == (60, 59, 59)
    assert counts.rejected == {"schema.unknown": 1}
    [dead] = [decoder_for(spec, "dead")(r.value) for r in read_topic(spec, settings, "dead")]
    assert "2000000000" in dead["detail"]


def _payload(schema: EventSchema, event: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.decoding, event)
    return out.getvalue()


def _learned(chain: Pipeline) -> int:
    assert chain._learn is not None
    return chain._learn.rows
