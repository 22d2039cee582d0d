"""Every record is one document: after replays, rollovers, kills on both sides, a full spool and poison."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from infra.elastic import Found
from stream.ship.datasets import DATASETS
from tests.elastic._harness import Pipeline, kill_run, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]
SPOOL_BYTES_MAX = 150_000  # some batches of predictions


@pytest.fixture
def pipeline(
    kafka_address: str, elastic: Found, client: Elasticsearch, key: Path | None, tmp_path: Path
) -> Iterator[Pipeline]:
    with Pipeline(kafka_address, elastic, client, key, tmp_path) as made:
        yield made


def test_a_replay_from_the_beginning_adds_nothing_even_after_a_rollover(pipeline: Pipeline) -> None:
    pipeline.publish(1500, 30)
    pipeline.send(
        [("labels", b"poison"), ("logs", b"no JSON"), ("logs", b'{"@timestamp": "tomorrow", "message": "?"}')]
    )
    pipeline.start().drain()
    assert pipeline.lacks() == []
    buried = sorted((d["topic"].partition(".")[2], d["code"]) for d in pipeline.dead())
    assert buried == [
        ("labels", "ship.unreadable"),
        ("logs", "ship.refused"),
        ("logs", "ship.unreadable"),
    ]
    [reason] = [d["detail"] for d in pipeline.dead() if d["code"] == "ship.refused"]
    assert reason.startswith("field @timestamp is mapped as date: 400 document_parsing_exception")
    assert "tomorrow" in reason
    before = {t: len(pipeline.ids(t)) for t in DATASETS if t != "dead"}
    assert before["predictions"] == 1500

    pipeline.stop()
    pipeline.roll_over()
    pipeline.forget()
    pipeline.publish(200, 5)
    pipeline.start().drain()
    assert pipeline.lacks() == []
    assert {t: len(pipeline.ids(t)) - n for t, n in before.items()} == {
        t: 200 if t == "predictions" else 5 for t in before
    }
    pipeline.stop()


def test_a_shipper_killed_at_random_moments_loses_and_doubles_nothing(pipeline: Pipeline) -> None:
    kill_run(pipeline, kills=3, chance=random.Random(11))
    assert pipeline.lacks() == []
    pipeline.stop()


def test_elasticsearch_killed_in_the_middle_and_away_until_the_spool_is_full(pipeline: Pipeline) -> None:
    local = pipeline.elastic.local
    if local is None:
        pytest.skip("the Elasticsearch that was found must not be killed")
    pipeline.settings = pipeline.settings.model_copy(update={"ship_spool_bytes_max": SPOOL_BYTES_MAX})
    pipeline.publish(3000, 20)
    pipeline.start()
    wait_for(lambda: pipeline.ids("predictions"), pipeline.said)
    local.kill()
    try:
        largest = 0
        while "spool full" not in pipeline.said():
            pipeline.publish(1000)
            assert pipeline.published < 60_000, pipeline.said()
            largest = max(largest, pipeline.spool)
        largest = max(largest, pipeline.spool)
        assert 0 < largest <= SPOOL_BYTES_MAX
    finally:
        local.restart()
    pipeline.drain()
    assert pipeline.lacks() == []
    pipeline.stop()
