"""Records read as columns are those that fastavro reads one by one: the same values, nothing damaged let through."""

import io
import math
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.arrive import columns
from stream.arrive.columnar import kernel
from stream.arrive.columns import ColumnDecoder, Decoded
from stream.arrive.node import Node
from stream.arrive.reject import CODES
from stream.arrive.schema import EventSchema, load_schema
from tests.unit import arrive_strategies as arrive

MANY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # the first call compiles
LAX = {
    kernel.VARINT, kernel.INTEGER, kernel.BOOL, kernel.BRANCH, kernel.SYMBOL, kernel.BLOCK, kernel.LENGTH, kernel.BEYOND
}  # fmt: skip
"""What fastavro may take although the specification doesn't; of lengths only those of blocks, in bytes."""
EXTREME = [
    b"\xff" * 9 + b"\x01", b"\xfe" + b"\xff" * 8 + b"\x01", b"\xff" * 9 + b"\x03", b"\x80" * 11 + b"\x00", b"\x01",
    b"\x03", b"\x80\x00", b"\xff" * 9 + b"\x01" * 2, b"\xfe\xff\xff\xff\x0f", b"\x80\x80\x80\x80\x10",
]  # fmt: skip


def leaves(node: Node, prefix: str = "") -> Iterator[str]:
    """Dotted names of all that can be columns."""
    for each in node.fields:
        name, bare = prefix + each.name, each.type.bare
        if bare.type == "record":
            yield from leaves(bare, name + ".")
        elif bare.type not in ("array", "map"):
            yield name


def value_at(record: Any, name: str) -> Any:
    for part in name.split("."):
        record = None if record is None else record[part]
    return record


def laid_out(values: list[bytes], gap: bytes = b"") -> tuple[Any, Any, Any]:
    size = np.array([len(v) for v in values], np.int64)
    start = len(gap) + np.cumsum(size + len(gap)) - size - len(gap)
    return np.frombuffer(bytearray(gap + gap.join(values) + gap), np.uint8), start, start + size


def decoded_value(data: Any, found: Decoded, name: str, row: int) -> Any:
    column = found.columns[name]
    if not column.present[row]:
        return None
    if column.kind in ("string", "bytes"):
        value = data[column.start[row] : column.end[row]].tobytes()
        return value.decode() if column.kind == "string" else value
    value = column.values[row].item()
    if column.kind == "enum":
        return column.symbols[value]
    return bool(value) if column.kind == "boolean" else value


def same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return (math.isnan(one) and math.isnan(other)) or struct.pack("<d", one) == struct.pack("<d", other)
    return type(one) is type(other) and one == other


def check(schema: EventSchema, values: list[bytes], gap: bytes) -> Decoded:
    """Hold what is decoded to what fastavro makes of each value."""
    decoder = ColumnDecoder.of(schema, list(leaves(schema.root)))
    assert decoder is not None
    data, start, end = laid_out(values, gap)
    found = decoder.decode(data, start, end)
    for row, value in enumerate(values):
        error, source = int(found.error[row]), io.BytesIO(value)
        try:
            record: Any = fastavro.schemaless_reader(source, schema.decoding, None)
            whole = source.tell() == len(value)
        except Exception:
            record, whole = None, False
        if not whole:
            assert error in columns.ERRORS, (row, value)
        elif error:
            assert error in LAX, (row, value, error)
            assert error == kernel.INTEGER or arrive.encoded(schema, record) != value  # it writes long ints too
        for name in found.columns:
            given, wanted = decoded_value(data, found, name, row), None if error else value_at(record, name)
            assert same(given, wanted), (row, name, given, wanted)
        if error:
            assert not any(
                c.present[row] or any(a[row : row + 1].any() for a in (c.values, c.start, c.end))
                for c in found.columns.values()
            )
    return found


@st.composite
def damaged(draw: st.DrawFn, value: bytes) -> bytes:
    """The value after some damage."""
    raw = bytearray(value)
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(raw)))
        match draw(st.sampled_from(["flip", "cut", "insert", "delete", "append", "extreme", "random", "chop"])):
            case "flip" if at < len(raw):
                raw[at] ^= draw(st.integers(1, 255))
            case "cut":
                del raw[at:]
            case "chop":
                del raw[:at]
            case "insert":
                raw[at:at] = draw(st.binary(min_size=1, max_size=4))
            case "delete":
                del raw[at : at + 1]
            case "append":
                raw += draw(st.binary(min_size=1, max_size=4))
            case "extreme":
                raw[at : at + 1] = draw(st.sampled_from(EXTREME))
            case "random":
                raw = bytearray(draw(st.binary(max_size=30)))
    return bytes(raw)


@st.composite
def streams(draw: st.DrawFn) -> tuple[EventSchema, list[bytes]]:
    """A schema, and records of it."""
    schema = load_schema(draw(arrive.schemas()))
    records = draw(st.lists(arrive.values(schema.root), min_size=1, max_size=6))
    return schema, [arrive.encoded(schema, each) for each in records + arrive.witnesses(schema.root)]


@MANY
@given(streams(), st.binary(max_size=3))
def test_whole_records_have_fastavros_values(stream: tuple[EventSchema, list[bytes]], gap: bytes) -> None:
    assert not check(*stream, gap).error.any()


@settings(MANY, max_examples=300)
@given(st.data(), streams())
def test_damage_is_found(data: st.DataObject, stream: tuple[EventSchema, list[bytes]]) -> None:
    schema, values = stream
    check(schema, [data.draw(damaged(v)) if data.draw(st.integers(0, 3)) else v for v in values], b"")


@MANY
@given(streams())
def test_cut_records_end_where_they_say_whatever_follows(stream: tuple[EventSchema, list[bytes]]) -> None:
    """The rest of the record lies behind the cut."""
    schema, (value, *_) = stream
    decoder = ColumnDecoder.of(schema, [])
    assert decoder is not None
    data, cuts = np.frombuffer(bytearray(value), np.uint8), np.arange(len(value) + 1)
    assert (decoder.decode(data, np.zeros_like(cuts), cuts).error != 0).tolist() == [True] * len(value) + [False]
    longer = np.frombuffer(bytearray(value + value), np.uint8)
    found = decoder.decode(longer, np.zeros(len(value), np.int64), len(value) + 1 + np.arange(len(value)))
    assert (found.error == kernel.TRAILING).all()


@MANY
@given(streams(), st.data())
def test_each_choice_of_columns_gives_the_same_columns_and_errors(
    stream: tuple[EventSchema, list[bytes]], data: st.DataObject
) -> None:
    schema, values = stream
    names = list(leaves(schema.root))
    placed = laid_out([data.draw(damaged(v)) if data.draw(st.booleans()) else v for v in values])
    chosen = [n for n in names if data.draw(st.booleans())]
    all_of, some_of = ColumnDecoder.of(schema, names), ColumnDecoder.of(schema, chosen)
    assert all_of is not None
    assert some_of is not None
    assert list(some_of.kinds) == chosen
    whole, part = all_of.decode(*placed), some_of.decode(*placed)
    assert whole.error.tolist() == part.error.tolist()
    for name, column in part.columns.items():
        other = whole.columns[name]
        assert column.kind == other.kind == some_of.kinds[name]
        for one, two in ((column.values, other.values), (column.start, other.start), (column.end, other.end)):
            assert one.tobytes() == two.tobytes()


LONG_ARRAY, LONG_MAP = {"type": "array", "items": "long"}, {"type": "map", "values": "long"}
ENUM = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
CASES: list[tuple[Any, bytes, int]] = [
    ("boolean", b"\x01", 0), ("boolean", b"\x02", kernel.BOOL), ("boolean", b"", kernel.TRUNCATED),
    ("long", b"\xff" * 9 + b"\x01", 0), ("long", b"\xff" * 9 + b"\x02", kernel.VARINT), ("long", b"\x80\x00", 0),
    ("long", b"\x80" * 9 + b"\x80\x00", kernel.VARINT), ("long", b"\x80" * 30, kernel.VARINT),
    ("long", b"\x80" * 9, kernel.TRUNCATED), ("long", b"\x02\x02", kernel.TRAILING),
    ("int", b"\xff\xff\xff\xff\x0f", 0), ("int", b"\xfe\xff\xff\xff\x0f", 0),
    ("int", b"\x80\x80\x80\x80\x10", kernel.INTEGER), ("int", b"\x81\x80\x80\x80\x10", kernel.INTEGER),
    ("float", b"abc", kernel.TRUNCATED), ("float", b"\x01\x00\x80\x7f", 0), ("double", b"abcdefg", kernel.TRUNCATED),
    ("string", b"\x01", kernel.LENGTH), ("string", b"\x02", kernel.BEYOND), ("string", b"\x02\xff", kernel.UTF8),
    ("string", b"\xfe" + b"\xff" * 8 + b"\x01", kernel.BEYOND), ("bytes", b"\xff" * 9 + b"\x01", kernel.LENGTH),
    ("bytes", b"\x02\xff", 0), ({"type": "fixed", "name": "F", "size": 2}, b"a", kernel.TRUNCATED),
    (ENUM, b"\x02", 0), (ENUM, b"\x04", kernel.SYMBOL), (ENUM, b"\x01", kernel.SYMBOL),
    (["null", "long"], b"\x00", 0), (["null", "long"], b"\x04\x02", kernel.BRANCH),
    (["null", "long"], b"\x01\x02", kernel.BRANCH), (["long", "null"], b"\x02", 0),
    (LONG_ARRAY, b"\x01\x02\x02\x00", 0), (LONG_ARRAY, b"\x01\x04\x02\x00", kernel.BLOCK),
    (LONG_ARRAY, b"\x01\x01\x02\x00", kernel.LENGTH), (LONG_ARRAY, b"\x01\x0a\x02\x00", kernel.BEYOND),
    (LONG_ARRAY, b"\xfe" + b"\xff" * 8 + b"\x01" + b"\x02" * 99, kernel.BEYOND),
    (LONG_ARRAY, b"\xff" * 9 + b"\x01" + b"\x02" * 99, kernel.LENGTH), (LONG_ARRAY, b"\x02\x02", kernel.TRUNCATED),
    (LONG_ARRAY, b"\x06\x02\x00", kernel.BEYOND), (LONG_MAP, b"\x02\x02a\x02\x00", 0),
    (LONG_MAP, b"\x02\x02\xff\x02\x00", kernel.UTF8),
    (LONG_MAP, b"\x02\x01\x02\x00", kernel.LENGTH),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "error"), CASES)
def test_errors_by_name(kind: Any, value: bytes, error: int) -> None:
    schema = load_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]})
    assert check(schema, [value], b"\x00").error.tolist() == [error]


def test_utf8_is_taken_as_python_takes_it() -> None:
    """Every sequence of two bytes, and of more every one that begins as a character and is near an edge."""
    edges = [0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xFF]
    texts = [bytes((a, b)) for a in range(256) for b in range(256)]
    texts += [bytes((a, b, c)) for a in range(0xC0, 256) for b in edges for c in edges]
    texts += [bytes((a, b, c, d)) for a in range(0xE0, 256) for b in edges for c in edges for d in edges]
    schema = load_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": "string"}]})
    decoder = ColumnDecoder.of(schema)
    assert decoder is not None
    found = decoder.decode(*laid_out([bytes([2 * len(t)]) + t for t in texts], b"\x80")).error
    assert [not e for e in found] == [t.decode(errors="ignore").encode() == t for t in texts]


@pytest.mark.parametrize(("start", "end"), [(-1, 2), (2, 1), (0, 5), (2**62, 2**63 - 1)])
def test_a_place_outside_the_buffer(start: int, end: int) -> None:
    schema = load_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": "string"}]})
    decoder = ColumnDecoder.of(schema)
    assert decoder is not None
    found = decoder.decode(np.zeros(4, np.uint8), np.array([start, 0]), np.array([end, 1]))
    assert found.error.tolist() == [kernel.OUTSIDE, 0]


def test_what_is_no_column_is_left_to_fastavro() -> None:
    inner = {"type": "record", "name": "I", "fields": [{"name": "a", "type": "long"}, {"name": "b", "type": LONG_MAP}]}
    fields = [{"name": "f", "type": ["null", inner]}, {"name": "g", "type": "string"}]
    schema = load_schema({"type": "record", "name": "R", "fields": fields})
    for wanted in (None, ["f"], ["f.b"], ["g", "h"], ["a"]):
        assert ColumnDecoder.of(schema, wanted) is None
    decoder = ColumnDecoder.of(schema, ["g", "f.a"])
    assert decoder is not None
    assert decoder.kinds == {"f.a": "long", "g": "string"}


def test_every_error_is_a_reject() -> None:
    assert set(columns.REJECTS) == set(columns.ERRORS) == set(range(1, 13))
    assert set(columns.REJECTS.values()) <= CODES.keys()


def test_no_byte_outside_is_touched(tmp_path: Path) -> None:
    """Compiled with checks of bounds, on cut and damaged records that end with the buffer."""
    script = """
import random, numpy as np
from stream.arrive.columns import ColumnDecoder
from tests.unit.test_columns import CASES, EXTREME
from stream.arrive.schema import load_schema
draw = random.Random(5)
for kind, value, error in CASES:
    schema = load_schema({"type": "record", "name": "R", "fields": [{"name": "f", "type": kind}]})
    decoder = ColumnDecoder.of(schema, []) if "items" in kind or "values" in kind else ColumnDecoder.of(schema)
    for _ in range(200):
        raw = bytearray(value)
        raw[draw.randrange(len(raw) + 1):] = draw.choice([b"", draw.randbytes(3), draw.choice(EXTREME)])
        decoder.decode(np.frombuffer(raw, np.uint8), np.array([0]), np.array([len(raw)]))
print("done")
"""
    env = os.environ | {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, timeout=120)
    assert done.stdout == "done\n", done.stderr
