"""The join as a process runs it: label records in, rows and dead letters out in their turn, and over a restart."""

from typing import Any

import numpy as np
import pytest

import schemas
from consumers.join import JoinStep
from stream.arrive.records import Record, records_of
from stream.block import Block
from stream.encode.encoder import layout_of
from stream.join.join import fresh_features_mark, fresh_labels_mark
from stream.spec import Spec

HOUR = 3_600_000
LABEL = schemas.codec("label")
DEAD = schemas.codec("dead")


def _spec(**label: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"n": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "p", "task": "binary", "event": event, "arms": {"a": {"model": "m"}}}
    return Spec.model_validate(raw | {"label": {"window": HOUR, **label}})


def _step(**label: Any) -> JoinStep:
    step = JoinStep(_spec(**label), [0])
    step.begin_rebuild({0: fresh_features_mark(0)}, fresh_labels_mark(0), 0)
    step.end_rebuild([], {})
    return step


def _events(*ids: str, first: int = 0) -> Block:
    n, spec = len(ids), _spec()
    number = np.arange(first, first + n)
    width = len(layout_of(spec).categories)
    none, ends = np.zeros(0, np.uint64), np.zeros(n, np.int64)
    return Block(
        spec.hash, list(ids), np.full(n, HOUR), np.zeros(n, np.int32), number, number[:, None] * 1.0,
        np.zeros((n, width), np.uint64), none, ends,
    )  # fmt: skip


def _label(offset: int, event_id: str, value: Any = True) -> Record:
    written = LABEL.encode({"id": event_id, "value": value, "time_ms": HOUR + 1})
    return Record("p.labels", 0, offset, HOUR, event_id.encode(), written)


RECORDS = [
    _label(0, "a"),
    Record("p.labels", 0, 1, HOUR, None, b"junk"),
    _label(2, "ghost"),
    _label(4, "a", False),
    Record("p.labels", 0, 5, HOUR, b"k", None),
    _label(6, "b", 2),
    _label(7, "b", 0),
]


@pytest.mark.parametrize("columns", [True, False])
def test_what_is_refused_goes_to_dead_in_its_turn_with_its_own_record(columns: bool) -> None:
    step = _step()
    step.add_features(_events("a", "b"), 0, [0, 1])
    step.add_labels(records_of("p.labels", 0, RECORDS) if columns else RECORDS)
    training, dead = step.advance(caught_up=False)
    assert training is not None
    assert (training.block.ids, training.label.tolist()) == (["a"], [1.0])
    assert (step.next_label, step.waiting_labels, step.labels_mark()["rejected"]) == (2, 3, 1)
    first = [DEAD.decode(d.value) for d in dead]
    training, dead = step.advance(caught_up=True)
    assert training is not None
    assert (training.block.ids, training.label.tolist(), step.next_label) == (["b"], [0.0], 8)
    letters = {d["offset"]: d for d in first + [DEAD.decode(x.value) for x in dead]}
    assert {k: v["code"] for k, v in letters.items()} == {
        1: "label.undecodable",
        2: "label.orphaned",
        4: "label.duplicate",
        5: "label.undecodable",
        6: "label.outside_task",
    }
    for offset, letter in letters.items():
        record = next(r for r in RECORDS if r.offset == offset)
        assert (letter["key"], letter["value"]) == (record.key, record.value or b"")
        assert (letter["topic"], letter["partition"], letter["timestamp_ms"]) == ("p.labels", 0, HOUR)
    mark = step.labels_mark()
    assert {k: mark[k] for k in ("rejected", "pending", "waiting")} == {"rejected": 3, "pending": 0, "waiting": 0}


def test_a_restart_takes_up_where_the_marks_are() -> None:
    step = _step()
    step.add_features(_events("a", "b", "c"), 0, np.array([0, 1, 2]))
    step.add_labels(RECORDS[:2])
    step.advance(caught_up=False)
    features, labels, end = step.features_mark(0), step.labels_mark(), step.next_label
    again = JoinStep(_spec(), [0])
    again.begin_rebuild({0: features}, labels, end)
    again.add_features(_events("a", "b", "c"), 0, np.array([0, 1, 2]))
    again.end_rebuild([r for r in RECORDS if labels["low"] <= r.offset < end], labels["counts"])
    assert (again.features_mark(0), again.labels_mark()) == (features, labels)
    again.add_labels(RECORDS[2:])
    training, _ = again.advance(caught_up=True)
    assert training is not None
    assert training.block.ids == ["b"]
    assert again.labels_mark()["pending"] == 1


def test_the_spec_says_what_another_label_of_an_event_does() -> None:
    records = [_label(0, "a"), _label(1, "a"), _label(2, "a", False), _label(3, "a", -0.0), _label(4, "a", True)]
    found = {}
    for policy in ("first", "learn"):
        step = _step(corrections=policy)
        step.add_features(_events("a"), 0, [0])
        step.add_labels(records)
        training, dead = step.advance(caught_up=False)
        assert training is not None
        again = None if training.correction is None else training.correction.tolist()
        letters = [DEAD.decode(d.value) for d in dead]
        found[policy] = training.label.tolist(), again, [(d["offset"], d["code"]) for d in letters]
        assert step.labels_mark()["counts"]["corrected"] == (2 if policy == "learn" else 0)
        assert letters[0]["detail"].endswith("this very one" if policy == "learn" else "the first counts")
    assert found["first"] == ([1.0], None, [(n, "label.duplicate") for n in range(1, 5)])
    assert found["learn"] == ([1.0, 0.0, 1.0], [False, True, True], [(1, "label.duplicate"), (3, "label.duplicate")])


@pytest.mark.parametrize(("negative_after", "refused"), [(0, [(1, "label.duplicate")]), ("1m", [])])
def test_with_importance_every_event_is_a_negative_first(negative_after: Any, refused: Any) -> None:
    step = _step(timeout="importance", negative_after=negative_after)
    step.add_features(_events("a", "b", "c"), 0, [0, 1, 2])
    step.add_labels([_label(0, "a"), _label(1, "b", False), _label(2, "c")])
    training, dead = step.advance(caught_up=True)
    assert training is not None
    assert training.correction is not None
    assert [(d["offset"], d["code"]) for d in (DEAD.decode(x.value) for x in dead)] == refused
    rows = list(zip(training.block.ids, training.label.tolist(), training.correction.tolist(), strict=True))
    assert sorted(rows) == [("a", 0, False), ("a", 1, True), ("b", 0, False), ("c", 0, False), ("c", 1, True)]
