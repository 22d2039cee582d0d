"""The documents of one event are found by its trace id, and what was shipped need not be read from Kafka again."""

from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

import schemas
from consumers.settings import Settings
from consumers.trace import trace
from infra.elastic import Found
from stream.trace import trace_id
from tests.elastic._harness import Pipeline, record

pytestmark = [pytest.mark.broker, pytest.mark.slow]


def _values(pipeline: Pipeline, event_id: str) -> list[tuple[str, bytes]]:
    """An answer, its label twice, and the letter about the second."""
    label = schemas.codec("label").encode({**record("labels", 1), "id": event_id})
    letter = {**record("dead", 1), "topic": f"{pipeline.name}.labels", "offset": 41, "code": "label.duplicate",
              "step": "join", "event_id": event_id}  # fmt: skip
    answer = {**record("predictions", 1), "id": event_id, "prediction_id": f"{'u' * 36}/{event_id}"}
    return [("predictions", schemas.codec("prediction").encode(answer)), ("labels", label), ("labels", label),
            ("dead", schemas.codec("dead").encode(letter))]  # fmt: skip


def test_documents_are_told_with_their_ids_and_spare_the_reading(
    kafka_address: str, elastic: Found, client: Elasticsearch, key: Path | None, tmp_path: Path
) -> None:
    with Pipeline(kafka_address, elastic, client, key, tmp_path) as pipeline:
        pipeline.publish(predictions=400, others=40)
        pipeline.send(_values(pipeline, "mine"))
        pipeline.start().drain().stop()
        pipeline.send(_values(pipeline, "mine")[:2])  # not shipped
        spec, plain = pipeline.spec, Settings(kafka=kafka_address)
        ways = {
            name: trace(spec, settings, given, None, lambda done, total: None)
            for name, settings, given in (
                ("plain", plain, "mine"), ("asked", pipeline.settings, "mine"),
                ("by trace", pipeline.settings, trace_id(spec.name, "mine")),
                ("by answer", pipeline.settings, f"{'u' * 36}/mine"),
            )
        }  # fmt: skip
        plain_way = ways.pop("plain")
        assert plain_way.documents == []
        assert plain_way.searched[spec.topic("predictions")] == 402
        for way in ways.values():
            assert not way.fault
            steps = [(s.step, s.state, s.seen and s.seen.place) for s in way.steps if s.step != "ship"]
            assert sorted(steps, key=str) == sorted(
                [(s.step, s.state, s.seen and s.seen.place) for s in plain_way.steps], key=str
            )
            shipped = {s.place for s in (x.seen for x in way.steps) if s is not None and s.topic != spec.topic("dead")}
            assert {d.id.rpartition("-")[0].rpartition("-")[0] for d in way.documents} == {
                spec.topic(t) for t in ("predictions", "labels", "dead")
            }
            assert len(way.documents) == 4
            assert {(d.topic, d.partition, d.offset) for d in way.documents if d.topic != spec.topic("dead")} < shipped
            assert way.searched[spec.topic("predictions")] == way.searched[spec.topic("labels")] == 1
            told = [s for s in way.steps if s.step == "ship"]
            assert len(told) == 4
            assert all(s.at_ms is not None for s in told)
        found = client.search(
            index=f"logs-headwater.*-{spec.name}", query={"term": {"trace.id": trace_id(spec.name, "mine")}}
        )
        assert found["hits"]["total"]["value"] == 4
