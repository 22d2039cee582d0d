"""Experiments steered on a real Kafka: effective in every server, the same after a restart; a bad arm is drained."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import schemas
from consumers._control import TOPIC, change, state_of
from consumers._kafka import create_topics, make_producer
from consumers._read import decoder_for, read_topic
from consumers.cli.app import main
from consumers.client import PredictionClient
from consumers.guard import Guard
from consumers.predict import PredictServer
from consumers.settings import Settings
from stream.errors import DataError
from stream.experiment.control import end, moved, ramp
from stream.spec_load import load_spec
from tests.broker.test_serve import GOOD, SCHEMA, Learner

pytestmark = pytest.mark.broker
WAIT_S = 30.0
SPEC = """
name: %s
task: binary
event: {schema: visit.avsc, id: id, time: at, fields: {amount: {type: numeric}, country: {type: category}}}
arms:
  calm: {model: linear.logistic, weight: 0.5}
  bold: {model: linear.logistic, params: {lr: 0.5}, weight: 0.5}
  dark: {model: linear.logistic, params: {lr: 0.1}, shadow: true}
experiment: {name: steered, salt: "1", assignment: 2, overrides: {boss: bold}, guardrails: [{metric: brier}]}
"""
UNITS = [f"user-{i}" for i in range(400)]


class World:
    """A pipeline, a model, and as many servers as a test starts."""

    def __init__(self, address: str, name: str, folder: Path) -> None:
        (folder / "visit.avsc").write_text(SCHEMA)
        self.path = folder / "spec.yaml"
        self.path.write_text(SPEC % name)
        self.spec = load_spec(self.path)
        self.settings = Settings(kafka=address, grpc="127.0.0.1:0", data=folder)
        self.learner = Learner(self.spec, self.settings, folder / "snapshots")
        self.open: list[tuple[PredictServer, PredictionClient]] = []

    def make_topics(self, *more: str) -> None:
        create_topics(self.settings, self.spec, ("models", "labels", "predictions", *more))
        self.learner.announce(self.learner.learn())

    def serve(self) -> PredictionClient:
        """Another server, once it answers."""
        server = PredictServer(self.spec, self.settings)
        client = PredictionClient(f"127.0.0.1:{server.start()}", timeout_s=20)
        self.open.append((server, client))
        self.until(lambda: server.plane.served is not None)
        return client

    def until(self, holds: Callable[[], bool]) -> None:
        limit_s = time.monotonic() + WAIT_S
        while not holds():
            assert all(server.error is None for server, _ in self.open)
            assert time.monotonic() < limit_s
            time.sleep(0.005)

    def ramp(self, why: str = "a test", **shares: float) -> Any:
        when_ms = time.time_ns() // 1_000_000
        return change(self.spec, self.settings, lambda s: ramp(self.spec, s, shares, "anna", when_ms, why))

    def close(self) -> None:
        for server, client in self.open:
            client.close()
            server.close()
        self.learner.close()


@pytest.fixture
def world(kafka_address: str, prefix: str, tmp_path: Path) -> Iterator[World]:
    made = World(kafka_address, f"{prefix}steer", tmp_path)
    try:
        yield made
    finally:
        made.close()


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Command = Callable[..., Ran]


@pytest.fixture
def command(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """`headwater experiment`, in this process, on the world's pipeline."""
    monkeypatch.setattr("consumers.run.until_signalled", lambda: lambda: False)
    monkeypatch.setattr("consumers.guard.set_up", lambda *_: None)  # it would be for all tests of this process

    def run(*words: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["experiment", words[0], str(world.path), *words[1:], "--kafka", world.settings.kafka])
        got = capsys.readouterr()
        return Ran(int(left.value.code or 0), got.out, got.err)

    return run


def arms_of(client: PredictionClient) -> list[str]:
    found = client.predict_columns({"amount": [1.0] * len(UNITS), "country": ["GB"] * len(UNITS)}, units=UNITS)
    return [found.arms[a] for a in found.arm.tolist()]


def test_a_change_is_in_the_answers_of_all_servers_at_once_and_in_those_of_one_that_starts_later(world: World) -> None:
    world.make_topics(TOPIC)
    clients = [world.serve(), world.serve()]
    first, delays_ms = arms_of(clients[0]), []
    assert first == arms_of(clients[1])
    for seq, share in enumerate((0.6, 0.2, 0.9, 0.5, 0.1, 0.35), 1):
        assert world.ramp(bold=share).record.seq == seq
        acknowledged_s = time.monotonic()
        for client in clients:
            world.until(lambda client=client, seq=seq: client.predict(GOOD, unit="u").control_seq == seq)  # type: ignore[misc]
            delays_ms.append(round(1000 * (time.monotonic() - acknowledged_s), 1))
    print("acknowledged → in the answers, ms:", sorted(delays_ms))
    assert min(delays_ms) < 1000
    now = arms_of(clients[0])
    assert now == arms_of(clients[1]) == arms_of(world.serve())
    changed = [(a, b) for a, b in zip(first, now, strict=True) if a != b]
    assert 0.25 < now.count("bold") / len(UNITS) < 0.45
    assert changed
    described = clients[0].describe()
    assert {a.name: (a.propensity, a.shadow) for a in described.arms} == {
        "calm": (0.65, False), "bold": (0.35, False), "dark": (0.0, True),
    }  # fmt: skip
    assert described.experiment.control_seq == 6


def test_a_server_without_the_topic_serves_the_spec_s_shares_until_there_is_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers._listen.LOOK_S", 0.5)
    world.make_topics()
    client = world.serve()
    assert client.predict(GOOD).control_seq == 0
    world.ramp(bold=1.0)  # makes the topic
    world.until(lambda: client.predict(GOOD, unit="u").control_seq == 1)
    assert set(arms_of(client)) == {"bold"}


def test_of_two_changes_at_the_same_time_one_counts_and_the_other_is_told(world: World) -> None:
    world.make_topics(TOPIC)

    def late(state: Any) -> Any:
        world.ramp("first", bold=0.2)
        return ramp(world.spec, state, {"bold": 0.9}, "ben", 5, "second")

    with pytest.raises(DataError, match="another one came first: ramp by anna, 'first'; look, then say it again"):
        change(world.spec, world.settings, late)
    state = state_of(world.spec, world.settings)
    assert (state.seq, state.shares["bold"]) == (1, 0.2)


def test_what_is_no_control_record_is_passed_over(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.make_topics(TOPIC)
    client = world.serve()
    producer = make_producer(world.settings)
    try:
        for value in (b"garbage", None):
            producer.send(world.spec.topic(TOPIC), value=value, key=b"x", partition=0).get(timeout=20)
    finally:
        producer.close(timeout=2)
    world.ramp(bold=0.9)
    world.until(lambda: client.predict(GOOD).control_seq == 1)
    assert "".join(capsys.readouterr()).count("control record passed over") == 2


def test_the_commands_change_tell_and_refuse(world: World, command: Command) -> None:
    world.make_topics(TOPIC)
    told = command("ramp", "bold=0.2", "--why", "first [look]", "--who", "anna")
    assert (told.code, told.err) == (0, "")
    assert told.out == (
        "change 1, ramp: calm 0.8, bold 0.2, dark 0\n30.00% of the experiment's units get another arm\n"
    )
    given = json.loads(command("promote", "bold", "--why", "it won", "--json").out)
    assert (given["record"]["seq"], given["record"]["action"], given["record"]["arm"]) == (2, "promote", "bold")
    assert given["shares"] == {"calm": 0.0, "bold": 1.0, "dark": 0.0}
    history = json.loads(command("history", "--json").out)
    assert next((r["seq"], r["who"], r["why"]) for r in history["records"]) == (1, "anna", "first [look]")
    assert history["now"] == {"seq": 2, "shares": given["shares"], "ended": True}
    shown = command("history").out
    assert "first [look]" in shown
    assert "now: calm 0, bold 1, dark 0, ended" in shown
    for words, code, said in (
        (("ramp", "bald=0.2", "--why", "x"), 4, "arm: found 'bald'; the arms are calm, bold, dark"),
        (("ramp", "bold", "--why", "x"), 4, "share: found 'bold'; ARM=SHARE is wanted"),
        (("stop", "--why", " "), 4, "--why: found nothing; a reason is wanted"),
    ):
        refused = command(*words)
        assert (refused.code, refused.out) == (code, "")
        assert said in refused.err


def test_an_arm_that_does_harm_is_drained_and_a_record_says_so(world: World, command: Command) -> None:
    world.make_topics(TOPIC)
    client = world.serve()
    n = 1_500
    ids = [f"e{i}" for i in range(n)]
    answers = client.predict_columns(
        {"amount": [(i % 21 - 10) / 5 for i in range(n)], "country": ["GB"] * n},
        event_ids=ids,
        units=["boss" if i == 7 else f"u{i}" for i in range(n)],
    )
    assert answers.left_out == (7,)
    server = world.open[0][0]
    world.until(lambda: server.exposures.counts()[0] == n)
    producer, codec = make_producer(world.settings), schemas.codec("label")
    try:
        for i, (arm, score) in enumerate(zip(answers.arm.tolist(), answers.score.tolist(), strict=True)):
            right = (score > 0.5) == (answers.arms[arm] == "calm")  # bold is wrong whenever it can be
            body = codec.encode({"id": ids[i], "value": right, "time_ms": time.time_ns() // 1_000_000})
            producer.send(world.spec.topic("labels"), value=body, key=ids[i].encode(), partition=0)
        producer.flush(20)
    finally:
        producer.close(timeout=2)
    line = [sys.executable, "-m", "consumers.cli", "experiment", "guard", str(world.path), "--once", "--json"]
    done = subprocess.run(
        [*line, "--kafka", world.settings.kafka], capture_output=True, text=True, timeout=120, check=True
    )
    look = json.loads(done.stdout)  # and nothing else
    assert [(r["seq"], r["action"], r["arm"], r["who"]) for r in look["drained"]] == [
        (1, "guardrail", "bold", "guardrail")
    ]
    assert "brier of bold less calm: 0." in look["drained"][0]["why"]
    assert '"message":"arm drained"' in done.stderr
    guard = Guard(world.spec, world.settings)
    try:
        assert guard.look().drained == []
    finally:
        guard.close()
    world.until(lambda: client.predict(GOOD, unit="u").control_seq == 1)
    assert set(arms_of(client)) == {"calm"}
    assert client.predict(GOOD, unit="boss").assigned == "override"
    state = state_of(world.spec, world.settings)
    assert [asdict(r) for r in state.records] == look["drained"]
    decode = decoder_for(world.spec, "predictions")
    logged = [decode(r.value) for r in read_topic(world.spec, world.settings, "predictions")]
    assert {p["id"]: [s["arm"] for s in p["shadows"]] for p in logged if p["id"] in set(ids)} == {
        key: ["dark"] for key in ids
    }
    report = json.loads(command("report", "--json").out)
    brier = next(m for m in report["metrics"] if m["metric"]["name"] == "brier")
    assert [(c["arm"], c["verdict"]) for c in brier["comparisons"]] == [("bold", "worse")]
    once = json.loads(command("guard", "--once", "--json").out)
    assert once == {"findings": [], "drained": []}


def test_stop_and_going_on_find_units_with_the_arms_they_had(world: World) -> None:
    world.make_topics(TOPIC)
    client = world.serve()
    before = arms_of(client)
    begun = state_of(world.spec, world.settings)
    change(world.spec, world.settings, lambda s: end(world.spec, s, None, "anna", 1, "pause"))
    world.until(lambda: client.predict(GOOD, unit="u").control_seq == 1)
    assert set(arms_of(client)) == {"calm"}
    assert client.predict(GOOD, unit="u").experiment == ""
    done = world.ramp(calm=0.5, bold=0.5)
    world.until(lambda: client.predict(GOOD, unit="u").control_seq == 2)
    assert arms_of(client) == before
    assert moved(world.spec, begun, done.after) == 0
