"""`headwater experiment report` from what a real server logged and what real topics hold: every figure, by hand."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _harness import event_value
from test_serve import Learner, now_ms

import schemas
from consumers._client_values import Answer, Event
from consumers._kafka import create_topics, make_producer
from consumers.client import PredictionClient
from consumers.predict import PredictServer
from consumers.settings import Settings
from stream.arrive.schema import load_schema
from stream.experiment.difference import Difference
from stream.experiment.sequence import Mean
from stream.spec_load import load_spec

pytestmark = pytest.mark.broker
SCHEMA = """{"type": "record", "name": "Visit", "fields": [
  {"name": "id", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "amount", "type": "double"},
  {"name": "country", "type": ["null", "string"], "default": null}]}"""
SPEC = """
name: %s
task: binary
event: {schema: visit.avsc, id: id, time: at, fields: {amount: {type: numeric}, country: {type: category}}}
label: {window: 1h}
arms:
  calm: {model: linear.logistic, weight: 3}
  bold: {model: linear.logistic, params: {lr: 0.5}, weight: 1}
experiment: {name: greetings}
"""
UNITS, SILENT, BATCH = 1_200, 40, 300  # units served; how many of them never get a label


@pytest.fixture
def place(kafka_address: str, prefix: str, tmp_path: Path) -> tuple[Path, Settings]:
    """A spec with its topics, and an address."""
    (tmp_path / "visit.avsc").write_text(SCHEMA)
    (tmp_path / "spec.yaml").write_text(SPEC % f"{prefix}report")
    settings = Settings(kafka=kafka_address, grpc="127.0.0.1:0", data=tmp_path)
    create_topics(settings, load_spec(tmp_path / "spec.yaml"), ("events", "models", "labels", "predictions"))
    return tmp_path, settings


def _fields(i: int) -> dict[str, Any]:
    return {"amount": float(i % 17) - 8.0, "country": ("GB", "DE", "FR")[i % 3]}


def _served(folder: Path, settings: Settings) -> list[Answer]:
    """Answers to every unit, all logged; three units come back and one call asks for an arm by name."""
    spec = load_spec(folder / "spec.yaml")
    learner, server = Learner(spec, settings, folder / "snapshots"), PredictServer(spec, settings)
    try:
        learner.announce(learner.learn())
        with PredictionClient(f"127.0.0.1:{server.start()}", timeout_s=60) as client:
            client.predict(_fields(0), event_id="asked", arm="bold", max_staleness_ms=None)
            answers: list[Answer] = []
            for begin in range(0, UNITS, BATCH):
                events = [Event(_fields(i), f"e{i}", f"u{i}") for i in range(begin, begin + BATCH)]
                answers += [a for a in client.predict_batch(events) if isinstance(a, Answer)]
            client.predict_batch([Event(_fields(i), f"again{i}", f"u{i}") for i in range(3)])
            assert len(answers) == UNITS
            for answer in answers[:5]:  # some labels come by the server
                client.feedback(_label(answer), event_id=answer.event_id, time_ms=now_ms())
        return answers
    finally:
        learner.close()
        server.close()


def _label(answer: Answer) -> bool:
    """The bold arm is right of nine tenths, the calm one of half."""
    number = int(answer.event_id[1:])
    right = number % 10 != 0 if answer.arm == "bold" else number // 7 % 2 == 0
    return (answer.score > 0.5) == right


def _publish(folder: Path, settings: Settings, answers: list[Answer]) -> None:
    """Events, labels in reverse order, a repeated one that says the contrary, and one that is an hour too late."""
    spec, producer, code = load_spec(folder / "spec.yaml"), make_producer(settings), schemas.codec("label")
    schema = load_schema(folder / "visit.avsc")
    try:
        for i in range(UNITS - 2):  # two events, of units without labels, were never published
            record = {"id": f"e{i}", "at": now_ms(), **_fields(i)}
            producer.send(spec.topic("events"), value=event_value(schema, record))
        producer.flush(30)
        told = [*reversed(answers[5 : UNITS - SILENT])]
        records = [{"id": a.event_id, "value": _label(a), "time_ms": now_ms()} for a in told]
        records += [{"id": told[0].event_id, "value": not _label(told[0]), "time_ms": now_ms()}]
        records += [{"id": answers[-1].event_id, "value": True, "time_ms": now_ms() + 2 * 3_600_000}]
        for record in records:
            producer.send(spec.topic("labels"), value=code.encode(record), key=record["id"].encode(), partition=0)
        producer.flush(30)
    finally:
        producer.close(5)


def _report(folder: Path, settings: Settings, *words: str) -> Any:
    env = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")} | {"HEADWATER_KAFKA": settings.kafka}
    command = [sys.executable, "-m", "consumers.cli", "experiment", "report", str(folder / "spec.yaml"), "--json"]
    done = subprocess.run([*command, *words], env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_report_has_the_numbers_that_follow_from_answers_and_labels(place: tuple[Path, Settings]) -> None:
    folder, settings = place
    answers = _served(folder, settings)
    _publish(folder, settings, answers)
    page = folder / "report.html"
    found = _report(folder, settings, "--by", "country", "--covariate", "amount", "--html", str(page))
    labelled = [*answers[:5], *reversed(answers[5 : UNITS - SILENT])]

    by_arm = {arm: sum(a.arm == arm for a in answers) for arm in ("calm", "bold")}
    assert found["exposures"] == by_arm
    assert found["outcomes"] == {arm: sum(a.arm == arm for a in labelled) for arm in by_arm}
    assert found["planned"] == {"calm": 0.75, "bold": 0.25}
    counts = found["counts"]
    assert counts["exposures read"] == UNITS + 4
    assert (counts["not of this experiment"], counts["further exposures of units"]) == (1, 3)
    assert (counts["repeated labels"], counts["late labels"]) == (1, 1)
    assert counts["timed out"] == SILENT - 1
    assert counts["waiting"] == 0

    accuracy = next(m for m in found["metrics"] if m["metric"]["name"] == "accuracy")
    right = np.array([float((a.score > 0.5) == _label(a)) for a in labelled])
    bold = np.array([a.arm == "bold" for a in labelled])
    for line, mine in zip(accuracy["arms"], (~bold, bold), strict=True):
        mean = Mean(0.0, 1.0)
        mean.update(right[mine])
        assert line["now"]["estimate"] == pytest.approx(right[mine].mean(), abs=1e-12)
        assert (line["now"]["low"], line["now"]["high"]) == pytest.approx(
            (mean.interval().low, mean.interval().high), abs=1e-9
        )
    difference = Difference(0.0, 1.0, 0.25)
    amount = np.array([_fields(int(a.event_id[1:]))["amount"] for a in labelled])
    difference.update(bold.astype(np.int64), np.where(bold, 0.25, 0.75), right, amount)
    [line] = accuracy["comparisons"]
    assert math.log(line["p_value"]) == pytest.approx(math.log(difference.p_value), rel=1e-9)
    assert line["now"]["low"] == pytest.approx(difference.interval().low, abs=1e-9)
    assert line["verdict"] == "better"
    assert line["now"]["low"] < right[bold].mean() - right[~bold].mean() < line["now"]["high"]

    assert [(x["dimension"], x["levels"], x["exposures"], x["broken"]) for x in found["ratio"]] == [
        ("all", 1, UNITS, False),
        ("country", 4, UNITS, False),
    ]
    assert counts["exposures whose event was not found"] == 2
    assert "greetings" in page.read_text()
    again = _report(folder, settings, "--each-event", "--control", "bold")
    assert sum(again["exposures"].values()) == UNITS + 3
    assert {c["verdict"] for m in again["metrics"] if m["metric"]["name"] == "accuracy" for c in m["comparisons"]} == {
        "worse"
    }
