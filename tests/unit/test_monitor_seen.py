"""What the monitor remembers and makes of records: bounded, in order, and told of as it is."""

from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fastavro
import pytest
import yaml
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

import schemas
from consumers._pin import pin_key
from consumers._replay import Sent
from consumers.monitor import seen
from consumers.monitor.collect import Monitor
from consumers.monitor.flow import Look, Steps
from consumers.monitor.fresh import Fresh
from consumers.monitor.rate import Progress, Rate
from consumers.monitor.seen import Events, Letters, Metrics, Models, Predictions
from consumers.monitor.shelf import Shelf
from consumers.monitor.state import DEAD_MAX, POINTS_MAX, PREDICTIONS_MAX
from consumers.monitor.why import Why
from consumers.settings import Settings
from stream.errors import LimitReached
from stream.explain.explainable import Part
from stream.spec import Spec
from stream.spec_load import parse_spec

SPEC = Spec.model_validate(
    {
        "name": "p",
        "task": "binary",
        "event": {"schema": "none.avsc", "id": "id", "time": "at", "fields": {"x": {"type": "numeric"}}},
        "arms": {"a": {"model": "linear.logistic"}, "b": {"model": "linear.logistic"}},
    }
)
HASH = "0" * 16
FLIGHTS = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def spec(monkeypatch: pytest.MonkeyPatch) -> Spec:
    """Without a schema file, which only its hash would need."""
    monkeypatch.setattr("stream.spec.spec_hash", lambda _: HASH)
    return SPEC


def record(value: bytes | None, offset: int = 0, at_ms: int = 0, key: bytes | None = None, partition: int = 0) -> Any:
    return SimpleNamespace(value=value, offset=offset, timestamp=at_ms, key=key, partition=partition)


def metric(kind: str, arm: str, window: int = 0, at_ms: int = 0, rows: int = 0, **values: float) -> Any:
    body = {"kind": kind, "arm": arm, "window": window, "rows": rows, "event_time_ms": 0, "values": values,
            "spec_hash": HASH}  # fmt: skip
    return record(schemas.codec("metric").encode(body), at_ms=at_ms)


def model(generation: int, at_ms: int = 0, key: bytes = b"p", **more: Any) -> Any:
    body = {
        "pipeline": "p", "generation": generation, "uri": f"file:///nowhere-at-all/{generation:012d}", "sha256": "s",
        "state_hash": "h", "spec_hash": HASH, "training_offset": 0, "rows": 10 * generation,
        "label_offset": generation, "label_time_ms": 0, "label_published_ms": 0, "as_of_ms": at_ms, "arms": ["a", "b"],
        "values": {"a.auc": 0.5}, **more,
    }  # fmt: skip
    return record(schemas.codec("model").encode(body), at_ms=at_ms, key=key)


def prediction(served_ms: int, event_id: str = "e", offset: int = 0, through: int = 0, partition: int = 0) -> Any:
    body = {
        "prediction_id": "", "id": event_id, "unit": "", "arm": "a", "propensity": 1.0, "score": 0.5, "scores": [],
        "event_time_ms": 0, "served_ms": served_ms, "latency_us": 1, "model_generation": 1, "model_sha256": "s",
        "trained_label_offset": through, "staleness_ms": 0, "experiment": "", "spec_hash": HASH, "dropped_before": 0,
    }  # fmt: skip
    return record(schemas.codec("prediction").encode(body), offset, partition=partition)


def letter(offset: int, code: str, size: int = 3) -> Any:
    body = {"topic": "p.events", "partition": 1, "offset": 7, "timestamp_ms": 0, "key": None, "value": b"x" * size,
            "step": "clean", "code": code, "detail": "d" * 9000, "spec_hash": HASH}  # fmt: skip
    return record(schemas.codec("dead").encode(body), offset, at_ms=5)


def fastavro_long(value: int) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema({"type": "long"}), value)
    return out.getvalue()


# -- memory ----------------------------------------------------------------------------------------------


def test_windows_are_kept_in_order_each_once_and_only_the_newest(spec: Spec) -> None:
    metrics = Metrics(spec)
    for window in [*range(POINTS_MAX + 50), POINTS_MAX + 10]:
        metrics.take(metric("prequential", "a", window, at_ms=window, auc=window / 1000, auc_all=0.1))
    metrics.take(metric("prequential", "stranger", 1, auc=1.0))
    metrics.take(record(b"damaged"))
    series = metrics.series("a", ("auc", "f1"))
    assert [t for t, _ in series["auc"]] == list(range(50, POINTS_MAX + 50))
    assert series["auc"][0] == [50, 0.05]
    assert set(series) == {"auc"}
    assert metrics.series("b", ("auc",)) == {}


def test_the_newest_answers_come_first_whatever_the_partition() -> None:
    predictions = Predictions()
    for i in range(200):
        predictions.take(prediction(i // 2, f"e{i}", offset=i, partition=i % 2))
    predictions.take(prediction(3, "old"))
    ids = [p["id"] for _, p in predictions.newest]
    assert len(ids) == PREDICTIONS_MAX
    assert ids[:2] == ["e199", "e198"]
    assert "old" not in ids
    assert (predictions.seen, predictions.at_ms) == (201, 99)


def test_letters_are_counted_by_reason_and_cut_to_what_a_page_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "CODES_MAX", 5)
    letters = Letters()
    for i in range(100):
        letters.take(letter(i, f"made.up{i}", size=i))
    assert letters.total == 100
    assert letters.by_code["others"] == 95
    assert len(letters.latest) == DEAD_MAX
    last = letters.latest[-1]
    assert (last["offset"], last["bytes"], last["source_partition"], last["source_offset"]) == (99, 99, 1, 7)
    assert len(last["detail"]) == seen.DETAIL_CHARS_MAX


def test_events_are_found_by_the_text_of_their_id_and_forgotten_in_the_end() -> None:
    events, schema = Events(), fastavro.parse_schema({"type": "record", "name": "E", "fields": [
        {"name": "x", "type": "double"}, {"name": "id", "type": "string"}]})  # fmt: skip

    def written(event_id: str) -> bytes:
        out = BytesIO()
        fastavro.schemaless_writer(out, schema, {"x": 1.0, "id": event_id})
        return out.getvalue()

    for i in range(seen.EVENTS_KEPT + 10):
        events.take(record(written(f"e{i}")))
    assert events.holding("e10") == [written("e10")]  # not e100
    assert events.holding("e9") == []
    number = record(fastavro_long(-123456789))
    events.take(number)
    assert events.holding("-123456789") == [number.value]
    for long in ("é" * 40, "x" * 9000):
        events.take(record(written(long)))
        assert events.holding(long) == [written(long)]


# -- what serves -----------------------------------------------------------------------------------------


def test_servers_go_to_the_newest_unless_one_is_pinned_or_the_gate_refuses_it(spec: Spec) -> None:
    models = Models(spec)
    assert models.serving is None
    assert models.take(model(4)) == 4
    assert models.serving == 4
    assert models.take(model(5, refused="loss", good_generation=4)) is None
    assert models.serving == 4
    models.take(model(2, key=pin_key(spec), pinned=True))
    assert (models.serving, models.pin) == (2, 2)
    assert models.take(model(6, pin_generation=2)) is None
    assert models.serving == 2
    models.take(record(None, key=pin_key(spec)))
    assert (models.serving, models.pin) == (6, None)
    models.take(model(9, spec_hash="another"))
    assert models.serving == 6
    for told, pinned in ((3, 3), (-1, None)):  # where the pin's own record lies too far back
        models.take(model(6, pin_generation=told))
        assert models.pin == pinned


def test_where_the_folder_is_elsewhere_announced_snapshots_are_shown(spec: Spec) -> None:
    models = Models(spec)
    for generation in range(1, 40):
        models.take(model(generation, refused="loss" if generation == 38 else "", good_generation=37))
    models.take(model(3, key=pin_key(spec), pinned=True))
    told = Shelf(spec).told(models)
    assert [s["generation"] for s in told] == [*range(39, 20, -1), 3]
    assert told[1]["reason"] == "loss"
    assert told[1]["gate"] is None  # the spec has none
    assert [s["generation"] for s in told if s["serving"] or s["pinned"]] == [3]


# -- why -------------------------------------------------------------------------------------------------


def test_of_a_private_field_an_explanation_gives_the_name_alone() -> None:
    raw = yaml.safe_load((FLIGHTS / "flights.yaml").read_text())
    for name in ("carrier", "distance"):
        raw["event"]["fields"][name]["private"] = True
    why = Why(parse_spec(raw, FLIGHTS), Settings())
    shown = [
        why._shown(Part(feature, 1.0, (), (0.5,), column))
        for feature, column in (
            ("carrier=UA", ""), ("distance", ""), ("distance ≤ 500", "distance"), ("origin=EWR", ""),
            ("origin = EWR", "origin"), ("scheduled.hour=5", ""),
        )
    ]  # fmt: skip
    assert shown == ["carrier", "distance", "distance", "origin=EWR", "origin = EWR", "scheduled.hour=5"]


@pytest.mark.parametrize("explained", [[], [*range(99, 91, -1)], [*range(50, 42, -1)], [85, 84, 3]])
def test_answers_that_were_explained_last_stay_among_the_newest(explained: list[int]) -> None:
    def answers(numbers: Any) -> list[Any]:
        return [((0, n), {"id": str(n)}) for n in numbers]

    monitor = Monitor.__new__(Monitor)
    monitor._predictions = SimpleNamespace(newest=answers(range(100, 80, -1)))  # type: ignore[assignment]
    monitor._why = SimpleNamespace(last=answers(explained))  # type: ignore[assignment]
    shown = [place[1] for place, _ in monitor._answers()]
    assert len(shown) == PREDICTIONS_MAX
    assert shown == sorted(set(shown), reverse=True)
    assert shown[0] == 100
    assert set(explained) <= set(shown)


# -- freshness and rates ---------------------------------------------------------------------------------


def test_a_label_is_fresh_at_the_first_answer_of_a_model_that_knows_it() -> None:
    fresh = Fresh()
    for offset in range(10):
        fresh.label(offset, 1000 + 100 * offset)
    fresh.answer(2000, 3)  # what came before the first answer seen is not counted
    fresh.settle(2000)
    assert fresh.told()["points"] == []
    fresh.announcement(2050, 9)  # nobody waits for it while answers come
    for time_ms in (2300, 2200, 2250):  # of several partitions: the earliest counts
        fresh.answer(time_ms, 5)
    fresh.settle(2400)
    told = fresh.told()
    assert told["points"] == [[2400, 750.0]]  # 800 of label 4, 700 of label 5
    assert (told["p50_ms"], told["now_ms"]) == (750.0, 750.0)


def test_while_nobody_asks_a_label_is_fresh_once_its_snapshot_is_announced() -> None:
    fresh = Fresh()
    fresh.announcement(100_000, 0)
    fresh.settle(100_000)
    fresh.label(1, 100_100)
    fresh.announcement(100_500, 1)
    fresh.settle(100_600)
    assert fresh.told()["points"] == [[100_600, 400.0]]


def test_a_rate_is_that_of_the_last_seconds_and_begins_anew_when_counts_fall() -> None:
    rate = Rate()
    assert rate.per_s is None
    for second in range(20):
        rate.add(float(second), 10 * second if second < 10 else 90)
    assert rate.per_s == 0
    rate.add(20.0, 5)
    assert rate.per_s is None
    progress = Progress()
    for second, count in enumerate([1, 2, 2, 2]):
        progress.add("x", float(second), count)
    assert progress.still_s("x", 9.0) == 8.0


# -- the picture -----------------------------------------------------------------------------------------

FUSED = {"join": {("events", 0): 90, ("labels", 0): 50}}
SPLIT = {"clean": {("events", 0): 90}, "encode": {("clean", 0): 80}, "join": {("features", 0): 70, ("labels", 0): 50},
         "learn": {("training", 0): 10}}  # fmt: skip
ENDS = {"events": 100, "clean": 90, "features": 80, "labels": 60, "training": 12, "predictions": 0}


def look(marks: dict[str, dict[tuple[str, int], int]], now_s: float = 100.0) -> Look:
    partitions = {TopicPartition(f"p.{name}", 0): end for name, end in ENDS.items()}
    given = {g: {TopicPartition(f"p.{t}", n): OffsetAndMetadata(o, "", -1) for (t, n), o in m.items()}
             for g, m in marks.items()}  # fmt: skip
    suffix = {f"p.{name}": name for name in ENDS}
    return Look(now_s, round(1000 * now_s), given, dict.fromkeys(partitions, 0), partitions, suffix)


def pictured(spec: Spec, looks: list[Look], *spoken: Any, models: Models | None = None) -> tuple[Any, list[str]]:
    steps, metrics = Steps(), Metrics(spec)
    for one in spoken:
        metrics.take(one)
    for one in looks:
        steps.add(one, metrics)
    found = steps.picture(looks[-1], metrics, models or Models(spec), Predictions())
    return {s["name"]: (s["lag"], s["state"]) for s in found.flow["steps"]}, found.notes


def test_with_nothing_committed_every_step_is_absent(spec: Spec) -> None:
    steps, notes = pictured(spec, [look({})])
    assert {state for _, state in steps.values()} == {"absent"}
    assert notes == ["no step has run yet; `headwater run SPEC clean encode join learn` starts them"]


def test_fused_steps_are_shown_each_with_what_waits_for_it(spec: Spec) -> None:
    spoken = [metric("step", s, at_ms=99_000, rows=5) for s in ("clean", "encode", "join", "learn")]
    steps, notes = pictured(spec, [look(FUSED)], *spoken)
    assert steps["clean"] == (10, "running")
    assert steps["encode"] == (0, "running")
    assert steps["join"] == (10, "running")
    assert steps["learn"] == (0, "running")
    assert steps["evaluate"] == steps["ship"] == (None, "absent")
    assert notes == []


def test_split_steps_are_shown_each_by_its_own_group(spec: Spec) -> None:
    steps, _ = pictured(spec, [look(SPLIT)])
    found = {name: lag for name, (lag, _) in steps.items() if lag is not None}
    assert found == {"clean": 10, "encode": 10, "join": 20, "learn": 2}


def test_a_step_that_lets_records_wait_is_stalled_alone(spec: Spec) -> None:
    moved = {**SPLIT, "clean": {("events", 0): 95}, "join": {("features", 0): 75, ("labels", 0): 50}}
    steps, notes = pictured(spec, [look(SPLIT, 100.0), look(moved, 111.0)])
    assert {name for name, (_, state) in steps.items() if state == "stalled"} == {"encode", "learn"}
    assert notes[0] == "encode: records wait, and nothing was committed for 10 s"


def test_a_process_that_fell_silent_is_stalled_with_all_its_steps_whatever_waits(spec: Spec) -> None:
    spoken = [metric("step", s, at_ms=70_000, rows=5) for s in ("clean", "encode", "join")]
    done = {"join": {("events", 0): 100, ("labels", 0): 60}}
    steps, notes = pictured(spec, [look(done)], *spoken)
    assert [steps[s] for s in ("clean", "encode", "join")] == [(0, "stalled")] * 3
    assert notes == ["clean, encode, join, learn: silent for 30 s; stopped, or nothing to do since the start"]
    models = Models(spec)
    models.take(model(1, at_ms=99_500))  # the learner in the same process speaks for them all
    steps, notes = pictured(spec, [look(done)], *spoken, models=models)
    assert {steps[s][1] for s in ("clean", "encode", "join", "learn")} == {"running"}
    assert notes == []


# -- what was sent again ---------------------------------------------------------------------------------


def test_what_was_sent_again_is_remembered_as_it_was() -> None:
    sent = Sent(5, {"avro.trailing": 40}, frozenset({7, 8, 9, 12}))
    mark = sent.mark()
    assert mark.metadata == '{"codes": {"avro.trailing": 40}, "offsets": "7-9,12"}'
    again = Sent.of(mark, 0)
    assert again == sent
    assert [n for n in range(20) if again.has(n, "x")] == [0, 1, 2, 3, 4, 7, 8, 9, 12]
    assert again.has(39, "avro.trailing")
    assert not again.has(40, "avro.trailing")
    assert Sent.of(None, 3) == Sent(3)
    assert Sent.of(OffsetAndMetadata(6, "", -1), 0) == Sent(6)


def test_marks_that_a_later_replay_passed_are_dropped() -> None:
    sent = Sent(0, {"a.b": 4, "c.d": 9}, frozenset({1, 6})).upto(5)
    assert sent == Sent(5, {"c.d": 9}, frozenset({6}))
    assert sent.upto(10).mark() == OffsetAndMetadata(10, "", -1)


def test_more_single_letters_than_kafka_remembers_are_refused() -> None:
    with pytest.raises(LimitReached, match="headwater replay dead SPEC"):
        Sent(0, {}, frozenset(range(0, 4000, 2))).mark()
    assert Sent(0, {}, frozenset(range(4000))).mark().metadata == '{"offsets": "0-3999"}'
