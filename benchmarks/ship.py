"""Documents a second to a real Elasticsearch against the bare client, and how long until a prediction can be found.

    python -m benchmarks.ship [--short] [--json]

On one broker and one Elasticsearch, in one run, alternately, with the same predictions, templates and request size:
- headwater: Kafka read, Avro decoded, documents made and created, offsets committed;
- bare: `elasticsearch.helpers.streaming_bulk` of the same documents, made before, and nothing else.
Each is timed from its first record to its last answer; the median of the rounds' ratios counts.
Lag: predictions are published at a steady rate while the shipper runs, and searched for every 20 ms.
The short form takes at most 60 s, and a download of 950 MB where Elasticsearch was never started before.
"""

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import streaming_bulk

import schemas
from benchmarks._report import Row, quiet_log, report
from consumers._kafka import create_topics, make_producer
from consumers._loop import Loop
from consumers._ship_assets import put
from consumers._ship_client import BULK_BYTES_MAX, BULK_DOCUMENTS
from consumers.settings import Settings
from consumers.ship import Ship
from infra.elastic import LocalElastic
from infra.kafka import LocalBroker
from stream.arrive.records import Record
from stream.ship.datasets import DATASETS
from stream.ship.documents import Document, maker
from stream.spec import Spec
from stream.spec_load import load_spec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights.yaml"
ROUNDS = 3
RATE = 200  # predictions a second while the lag is measured
ASK_S = 0.02


class TimedShip(Ship):
    """A shipper that knows when it got its first record, when its last document was taken, and whether it is told."""

    begin_s = end_s = 0.0
    wanted = 0
    committed = False

    def feed(self, batch: Any, idle_s: float) -> None:
        """See Ship."""
        if batch and not self.begin_s:
            self.begin_s = time.perf_counter()
        super().feed(batch, idle_s)
        if self.delivered >= self.wanted and not self.end_s:
            self.end_s = time.perf_counter()

    def written(self, outs: Any, offsets: Any) -> None:
        """See Ship."""
        super().written(outs, offsets)
        self.committed = self.end_s > 0


def prediction(n: int) -> bytes:
    """One that looks like the flights' own."""
    return schemas.codec("prediction").encode(
        {
            "prediction_id": f"{n:032x}", "id": f"UA{n}-2013-01-01", "unit": f"UA{n}-2013-01-01",
            "arm": ("logistic", "tree")[n % 2], "propensity": 0.5, "score": (n % 997) / 997, "scores": [],
            "event_time_ms": 1_357_034_400_000 + n, "served_ms": time.time_ns() // 10**6, "latency_us": 700 + n % 900,
            "model_generation": n // 50, "model_sha256": "5d" * 32, "trained_label_offset": n, "staleness_ms": n % 700,
            "experiment": "default", "spec_hash": "6e2e3aad7450f023", "dropped_before": 0,
        }
    )  # fmt: skip


def publish(spec: Spec, settings: Settings, values: list[bytes]) -> None:
    """All of them, in turn over the partitions."""
    producer = make_producer(settings)
    for n, value in enumerate(values):
        producer.send(spec.topic("predictions"), value=value, partition=n % spec.topics.predictions)
    producer.flush(60)
    producer.close(5)


def bare(spec: Spec, client: Elasticsearch, values: list[bytes]) -> float:
    """Seconds for the client alone."""
    make = maker(DATASETS["predictions"], f"{spec.name}bare")
    made = [make(Record(spec.topic("predictions"), 0, n, 1_790_000_000_000, None, v)) for n, v in enumerate(values)]
    actions = [
        {"_op_type": "create", "_index": d.stream, "_id": d.id, "_source": json.loads(d.body)}
        for d in made
        if isinstance(d, Document)
    ]
    begin_s = time.perf_counter()
    sizes = {"chunk_size": BULK_DOCUMENTS, "max_chunk_bytes": BULK_BYTES_MAX}
    taken = sum(ok for ok, _ in streaming_bulk(client, actions, **sizes))
    seconds = time.perf_counter() - begin_s
    assert taken == len(values), f"{taken} of {len(values)} taken"
    return seconds


def ours(spec: Spec, settings: Settings, values: list[bytes]) -> float:
    """Seconds for the shipper."""
    publish(spec, settings, values)
    chain = TimedShip(spec, settings, ("predictions",))
    chain.wanted = len(values)
    Loop(chain, settings).run(lambda: chain.committed)
    assert (chain.delivered, chain.refused) == (len(values), 0)
    return chain.end_s - chain.begin_s


def _newest(client: Elasticsearch, stream: str) -> list[Any]:
    """The newest documents; none while the stream is being made."""
    try:
        found = client.search(
            index=stream, size=2000, source=False, fields=["event.id"], sort=[{"@timestamp": "desc"}],
            ignore_unavailable=True,
        )  # fmt: skip
    except ApiError as error:
        if error.status_code != 503:
            raise
        return []
    return list(found["hits"]["hits"])


def lags(spec: Spec, settings: Settings, client: Elasticsearch, count: int) -> list[float]:
    """Milliseconds from each prediction's making to its first being found."""
    chain, over = Ship(spec, settings, ("predictions",)), threading.Event()
    shipper = threading.Thread(target=lambda: Loop(chain, settings).run(over.is_set))
    shipper.start()
    served: dict[str, int] = {}
    found: dict[str, float] = {}
    producer = make_producer(settings)

    def serve() -> None:
        begin_s = time.perf_counter()
        for n in range(count):
            time.sleep(max(0.0, begin_s + n / RATE - time.perf_counter()))
            value = prediction(n)
            served[f"{n:032x}"] = schemas.codec("prediction").decode(value)["served_ms"]
            producer.send(spec.topic("predictions"), value=value, partition=n % spec.topics.predictions)

    server = threading.Thread(target=serve)
    server.start()
    stream, limit_s = DATASETS["predictions"].stream(spec.name), time.monotonic() + 60
    while len(found) < count and time.monotonic() < limit_s:
        newest = _newest(client, stream)
        now_ms = time.time_ns() / 1e6
        for hit in newest:
            name = hit["fields"]["event.id"][0]
            if name not in found:
                found[name] = now_ms - served[name]
        time.sleep(ASK_S)
    server.join()
    over.set()
    shipper.join()
    producer.close(5)
    assert len(found) == count, f"{len(found)} of {count} found"
    return list(found.values())


def rounds(
    settings: Settings, client: Elasticsearch, count: int, told: Callable[[str], None]
) -> tuple[list[float], list[float]]:
    """Documents a second of ours and of the bare client, once a round each."""
    example, values = load_spec(EXAMPLE), [prediction(n) for n in range(count)]
    rates: dict[str, list[float]] = {"ours": [], "bare": []}
    for number in range(-1, ROUNDS):  # the first warms both sides up
        spec = example.model_copy(update={"name": f"bench{number + 1}"})
        create_topics(settings, spec)
        contenders: list[tuple[str, Callable[[], float]]] = [
            ("ours", lambda s=spec: ours(s, settings, values)),  # type: ignore[misc]
            ("bare", lambda s=spec: bare(s, client, values)),  # type: ignore[misc]
        ]
        for name, run in contenders[:: 1 if number % 2 else -1]:
            rate = count / run()
            if number >= 0:
                rates[name].append(rate)
                told(f"round {number + 1}: {name} {rate:,.0f} documents/s")
    return rates["ours"], rates["bare"]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer documents, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    quiet_log()
    count, asked = (6_000, 600) if given.short else (40_000, 6_000)
    with LocalBroker() as broker, LocalElastic().start() as elastic, tempfile.TemporaryDirectory() as data:
        settings = Settings(kafka=broker.address, elasticsearch=elastic.url, data=Path(data))
        with Elasticsearch(elastic.url, request_timeout=60) as client:
            put(client)
            mine, bares = rounds(settings, client, count, lambda line: print(line, file=sys.stderr))
            spec = load_spec(EXAMPLE).model_copy(update={"name": "benchlag"})
            create_topics(settings, spec)
            waited = lags(spec, settings, client, asked)
    ratio = statistics.median(a / b for a, b in zip(mine, bares, strict=True))
    rows = [
        Row("shipper, Kafka to Elasticsearch", statistics.median(mine), "documents/s"),
        Row("bare streaming_bulk", statistics.median(bares), "documents/s"),
        Row("shipper / bare streaming_bulk", ratio, "×", goal=0.9),
        Row("prediction to searchable, p50", float(np.percentile(waited, 50)), "ms"),
        Row("prediction to searchable, p99", float(np.percentile(waited, 99)), "ms"),
    ]
    title = f"{count:,} predictions, {ROUNDS} rounds, alternately, medians; lag of {asked:,} at {RATE} a second"
    return report(title, rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
