"""The registry client against a real registry (Apicurio), and the decoder on ids that it gave."""

import io
import json
import urllib.request
from typing import Any

import fastavro
import pytest

from consumers._registry import SchemaRegistry
from stream.arrive.framing import Decoder, frame_confluent
from stream.arrive.reject import Reject
from stream.arrive.schema import EventSchema, load_schema
from stream.errors import SchemaError


def _schema(*fields: dict[str, Any]) -> EventSchema:
    return load_schema({"type": "record", "name": "Ride", "namespace": "city", "fields": list(fields)})


FIRST = _schema({"name": "id", "type": "string"}, {"name": "km", "type": ["null", "double"], "default": None})
ADDED = _schema(
    {"name": "id", "type": "string"},
    {"name": "km", "type": ["null", "double"], "default": None},
    {"name": "rain", "type": "boolean", "default": False},
)
BROKEN = _schema({"name": "id", "type": "string"}, {"name": "fare", "type": "double"})


@pytest.fixture
def registry(registry_url: str) -> SchemaRegistry:
    return SchemaRegistry(registry_url, timeout_s=20)


def _backward(url: str, subject: str) -> None:
    """Set the subject's rule; an operator's act, so the client has no call for it."""
    body = json.dumps({"compatibility": "BACKWARD"}).encode()
    request = urllib.request.Request(f"{url}/config/{subject}", body, method="PUT")
    request.add_header("Content-Type", "application/vnd.schemaregistry.v1+json")
    urllib.request.urlopen(request, timeout=20).close()


def test_a_registered_schema_comes_back_by_id_and_as_the_latest(registry: SchemaRegistry) -> None:
    schema_id = registry.register("rides-value", FIRST)
    assert registry.register("rides-value", FIRST) == schema_id
    assert registry.schema_by_id(schema_id) == FIRST
    latest = registry.latest("rides-value")
    assert latest is not None
    assert (latest.id, latest.version, latest.schema) == (schema_id, 1, FIRST)


def test_an_unknown_id_and_an_unknown_subject_are_none(registry: SchemaRegistry) -> None:
    assert registry.schema_by_id(2_000_000_000) is None
    assert registry.latest("nobody wrote/this?") is None


def test_the_registry_tells_compatible_from_incompatible(registry: SchemaRegistry, registry_url: str) -> None:
    subject = "compat-value"
    assert registry.compatible(subject, FIRST) == (True, [])
    registry.register(subject, FIRST)
    _backward(registry_url, subject)
    assert registry.compatible(subject, ADDED)[0] is True
    assert registry.compatible(subject, BROKEN)[0] is False


def test_an_incompatible_schema_is_refused_in_one_line(registry: SchemaRegistry, registry_url: str) -> None:
    subject = "refuse-value"
    registry.register(subject, FIRST)
    _backward(registry_url, subject)
    with pytest.raises(SchemaError, match="subject refuse-value: not compatible") as refused:
        registry.register(subject, BROKEN)
    assert "\n" not in str(refused.value)
    assert registry_url in str(refused.value)


def test_events_of_two_registered_versions_decode_with_one_decoder(registry: SchemaRegistry) -> None:
    old, new = registry.register("mixed-value", FIRST), registry.register("mixed-value", ADDED)
    decoder = Decoder(ADDED, lambda key: registry.schema_by_id(key) if isinstance(key, int) else None)

    def event(schema: EventSchema, **record: Any) -> bytes:
        out = io.BytesIO()
        fastavro.schemaless_writer(out, schema.parsed, record)
        return out.getvalue()

    first = decoder.decode(frame_confluent(old, event(FIRST, id="a", km=2.5)))
    second = decoder.decode(frame_confluent(new, event(ADDED, id="b", km=None, rain=True)))
    assert first == {"id": "a", "km": 2.5, "rain": False}
    assert second == {"id": "b", "km": None, "rain": True}
    unknown = decoder.decode(frame_confluent(1_999_999_999, b"\x02a\x00"))
    assert isinstance(unknown, Reject)
    assert unknown.code == "schema.unknown"
