"""The monitor beside a real, small pipeline on a real broker: what it shows, what it does, and a broker that dies."""

import http.client
import json
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from _harness import FUSED, START_S, Run, make_plan, wait_for

import schemas
from consumers._kafka import make_producer
from consumers._read import decoder_for, read_topic
from consumers._replay import replay_dead
from consumers.client import PredictionClient
from consumers.monitor import flow
from consumers.monitor.access import access_of
from consumers.monitor.collect import Monitor
from consumers.monitor.run import Web
from consumers.predict import PredictServer
from consumers.settings import Settings
from infra.kafka import LocalBroker
from stream.errors import HeadwaterError
from stream.spec import Spec
from stream.spec_load import load_spec

pytestmark = [pytest.mark.broker, pytest.mark.slow]
GIVEN = {"price": 1.0, "weight": 1.0, "shop": "shop1", "member": True}
FLIGHTS = Path(__file__).parents[2] / "examples" / "flights.yaml"
SPEC = {"snapshot": {"every": "50ms", "keep": 20}}


class Watched:
    """A monitor, with its page's two ways: the state, and requests."""

    def __init__(self, spec: Spec, settings: Settings, write: bool) -> None:
        access = access_of("127.0.0.1:0", write, beyond_loopback=False)
        self.source = Monitor(spec, settings, write)
        self.web, self.token = Web(self.source, access), access.token
        self.port = self.web.start()
        self.source.start()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        host = f"127.0.0.1:{self.port}"
        headers = {"Origin": f"http://{host}", "X-Headwater-Token": self.token, "Content-Type": "application/json"}
        with closing(http.client.HTTPConnection(host, timeout=60)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())

    def state(self) -> Any:
        assert self.source.error is None
        return self.ask("GET", "/api/state")[1]

    def until(self, holds: Callable[[Any], Any], what: str) -> Any:
        """The first state for which this holds."""

        def look() -> Any:
            state = self.state()
            return state if holds(state) else None

        return wait_for(look, START_S, what)


@contextmanager
def watching(spec: Spec, settings: Settings, write: bool = True) -> Iterator[Watched]:
    watched = Watched(spec, settings, write)
    try:
        yield watched
    finally:
        watched.web.stop()
        watched.source.stop()


@contextmanager
def serving(run: Run) -> Iterator[PredictionClient]:
    server = PredictServer(run.loaded, run.settings.model_copy(update={"grpc": "127.0.0.1:0"}))
    with PredictionClient(f"127.0.0.1:{server.start()}", timeout_s=30) as client:
        try:
            wait_for(lambda: server.plane.served, START_S, "a model")
            yield client
        finally:
            server.close()


def steps(state: Any) -> dict[str, Any]:
    return {s["name"]: s for s in state["flow"]["steps"]}


def topics(state: Any) -> dict[str, int]:
    return {t["name"]: t["records"] for t in state["flow"]["topics"]}


def settled(run: Run, state: Any) -> bool:
    """Whether the page tells of all that was published so far."""
    sent = [m for wave in run.plan.waves[: run.published] for m in wave]
    there = topics(state)
    full = all(there.get(t) == sum(m.topic == t for m in sent) for t in ("events", "labels"))
    return bool(full and state["counts"]["sums"] and all(s["left"] == s["right"] for s in state["counts"]["sums"]))


def test_the_page_follows_a_pipeline_and_acts_on_it(
    kafka_address: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(events=600, waves=4)
    name = f"{prefix}monitor"
    with (
        Run(kafka_address, plan, FUSED, name=name, spec=SPEC) as run,
        watching(run.loaded, run.settings) as watched,
    ):
        state = watched.until(lambda s: s["broker"]["state"] == "ok", "the broker")
        assert {s["state"] for s in steps(state).values()} == {"absent"}
        assert "no step has run yet" in state["notes"][0]
        assert state["snapshots"] == state["predictions"] == []

        run.start().feed(until=3).drain()
        dead = run.dead()

        def whole(s: Any) -> bool:
            windows = s["arms"][0]["series"].get("auc", [])
            return settled(run, s) and s["snapshots"] and s["dead"]["total"] == dead.total() and len(windows) >= 2

        state = watched.until(whole, "a running pipeline on the page")
        found = steps(state)
        assert {found[s]["state"] for s in ("clean", "encode", "join", "learn")} == {"running"}
        assert found["serve"]["state"] == found["evaluate"]["state"] == "absent"
        assert [a["name"] for a in state["arms"]] == ["logistic", "tree"]
        assert 0 < state["arms"][0]["metrics"]["auc"] <= 1
        assert sum(state["dead"]["by_code"].values()) == dead.total()
        latest = state["dead"]["latest"]
        assert latest[0]["offset"] > latest[-1]["offset"]
        assert {
            (x["topic"].rpartition(".")[2], x["source_partition"], x["source_offset"], x["code"]) for x in latest
        } <= set(dead)
        _explained(run, watched)
        _replayed(run, watched)
        _rolled_back(run, watched)
        monkeypatch.setattr(flow, "SILENT_MS", 2_000)
        run.stop()
        state = watched.until(lambda s: steps(s)["learn"]["state"] == "stalled", "a stopped pipeline")
        assert any("clean, encode, join, learn: silent for" in note for note in state["notes"])


def _explained(run: Run, watched: Watched) -> None:
    """An answer is explained by the model that gave it, for the event that is on Kafka; others say why not."""
    event = next(m for m in run.plan.messages("events")[0] if m.code is None)
    read = decoder_for(run.loaded, "events")(event.value or b"")
    known = {k: v for k, v in read.items() if v is not None}
    with serving(run) as client:
        client.predict({**known, "price": 99.0}, event_id=event.id, arm="logistic")
        client.predict(GIVEN, event_id="nobody", arm="logistic")
        client.predict(known, event_id=event.id, arm="logistic")

        def explained(state: Any) -> bool:
            answers = state["predictions"]
            return len(answers) == 3 and all(p["why"] or "not looked" not in p["why_not"] for p in answers)

        state = watched.until(explained, "explanations")
        same, nobody, other = state["predictions"]
        assert nobody["why_not"] == "the event is not among the newest on Kafka"
        assert "the caller asked about other values" in other["why_not"]
        assert same["why"], same
        parts = {part["feature"]: part["contribution"] for part in same["why"]}
        assert {"price", "member"} <= set(parts)
        assert same["arm"] == "logistic"
        watched.until(lambda s: steps(s)["serve"]["state"] == "running", "a server that answered")


def _replayed(run: Run, watched: Watched) -> None:
    """Letters go back to their topic, each once, whichever way they are picked."""
    before = topics(watched.state())["events"]
    letters = [(r.offset, schemas.codec("dead").decode(r.value)) for r in read_topic(run.loaded, run.settings, "dead")]
    ours = [(o, d) for o, d in letters if d["topic"] == run.loaded.topic("events")]
    [(code, _)] = Counter(d["code"] for _, d in ours if d["value"]).most_common(1)
    one = next(o for o, d in ours if d["code"] == code)
    others = [o for o, d in ours if d["code"] == code and o != one]
    assert others

    def send(**what: Any) -> str:
        status, found = watched.ask("POST", "/api/replay", what)
        assert status == 200, found
        return str(found["said"])

    def come_back(count: int) -> None:
        """What was sent again is refused again, each as a letter of its own."""
        run.drain()
        watched.until(lambda s: s["dead"]["total"] == len(letters) + count, f"{count} more letters")

    place = {"partition": 0, "offset": one}
    assert send(positions=[place]) == "1 sent again"
    come_back(1)
    assert send(positions=[place]) == "1 were before"
    assert send(positions=[place, {"partition": 0, "offset": 10**9}]) == "1 were before; 1 are not in the topic"
    assert send(code=code) == f"{len(others) + 1} sent again; 1 were before"
    come_back(1 + len(others) + 1)
    assert watched.ask("POST", "/api/replay", {"code": "no.such"})[0] == 409
    there = Counter(r.value for r in read_topic(run.loaded, run.settings, "events"))
    picked = [d["value"] for _, d in ours if d["code"] == code]
    assert [there[value] for value in picked] == [2 + (value == dict(ours)[one]["value"]) for value in picked]
    assert topics(watched.state())["events"] > before
    left = replay_dead(run.loaded, run.settings, frozenset(), True, lambda _: None)  # what the command would send now
    assert sum(left.values()) == run.dead().total() - (len(others) + 2)
    assert left[code] == len(others) + 1  # those that came back last


def _rolled_back(run: Run, watched: Watched) -> None:
    """Servers go to the snapshot that was picked, and follow again once released."""
    state = watched.state()
    older = next(s for s in reversed(state["snapshots"]) if s["rows"] and not s["serving"])["generation"]
    status, found = watched.ask("POST", "/api/rollback", {"generation": older})
    assert (status, found["ok"]) == (200, True)
    assert f"servers go to generation {older}" in found["said"]
    state = watched.until(lambda s: [x["generation"] for x in s["snapshots"] if x["serving"]] == [older], "the pin")
    assert [x["generation"] for x in state["snapshots"] if x["pinned"]] == [older]
    assert any(f"generation {older} is pinned" in note for note in state["notes"])
    with serving(run) as client:
        assert client.predict(GIVEN).model.generation == older
    assert watched.ask("POST", "/api/rollback", {"generation": 10**6})[0] == 409
    assert watched.ask("POST", "/api/rollback", {"generation": None})[0] == 200
    watched.until(lambda s: not any(x["pinned"] for x in s["snapshots"]) and s["snapshots"][0]["serving"], "release")


def test_read_only_does_nothing_whoever_asks(kafka_address: str, prefix: str) -> None:
    with (
        Run(kafka_address, make_plan(events=10, waves=1), FUSED, name=f"{prefix}readonly") as run,
        watching(run.loaded, run.settings, write=False) as watched,
    ):
        state = watched.until(lambda s: s["broker"]["state"] == "ok", "the broker")
        assert not state["writable"]
        for path, body in (("/api/replay", {"code": "avro.trailing"}), ("/api/rollback", {"generation": 1})):
            status, found = watched.ask("POST", path, body)
            assert status == 403
            assert "--write" in found["error"]
        with pytest.raises(HeadwaterError, match="another one is wanted"):
            Web(watched.source, access_of(f"127.0.0.1:{watched.port}", False, False)).start()


def test_a_broker_that_dies_is_said_and_one_that_comes_back_is_followed_again(
    fresh_broker: LocalBroker, prefix: str
) -> None:
    with Run(fresh_broker.address, make_plan(events=10, waves=1), FUSED, name=f"{prefix}dies") as run:
        with watching(run.loaded.model_copy(update={"name": "nobody"}), run.settings) as lost:
            state = lost.until(lambda s: s["broker"]["state"] == "topics_missing", "missing topics")
            assert "headwater topics create SPEC" in state["broker"]["detail"]
            assert "nobody.events" in state["broker"]["detail"]
        with watching(run.loaded, run.settings) as watched:
            run.wave()
            watched.until(lambda s: topics(s).get("events", 0) > 5, "events on the page")
            for stop, go_on in (("kill", "restart"), ("pause", "resume")):
                getattr(fresh_broker, stop)()
                state = watched.until(lambda s: s["broker"]["state"] == "unreachable", f"the page to tell of {stop}")
                assert fresh_broker.address in state["broker"]["detail"]
                assert state["broker"]["since_ms"] <= state["at_ms"]
                assert topics(state)["events"] > 5  # what was seen stays
                assert all(t["per_s"] is None for t in state["flow"]["topics"])
                getattr(fresh_broker, go_on)()
                before = topics(state)["events"]
                _one_more_event(run)
                watched.until(
                    lambda s, n=before: s["broker"]["state"] == "ok" and topics(s)["events"] > n, f"recovery of {stop}"
                )


def _one_more_event(run: Run) -> None:
    producer = make_producer(run.settings)
    producer.send(run.loaded.topic("events"), value=b"no event", partition=0).get(60)
    producer.close(5)


def test_a_monitor_may_start_before_its_broker() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        settings = Settings(kafka=f"127.0.0.1:{taken.getsockname()[1]}")
        with watching(load_spec(FLIGHTS), settings) as watched:
            state = watched.until(lambda s: s["broker"]["state"] != "waiting", "the page to tell")
            assert state["broker"]["state"] == "unreachable"
            assert state["flow"] == {"topics": [], "steps": []}
