"""Each record becomes one document, by the same table as its mapping; what can't be one says why."""

import io
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from consumers._kafka import TOPICS
from stream.arrive.records import Record
from stream.ship.assets import assets
from stream.ship.datasets import DATASETS, namespace
from stream.ship.documents import Document, Unreadable, maker
from stream.ship.fields import finite_values
from stream.ship.logline import DEPTH_MAX, REST_MAX

PREDICTION = {
    "prediction_id": "p1", "id": "e1", "unit": "u1", "arm": "tree", "propensity": 0.5, "score": 0.25, "scores": [],
    "event_time_ms": 1_357_000_000_000, "served_ms": 1_790_000_000_000, "latency_us": 1500, "model_generation": 7,
    "model_sha256": "ab", "trained_label_offset": 41, "staleness_ms": 90, "experiment": "default", "spec_hash": "cd",
    "dropped_before": 0, "assigned": "experiment", "control_seq": 2,
    "shadows": [{"arm": "next", "score": 0.75, "scores": []}, {"arm": "ill", "score": math.nan, "scores": []}],
}  # fmt: skip
RECORDS: dict[str, list[Mapping[str, Any]]] = {
    "predictions": [PREDICTION, {**PREDICTION, "scores": [0.1, 0.9], "shadows": []}],
    "labels": [{"id": "e1", "value": v, "time_ms": 1_357_000_000_000} for v in (True, 3, 2.5, "cat")],
    "metrics": [{"kind": "served", "arm": "tree", "window": 3, "rows": 9, "event_time_ms": 1,
                 "values": {"accuracy": 1.0, "log.loss": 2.0}, "spec_hash": "cd"}],
    "experiment": [{"experiment": "default", "salt": "1", "seq": 1, "action": "ramp", "arm": "tree",
                    "before": {"tree": 0.5, "flat": 0.5}, "weights": {"tree": 1.0}, "who": "me", "when_ms": 5,
                    "why": "it is better"}],
    "dead": [{"topic": "p.events", "partition": 1, "offset": 2, "timestamp_ms": 3, "key": None, "value": b"secret!",
              "step": "clean", "code": "value.missing", "detail": "x: nothing", "spec_hash": "cd",
              "event_id": "e1"}],
}  # fmt: skip
CODECS = {"predictions": "prediction", "labels": "label", "metrics": "metric", "experiment": "control", "dead": "dead"}
LINE = {"@timestamp": "2026-01-01T00:00:00.000Z", "message": "begun", "log.level": "info", "log": {"logger": "x"},
        "error": {"type": "ValueError"}, "process": {"pid": 4}, "headwater.step": "clean", "rows": 7}  # fmt: skip


def at(topic: str, value: bytes | None, offset: int = 5) -> Record:
    return Record(f"p-1.{topic}", 2, offset, 1_790_000_000_123, b"k", value)


def encoded(topic: str) -> list[bytes]:
    if topic == "logs":
        return [json.dumps(LINE).encode()]
    return [schemas.codec(CODECS[topic]).encode(dict(r)) for r in RECORDS[topic]]


def document(topic: str, value: bytes) -> dict[str, Any]:
    made = maker(DATASETS[topic], "p-1")(at(topic, value))
    assert isinstance(made, Document), made
    found: dict[str, Any] = json.loads(made.body)
    return found


def leaves(value: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, below in value.items():
        if isinstance(below, dict):
            yield from leaves(below, f"{path}{name}.")
        else:
            yield f"{path}{name}", below


def mapped(topic: str) -> dict[str, str]:
    """Field → type, as the templates of a topic put together say."""
    bodies = {a.name: a.body for a in assets() if a.kind == "component template"}
    found: dict[str, str] = {}

    def walk(properties: Mapping[str, Any], path: str) -> None:
        for name, below in properties.items():
            if "properties" in below and "type" not in below:  # else a map that grows
                walk(below["properties"], f"{path}{name}.")
            else:
                found[f"{path}{name}"] = below["type"]

    for name in ("headwater-base", f"headwater-{topic}"):
        walk(bodies[name]["template"]["mappings"]["properties"], "")
    return found


FITS = {
    "keyword": (str,), "text": (str,), "double": (int, float, list), "long": (int,), "date": (int, str),
    "boolean": (bool,),
}  # fmt: skip


@pytest.mark.parametrize("topic", DATASETS)
def test_every_field_of_a_document_is_mapped_and_fits_its_type(topic: str) -> None:
    types = mapped(topic)
    grows = tuple(f"{name}." for name, kind in types.items() if kind in ("object", "flattened"))
    for value in encoded(topic):
        for path, found in leaves(document(topic, value)):
            if not path.startswith(grows):
                assert path in types, path
                assert isinstance(found, FITS[types[path]]), (path, found)


@pytest.mark.parametrize("topic", DATASETS)
def test_every_mapped_field_is_in_some_document(topic: str) -> None:
    there = {path for value in encoded(topic) for path, _ in leaves(document(topic, value))}
    unused = {p for p in mapped(topic) if not any(t == p or t.startswith(f"{p}.") for t in there)}
    if topic == "logs":  # a line has the fields that its writer gave it
        unused = {p for p in unused if p.startswith(("event.module", "data_stream", "headwater.kafka"))}
    assert unused <= {"event.ingested"}  # set by the ingest pipeline


def test_each_topic_of_the_issue_is_shipped_and_is_a_topic() -> None:
    assert set(DATASETS) <= set(TOPICS)
    assert set(TOPICS) - set(DATASETS) == {"events", "clean", "features", "training", "models"}


def test_the_id_is_the_place_on_kafka_and_the_stream_has_three_parts() -> None:
    made = maker(DATASETS["dead"], "p-1")(at("dead", encoded("dead")[0], offset=77))
    assert isinstance(made, Document)
    assert (made.id, made.stream) == ("p-1.dead-2-77", "logs-headwater.dead-p_1")
    stream = json.loads(made.body)["data_stream"]
    assert "-".join(stream[part] for part in ("type", "dataset", "namespace")) == made.stream


def test_a_prediction_says_who_got_what_from_which_model() -> None:
    found = dict(leaves(document("predictions", encoded("predictions")[0])))
    assert found["@timestamp"] == PREDICTION["served_ms"]
    assert found["event.duration"] == 1_500_000
    assert found["headwater.latency_ms"] == 1.5
    assert (found["headwater.unit"], found["headwater.arm"], found["headwater.score"]) == ("u1", "tree", 0.25)
    assert found["headwater.model.generation"] == 7
    assert found["headwater.shadow_scores.next"] == 0.75
    assert "headwater.shadow_scores.ill" not in found  # NaN is no JSON


def test_a_record_of_before_the_schema_grew_is_a_document_too() -> None:
    older = next(iter(schemas.codec("prediction").older.values()))
    out = io.BytesIO()
    fastavro.schemaless_writer(out, older, {k: PREDICTION[k] for k in (f["name"] for f in older["fields"])})
    prefix = next(iter(schemas.codec("prediction").older))
    assert document("predictions", prefix + out.getvalue())["headwater"]["arm"] == "tree"


def test_a_label_is_a_number_or_a_name() -> None:
    found = [document("labels", v)["headwater"]["label"] for v in encoded("labels")]
    assert found == [{"value": 1.0}, {"value": 3.0}, {"value": 2.5}, {"text": "cat"}]


def test_refused_bytes_are_measured_not_shipped() -> None:
    made = maker(DATASETS["dead"], "p-1")(at("dead", encoded("dead")[0]))
    assert isinstance(made, Document)
    assert b"secret" not in made.body
    assert json.loads(made.body)["headwater"]["refused"]["bytes"] == len(b"secret!")


def test_a_value_that_is_not_finite_is_left_out() -> None:
    assert finite_values({"a": math.inf, "b": 1, "": 3.0}) == {"b": 1.0}
    assert document("predictions", schemas.codec("prediction").encode({**PREDICTION, "score": math.nan}))
    nan_label = schemas.codec("label").encode({"id": "e", "value": math.nan, "time_ms": 1})
    assert "label" not in document("labels", nan_label)["headwater"]


@pytest.mark.parametrize("topic", DATASETS)
def test_what_is_no_record_of_the_topic_says_why(topic: str) -> None:
    for value in (None, b"", b"\xc3\x01rubbish", b"[1]", b"\xff{"):
        made = maker(DATASETS[topic], "p-1")(at(topic, value))
        assert isinstance(made, Unreadable)
        assert f"p-1.{topic}" in made.why


# -- log lines -------------------------------------------------------------------------------------------


def test_a_line_keeps_known_fields_and_puts_the_rest_into_one() -> None:
    found = dict(leaves(document("logs", json.dumps(LINE).encode())))
    assert (found["message"], found["log.level"], found["log.logger"]) == ("begun", "info", "x")
    assert (found["error.type"], found["process.pid"], found["headwater.step"]) == ("ValueError", 4, "clean")
    assert found["headwater.rest.rows"] == "7"


@pytest.mark.parametrize("time", ["", 7, math.nan, [math.nan], {"a": 1}, None])
def test_a_line_without_a_time_of_its_own_has_kafkas(time: Any) -> None:
    found = document("logs", json.dumps({"@timestamp": time}).encode())
    assert found["@timestamp"] == at("logs", None).timestamp


def test_a_known_field_of_a_wrong_type_is_left_out() -> None:
    found = document("logs", b'{"message": {"a": 1}, "process.pid": "four", "log.level": 7, "event.duration": true}')
    assert not {"message", "process", "log"} & set(found)
    assert "duration" not in found["event"]


def test_a_line_makes_at_most_so_many_new_fields_however_deep() -> None:
    deep: dict[str, Any] = {"leaf": 1}
    for _ in range(3 * DEPTH_MAX):
        deep = {"d": deep}
    found = document("logs", json.dumps({**{f"x{i}": i for i in range(500)}, "deep": deep}).encode())
    assert len(found["headwater"]["rest"]) == REST_MAX
    only = document("logs", json.dumps({"deep": deep}).encode())["headwater"]["rest"]
    assert [k.count(".") for k in only] == [DEPTH_MAX - 1]
    assert isinstance(maker(DATASETS["logs"], "p")(at("logs", b"[" * 100_000)), Unreadable)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda c: st.dictionaries(st.text(), c)
)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.text() | st.sampled_from(["message", "log", "log.level", "event.duration", "@timestamp"]), _json)
)
def test_any_line_is_one_document_that_is_plain_utf_8_json(line: dict[str, Any]) -> None:
    made = maker(DATASETS["logs"], "p")(at("logs", json.dumps(line).encode()))
    assert isinstance(made, Document)
    json.loads(made.body.decode("utf-8"), parse_constant=pytest.fail)


# -- assets ----------------------------------------------------------------------------------------------


def test_documents_make_no_fields_but_in_maps_of_numbers() -> None:
    for asset in assets():
        if asset.kind == "component template":
            mappings = asset.body["template"]["mappings"]
            assert mappings["dynamic"] == "false"
            for template in mappings.get("dynamic_templates", ()):
                [rule] = template.values()
                assert rule["mapping"] == {"type": "double"}


def test_no_type_is_used_that_not_every_distribution_has() -> None:
    kinds = {kind for topic in DATASETS for kind in mapped(topic).values()}
    assert kinds <= {"date", "keyword", "text", "double", "long", "boolean", "object", "flattened"}


def test_each_topic_has_a_template_with_a_retention_whose_parts_are_put_before_it() -> None:
    seen: set[str] = set()
    patterns = set()
    for asset in assets():
        if asset.kind == "index template":
            optional = set(asset.body["ignore_missing_component_templates"])
            assert set(asset.body["composed_of"]) - optional <= seen
            assert asset.body["template"]["lifecycle"]["data_retention"].endswith("d")
            patterns |= set(asset.body["index_patterns"])
        seen.add(asset.name)
    assert patterns == {d.pattern for d in DATASETS.values()}
    assert namespace("a-b") == "a_b"
