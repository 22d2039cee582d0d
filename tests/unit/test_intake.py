"""Whole polls through compiled decoders and rules for columns against one event at a time: the same block, the same
dead letters, the same counts."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrive_strategies import encoded
from arrive_strategies import schemas as schemas_of_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from consumers.clean import CleanStep
from consumers.settings import Settings
from stream.arrive.columns import ColumnDecoder
from stream.arrive.framing import frame_single_object
from stream.arrive.node import some_value
from stream.arrive.records import Record, records_of
from stream.arrive.schema import EventSchema, load_schema
from stream.block import Block, concat, take
from stream.encode.encoder import Encoder
from stream.limits import TIME_AHEAD_MS_MAX
from stream.spec import Spec

NOW_MS = 1_700_000_000_000


def _nullable(kind: Any) -> list[Any]:
    return ["null", kind]


FIELDS: list[tuple[str, Any]] = [
    ("id", _nullable("string")),
    ("time", {"type": "long", "logicalType": "timestamp-millis"}),
    ("x", _nullable("double")),
    ("n", "long"),
    ("flag", _nullable("boolean")),
    ("c", _nullable("string")),
    ("number", _nullable("int")),
    ("yes", "boolean"),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["A", "b", "GB"]}),
    ("t", _nullable("string")),
    ("tags", {"type": "array", "items": "string"}),
]
SPEC_FIELDS: dict[str, Any] = {
    "x": {"type": "numeric", "min": -5, "max": 10},
    "n": {"type": "numeric", "min": 0, "max": 3, "outside": "clip"},
    "flag": {"type": "boolean", "impute": False},
    "c": {"type": "category", "case": "upper", "unify": {"GB": "UK"}, "required": True},
    "number": {"type": "category", "impute": "none"},
    "yes": {"type": "category"},
    "kind": {"type": "category", "case": "lower"},
    "t": {"type": "text"},
    "time": {"type": "time", "as": ["number", "cycle", "category"], "parts": ["hour", "weekday", "month", "day"]},
    "tags": {"type": "ignore"},
}


def _schema(fields: list[tuple[str, Any]]) -> EventSchema:
    wide = [{"name": n, "type": t, **({"default": None} if isinstance(t, list) else {})} for n, t in fields]
    return load_schema({"type": "record", "name": "E", "fields": wide})


READER = _schema(FIELDS)
OLDER = _schema([f for f in FIELDS if f[0] not in ("number", "t")][::-1])  # fewer fields, in another order
WIDER = _schema([("x", _nullable("float")) if n == "x" else (n, t) for n, t in FIELDS])  # needs resolution

word = st.sampled_from(["gb", "UK", " a", "A", "", "é", "x" * 1100]) | st.text(max_size=4)
event = st.fixed_dictionaries(
    {
        "id": st.none() | st.text(max_size=5) | st.sampled_from(["y" * 300, "é" * 200, "a"]),
        "time": st.sampled_from([NOW_MS, 0, -1, NOW_MS + TIME_AHEAD_MS_MAX + 1]) | st.integers(0, NOW_MS),
        "x": st.none() | st.sampled_from([float("nan"), float("inf"), 0.5, -6.0, 1e18]) | st.floats(width=32),
        "n": st.integers(-2, 5) | st.just(1 << 60),
        "flag": st.none() | st.booleans(),
        "c": st.none() | word,
        "number": st.none() | st.integers(-3, 3),
        "yes": st.booleans(),
        "kind": st.sampled_from(["A", "b", "GB"]),
        "t": st.none() | st.sampled_from(["Some words, some More", "", "é_1 b"]) | st.text(max_size=9),
        "tags": st.lists(st.text(max_size=3), max_size=3),
    }
)
writer = st.sampled_from([READER, READER, READER, OLDER, WIDER])
damage = st.sampled_from(["none"] * 8 + ["cut", "tail", "flip", "head", "empty", "null"])


@st.composite
def values(draw: st.DrawFn) -> bytes | None:
    schema = draw(writer)
    value = bytearray(frame_single_object(schema, encoded(schema, draw(event))))
    match draw(damage):
        case "cut":
            return bytes(value[: draw(st.integers(1, len(value) - 1))])
        case "tail":
            return bytes(value) + b"\0"
        case "flip":
            value[draw(st.integers(0, len(value) - 1))] ^= 1 << draw(st.integers(0, 7))
        case "head":
            return b"\x07" + bytes(value)
        case "empty":
            return b""
        case "null":
            return None
    return bytes(value)


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    folder = tmp_path_factory.mktemp("spec")
    (folder / "event.avsc").write_text(READER.text)
    (folder / "writers").mkdir()
    for name, schema in (("older", OLDER), ("wider", WIDER)):
        (folder / "writers" / f"{name}.avsc").write_text(schema.text)
    event = {"schema": "event.avsc", "id": "id", "time": "time", "fields": SPEC_FIELDS, "writers": "writers"}
    raw = {"name": "p", "task": "binary", "event": event, "arms": {"a": {"model": "linear.logistic"}}}
    return Spec.model_validate({**raw, "folder": folder})


def _letters(outs: Any) -> list[tuple[int, str, str]]:
    letters = [schemas.codec("dead").decode(o.value) for o in outs]
    return sorted((x["offset"], x["code"], x["detail"]) for x in letters)


def _plain(block: Block) -> list[Any]:
    arrays = (block.time_ms, block.partition, block.offset, block.numeric, block.categories, block.tokens)
    return [block.ids, *(a.tobytes() for a in (*arrays, block.token_ends))]


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(polls=st.lists(st.lists(values(), min_size=1, max_size=12), min_size=1, max_size=3))
def test_columns_are_what_single_events_give(spec: Spec, tmp_path_factory: Any, polls: list[Any]) -> None:
    one, all_at_once = (CleanStep(spec, Settings()) for _ in range(2))
    encoder, offset = Encoder(spec), 100
    for given_values in polls:
        given = [Record("e", 1, offset + 2 * n, NOW_MS, b"k", v) for n, v in enumerate(given_values)]
        offset += 2 * len(given)
        cleaned, dead = one.clean(1, given, replay=False)
        pieces, dead_too = all_at_once.columns(1, records_of("e", 1, given), replay=False)
        assert _letters(dead_too) == _letters(dead)
        assert all_at_once.counts[1].to_json() == one.counts[1].to_json()
        if not pieces:
            assert not len(cleaned.columns)
            continue
        block = concat([encoder.encode(columns) for columns in pieces])
        block = take(block, np.argsort(block.offset, kind="stable"))
        assert _plain(block) == _plain(encoder.encode(cleaned.columns))


def test_clean_events_of_a_known_writer_need_no_python_object_each(spec: Spec, monkeypatch: Any) -> None:
    step = CleanStep(spec, Settings())
    good = {
        "id": "e", "time": NOW_MS, "x": 1.0, "n": 1, "flag": True, "c": "a", "number": 2, "yes": True, "kind": "A",
        "t": "two words", "tags": ["z"],
    }  # fmt: skip
    values = [frame_single_object(s, encoded(s, good)) for s in (READER, OLDER, READER)]
    records = records_of("e", 1, [Record("e", 1, n, NOW_MS, None, v) for n, v in enumerate(values)])
    monkeypatch.setattr(step, "clean", None)  # would be called for whatever the compiled way leaves
    pieces, dead = step.columns(1, records, replay=False)
    assert sorted(int(o) for p in pieces for o in p.offset) == [0, 1, 2]
    assert not dead


def test_warming_counts_nothing(spec: Spec) -> None:
    step = CleanStep(spec, Settings())
    step.warm()
    assert not step.counts


@given(schemas_of_events())
def test_every_schema_has_some_value(raw: Any) -> None:
    schema = load_schema(raw)
    assert len(encoded(schema, some_value(schema.root))) > 0


def test_flights_are_read_by_the_compiled_way() -> None:
    path = Path(__file__).parents[2] / "examples/flights/flight.avsc"
    assert ColumnDecoder.of(load_schema(path)) is not None
