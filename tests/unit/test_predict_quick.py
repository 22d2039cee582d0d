"""The quick way of one request: what the row form answers, or nothing at all."""

import copy
import math
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predict_plane import FIELDS, GOOD, NOW, SCHEMA, events, make_spec, snapshot

from schemas import headwater_pb2 as pb
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder, time_part
from stream.predict import wire
from stream.predict.plane import Plane
from stream.predict.quick.plane import QuickPlane, answer_of, new_ids
from stream.predict.quick.row import _part
from stream.predict.quick.tables import BYTES_MAX
from stream.predict.refuse import Refused
from stream.predict.served import served_of


def request_of(fields: dict[str, Any], **other: Any) -> pb.PredictRequest:
    """The message of one event."""
    message = pb.PredictRequest(**other)
    for name, value in fields.items():
        message.fields[name].CopyFrom(wire.value_of(value))
    return message


def same(plane: Plane, quick: QuickPlane, message: pb.PredictRequest, now_ms: int = NOW + 100) -> bool:
    """Hold the quick answer to the row form's; whether there is one. An id that was made has no equal."""
    found = quick.answer(message.SerializeToString(), now_ms)
    if found is None:
        return False
    own = any(name == plane.spec.event.id and v.WhichOneof("kind") for name, v in message.fields.items())
    asked = pb.PredictRequest()
    asked.CopyFrom(message)
    if not own and not message.event_id:
        asked.event_id = found.event_id
        assert UUID(found.event_id).version == 4
    try:
        wanted = plane.answer(wire.request_of(asked), now_ms)
    except Refused as e:
        raise AssertionError(f"the row form refuses {message}: {e}") from e
    event = plane.events.read(wire.request_of(asked).fields, asked.event_id, now_ms)
    block = Encoder(plane.spec).encode(Cleaner(plane.spec).clean([event], [Position(-1, -1, now_ms)]).columns)
    row = quick._room.row
    assert row is not None
    assert np.array_equal(row.numeric, block.numeric, equal_nan=True)
    assert np.array_equal(row.categories, block.categories)
    made, _, event_id = found.prediction_id.partition("/")
    assert UUID(made).version == 4
    assert event_id == wanted.event_id
    answer = pb.PredictResponse.FromString(found.body)
    assert answer.prediction_id == found.prediction_id
    answer.prediction_id = wanted.prediction_id
    assert wanted.model is not None
    assert answer == wire.answer_message(wanted, wire.model_message(wanted.model))
    logged = answer_of(found)
    assert logged.shadows.at(0) == wanted.shadows.at(0)
    for name in wanted.__slots__:
        if name not in ("prediction_id", "shadows", "row"):
            assert getattr(logged, name) == getattr(wanted, name), name
    return True


def plane_of(folder: Path, rows: int = 300, **other: Any) -> tuple[Plane, QuickPlane]:
    """A plane with a model."""
    spec = make_spec(folder, **other)
    plane = Plane(spec)
    plane.swap(served_of(spec, snapshot(make_spec(folder, **other), folder / "snapshots", rows=rows)))
    return plane, QuickPlane(plane)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plane, QuickPlane]:
    return plane_of(tmp_path_factory.mktemp("quick"), rows=2000)


def test_what_callers_plainly_ask_is_answered_quickly_and_as_the_row_form_does(both: tuple[Plane, QuickPlane]) -> None:
    plane, quick = both
    arms = set()
    for number, event in enumerate(events(300, seed=4)):
        fields = {k: v for k, v in event.items() if k != "trail"}
        message = request_of(fields)
        if message.fields["country"].string_value.isascii():  # else its case is to change
            assert same(plane, quick, message), fields
            arms.add(plane.assignment.given(str(number)).arm)
        assert same(plane, quick, request_of(GOOD, arm="shadow"))
        assert same(plane, quick, request_of(GOOD, unit=f"u{number}", event_id=f"e{number}", max_staleness_ms=100))
    assert len(arms) == 2


_texts = st.one_of(
    st.none(), st.text(max_size=4), st.sampled_from(["uk", " UK\t", " GB ", "", " ", "x" * 1025, "de\0", "ß"])
)  # fmt: skip
_numbers = st.one_of(
    st.none(), st.floats(), st.floats(0, 1000, width=32), st.integers(-(1 << 63), (1 << 63) - 1),
    st.sampled_from([1e300, 1e16, 1e15, -1.0, 0.0, -0.0, 5, 2000, 1000.5]),
)  # fmt: skip
_longs = st.one_of(
    st.none(), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-5, 200), st.sampled_from([100, 101, -1])
)
_ROW: dict[str, Any] = {
    "id": st.one_of(st.none(), st.text(max_size=3), st.just("i" * 257)),
    "at": st.one_of(st.integers(NOW - 10**12, NOW), st.sampled_from([-1, NOW + 10**9, NOW + 100 + 24 * 3600 * 1000])),
    "user": _texts,
    "amount": st.one_of(st.floats(0, 1000), _numbers),
    "visits": _longs,
    "count": st.one_of(st.integers(-5, 5), st.integers(-(1 << 31) - 1, 1 << 31)),
    "ratio": _numbers,
    "country": _texts,
    "device": st.sampled_from(["phone", "desk", "tv", None]),
    "vip": st.sampled_from([True, False, None]),
}
_any = st.one_of(st.none(), st.booleans(), st.floats(), st.integers(-(1 << 63), (1 << 63) - 1), st.text(max_size=2))
_other = st.fixed_dictionaries(
    {},
    optional={
        "event_id": st.sampled_from(["", "e", "ö", "i" * 257]),
        "unit": st.sampled_from(["", "u", "ü", "x" * 1025]),
        "arm": st.sampled_from(["", "bold", "shadow", "none"]),
        "max_staleness_ms": st.sampled_from([0, 99, 100, -1, 1 << 60]),
        "avro": st.sampled_from([b"", b"x"]),
    },
)


@st.composite
def _fields(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(_ROW)), unique=True))
    fields = {n: draw(_ROW[n]) for n in names}
    if draw(st.booleans()):
        fields |= {"amount": 5.0, "device": "desk"}
    if draw(st.integers(0, 4)) == 0:
        fields[draw(st.sampled_from([*_ROW, "trail", "none", ""]))] = draw(_any)
    return fields


@settings(max_examples=400, deadline=None)
@given(_fields(), _other)
def test_any_request_at_all_gets_the_row_forms_answer_or_none(
    both: tuple[Plane, QuickPlane], fields: dict[str, Any], other: dict[str, Any]
) -> None:
    same(*both, request_of(fields, **other))


_DAY_MS = 24 * 3600 * 1000
EDGES: list[tuple[str, Any, bool]] = [
    ("amount", 1000.0, True), ("amount", 1000.5, False), ("amount", -0.5, False), ("amount", math.nan, False),
    ("amount", None, False), ("visits", 101, True), ("visits", -1, True), ("visits", 1.0, False),
    ("ratio", 1e16, False),
    ("ratio", 1e300, False), ("ratio", -math.inf, False), ("ratio", 0.1, True), ("count", (1 << 31) - 1, True),
    ("count", 1 << 31, False), ("country", " uk\t", True), ("country", "ß", False), ("country", "x" * 1025, False),
    ("device", "tv", False), ("device", None, False), ("vip", 1, False), ("vip", False, True), ("at", -1, False),
    ("at", NOW + 100 + _DAY_MS, True), ("at", NOW + 101 + _DAY_MS, False), ("id", "", False), ("id", "i" * 256, True),
    ("id", "i" * 257, False), ("user", "u" * 1024, True), ("user", "u" * 1025, False), ("trail", "x", False),
    ("colour", "red", False),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "answered"), EDGES)
def test_what_lies_at_an_edge_is_answered_on_its_right_side_only(
    both: tuple[Plane, QuickPlane], name: str, value: Any, answered: bool
) -> None:
    assert same(*both, request_of({**GOOD, "user": "u", name: value})) == answered


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_bytes_that_are_cut_changed_or_added_to_are_answered_as_protobuf_reads_them_or_not_at_all(
    both: tuple[Plane, QuickPlane], data: st.DataObject
) -> None:
    plane, quick = both
    body = bytearray(
        request_of({**GOOD, "visits": 3}, event_id="e", unit="u", max_staleness_ms=200).SerializeToString()
    )
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "add", "twice"]))
        if how == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del body[at:]
        elif how == "add":
            body[at:at] = data.draw(st.binary(max_size=3))
        else:
            body += body[at:]
        if not body:
            return
    found = quick.answer(bytes(body), NOW + 100)
    if found is not None:
        message = pb.PredictRequest.FromString(bytes(body))
        made = not message.event_id and "id" not in message.fields
        message.event_id = found.event_id if made else message.event_id
        wanted = plane.answer(wire.request_of(message), NOW + 100)
        assert (found.score, found.unit, found.arm) == (wanted.score, wanted.unit, wanted.arm)
        assert not message.event_id or found.event_id == wanted.event_id


@pytest.mark.parametrize("unit", ["user", "country", "visits", "ratio", "vip", "device", "at", "count"])
def test_the_unit_is_the_field_that_the_spec_names_as_the_row_form_has_it(unit: str, tmp_path: Path) -> None:
    plane, quick = plane_of(tmp_path, experiment={"name": "u", "unit": unit})
    answered = 0
    for event in events(60, seed=5):
        fields = {k: v for k, v in event.items() if k != "trail"}
        answered += same(plane, quick, request_of(fields))
        answered += same(plane, quick, request_of({**fields, unit: None}))
        answered += same(plane, quick, request_of({n: v for n, v in fields.items() if n != unit}))
    assert answered or unit == "ratio"


def test_every_way_of_cleaning_and_encoding_is_the_row_forms(tmp_path: Path) -> None:
    fields = {
        **FIELDS,
        "visits": {"type": "category", "impute": "none"},
        "vip": {"type": "category", "case": "lower", "unify": {"true": "yes", "false": ""}},
        "country": {"type": "category", "case": "lower", "strip": False, "impute": "nowhere"},
        "ratio": {"type": "numeric", "impute": 0.5, "max": 100, "outside": "clip"},
        "count": {"type": "numeric", "min": -3},
        "at": {"type": "time", "parts": ["hour", "weekday", "month", "day"], "as": ["number", "category", "cycle"]},
    }
    event = {"schema": "visit.avsc", "id": "id", "time": "at", "fields": fields}
    plane, quick = plane_of(tmp_path, event=event)
    answered = 0
    for number, each in enumerate(events(200, seed=8)):
        given = {k: v for k, v in each.items() if k != "trail"} | {"at": NOW - number * 12_345_678_901 % NOW}
        answered += same(plane, quick, request_of(given | ({"vip": bool(number % 2)} if number % 3 else {"vip": None})))
        answered += same(plane, quick, request_of(GOOD | {"visits": number - 100 - (1 << 62)}))
    assert answered > 250


BLANKS = [chr(c) for c in range(0x11000) if chr(c).isspace()]


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=6), st.text(st.sampled_from([*BLANKS, "a", "ß", "日", "🦉", "”", "。"]), max_size=5)))
def test_text_of_any_letters_is_cleaned_as_the_row_form_does(spoken: tuple[Plane, QuickPlane], text: str) -> None:
    plane, quick = spoken
    same(plane, quick, request_of({**GOOD, "country": text, "user": text}, event_id=f"e{text}", unit=text))
    same(plane, quick, request_of({**GOOD, "country": text}))


@pytest.mark.parametrize("text", ["Zoë", "日本", "🦉", "a ß b", "ⅷ"])
def test_text_of_any_letters_is_no_reason_to_hand_over(spoken: tuple[Plane, QuickPlane], text: str) -> None:
    assert same(*spoken, request_of({**GOOD, "country": text, "user": text}, event_id=text))


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plane, QuickPlane]:
    fields = {**FIELDS, "country": {"type": "category", "unify": {"日": "jp", "ß": "ss", "": "none"}}}
    event = {"schema": "visit.avsc", "id": "id", "time": "at", "fields": fields}
    return plane_of(tmp_path_factory.mktemp("spoken"), event=event, experiment={"name": "u", "unit": "country"})


@pytest.mark.parametrize(
    "bad", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80", b"a\xc3"]
)
def test_bytes_that_are_no_text_are_handed_over(both: tuple[Plane, QuickPlane], bad: bytes) -> None:
    mark = b"~" * len(bad)
    body = request_of({**GOOD, "user": mark.decode()}).SerializeToString()
    assert both[1].answer(body, NOW) is not None
    assert both[1].answer(body.replace(mark, bad), NOW) is None


def test_defaults_of_the_schema_are_in_their_place(tmp_path: Path) -> None:
    schema = copy.deepcopy(SCHEMA)
    for field in schema["fields"]:
        if field["name"] == "country":
            field |= {"type": "string", "default": " uk "}
        if field["name"] == "ratio":
            field |= {"type": "double", "default": 0.25}
    plane, quick = plane_of(tmp_path, schema=schema)
    assert same(plane, quick, request_of(GOOD))
    assert same(plane, quick, request_of({k: v for k, v in GOOD.items() if k in ("amount", "device")}))


@pytest.mark.parametrize("model", ["tree.hoeffding", "linear.softmax", "linear.passive_aggressive"])
def test_any_arm_is_scored_by_its_own_model(model: str, tmp_path: Path) -> None:
    plane, quick = plane_of(tmp_path, arms={"one": {"model": model}, "two": {"model": "linear.logistic"}})
    for number in range(40):
        assert same(plane, quick, request_of(GOOD, unit=f"u{number}"))


def test_an_arm_sees_its_own_fields_only(tmp_path: Path) -> None:
    arms = {
        "some": {"model": "linear.logistic", "fields": ["amount", "device", "at"]},
        "rest": {"model": "linear.logistic", "without": ["amount", "at.hour"]},
    }
    plane, quick = plane_of(tmp_path, arms=arms)
    for each in events(50, seed=3):
        fields = {k: v for k, v in each.items() if k != "trail"}
        for arm in arms:
            same(plane, quick, request_of(fields, arm=arm))
    assert same(plane, quick, request_of(GOOD, arm="some"))


def test_shadow_arms_are_scored_for_the_log(tmp_path: Path) -> None:
    arms = {
        "one": {"model": "linear.logistic"},
        "dark": {"model": "linear.logistic", "params": {"lr": 0.3}, "shadow": True, "weight": 0},
    }
    plane, quick = plane_of(tmp_path, arms=arms)
    found = [quick.answer(request_of({**GOOD, "amount": a}).SerializeToString(), NOW) for a in (1.0, 900.0)]
    assert all(f is not None and f.shadows for f in found)
    said = [f.shadows.at(0) for f in found if f is not None]  # the row's room was used again meanwhile
    assert said[0][0].score != said[1][0].score
    assert same(plane, quick, request_of(GOOD))


def test_classes_have_their_probabilities_and_the_likeliest(tmp_path: Path) -> None:
    arms = {"tree": {"model": "tree.hoeffding", "params": {"grace_period": 50}}}
    plane, quick = plane_of(tmp_path, task="classes", classes=["low", "mid", "high"], arms=arms)
    for amount in (900.0, 1.0, 0.0):
        assert same(plane, quick, request_of({**GOOD, "amount": amount}))


def test_a_spec_that_it_can_not_do_is_left_to_the_row_form(tmp_path: Path) -> None:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"][0]["type"] = "long"
    assert not plane_of(tmp_path, schema=schema)[1].able
    text = {**FIELDS, "country": {"type": "text"}}
    event = {"schema": "visit.avsc", "id": "id", "time": "at", "fields": text}
    _, quick = plane_of(tmp_path, event=event)
    assert not quick.able
    assert quick.answer(request_of(GOOD).SerializeToString(), NOW) is None


def test_what_is_too_large_stale_or_without_a_model_is_handed_over(both: tuple[Plane, QuickPlane]) -> None:
    plane, quick = both
    assert quick.answer(request_of(GOOD).SerializeToString(), NOW) is not None
    assert quick.answer(request_of({**GOOD, "user": "u" * BYTES_MAX}).SerializeToString(), NOW) is None
    assert quick.answer(request_of(GOOD, max_staleness_ms=99).SerializeToString(), NOW + 100) is None
    assert QuickPlane(Plane(plane.spec)).answer(request_of(GOOD).SerializeToString(), NOW) is None


def test_what_the_answers_of_a_new_model_have_in_common_is_made_before_it_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane, quick = plane_of(tmp_path)
    asked = [request_of(GOOD, unit=f"u{number}", event_id="e") for number in range(40)]
    for message in asked:
        assert same(plane, quick, message)
    newer = served_of(plane.spec, snapshot(plane.spec, tmp_path / "newer", rows=600, generation=2))
    plane.swap(newer)
    with monkeypatch.context() as m:
        m.setattr(wire, "model_message", None)  # whoever makes it anew in a call fails
        m.setattr(wire, "answer_message", None)
        found = [quick.answer(message.SerializeToString(), NOW + 100) for message in asked]
        assert all(one is not None and one.model is newer for one in found)
    plane.as_of(NOW + 50)
    with monkeypatch.context() as m:
        m.setattr(wire, "model_message", None)
        one = quick.answer(asked[0].SerializeToString(), NOW + 100)
        assert one is not None
        assert one.staleness_ms == 50
    for message in asked:
        assert same(plane, quick, message)


def test_a_score_that_is_no_number_is_handed_over(both: tuple[Plane, QuickPlane]) -> None:
    class Mad:
        def score(self, arm: str, block: Any) -> Any:
            return block.numeric[:, 0] * math.nan

    plane = Plane(both[0].spec)
    assert both[0].served is not None
    plane.swap(type(both[0].served)(Mad(), *[getattr(both[0].served, n) for n in both[0].served.__slots__[1:]]))  # type: ignore[arg-type]
    assert QuickPlane(plane).answer(request_of(GOOD).SerializeToString(), NOW) is None


def test_a_new_model_answers_from_the_next_call_on(both: tuple[Plane, QuickPlane], tmp_path: Path) -> None:
    plane, quick = plane_of(tmp_path)
    assert same(plane, quick, request_of(GOOD))
    assert both[0].served is not None
    plane.swap(both[0].served)
    assert same(plane, quick, request_of(GOOD))
    plane.as_of(NOW + 50)
    assert same(plane, quick, request_of(GOOD))


def test_ids_are_random_uuids() -> None:
    made = new_ids(500)
    assert len(set(made)) == 500
    assert {
        str(UUID(i)) == i and UUID(i).version == 4 and UUID(i).variant == "specified in RFC 4122" for i in made
    } == {True}


def test_parts_of_a_day_are_the_encoders() -> None:
    days = np.arange(0, 40_000, 7) * 86_400_000 + 5_000_000
    for kind, part in enumerate(("hour", "weekday", "month", "day")):
        assert [_part.py_func(kind, int(d)) for d in days.tolist()] == time_part(days, part).tolist()
