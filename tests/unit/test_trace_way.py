"""From what topics hold to the way of one event: which records are found, and what is told of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

import schemas
from consumers._trace_facts import Collector, Facts, Seen
from consumers._trace_scan import rows_with
from consumers._trace_way import Step, in_time, way_of
from consumers.trace import Way, with_deltas
from stream.arrive.records import Record, Records, records_of
from stream.block import Block, Training, encode_training
from stream.spec import Spec

SPEC = Spec.model_validate({
    "name": "p", "task": "binary", "arms": {"a": {"model": "m"}}, "label": {"window": 1000},
    "event": {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"n": {"type": "numeric"}}},
})  # fmt: skip
parts = st.one_of(st.none(), st.binary(max_size=6), st.sampled_from([b"needle", b"xneedlex", b"nee", b"dle", b""]))


@settings(max_examples=300)
@given(st.lists(st.tuples(parts, parts), max_size=8), st.sampled_from([b"needle", b"ne", b"e", b"dlen"]), st.booleans())
def test_the_rows_with_some_bytes_are_those_whose_key_or_value_has_them(
    given_parts: Sequence[Any], needle: bytes, half: bool
) -> None:
    records = records_of("t", 0, [Record("t", 0, n, 0, k, v) for n, (k, v) in enumerate(given_parts)])
    if half:
        records = records[: len(records) // 2]
    found = rows_with(records, [needle])
    wanted = [n for n, r in enumerate(records) if needle in (r.key or b"") or needle in (r.value or b"")]
    assert set(wanted) <= set(found)
    if len(needle) > 1:  # at most those in which key and value together have them
        assert set(found) <= {n for n, r in enumerate(records) if needle in (r.key or b"") + (r.value or b"")}
    else:
        assert found == list(range(len(records)))
    assert rows_with(records, [b"needle", b"ne"]) == rows_with(records, [b"ne"])


# -- facts → way -----------------------------------------------------------------------------------------


def _seen(topic: str, offset: int, at_ms: int, **about: Any) -> Seen:
    return Seen(f"p.{topic}", 0, offset, at_ms, about)


def _groups(**marks: tuple[str, int, str]) -> Any:
    return {
        f"p.{group}": {TopicPartition(f"p.{topic}", 0): OffsetAndMetadata(offset, metadata, -1)}
        for group, (topic, offset, metadata) in marks.items()
    }


def _states(facts: Facts, groups: Any = None) -> list[tuple[str, str]]:
    return [(s.step, s.state) for s in way_of(SPEC, facts, groups or {})]


def _letter(step: str, code: str, topic: str, offset: int, at_ms: int = 20) -> Seen:
    return _seen("dead", 0, at_ms, step=step, code=code, detail="why", refused=[f"p.{topic}", 0, offset])


def test_a_whole_way_is_told_in_the_order_of_time_with_the_time_since_the_step_before() -> None:
    facts = Facts("e")
    facts.events = [_seen("events", 3, 100, bytes=9)]
    facts.labels = [_seen("labels", 7, 300, value=True)]
    row = {"label": 1.0, "label_offset": 7, "correction": False, "source": [0, 3]}
    facts.training = [_seen("training", 5, 340, row=0, rows=1, **row)]
    facts.learned = [_seen("models", 2, 700, generation=4, training_offset=6, refused="", surely_first=True)]
    model = {"trained_label_offset": 6, "staleness_ms": 1, "latency_us": 1, "prediction_id": "u/e", "score": 0.5}
    facts.predictions = [_seen("predictions", 1, 120, arm="a", model_generation=3, **model)]
    facts.answer = _seen("predictions", 9, 720, arm="a", model_generation=4, **model)
    groups = _groups(evaluate=("predictions", 2, ""))
    groups["p.evaluate"] |= _groups(evaluate=("labels", 8, ""))["p.evaluate"]
    found = way_of(SPEC, facts, groups)
    assert [(s.step, d) for s, d in with_deltas(found)] == [
        ("publish", None), ("clean, encode", None), ("predict", 20), ("label", 180), ("join", 40), ("learn", 360),
        ("answer", 20), ("evaluate", None),
    ]  # fmt: skip
    assert found[4].state == "joined, in the training log"
    assert found[5].state == "first in snapshot 4"
    told = Way("p", "e", "t" * 32, found, [], {"p.events": 9}).to_json()
    assert told["steps"][2]["place"] == {"topic": "p.predictions", "partition": 0, "offset": 1}
    assert told["found"]


@pytest.mark.parametrize(
    ("code", "topic", "step"),
    [("value.missing", "events", "clean"), ("label.late", "labels", "join"), ("label.orphaned", "labels", "join"),
     ("label.duplicate", "labels", "join"), ("label.outside_task", "labels", "join")],
)  # fmt: skip
def test_what_is_refused_says_so_and_waits_for_nothing(code: str, topic: str, step: str) -> None:
    facts = Facts("e", dead=[_letter(step, code, topic, 3)])
    setattr(facts, topic, [_seen(topic, 3, 10, value=True)])
    first = ("publish", "published") if topic == "events" else ("label", "arrived")
    assert _states(facts) == [first, (step, f"refused: {code}")]


def test_an_event_that_nobody_read_waits_and_one_that_was_read_waits_for_its_label_or_is_timed_out() -> None:
    facts = Facts("e", events=[_seen("events", 3, 10, event_time_ms=5)])
    assert _states(facts) == [("publish", "published"), ("clean", "waits"), ("join", "waits for its label")]
    read = _groups(join=("events", 4, ""))
    assert _states(facts, read)[1:] == [("clean, encode", "done"), ("join", "waits for its label")]
    for clock, state in ((1005, "waits for its label"), (1006, "timed out")):
        groups = {"p.join": read["p.join"] | _groups(join=("labels", 0, f'{{"clock": {clock}}}'))["p.join"]}
        assert _states(facts, groups)[-1] == ("join", state)
    assert _states(facts, _groups(join=("events", 3, "")))[1] == ("clean", "waits")


def test_a_row_without_a_label_of_its_own_and_a_correction_are_told_as_such() -> None:
    row = {"row": 0, "rows": 1, "source": [0, 3]}
    facts = Facts("e", labels=[_seen("labels", 7, 30, value=False)])
    facts.training = [_seen("training", 1, 20, label=0.0, label_offset=5, correction=False, **row),
                      _seen("training", 2, 40, label=0.0, label_offset=7, correction=True, **row)]  # fmt: skip
    states = [state for step, state in _states(facts) if step == "join"]
    assert "no label came in time" in states[0]
    assert states[1] == "joined, in the training log, a correction"
    assert _states(facts)[-1] == ("learn", "waits")


def test_a_label_without_a_row_waits() -> None:
    assert _states(Facts("e", labels=[_seen("labels", 7, 30, value=True)])) == [("label", "arrived"), ("join", "waits")]


def test_steps_without_a_time_stay_behind_the_step_before_them() -> None:
    steps = [Step("a", "", 10), Step("b", ""), Step("c", "", 5), Step("d", "")]
    assert [s.step for s in in_time(steps)] == ["c", "d", "a", "b"]
    assert [s.step for s in in_time([Step("a", "", 10), Step("e", "", after_ms=30), Step("b", "", 20)])] == [
        "a",
        "b",
        "e",
    ]


# -- topics → facts --------------------------------------------------------------------------------------


class _Topics:
    """Stands for a Scan: records by topic, in batches of so many."""

    def __init__(self, topics: dict[str, list[bytes]], size: int) -> None:
        self._topics, self._size = topics, size

    def records(self, suffix: str) -> list[Records]:
        values = self._topics.get(suffix, [])
        given = [Record(f"p.{suffix}", 0, n, 100 + n, None, v) for n, v in enumerate(values)]
        return [records_of(f"p.{suffix}", 0, given[n : n + self._size]) for n in range(0, len(given), self._size)]

    def with_text(self, suffix: str, needles: Sequence[bytes]) -> Any:
        return [r[row] for r in self.records(suffix) for row in rows_with(r, needles)]


def _row(ids: list[str], offsets: list[int]) -> bytes:
    n = len(ids)
    at, none = np.arange(n), np.zeros(0, np.uint64)
    block = Block("h", ids, at, np.zeros(n, np.int32), at, np.zeros((n, 1)), np.zeros((n, 0), np.uint64), none, at * 0)
    return encode_training(Training(block, np.ones(n), np.array(offsets), at, at))


def _model(generation: int, training_offset: int, **more: Any) -> bytes:
    record = {"pipeline": "p", "generation": generation, "uri": "", "sha256": "", "state_hash": "", "spec_hash": "",
              "training_offset": training_offset, "rows": 1, "label_offset": 0, "label_time_ms": 0,
              "label_published_ms": 0, "as_of_ms": 0, "arms": [], "values": {}, **more}  # fmt: skip
    return schemas.codec("model").encode(record)


def _prediction(event_id: str, served_ms: int, label_offset: int) -> bytes:
    record = {"prediction_id": f"u/{event_id}", "id": event_id, "unit": "", "arm": "a", "propensity": 1.0, "score": 0.5,
              "scores": [], "event_time_ms": 0, "served_ms": served_ms, "latency_us": 1, "model_generation": 1,
              "model_sha256": "", "trained_label_offset": label_offset, "staleness_ms": 0, "experiment": "",
              "spec_hash": "", "dropped_before": 0}  # fmt: skip
    return schemas.codec("prediction").encode(record)


def _collect(topics: dict[str, list[bytes]], event_id: str = "e1", size: int = 100, **more: Any) -> Facts:
    collector = Collector.__new__(Collector)
    from consumers._trace_facts import _Answers

    collector._spec, collector._id_is_text, collector._answers = SPEC, True, _Answers()
    return collector.collect(_Topics(topics, size), Facts(event_id), more, None)  # type: ignore[arg-type]


def test_the_first_snapshot_past_a_row_is_found_and_whether_an_earlier_one_may_be_gone() -> None:
    training = [_row(["x", "e1"], [3, 4]), _row(["e11", "y"], [5, 6])]
    pinned = _model(9, 99, pinned=True)
    found = _collect({"training": training, "models": [pinned, _model(1, 0), _model(2, 1), _model(3, 2)]})
    assert [(s.offset, s.about["row"], s.about["label_offset"]) for s in found.training] == [(0, 1, 4)]
    assert [(s.about["generation"], s.about["surely_first"]) for s in found.learned] == [(2, True)]
    found = _collect({"training": training, "models": [_model(3, 2)]})
    assert [(s.about["generation"], s.about["surely_first"]) for s in found.learned] == [(3, False)]


@pytest.mark.parametrize("size", [1, 2, 100])
def test_the_first_answer_that_knows_a_row_is_the_earliest_served_of_all(size: int) -> None:
    answers = [_prediction("a", 50, 3), _prediction("b", 90, 4), _prediction("e1", 70, 9), _prediction("c", 80, 4)]
    found = _collect({"training": [_row(["e1"], [4])], "predictions": [*answers, b"rubbish", b""]}, size=size)
    assert found.answer is not None
    assert (found.answer.offset, found.answer.at_ms) == (2, 70)
    assert [s.offset for s in found.predictions] == [2]
    assert _collect({"predictions": answers}).answer is None


def test_what_is_known_already_is_not_told_twice() -> None:
    value = _prediction("e1", 70, 9)
    known = [Record("p.predictions", 0, 0, 100, None, value)]
    assert [s.offset for s in _collect({"predictions": [value, value]}, predictions=known).predictions] == [0, 1]


def test_letters_are_found_by_id_and_by_place_and_others_are_not() -> None:
    letter = {"topic": "p.labels", "partition": 0, "offset": 0, "timestamp_ms": 1, "key": None, "value": b"", "step":
              "join", "code": "label.late", "detail": "", "spec_hash": ""}  # fmt: skip
    label = schemas.codec("label").encode({"id": "e1", "value": True, "time_ms": 1})
    block = {**letter, "topic": "p.training", "step": "learn", "code": "block.not_finite"}
    made = [{**letter, "event_id": "e1"}, {**letter, "value": label}, {**letter, "event_id": "e12"}, block,
            {**letter, "offset": 9, "value": label}, {**block, "offset": 7}]  # fmt: skip
    dead = [schemas.codec("dead").encode(x) for x in made]
    found = _collect({"labels": [label], "training": [_row(["e1"], [4])], "dead": dead})
    assert [s.offset for s in found.dead] == [0, 1, 3]
