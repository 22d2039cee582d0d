"""Labels read as columns are those that LabelReader reads one by one: the same values, the same refusals."""

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import schemas
from stream.arrive.records import Record, records_of
from stream.arrive.reject import Reject
from stream.join.columns import LabelColumns
from stream.join.labels import Label, LabelReader
from stream.limits import MAGNITUDE_MAX, TIME_AHEAD_MS_MAX
from stream.spec import Spec

CODEC = schemas.codec("label")
NOW_MS = 1_700_000_000_000
TASKS = ("binary", "regression", "classes")
LONGS = st.integers(-(2**63), 2**63 - 1)
EDGES = [0, 1, -1, 2**31, 2**62, -(2**63), int(MAGNITUDE_MAX), int(MAGNITUDE_MAX) + 1, -int(MAGNITUDE_MAX) - 1]
VALUES = st.one_of(
    st.booleans(),
    st.sampled_from([0, 1, 0.0, -0.0, 1.0, 0.5, MAGNITUDE_MAX, -MAGNITUDE_MAX, np.nextafter(MAGNITUDE_MAX, 1e16)]),
    st.sampled_from(["lo", "hi", "größer", "", "1", "lol"]),
    st.sampled_from(EDGES),
    LONGS,
    st.floats(),
    st.text(max_size=80),
)
IDS = st.one_of(st.text(max_size=5), st.text(min_size=50, max_size=200), st.sampled_from(["e1", "é", "\x7f", "日本"]))
TIMES = st.one_of(
    st.sampled_from([NOW_MS, 0, -1, NOW_MS + TIME_AHEAD_MS_MAX, NOW_MS + TIME_AHEAD_MS_MAX + 1, 2**63 - 1]), LONGS
)
RECORDS = st.fixed_dictionaries({"id": IDS, "value": VALUES, "time_ms": TIMES})


def _spec(task: str) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"n": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event, "arms": {"a": {"model": "m"}}}
    return Spec.model_validate(raw | ({"classes": ["lo", "hi", "größer"]} if task == "classes" else {}))


@st.composite
def _values(draw: st.DrawFn) -> bytes | None:
    """Label records, most of them whole."""
    value = bytearray(CODEC.encode(draw(RECORDS)))
    kind = draw(st.sampled_from(["whole"] * 5 + ["flip", "cut", "append", "other", "null", "long time", "bad id"]))
    if kind == "flip":
        value[draw(st.integers(0, len(value) - 1))] ^= draw(st.integers(1, 255))
    elif kind == "cut":
        del value[draw(st.integers(0, len(value) - 1)) :]
    elif kind == "append":
        value += draw(st.binary(min_size=1, max_size=12))
    elif kind == "other":
        value = bytearray(draw(st.binary(max_size=40)))
    elif kind == "long time":  # the same number with more bytes than it needs
        value[-1] |= 0x80
        value += b"\x80" * draw(st.integers(0, 8)) + b"\0"
    elif kind == "bad id":
        value = bytearray(CODEC.prefix) + b"\x04\xff\xfe\0\1\2"
    return None if kind == "null" else bytes(value)


def _told(found: list[Any]) -> str:
    return re.sub(r" at 0x[0-9a-f]+", "", repr(found))  # fastavro names an object by its address


def _both(task: str, values: list[bytes | None], published_ms: int) -> tuple[list[Any], list[Any]]:
    records = [Record("t", 0, 3 * i, published_ms + i, None, v) for i, v in enumerate(values)]
    one = LabelReader(_spec(task))
    expected = [one.read_bytes(r.value or b"", r.offset, r.timestamp, r) for r in records]
    columns = LabelColumns(_spec(task))
    for form in (records, records_of("t", 0, records)):
        labels, rejects = columns.read(form)
        found: list[Any] = list(labels)
        for row, reject in rejects:
            found.insert(row, reject)
        assert _told(found) == _told(expected)
    return found, expected


@settings(deadline=None)
@given(st.sampled_from(TASKS), st.lists(_values(), max_size=12), st.sampled_from([NOW_MS, 0, 2**63 - 1000]))
@example("regression", [CODEC.encode({"id": "e", "value": v, "time_ms": 1}) for v in EDGES], NOW_MS)
@example("binary", [], NOW_MS)
def test_columns_hold_what_is_read_one_by_one(task: str, values: list[bytes | None], published_ms: int) -> None:
    _both(task, values, published_ms)


@pytest.mark.parametrize(
    ("task", "value"), [("binary", True), ("binary", 0), ("regression", 2.5), ("regression", -7), ("classes", "größer")]
)
def test_what_is_clean_is_never_read_one_by_one(task: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [CODEC.encode({"id": i, "value": value, "time_ms": NOW_MS}) for i in ("UA 1545", "", "é" * 70)]
    _, expected = _both(task, [*values], NOW_MS)
    assert all(isinstance(x, Label) for x in expected)

    def never(*_: Any) -> Label | Reject:
        raise AssertionError("read one by one")

    monkeypatch.setattr(LabelReader, "read_bytes", never)
    records = [Record("t", 0, i, NOW_MS, None, v) for i, v in enumerate(values)]
    labels, rejects = LabelColumns(_spec(task)).read(records)
    assert ([x.id for x in labels], rejects) == ([x.id for x in expected], [])


def test_a_part_of_the_records_is_read_from_its_place_in_their_buffer() -> None:
    values = [CODEC.encode({"id": f"e{i}", "value": bool(i % 2), "time_ms": i}) for i in range(6)]
    records = records_of("t", 0, [Record("t", 0, i, NOW_MS, b"key", v) for i, v in enumerate(values)])
    records.data.flags.writeable = False
    labels, rejects = LabelColumns(_spec("binary")).read(records[2:5])
    assert ([x.id for x in labels], labels.value.tolist(), rejects) == (["e2", "e3", "e4"], [0.0, 1.0, 0.0], [])
    assert labels[1].source == records[3]
