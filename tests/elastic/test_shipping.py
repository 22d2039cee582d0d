"""Every record is one document: after a replay from the beginning, rollovers, poison, and kills of the shipper."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from infra.elastic import Found
from tests.elastic._faults import kill_run, replay_run
from tests.elastic._harness import Pipeline

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def pipeline(
    kafka_address: str, elastic: Found, client: Elasticsearch, key: Path | None, tmp_path: Path
) -> Iterator[Pipeline]:
    with Pipeline(kafka_address, elastic, client, key, tmp_path) as made:
        yield made


def test_a_replay_from_the_beginning_adds_nothing_even_after_a_rollover(pipeline: Pipeline) -> None:
    replay_run(pipeline, 1600)
    assert pipeline.lacks() == []
    sums = pipeline.sums()
    assert {t: sums[t] for t in ("predictions", "labels", "experiment", "logs")} == {
        "predictions": (1801, 1800, 1),
        "labels": (36, 35, 1),
        "experiment": (35, 35, 0),
        "logs": (37, 35, 2),
    }
    buried = Counter((d["topic"].partition(".")[2], d["code"]) for d in pipeline.dead())
    assert buried == {  # once for each time that it was read
        ("labels", "ship.unreadable"): 2,
        ("logs", "ship.refused"): 2,
        ("logs", "ship.unreadable"): 2,
        ("predictions", "ship.unreadable"): 2,
    }
    [reason] = {d["detail"] for d in pipeline.dead() if d["code"] == "ship.refused"}
    assert reason.startswith("field @timestamp is mapped as date: 400 document_parsing_exception")
    assert "tomorrow" in reason
    pipeline.stop()


def test_a_shipper_killed_at_random_moments_loses_and_doubles_nothing(pipeline: Pipeline) -> None:
    kill_run(pipeline, kills=3, chance=random.Random(11))
    assert pipeline.lacks() == []
    pipeline.stop()
