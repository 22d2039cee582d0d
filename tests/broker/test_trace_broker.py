"""One event from publish to the answers that know it: real processes, a real server, one trace in all its spans."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from _harness import EVENT, FUSED, START_S, STEP_MS, T0_MS, WINDOW_MS, Plan, Run, event_value, wait_for

import schemas
from consumers._kafka import make_producer
from consumers._read import read_topic
from consumers.cli.app import main
from consumers.client import PredictionClient
from consumers.predict import PredictServer
from consumers.trace import Way, trace
from stream.arrive.schema import load_schema
from stream.trace import trace_id
from tests.otlp_receiver import Receiver, attributes, receiving

pytestmark = [pytest.mark.broker, pytest.mark.slow]
SCHEMA = load_schema(EVENT)
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"
HEADER = ("traceparent", f"00-{CALLER}-00f067aa0ba902b7-01".encode())
FIELDS = {"price": 1.0, "weight": 1.0, "shop": "s", "member": True}


class Loop:
    """A whole pipeline at work, and what was asked of it."""

    def __init__(self, run: Run, client: PredictionClient, spans: Receiver) -> None:
        self.run, self.client, self.spans = run, client, spans
        self.prediction_id = ""

    def publish(self, event_id: str, number: int, **fields: Any) -> None:
        record = {"id": event_id, "at": T0_MS + number * STEP_MS, **FIELDS, **fields}
        self.send("events", event_id, event_value(SCHEMA, record))

    def label(self, event_id: str, number: int, value: bool, wait_ms: int = 0) -> None:
        label = {"id": event_id, "value": value, "time_ms": T0_MS + number * STEP_MS + 1 + wait_ms}
        self.send("labels", event_id, schemas.codec("label").encode(label))

    def send(self, topic: str, key: str, value: bytes) -> None:
        producer = make_producer(self.run.settings)
        try:
            given = [HEADER, ("other", b"x")]
            name = self.run.loaded.topic(topic)
            producer.send(name, value=value, key=key.encode(), partition=0, headers=given).get(30)
        finally:
            producer.close(5)

    def models(self) -> list[dict[str, Any]]:
        read = read_topic(self.run.loaded, self.run.settings, "models")
        return [schemas.codec("model").decode(r.value) for r in read]

    def learned(self, rows: int) -> None:
        def done() -> bool:
            self.run.tend()
            found = self.models()
            return bool(found) and found[-1]["rows"] >= rows

        wait_for(done, START_S, f"{rows} rows learned")

    def way(self, given: str, **more: Any) -> Way:
        return trace(self.run.loaded, self.run.settings, given, more.get("since_ms"), lambda done, total: None)


@pytest.fixture(scope="module")
def loop(kafka_address: str) -> Iterator[Loop]:
    """Trained, asked, told the outcome, trained with that, and asked again; then drained."""
    patch = pytest.MonkeyPatch()
    with receiving() as spans:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.endpoint, "OTEL_TRACES_SAMPLER_ARG": "1",
               "OTEL_BSP_SCHEDULE_DELAY": "200"}  # fmt: skip
        for name, value in env.items():
            patch.setenv(name, value)
        with Run(kafka_address, Plan(()), FUSED, env=env) as run:
            run.settings = run.settings.model_copy(update={"grpc": "127.0.0.1:0"})
            run.start()
            server = PredictServer(run.loaded, run.settings)
            with PredictionClient(f"127.0.0.1:{server.start()}", timeout_s=60) as client:
                made = Loop(run, client, spans)
                _play(made, server)
                server.close()
                run.drain().stop()
                yield made
    patch.undo()


def _play(loop: Loop, server: PredictServer) -> None:
    for n in range(10):
        loop.publish(f"warm{n}", n)
        loop.label(f"warm{n}", n, n % 2 == 0)
    loop.learned(10)
    wait_for(lambda: server.plane.served is not None, START_S, "a model to answer with")
    answer = loop.client.predict(FIELDS, event_id="traced")
    loop.prediction_id = answer.prediction_id
    loop.publish("traced", 10)
    loop.client.feedback(True, prediction_id=answer.prediction_id, time_ms=T0_MS + 10 * STEP_MS + 5)
    loop.learned(11)
    through = loop.models()[-1]["label_offset"]
    wait_for(lambda: _knows(server, through), START_S, "the server to know the outcome")
    loop.client.predict(FIELDS, event_id="later")
    loop.label("traced", 10, True)  # again: a duplicate
    loop.publish("bad", 11, price=5000.0)
    loop.label("bad", 11, True)
    loop.publish("late", 12)
    loop.label("late", 12, True, wait_ms=WINDOW_MS + 2000)
    loop.publish("quiet", 12 + WINDOW_MS // STEP_MS)
    settled = {"traced": "label.duplicate", "bad": "label.orphaned", "late": "label.late"}

    def all_settled() -> bool:
        loop.run.tend()
        read = read_topic(loop.run.loaded, loop.run.settings, "dead")
        letters = [schemas.codec("dead").decode(r.value) for r in read]
        return set(settled.items()) <= {(d["event_id"], d["code"]) for d in letters}

    wait_for(all_settled, START_S, f"refused labels: {settled}")
    wait_for(lambda: server.exposures.counts()[0] == 2, START_S, "both answers on Kafka")


def _knows(server: PredictServer, label_offset: int) -> bool:
    served = server.plane.served
    return served is not None and served.label_offset >= label_offset


def _told(way: Way) -> list[tuple[str, str]]:
    return [(s.step, s.state) for s in way.steps]


def test_the_whole_way_of_an_event_is_told_with_its_times(loop: Loop) -> None:
    way = loop.way("traced")
    steps = dict(_told(way))
    assert set(steps) == {"publish", "clean, encode", "predict", "label", "join", "learn", "answer"}
    assert steps["clean, encode"] == "done"
    assert ("join", "joined, in the training log") in _told(way)
    assert ("join", "refused: label.duplicate") in _told(way)
    told = [s for s in way.steps if s.seen is not None and not s.state.startswith("refused")]
    by_step = {s.step: s for s in reversed(told)}  # the first of each
    [first] = [m for m in loop.models() if m["generation"] == by_step["learn"].about["generation"]][:1]
    assert first["training_offset"] > by_step["join"].seen.offset  # type: ignore[union-attr]
    assert not [m for m in loop.models() if m["generation"] < first["generation"] and m["rows"] >= 11]
    assert by_step["predict"].about["prediction_id"] == loop.prediction_id
    assert by_step["answer"].about["prediction_id"].endswith("/later")
    assert by_step["answer"].about["model_generation"] >= first["generation"]
    assert by_step["publish"].about["caller_trace_id"] == CALLER
    times = [by_step[n].at_ms for n in ("predict", "publish", "label", "join", "learn", "answer")]
    assert times == sorted(times)  # type: ignore[type-var]


@pytest.mark.parametrize("named", ["prediction", "trace", "TRACE"])
def test_an_answer_s_id_and_a_trace_id_lead_to_the_same_way(loop: Loop, named: str) -> None:
    trace = trace_id(loop.run.name, "traced")
    given = {"prediction": loop.prediction_id, "trace": trace, "TRACE": trace.upper()}[named]
    assert loop.way(given).to_json()["steps"] == loop.way("traced").to_json()["steps"]


def test_what_is_refused_late_or_without_a_label_says_so(loop: Loop) -> None:
    bad = _told(loop.way("bad"))
    assert bad == [("publish", "published"), ("clean", "refused: value.out_of_range"), ("label", "arrived"),
                   ("join", "refused: label.orphaned")]  # fmt: skip
    late = _told(loop.way("late"))
    assert late == [("publish", "published"), ("clean, encode", "done"), ("label", "arrived"),
                    ("join", "refused: label.late")]  # fmt: skip
    assert _told(loop.way("quiet"))[-1] == ("join", "waits for its label")
    assert loop.way("late").steps[1].about["follows_from"].startswith(f"group {loop.run.name}.join is past it")


def test_all_spans_of_an_event_are_in_its_one_trace(loop: Loop) -> None:
    wanted = {"publish", "clean", "encode", "join", "learn", "Predict", "Feedback"}
    mine = trace_id(loop.run.name, "traced")
    wait_for(lambda: {s.name for s in loop.spans.of_trace(mine)} >= wanted, 60, "all spans of the event")
    found = loop.spans.of_trace(mine)
    [root] = [s for s in found if s.name == "publish"]
    assert all(s.parent_span_id == root.span_id for s in found if s is not root)
    published = next(s.at_ms for s in loop.way("traced").steps if s.step == "publish")
    assert root.start_time_unix_nano == published * 1_000_000  # type: ignore[operator]
    assert {attributes(s)["generation"] for s in loop.spans.named("snapshot")} == {
        m["generation"] for m in loop.models()
    }  # fmt: skip


def _command(loop: Loop, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def run(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(["trace", str(loop.run.spec_path), *words, "--kafka", loop.run.settings.kafka])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return run


def test_the_command_prints_a_table_or_json_and_says_what_it_read_when_nothing_is_found(
    loop: Loop, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HEADWATER_ELASTICSEARCH", raising=False)
    run = _command(loop, capsys)
    code, out, err = run("traced")
    assert (code, err) == (0, "")
    assert trace_id(loop.run.name, "traced") in out
    for word in ("published", "predicted: arm", "arrived: value True", "joined, in the training log", "first answer"):
        assert word in out
    code, out, _ = run("traced", "--json")
    told = json.loads(out)
    assert (code, told["found"], told["event_id"], told["documents"]) == (0, True, "traced", [])
    assert told["searched"][f"{loop.run.name}.events"] == 14
    code, out, err = run("nobody", "--json")
    assert (code, json.loads(out)["found"]) == (4, False)
    assert "found 'nobody'; no record is about such an event or prediction" in err
    assert f"Records read: {loop.run.name}.events (14)" in err
    code, _, err = run("traced", "--since", "1ms")
    assert code == 4
    assert "no record of the last 1ms" in err
    assert run("traced", "--since", "soon")[0] == 4
    code, out, err = run("traced", "--elasticsearch", "http://127.0.0.1:1")
    assert code == 0
    assert "documents are not told: Elasticsearch at http://127.0.0.1:1" in err
    assert "joined, in the training log" in out
