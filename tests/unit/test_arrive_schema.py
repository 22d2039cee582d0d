"""Reading event schemas: what is taken, what it says of the fields, and what is refused and where."""

import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from arrive_strategies import encoded, schemas, values
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.arrive.schema import DEPTH_MAX, FIXED_BYTES_MAX, LEAVES_MAX, load_schema, schema_from_text
from stream.errors import SchemaError


def _event(*fields: Any, **more: Any) -> dict[str, Any]:
    return {"type": "record", "name": "E", "fields": list(fields)} | more


def _one(kind: Any, **more: Any) -> dict[str, Any]:
    return _event({"name": "x", "type": kind} | more)


def _nested(depth: int, inner: Any = "long") -> dict[str, Any]:
    """Records inside one another; with `inner` at `depth`, the event being at 1."""
    for level in range(depth - 1):
        inner = {"type": "record", "name": f"R{level}", "fields": [{"name": "f", "type": inner}]}
    assert isinstance(inner, dict)
    return inner


@pytest.mark.parametrize(
    ("given_", "mark"),
    [  # from Avro's own file of test cases, where the number is a signed 64-bit one
        ({"fields": [{"type": {"type": "boolean"}, "name": "f1"}], "type": "record", "name": "foo"},
         7843277075252814651),
        ({"fields": [{"type": "boolean", "aliases": [], "name": "f1"},
                     {"order": "descending", "name": "f2", "doc": "Hello", "type": "int"}],
          "type": "record", "name": "foo"}, -4860222112080293046),
    ],
)  # fmt: skip
def test_the_fingerprint_is_the_one_of_avros_own_test_cases(given_: dict[str, Any], mark: int) -> None:
    assert load_schema(given_).fingerprint == mark.to_bytes(8, "little", signed=True)


def test_the_canonical_form_leaves_out_what_does_not_change_the_bytes() -> None:
    plain = load_schema(_event({"name": "x", "type": "int"}, namespace="n"))
    dressed = _event({"name": "x", "type": {"type": "int"}, "doc": "d", "default": 3}, namespace="n", doc="d")
    other = load_schema(dressed | {"aliases": ["Old"]})
    assert plain.canonical == other.canonical
    assert plain.canonical == '{"name":"n.E","type":"record","fields":[{"name":"x","type":"int"}]}'
    assert plain.fingerprint == other.fingerprint
    assert plain != other


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("int", ("long", False, None)),
        ("long", ("long", False, None)),
        ("float", ("double", False, None)),
        (["null", "double"], ("double", True, None)),
        (["string", "null"], ("string", True, None)),
        ("boolean", ("boolean", False, None)),
        ("bytes", ("bytes", False, None)),
        ({"type": "fixed", "name": "F", "size": 4}, ("bytes", False, None)),
        ({"type": "enum", "name": "W", "symbols": ["A"]}, ("enum", False, None)),
        ({"type": "array", "items": "string"}, ("array", False, None)),
        ({"type": "map", "values": ["null", "long"]}, ("map", False, None)),
        (_one("long") | {"name": "In"}, ("record", False, None)),
        ({"type": "long", "logicalType": "timestamp-millis"}, ("timestamp", False, "millis")),
        (["null", {"type": "long", "logicalType": "local-timestamp-micros"}], ("timestamp", True, "micros")),
        ({"type": "long", "logicalType": "timestamp-nanos"}, ("timestamp", False, "nanos")),
        ({"type": "int", "logicalType": "timestamp-millis"}, ("long", False, None)),
        ({"type": "int", "logicalType": "date"}, ("long", False, None)),
        ({"type": "string", "logicalType": "uuid"}, ("string", False, None)),
        ({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}, ("bytes", False, None)),
        ({"type": "string", "logicalType": 5}, ("string", False, None)),
    ],
)
def test_each_field_tells_its_kind_its_unit_and_whether_null(kind: Any, told: tuple[Any, ...]) -> None:
    schema = load_schema(_one(kind))
    field = schema.fields[0]
    assert (field.kind, field.nullable, field.unit) == told
    assert schema.field_names == ("x",)


def test_a_timestamp_can_be_written_as_a_time_and_is_read_as_an_exact_number() -> None:
    schema = load_schema(_one({"type": "long", "logicalType": "timestamp-micros"}))
    assert schema.parsed["fields"][0]["type"]["logicalType"] == "timestamp-micros"
    assert schema.decoding["fields"][0]["type"] == "long"


def test_a_path_a_mapping_and_text_give_the_same(tmp_path: Path) -> None:
    file = tmp_path / "e.avsc"
    file.write_text(json.dumps(_one("long"), indent=2))
    schema = load_schema(file)
    assert schema == load_schema(str(file)) == load_schema(_one("long")) == schema_from_text(json.dumps(_one("long")))
    assert len({schema, load_schema(_one("long"))}) == 1
    assert schema_from_text(schema.text) == schema


@pytest.mark.parametrize("kind", ["string", ["null", "string"], {"type": "array", "items": "long"}])
def test_an_event_that_is_no_record_is_refused(kind: Any) -> None:
    with pytest.raises(SchemaError, match=r"^given: \(top\): given .* an event is a record"):
        schema_from_text(json.dumps(kind), "given")


EMPTY = {"type": "record", "name": "Z", "fields": []}
SELF = {"type": "record", "name": "S", "fields": [{"name": "next", "type": ["null", "S"]}]}


@pytest.mark.parametrize(
    ("kind", "place", "said"),
    [
        ("null", "E.x", "null only in a union with one type"),
        ({"type": "array", "items": "null"}, "E.x[]", "null only in a union"),
        ({"type": "map", "values": "null"}, "E.x{}", "null only in a union"),
        ({"type": "array", "items": EMPTY}, "E.x[]", "takes no bytes"),
        ({"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}}, "E.x[]", 'a "size" of 1 to'),
        (EMPTY, "E.x", "takes no bytes"),
        ({"type": "fixed", "name": "F", "size": FIXED_BYTES_MAX + 1}, "E.x", f"of 1 to {FIXED_BYTES_MAX}"),
        ({"type": "fixed", "name": "F", "size": True}, "E.x", 'a "size"'),
        (SELF, "E.x.next", "S is recursive"),
        ({"type": "array", "items": "E"}, "E.x[]", "E is recursive"),
        (["null", "int", "string"], "E.x", "a union of null and exactly one type"),
        (["int", "string"], "E.x", "a union of null and exactly one type"),
        (["int"], "E.x", "a union of null and exactly one type"),
        (["null", "null"], "E.x", "a union of null and exactly one type"),
        ([], "E.x", "a union of null and exactly one type"),
        (["null", ["null", "int"]], "E.x", "no union directly inside a union"),
        (_one(["long", "string"]) | {"name": "In"}, "E.x.x", "a union of null and exactly one type"),
        ("number", "E.x", "boolean, int, long"),
        ({"type": "array"}, "E.x", '"items" beside'),
        ({"type": "map"}, "E.x", '"values" beside'),
        ({"items": "long"}, "E.x", "an object with a type"),
        ({"type": {"type": "long"}}, "E.x", "an object with a type"),
        (7, "E.x", "a type's name"),
        ({"type": "enum", "name": "W", "symbols": []}, "E.x", "at least one symbol"),
        ({"type": "enum", "name": "W", "symbols": ["A", "A"]}, "E.x", "each once"),
        ({"type": "enum", "name": "W", "symbols": ["a b"]}, "E.x", "letters, digits"),
        ({"type": "enum", "name": "W", "symbols": ["A"], "default": "B"}, "E.x", "a default that is one of"),
        ({"type": "enum", "symbols": ["A"]}, "E.x", 'a "name"'),
        ({"type": "enum", "name": 'a"b', "symbols": ["A"]}, "E.x", "letters, digits"),
        ({"type": "enum", "name": "E", "symbols": ["A"]}, "E.x", "defined once"),
        (_nested(DEPTH_MAX), "E.x" + ".f" * (DEPTH_MAX - 1), f"at most {DEPTH_MAX} types"),
    ],
)
def test_what_would_hurt_later_is_refused_with_its_place(kind: Any, place: str, said: str) -> None:
    with pytest.raises(SchemaError) as refused:
        load_schema(_one(kind))
    assert str(refused.value).startswith(f"schema: {place}: given ")
    assert said in str(refused.value)
    assert len(str(refused.value)) < 500


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ([{"name": "x", "type": "int"}, {"name": "x", "type": "int"}], "each field name once"),
        ([{"name": "x"}], '"name" and "type"'),
        ([["x", "int"]], '"name" and "type"'),
        ([{"name": "1x", "type": "int"}], "not starting with a digit"),
        ([{"name": "x", "type": "int", "aliases": "y"}], '"aliases" that are a list'),
        ([], 'at least one field in "fields"'),
        (None, 'at least one field in "fields"'),
    ],
)
def test_fields_that_are_none_are_refused(fields: Any, said: str) -> None:
    with pytest.raises(SchemaError, match=said):
        load_schema(_event() | {"fields": fields})


def test_nesting_is_measured_through_references_too() -> None:
    assert load_schema(_nested(DEPTH_MAX)).root.cost.depth == DEPTH_MAX
    deep = _nested(DEPTH_MAX - 2)  # the outermost is called like its level

    def referring(outer: int) -> dict[str, Any]:
        inner: Any = deep["name"]
        for level in range(outer):
            inner = {"type": "record", "name": f"C{level}", "fields": [{"name": "f", "type": inner}]}
        return _event({"name": "deep", "type": deep}, {"name": "more", "type": inner})

    assert load_schema(referring(1)).root.cost.depth == DEPTH_MAX
    with pytest.raises(SchemaError, match=rf"E\.more\.f\.f: .*at most {DEPTH_MAX} types"):
        load_schema(referring(2))


def test_a_reference_counts_with_all_that_it_stands_for() -> None:
    wide = {"type": "record", "name": "W0", "fields": [{"name": f"f{i}", "type": "int"} for i in range(101)]}
    fields: list[Any] = [{"name": "a", "type": wide}]
    double = {"type": "record", "name": "W1", "fields": [{"name": f"f{i}", "type": "W0"} for i in range(98)]}
    assert load_schema(_event(*fields, {"name": "b", "type": double})).root.cost.leaves <= LEAVES_MAX
    with pytest.raises(SchemaError, match=f"at most {LEAVES_MAX} leaves"):
        load_schema(_event(*fields, {"name": "b", "type": double}, {"name": "c", "type": "W0"}))


@pytest.mark.parametrize(
    "text",
    ["", "{", "\x00", "[" * 100_000, '{"type": NaN}', '"' + "x" * 1_000_001 + '"'],
    ids=lambda text: text[:9],
)
def test_text_that_is_no_json_is_refused_naming_its_source(text: str) -> None:
    with pytest.raises(SchemaError, match=r"^here: "):
        schema_from_text(text, "here")


def test_a_file_that_cant_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bad.avsc").write_bytes(b"\xff\xfe")
    for name in ("none.avsc", "bad.avsc", "."):
        with pytest.raises(SchemaError, match=r"can't be read as a schema"):
            load_schema(tmp_path / name)


@pytest.mark.parametrize(
    ("kind", "default", "value"),
    [
        ("double", 1, 1.0),
        (["null", "float"], 2, 2.0),
        (["null", "float"], None, None),
        (["double", "null"], None, None),
        ("bytes", "\u00ff", b"\xff"),
        ({"type": "fixed", "name": "F", "size": 2}, "ab", b"ab"),
        ({"type": "array", "items": "double"}, [1, 2], [1.0, 2.0]),
        ({"type": "map", "values": "bytes"}, {"k": "v"}, {"k": b"v"}),
        (_event({"name": "a", "type": "double"}, {"name": "b", "type": "int", "default": 5}, name="In"),
         {"a": 1}, {"a": 1.0, "b": 5}),
        ({"type": "enum", "name": "W", "symbols": ["A"]}, "A", "A"),
        ("int", -(2**31), -(2**31)),
        ("boolean", False, False),
    ],
)  # fmt: skip
def test_a_default_becomes_the_value_that_decoding_gives(kind: Any, default: Any, value: Any) -> None:
    field = load_schema(_one(kind, default=default)).fields[0]
    assert field.has_default
    assert field.default == value
    assert type(field.default) is type(value)


@pytest.mark.parametrize(
    ("kind", "default"),
    [
        ("int", 2**31), ("long", 2**63), ("int", True), ("int", 1.0), ("double", "1"), ("double", 10**400),
        ("boolean", 1), ("string", None), ("bytes", "\u0100"), ("bytes", 3),
        ({"type": "fixed", "name": "F", "size": 2}, "a"), ({"type": "array", "items": "int"}, {}),
        ({"type": "array", "items": "int"}, ["a"]), ({"type": "map", "values": "int"}, []),
        ({"type": "enum", "name": "W", "symbols": ["A"]}, "B"), (["null", "int"], "a"),
        (_event({"name": "a", "type": "int"}, name="In"), {}),
    ],
)  # fmt: skip
def test_a_default_that_does_not_fit_is_refused(kind: Any, default: Any) -> None:
    with pytest.raises(SchemaError, match=r"E\.x: given .* a default that fits the type"):
        load_schema(_one(kind, default=default))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_value_takes_the_bytes_that_its_cost_says_and_both_forms_write_the_same(
    data: st.DataObject,
) -> None:
    drawn = data.draw(schemas())
    schema = load_schema(drawn)
    record = data.draw(values(schema.root))
    payload = encoded(schema, record)
    assert len(payload) >= schema.root.cost.wire >= 1
    assert fastavro.schema.to_parsing_canonical_form(schema.decoding) == schema.canonical
    assert schema.canonical == fastavro.schema.to_parsing_canonical_form(fastavro.parse_schema(drawn))


def test_names_in_name_spaces_keep_their_meaning_when_written_out() -> None:
    enum = {"type": "enum", "name": "Way", "symbols": ["A"], "namespace": "far"}
    given_ = _event(
        {"name": "a", "type": enum}, {"name": "b", "type": "far.Way"},
        {"name": "c", "type": {"type": "fixed", "name": "Key", "size": 2}}, {"name": "d", "type": "Key"},
        {"name": "e", "type": {"type": "fixed", "name": "Bare", "size": 2, "namespace": ""}},
        namespace="near",
    )  # fmt: skip
    schema = load_schema(given_)
    names = [each.type.name for each in schema.fields]
    assert names == ["far.Way", "far.Way", "near.Key", "near.Key", "Bare"]
    assert fastavro.schema.to_parsing_canonical_form(schema.decoding) == schema.canonical
