"""Columns in, columns out: row for row what the row form answers, whatever the rows are."""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_predict_plane import FIELDS, GOOD, NOW, SCHEMA, events, make_spec, snapshot

from stream.predict.answers import REFUSED, Answers, Batch
from stream.predict.batch import Columnar
from stream.predict.given import Column, numbered
from stream.predict.plane import Answer, Plane, Request
from stream.predict.refuse import InvalidRequest, NoModel, Refused, TooStale, UnknownArm
from stream.predict.served import served_of

KINDS = {
    "id": "string", "at": "int64", "user": "string", "amount": "double", "visits": "int64", "count": "int64",
    "ratio": "double", "country": "string", "device": "string", "vip": "bool",
}  # fmt: skip
TYPES: dict[str, Any] = {"double": np.float64, "int64": np.int64, "bool": bool}


def column_of(kind: str, values: list[Any]) -> Column:
    """A column of these values; None is a null."""
    nulls = np.array([v is None for v in values], bool)
    if kind == "string":
        texts, index = numbered(["" if v is None else v for v in values])
        return Column("string", texts, index, nulls if nulls.any() else None)
    numbers = np.array([0 if v is None else v for v in values], TYPES[kind])
    return Column(kind, numbers, None, nulls if nulls.any() else None)  # type: ignore[arg-type]


def batch_of(rows: list[dict[str, Any]], kinds: dict[str, str] = KINDS, **other: Any) -> Batch:
    """The columns of rows that all name the same fields."""
    names = list(rows[0]) if rows else []
    return Batch(len(rows), {n: column_of(kinds[n], [row[n] for row in rows]) for n in names}, **other)


def same(plane: Plane, rows: list[dict[str, Any]], found: Answers, **request: Any) -> None:
    """Hold the answers to those of the row form. An id that was made has no equal; all else has."""
    ids, units = found.event_ids, list(request.pop("units", ())) or [""] * len(rows)
    given = list(request.pop("event_ids", ())) or [""] * len(rows)
    wanted = [
        plane.predict_batch([Request(row, event_id=e or ("" if row.get("id") else i), unit=u, **request)], NOW)[0]
        for row, e, i, u in zip(rows, given, ids, units, strict=True)
    ]
    for row, one in enumerate(wanted):
        if isinstance(one, Refused):
            assert found.arm[row] == REFUSED
            if one.reason != "request.wrong":  # where the id that was asked for above is one of a refused row
                assert (type(found.refused[row]), str(found.refused[row])) == (type(one), str(one))
            continue
        assert row not in found.refused, found.refused.get(row)
        assert found.arms[found.arm[row]] == one.arm
        assert (found.score[row], found.propensity[row]) == (one.score, one.propensity)
        assert tuple(found.scores[row]) == one.scores
        assert (found.event_ids[row], found.units[row], found.time_ms[row]) == (
            one.event_id,
            one.unit,
            one.event_time_ms,
        )
        assert (found.experiment, found.asked, found.staleness_ms) == (
            one.experiment,
            one.arm_requested,
            one.staleness_ms,
        )


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Plane:
    folder = tmp_path_factory.mktemp("batch")
    spec = make_spec(folder)
    made = Plane(spec)
    made.swap(served_of(spec, snapshot(spec, folder / "snapshots")))
    return made


@pytest.fixture(scope="module")
def columnar(plane: Plane) -> Columnar:
    return Columnar(plane)


def test_a_batch_of_columns_is_answered_as_its_rows_are(plane: Plane, columnar: Columnar) -> None:
    rows = [{k: v for k, v in e.items() if k != "trail"} for e in events(500, seed=3)]
    found = columnar.answer(batch_of(rows), NOW)
    assert not found.refused
    assert {found.arms[a] for a in found.arm} == {"calm", "bold"}
    same(plane, rows, found)
    asked = columnar.answer(batch_of(rows, arm="shadow"), NOW)
    same(plane, rows, asked, arm="shadow")


_texts = st.one_of(st.none(), st.text(max_size=4), st.sampled_from(["uk", " GB ", "x" * 1025, "Ä" * 257, "de\0"]))
_numbers = st.one_of(
    st.none(), st.floats(), st.floats(0, 1000, width=32), st.sampled_from([1e300, 1e16, -1.0, 0.0, -0.0])
)
_longs = st.one_of(st.none(), st.integers(-(1 << 63), (1 << 63) - 1), st.integers(-5, 200), st.just(1 << 31))
_ROW = {
    "id": st.one_of(st.none(), st.text(min_size=0, max_size=3), st.just("i" * 257)),
    "at": st.one_of(st.integers(NOW - 10**7, NOW), st.sampled_from([-1, NOW + 10**9, NOW + 24 * 3600 * 1000, 0])),
    "user": _texts,
    "amount": st.one_of(_numbers, st.floats(0, 1000)),
    "visits": _longs,
    "count": st.one_of(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(-5, 5), st.just(1 << 31)),
    "ratio": _numbers,
    "country": _texts,
    "device": st.sampled_from(["phone", "desk", "tv", None]),
    "vip": st.sampled_from([True, False, None]),
}


@st.composite
def _rows(draw: st.DrawFn) -> list[dict[str, Any]]:
    names = draw(st.lists(st.sampled_from(sorted(_ROW)), unique=True))
    row = st.tuples(*(_ROW[n] for n in names)).map(lambda values: dict(zip(names, values, strict=True)))
    return draw(st.lists(row, max_size=5))


@settings(max_examples=150, deadline=None)
@given(_rows(), st.data())
def test_any_rows_at_all_get_what_the_row_form_gives_them(
    plane: Plane, columnar: Columnar, rows: list[dict[str, Any]], data: st.DataObject
) -> None:
    n = len(rows)
    ids = data.draw(st.one_of(st.just([]), st.lists(st.sampled_from(["", "a", "b"]), min_size=n, max_size=n)))
    units = data.draw(st.one_of(st.just([]), st.lists(st.sampled_from(["", "u", "x" * 1025]), min_size=n, max_size=n)))
    arm = data.draw(st.sampled_from(["", "bold"]))
    found = columnar.answer(batch_of(rows, event_ids=ids, units=units, arm=arm), NOW)
    assert len(found) == n
    same(plane, rows, found, event_ids=ids, units=units, arm=arm)


@pytest.mark.parametrize("unit", ["user", "country", "visits", "ratio", "vip", "device", "at", "count"])
def test_the_unit_is_the_field_that_the_spec_names_as_the_row_form_has_it(unit: str, tmp_path: Path) -> None:
    spec = make_spec(tmp_path, experiment={"name": "u", "unit": unit})
    plane = Plane(spec)
    plane.swap(served_of(spec, snapshot(spec, tmp_path / "snapshots", rows=200)))
    rows = [{k: v for k, v in e.items() if k != "trail"} for e in events(60, seed=5)]
    rows[0][unit] = rows[0][unit] if unit in ("device", "at", "count") else None
    rows[1]["ratio"], rows[2]["ratio"] = -0.0, 0.0
    same(plane, rows, Columnar(plane).answer(batch_of(rows), NOW))
    fewer = [{k: v for k, v in r.items() if k != unit or k == "device"} for r in rows]
    same(plane, fewer, Columnar(plane).answer(batch_of(fewer), NOW))


@pytest.mark.parametrize("avro", ["long", "int", {"type": "enum", "name": "Key", "symbols": ["a", "b"]}])
def test_ids_that_are_no_strings_are_as_the_row_form_has_them(avro: Any, tmp_path: Path) -> None:
    schema = copy.deepcopy(SCHEMA)
    schema["fields"][0]["type"] = avro
    spec = make_spec(tmp_path, schema)
    plane = Plane(spec)
    plane.swap(served_of(spec, snapshot(make_spec(tmp_path, schema), tmp_path / "snapshots", rows=200)))
    columnar, whole = Columnar(plane), isinstance(avro, str)
    rows = [GOOD] * 5
    given_ids = ["7", "", "-3", "07", "x"] if whole else ["a", "b", "a", "c", "a"]
    same(plane, rows, columnar.answer(batch_of(rows, event_ids=given_ids), NOW), event_ids=given_ids)
    inside = [{**GOOD, "id": i} for i in ([1, -5, 1 << 31, 7, 0] if whole else ["a", "b", "c", "a", "b"])]
    kinds = {**KINDS, "id": "int64" if whole else "string"}
    same(plane, inside, columnar.answer(batch_of(inside, kinds), NOW))
    if whole:
        made = columnar.answer(batch_of(rows), NOW)
        assert len({int(i) for i in made.event_ids}) == 5
        assert all(0 <= int(i) < 1 << (63 if avro == "long" else 31) for i in made.event_ids)


def test_an_id_that_is_a_field_too_is_encoded_as_one(tmp_path: Path) -> None:
    fields = {**FIELDS, "id": {"type": "category"}}
    event = {"schema": "visit.avsc", "id": "id", "time": "at", "fields": fields}
    spec = make_spec(tmp_path, event=event)
    plane = Plane(spec)
    plane.swap(served_of(spec, snapshot(spec, tmp_path / "snapshots", rows=200)))
    rows = [{**GOOD, "id": f"e{i}"} for i in range(20)]
    found = Columnar(plane).answer(batch_of(rows), NOW)
    same(plane, rows, found)
    assert len(set(found.score[found.arm == found.arm[0]].tolist())) > 1


def test_classes_have_a_column_each(tmp_path: Path) -> None:
    arms = {"tree": {"model": "tree.hoeffding", "params": {"grace_period": 50}}}
    spec = make_spec(tmp_path, task="classes", classes=["low", "mid", "high"], arms=arms)
    plane = Plane(spec)
    plane.swap(served_of(spec, snapshot(spec, tmp_path / "snapshots")))
    rows = [{**GOOD, "amount": a} for a in (900.0, 1.0, -1.0)]
    found = Columnar(plane).answer(batch_of(rows), NOW)
    assert found.scores.shape == (3, 3)
    same(plane, rows, found)


def test_a_score_that_is_no_number_is_refused_by_row(plane: Plane) -> None:
    class Mad:
        def score(self, arm: str, block: Any) -> Any:
            return np.where(block.numeric[:, 0] > 50, np.nan, 0.5)

    mad = Plane(plane.spec)
    assert plane.served is not None
    mad.swap(type(plane.served)(Mad(), *[getattr(plane.served, n) for n in plane.served.__slots__[1:]]))
    rows = [{**GOOD, "amount": a} for a in (1.0, 100.0)]
    found = Columnar(mad).answer(batch_of(rows), NOW)
    assert list(found.refused) == [1]
    assert "the score is nan" in str(found.refused[1])
    assert found.score[0] == 0.5


WRONG: list[tuple[Batch, type[Refused], str]] = [
    (Batch(1, {"colour": column_of("string", ["red"])}), InvalidRequest, "'colour': no such field; the event has id"),
    (Batch(1, {"amount": column_of("string", ["1"])}), InvalidRequest, "amount: found a column of string; double or"),
    (Batch(1, {"vip": column_of("int64", [1])}), InvalidRequest, "vip: found a column of int64; bool is wanted"),
    (Batch(1, {"visits": column_of("double", [1.0])}), InvalidRequest, "visits: found a column of double; int64"),
    (Batch(1, {"trail": column_of("string", ["x"])}), InvalidRequest, "trail: no column by name"),
    (Batch(2, {"amount": column_of("double", [1.0])}), InvalidRequest, "amount: 1 values; one for each of the 2 rows"),
    (
        Batch(1, {"amount": Column("double", np.ones(1), nulls=np.zeros(3, bool))}),
        InvalidRequest,
        "amount: 3 nulls; one for each of the 1 rows",
    ),
    (
        Batch(2, {"country": Column("string", ["x"], np.array([0, 1]))}),
        InvalidRequest,
        "country: row 1: found index 1; 0 to 0 is wanted, or a null",
    ),
    (
        Batch(1, {"country": Column("string", [], np.array([0]))}),
        InvalidRequest,
        "country: row 0: found index 0; no strings are given",
    ),
    (Batch(2, event_ids=["a"]), InvalidRequest, "event_ids: found 1; none, or one for each of the 2 rows"),
    (Batch(2, units=["a"] * 3), InvalidRequest, "units: found 3"),
    (Batch(4097), InvalidRequest, "4097 requests; at most 4096"),
    (Batch(-1), InvalidRequest, "-1 requests"),
    (Batch(0, arm="best"), UnknownArm, "'best'; the arms are calm, bold, shadow"),
    (Batch(0, max_staleness_ms=-1), InvalidRequest, "max_staleness_ms: found -1"),
    (Batch(0, max_staleness_ms=0), TooStale, "100 ms stale; at most 0 ms"),
]


@pytest.mark.parametrize(("batch", "kind", "said"), WRONG, ids=[w[2] for w in WRONG])
def test_what_is_wrong_with_a_whole_batch_is_one_refusal(
    columnar: Columnar, batch: Batch, kind: type[Refused], said: str
) -> None:
    with pytest.raises(kind) as e:
        columnar.answer(batch, NOW + 100)
    assert said in str(e.value)


def test_without_a_model_there_is_no_answer_and_an_empty_batch_has_an_empty_one(plane: Plane) -> None:
    with pytest.raises(NoModel):
        Columnar(Plane(plane.spec)).answer(Batch(0), NOW)
    assert len(Columnar(plane).answer(Batch(0), NOW)) == 0


def test_prediction_ids_of_a_batch_name_their_events(plane: Plane, columnar: Columnar) -> None:
    found = columnar.answer(batch_of([GOOD] * 3), NOW)
    assert len(set(found.event_ids)) == 3
    assert len(found.batch_id) == 36
    one = plane.predict_batch([Request(GOOD)], NOW)[0]
    assert isinstance(one, Answer)
    assert len(one.prediction_id.partition("/")[0]) == len(found.batch_id)


FAULTS: list[tuple[str, Any]] = [
    ("country", "x" * 1025), ("ratio", 1e300), ("ratio", 1e16), ("amount", float("nan")), ("amount", float("inf")),
    ("amount", -1.0), ("amount", None), ("device", "tv"), ("device", None), ("count", 1 << 31), ("at", NOW + 10**9),
    ("id", "i" * 257), ("id", ""), ("user", "u" * 1025),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), FAULTS)
def test_one_fault_refuses_its_row_alone(plane: Plane, columnar: Columnar, name: str, value: Any) -> None:
    rows = [{k: v for k, v in e.items() if k != "trail"} for e in events(3, seed=6)]
    rows[1][name] = value
    found = columnar.answer(batch_of(rows), NOW)
    assert list(found.refused) == [1]
    with pytest.raises(Refused) as e:
        plane.answer(Request(rows[1]), NOW)
    assert (e.value.reason, str(e.value)) == (found.refused[1].reason, str(found.refused[1]))


def test_a_float_is_narrowed_as_avro_would(columnar: Columnar) -> None:
    rows = [{**GOOD, "ratio": r} for r in (0.1, float(np.float32(0.1)), 0.2)]
    found = columnar.answer(batch_of(rows, arm="bold"), NOW).score.tolist()
    assert found[0] == found[1] != found[2]
