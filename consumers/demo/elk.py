"""The demo's way to Elasticsearch: one found or started, a shipper beside the steps, both sides counted at the end."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from elasticsearch import ApiError, Elasticsearch, TransportError

import schemas
from consumers._kafka import TopicPartition, end_offsets, group_offsets
from consumers._read import read_topic
from consumers._ship_assets import put
from consumers._ship_client import elastic_error, make_client
from consumers._supervise import Supervisor
from consumers.settings import Settings
from infra.elastic import find_elastic
from stream.errors import ElasticError
from stream.ship.datasets import DATASETS
from stream.spec import Spec

Sums = dict[str, tuple[int, int]]
DELIVERED_S_MAX = 300.0


@contextmanager
def shipping(
    wanted: bool, spec: Spec, path: Path, settings: Settings, told: Callable[[str], None]
) -> Iterator[Callable[[], Sums]]:
    """While the body runs, ship. What it gets says, once nothing else writes: records of each topic, and documents."""
    if not wanted:
        yield dict
        return
    with find_elastic() as found:
        settings = settings.model_copy(update={"elasticsearch": found.url})
        client = make_client(settings)
        told(f"Elasticsearch at {found.url}")
        environment = {
            **os.environ,
            "HEADWATER_KAFKA": settings.kafka,
            "HEADWATER_DATA": str(settings.data.resolve()),
            "HEADWATER_ELASTICSEARCH": found.url,
        }
        try:
            put(client)
            with Supervisor(settings.data / "logs", told) as supervisor:
                command = [sys.executable, "-m", "consumers.cli", "ship", str(path)]
                supervisor.start("ship", command, environment)
                yield lambda: _both_sides(spec, settings, client, supervisor)
        except (ApiError, TransportError) as error:
            raise elastic_error(settings, error) from error
        finally:
            client.close()


def _both_sides(spec: Spec, settings: Settings, client: Elasticsearch, supervisor: Supervisor) -> Sums:
    until_s = time.monotonic() + DELIVERED_S_MAX
    while not _delivered(spec, settings):
        if failures := supervisor.failures():
            raise ElasticError("; ".join(f"{name} {why}" for name, why in failures.items()))
        if time.monotonic() > until_s:
            raise ElasticError(f"waited {DELIVERED_S_MAX:g} s for the last documents; see the logs beside the report")
        time.sleep(0.2)
    records = {topic: sum(1 for _ in read_topic(spec, settings, topic)) for topic in DATASETS}
    dead = [schemas.codec("dead").decode(r.value) for r in read_topic(spec, settings, "dead")]
    sums: Sums = {}
    for topic, dataset in DATASETS.items():
        stream = dataset.stream(spec.name)
        client.indices.refresh(index=stream, ignore_unavailable=True)
        there = int(client.count(index=stream, ignore_unavailable=True)["count"])
        buried = sum(d["step"] == "ship" and d["topic"] == spec.topic(topic) for d in dead)
        sums[f"{topic} on Kafka = documents + refused"] = records[topic], there + buried
    return sums


def _delivered(spec: Spec, settings: Settings) -> bool:
    """Whether all is read, and nothing waits on disk."""
    partitions = [
        TopicPartition(spec.topic(t), p)
        for t in DATASETS
        for p in range(spec.topics.predictions if t == "predictions" else 1)
    ]
    marks, ends = group_offsets(settings, f"{spec.name}.ship"), end_offsets(settings, partitions)
    read = all(end == 0 or (tp in marks and marks[tp].offset >= end) for tp, end in ends.items())
    return read and not any((settings.data / spec.name / "spool").glob("*"))
