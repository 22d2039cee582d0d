"""What may serve: a pinned snapshot on every server until it is released, the last good one where the gate refuses the
newest, and none at all where none is whole (row 25 of the fault matrix)."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from _harness import FUSED, START_S, Run, finish, make_plan, quiet_run, wait_for

import schemas
from consumers._kafka import make_producer
from consumers._read import read_topic
from consumers.cli.app import main
from consumers.client import CallFailed, PredictionClient
from consumers.predict import PredictServer
from consumers.status import status
from stream.registry import snapshot as snapshots

pytestmark = [pytest.mark.broker, pytest.mark.slow]
GIVEN = {"price": 1.0, "weight": 1.0, "shop": "shop1", "member": True}
KEEPING = {"snapshot": {"every": "50ms", "keep": 2, "history": 3, "history_every": "50ms"}}


@contextmanager
def serving(run: Run) -> Iterator[PredictServer]:
    """A server of the run's models in this process."""
    server = PredictServer(run.loaded, run.settings.model_copy(update={"grpc": "127.0.0.1:0"}))
    server.start()
    try:
        yield server
    finally:
        server.close()


def generation(server: PredictServer) -> int:
    """Of the model that answers; -1 for none."""
    served = server.plane.served
    return -1 if served is None else served.generation


def until(server: PredictServer, wanted: int) -> float:
    """Wait until this generation answers; the seconds that it took."""
    begun = time.monotonic()
    wait_for(lambda: generation(server) == wanted, START_S, f"generation {wanted} to answer")
    assert server.error is None
    return time.monotonic() - begun


def rollback(run: Run, capsys: pytest.CaptureFixture[str], *more: str) -> Any:
    """The command, in this process; what it prints as JSON."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["rollback", str(run.spec_path), *more, "--kafka", run.settings.kafka, "--json"])
    assert left.value.code == 0
    printed = capsys.readouterr().out  # servers of this process log to the same place
    return json.JSONDecoder().raw_decode(printed, printed.index("{\n"))[0]


def refused(run: Run, capsys: pytest.CaptureFixture[str], code: int, said: str, *more: str) -> None:
    """The command must end with this exit code and message."""
    with pytest.raises(SystemExit) as left:
        main(["rollback", str(run.spec_path), *more, "--kafka", run.settings.kafka])
    assert left.value.code == code
    assert said in capsys.readouterr().err


def newest(run: Run) -> int:
    """The generation that the learner wrote last."""
    return int(snapshots.list_snapshots(run.settings.data / run.name / "snapshots")[0].name)


def test_every_server_goes_back_stays_there_and_follows_again_once_released(
    kafka_address: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with Run(kafka_address, make_plan(), FUSED, name=f"{prefix}rollback", spec=KEEPING) as run:
        refused(run, capsys, 8, "no snapshot was announced yet")
        run.start().feed(until=3)
        with serving(run) as one, serving(run) as two:
            run.feed(until=5).drain()
            choices = rollback(run, capsys, "--list")["snapshots"]
            back = min(c["generation"] for c in choices)
            assert len(choices) > 2
            assert choices[0]["newest"]
            assert back < newest(run)
            refused(run, capsys, 4, "found 99999; there are", "99999")
            until(one, newest(run))
            begun = time.monotonic()
            done = rollback(run, capsys, str(back), "--why", "wrong labels")
            took = time.monotonic() - begun
            seconds = max(until(one, back), until(two, back))
            line = f"\nboth servers at generation {back} {seconds:.3f} s after the command, which took {took:.3f} s"
            print(line, file=sys.__stderr__)  # a figure for people who run it with -s
            assert done["pinned"] == back
            before = newest(run)
            run.feed(until=7).drain()
            wait_for(lambda: newest(run) > before, START_S, "a newer snapshot")
            time.sleep(1.0)  # long enough to follow it, if they did
            assert (generation(one), generation(two)) == (back, back)
            with serving(run) as third:
                until(third, back)
            found = status(run.loaded, run.settings).model
            assert found is not None
            assert found["pin_generation"] == back
            pinned = [c for c in rollback(run, capsys, "--list")["snapshots"] if c["pinned"]]
            assert [c["generation"] for c in pinned] == [back]  # kept, though many came since
            assert rollback(run, capsys, "--release") == {"pinned": None}
            run.feed().drain().stop()
            until(one, newest(run))
            until(two, newest(run))
            there = snapshots.list_snapshots(run.settings.data / run.name / "snapshots")
            kept = [int(p.name) for p in there[1:] if (p / snapshots.HISTORY).exists()]
            assert rollback(run, capsys)["pinned"] == max(kept)  # where none is named
            until(two, max(kept))
        assert not run.result().violations(run.plan, quiet_run(kafka_address))  # what serves changes nothing learned


def test_where_the_gate_refuses_the_newest_the_last_good_one_serves(
    kafka_address: str, prefix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The learner's verdict is made by hand here: what servers do with it is the question."""
    with Run(kafka_address, make_plan(events=300, waves=3), FUSED, name=f"{prefix}gate", spec=KEEPING) as run:
        run.start().feed(until=2).drain().stop()
        records = [r.value for r in read_topic(run.loaded, run.settings, "models")]
        good = schemas.codec("model").decode(records[-1])
        worse = {**good, "generation": good["generation"] + 1, "refused": "arm logistic: loss 9 over the last 100 rows"}
        worse |= {f"good_{name}": good[name] for name in ("generation", "uri", "sha256")}
        with serving(run) as one:
            until(one, good["generation"])
            producer = make_producer(run.settings)
            for _ in range(3):  # as a learner that says each second that it lives
                body = schemas.codec("model").encode(worse)
                producer.send(run.loaded.topic("models"), value=body, key=run.name.encode(), partition=0).get(30)
            producer.close(5)
            wait_for(lambda: one._follower.refused_count, START_S, "the refusal to be counted")
            assert generation(one) == good["generation"]
            with serving(run) as fresh:  # it never saw the good one announced last
                until(fresh, good["generation"])
            assert one._follower.refused_count == 1
        said = "".join(capsys.readouterr())
        assert said.count("refused by its gate") == 2  # each server once
        assert "loss 9 over the last 100 rows" in said
        found = status(run.loaded, run.settings).model
        assert found is not None
        assert found["refused"].startswith("arm logistic: loss 9")


def _flip(path: Path) -> bytes:
    """Damage a file; what was in it."""
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    return whole


def test_row_25_all_snapshots_are_damaged(kafka_address: str, prefix: str) -> None:
    """The learner ends with exit code 8 and says which and why; a server answers nothing rather than
    from a fresh model; with the files put back all goes on, to M."""
    with Run(kafka_address, make_plan(), FUSED, name=f"{prefix}row25") as run:
        run.start().feed(until=3).drain().stop()
        folder, learner = run.settings.data / run.name / "snapshots", run.workers[0]
        there = snapshots.list_snapshots(folder)
        parts = ["logistic.npz", snapshots.MANIFEST, "tree.npz"]
        bodies = {p / part: _flip(p / part) for p, part in zip(there, parts, strict=False)}
        assert len(bodies) == len(there) == 3
        learner.start()
        wait_for(lambda: learner.exited() is not None, START_S, "the learner to end")
        assert learner.exited() == 8
        assert "no snapshot is whole" in learner.said()
        assert all(p.name in learner.said() for p in there)
        assert snapshots.list_snapshots(folder) == there  # no fresh start was written
        with serving(run) as server, PredictionClient(f"127.0.0.1:{server.port}", timeout_s=10) as client:
            time.sleep(1.5)  # long enough to load one, if one could be loaded
            with pytest.raises(CallFailed, match="no model is loaded yet"):
                client.predict(GIVEN)
            assert server.error is None
            for path, body in bodies.items():
                path.write_bytes(body)
            until(server, newest(run))
        finish(run.start(), quiet_run(kafka_address))
