"""Framing and decoding: what a stranger puts into a topic gives a record or a reason, never an exception."""

import io
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from arrive_strategies import changed, encoded, schemas, values
from fastavro import schemaless_reader
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from stream.arrive import framing
from stream.arrive.evolve import check_compatible
from stream.arrive.framing import Decoder, Framed, frame_confluent, frame_single_object, unframe
from stream.arrive.reject import Reject
from stream.arrive.schema import EventSchema, load_schema
from stream.errors import BrokerError, SchemaError

LOOSE = settings(max_examples=80, deadline=None)


def _event(*fields: Any) -> EventSchema:
    listed = [each if isinstance(each, dict) else {"name": each[0], "type": each[1]} for each in fields]
    return load_schema({"type": "record", "name": "E", "fields": listed})


def _one(kind: Any) -> EventSchema:
    return _event(("x", kind))


def _decoder(reader: EventSchema, *writers: EventSchema, size_max: int = 1 << 20) -> Decoder:
    known: dict[bytes | int, EventSchema] = {each.fingerprint: each for each in (reader, *writers)}
    return Decoder(reader, known.get, size_max)


def _zigzag(number: int) -> bytes:
    number, out = (number << 1) ^ (number >> 63), b""
    number &= (1 << 64) - 1
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def _code(found: Any) -> str:
    assert isinstance(found, Reject), found
    assert found.detail
    return found.code


LONG = _one("long")


def test_both_framings_come_apart_as_they_were_made() -> None:
    assert frame_single_object(LONG, b"\x02") == b"\xc3\x01" + LONG.fingerprint + b"\x02"
    assert frame_confluent(258, b"\x02") == b"\x00\x00\x00\x01\x02\x02"
    assert unframe(frame_single_object(LONG, b"ab")) == Framed("single_object", LONG.fingerprint, memoryview(b"ab"))
    assert unframe(frame_confluent(258, b"")) == Framed("confluent", 258, memoryview(b""))


@pytest.mark.parametrize("value", [b"\xc3", b"\xc3\x01" + b"7" * 7, b"\x00" * 4, b'{"x": 1}', b"\x01" * 20])
def test_another_framing_is_rejected_saying_how_it_starts(value: bytes) -> None:
    for found in (unframe(value), _decoder(LONG).decode(value)):
        assert isinstance(found, Reject)
        assert found.code == "framing.unknown"
        assert value[:10].hex(" ") in found.detail


@pytest.mark.parametrize("value", [b"", None])
def test_an_empty_value_is_rejected(value: bytes | None) -> None:
    assert _code(_decoder(LONG).decode(value)) == "value.empty"
    assert _code(unframe(b"")) == "value.empty"


def test_a_value_over_the_limit_is_rejected_naming_both_sizes() -> None:
    schema = _one("string")
    fits, over = (frame_single_object(schema, _zigzag(n) + b"a" * n) for n in (19, 20))
    for first in (fits, over):  # the limit holds before and after the writer is known
        decoder = _decoder(schema, size_max=30)
        decoder.decode(first)
        assert decoder.decode(fits) == {"x": "a" * 19}
        assert decoder.decode(over) == Reject("value.too_large", "a value of 31 bytes, at most 30 allowed")


def test_an_unknown_writer_is_rejected_by_name_and_looked_up_again_next_time() -> None:
    asked: list[bytes | int] = []
    answers: list[EventSchema | None] = [None, LONG]

    def find(key: bytes | int) -> EventSchema | None:
        asked.append(key)
        return answers.pop(0)

    decoder = Decoder(LONG, find)
    found = decoder.decode(frame_confluent(77, b"\x02"))
    assert found == Reject("schema.unknown", "no schema is known here under registry id 77")
    assert decoder.decode(frame_confluent(77, b"\x02")) == {"x": 1}
    assert decoder.decode(frame_confluent(77, b"\x04")) == {"x": 2}
    assert asked == [77, 77]
    gone = _decoder(LONG).decode(b"\xc3\x01abcdefgh\x02")
    assert gone == Reject("schema.unknown", f"no schema is known here under fingerprint {b'abcdefgh'.hex()}")


def test_a_refused_writer_is_a_reject_and_an_unreachable_registry_is_not() -> None:
    def find(error: Exception) -> Callable[[bytes | int], EventSchema | None]:
        def raising(_: bytes | int) -> EventSchema | None:
            raise error

        return raising

    found = Decoder(LONG, find(SchemaError("a union of three"))).decode(frame_confluent(7, b"\x02"))
    assert found == Reject("schema.refused", "registry id 7: a union of three")
    with pytest.raises(BrokerError):
        Decoder(LONG, find(BrokerError("down"))).decode(frame_confluent(7, b"\x02"))


def test_a_writer_whose_timestamps_would_be_misread_is_refused() -> None:
    millis, micros = (_one({"type": "long", "logicalType": f"timestamp-{unit}"}) for unit in ("millis", "micros"))
    decoder = Decoder(millis, lambda _: micros)
    assert _code(decoder.decode(frame_confluent(1, b"\x02"))) == "schema.refused"
    assert Decoder(millis, lambda _: millis).decode(frame_confluent(1, b"\x02")) == {"x": 1}


def test_the_writers_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(framing, "WRITERS_MAX", 2)
    asked: list[bytes | int] = []
    decoder = Decoder(LONG, lambda key: asked.append(key) or LONG)  # type: ignore[func-returns-value]
    for schema_id in (1, 2, 3, 3, 2, 1):
        assert decoder.decode(frame_confluent(schema_id, b"\x02")) == {"x": 1}
    assert asked == [1, 2, 3, 1]


@pytest.mark.parametrize(
    ("kind", "payload", "said"),
    [
        ("string", _zigzag(2) + b"\xff\xff", "UnicodeDecodeError"),
        ("string", _zigzag((1 << 63) - 1) + b"abc", "EOFError"),
        ("string", _zigzag(-1) + b"abc", "EOFError"),
        ("bytes", _zigzag(-(1 << 63)) + b"abc", "EOFError"),
        ("double", b"\x00" * 7, "EOFError"),
        ("long", b"", "EOFError at byte 10 of 10: the value ends too early"),
        ("long", b"\xff" * 30, "IndexError"),
        ("boolean", b"", "EOFError"),
        (["null", "string"], _zigzag(2), "IndexError"),
        ({"type": "enum", "name": "W", "symbols": ["A"]}, _zigzag(1), "IndexError"),
        ({"type": "array", "items": "long"}, _zigzag(1 << 62) + b"\x00" * 99, "EOFError"),
        ({"type": "map", "values": "long"}, _zigzag(1 << 62) + b"\x00" * 99, "EOFError"),
        ({"type": "array", "items": "double"}, _zigzag(-5) + _zigzag(-9) + b"\x00" * 9, "EOFError"),
    ],
)
def test_bytes_that_are_no_record_are_rejected_with_the_cause(kind: Any, payload: bytes, said: str) -> None:
    schema = _one(kind)
    found = _decoder(schema).decode(frame_single_object(schema, payload))
    assert _code(found) == "avro.undecodable"
    assert isinstance(found, Reject)
    assert found.detail.startswith(said)


@pytest.mark.parametrize(
    ("kind", "cut"),
    [
        ("double", b"\x00" * 7),
        ("boolean", b""),
        ("string", _zigzag(50) + b"a"),
        ({"type": "fixed", "name": "F", "size": 4}, b"abc"),
        ({"type": "array", "items": "double"}, _zigzag(1 << 62)),
        ({"type": "map", "values": "double"}, _zigzag(1 << 62)),
    ],
)
@pytest.mark.parametrize("promoted", [False, True])
def test_a_cut_field_that_the_reader_lacks_is_not_skipped_unseen(kind: Any, cut: bytes, promoted: bool) -> None:
    writer, reader = _event(("x", "int"), ("extra", kind)), _one("double" if promoted else "int")
    started = time.monotonic()
    found = _decoder(reader, writer).decode(frame_single_object(writer, b"\x02" + cut))
    assert _code(found) == "avro.undecodable"
    assert time.monotonic() - started < 2


def test_the_value_of_many_tiny_nested_items_is_too_large_before_it_fills_the_memory() -> None:
    inner: Any = "boolean"
    for level in range(8):
        inner = {"type": "record", "name": f"R{level}", "fields": [{"name": "f", "type": inner}]}
    schema = _one({"type": "array", "items": inner})
    decoder = _decoder(schema)
    bomb = frame_single_object(schema, _zigzag(1 << 19) + b"\x01" * (1 << 19) + b"\x00")
    assert _code(decoder.decode(bomb)) == "value.too_large"
    assert _code(decoder.decode(bomb)) == "value.too_large"
    items = schema.size_max(1 << 20) - 4
    value = frame_single_object(schema, _zigzag(items) + b"\x01" * items + b"\x00")
    decoder.decode(value[:9] + b"?")  # whatever is imported late
    tracemalloc.start()
    found = decoder.decode(value)
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert isinstance(found, dict)
    assert len(found["x"]) == items
    assert 0.3 * (1 << 20) < held <= 1.1 * (1 << 20)  # the estimate is an upper bound, and not an idle one


@LOOSE
@given(st.data())
def test_what_was_encoded_comes_back_in_both_framings(data: st.DataObject) -> None:
    schema = load_schema(data.draw(schemas()))
    record = data.draw(values(schema.root))
    decoder = Decoder(schema, lambda key: schema if key in (schema.fingerprint, 9) else None)
    payload = encoded(schema, record)
    for _ in range(2):
        assert decoder.decode(frame_single_object(schema, payload)) == record
        assert decoder.decode(frame_confluent(9, payload)) == record


@LOOSE
@given(st.data())
def test_prefixes_flips_and_tails_give_a_record_or_a_reject_but_never_an_exception(
    data: st.DataObject,
) -> None:
    schema = load_schema(data.draw(schemas()))
    value = frame_single_object(schema, encoded(schema, data.draw(values(schema.root))))
    decoder = _decoder(schema)
    for end in range(len(value)):
        assert isinstance(decoder.decode(value[:end]), Reject)
    tail = data.draw(st.binary(min_size=1, max_size=9))
    assert _code(decoder.decode(value + tail)) == "avro.trailing"
    for flip in data.draw(st.lists(st.integers(0, len(value) * 8 - 1), max_size=20)):
        damaged = bytearray(value)
        damaged[flip // 8] ^= 1 << flip % 8
        found = decoder.decode(bytes(damaged))
        if not isinstance(found, Reject):
            assert list(found) == list(schema.field_names)
            encoded(schema, found)  # what was taken is a record of the schema


@LOOSE
@given(st.data())
def test_resolution_gives_what_fastavro_gives_in_the_readers_fields(data: st.DataObject) -> None:
    drawn = data.draw(schemas())
    before, after = load_schema(drawn), load_schema(data.draw(changed(drawn)))
    writer, reader = (before, after) if data.draw(st.booleans()) else (after, before)
    assume(not check_compatible(writer, reader))
    payload = encoded(writer, data.draw(values(writer.root)))
    value, decoder = frame_single_object(writer, payload), _decoder(reader, writer)
    assert decoder.decode(value) == schemaless_reader(io.BytesIO(payload), writer.decoding, reader.decoding)
    assert _code(decoder.decode(value + b"\x00")) == "avro.trailing"
    for end in range(len(value)):
        assert isinstance(decoder.decode(value[:end]), Reject)


X, NOTE = ("x", ["null", "int"]), {"name": "note", "type": "string", "default": "none"}


@pytest.mark.parametrize(
    ("reader", "record", "passes"),
    [
        (_event(X), {"x": 4}, 1),
        (_event(("x", ["int", "null"])), {"x": 4}, 1),
        (_event({"name": "new", "type": X[1], "aliases": ["old", "x"]}, NOTE), {"new": 4, "note": "none"}, 1),
        (_event(("x", ["null", "double"])), {"x": 4.0}, 2),
        (_event(X, {"name": "y", "type": "string", "aliases": ["gone"]}), {"x": 4, "y": "s"}, 1),
    ],
)
def test_only_a_changed_type_costs_a_second_pass(
    reader: EventSchema, record: Any, passes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = _event(X, ("gone", "string"))
    seen: list[int] = []
    monkeypatch.setattr(framing, "_read", lambda *args: seen.append(1) or schemaless_reader(*args))
    payload = encoded(writer, {"x": 4, "gone": "s"})
    assert _decoder(reader, writer).decode(frame_single_object(writer, payload)) == record
    assert len(seen) == passes


def test_a_writer_that_cant_be_resolved_is_rejected_and_not_guessed_at() -> None:
    value = frame_single_object(LONG, b"\x02")
    stranger = load_schema({"type": "record", "name": "Other", "fields": [{"name": "x", "type": "long"}]})
    both = _event(*({"name": name, "type": "long", "aliases": ["x"]} for name in "pq"))
    for reader in (stranger, both, _event(("y", "long"))):
        assert check_compatible(LONG, reader)
        assert _code(_decoder(reader, LONG).decode(value)) == "avro.undecodable"
    two, one = (
        _event(("a", "long"), ("b", "long")),
        _event({"name": "y", "type": "long", "aliases": ["a", "b"]}),
    )
    assert _code(_decoder(one, two).decode(frame_single_object(two, b"\x02\x04"))) == "avro.undecodable"


def test_a_long_value_of_a_stranger_is_not_even_looked_up() -> None:
    decoder = Decoder(LONG, lambda _: pytest.fail("looked up"), size_max=9)
    assert _code(decoder.decode(frame_confluent(1, b"12345"))) == "value.too_large"


def test_a_symbol_or_null_that_the_reader_cant_hold_is_rejected_and_others_are_not() -> None:
    writer = _event(("x", ["null", "long"]))
    decoder = _decoder(LONG, writer)
    assert decoder.decode(frame_single_object(writer, encoded(writer, {"x": 4}))) == {"x": 4}
    assert _code(decoder.decode(frame_single_object(writer, encoded(writer, {"x": None})))) == "avro.undecodable"


def test_memory_running_out_is_not_the_events_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(framing, "_read", exhausted)
    with pytest.raises(MemoryError):
        _decoder(LONG).decode(frame_single_object(LONG, b"\x02"))
