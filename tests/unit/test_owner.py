"""Who serves an event, as the log has it: by every way in which an event is encoded, what the server itself assigns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from arrive_strategies import encoded

from consumers.clean import CleanStep
from consumers.encode import EncodeStep
from consumers.settings import Settings
from stream.arrive.framing import frame_single_object
from stream.arrive.records import Record, records_of
from stream.arrive.schema import load_schema
from stream.block import Block, Columns, take
from stream.clean.record import CleanCodec
from stream.encode.encoder import Encoder, layout_of
from stream.encode.owner import ARM
from stream.learn.view import view_of
from stream.predict.plane import Plane, Request
from stream.spec import Spec
from stream.spec_load import parse_spec

NOW_MS = 1_700_000_000_000
SCHEMA = load_schema(
    {
        "type": "record",
        "name": "Visit",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
            {"name": "user", "type": ["null", "string"], "default": None},
            {"name": "number", "type": ["null", "long"], "default": None},
            {"name": "note", "type": ["null", "string"], "default": None},
            {"name": "x", "type": "double"},
        ],
    }
)
FIELDS: dict[str, Any] = {
    "user": {"type": "category", "case": "lower", "unify": {"ann": "anne"}},
    "number": {"type": "category"},
    "note": {"type": "text"},
    "x": {"type": "numeric"},
}
UNITS = [None, "user", "number", "note"]
EVENTS = [
    {
        "id": f"e{i}",
        "time": NOW_MS - i,
        "user": [None, f" User{i % 7} ", "Ann", "anne", ""][i % 5],
        "number": None if i % 6 == 0 else i % 11,
        "note": None if i % 4 == 0 else f"two words {i % 9}",
        "x": float(i),
    }
    for i in range(120)
]


def _spec(folder: Path, unit: str | None, training: str = "own") -> Spec:
    (folder / "visit.avsc").write_text(SCHEMA.text)
    raw = {
        "name": "p",
        "task": "binary",
        "event": {"schema": "visit.avsc", "id": "id", "time": "time", "fields": FIELDS},
        "arms": {n: {"model": "linear.logistic", "weight": w} for n, w in (("a", 5), ("b", 3), ("c", 2))},
        "experiment": {"name": "e", "training": training, **({"unit": unit} if unit else {})},
    }
    return parse_spec(raw, folder)


def _records() -> Any:
    values = [frame_single_object(SCHEMA, encoded(SCHEMA, e)) for e in EVENTS]
    return [Record("e", 0, n, NOW_MS, None, v) for n, v in enumerate(values)]


def _arms(spec: Spec, block: Block) -> list[str]:
    column = block.numeric[:, layout_of(spec).numeric.index(ARM)]
    return [list(spec.arms)[int(n)] for n in column]


@pytest.mark.parametrize("unit", UNITS)
def test_every_way_of_encoding_finds_the_arm_that_the_server_assigns(unit: str | None, tmp_path: Path) -> None:
    spec = _spec(tmp_path, unit)
    plane, step, encoder = Plane(spec), CleanStep(spec, Settings()), Encoder(spec)
    cleaned, dead = step.clean(0, _records(), replay=False)
    assert not dead
    request, wanted = Request(), []
    for row, event in enumerate(EVENTS):
        wanted.append(plane.assignment.given(plane._unit_of(request, event, cleaned, row)).arm)
    assert set(wanted) == {"a", "b", "c"}
    assert _arms(spec, encoder.encode(cleaned.columns)) == wanted
    pieces, _ = step.columns(0, records_of("e", 0, _records()), replay=False)
    assert [len(p) for p in pieces] == [len(EVENTS)]
    assert pieces[0].values["user"].dtype == np.uint64  # by the compiled way: its text is gone
    assert _arms(spec, encoder.encode(pieces[0])) == wanted
    over_the_topic = CleanCodec(spec).encode(cleaned.columns, {})
    assert _arms(spec, encoder.encode(CleanCodec(spec).decode(over_the_topic))) == wanted


def test_the_column_goes_through_the_features_topic_and_no_arm_sees_it(tmp_path: Path) -> None:
    spec = _spec(tmp_path, "user")
    step = EncodeStep(spec)
    cleaned, _ = CleanStep(spec, Settings()).clean(0, _records(), replay=False)
    block = step.encode(cleaned.columns)
    assert _arms(spec, take(block, [5, 3])) == [_arms(spec, block)[5], _arms(spec, block)[3]]
    for arm in spec.arms:
        assert view_of(spec, arm).layout.numeric == ("x",)
        assert view_of(spec, arm).of(block).numeric.tolist() == [[e["x"]] for e in EVENTS]


@pytest.mark.parametrize("training", ["shared", "equal"])
def test_other_policies_carry_nothing(training: str, tmp_path: Path) -> None:
    assert layout_of(_spec(tmp_path, "user", training)).numeric == ("x",)


def test_where_the_units_text_is_gone_no_arm_is_guessed(tmp_path: Path) -> None:
    spec = _spec(tmp_path, "user")
    one = np.zeros(1, np.int64)
    ids = np.ones(1, np.uint64)
    columns = Columns(["e"], one, one.astype(np.int32), one, {"user": ids, "number": ids, "x": np.zeros(1)})
    block = Encoder(spec).encode(columns)
    assert np.isnan(block.numeric[0, layout_of(spec).numeric.index(ARM)])
