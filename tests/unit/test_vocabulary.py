"""Outcomes remembered by value are those of the rules on every row."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.clean.cleaner import TEXT_RULES
from stream.clean.rules import Findings
from stream.encode.ids import Ids
from stream.intake import vocabulary
from stream.intake.vocabulary import Spans, Vocabulary
from stream.spec import FieldSpec

FIELDS = [
    FieldSpec(type="category"),
    FieldSpec(type="category", case="upper", unify={"GB": "UK"}, required=True),
    FieldSpec(type="category", strip=False, impute="none"),
]
values = st.one_of(st.none(), st.sampled_from(["gb", "uk", " a", "A", "", "é", "x" * 1100]), st.text(max_size=6))


def spans(given: list[Any], hashes: list[int] | None = None) -> Spans:
    raw = [(v or "").encode() for v in given]
    end = np.cumsum([len(r) for r in raw], dtype=np.int64)
    start = end - np.array([len(r) for r in raw], np.int64)
    found = hashes if hashes is not None else [hash(r) & 0xFFFFFFFFFFFFFFFF for r in raw]
    return Spans(np.frombuffer(bytearray(b"".join(raw)), np.uint8), start, end, np.array(found, np.uint64))


def by_rules(field: FieldSpec, given: list[Any]) -> tuple[list[int], dict[int, tuple[str, str]]]:
    found = Findings()
    column = np.empty(len(given), object)
    column[:] = given
    for rule in TEXT_RULES:
        column = rule("c", field, column, found)
    ids = Ids("c").column(column).tolist()
    return [0 if row in found.rejects else i for row, i in enumerate(ids)], found.rejects


def by_vocabulary(known: Vocabulary, given: list[Any], column: Spans) -> tuple[list[int], dict[int, tuple[str, str]]]:
    found = Findings()
    present = np.array([v is not None for v in given], bool)
    return known.column(column, present, lambda row: given[row], found).tolist(), found.rejects


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(FIELDS), st.lists(st.lists(values, max_size=30), max_size=4))
def test_outcomes_are_those_of_the_rules(field: FieldSpec, polls: list[list[Any]]) -> None:
    known = Vocabulary("c", field, TEXT_RULES)
    for poll in polls:
        assert by_vocabulary(known, poll, spans(poll)) == by_rules(field, poll)


def test_values_of_one_hash_have_outcomes_of_their_own() -> None:
    given = ["a", "b", "a", "cc", None, "b"]
    known = Vocabulary("c", FIELDS[0], TEXT_RULES)
    for _ in range(2):
        assert by_vocabulary(known, given, spans(given, [5] * 6)) == by_rules(FIELDS[0], given)


def test_more_values_than_are_remembered_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "VALUES_MAX", 50)
    known = Vocabulary("c", FIELDS[0], TEXT_RULES)
    rng = np.random.default_rng(1)
    for _ in range(30):
        given = [f"v{n}" for n in rng.integers(0, 200, 40).tolist()]
        assert by_vocabulary(known, given, spans(given)) == by_rules(FIELDS[0], given)


def test_many_values_grow_the_table() -> None:
    given = [f"value {n}" for n in range(5_000)]
    known = Vocabulary("c", FIELDS[0], TEXT_RULES)
    assert by_vocabulary(known, given, spans(given)) == by_rules(FIELDS[0], given)
    assert by_vocabulary(known, given[::-1], spans(given[::-1])) == by_rules(FIELDS[0], given[::-1])
