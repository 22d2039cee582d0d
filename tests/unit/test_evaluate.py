"""Outcomes meet what was served, and what shadow arms would have answered beside it."""

from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kafka import TopicPartition

import schemas
from consumers._evaluate import Evaluate
from stream.spec import Spec
from stream.spec_load import load_spec

SPEC = """
name: shop
task: binary
event: {schema: event.avsc, id: id, time: at, fields: {amount: {type: numeric}}}
arms:
  first: {model: linear.logistic}
  second: {model: linear.logistic}
  quiet: {model: linear.logistic, shadow: true}
"""
SCHEMA = """{"type": "record", "name": "Event", "fields": [{"name": "id", "type": "string"},
 {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}, {"name": "amount", "type": "double"}]}"""


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "event.avsc").write_text(SCHEMA)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load_spec(tmp_path / "spec.yaml")


def exposure(event_id: str, arm: str, score: float, quiet: float | None = None) -> bytes:
    record: dict[str, Any] = dict.fromkeys(
        ("event_time_ms", "served_ms", "latency_us", "model_generation", "trained_label_offset", "staleness_ms",
         "dropped_before"), 0,
    )  # fmt: skip
    shadows = [] if quiet is None else [{"arm": "quiet", "score": quiet, "scores": []}]
    record |= {"id": event_id, "unit": event_id, "arm": arm, "score": score, "scores": [], "shadows": shadows}
    record |= {"prediction_id": event_id, "propensity": 0.5, "model_sha256": "", "experiment": "e", "spec_hash": ""}
    return schemas.codec("prediction").encode(record)


def label(event_id: str, value: bool) -> bytes:
    return schemas.codec("label").encode({"id": event_id, "value": value, "time_ms": 1})


def feed(step: Evaluate, spec: Spec, topic: str, values: Iterable[bytes]) -> None:
    records: Any = [SimpleNamespace(value=v, offset=n, timestamp=1, partition=0) for n, v in enumerate(values)]
    step.feed({TopicPartition(spec.topic(topic), 0): records}, 0.0)


def totals(step: Evaluate) -> dict[str, dict[str, float]]:
    told = [schemas.codec("metric").decode(out.value) for out in step.take()]
    return {f"{m['kind']}.{m['arm']}": m["values"] for m in told if m["kind"].endswith("_total")}


@pytest.mark.parametrize("labels_first", [False, True])
def test_an_answer_and_its_shadow_are_measured_apart(spec: Spec, labels_first: bool) -> None:
    step = Evaluate(spec)
    answers = ("predictions", [exposure("a", "first", 0.9, 0.2), exposure("b", "second", 0.4, 0.1)])
    outcomes = ("labels", [label("a", True), label("b", False)])
    for topic, values in (outcomes, answers) if labels_first else (answers, outcomes):
        feed(step, spec, topic, values)
    found = totals(step)
    assert set(found) == {"served_total.first", "served_total.second", "served_total.quiet", "shadow_total.quiet"}
    assert (found["served_total.first"]["exposures"], found["served_total.first"]["accuracy"]) == (1, 1)
    assert (found["served_total.quiet"]["exposures"], found["served_total.quiet"]["outcomes"]) == (0, 0)
    quiet = found["shadow_total.quiet"]
    assert (quiet["exposures"], quiet["outcomes"]) == (2, 2)
    assert quiet["brier"] == pytest.approx((0.8**2 + 0.1**2) / 2)


def test_the_first_answer_and_the_first_label_count(spec: Spec) -> None:
    step = Evaluate(spec)
    feed(step, spec, "predictions", [exposure("a", "first", 0.9, 0.2), exposure("a", "first", 0.1, 0.7)])
    feed(step, spec, "labels", [label("a", True), label("a", False)])
    found = totals(step)
    assert (found["served_total.first"]["exposures"], found["served_total.first"]["outcomes"]) == (1, 1)
    assert found["served_total.first"]["brier"] == pytest.approx(0.01)
    assert found["shadow_total.quiet"]["brier"] == pytest.approx(0.64)


def test_an_unknown_arm_and_broken_bytes_are_passed_over(spec: Spec) -> None:
    step = Evaluate(spec)
    feed(step, spec, "predictions", [b"broken", exposure("a", "gone", 0.9)])
    feed(step, spec, "labels", [b"", label("a", True)])
    assert not any(values["exposures"] for values in totals(step).values())
