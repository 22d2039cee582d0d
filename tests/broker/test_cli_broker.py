"""The commands against a real broker, each as a person runs it: in a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from consumers._supervise import BACKOFF_S_MAX

pytestmark = pytest.mark.broker
COMMAND = [sys.executable, "-m", "consumers.cli"]
ROWS = 60
WAIT_S = 180.0  # two cores are shared, and kernels may compile first


class Place:
    """A folder with a drafted pipeline, and the command run in it."""

    def __init__(self, folder: Path, kafka: str, name: str) -> None:
        self.folder, self.name, self.kafka = folder, name, kafka
        self._env = {k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")}
        self._env |= {"HEADWATER_KAFKA": kafka, "HEADWATER_DATA": str(folder / "data")}
        lines = [f"c{i},2024-01-01T00:{i:02d}:00Z,{'de' if i % 3 else 'fr'},{i % 10},{i % 2}" for i in range(ROWS)]
        self.write("rows.csv", "click_id,at,country,price,clicked\n" + "\n".join(lines) + "\n")
        assert self.run("init", "rows.csv", "--out", "my.yaml", "--name", name, "--label", "clicked").returncode == 0

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def start(self, *words: str) -> "subprocess.Popen[str]":
        pipe = subprocess.PIPE
        return subprocess.Popen([*COMMAND, *words], cwd=self.folder, env=self._env, stdout=pipe, stderr=pipe, text=True)

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*COMMAND, *words], cwd=self.folder, env=self._env, capture_output=True, text=True, timeout=300
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def json(self, *words: str) -> Any:
        """What a command that must end well gives as JSON; nothing else may be on stdout."""
        done = self.run(*words, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def tail(self, topic: str, last: int) -> list[dict[str, Any]]:
        done = self.run("tail", "my.yaml", topic, "--last", str(last), "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def send(self, topic: str, *values: bytes, partition: int = 0) -> None:
        producer = KafkaProducer(bootstrap_servers=self.kafka)
        try:
            for value in values:
                producer.send(f"{self.name}.{topic}", value=value, key=b"k", partition=partition).get(20)
        finally:
            producer.close(5)


@pytest.fixture
def bare(tmp_path: Path, kafka_address: str, prefix: str) -> Place:
    """A pipeline without topics."""
    return Place(tmp_path, kafka_address, f"{prefix}cli")


@pytest.fixture
def place(bare: Place) -> Place:
    """A pipeline with topics."""
    made = bare.json("topics", "create", "my.yaml")["topics"]
    assert made[f"{bare.name}.events"] is True
    return bare


@pytest.fixture
def stopping() -> Iterator[Callable[["subprocess.Popen[str]"], "subprocess.Popen[str]"]]:
    """Ends what a test leaves running."""
    kept: list[subprocess.Popen[str]] = []
    yield lambda process: kept.append(process) or process  # type: ignore[func-returns-value]
    for process in kept:
        process.kill()
        process.communicate(timeout=60)


def until(true: Callable[[], Any], what: str) -> Any:
    end_s = time.monotonic() + WAIT_S
    while not (found := true()):
        assert time.monotonic() < end_s, f"not within {WAIT_S} s: {what}"
        time.sleep(0.1)
    return found


@pytest.mark.parametrize(
    "words",
    [
        "tail my.yaml events",
        "status my.yaml",
        "publish my.yaml rows.csv",
        "run my.yaml clean encode join learn",
        "replay dead my.yaml",
    ],
)
def test_missing_topics_are_named_with_what_makes_them(words: str, bare: Place) -> None:
    done = bare.run(*words.split())
    assert (done.returncode, done.stdout) == (6, "")
    assert f"headwater: no topic {bare.name}." in done.stderr
    assert "`headwater topics create SPEC` makes them" in done.stderr


def test_making_topics_again_leaves_them_alone(place: Place) -> None:
    assert set(place.json("topics", "create", "my.yaml")["topics"].values()) == {False}


def test_status_before_anything_runs_says_how_to_start(place: Place) -> None:
    done = place.run("status", "my.yaml")
    assert (done.returncode, done.stderr) == (0, "")
    assert "no step has run yet; start them with: headwater run SPEC" in done.stdout
    assert place.json("status", "my.yaml")["steps"] == {}


def test_from_a_csv_file_to_a_trained_model(place: Place, stopping: Any) -> None:
    """init → check → topics create → publish → run → status and tail, with the numbers adding up."""
    assert place.json("check", "my.yaml")["name"] == place.name
    done = place.json("publish", "my.yaml", "rows.csv", "--label", "clicked")
    assert (done["events"], done["labels"], done["notes"]) == (ROWS, ROWS, [])
    process = stopping(place.start("run", "my.yaml", "clean", "encode", "join", "learn"))

    def learned() -> Any:
        found = place.json("status", "my.yaml")
        return found if found["counts"]["matched"] == ROWS and (found["model"] or {}).get("rows") == ROWS else None

    found = until(learned, "all rows learned")
    assert all(sides["equal"] and sides["left"] == ROWS for sides in found["sums"].values())
    shown = place.run("status", "my.yaml").stdout
    for part in ("join", "adds up", "learned.linear", found["model"]["state_hash"], "generation"):
        assert part in shown
    trained = place.tail("training", 100)
    assert sum(r["value"]["rows"] for r in trained) == ROWS
    assert [r["value"]["pipeline"] for r in place.tail("models", 1)] == [place.name]
    process.terminate()
    assert process.wait(WAIT_S) == 0
    assert place.run("publish", "my.yaml", "rows.csv", "--label", "clicked").returncode == 0  # it may be again


def test_tail_gives_exactly_the_newest_in_order_over_partitions(place: Place) -> None:
    place.json("publish", "my.yaml", "rows.csv")
    whole = place.tail("events", 10 * ROWS)
    assert {r["value"]["click_id"] for r in whole} == {f"c{i}" for i in range(ROWS)}
    assert {r["partition"] for r in whole} == {0, 1}
    assert [r["timestamp_ms"] for r in whole] == sorted(r["timestamp_ms"] for r in whole)
    found = place.tail("events", 7)
    assert found == whole[-7:]
    assert place.tail("events", 0) == []
    assert found[-1]["value"]["at"] == 1_704_067_200_000 + int(found[-1]["key"][1:]) * 60_000
    text = place.run("tail", "my.yaml", f"{place.name}.events", "--last", "1").stdout
    assert f"click_id={found[-1]['key']}  at=" in text
    assert len(text.splitlines()) == 1


@pytest.mark.parametrize("topic", ["events", "clean", "features", "labels", "training", "predictions", "metrics"])
def test_what_can_not_be_decoded_is_shown_with_its_place(topic: str, place: Place) -> None:
    place.send(topic, b"\xc3\x01 rubbish", b"")
    for offset, record in enumerate(place.tail(topic, 5)):
        assert (record["partition"], record["offset"], "value" in record) == (0, offset, False)
        assert record["undecodable"]["detail"]
    shown = place.run("tail", "my.yaml", topic).stdout.splitlines()
    assert [line.partition("  ")[0] for line in shown] == ["0:0", "0:1"]
    assert all("UNDECODABLE" in line for line in shown)


def test_tail_follows_until_ctrl_c(place: Place, stopping: Any) -> None:
    place.json("publish", "my.yaml", "rows.csv")
    process = stopping(place.start("tail", "my.yaml", "events", "--last", "1", "--follow", "--json"))
    assert json.loads(process.stdout.readline()) == place.tail("events", 1)[0]
    place.write("more.csv", "click_id,at,country,price\nnew,2024-01-02,de,1\n")
    place.json("publish", "my.yaml", "more.csv")
    assert json.loads(process.stdout.readline())["value"]["click_id"] == "new"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WAIT_S)
    assert (process.returncode, out, err) == (130, "", "")


def test_a_bad_row_stops_publishing_there_and_what_is_before_it_is_sent(place: Place) -> None:
    lines = (place.folder / "rows.csv").read_text().splitlines()
    lines[11] = lines[11].replace(",de,", ",de,dear").replace(",fr,", ",fr,dear")
    place.write("bad.csv", "\n".join(lines) + "\n")
    done = place.run("publish", "my.yaml", "bad.csv", "--label", "clicked")
    assert (done.returncode, done.stdout) == (4, "")
    assert "headwater: bad.csv:12: column price: found 'dear" in done.stderr
    assert "(sent before it: 10 events, 10 labels)" in done.stderr
    assert {r["value"]["click_id"] for r in place.tail("events", 100)} == {f"c{i}" for i in range(10)}
    assert [r["value"]["id"] for r in place.tail("labels", 100)] == [f"c{i}" for i in range(10)]


def test_publishing_keeps_the_asked_pace(place: Place) -> None:
    done = place.json("publish", "my.yaml", "rows.csv", "--rate", "40")
    assert 1.0 <= done["seconds"] <= 6.0


def test_events_can_be_framed_for_a_schema_registry(place: Place) -> None:
    place.json("publish", "my.yaml", "rows.csv", "--registry-id", "17")
    [record] = place.tail("events", 1)
    assert record["undecodable"]["code"] == "schema.unknown"
    assert "registry id 17" in record["undecodable"]["detail"]


def test_replay_counts_what_it_would_send(place: Place, stopping: Any) -> None:
    place.send("events", b"rubbish")
    stopping(place.start("run", "my.yaml", "clean"))
    until(lambda: place.tail("dead", 1), "the dead record")
    assert place.json("replay", "dead", "my.yaml", "--dry-run") == {
        "replayed": {"framing.unknown": 1},
        "dry_run": True,
    }


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for task in tasks for child in (task / "children").read_text().split()]


def test_a_supervised_step_comes_back_after_kill_9_and_ends_when_asked(place: Place, stopping: Any) -> None:
    process = stopping(place.start("run", "my.yaml", "clean", "--supervise"))
    place.json("publish", "my.yaml", "rows.csv")
    until(lambda: place.json("status", "my.yaml")["counts"]["cleaned"] == ROWS, "the first run")
    [before] = children_of(process.pid)
    os.kill(before, signal.SIGKILL)
    after = until(lambda: [c for c in children_of(process.pid) if c != before], "the restart")
    place.write("more.csv", "click_id,at,country,price\nnew,2024-01-02,de,1\n")
    place.json("publish", "my.yaml", "more.csv")
    until(lambda: place.json("status", "my.yaml")["counts"]["cleaned"] == ROWS + 1, "the second run")
    assert BACKOFF_S_MAX < WAIT_S
    process.terminate()
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    assert "was ended by SIGKILL; it is started again in" in err
    assert not Path(f"/proc/{after[0]}").exists()
