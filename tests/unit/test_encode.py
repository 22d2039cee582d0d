"""Encoding: stateless, known values for times, ids that never change, missing stays missing."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.block import Block, Columns
from stream.encode import ids as ids_module
from stream.encode.encoder import Encoder, layout_of, time_part
from stream.encode.ids import Ids, category_id, field_seed
from stream.limits import TOKENS_MAX
from stream.spec import Spec

FIELDS: dict[str, Any] = {
    "c": {"type": "category"},
    "n": {"type": "numeric"},
    "t": {"type": "text"},
    "at": {"type": "time", "parts": ["weekday", "hour"], "as": ["number", "cycle", "category"]},
    "b": {"type": "boolean"},
    "u": {"type": "text"},
    "skip": {"type": "ignore"},
}


def _spec(fields: dict[str, Any]) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": fields}
    return Spec.model_validate(
        {"name": "p", "task": "binary", "event": event, "arms": {"a": {"model": "linear.logistic"}}}
    )


SPEC = _spec(FIELDS)


def _columns(rows: list[dict[str, Any]], fields: dict[str, Any] = FIELDS) -> Columns:
    n = len(rows)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if field["type"] in ("category", "text"):
            values[name] = np.empty(n, object)
            values[name][:] = [r.get(name) for r in rows]
        elif field["type"] != "ignore":
            raw = [r.get(name) for r in rows]
            values[name] = np.array([np.nan if v is None else v for v in raw], np.float64)
    numbers = np.arange(n)
    return Columns([f"e{i}" for i in numbers], numbers * 10, np.full(n, 2, np.int32), numbers + 5, values)


def _encode(*rows: dict[str, Any], fields: dict[str, Any] = FIELDS) -> Block:
    return Encoder(_spec(fields)).encode(_columns(list(rows), fields))


def _tokens(block: Block, row: int) -> list[int]:
    start = int(block.token_ends[row - 1]) if row else 0
    return [int(t) for t in block.tokens[start : block.token_ends[row]]]


def test_the_layout_names_the_columns_in_the_order_of_the_spec() -> None:
    layout = layout_of(SPEC)
    times = ("at.weekday", "at.weekday.sin", "at.weekday.cos", "at.hour", "at.hour.sin", "at.hour.cos")
    assert layout.numeric == ("n", *times, "b")
    assert layout.categories == ("c", "at.weekday", "at.hour")
    assert layout.tokens == ("t", "u")
    block = _encode({"n": 1.5, "b": 1.0}, {})
    assert block.numeric.shape == (2, len(layout.numeric))
    assert block.categories.shape == (2, len(layout.categories))


@settings(max_examples=200, deadline=None)
@given(st.datetimes(dt.datetime(1970, 1, 1), dt.datetime(2399, 12, 31, 23, 59)))
def test_parts_of_a_time_are_those_of_the_calendar_in_utc(moment: dt.datetime) -> None:
    time_ms = np.array([(moment - dt.datetime(1970, 1, 1)) // dt.timedelta(milliseconds=1)])
    found = {part: int(time_part(time_ms, part)[0]) for part in ("hour", "weekday", "month", "day")}
    assert found == {
        "hour": moment.hour, "weekday": moment.weekday(), "month": moment.month, "day": moment.day
    }  # fmt: skip


def test_a_leap_day_and_the_ends_of_a_year_are_right() -> None:
    for text, parts in (
        ("2024-02-29T23:59:59.999", (23, 3, 2, 29)),
        ("2023-12-31T00:00:00", (0, 6, 12, 31)),
        ("2000-01-01T12:00:00", (12, 5, 1, 1)),
        ("1970-01-01T00:00:00", (0, 3, 1, 1)),
    ):
        time_ms = np.array([np.datetime64(text, "ms").astype(np.int64)])
        names = ("hour", "weekday", "month", "day")
        assert tuple(int(time_part(time_ms, p)[0]) for p in names) == parts


def test_a_time_becomes_number_cycle_and_category() -> None:
    tuesday_18h = int(np.datetime64("2024-07-02T18:30", "ms").astype(np.int64))
    block = _encode({"at": tuesday_18h})
    at = dict(zip(layout_of(SPEC).numeric, block.numeric[0].tolist(), strict=True))
    assert (at["at.weekday"], at["at.hour"]) == (1.0, 18.0)
    assert at["at.hour.sin"] == pytest.approx(-1.0)
    assert at["at.hour.cos"] == pytest.approx(0.0, abs=1e-12)
    assert block.categories[0, 1:].tolist() == [Ids("at.weekday").of("1"), Ids("at.hour").of("18")]


def test_missing_is_nan_among_numbers_and_zero_among_categories_and_no_token() -> None:
    block = _encode({}, {"n": 0.0, "b": 0.0, "c": "x", "t": "one"})
    assert np.isnan(block.numeric[0]).all()
    assert block.categories[0].tolist() == [0, 0, 0]
    assert _tokens(block, 0) == []
    assert block.numeric[1, 0] == 0.0
    assert block.categories[1, 0] != 0


GOLDEN = {
    ("carrier", "UA"): 0xB66D541EF56058FA,
    ("carrier", ""): 0xB05581AE1C4EF366,
    ("origin", "UA"): 0x6AA49DF50B49AC0F,
    ("carrier", "\xe9 \x00"): 0x92B01EEC5DF9C028,
}


def test_ids_of_categories_never_change() -> None:
    assert {key: category_id(field_seed(key[0]), key[1]) for key in GOLDEN} == GOLDEN


def test_the_same_text_in_two_fields_has_two_ids_and_none_is_zero() -> None:
    a, b = Ids("a"), Ids("b")
    assert a.of("x") != b.of("x")
    assert a.column(["x", None, "x"]).tolist() == [a.of("x"), 0, a.of("x")]
    assert 0 not in {a.of(str(i)) for i in range(1000)}


def test_an_id_of_zero_would_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids_module.xxhash, "xxh64_intdigest", lambda *_: 0)
    assert category_id(0, "x") == 1


def test_forgetting_ids_changes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [category_id(field_seed("f"), str(i % 7)) for i in range(50)]
    monkeypatch.setattr(ids_module, "_MEMORY_MAX", 4)
    ids = Ids("f")
    assert [ids.of(str(i % 7)) for i in range(50)] == expected
    assert len(ids._known) <= 5
    assert ids.column([str(i % 7) for i in range(50)] + [None]).tolist() == [*expected, 0]


def test_tokens_are_lower_case_words_with_the_seed_of_their_field() -> None:
    block = _encode({"t": "To be, or NOT to be!"}, {}, {"t": "be", "u": "be"}, {"t": "", "u": "ÉTÉ_1"})
    t, u = Ids("t"), Ids("u")
    assert _tokens(block, 0) == [t.of(w) for w in ("to", "be", "or", "not", "to", "be")]
    assert _tokens(block, 1) == []
    assert _tokens(block, 2) == [t.of("be"), u.of("be")]
    assert _tokens(block, 3) == [u.of("été_1")]


def test_a_text_gives_a_bounded_number_of_tokens() -> None:
    block = _encode({"t": "w " * (TOKENS_MAX + 50), "u": "end"})
    assert len(_tokens(block, 0)) == TOKENS_MAX + 1


def test_a_spec_without_numbers_or_categories_gives_empty_columns() -> None:
    block = _encode({"t": "a b"}, {}, fields={"t": {"type": "text"}})
    assert (block.numeric.shape, block.categories.shape) == ((2, 0), (2, 0))
    assert block.token_ends.tolist() == [2, 2]
    block = _encode({"n": 1.0}, fields={"n": {"type": "numeric"}})
    assert (block.categories.shape, block.tokens.size, block.token_ends.tolist()) == ((1, 0), 0, [0])


def test_no_rows_give_a_block_of_no_rows() -> None:
    block = _encode()
    assert len(block) == 0
    assert block.numeric.shape == (0, len(layout_of(SPEC).numeric))
    assert block.categories.shape == (0, len(layout_of(SPEC).categories))


_rows = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "n": st.floats(-1e15, 1e15),
            "b": st.sampled_from([0.0, 1.0]),
            "c": st.text(max_size=4),
            "t": st.text(max_size=12),
            "u": st.sampled_from(["a", "a b"]),
            "at": st.integers(0, 4_000_000_000_000),
        },
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=100, deadline=None)
@given(_rows, st.integers(0, 8))
def test_a_row_encodes_the_same_alone_in_company_and_in_another_process_s_encoder(
    rows: list[dict[str, Any]], cut: int
) -> None:
    encoder = Encoder(SPEC)
    columns = _columns(rows)
    before = repr(columns)
    whole = encoder.encode(columns)
    assert repr(columns) == before
    for i, row in enumerate(rows):
        alone = Encoder(SPEC).encode(_columns([row]))
        assert alone.numeric.tobytes() == whole.numeric[i].tobytes()
        assert alone.categories.tobytes() == whole.categories[i].tobytes()
        assert _tokens(alone, 0) == _tokens(whole, i)
    assert whole.spec_hash == SPEC.hash
    assert (whole.ids, whole.offset.tolist()) == (columns.ids, columns.offset.tolist())
    assert (whole.numeric.dtype, whole.categories.dtype, whole.tokens.dtype) == (np.float64, np.uint64, np.uint64)
