"""Row 27 of the fault matrix: Elasticsearch killed in the middle, away for half a minute, and a spool that fills.

Answers go on, nothing is lost, and nothing is there twice.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from consumers._ship_assets import put
from consumers.cli.app import main
from consumers.status import status
from infra.elastic import USER, Found
from tests.e2e.test_docs import ROOT, bash_commands
from tests.elastic._faults import away_run, fill_spool
from tests.elastic._harness import Pipeline

pytestmark = [pytest.mark.broker, pytest.mark.slow]
SPOOL_BYTES_MAX = 150_000  # some batches of predictions
RATE, AWAY_S = 25.0, 30.0


@pytest.fixture
def pipeline(
    kafka_address: str, elastic: Found, client: Elasticsearch, key: Path | None, tmp_path: Path
) -> Iterator[Pipeline]:
    if elastic.local is None:
        pytest.skip("the Elasticsearch that was found must not be killed")
    with Pipeline(kafka_address, elastic, client, key, tmp_path) as made:
        made.settings = made.settings.model_copy(update={"ship_spool_bytes_max": SPOOL_BYTES_MAX})
        yield made


def test_answers_go_on_and_each_record_is_one_document_when_elasticsearch_was_away(pipeline: Pipeline) -> None:
    waited: list[dict[str, int]] = []

    def once_away(away: Pipeline) -> None:
        fill_spool(away)
        now = status(away.spec, away.settings)
        waited.append({"lag": now.steps["ship"].lag, **(now.spool or {})})

    pipeline.publish(1500, 20)
    [told] = [line for line in bash_commands(ROOT / "docs/operations.md") if line.startswith("headwater ship ")]
    pipeline.start(*told.split()[3:]).drain()  # with the words that operators are told to use
    assert pipeline.elastic.local is not None
    found = away_run(pipeline, pipeline.elastic.local, RATE, 0.0, AWAY_S, once_away=once_away)
    assert pipeline.lacks() == []
    assert found.all_well(), found.said
    assert found.answers is not None
    assert len(found.answers.between(*found.away[0])) > 0
    assert 0 < found.spool_bytes <= SPOOL_BYTES_MAX
    assert (waited[0]["lag"] > 0, waited[0]["batches"] > 0) == (True, True)
    assert 0 < waited[0]["bytes"] <= SPOOL_BYTES_MAX
    now = status(pipeline.spec, pipeline.settings)
    assert (now.steps["ship"].lag, now.spool) == (0, {"batches": 0, "bytes": 0})
    values = _told(pipeline, "ship")
    assert {v["spool_full"] for v in values} == {0.0, 1.0}
    assert min(v["spool_bytes"] for v in values) == 0.0
    pipeline.stop()


def _told(pipeline: Pipeline, kind: str) -> list[dict[str, float]]:
    """Values of the metric documents of a kind."""
    stream = f"metrics-headwater.metrics-{pipeline.name}"
    pipeline.client.indices.refresh(index=stream)
    found = pipeline.client.search(index=stream, query={"term": {"headwater.metric.kind": kind}}, size=1000)
    return [hit["_source"]["headwater"]["values"] for hit in found["hits"]["hits"]]


def test_what_operators_are_told_about_elasticsearch_runs(
    elastic: Found, client: Elasticsearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_ELASTICSEARCH", elastic.url)
    if elastic.password:
        (tmp_path / "key").write_text(client.security.create_api_key(name=f"{USER}-operator")["encoded"])
        monkeypatch.setenv("HEADWATER_ELASTICSEARCH_KEY", str(tmp_path / "key"))
    put(client)
    told = [line for line in bash_commands(ROOT / "docs/operations.md") if line.startswith("headwater elk ")]
    assert len(told) == 2
    for line in told:
        with pytest.raises(SystemExit) as left:
            main(line.split()[1:])
        assert left.value.code == 0, line
