"""Cleaning: each rule and each code, the first reason wins, every row comes back exactly once, input is untouched."""

import copy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.arrive.reject import CODES
from stream.block import Columns
from stream.clean.cleaner import ID_CHARS_MAX, Cleaned, Cleaner, Position
from stream.clean.record import CleanCodec, clean_schema
from stream.limits import MAGNITUDE_MAX, STRING_CHARS_MAX, TIME_AHEAD_MS_MAX
from stream.spec import Spec

NOW_MS = 1_700_000_000_000
FIELDS: dict[str, Any] = {
    "n": {"type": "numeric", "min": -5, "max": 10},
    "clip": {"type": "numeric", "min": 0, "max": 1, "outside": "clip"},
    "low": {"type": "numeric", "min": 0},
    "filled": {"type": "numeric", "impute": 2.5},
    "must": {"type": "numeric", "required": True},
    "flag": {"type": "boolean", "impute": False},
    "at": {"type": "time"},
    "c": {"type": "category", "case": "upper", "unify": {"GB": "UK"}},
    "raw": {"type": "category", "strip": False},
    "word": {"type": "category", "required": True},
    "other": {"type": "category", "impute": "none"},
    "t": {"type": "text", "case": "lower"},
    "unseen": {"type": "ignore"},
}
GOOD: dict[str, Any] = {
    "id": "e1", "time": NOW_MS, "n": 1.0, "clip": 0.5, "low": 3, "filled": 1, "must": 2.0, "flag": True, "at": NOW_MS,
    "c": "FR", "raw": "x", "word": "w", "other": "o", "t": "some words", "unseen": object(),
}  # fmt: skip


def _spec(fields: dict[str, Any] = FIELDS) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": fields}
    return Spec.model_validate(
        {"name": "p", "task": "binary", "event": event, "arms": {"a": {"model": "linear.logistic"}}}
    )


SPEC = _spec()


def _clean(*changes: dict[str, Any], spec: Spec = SPEC) -> Cleaned:
    events = [{**GOOD, **change} for change in changes]
    return Cleaner(spec).clean(events, [Position(3, 100 + i, NOW_MS) for i in range(len(events))])


def _value(field: str, given: Any) -> Any:
    found = _clean({field: given})
    assert not found.rejects
    return found.columns.values[field].tolist()[0]


REJECTED: list[tuple[dict[str, Any], str, str]] = [
    ({"id": None}, "event.no_id", "id: missing; every event needs an id"),
    ({"id": ""}, "event.no_id", "id: missing"),
    ({"id": "x" * (ID_CHARS_MAX + 1)}, "value.too_long", f"id: 257 characters; at most {ID_CHARS_MAX}"),
    ({"time": None}, "event.no_time", "time: found None; a time is wanted"),
    ({"time": "noon"}, "event.no_time", "time: found 'noon'"),
    ({"time": -1}, "event.time_outside", "time: -1 ms; 0 to Kafka's time"),
    ({"time": NOW_MS + TIME_AHEAD_MS_MAX + 1}, "event.time_outside", "time: "),
    ({"n": float("nan")}, "value.not_finite", "n: found nan; a finite number, or null for missing, is wanted"),
    ({"n": float("inf")}, "value.not_finite", "n: found inf; a finite number is wanted"),
    ({"clip": float("-inf")}, "value.not_finite", "clip: found -inf"),
    ({"low": 1e300}, "value.too_large_number", "low: found 1e+300; at most ±1e+15"),
    ({"filled": -1e300}, "value.too_large_number", "filled: found -1e+300"),
    ({"clip": 2 * MAGNITUDE_MAX}, "value.too_large_number", "clip: found 2e+15"),
    ({"n": 10.5}, "value.out_of_range", "n: found 10.5; -5.0 to 10.0 is allowed"),
    ({"n": -6}, "value.out_of_range", "n: found -6; -5.0 to 10.0 is allowed"),
    ({"low": -1}, "value.out_of_range", "low: found -1; 0.0 to None is allowed"),
    ({"must": None}, "value.missing", "must: missing; it is required"),
    ({"word": None}, "value.missing", "word: missing; it is required"),
    ({"word": "  "}, "value.missing", "word: missing; it is required"),
    ({"c": "x" * (STRING_CHARS_MAX + 1)}, "value.too_long", "c: 1025 characters; at most 1024"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "code", "detail"), REJECTED, ids=[f"{c}-{i}" for i, (_, c, _) in enumerate(REJECTED)]
)
def test_each_fault_has_its_code_and_says_where_and_what_is_allowed(
    change: dict[str, Any], code: str, detail: str
) -> None:
    found = _clean(change, {})
    assert code in CODES
    assert found.rejects[0][0] == code
    assert found.rejects[0][1].startswith(detail)
    assert (found.rows, found.columns.ids) == ([1], ["e1"])


def test_every_code_of_clean_is_met_above() -> None:
    words = ("event.", "value.")
    mine = {c for c in CODES if c.startswith(words)} - {"value.empty", "value.too_large"}
    assert {code for _, code, _ in REJECTED} == mine


@pytest.mark.parametrize(
    ("field", "given", "kept"),
    [
        ("n", 10, 10.0), ("n", -5, -5.0), ("n", True, 1.0), ("low", MAGNITUDE_MAX, MAGNITUDE_MAX),
        ("c", " fr ", "FR"), ("c", "gb", "UK"), ("c", "x" * STRING_CHARS_MAX, "X" * STRING_CHARS_MAX),
        ("c", 12, "12"), ("c", True, "TRUE"), ("c", "", None), ("c", None, None),
        ("raw", " x ", " x "), ("other", None, "none"), ("other", "  ", "none"),
        ("t", "A b", "a b"), ("t", "x" * 5000, "x" * 5000), ("t", None, None),
        ("filled", None, 2.5), ("flag", None, 0.0), ("flag", True, 1.0), ("clip", 7, 1.0), ("clip", -7, 0.0),
    ],
)  # fmt: skip
def test_values_are_kept_clipped_unified_or_imputed_as_the_spec_says(field: str, given: Any, kept: Any) -> None:
    assert _value(field, given) == kept


def test_a_missing_number_stays_missing_where_nothing_is_said() -> None:
    for field in ("n", "clip", "low", "at"):
        assert np.isnan(_value(field, None))


def test_what_was_changed_is_said_for_the_row_among_the_kept() -> None:
    found = _clean({"n": 99}, {"clip": 3, "c": "gb", "other": None, "filled": None}, {}, {"flag": None, "t": "UP"})
    assert list(found.rejects) == [0]
    changes = {row: sorted(what) for row, what in found.changes.items()}
    assert changes == {
        0: ["c:unified", "clip:clipped", "filled:imputed", "other:imputed"],
        2: ["flag:imputed", "t:unified"],
    }


def test_the_first_reason_wins() -> None:
    inf, nan = float("inf"), float("nan")
    for change, code in (
        ({"id": "", "time": -1, "n": nan}, "event.no_id"),
        ({"time": -1, "n": nan}, "event.time_outside"),
        ({"n": 1e300, "must": None}, "value.too_large_number"),
        ({"n": inf, "low": nan}, "value.not_finite"),
        ({"low": -1, "must": None}, "value.out_of_range"),
    ):
        found = _clean(change)
        assert [code for code, _ in found.rejects.values()] == [code], change


def test_edges_of_time_and_id_are_allowed() -> None:
    found = _clean({"time": 0, "id": "x" * ID_CHARS_MAX}, {"time": NOW_MS + TIME_AHEAD_MS_MAX, "id": 17})
    assert not found.rejects
    assert found.columns.ids[1] == "17"
    assert found.columns.time_ms.tolist() == [0, NOW_MS + TIME_AHEAD_MS_MAX]


def test_rows_keep_the_position_of_their_raw_event() -> None:
    found = _clean({"n": 99}, {}, {"n": 99}, {})
    assert found.rows == [1, 3]
    assert found.columns.offset.tolist() == [101, 103]
    assert found.columns.partition.tolist() == [3, 3]


def test_no_events_give_no_rows() -> None:
    found = _clean()
    assert (len(found.columns), found.rows, found.rejects, found.changes) == (0, [], {}, {})
    assert {len(v) for v in found.columns.values.values()} == {0}


_numbers = st.none() | st.floats() | st.integers(-20, 20) | st.sampled_from([1e15, -1e16, 1e300])
_texts = st.none() | st.text(max_size=6) | st.sampled_from([" gb", "x" * 1025, "\x00", "É"])
_events = st.fixed_dictionaries(
    {
        "id": st.none() | st.sampled_from(["", "a", "x" * 300]),
        "time": st.none() | st.sampled_from([-1, 0, NOW_MS, 1 << 62]),
        **dict.fromkeys(("n", "clip", "low", "filled", "must"), _numbers),
        "flag": st.none() | st.booleans(),
        "at": st.none() | st.integers(0, 1 << 45),
        **dict.fromkeys(("c", "raw", "word", "other", "t"), _texts),
    }
)


def _same(a: Columns, b: Columns) -> None:
    """Equal to the last bit."""
    assert a.ids == b.ids
    for name in ("time_ms", "partition", "offset"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left.dtype, left.tobytes()) == (right.dtype, right.tobytes())
    assert list(a.values) == list(b.values)
    for name, left in a.values.items():
        right = b.values[name]
        assert left.dtype == right.dtype
        if left.dtype == object:
            assert left.tolist() == right.tolist()
        else:
            assert left.tobytes() == right.tobytes()


@settings(max_examples=150, deadline=None)
@given(st.lists(_events, max_size=8))
def test_every_row_comes_back_exactly_once_and_what_is_kept_is_fit_to_compute_with(
    events: list[dict[str, Any]],
) -> None:
    before = copy.deepcopy(events)
    where = [Position(1, i, NOW_MS) for i in range(len(events))]
    found = Cleaner(SPEC).clean(events, where)
    assert repr(events) == repr(before)
    assert sorted([*found.rows, *found.rejects]) == list(range(len(events)))
    assert len(found.columns) == len(found.rows)
    assert found.columns.offset.tolist() == found.rows
    assert all(code in CODES for code, _ in found.rejects.values())
    assert set(found.changes) <= set(range(len(found.rows)))
    for name, values in found.columns.values.items():
        assert len(values) == len(found.rows)
        if values.dtype == np.float64:
            assert not np.isinf(values).any()
            assert (np.isnan(values) | (np.abs(values) <= MAGNITUDE_MAX)).all() or name == "at"
    codec = CleanCodec(SPEC)
    _same(codec.decode(codec.encode(found.columns, found.changes)), found.columns)


@settings(max_examples=60, deadline=None)
@given(st.lists(_events, min_size=1, max_size=8), st.integers(0, 8))
def test_how_events_are_cut_into_batches_changes_nothing(events: list[dict[str, Any]], cut: int) -> None:
    where = [Position(1, i, NOW_MS) for i in range(len(events))]
    cleaner = Cleaner(SPEC)
    whole = cleaner.clean(events, where)
    parts = [cleaner.clean(events[:cut], where[:cut]), cleaner.clean(events[cut:], where[cut:])]
    start = len(events[:cut])
    assert whole.rows == parts[0].rows + [start + r for r in parts[1].rows]
    assert whole.rejects == {**parts[0].rejects, **{start + r: x for r, x in parts[1].rejects.items()}}
    for name, values in whole.columns.values.items():
        assert repr(values.tolist()) == repr([v for p in parts for v in p.columns.values[name].tolist()])


def test_the_clean_record_carries_what_was_changed_and_refuses_damage() -> None:
    found = _clean({"clip": 3})
    codec = CleanCodec(SPEC)
    (value,) = codec.encode(found.columns, found.changes)
    assert codec.decode([value]).ids == ["e1"]
    assert b"clip:clipped" in value
    for bad in (value[:-1], value + b"\0", b"", b"\0" * 20):
        with pytest.raises(ValueError, match="Clean record"):
            codec.decode([bad])


def test_the_clean_schema_follows_from_the_spec_and_leaves_out_what_is_ignored() -> None:
    fields = {f["name"]: f["type"] for f in clean_schema(SPEC)["fields"]}
    assert "unseen" not in fields
    assert fields["n"] == ["null", "double"]
    assert fields["c"] == ["null", "string"]
