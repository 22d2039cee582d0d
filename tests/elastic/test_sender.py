"""Documents on a real Elasticsearch, without Kafka: never twice, refusals with a reason, keys, fields to search by."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from elasticsearch import ApiError, Elasticsearch

from consumers._ship_assets import put
from consumers._ship_client import NotDelivered, Sender, highest, make_client
from consumers.settings import Settings
from infra.elastic import Found
from stream.arrive.records import Record
from stream.ship.datasets import DATASETS
from stream.ship.documents import Document, maker
from tests.elastic._harness import value_of
from tests.elastic.conftest import write_key

pytestmark = pytest.mark.slow
SenderOf = Callable[[Path | None], Sender]


@pytest.fixture
def name(client: Elasticsearch) -> str:
    """Of a pipeline that nobody had before."""
    put(client)
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def sender_of(elastic: Found) -> Iterator[SenderOf]:
    made: list[Elasticsearch] = []

    def make(key: Path | None) -> Sender:
        made.append(make_client(Settings(elasticsearch=elastic.url, elasticsearch_key=key)))
        return Sender(made[-1])

    yield make
    for each in made:
        each.close()


def documents(n: int, name: str, topic: str = "predictions") -> list[Document]:
    make = maker(DATASETS[topic], name)
    made = [make(Record(f"{name}.{topic}", 0, i, 1_790_000_000_000, None, value_of(topic, i))) for i in range(n)]
    return [d for d in made if isinstance(d, Document)]


def count(client: Elasticsearch, stream: str) -> int:
    client.indices.refresh(index=stream)
    return int(client.count(index=stream)["count"])


def test_after_a_rollover_only_looking_first_keeps_a_document_single(
    client: Elasticsearch, name: str, sender_of: SenderOf, key: Path | None
) -> None:
    sender, given = sender_of(key), documents(30, name)
    stream = given[0].stream
    assert sender.send(given[:20], doubtful=False) == []
    assert sender.send(given[:20], doubtful=False) == []  # one backing index: the id alone protects
    assert count(client, stream) == 20
    client.indices.rollover(alias=stream)
    assert sender.send(given, doubtful=True) == []
    assert count(client, stream) == 30
    assert highest(sender._client, [stream], name) == {f"{name}.predictions": {0: 29}}
    assert sender.send(given[:5], doubtful=False) == []
    assert count(client, stream) == 35  # what would happen without: were it not so, the look-up could go


def test_a_mapping_that_a_person_changed_is_named_in_the_reason(
    client: Elasticsearch, name: str, sender_of: SenderOf, key: Path | None
) -> None:
    custom = {"mappings": {"properties": {"headwater": {"properties": {"unit": {"type": "long"}}}}}}
    client.cluster.put_component_template(name="headwater@custom", template=custom)
    try:
        refusals = sender_of(key).send(documents(3, name), doubtful=False)
    finally:
        client.cluster.delete_component_template(name="headwater@custom")
    assert len(refusals) == 3
    assert all(r.why.startswith("field headwater.unit is mapped as long: 400 ") for r in refusals)


def test_a_key_that_may_only_create_ships_and_may_do_nothing_else(
    client: Elasticsearch, name: str, sender_of: SenderOf, key: Path | None, tmp_path: Path
) -> None:
    if key is None:
        pytest.skip("the Elasticsearch that was found asks nobody for a key")
    few = sender_of(write_key(client, tmp_path / "few", ["auto_configure", "create_doc"]))
    given = documents(5, name, "labels")
    assert few.send(given, doubtful=False) == []
    assert few.send(given, doubtful=True) == []  # it may not look; within one index the id protects
    stream = given[0].stream
    assert count(client, stream) == 5
    more = sender_of(key)._client
    forbidden: list[Callable[[], object]] = [
        lambda: few._client.search(index=stream),
        lambda: few._client.indices.delete(index=stream),
        lambda: more.delete_by_query(index=stream, query={"match_all": {}}),
        lambda: more.update_by_query(index=stream, query={"match_all": {}}),
    ]
    for attempt in forbidden:
        with pytest.raises(ApiError) as refused:
            attempt()
        assert refused.value.status_code == 403


def test_without_templates_nothing_is_made_and_no_document_is_blamed(
    client: Elasticsearch, name: str, sender_of: SenderOf
) -> None:
    stream = f"logs-headwater_none-{name}"
    stray = [d._replace(stream=stream) for d in documents(2, name)]
    admin = sender_of(None)
    admin._client = client
    with pytest.raises(NotDelivered, match=r"40[04] "):
        admin.send(stray, doubtful=False, attempts=1)
    assert not client.indices.exists(index=stream)


def test_documents_are_found_by_the_fields_that_people_search_by(
    client: Elasticsearch, name: str, sender_of: SenderOf, key: Path | None
) -> None:
    sender = sender_of(key)
    for topic, dataset in DATASETS.items():
        assert sender.send(documents(10, name, topic), doubtful=False) == []
        assert count(client, dataset.stream(name)) == 10
    found = client.search(
        index=f"*-headwater.*-{name}",
        size=0,
        aggs={
            "arm": {"terms": {"field": "headwater.arm"}},
            "accuracy": {"max": {"field": "headwater.values.accuracy"}},
            "shadow": {"avg": {"field": "headwater.shadow_scores.next"}},
            "rest": {"terms": {"field": "headwater.rest.rows"}},
            "arrived": {"min": {"field": "event.ingested"}},
            "code": {"terms": {"field": "error.code"}},
            "share": {"min": {"field": "headwater.experiment.weights.flat"}},
            "latency": {"percentiles": {"field": "headwater.latency_ms"}},
        },
    )["aggregations"]
    assert {b["key"] for b in found["arm"]["buckets"]} == {"tree", "flat"}
    assert found["accuracy"]["value"] == pytest.approx(0.009)
    assert found["shadow"]["value"] == found["share"]["value"] == 0.5
    assert len(found["rest"]["buckets"]) == 10
    assert found["arrived"]["value"] > 1.7e12
    assert [b["key"] for b in found["code"]["buckets"]] == ["value.missing"]
    assert found["latency"]["values"]["50.0"] == pytest.approx(0.9045)
    message = client.search(index=f"logs-headwater.logs-{name}", query={"match": {"message": "line"}})
    assert message["hits"]["total"]["value"] == 10
