"""A pipeline's topics on a real broker, a shipper in a process of its own, and what Elasticsearch then holds.

`lacks` compares the two sides: every committed record must be one document with its place as id, or be in `dead` with
the shipper's reason. Nothing waits by sleeping: each wait has a condition and a deadline.
"""

import json
import os
import shutil
import signal
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen
from typing import Any

from elasticsearch import ApiError, Elasticsearch
from elasticsearch.helpers import scan

import schemas
from consumers._kafka import (
    OffsetAndMetadata,
    TopicPartition,
    create_topics,
    end_offsets,
    group_offsets,
    make_consumer,
    make_producer,
)
from consumers._read import read_topic
from consumers._ship_assets import put
from consumers.settings import Settings
from infra._proxy import spawn
from infra.elastic import Found
from stream.ship.datasets import DATASETS
from stream.spec_load import load_spec

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
WAIT_S = 240.0  # generous: two cores are shared
CODECS = {"predictions": "prediction", "labels": "label", "metrics": "metric", "experiment": "control", "dead": "dead"}


def wait_for(condition: Callable[[], Any], what: Callable[[], str], seconds: float = WAIT_S) -> Any:
    """What `condition` gives once it is true; fails after `seconds`."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {what()}"
        time.sleep(0.2)
    return found


def record(topic: str, n: int) -> dict[str, Any]:
    """A good record."""
    if topic == "predictions":
        return {
            "prediction_id": f"p{n}", "id": f"e{n}", "unit": f"u{n % 97}", "arm": ("tree", "flat")[n % 2],
            "propensity": 0.5, "score": (n % 100) / 100, "scores": [], "event_time_ms": 1_357_000_000_000 + n,
            "served_ms": round(time.time() * 1000), "latency_us": 900 + n % 500, "model_generation": n // 100,
            "model_sha256": "ab" * 32, "trained_label_offset": n, "staleness_ms": n % 900, "experiment": "default",
            "spec_hash": "cd" * 8, "dropped_before": 0, "assigned": "experiment", "control_seq": 0,
            "shadows": [{"arm": "next", "score": 0.5, "scores": []}],
        }  # fmt: skip
    if topic == "labels":
        return {"id": f"e{n}", "value": n % 3 == 0, "time_ms": 1_357_000_000_000 + n}
    if topic == "metrics":
        values = {"accuracy": n / 1000, "log_loss": 1.0 if n % 2 else 0.5}
        return {"kind": "served", "arm": "tree", "window": n, "rows": 10 * n, "event_time_ms": n, "values": values,
                "spec_hash": ""}  # fmt: skip
    if topic == "experiment":
        return {"experiment": "default", "salt": "1", "seq": n + 1, "action": "ramp", "arm": "tree", "who": "me",
                "before": {"tree": 1.0}, "weights": {"tree": 0.5, "flat": 0.5}, "when_ms": 1_790_000_000_000 + n,
                "why": "a test"}  # fmt: skip
    return {"topic": "events", "partition": 0, "offset": n, "timestamp_ms": 1, "key": None, "value": b"?", "step":
            "clean", "code": "value.missing", "detail": "x: nothing", "spec_hash": ""}  # fmt: skip


def value_of(topic: str, n: int) -> bytes:
    """A good record's bytes."""
    if topic == "logs":
        return json.dumps({"@timestamp": "2026-11-28T12:00:00.000Z", "message": f"line {n}", "rows": n}).encode()
    return schemas.codec(CODECS[topic]).encode(record(topic, n))


class Pipeline:
    """Topics of one name, a folder, and at most one shipper. A context manager: at the end no process is left."""

    def __init__(self, kafka: str, elastic: Found, client: Elasticsearch, key: Path | None, folder: Path) -> None:
        self.name = f"t{uuid.uuid4().hex[:10]}"
        self.client, self.elastic = client, elastic
        self.folder = folder / self.name
        shutil.copytree(EXAMPLES / "flights", self.folder / "flights")
        text = (EXAMPLES / "flights.yaml").read_text().replace("name: flights", f"name: {self.name}", 1)
        (self.folder / "spec.yaml").write_text(text)
        self.spec = load_spec(self.folder / "spec.yaml")
        self.settings = Settings(
            kafka=kafka, elasticsearch=elastic.url, elasticsearch_key=key, data=self.folder / "data"
        )
        create_topics(self.settings, self.spec)
        put(client)
        self.process: Popen[bytes] | None = None
        self.published = self._launched_at = 0

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    # -- Kafka -----------------------------------------------------------------------------------------

    def publish(self, predictions: int, others: int = 0) -> None:
        """Good records: so many predictions, and so many of every other topic."""
        counts = {"predictions": predictions, **dict.fromkeys((t for t in DATASETS if t != "predictions"), others)}
        self.send([(t, value_of(t, self.published + i)) for t, count in counts.items() for i in range(count)])
        self.published += max(predictions, others)

    def send(self, records: list[tuple[str, bytes]]) -> None:
        """Any values, partitions in turn."""
        producer = make_producer(self.settings)
        try:
            sent = [producer.send(self.spec.topic(t), value=v, key=str(i).encode()) for i, (t, v) in enumerate(records)]
            producer.flush(60)
            for future in sent:
                future.get(60)
        finally:
            producer.close(5)

    def poison(self) -> None:
        """Records that make no document, or one that no mapping takes."""
        bad_time = b'{"@timestamp": "tomorrow", "message": "?"}'
        self.send([("labels", b"poison"), ("logs", b"no JSON"), ("logs", bad_time), ("predictions", b"\x00")])

    def partitions(self) -> dict[TopicPartition, int]:
        """Of the shipped topics, with where each ends."""
        counts = {t: self.spec.topics.predictions if t == "predictions" else 1 for t in DATASETS}
        return end_offsets(
            self.settings, [TopicPartition(self.spec.topic(t), p) for t, n in counts.items() for p in range(n)]
        )

    def dead(self) -> list[dict[str, Any]]:
        """What the shipper buried."""
        found = [schemas.codec("dead").decode(r.value) for r in read_topic(self.spec, self.settings, "dead")]
        return [d for d in found if d["step"] == "ship"]

    def forget(self) -> None:
        """Set the shipper's offsets back to the beginning."""
        consumer = make_consumer(self.settings, f"{self.name}.ship")
        try:
            consumer.commit({tp: OffsetAndMetadata(0, "{}", -1) for tp in self.partitions()})
        finally:
            consumer.close(autocommit=False, timeout_ms=2000)

    # -- the shipper -----------------------------------------------------------------------------------

    def start(self, *words: str, **env: str) -> "Pipeline":
        """Run a shipper, with further words on its command line."""
        settings = self.settings
        given = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")},
            "HEADWATER_KAFKA": settings.kafka,
            "HEADWATER_ELASTICSEARCH": settings.elasticsearch,
            "HEADWATER_DATA": str(settings.data),
            "HEADWATER_SHIP_SPOOL_BYTES_MAX": str(settings.ship_spool_bytes_max),
            **({"HEADWATER_ELASTICSEARCH_KEY": str(settings.elasticsearch_key)} if settings.elasticsearch_key else {}),
            **env,
        }
        clean = ["/usr/bin/env", "-i", *(f"{k}={v}" for k, v in given.items())]
        command = [*clean, sys.executable, "-m", "consumers.cli", "ship", str(self.folder / "spec.yaml"), *words]
        log = self.folder / "log"
        self._launched_at = log.stat().st_size if log.exists() else 0
        self.process, _ = spawn(command, log)
        return self

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
        self.process = None

    def stop(self) -> None:
        """SIGTERM; it must leave in good order."""
        assert self.process is not None
        wait_for(lambda: '"message":"started"' in self.said(), self.said)  # before, nobody listens to signals
        self.process.send_signal(signal.SIGTERM)
        assert self.process.wait(90) == 0, self.said()
        self.process = None

    def said(self) -> str:
        """What the newest process has said; the end of it."""
        return (self.folder / "log").read_bytes()[self._launched_at :].decode(errors="replace")[-20_000:]

    @property
    def spool(self) -> int:
        """Bytes in its spool."""
        found = 0
        for path in (self.settings.data / self.name / "spool").glob("*"):
            try:
                found += path.stat().st_size
            except OSError:  # just delivered
                continue
        return found

    @property
    def spool_files(self) -> int:
        """Batches in its spool."""
        return sum(1 for _ in (self.settings.data / self.name / "spool").glob("*.avro"))

    def drain(self) -> "Pipeline":
        """Wait until all is read and delivered. It must not have ended."""

        def done() -> bool:
            assert self.process is not None
            assert self.process.poll() is None, self.said()
            marks = group_offsets(self.settings, f"{self.name}.ship")
            ends = self.partitions()
            return not self.spool and all(
                end == 0 or (tp in marks and marks[tp].offset >= end) for tp, end in ends.items()
            )

        wait_for(done, lambda: f"{self.name} to drain; its log ends:\n{self.said()}")
        return self

    # -- both sides ------------------------------------------------------------------------------------

    def ids(self, topic: str) -> list[str]:
        """Of all documents of a topic, those of older backing indices too."""
        found: list[str] = wait_for(lambda: self._ids(topic), lambda: f"{topic}: no answer but 503", 60)[1:]
        return found

    def _ids(self, topic: str) -> list[str]:
        """A first entry that says nothing, then the ids; [] while the stream is being made, which answers 503."""
        stream = DATASETS[topic].stream(self.name)
        try:
            self.client.indices.refresh(index=stream, ignore_unavailable=True)
            hits: Iterator[Any] = scan(
                self.client,
                index=stream,
                query={"query": {"match_all": {}}, "_source": False},
                size=5000,
                ignore_unavailable=True,
            )
            return ["", *(hit["_id"] for hit in hits)]
        except ApiError as error:
            if error.status_code != 503:
                raise
            return []

    def count(self, topic: str) -> int:
        """Documents of a topic."""
        return int(wait_for(lambda: self._count(topic), lambda: f"{topic}: no answer but 503", 60)[0])

    def _count(self, topic: str) -> tuple[int, ...]:
        stream = DATASETS[topic].stream(self.name)
        try:
            self.client.indices.refresh(index=stream, ignore_unavailable=True)
            return (int(self.client.count(index=stream, ignore_unavailable=True)["count"]),)
        except ApiError as error:
            if error.status_code != 503:
                raise
            return ()

    def sums(self) -> dict[str, tuple[int, int, int]]:
        """Topic → records on Kafka, documents in Elasticsearch, records that were refused (again at each replay)."""
        places = {(str(d["topic"]), d["partition"], d["offset"]) for d in self.dead()}
        refused = Counter(topic.partition(".")[2] for topic, _, _ in places)
        records = {t: sum(1 for _ in read_topic(self.spec, self.settings, t)) for t in DATASETS}
        return {t: (records[t], self.count(t), refused[t]) for t in DATASETS}

    def lacks(self) -> list[str]:
        """How Elasticsearch differs from Kafka, by topic; empty when all is well."""
        buried = {f"{d['topic']}-{d['partition']}-{d['offset']}" for d in self.dead()}
        found: list[str] = []
        for topic in DATASETS:
            there = Counter(self.ids(topic))
            wanted = {
                f"{r.topic}-{r.partition}-{r.offset}" for r in read_topic(self.spec, self.settings, topic)
            } - buried  # fmt: skip
            twice = [i for i, n in there.items() if n > 1]
            lost, extra = wanted - set(there), set(there) - wanted
            if twice or lost or extra:
                found.append(
                    f"{topic}: {len(wanted)} wanted, {there.total()} there: {len(lost)} lost {sorted(lost)[:3]}, "
                    f"{len(extra)} too many {sorted(extra)[:3]}, {len(twice)} twice {sorted(twice)[:3]}"
                )
        return found

    def roll_over(self) -> None:
        """A new backing index for the predictions, as the lifecycle does by age or size."""
        self.client.indices.rollover(alias=DATASETS["predictions"].stream(self.name))
