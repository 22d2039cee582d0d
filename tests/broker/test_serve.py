"""The prediction server beside a real Kafka: it follows, swaps under load, takes labels, logs, leaves."""

import gc
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import schemas
from consumers._kafka import TopicPartition, create_topics, make_consumer, make_producer, partitions_of
from consumers.client import Answer, CallFailed, Event, PredictionClient, _request
from consumers.predict import PredictServer
from consumers.settings import Settings
from infra.kafka import LocalBroker, free_port
from schemas import headwater_pb2 as pb
from stream.block import Training
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.errors import TopicMissing
from stream.learn.arms import Arms, digest
from stream.registry import snapshot as snapshots
from stream.spec import Spec
from stream.spec_load import load_spec

pytestmark = pytest.mark.broker
TOPICS = ("models", "labels", "predictions")
SCHEMA = """{"type": "record", "name": "Visit", "fields": [
  {"name": "id", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
  {"name": "amount", "type": "double"},
  {"name": "country", "type": ["null", "string"], "default": null}]}"""
SPEC = """
name: %s
task: binary
event: {schema: visit.avsc, id: id, time: at, fields: {amount: {type: numeric}, country: {type: category}}}
arms:
  calm: {model: linear.logistic}
  bold: {model: linear.logistic, params: {lr: 0.5}}
"""
GOOD = {"amount": 3.5, "country": "GB"}


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Learner:
    """Stands for the learner: learns synthetic rows, writes snapshots, announces them on `models`."""

    def __init__(self, spec: Spec, settings: Settings, folder: Path) -> None:
        self.spec, self.folder, self.arms = spec, folder, Arms(spec)
        self.producer = make_producer(settings)
        self.rng = np.random.default_rng(1)
        self.generation = 0
        self.announced_ms: dict[int, int] = {}

    def learn(self, rows: int = 200) -> dict[str, Any]:
        """Learn, write, announce; returns the record."""
        events = [
            {"id": f"e{i}", "at": 1, "amount": float(self.rng.normal()), "country": ["GB", "DE"][i % 2]}
            for i in range(rows)
        ]
        columns = Cleaner(self.spec).clean(events, [Position(0, i, now_ms()) for i in range(rows)]).columns
        label = np.array([float(e["amount"] > 0) for e in events])
        offsets = np.arange(rows)
        self.arms.learn(Training(Encoder(self.spec).encode(columns), label, offsets, offsets, offsets))
        self.generation += 1
        states = self.arms.states()
        through = {
            "label_offset": self.arms.rows - 1,
            "label_time_ms": now_ms(),
            "label_published_ms": now_ms(),
        }
        meta = {
            "generation": self.generation,
            "spec_hash": self.spec.hash,
            "pipeline": self.spec.name,
            "training_offset": self.generation,
            "rows": self.arms.rows,
            "state_hash": digest(states),
            "through": through,
            "as_of_ms": now_ms(),
        }
        written = snapshots.write(self.folder, states, meta, 3)
        named = ("pipeline", "generation", "state_hash", "spec_hash", "training_offset", "rows", "as_of_ms")
        record = {k: meta[k] for k in named} | through
        record |= {"uri": written.path.resolve().as_uri(), "sha256": written.sha256, "arms": [], "values": {}}
        return record

    def announce(self, record: dict[str, Any], **changed: Any) -> None:
        value = schemas.codec("model").encode(record | changed)
        topic = self.spec.topic("models")
        self.producer.send(topic, value=value, key=self.spec.name.encode(), partition=0).get(timeout=10)
        self.announced_ms[record["generation"]] = now_ms()

    def close(self) -> None:
        self.producer.close(timeout=2)


class World:
    """A pipeline with its topics, a learner, a server, a client."""

    def __init__(self, address: str, name: str, folder: Path) -> None:
        (folder / "visit.avsc").write_text(SCHEMA)
        (folder / "spec.yaml").write_text(SPEC % name)
        self.spec = load_spec(folder / "spec.yaml")
        self.settings = Settings(kafka=address, grpc="127.0.0.1:0", data=folder)
        create_topics(self.settings, self.spec, TOPICS)
        self.learner = Learner(self.spec, self.settings, folder / "snapshots")
        self.server = PredictServer(self.spec, self.settings)
        self.client = PredictionClient(f"127.0.0.1:{self.server.start()}", timeout_s=10)

    def until_generation(self, generation: int, timeout_s: float = 10.0) -> float:
        """Wait until it answers; returns milliseconds since it was announced."""
        end = time.monotonic() + timeout_s
        while (served := self.server.plane.served) is None or served.generation != generation:
            assert self.server.error is None
            assert time.monotonic() < end, f"generation {generation} never came; {served} answers"
            time.sleep(0.002)
        return now_ms() - self.learner.announced_ms[generation]

    def read(self, topic: str, kind: str, count: int, timeout_s: float = 10.0) -> list[tuple[Any, dict[str, Any]]]:
        """At least `count` records of a topic, with their keys."""
        consumer = make_consumer(self.settings, None)
        try:
            partitions: list[TopicPartition] = partitions_of(consumer, [self.spec.topic(topic)], self.settings)
            consumer.assign(partitions)
            for tp in partitions:
                consumer.seek(tp, 0)
            found: list[tuple[Any, dict[str, Any]]] = []
            end = time.monotonic() + timeout_s
            while len(found) < count and time.monotonic() < end:
                for records in consumer.poll(timeout_ms=200).values():
                    found += [(r, schemas.codec(kind).decode(r.value)) for r in records]
            return found
        finally:
            consumer.close(autocommit=False, timeout_ms=1000)

    def close(self) -> None:
        self.client.close()
        self.learner.close()
        self.server.close()


@contextmanager
def world_at(address: str, name: str, folder: Path) -> Iterator[World]:
    made = World(address, name, folder)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def world(kafka_address: str, prefix: str, tmp_path: Path) -> Iterator[World]:
    with world_at(kafka_address, f"{prefix}serve", tmp_path) as made:
        yield made


def test_the_server_follows_the_models_topic_and_swaps_under_load_with_no_failed_call(world: World) -> None:
    world.learner.announce(world.learner.learn())
    world.until_generation(1)
    stop, failed = threading.Event(), []
    by_caller: list[list[Any]] = [[], [], []]

    def call(answers: list[Any]) -> None:
        while not stop.is_set():
            try:
                answers.append(world.client.predict(GOOD, arm="bold"))
            except CallFailed as e:
                failed.append(e)

    threads = [threading.Thread(target=call, args=(answers,)) for answers in by_caller]
    for t in threads:
        t.start()
    delays_ms = []
    for generation in range(2, 22):
        world.learner.announce(world.learner.learn(50))
        delays_ms.append(world.until_generation(generation))
    stop.set()
    for t in threads:
        t.join()
    assert not failed
    answers = [a for caller in by_caller for a in caller]
    assert len(answers) > 100
    scores: dict[int, set[float]] = {}
    for a in answers:
        scores.setdefault(a.model.generation, set()).add(a.score)
    assert len(scores) > 5
    assert all(len(s) == 1 for s in scores.values())  # one model, one score
    for caller in by_caller:  # a caller never gets an older model than before
        generations = [a.model.generation for a in caller]
        assert generations == sorted(generations)
    assert world.client.predict(GOOD, arm="bold").model.generation == 21 >= max(scores)
    print("announced → answers, ms:", sorted(delays_ms))
    assert np.median(delays_ms) < 500


def test_only_the_newest_announcement_counts_and_a_heartbeat_only_freshens(world: World) -> None:
    first, second = world.learner.learn(), world.learner.learn()
    world.learner.announce(first)
    world.learner.announce(second)
    world.until_generation(2)
    served = world.server.plane.served
    assert served is not None
    world.learner.announce(second, as_of_ms=second["as_of_ms"] + 12_345)
    end = time.monotonic() + 5
    while world.client.describe().model.as_of_ms != second["as_of_ms"] + 12_345:  # type: ignore[union-attr]
        assert time.monotonic() < end
    now = world.server.plane.served
    assert now is not None
    assert now.arms is served.arms


def test_what_can_not_be_a_model_is_passed_over_and_the_old_one_answers_on(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world.learner.announce(world.learner.learn())
    world.until_generation(1)
    producer, topic = world.learner.producer, world.spec.topic("models")
    producer.send(topic, value=b"garbage", key=b"x", partition=0).get(timeout=10)
    producer.send(topic, value=None, key=b"x", partition=0).get(timeout=10)
    second = world.learner.learn()
    world.learner.announce(second, spec_hash="0" * 16)
    world.learner.announce(second, pipeline="another")
    world.learner.announce(second, sha256="0" * 64)
    world.learner.announce(second, uri="s3://bucket/x")
    damaged = Path(second["uri"].removeprefix("file://"))
    body = (damaged / "bold.npz").read_bytes()
    (damaged / "bold.npz").write_bytes(body[:-1] + bytes([body[-1] ^ 1]))
    world.learner.announce(second)
    time.sleep(1.5)
    assert world.server.error is None
    answer = world.client.predict(GOOD)
    assert answer.model.generation == 1
    said = "".join(capsys.readouterr())
    assert said.count("the file is damaged") == 1  # once, though it is tried again and again
    (damaged / "bold.npz").write_bytes(body)  # it was only not readable yet
    world.until_generation(2)


def test_a_snapshot_gone_since_a_newer_one_came_is_no_complaint(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    first = world.learner.learn()
    shutil.rmtree(first["uri"].removeprefix("file://"))
    second = world.learner.learn()
    world.learner.announce(first)
    world.learner.announce(second)
    world.until_generation(2)
    assert "not loaded" not in "".join(capsys.readouterr())


def test_feedback_arrives_on_the_labels_topic(world: World) -> None:
    world.learner.announce(world.learner.learn())
    world.until_generation(1)
    answer = world.client.predict(GOOD)
    first = world.client.feedback(True, prediction_id=answer.prediction_id)
    second = world.client.feedback(0, event_id="e2", time_ms=5)
    assert (first, second) == (0, 1)
    found = world.read("labels", "label", 2)
    assert [(r.key.decode(), label["id"], label["value"]) for r, label in found] == [
        (answer.event_id, answer.event_id, True),
        ("e2", "e2", 0),
    ]
    assert found[1][1]["time_ms"] == 5


def test_exposures_arrive_on_the_predictions_topic_keyed_by_event(world: World) -> None:
    world.learner.announce(world.learner.learn())
    world.until_generation(1)
    answers = [world.client.predict(GOOD, event_id=f"e{i}") for i in range(50)]
    answers += [a for a in world.client.predict_batch([GOOD] * 50) if isinstance(a, Answer)]
    found = world.read("predictions", "prediction", 100)
    assert {r.key.decode(): p["prediction_id"] for r, p in found} == {a.event_id: a.prediction_id for a in answers}
    assert all(p["dropped_before"] == 0 for _, p in found)
    assert {r.partition for r, _ in found} == {0, 1}


def test_the_process_that_sends_exposures_may_be_killed_and_the_next_goes_on(world: World) -> None:
    world.learner.announce(world.learner.learn())
    world.until_generation(1)
    answers, pids = [], set()
    for round_ in range(3):
        answers += [world.client.predict(GOOD, event_id=f"e{round_}-{i}") for i in range(40)]
        end = time.monotonic() + 30
        while world.client.describe().exposures.waiting:
            assert time.monotonic() < end
            time.sleep(0.05)
        child = world.server._outside._child
        assert child is not None
        pids.add(child.pid)
        if round_ < 2:
            child.kill()
            child.wait()  # it had nothing in hand, so nothing may be lost
    counts = world.client.describe().exposures
    assert len(pids) == 3
    assert (counts.sent, counts.dropped) == (len(answers), 0)
    found = world.read("predictions", "prediction", len(answers))
    assert sorted(p["prediction_id"] for _, p in found) == sorted(a.prediction_id for a in answers)
    assert world.server.error is None


def test_a_server_without_its_topics_says_which(kafka_address: str, prefix: str, tmp_path: Path) -> None:
    (tmp_path / "visit.avsc").write_text(SCHEMA)
    (tmp_path / "spec.yaml").write_text(SPEC % f"{prefix}none")
    settings = Settings(kafka=kafka_address, grpc="127.0.0.1:0", data=tmp_path)
    server = PredictServer(load_spec(tmp_path / "spec.yaml"), settings)
    try:
        with pytest.raises(TopicMissing, match=f"{prefix}none.models"):
            server.start()
    finally:
        server.close()


SERVE = """
import sys
from consumers.predict import serve
from consumers.run import until_signalled
from consumers.settings import Settings
from stream.spec_load import load_spec
serve(load_spec(sys.argv[1]), Settings(), until_signalled())
"""


def test_sigterm_lets_calls_end_and_exposures_leave(kafka_address: str, prefix: str, tmp_path: Path) -> None:
    with world_at(kafka_address, f"{prefix}drain", tmp_path) as world:
        world.learner.announce(world.learner.learn())
        address = f"127.0.0.1:{free_port()}"
        env = {**os.environ, "HEADWATER_KAFKA": kafka_address, "HEADWATER_GRPC": address}
        command = [sys.executable, "-c", SERVE, str(tmp_path / "spec.yaml")]
        with (
            subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process,
            PredictionClient(address, timeout_s=30) as client,
        ):
            try:
                ids, failed = [client.predict(GOOD).event_id], []
                end = time.monotonic() + 1
                while time.monotonic() < end:
                    ids.append(client.predict(GOOD).event_id)
                process.send_signal(signal.SIGTERM)
                while not failed:
                    try:
                        ids.append(client.predict(GOOD, timeout_s=0.3).event_id)
                    except CallFailed as e:
                        failed.append(e.status)
                assert process.wait(20) == 0
            finally:
                process.kill()
            said = process.stderr.read() if process.stderr else ""
        assert failed[0] in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        last = json.loads(said.splitlines()[-1])
        assert (last["message"], last["drained"], last["exposures_dropped"]) == ("left", True, 0), said
        found = world.read("predictions", "prediction", len(ids))
        assert {p["id"] for _, p in found} == set(ids)


def pids_of(folder: Path) -> list[int]:
    """The workers that serve the spec of this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue  # it ended meanwhile
        if b"--shared-port" in words and str(folder / "spec.yaml").encode() in words and b"consumers.cli" in words[:4]:
            found.append(int(entry.name))
    return found


def resident(pids: list[int]) -> int:
    """Bytes of memory that these processes hold."""
    return sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in pids) * os.sysconf("SC_PAGE_SIZE")


def codes_of(calls: list[Any]) -> Counter[str]:
    """How calls ended."""
    return Counter((call.code() or grpc.StatusCode.UNKNOWN).name for call in calls)


def test_workers_take_floods_oversized_messages_and_kills_and_answer_on(
    kafka_address: str, prefix: str, tmp_path: Path
) -> None:
    """Matrix rows 6, 28 and 29, on real processes."""
    with world_at(kafka_address, f"{prefix}workers", tmp_path) as world:
        world.learner.announce(world.learner.learn())
        address = f"127.0.0.1:{free_port()}"
        env = {**os.environ, "HEADWATER_KAFKA": kafka_address, "HEADWATER_GRPC": address}
        command = [sys.executable, "-m", "consumers.cli", "serve", str(tmp_path / "spec.yaml"), "--workers", "2"]
        with (
            subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, cwd=Path(__file__).parents[2]) as process,
            PredictionClient(address, timeout_s=60) as client,
        ):
            try:
                arms = {f"u{n}": client.predict(GOOD, unit=f"u{n}").arm for n in range(40)}
                assert set(arms.values()) == {"calm", "bold"}
                oversized(client)
                flooded(client, tmp_path)
                killed(client, tmp_path, arms)
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0
            finally:
                process.kill()
        assert not pids_of(tmp_path)


def oversized(client: PredictionClient) -> None:
    """Row 29: a message too large has a clear status; the next call works."""
    with pytest.raises(CallFailed, match=r"larger than max \(\d+ vs\. 8388608\)") as e:
        client.predict({**GOOD, "country": "x" * (9 << 20)})
    assert e.value.status == "RESOURCE_EXHAUSTED"
    assert client.predict(GOOD).score > 0


def flooded(client: PredictionClient, folder: Path) -> None:
    """Row 28: ten times what a server holds; every call has one of three ends, health answers, memory stays."""
    batch = pb.PredictBatchRequest(requests=[_request(Event(GOOD))] * 100)
    before = resident(pids_of(folder))
    calls = [client._stub.PredictBatch.future(batch, timeout=60 if n % 2 else 0.3) for n in range(640)]
    health = health_pb2_grpc.HealthStub(client._channel)
    while not all(call.done() for call in calls):
        answer = health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    codes = codes_of(calls)
    assert set(codes) <= {"OK", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}
    assert codes["OK"] >= 32
    assert codes["RESOURCE_EXHAUSTED"] > 0
    assert codes.total() == 640
    assert resident(pids_of(folder)) - before < 150 << 20
    assert client.predict(GOOD).score > 0


def killed(client: PredictionClient, folder: Path, arms: dict[str, str]) -> None:
    """Row 6: after kill -9 of all workers a call is UNAVAILABLE, and asked again it gets the same arm."""
    before = pids_of(folder)
    assert len(before) == 2
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(grpc.RpcError) as e:
        client._stub.Predict(_request(Event(GOOD, unit="u0")), timeout=30)
    assert e.value.code() is grpc.StatusCode.UNAVAILABLE
    assert {unit: client.predict(GOOD, unit=unit).arm for unit in arms} == arms
    assert not set(before) & set(pids_of(folder))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_broker_outage_leaves_answers_and_then_all_goes_on(
    fresh_broker: LocalBroker, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = threading.active_count()
    caplog.set_level(logging.CRITICAL + 1, logger="kafka")  # kept records would hold its connections
    with world_at(fresh_broker.address, f"{prefix}outage", tmp_path) as world:
        world.learner.announce(world.learner.learn())
        world.until_generation(1)
        world.client.feedback(True, event_id="before")
        fresh_broker.kill()
        begun = time.monotonic()
        while time.monotonic() < begun + 3:
            assert world.client.predict(GOOD, timeout_s=1).score > 0
        with pytest.raises(CallFailed) as e:
            world.client.feedback(True, event_id="during", timeout_s=1)
        assert e.value.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
        fresh_broker.restart()
        world.learner.close()
        world.learner.producer = make_producer(world.settings)
        world.learner.announce(world.learner.learn())
        world.until_generation(2, timeout_s=30)
        assert world.client.feedback(True, event_id="after", timeout_s=30) >= 1
        counts = world.client.describe().exposures
        assert counts.sent + counts.dropped + counts.waiting >= 100
        assert world.server.error is None
    del world, e
    end = time.monotonic() + 20
    while threading.active_count() > before and time.monotonic() < end:
        time.sleep(0.1)
    gc.collect()  # kafka-python leaves the sockets of refused connects to the collector
