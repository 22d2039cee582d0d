"""What Logstash's filters make of a line is taken by the data stream that `ship` uses, and found by the same fields."""

import time
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from consumers._ship_assets import put
from stream.ship.datasets import DATASETS
from tests.unit.logstash_reader import READ, filtered

pytestmark = pytest.mark.slow
PIPELINE = "by-logstash"


def test_a_line_that_logstash_brings_is_a_document_like_those_of_ship(client: Elasticsearch) -> None:
    put(client)
    now_s = time.time()
    line: dict[str, Any] = {
        "@timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(now_s)), "log.level": "warning",
        "message": "arm drained", "ecs": {"version": "1.6.0"}, "service.name": "headwater", "rows": 7,
        "headwater.pipeline": PIPELINE, "headwater.step": "guard", "event": {"original": "{}"},
        "@metadata": {"kafka": {"topic": f"{PIPELINE}.logs", "partition": 0, "offset": round(now_s * 1000)}},
    }  # fmt: skip
    event = filtered(line)
    offset = event.pop("@metadata")["kafka"]["offset"]
    stream = "-".join(event["data_stream"][part] for part in ("type", "dataset", "namespace"))
    assert stream == DATASETS["logs"].stream(PIPELINE)
    assert [name for name, _ in READ["output"]] == ["elasticsearch"]
    client.index(index=stream, op_type="create", document=event, refresh=True, require_data_stream=True)
    wanted = {
        "headwater.pipeline": PIPELINE, "headwater.step": "guard", "log.level": "warning", "event.module": "headwater",
        "event.dataset": "headwater.logs", "headwater.kafka.topic": f"{PIPELINE}.logs",
        "headwater.kafka.offset": offset, "data_stream.namespace": "by_logstash",
    }  # fmt: skip
    query = {"bool": {"filter": [{"term": {name: value}} for name, value in wanted.items()]}}
    [hit] = client.search(index=DATASETS["logs"].pattern, query=query, fields=["event.ingested"])["hits"]["hits"]
    assert hit["fields"]["event.ingested"]  # stamped by the ingest pipeline, as ship's are
