"""Compatibility of schemas: the rules one by one, and the promise held against fastavro on random changes."""

import io
from typing import Any

import fastavro
import pytest
from arrive_strategies import changed, encoded, schemas, values, witnesses
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.arrive.evolve import check_compatible, check_evolution, misread
from stream.arrive.schema import EventSchema, load_schema


def _event(*fields: dict[str, Any], **more: Any) -> EventSchema:
    return load_schema({"type": "record", "name": "E", "fields": list(fields)} | more)


def _one(kind: Any, **more: Any) -> EventSchema:
    return _event({"name": "x", "type": kind} | more)


def _resolved(writer: EventSchema, reader: EventSchema, record: Any) -> Any:
    data = io.BytesIO(encoded(writer, record))
    return fastavro.schemaless_reader(data, writer.decoding, reader.decoding)


def _fails(writer: EventSchema, reader: EventSchema, record: Any) -> bool:
    try:
        _resolved(writer, reader, record)
    except Exception:
        return True
    return False


ENUM = {"type": "enum", "name": "Way", "symbols": ["N", "S"]}
LONGER = {"type": "enum", "name": "Way", "symbols": ["N", "S", "W"]}
INNER = {"type": "record", "name": "In", "fields": [{"name": "y", "type": "int"}]}


@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        ("int", "long"), ("int", "float"), ("int", "double"), ("long", "float"), ("long", "double"),
        ("float", "double"), ("string", "bytes"), ("bytes", "string"),
    ],
)  # fmt: skip
def test_the_specifications_promotions_are_allowed_one_way(writer: str, reader: str) -> None:
    assert check_compatible(_one(writer), _one(reader)) == []
    back = check_compatible(_one(reader), _one(writer))
    assert back == [] if {writer, reader} == {"string", "bytes"} else len(back) == 1


@pytest.mark.parametrize(
    ("writer", "reader", "said"),
    [
        (_one("string"), _one("long"), "E.x: the writer's string can't be read as long"),
        (_one(["null", "int"]), _one("long"), "E.x: the writer may send null, the reader takes only long"),
        (_event({"name": "a", "type": "int"}), _one("int"),
         "E.x: the writer has no such field, and the reader gives no default"),
        (_one(LONGER), _one(ENUM), "E.x: the reader's enum lacks W and has no default symbol"),
        (_one(ENUM), _one(ENUM | {"name": "Other"}),
         "E.x: the writer's enum Way has another name than enum Other and its aliases"),
        (_one(ENUM), _one(ENUM | {"name": "q.Dir", "aliases": ["Way"]}),
         "E.x: the writer's enum Way has another name than enum q.Dir and its aliases"),
        (_one({"type": "fixed", "name": "F", "size": 2}), _one({"type": "fixed", "name": "F", "size": 3}),
         "E.x: the writer's 2 bytes can't be read as 3"),
        (_one({"type": "array", "items": "string"}), _one({"type": "array", "items": "int"}),
         "E.x[]: the writer's string can't be read as int"),
        (_one({"type": "map", "values": ["null", "int"]}), _one({"type": "map", "values": "int"}),
         "E.x{}: the writer may send null, the reader takes only int"),
        (_one(INNER), _one(INNER | {"fields": [{"name": "z", "type": "int"}]}),
         "E.x.z: the writer has no such field, and the reader gives no default"),
        (_one(["null", "string"]), _one(["null", "int"]), "E.x: the writer's string can't be read as int"),
        (_one("int"), _event({"name": "x", "type": "int"}, name="Other"),
         "Other: the writer's record E has another name than record Other and its aliases"),
    ],
)  # fmt: skip
def test_each_fault_is_named_with_its_place_and_loses_data(writer: EventSchema, reader: EventSchema, said: str) -> None:
    assert check_compatible(writer, reader) == [said]
    assert any(_fails(writer, reader, record) for record in witnesses(writer.root))


@pytest.mark.parametrize(
    ("writer", "reader", "record", "read"),
    [
        (_one("int"),
         _event({"name": "x", "type": "int"}, {"name": "b", "type": "bytes", "default": "\u00e9"}),
         {"x": 1}, {"x": 1, "b": b"\xe9"}),
        (_one("int"), _one(["null", "double"]), {"x": 1}, {"x": 1.0}),
        (_one(LONGER), _one(ENUM | {"default": "N"}), {"x": "W"}, {"x": "N"}),
        (_one("int"), _event({"name": "z", "type": "long", "aliases": ["x"]}), {"x": 1}, {"z": 1}),
        (_one(ENUM | {"namespace": "q"}), _one(ENUM | {"name": "q.Dir", "aliases": ["Way"]}),
         {"x": "S"}, {"x": "S"}),
        (_one(ENUM), _one(ENUM | {"namespace": "far.away"}), {"x": "S"}, {"x": "S"}),
        (_one(INNER), _one(INNER | {"fields": [{"name": "w", "type": "double", "default": 2}]}),
         {"x": {"y": 1}}, {"x": {"w": 2.0}}),
        (_one("int"),
         _event({"name": "x", "type": "int"}, {"name": "in", "type": INNER, "default": {"y": 4}}),
         {"x": 1}, {"x": 1, "in": {"y": 4}}),
    ],
)  # fmt: skip
def test_each_allowed_change_reads_as_told(writer: EventSchema, reader: EventSchema, record: Any, read: Any) -> None:
    assert check_compatible(writer, reader) == []
    assert _resolved(writer, reader, record) == read


def test_one_field_of_the_writer_cant_serve_two_and_two_cant_serve_one() -> None:
    two = _event({"name": "a", "type": "int"}, {"name": "b", "type": "int"})
    assert check_compatible(two, _event({"name": "b", "type": "int", "aliases": ["a"]})) == [
        "E.b: the writer has several fields for it: b, a"
    ]
    both = _event({"name": "p", "type": "int", "aliases": ["x"]}, {"name": "q", "type": "int", "aliases": ["x"]})
    assert check_compatible(_one("int"), both) == ["E.q: the writer's x is taken by p already"]


def test_timestamps_of_other_units_would_be_misread() -> None:
    millis = _one({"type": "long", "logicalType": "timestamp-millis"})
    micros = _one(["null", {"type": "long", "logicalType": "timestamp-micros"}])
    local = _one({"type": "long", "logicalType": "local-timestamp-millis"})
    said = ["E.x: the writer's timestamp in millis would be misread as micros"]
    assert check_compatible(millis, micros) == misread(millis, micros) == said
    assert check_compatible(millis, local) == []
    assert misread(_one("string"), _one("long")) == []


def test_backward_forward_and_full_ask_the_right_ways_round() -> None:
    old, new = _one("int"), _event({"name": "x", "type": "int"}, {"name": "y", "type": "int"})
    fault = "E.y: the writer has no such field, and the reader gives no default"
    assert check_evolution(old, new, "BACKWARD") == [f"new reading old: {fault}"]
    assert check_evolution(old, new, "FORWARD") == []
    assert check_evolution(old, new, "FULL") == [f"new reading old: {fault}"]
    assert check_evolution(new, old, "FORWARD") == [f"old reading new: {fault}"]
    assert check_evolution(new, old, "FULL") == [f"old reading new: {fault}"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_compatible_means_that_every_record_resolves_and_incompatible_that_one_does_not(
    data: st.DataObject,
) -> None:
    drawn = data.draw(schemas())
    before, after = load_schema(drawn), load_schema(data.draw(changed(drawn)))
    writer, reader = (before, after) if data.draw(st.booleans()) else (after, before)
    problems = check_compatible(writer, reader)
    if not problems:
        record = data.draw(values(writer.root))
        read = _resolved(writer, reader, record)
        assert sorted(read) == sorted(reader.field_names)
        assert not any(_fails(writer, reader, each) for each in witnesses(writer.root))
    elif set(problems) != set(misread(writer, reader)):
        assert any(_fails(writer, reader, each) for each in witnesses(writer.root)), problems
