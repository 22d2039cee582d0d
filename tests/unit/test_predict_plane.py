"""The plane: requests in, answers or refusals out, over a model learned from synthetic rows."""

import copy
import dataclasses
import io
import json
import threading
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import pytest

from stream.arrive.framing import Decoder, frame_single_object
from stream.arrive.reject import CODES
from stream.block import Training
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.errors import SnapshotError
from stream.learn.arms import Arms, digest
from stream.predict.plane import Answer, Plane, Request, event_id_of
from stream.predict.refuse import (
    BadScore,
    InvalidRequest,
    NoModel,
    Refused,
    TooStale,
    UnknownArm,
)
from stream.predict.served import MODEL, Loader, Served, served_of
from stream.registry import snapshot as snapshots
from stream.registry.snapshot import Snapshot
from stream.spec import Spec
from stream.spec_load import event_schema, parse_spec

NOW = 1_760_000_000_000
SCHEMA: dict[str, Any] = {
    "type": "record",
    "name": "Visit",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "user", "type": ["null", "string"], "default": None},
        {"name": "amount", "type": ["null", "double"], "default": None},
        {"name": "visits", "type": ["null", "long"], "default": None},
        {"name": "count", "type": "int", "default": 7},
        {"name": "ratio", "type": ["null", "float"], "default": None},
        {"name": "country", "type": ["null", "string"], "default": None},
        {"name": "device", "type": {"type": "enum", "name": "Device", "symbols": ["phone", "desk"]}},
        {"name": "vip", "type": ["null", "boolean"], "default": None},
        {"name": "trail", "type": {"type": "array", "items": "string"}, "default": []},
    ],
}
FIELDS: dict[str, Any] = {
    "user": {"type": "ignore"},
    "amount": {"type": "numeric", "required": True, "min": 0, "max": 1000},
    "visits": {"type": "numeric", "min": 0, "max": 100, "outside": "clip"},
    "count": {"type": "numeric"},
    "ratio": {"type": "numeric"},
    "country": {"type": "category", "case": "upper", "unify": {"UK": "GB"}},
    "device": {"type": "category"},
    "vip": {"type": "boolean"},
    "at": {"type": "time", "parts": ["hour"]},
}
LINEAR = {
    "calm": {"model": "linear.logistic", "params": {"lr": 0.01}, "weight": 0.5},
    "bold": {"model": "linear.logistic", "params": {"lr": 0.5}, "weight": 0.5},
    "shadow": {"model": "linear.logistic", "weight": 0},
}


def make_spec(folder: Path, schema: dict[str, Any] = SCHEMA, **other: Any) -> Spec:
    """A spec with its schema in `folder`."""
    (folder / "visit.avsc").write_text(json.dumps(schema))
    raw: dict[str, Any] = {
        "name": "visits",
        "task": "binary",
        "event": {"schema": "visit.avsc", "id": "id", "time": "at", "fields": FIELDS},
        "arms": LINEAR,
        "experiment": {"name": "calm-or-bold", "salt": "7", "unit": "user"},
    }
    return parse_spec(raw | other, folder)


def events(n: int, seed: int = 1) -> list[dict[str, Any]]:
    """Decoded events, as they would come from Kafka."""
    rng = np.random.default_rng(seed)
    return [
        {
            "id": f"e{i}",
            "at": NOW - 1000 * int(rng.integers(1, 10**6)),
            "user": f"user-{rng.integers(500)}",
            "amount": float(rng.uniform(0, 1000)),
            "visits": int(rng.integers(0, 120)),
            "count": int(rng.integers(0, 9)),
            "ratio": float(np.float32(rng.uniform())),
            "country": ["uk", "GB", "de ", None][int(rng.integers(4))],
            "device": ["phone", "desk"][int(rng.integers(2))],
            "vip": bool(rng.integers(2)),
            "trail": [],
        }
        for i in range(n)
    ]


def learned(spec: Spec, rows: int, seed: int = 1) -> Arms:
    """Arms that learned `rows` synthetic rows."""
    given = events(rows, seed)
    cleaned = Cleaner(spec).clean(given, [Position(0, i, NOW) for i in range(rows)])
    block = Encoder(spec).encode(cleaned.columns)
    label = np.array([float(e["amount"] > 500) for e in given])
    if spec.task == "classes":
        label += np.array([float(e["vip"]) for e in given])
    offsets = np.arange(rows)
    arms = Arms(spec)
    arms.learn(Training(block, label, offsets, offsets + NOW, offsets + NOW))
    return arms


def snapshot(spec: Spec, folder: Path, rows: int = 2000, generation: int = 1, as_of_ms: int = NOW) -> Snapshot:
    """A snapshot on disk, as the learner writes them."""
    arms = learned(spec, rows)
    states = arms.states()
    meta = {
        "generation": generation,
        "spec_hash": spec.hash,
        "pipeline": spec.name,
        "training_offset": 17,
        "rows": rows,
        "state_hash": digest(states),
        "through": {"label_offset": rows - 1, "label_time_ms": NOW - 7, "label_published_ms": NOW - 5},
        "as_of_ms": as_of_ms,
        "values": {},
    }
    return snapshots.write(folder, states, meta, 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("plane")


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return make_spec(folder)


@pytest.fixture(scope="module")
def served(spec: Spec, folder: Path) -> Served:
    return served_of(spec, snapshots.read(snapshot(spec, folder / "snapshots").path, spec.hash))


@pytest.fixture
def plane(spec: Spec, served: Served) -> Plane:
    schema = event_schema(spec)
    made = Plane(spec, Decoder(schema, lambda key: schema if key == schema.fingerprint else None).decode)
    made.swap(served)
    return made


GOOD: dict[str, Any] = {"user": "ann", "amount": 12.5, "visits": 3, "country": "uk", "device": "phone"}


def test_an_answer_says_arm_model_and_freshness(plane: Plane, served: Served, spec: Spec) -> None:
    answer = plane.predict(GOOD, "e1", now_ms=NOW + 250)
    assert answer.model is served
    assert (served.generation, served.training_offset, served.rows, served.label_offset) == (
        1,
        17,
        2000,
        1999,
    )
    assert answer.staleness_ms == 250
    assert answer.arm in ("calm", "bold")
    assert answer.propensity == 0.5
    assert (answer.unit, answer.event_id, answer.event_time_ms) == ("ann", "e1", NOW + 250)
    assert (answer.experiment, answer.spec_hash) == ("calm-or-bold", spec.hash)
    assert 0 < answer.score < 1
    assert (answer.scores, answer.label, answer.arm_requested) == ((), "", False)
    assert event_id_of(answer.prediction_id) == "e1"


def test_an_answer_is_what_the_stream_would_have_scored(plane: Plane, served: Served, spec: Spec) -> None:
    given = events(300, seed=9)
    cleaned = Cleaner(spec).clean(given, [Position(0, i, NOW) for i in range(len(given))])
    block = Encoder(spec).encode(cleaned.columns)
    expected = {arm: served.arms.score(arm, block).tolist() for arm in spec.arms}
    fields = [{k: v for k, v in e.items() if k != "trail"} for e in given]
    single = [plane.predict(f, now_ms=NOW) for f in fields]
    batch = plane.predict_batch([Request(f) for f in fields], NOW)
    assert {a.arm for a in single} == {"calm", "bold"}
    for i, (one, other) in enumerate(zip(single, batch, strict=True)):
        assert isinstance(other, Answer)
        assert one.score == other.score == expected[one.arm][i]
        assert (one.arm, one.event_id) == (other.arm, given[i]["id"])


def test_a_framed_avro_event_is_answered_as_its_fields(plane: Plane, spec: Spec) -> None:
    schema = event_schema(spec)
    event = events(1, seed=4)[0]
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, event)
    framed = frame_single_object(schema, out.getvalue())
    a = plane.answer(Request(avro=framed), NOW)
    b = plane.predict({k: v for k, v in event.items() if k != "trail"}, now_ms=NOW)
    assert (a.score, a.arm, a.event_id, a.event_time_ms) == (b.score, b.arm, "e0", event["at"])
    with pytest.raises(InvalidRequest) as e:
        plane.answer(Request(avro=framed + b"x"), NOW)
    assert e.value.reason == "avro.trailing"


def _digest(served: Served) -> str:
    """Of what the models are."""
    return digest({name: model.state() for name, model in served.arms.models.items()})


def test_models_that_one_loader_made_share_nothing_that_one_could_change(spec: Spec, tmp_path: Path) -> None:
    reader, loader = snapshots.Reader(), Loader(spec)
    paths = [snapshot(spec, tmp_path, rows, rows).path for rows in (300, 2000)]
    first = loader.served(reader.read(paths[0], spec.hash, MODEL))
    before = _digest(first)
    second = loader.served(reader.read(paths[1], spec.hash, MODEL))
    assert _digest(first) == before != _digest(second)
    assert (first.arms.rows, second.arms.rows) == (300, 2000)
    for found, path in ((first, paths[0]), (second, paths[1])):
        alone = served_of(spec, snapshots.read(path, spec.hash))
        assert _digest(alone) == _digest(found)


def test_to_predict_never_learns_and_never_changes_its_input(plane: Plane, served: Served) -> None:
    before = _digest(served)
    fields = copy.deepcopy(GOOD)
    for i in range(50):
        plane.predict(fields, f"e{i}", now_ms=NOW)
    assert fields == GOOD
    assert _digest(served) == before


def test_an_absent_field_takes_the_schemas_default_and_a_null_stays_null(plane: Plane) -> None:
    base = plane.predict(GOOD, "e", arm="bold", now_ms=NOW).score
    assert plane.predict({**GOOD, "count": 7}, "e", arm="bold", now_ms=NOW).score == base
    assert plane.predict({**GOOD, "count": 1}, "e", arm="bold", now_ms=NOW).score != base
    assert plane.predict({**GOOD, "vip": None}, "e", arm="bold", now_ms=NOW).score == base


def test_a_float_is_narrowed_as_avro_would(plane: Plane) -> None:
    narrow = float(np.float32(0.1))
    a, b = (plane.predict({**GOOD, "ratio": r}, "e", arm="bold", now_ms=NOW).score for r in (0.1, narrow))
    assert a == b


def test_the_unit_is_given_or_the_field_or_the_event(plane: Plane, folder: Path, served: Served) -> None:
    assert plane.predict(GOOD, "e1", unit="bob", now_ms=NOW).unit == "bob"
    assert plane.predict(GOOD, "e1", now_ms=NOW).unit == "ann"
    without = {k: v for k, v in GOOD.items() if k != "user"}
    assert plane.predict(without, "e1", now_ms=NOW).unit == "e1"
    by_country = Plane(make_spec(folder, experiment={"name": "c", "unit": "country"}))
    by_country.swap(served)
    units = {by_country.predict({**GOOD, "country": c}, now_ms=NOW).unit for c in ("uk", " UK", "GB")}
    assert units == {"GB"}  # as cleaned


def test_the_same_unit_always_gets_the_same_arm(plane: Plane) -> None:
    for unit in ("ann", "bob", "zoë", "数据"):
        assert len({plane.predict({**GOOD, "user": unit}, now_ms=NOW).arm for _ in range(5)}) == 1


def test_an_arm_asked_for_has_propensity_one_and_is_no_part_of_the_experiment(plane: Plane) -> None:
    answer = plane.predict(GOOD, arm="shadow", now_ms=NOW)
    assert (answer.arm, answer.propensity, answer.arm_requested, answer.experiment) == (
        "shadow",
        1.0,
        True,
        "",
    )


def test_an_event_without_id_gets_one_of_its_own(plane: Plane) -> None:
    ids = {plane.predict(GOOD, now_ms=NOW).event_id for _ in range(3)}
    assert len(ids) == 3
    assert plane.predict({**GOOD, "id": "mine"}, now_ms=NOW).event_id == "mine"


SMALL = ["device", "amount"]  # what must be there
BAD: list[tuple[str, dict[str, Any], dict[str, Any], type[Refused], str, list[str]]] = [
    (
        "unknown field",
        {"colour": "red"},
        {},
        InvalidRequest,
        "field.unknown",
        ["colour", "amount", "country"],
    ),
    (
        "text for a number",
        {"amount": "12"},
        {},
        InvalidRequest,
        "field.wrong_type",
        ["amount", "'12'", "number"],
    ),
    (
        "bool for a number",
        {"amount": True},
        {},
        InvalidRequest,
        "field.wrong_type",
        ["amount", "True", "number"],
    ),
    (
        "fraction for a long",
        {"visits": 1.5},
        {},
        InvalidRequest,
        "field.wrong_type",
        ["visits", "1.5", "64 bits"],
    ),
    ("too large an int", {"count": 1 << 31}, {}, InvalidRequest, "field.wrong_type", ["count", "32 bits"]),
    ("too large a float", {"ratio": 1e300}, {}, InvalidRequest, "field.wrong_type", ["ratio", "32 bits"]),
    ("number for a text", {"country": 5}, {}, InvalidRequest, "field.wrong_type", ["country", "5", "string"]),
    (
        "a lone surrogate",
        {"country": "\ud800"},
        {},
        InvalidRequest,
        "field.wrong_type",
        ["country", "Unicode"],
    ),
    ("number for a bool", {"vip": 1}, {}, InvalidRequest, "field.wrong_type", ["vip", "1", "true or false"]),
    (
        "no such symbol",
        {"device": "tv"},
        {},
        InvalidRequest,
        "field.wrong_type",
        ["device", "tv", "phone, desk"],
    ),
    (
        "an unhashable",
        {"device": []},
        {},
        InvalidRequest,
        "field.wrong_type",
        ["device", "list", "phone, desk"],
    ),
    ("array", {"trail": "x"}, {}, InvalidRequest, "field.wrong_type", ["trail", "avro"]),
    ("NaN", {"amount": float("nan")}, {}, InvalidRequest, "value.not_finite", ["amount", "nan", "finite"]),
    ("inf", {"amount": float("inf")}, {}, InvalidRequest, "value.not_finite", ["amount", "inf", "finite"]),
    ("huge", {"ratio": 1e16}, {}, InvalidRequest, "value.too_large_number", ["ratio", "1e+16", "1e+15"]),
    (
        "below min",
        {"amount": -1.0},
        {},
        InvalidRequest,
        "value.out_of_range",
        ["amount", "-1", "0.0 to 1000.0"],
    ),
    ("required null", {"amount": None}, {}, InvalidRequest, "value.missing", ["amount", "required"]),
    ("null not allowed", {"device": None}, {}, InvalidRequest, "value.missing", ["device", "no null"]),
    (
        "long category",
        {"country": "x" * 1025},
        {},
        InvalidRequest,
        "value.too_long",
        ["country", "1025", "1024"],
    ),
    ("time ahead", {"at": NOW + 10**9}, {}, InvalidRequest, "event.time_outside", ["at", str(NOW + 10**9)]),
    ("two ids", {"id": "a"}, {"event_id": "b"}, InvalidRequest, "request.wrong", ["event_id", "'a'", "'b'"]),
    ("long id", {}, {"event_id": "x" * 257}, InvalidRequest, "value.too_long", ["id", "257", "256"]),
    ("long unit", {}, {"unit": "x" * 1025}, InvalidRequest, "value.too_long", ["unit", "1025", "1024"]),
    ("fields and avro", {}, {"avro": b"\xc3\x01"}, InvalidRequest, "request.wrong", ["fields", "avro"]),
    ("unknown arm", {}, {"arm": "best"}, UnknownArm, "arm.unknown", ["best", "calm, bold, shadow"]),
    (
        "bad staleness",
        {},
        {"max_staleness_ms": -1},
        InvalidRequest,
        "request.wrong",
        ["max_staleness_ms", "-1"],
    ),
    ("too stale", {}, {"max_staleness_ms": 99}, TooStale, "model.stale", ["100 ms", "99 ms", str(NOW)]),
]


@pytest.mark.parametrize(("what", "fields", "request_", "kind", "reason", "said"), BAD, ids=[b[0] for b in BAD])
def test_every_bad_request_is_refused_with_what_was_given_and_what_is_allowed(
    plane: Plane,
    what: str,
    fields: dict[str, Any],
    request_: dict[str, Any],
    kind: type[Refused],
    reason: str,
    said: list[str],
) -> None:
    request = Request({**GOOD, **fields}, **request_)
    with pytest.raises(kind) as e:
        plane.answer(request, NOW + 100)
    assert e.value.reason == reason
    for part in said:
        assert part in str(e.value), str(e.value)
    first, bad, last = plane.predict_batch([Request(GOOD), request, Request(GOOD)], NOW + 100)
    assert type(bad) is kind
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)


@pytest.mark.parametrize("name", SMALL)
def test_a_missing_required_field_is_refused(plane: Plane, name: str) -> None:
    with pytest.raises(InvalidRequest, match=f"{name}: missing") as e:
        plane.predict({k: v for k, v in GOOD.items() if k != name}, now_ms=NOW)
    assert e.value.reason == "value.missing"
    assert e.value.reason in CODES


def test_a_whole_number_as_id_must_be_written_as_its_label_will_be(tmp_path: Path, served: Served) -> None:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"][0]["type"] = "long"
    plane = Plane(make_spec(tmp_path, schema))
    plane.swap(served)
    assert plane.predict(GOOD, "42", now_ms=NOW).event_id == "42"
    assert int(plane.predict(GOOD, now_ms=NOW).event_id) >= 0
    for bad in ("042", "x", "1.0", "٣", "9" * 5000, "--1", " 1", str(1 << 63)):
        with pytest.raises(InvalidRequest, match="whole number"):
            plane.predict(GOOD, bad, now_ms=NOW)


def test_no_model_and_too_many_rows_are_said(spec: Spec, plane: Plane) -> None:
    with pytest.raises(NoModel, match="visits: no model is loaded yet"):
        Plane(spec).predict(GOOD, now_ms=NOW)
    with pytest.raises(InvalidRequest, match="4097 requests; at most 4096"):
        plane.predict_batch([Request(GOOD)] * 4097, NOW)
    assert plane.predict_batch([], NOW) == []


def test_a_score_that_is_no_number_is_never_an_answer(spec: Spec, served: Served) -> None:
    class Mad:
        def score(self, arm: str, block: Any) -> Any:
            return np.full(len(block), np.nan)

    plane = Plane(spec)
    plane.swap(dataclasses.replace(served, arms=Mad()))  # type: ignore[arg-type]
    with pytest.raises(BadScore, match="the score is nan"):
        plane.predict(GOOD, now_ms=NOW)


def test_news_of_freshness_changes_only_freshness(plane: Plane, served: Served) -> None:
    plane.as_of(NOW + 1000)
    assert plane.served == dataclasses.replace(served, as_of_ms=NOW + 1000)
    plane.as_of(NOW)  # an older word comes late
    assert plane.predict(GOOD, now_ms=NOW + 1500).staleness_ms == 500


def test_classes_are_answered_with_all_scores_and_the_likeliest(tmp_path: Path) -> None:
    arms = {"tree": {"model": "tree.hoeffding", "params": {"grace_period": 50}}}
    spec = make_spec(tmp_path, task="classes", classes=["low", "mid", "high"], arms=arms)
    plane = Plane(spec)
    plane.swap(served_of(spec, snapshot(spec, tmp_path / "snapshots")))
    answer = plane.predict({**GOOD, "amount": 900.0, "vip": True}, now_ms=NOW)
    assert len(answer.scores) == 3
    assert answer.score == max(answer.scores)
    assert answer.label == ("low", "mid", "high")[answer.scores.index(answer.score)] == "high"


def test_a_snapshot_that_is_not_this_specs_model_never_becomes_one(spec: Spec, folder: Path, tmp_path: Path) -> None:
    good = snapshot(spec, tmp_path)
    lacking = dataclasses.replace(good, states={k: v for k, v in good.states.items() if k != "bold"})
    with pytest.raises(SnapshotError, match="holds arms"):
        served_of(spec, lacking)
    for broken in ({k: v for k, v in good.meta.items() if k != "through"}, good.meta | {"through": {}}):
        with pytest.raises(SnapshotError, match="KeyError"):
            served_of(spec, dataclasses.replace(good, meta=broken))
    for array in ("model.weights", "model.table"):  # what an empty event meets, and what it does not
        states = copy.deepcopy(good.states)
        damaged = states["bold"].arrays[array]
        damaged[np.flatnonzero(damaged)[0]] = np.nan
        with pytest.raises(SnapshotError, match="bold"):
            served_of(spec, dataclasses.replace(good, states=states))


def test_many_threads_predict_over_swaps_and_each_answer_is_of_one_model(spec: Spec, tmp_path: Path) -> None:
    models = [served_of(spec, snapshot(spec, tmp_path / str(g), rows=200 * g, generation=g)) for g in (1, 2, 3)]
    plane = Plane(spec)
    expected = {}
    for model in models:
        plane.swap(model)
        expected[model.generation] = plane.predict(GOOD, "e", arm="bold", now_ms=NOW).score
    assert len(set(expected.values())) == 3
    before = [_digest(m) for m in models]
    stop, wrong, count = threading.Event(), [], [0] * 6

    def call(number: int) -> None:
        while not stop.is_set():
            rows = plane.predict_batch([Request(GOOD, "e", arm="bold")] * 3, NOW)
            ok = all(isinstance(r, Answer) and r.score == expected[r.model.generation] for r in rows)
            if not ok or len({r.model.generation for r in rows if isinstance(r, Answer)}) != 1:
                wrong.append(rows)
            count[number] += 1

    threads = [threading.Thread(target=call, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for i in range(600):
        plane.swap(models[i % 3])
        plane.as_of(NOW + i)
        stop.wait(0.001)
    stop.set()
    for t in threads:
        t.join()
    assert not wrong
    assert min(count) > 10
    assert [_digest(m) for m in models] == before
