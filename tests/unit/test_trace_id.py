"""The trace id of an event: frozen, valid, and in each document that is about the event."""

import json
from io import BytesIO
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import schemas
from consumers.clean import CleanStep
from consumers.join import JoinStep
from consumers.settings import Settings
from stream.arrive.framing import frame_single_object
from stream.arrive.records import Record, records_of
from stream.arrive.schema import load_schema
from stream.block import Block
from stream.join.join import fresh_features_mark, fresh_labels_mark
from stream.ship.datasets import DATASETS
from stream.ship.documents import Document, maker
from stream.spec import Spec
from stream.trace import caller_of, is_trace_id, key_of_trace, root_span_id, sample, sampled, trace_id

FROZEN = {
    ("flights", "UA1545-2013-01-01"): "ee5434186061175a41e7dc87fa46fb96",
    ("p", "é😀"): "f80513ac22cb9a67bfa8ef85d819c057",
    ("a-b", "1"): "b2fc7cbe4083cca5d9afad1e76b09fb7",
}
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.mark.parametrize(("pipeline", "event_id"), FROZEN)
def test_the_trace_id_of_an_event_never_changes(pipeline: str, event_id: str) -> None:
    assert trace_id(pipeline, event_id) == FROZEN[pipeline, event_id]


@given(st.text(), st.text())
def test_any_id_has_a_trace_that_w3c_takes(pipeline: str, event_id: str) -> None:
    found = trace_id(pipeline, event_id)
    assert is_trace_id(found)
    assert caller_of(f"00-{found}-{root_span_id(found)}-01") == (found, root_span_id(found))


def test_pipelines_do_not_share_traces_and_a_border_is_no_part_of_a_name() -> None:
    assert len({trace_id(*x) for x in (("a", "b"), ("ab", ""), ("", "ab"), ("b", "b"), ("a", "B"))}) == 5


def test_a_lone_surrogate_has_a_trace_too() -> None:
    assert is_trace_id(trace_id("p", "\ud800"))


@pytest.mark.parametrize("text", ["", "0" * 32, "A" * 32, "a" * 31, "a" * 33, "g" * 32])
def test_what_is_no_trace_id_is_told_apart(text: str) -> None:
    assert not is_trace_id(text)


def test_a_caller_s_trace_is_read_as_w3c_says() -> None:
    trace, span = PARENT.split("-")[1:3]
    assert caller_of(f" {PARENT} ") == caller_of(f"01{PARENT[2:]}-later") == (trace, span)
    for wrong in (
        "",
        "ff" + PARENT[2:],
        PARENT.upper(),
        f"00-{'0' * 32}-{span}-01",
        f"00-{trace}-{'0' * 16}-01",
        "00-x",
    ):
        assert caller_of(wrong) is None


def test_a_sample_is_the_same_everywhere_and_of_the_size_wanted() -> None:
    traces = [trace_id("p", f"e{n}") for n in range(20_000)]
    few, many = ({t for t in traces if sampled(t, ratio)} for ratio in (0.01, 0.1))
    assert few < many
    assert 120 < len(few) < 280
    assert not any(sampled(t, 0.0) for t in traces)
    assert all(sampled(t, 1.0) for t in traces)


def test_a_sample_of_many_is_that_of_each() -> None:
    ids = [f"e{n}" for n in range(500)] + ["é", "\ud800", ""]
    for ratio in (0.0, 0.1, 1.0):
        wanted = [(n, i, trace_id("p", i)) for n, i in enumerate(ids) if sampled(trace_id("p", i), ratio)]
        assert list(sample("p", ids, ratio)) == wanted


def test_a_key_is_known_by_the_trace_of_its_event() -> None:
    keys = [b"", b"a", "é".encode(), b"\xff", b"b"]
    for event_id in ("a", "é", "b", ""):
        assert key_of_trace("p", trace_id("p", event_id), keys) == event_id
    assert key_of_trace("q", trace_id("p", "a"), keys) is None
    assert key_of_trace("p", trace_id("p", "c"), keys) is None


# -- documents -------------------------------------------------------------------------------------------

DEAD = {"topic": "p-1.events", "partition": 1, "offset": 2, "timestamp_ms": 3, "key": None, "value": b"",
        "step": "clean", "code": "value.missing", "detail": "x", "spec_hash": "cd", "event_id": ""}  # fmt: skip


def _document(topic: str, value: bytes) -> dict[str, Any]:
    made = maker(DATASETS[topic], "p-1")(Record(f"p-1.{topic}", 0, 5, 1_790_000_000_123, None, value))
    assert isinstance(made, Document)
    found: dict[str, Any] = json.loads(made.body)
    return found


def _dead_trace(**more: Any) -> str | None:
    found = _document("dead", schemas.codec("dead").encode({**DEAD, **more})).get("trace")
    return None if found is None else found["id"]


def test_a_label_s_document_carries_the_trace_of_its_event() -> None:
    found = _document("labels", schemas.codec("label").encode({"id": "e1", "value": True, "time_ms": 1}))
    assert found["trace"]["id"] == trace_id("p-1", "e1")


def test_a_dead_letter_s_document_carries_it_where_the_id_is_known() -> None:
    mine = trace_id("p-1", "e1")
    assert _dead_trace(event_id="e1", key=b"other") == mine
    assert _dead_trace(key=b"e1") == _dead_trace(key=b"e1", topic="p-1.labels") == mine
    assert _dead_trace() is _dead_trace(key=b"\xff") is _dead_trace(key=b"e1", topic="p-1.training") is None
    assert _dead_trace(key=b"x" * 2000) is None


# -- who writes the id into a dead letter ----------------------------------------------------------------

EVENT = {"type": "record", "name": "E", "fields": [
    {"name": "id", "type": "string"}, {"name": "time", "type": "long"}, {"name": "x", "type": "double"}]}  # fmt: skip


@pytest.fixture
def spec(tmp_path: Any) -> Spec:
    (tmp_path / "event.avsc").write_text(json.dumps(EVENT))
    event = {"schema": "event.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric", "max": 1}}}
    raw = {"name": "p-1", "task": "binary", "event": event, "arms": {"a": {"model": "linear.logistic"}}}
    return Spec.model_validate({**raw, "folder": tmp_path})


@pytest.mark.parametrize("columns", [True, False])
def test_a_refused_event_s_letter_has_its_id_whatever_its_key(spec: Spec, columns: bool) -> None:
    schema = load_schema(spec.schema_path)
    values = []
    for event in (
        {"id": "far", "time": 1, "x": 9.0},
        {"id": "", "time": 1, "x": 0.0},
        {"id": "i" * 300, "time": 1, "x": 0},
    ):
        out = BytesIO()
        fastavro.schemaless_writer(out, schema.parsed, event)
        values.append(frame_single_object(schema, out.getvalue()))
    records = [Record("p-1.events", 0, n, 5, b"k", v) for n, v in enumerate([*values, b"rubbish"])]
    step = CleanStep(spec, Settings())
    one = step.columns(0, records_of("p-1.events", 0, records), False) if columns else step.clean(0, records, False)
    letters = sorted((schemas.codec("dead").decode(o.value or b"") for o in one[1]), key=lambda d: d["offset"])
    assert [(d["offset"], d["event_id"]) for d in letters] == [(0, "far"), (1, ""), (2, ""), (3, "")]


def test_a_refused_label_s_letter_has_its_id(spec: Spec) -> None:
    step = JoinStep(spec, [0])
    step.begin_rebuild({0: fresh_features_mark(0)}, fresh_labels_mark(0), 0)
    step.end_rebuild([], {})
    none = np.zeros(0, np.int64)
    block = Block(spec.hash, [], none, np.zeros(0, np.int32), none, np.zeros((0, 1)), np.zeros((0, 0), np.uint64),
                  np.zeros(0, np.uint64), none)  # fmt: skip
    step.add_features(block, 0, [])
    given = [
        schemas.codec("label").encode({"id": i, "value": v, "time_ms": 1}) for i, v in (("ghost", True), ("odd", 7))
    ]
    step.add_labels([Record("p-1.labels", 0, n, 5, b"k", v) for n, v in enumerate([*given, b"rubbish"])])
    _, dead = step.advance(caught_up=True)
    letters = {d["offset"]: d["event_id"] for d in (schemas.codec("dead").decode(o.value or b"") for o in dead)}
    assert letters == {0: "ghost", 1: "odd", 2: ""}
