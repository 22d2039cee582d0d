"""The values of private fields are told nowhere: no refusal, dead letter, document or log line has one."""

import json
import logging
import sys
import threading
from io import BytesIO
from typing import Any

import fastavro
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import schemas
from consumers._log import _discreet_end, set_up
from consumers.clean import CleanStep
from consumers.predict import make_decoder
from consumers.settings import Settings
from stream.arrive import framing
from stream.arrive.framing import Decoder, frame_single_object
from stream.arrive.records import Record, records_of
from stream.arrive.reject import Reject
from stream.arrive.schema import load_schema
from stream.errors import SpecError
from stream.predict.events import EventReader
from stream.predict.refuse import InvalidRequest
from stream.predict.shadow import Shadows
from stream.ship.datasets import DATASETS
from stream.ship.documents import Document, maker, withheld_of
from stream.spec import Spec
from stream.spec_load import event_schema, parse_spec
from stream.trace import trace_id

KIND = {"type": "enum", "name": "Kind", "symbols": ["aa", "bb"]}
NULLABLE = [("name", "string"), ("income", "double"), ("kind", KIND), ("note", "string"), ("born", "long")]
SCHEMA = {"type": "record", "name": "Person", "fields": [
    {"name": "id", "type": "string"}, {"name": "time", "type": "long"},
    *({"name": n, "type": ["null", t], "default": None} for n, t in NULLABLE)]}  # fmt: skip
FIELDS: dict[str, Any] = {
    "name": {"type": "category", "required": True}, "income": {"type": "numeric", "max": 10, "min": -10},
    "kind": {"type": "category"}, "note": {"type": "text"}, "born": {"type": "numeric", "max": 5},
}  # fmt: skip
secret_text = st.text("qxzäß字 ", min_size=14, max_size=40).filter(lambda s: len(set(s)) > 3 and s == s.strip())
secret_number = st.integers(10**9, 10**12).map(lambda n: n * 7.3)


def _spec(folder: Any, private: bool, **more: Any) -> Spec:
    (folder / "person.avsc").write_text(json.dumps(SCHEMA))
    fields = {name: {**field, "private": private} for name, field in FIELDS.items()}
    event = {"schema": "person.avsc", "id": "id", "time": "time", "fields": fields}
    arms = {"a": {"model": "linear.logistic"}}
    raw = {"name": "p", "task": "binary", "event": event, "arms": arms, "experiment": {"unit": "name"}}
    return parse_spec({**raw, **more}, folder)


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Spec]:
    return {private: _spec(tmp_path_factory.mktemp("spec"), private) for private in (True, False)}


@st.composite
def events(draw: st.DrawFn) -> tuple[list[bytes | None], list[str]]:
    """Values of the events topic, most of them to be refused, and what must not be told of them."""
    schema, values, secrets = load_schema(SCHEMA), list[bytes | None](), list[str]()
    for _ in range(draw(st.integers(1, 4))):
        name, note, number = draw(secret_text), draw(secret_text), draw(secret_number)
        event = {
            "id": "e",
            "time": 1,
            "name": draw(st.sampled_from([name, name * 60, None])),
            "note": note,
            "kind": "aa",
            "income": draw(st.sampled_from([number, -number, 1.0])),
            "born": draw(st.sampled_from([int(number), 1])),
        }
        out = BytesIO()
        fastavro.schemaless_writer(out, schema.parsed, event)
        value = frame_single_object(schema, out.getvalue())
        damage = draw(st.sampled_from(["none", "none", "cut", "tail", "head", "utf8"]))
        value = {"none": value, "cut": value[:-3], "tail": value + b"\0", "head": value[10:],
                 "utf8": value.replace(note.encode()[:3], b"\xff\xfe\xfd", 1)}[damage]  # fmt: skip
        values.append(value)
        secrets += [name, note, repr(number), f"{number:g}", str(int(number)), name.encode().hex(" ")[:20]]
    return values, secrets


def _letters(spec: Spec, values: list[bytes | None]) -> list[bytes]:
    records = [Record("p.events", 0, n, 5, b"k", v) for n, v in enumerate(values)]
    step = CleanStep(spec, Settings())
    outs = [*step.clean(0, records, False)[1], *step.columns(0, records_of("p.events", 0, records), False)[1]]
    return [o.value or b"" for o in outs]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(events())
def test_a_refusal_and_its_document_tell_no_private_value(specs: dict[bool, Spec], made: Any) -> None:
    values, secrets = made
    make = maker(DATASETS["dead"], "p", withheld_of(specs[True]))
    for letter in _letters(specs[True], values):
        detail = schemas.codec("dead").decode(letter)["detail"]
        document = make(Record("p.dead", 0, 1, 2, None, letter))
        assert isinstance(document, Document)
        body = json.dumps(json.loads(document.body), ensure_ascii=False)
        for secret in secrets:
            assert secret not in detail
            assert secret not in body


def test_without_private_the_same_refusals_cite_their_values(specs: dict[bool, Spec]) -> None:
    schema, out = load_schema(SCHEMA), BytesIO()
    event = {"id": "e", "time": 1, "name": "n", "note": None, "kind": None, "income": 4_321.5, "born": None}
    fastavro.schemaless_writer(out, schema.parsed, event)
    values: list[bytes | None] = [frame_single_object(schema, out.getvalue())]
    told = [[schemas.codec("dead").decode(x)["detail"] for x in _letters(specs[p], values)] for p in (True, False)]
    assert told[1] == ["income: found 4321.5; -10.0 to 10.0 is allowed"] * 2
    assert told[0] == ["income: found a private number; -10.0 to 10.0 is allowed"] * 2


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(FIELDS)), st.one_of(secret_text, secret_number, st.integers(1 << 70, 1 << 80)))
def test_a_caller_is_told_the_type_of_a_private_value_alone(specs: dict[bool, Spec], name: str, value: Any) -> None:
    said = []
    for private in (True, False):
        reader = EventReader(specs[private], event_schema(specs[private]))
        try:
            reader.read({name: value}, "e", 1)
        except InvalidRequest as wrong:
            said.append((wrong.reason, str(wrong)))
    if said:
        assert said[0][0] == said[1][0]
        assert repr(value)[1:30] not in said[0][1]
        assert "private" in said[0][1]
        assert repr(value)[1:30] in said[1][1]


def test_a_unit_that_is_a_private_value_is_left_out_of_documents(specs: dict[bool, Spec]) -> None:
    prediction = {
        "prediction_id": "p1", "id": "e1", "unit": "Erika Mustermann", "arm": "a", "propensity": 1.0, "score": 0.5,
        "scores": [], "event_time_ms": 1, "served_ms": 2, "latency_us": 3, "model_generation": 4, "model_sha256": "",
        "trained_label_offset": 5, "staleness_ms": 6, "experiment": "", "spec_hash": "", "dropped_before": 0,
    }  # fmt: skip
    at = Record("p.predictions", 0, 1, 2, None, schemas.codec("prediction").encode(prediction))
    made = [maker(DATASETS["predictions"], "p", withheld_of(specs[p]))(at) for p in (True, False)]
    assert [isinstance(m, Document) and b"Mustermann" in m.body for m in made] == [False, True]


def test_a_shadow_s_fault_tells_its_type_alone(specs: dict[bool, Spec]) -> None:
    for discreet in (True, False):
        shadows = Shadows(None, None, ("s",), discreet)
        shadows._score = _raise  # type: ignore[assignment,method-assign]
        assert shadows.at(0) == []
        assert (SECRET in shadows.faults["s"]) is not discreet


SECRET = "s3" + "cret"  # so that no line of the source has it


def _raise(*_: Any) -> Any:
    raise ValueError(f"could not convert {SECRET}")


# -- log lines -------------------------------------------------------------------------------------------


@pytest.fixture
def _as_before() -> Any:
    hooks = sys.excepthook, threading.excepthook
    kafka = logging.getLogger("kafka").level
    yield
    sys.excepthook, threading.excepthook = hooks
    logging.getLogger("kafka").setLevel(kafka)
    structlog.reset_defaults()


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("private", [True, False])
def test_a_log_line_of_an_exception_has_its_type_and_stack_and_private_values_never(
    specs: dict[bool, Spec], private: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(Settings(), specs[private], "predict")
    try:
        _raise()
    except ValueError as e:
        structlog.get_logger().error("call failed", method="Predict", exc_info=e, event_id="e7")
        structlog.get_logger().error("again", exc_info=True)
        if private:
            sys.excepthook(type(e), e, e.__traceback__)
    text = capsys.readouterr().err
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert (SECRET in text) is not private
    for line in lines:
        assert line["error"]["type"] == "ValueError"
        assert "_raise" in line["error"]["stack_trace"]
    assert lines[0]["trace"]["id"] == trace_id("p", "e7")
    assert lines[0]["headwater"]["event"]["id"] == "e7"
    assert lines[0]["headwater"]["spec_hash"] == specs[private].hash
    assert (_discreet_end is sys.excepthook) is private


@pytest.mark.usefixtures("_as_before")
def test_an_error_given_as_text_is_the_common_schema_s_message(
    specs: dict[bool, Spec], capsys: pytest.CaptureFixture[str]
) -> None:
    set_up(Settings(), specs[True], "ship")
    structlog.get_logger().warning("not sent", error="Kafka is away")
    [line] = _lines(capsys)
    assert line["error"] == {"message": "Kafka is away"}
    assert "trace" not in line


# -- the spec --------------------------------------------------------------------------------------------


def test_private_changes_neither_the_hash_nor_what_is_learned(specs: dict[bool, Spec]) -> None:
    assert specs[True].hash == specs[False].hash


@pytest.mark.parametrize("role", ["id", "time"])
def test_the_id_and_the_time_can_t_be_private(tmp_path: Any, role: str) -> None:
    kind = {"id": "category", "time": "time"}[role]
    event = {"schema": "person.avsc", "id": "id", "time": "time",
             "fields": {"income": {"type": "numeric"}, role: {"type": kind, "private": True}}}  # fmt: skip
    with pytest.raises(SpecError, match=f"fields.{role}: private, but it is the event's {role}"):
        _spec(tmp_path, False, event=event)


# -- bytes that can't be read ----------------------------------------------------------------------------


def test_bytes_of_no_framing_are_not_cited() -> None:
    value = b"Erika Mustermann"
    said = []
    for discreet in (True, False):
        found = Decoder(load_schema(SCHEMA), lambda key: None, discreet=discreet).decode(value)
        assert isinstance(found, Reject)
        assert found.code == "framing.unknown"
        said.append(found.detail)
    assert said[0] == "16 bytes of no known framing"
    assert value[:4].hex(" ") in said[1]


def test_what_the_avro_library_says_of_a_value_is_not_cited(monkeypatch: pytest.MonkeyPatch) -> None:
    def complain(*_: Any) -> Any:
        raise ValueError(f"{SECRET} not found in reader symbol list")

    schema = load_schema(SCHEMA)
    monkeypatch.setattr(framing, "_read", complain)
    for discreet in (True, False):
        found = Decoder(schema, lambda key: schema, discreet=discreet).decode(frame_single_object(schema, b"abc"))
        assert isinstance(found, Reject)
        assert found.code == "avro.undecodable"
        assert (SECRET in found.detail) is not discreet
        assert "ValueError at byte" in found.detail


def test_the_steps_read_discreetly_where_a_field_is_private(specs: dict[bool, Spec]) -> None:
    for private in (True, False):
        decode = make_decoder(specs[private], Settings()).decode
        found = decode(b"Erika Mustermann")
        assert isinstance(found, Reject)
        [one, two] = (
            schemas.codec("dead").decode(x)["detail"] for x in _letters(specs[private], [b"Erika Mustermann"])
        )
        assert one == two == found.detail
        assert (found.detail == "16 bytes of no known framing") is private
