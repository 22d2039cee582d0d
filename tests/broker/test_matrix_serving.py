"""Rows 26, 29 and 30 of the fault matrix: a full disk, a message that is too large, a malicious pickle; real processes.

A disk is full here by the kernel's limit on the size of a file (RLIMIT_FSIZE), set around the writing of snapshot files
alone while a flag file is there: any user may do so, and the write fails in its middle, as on a full disk.
"""

import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from _harness import FUSED, Message, Plan, Run, event_value, finish, make_plan, quiet_run, wait_for

import schemas
from consumers._kafka import MESSAGE_BYTES_MAX, make_producer
from consumers.client import CallFailed, PredictionClient
from consumers.status import status
from infra._proxy import spawn
from infra.kafka import free_port
from stream.arrive.schema import load_schema
from stream.errors import SnapshotError, StorageError
from stream.limits import EVENT_BYTES_MAX
from stream.registry import snapshot as snapshots

pytestmark = [pytest.mark.broker, pytest.mark.slow]
GIVEN = {"price": 1.0, "weight": 1.0, "shop": "shop1", "member": True}
WAIT_S = 120.0
FULL = """
import resource
from pathlib import Path
from stream.registry import snapshot

whole = snapshot._write_file

def refused(path, body, step):
    if not Path({flag!r}).exists():
        return whole(path, body, step)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, usual[1]))
    try:
        whole(path, body, step)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)

snapshot._write_file = refused
"""


class Served:
    """`headwater serve` as a process of its own."""

    def __init__(self, run: Run) -> None:
        self._grpc, self._http = free_port(), free_port()
        self.log = run.folder / "serve.log"
        env = {
            **run.env, "HEADWATER_GRPC": f"127.0.0.1:{self._grpc}", "HEADWATER_METRICS": f"127.0.0.1:{self._http}",
        }  # fmt: skip
        what = ["serve", str(run.spec_path), "--kafka", run.address]
        line = ["/usr/bin/env", *(f"{k}={v}" for k, v in env.items()), sys.executable, "-m", "consumers.cli", *what]
        self.process, self._keeper = spawn(line, self.log)

    def generation(self) -> int | None:
        """Of the model that answers a call now; None where there is no answer."""
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            with PredictionClient(f"127.0.0.1:{self._grpc}", timeout_s=10) as client:
                return int(client.predict({"id": "ask", "at": 1, **GIVEN}, unit="u").model.generation)
        except CallFailed:
            return None

    def metric(self, name: str) -> float:
        """A gauge's value."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))

    def end(self) -> None:
        """SIGTERM, and gone."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        self._keeper.join(60)


@contextmanager
def serving(run: Run) -> Iterator[Served]:
    """A server that answers, until the end."""
    server = Served(run)
    try:
        wait_for(lambda: server.generation() is not None, WAIT_S, "the server to answer")
        yield server
    finally:
        server.end()


def _bytes_of(folder: Path) -> dict[str, str]:
    """sha256 of each file of a snapshot."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def test_row_26_disk_full_for_snapshots(kafka_address: str, prefix: str, tmp_path: Path) -> None:
    """The learner says it and ends; the old snapshot is whole and answers; once there is room all goes on, to M."""
    flag = tmp_path / "the disk is full"
    with Run(kafka_address, make_plan(), FUSED, patch=FULL.format(flag=str(flag)), name=f"{prefix}row26") as run:
        run.start().feed(until=3)
        folder, learner = run.settings.data / run.name / "snapshots", run.workers[0]
        wait_for(lambda: snapshots.list_snapshots(folder), WAIT_S, "a first snapshot")
        with serving(run) as server:
            flag.touch()
            run.wave()
            wait_for(lambda: learner.exited() is not None, WAIT_S, "the learner to end")
            newest = snapshots.list_snapshots(folder)[0]
            assert learner.exited() == StorageError.exit_code
            assert f"{newest.parent}" in learner.said()
            assert "can't be written: File too large; the one before is intact" in learner.said()
            assert "Traceback" not in learner.said().rpartition("can't be written")[2]
            before = _bytes_of(newest)
            learner.start()  # whoever starts it again without making room changes nothing
            wait_for(lambda: learner.exited() is not None, WAIT_S, "the learner to end once more")
            assert learner.exited() == StorageError.exit_code
            assert snapshots.list_snapshots(folder)[0] == newest
            assert _bytes_of(newest) == before
            assert not list(folder.glob(".writing-*"))
            found = snapshots.load_newest(folder, run.loaded.hash)
            assert found is not None
            assert found.passed_over == []
            served = found.meta["generation"]
            wait_for(lambda: server.generation() == served, WAIT_S, "the old snapshot to answer")
            stale_s = server.metric("headwater_staleness_seconds")
            age_ms = status(run.loaded, run.settings).model_age_ms or 0
            wait_for(lambda: server.metric("headwater_staleness_seconds") > stale_s, WAIT_S, "staleness to grow")
            told = status(run.loaded, run.settings)
            assert told.model is not None
            assert told.model["generation"] == served
            assert (told.model_age_ms or 0) > age_ms
            flag.unlink()
            learner.start()
            finish(run, quiet_run(kafka_address))
            wait_for(lambda: (server.generation() or 0) > served, WAIT_S, "the new model to answer")


def test_row_29_events_that_are_too_large(kafka_address: str, prefix: str) -> None:
    """Above our bound, and all that Kafka takes: both in dead, with the reason; the next ones are learned from."""
    schema = load_schema(
        {"type": "record", "name": "Click", "namespace": "test", "fields": [{"name": "id", "type": "string"}]}
    )
    plan = make_plan(events=200, waves=2)
    large = [
        Message("events", 0, f"large{size}", event_value(schema, {"id": "x" * size}), "value.too_large")
        for size in (EVENT_BYTES_MAX, MESSAGE_BYTES_MAX - 150)
    ]
    waves = plan.waves[0], tuple(large), plan.waves[1]
    with Run(kafka_address, Plan(waves), FUSED, name=f"{prefix}row29") as run:
        finish(run.start())
        assert run.workers[0].launches == 1


class Bomb:
    """Unpickled, it makes a file: what any code could do."""

    def __init__(self, canary: Path) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return open, (str(self._canary), "w")


KEY, PART = "a secret of this test", "model.pickle"
RIVER: dict[str, Any] = {
    "arms": {
        "logistic": {"model": "linear.logistic"},
        "river": {"model": "river:linear_model.LogisticRegression", "params": {"trust_pickle": True}},
    }
}


def _announce(run: Run, found: snapshots.Snapshot) -> None:
    """Tell the models topic of a snapshot, as a learner does, and as whoever can write there could."""
    meta = found.meta
    names = ("pipeline", "generation", "state_hash", "spec_hash", "training_offset", "rows", "as_of_ms", "values")
    record = {k: meta[k] for k in names} | meta["through"]
    record |= {"uri": found.path.resolve().as_uri(), "sha256": found.sha256, "arms": list(run.loaded.arms)}
    producer = make_producer(run.settings)
    try:
        body = schemas.codec("model").encode(record)
        producer.send(run.loaded.topic("models"), value=body, key=run.name.encode(), partition=0).get(30)
    finally:
        producer.close(5)


def _sealed(folder: Path, part: str, body: bytes) -> None:
    """Put other bytes into a snapshot, and every checksum right."""
    manifest = json.loads((folder / snapshots.MANIFEST).read_text())
    (folder / part).write_bytes(body)
    manifest["files"][part] = hashlib.sha256(body).hexdigest()
    del manifest["sha256"]
    whole = {**manifest, "sha256": snapshots._sha256(manifest)}
    (folder / snapshots.MANIFEST).write_text(json.dumps(whole, sort_keys=True))


def test_row_30_malicious_pickles(
    kafka_address: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every checksum of the snapshot is right and it is announced; the server keeps the old model, the learner ends."""
    monkeypatch.setenv("HEADWATER_PICKLE_KEY", KEY)
    canary, proof = tmp_path / "canary", tmp_path / "proof"
    opens = [sys.executable, "-c", "import pickle, sys; pickle.load(sys.stdin.buffer)"]
    subprocess.run(opens, input=pickle.dumps(Bomb(proof)), check=True, timeout=60)
    assert proof.exists(), "the check of the check: such a pickle does its work where it is opened"
    payload = pickle.dumps(Bomb(canary))
    env = {"HEADWATER_PICKLE_KEY": KEY}
    with Run(kafka_address, make_plan(events=300, waves=3), FUSED, env=env, spec=RIVER, name=f"{prefix}row30") as run:
        run.start().feed().drain().stop()
        folder, learner = run.settings.data / run.name / "snapshots", run.workers[0]
        good = snapshots.load_newest(folder, run.loaded.hash)
        assert good is not None
        with serving(run) as server:
            assert server.generation() == good.meta["generation"]
            forged = dict(good.states)
            assert forged["river"].arrays[PART].tobytes().startswith(b"\x80"), "a pickle lies there"
            forged["river"].arrays[PART] = np.frombuffer(payload, np.uint8).copy()
            meta = {**good.meta, "generation": good.meta["generation"] + 1}
            for unwanted in ("version", "files"):
                meta.pop(unwanted, None)
            written = snapshots.write(folder, forged, meta, 3)
            _announce(run, written)
            unsigned = "the pickle of this river arm isn't signed with HEADWATER_PICKLE_KEY; not loaded"
            wait_for(lambda: unsigned in server.log.read_text(), WAIT_S, "the server to refuse the forged snapshot")
            assert server.generation() == good.meta["generation"]
        learner.start()
        wait_for(lambda: learner.exited() is not None, WAIT_S, "the learner to end")
        assert learner.exited() == SnapshotError.exit_code
        assert unsigned in learner.said()
        objects = io.BytesIO()
        np.savez(objects, allow_pickle=True, **{PART: np.array([Bomb(canary)], object)})
        for old in snapshots.list_snapshots(folder):
            _sealed(old, "river.npz", objects.getvalue() if old == written.path else payload)
        learner.start()
        wait_for(lambda: learner.exited() is not None, WAIT_S, "the learner to end again")
        assert learner.exited() == SnapshotError.exit_code
        assert "no snapshot is whole" in learner.said()
        assert "allow_pickle=False" in learner.said()
    assert not canary.exists()
