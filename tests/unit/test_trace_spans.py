"""Spans reach a real receiver: one for each block, and one for each sampled event in it; or nothing is imported."""

import json
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import grpc
import numpy as np
import pytest
import structlog
from kafka import TopicPartition

from consumers import _otel
from consumers._front import Front
from consumers._grpc import in_pool
from consumers._log import set_up
from consumers._otel import Spans, spans_of
from consumers._serve_calls import Calls, calls_of
from consumers._serve_status import answered
from consumers.learn import LearnStep
from consumers.settings import Settings
from schemas import headwater_pb2 as pb
from stream.arrive.framing import frame_single_object
from stream.arrive.records import Record, records_of
from stream.arrive.schema import load_schema
from stream.block import Block, Training
from stream.clock import FakeClock
from stream.encode.encoder import layout_of
from stream.errors import DataError, HeadwaterError
from stream.spec import Spec
from stream.spec_load import parse_spec
from stream.trace import root_span_id, sampled, trace_id
from tests.otlp_receiver import Receiver, attributes, receiving

VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_PROTOCOL",
             "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED")  # fmt: skip
EVENT = {"type": "record", "name": "E", "fields": [
    {"name": "id", "type": "string"}, {"name": "time", "type": "long"}, {"name": "x", "type": "double"}]}  # fmt: skip
PUBLISHED_MS = 1_790_000_000_000
CALLER = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    folder = tmp_path_factory.mktemp("spec")
    (folder / "event.avsc").write_text(json.dumps(EVENT))
    event = {"schema": "event.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    return parse_spec(
        {"name": "p", "task": "binary", "event": event, "arms": {"a": {"model": "linear.logistic"}}}, folder
    )


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def spans(spec: Spec, receiver: Receiver, settled: pytest.MonkeyPatch) -> Spans:
    settled.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.endpoint)
    settled.setenv("OTEL_TRACES_SAMPLER_ARG", "0.3")
    receiver.spans.clear()
    found = spans_of(spec, "test")
    assert found is not None
    return found


def _events(schema: Any, ids: list[str]) -> list[Record]:
    out = []
    for n, event_id in enumerate(ids):
        body = BytesIO()
        fastavro.schemaless_writer(body, schema.parsed, {"id": event_id, "time": PUBLISHED_MS, "x": 1.5})
        value = frame_single_object(schema, body.getvalue())
        out.append(Record("p.events", 0, 10 + 2 * n, PUBLISHED_MS + n, b"k", value))
    return out


@pytest.mark.parametrize("steps", [("clean", "encode"), ("clean",)])
def test_a_block_is_a_span_and_its_sampled_events_hang_from_their_publishing(
    spec: Spec, receiver: Receiver, spans: Spans, steps: tuple[str, ...]
) -> None:
    ids = [f"e{n}" for n in range(40)]
    wanted = {trace_id("p", i): n for n, i in enumerate(ids) if sampled(trace_id("p", i), 0.3)}
    front = Front(spec, Settings(), steps, lambda: True)
    front.busy.spans = spans
    records = records_of("p.events", 0, _events(load_schema(EVENT), ids))
    front.feed({TopicPartition("p.events", 0): records}, 0.0)
    spans.close()
    assert 5 < len(wanted) < 25
    for step in steps:
        blocks = [s for s in receiver.named(step) if not s.parent_span_id]
        assert [attributes(s)["headwater.rows"] for s in blocks] == [40]
        assert blocks[0].start_time_unix_nano <= blocks[0].end_time_unix_nano
    assert attributes(receiver.named("clean")[0]) == {
        "headwater.rows": 40, "topic": "p.events", "partition": 0, "first": 10, "last": 88,
    }  # fmt: skip
    for trace, number in wanted.items():
        publish, *others = receiver.of_trace(trace)
        assert (publish.name, publish.span_id.hex(), publish.parent_span_id) == ("publish", root_span_id(trace), b"")
        assert publish.start_time_unix_nano == (PUBLISHED_MS + number) * 1_000_000
        assert sorted(s.name for s in others) == sorted(steps)
        for span in others:
            assert span.parent_span_id == publish.span_id
            [block] = [s for s in receiver.named(span.name) if not s.parent_span_id]
            assert [(x.trace_id, x.span_id) for x in span.links] == [(block.trace_id, block.span_id)]
            assert attributes(span) == {"headwater.event.id": ids[number]}
    assert len(receiver.named("publish")) == len(wanted)
    assert {about["headwater.process"] for about, _ in receiver.spans} == {"test"}


def test_no_block_gives_more_event_spans_than_its_bound(receiver: Receiver, spans: Spans) -> None:
    spans.block("learn", 1, [[f"e{n}" for n in range(1000)]], {})
    spans.close()
    assert len(receiver.named("learn")) == 1 + 32


def test_a_snapshot_is_a_span(spec: Spec, receiver: Receiver, spans: Spans, tmp_path: Path) -> None:
    step = LearnStep(spec, Settings(data=tmp_path), FakeClock())
    step.spans = spans
    step.begin()
    at, none = np.arange(2), np.zeros(0, np.uint64)
    width = len(layout_of(spec).numeric)
    numeric, categories = np.ones((2, width)), np.zeros((2, 0), np.uint64)
    block = Block(spec.hash, ["a", "b"], at, np.zeros(2, np.int32), at, numeric, categories, none, at * 0)
    step.learn(Training(block, np.array([0.0, 1.0]), at, at, at), 7)
    step.maybe_snapshot(caught_up=False, force=True)
    spans.close()
    [span] = receiver.named("snapshot")
    assert attributes(span) == {"generation": 1, "training_offset": 8, "refused": ""}


# -- calls -----------------------------------------------------------------------------------------------


def _abort(request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode.NOT_FOUND, "no")
    raise AssertionError


def test_a_call_about_a_sampled_event_or_by_a_caller_who_traces_it_is_a_span(receiver: Receiver, spans: Spans) -> None:
    ids = [f"e{n}" for n in range(30)]
    wanted = [i for i in ids if sampled(trace_id("p", i), 0.3)]
    side = ThreadPoolExecutor(1, "side")
    made = grpc.unary_unary_rpc_method_handler
    handlers = {
        "Predict": made(in_pool(lambda body, _: pb.PredictResponse(event_id=body.decode()).SerializeToString(), side)),
        "PredictBatch": made(lambda body, _: b""),
        "Describe": made(_abort),
    }
    server = grpc.server(ThreadPoolExecutor(2), interceptors=(Calls([spans.call]),))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("s", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        for event_id in ids:
            answer = channel.unary_unary("/s/Predict")(event_id.encode(), timeout=60)
            assert pb.PredictResponse.FromString(answer).event_id == event_id
        mine = (("traceparent", f"00-{CALLER}-00f067aa0ba902b7-01"),)
        for method in ("PredictBatch", "Predict"):
            channel.unary_unary(f"/s/{method}")(b"unsampled!", timeout=60, metadata=mine)
        with pytest.raises(grpc.RpcError, match="NOT_FOUND"):
            channel.unary_unary("/s/Describe")(b"", timeout=60, metadata=mine)
        channel.unary_unary("/s/PredictBatch")(b"", timeout=60)
    server.stop(0).wait(10)
    spans.close()
    found = {attributes(s).get("headwater.event.id"): s for s in receiver.named("Predict")}
    assert set(found) == {*wanted, "unsampled!"}
    for event_id, span in found.items():
        assert span.trace_id.hex() == trace_id("p", event_id)
        assert span.parent_span_id.hex() == root_span_id(trace_id("p", event_id))
        assert attributes(span)["rpc.grpc.status"] == "OK"
    assert [[x.trace_id.hex() for x in found[i].links] for i in (wanted[0], "unsampled!")] == [[], [CALLER]]
    statuses = {n: [attributes(s)["rpc.grpc.status"] for s in receiver.named(n)] for n in ("PredictBatch", "Describe")}
    assert statuses == {"PredictBatch": ["OK"], "Describe": ["NOT_FOUND"]}


def test_a_call_that_is_answered_at_once_is_a_span_too(receiver: Receiver, spans: Spans) -> None:
    given = next(i for i in map(str, range(100)) if sampled(trace_id("p", i), 0.3))

    def handler(body: bytes, context: Any) -> bytes:
        raise AssertionError

    answer = pb.PredictResponse(event_id=given).SerializeToString()
    handler.prompt = lambda body: answer if body else None  # type: ignore[attr-defined]
    details = type("Details", (), {"method": "/s/Predict", "invocation_metadata": ()})
    found = Calls([spans.call]).intercept_service(lambda _: grpc.unary_unary_rpc_method_handler(handler), details)
    assert found.unary_unary.prompt(b"x") == answer
    assert found.unary_unary.prompt(b"") is None
    spans.close()
    assert [s.trace_id.hex() for s in receiver.named("Predict")] == [trace_id("p", given)]


def test_nothing_stands_before_the_handlers_unless_spans_or_lines_are_wanted(
    spec: Spec, spans: Spans, settled: pytest.MonkeyPatch
) -> None:
    spans.close()
    assert len(calls_of(spec, Settings())) == len(calls_of(spec, Settings(log_level="debug"))) == 1
    settled.delenv("OTEL_EXPORTER_OTLP_ENDPOINT")
    assert calls_of(spec, Settings()) == ()
    assert len(calls_of(spec, Settings(log_level="debug"))) == 1


def test_at_debug_each_call_is_one_line_with_the_trace_of_its_event(
    spec: Spec, settled: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = logging.getLogger("kafka").level
    set_up(Settings(log_level="debug"), spec, "predict")
    try:
        [calls] = calls_of(spec, Settings(log_level="debug"))
        answer = pb.PredictResponse(event_id="e1").SerializeToString()
        mine = (("traceparent", f"00-{CALLER}-00f067aa0ba902b7-01"),)
        details = type("Details", (), {"method": "/s/Predict", "invocation_metadata": mine})
        handler = grpc.unary_unary_rpc_method_handler(lambda body, _: answer)
        assert calls.intercept_service(lambda _: handler, details).unary_unary(b"", None) == answer
    finally:
        structlog.reset_defaults()
        logging.getLogger("kafka").setLevel(kafka)
    [line] = [json.loads(x) for x in capsys.readouterr().err.splitlines()]
    assert (line["message"], line["method"], line["status"]) == ("call", "Predict", "OK")
    assert line["trace"]["id"] == trace_id("p", "e1")
    assert line["headwater"]["caller"]["trace_id"] == CALLER
    assert line["headwater"]["spec_hash"] == spec.hash
    assert line["event"]["duration"] > 0


def test_leaving_waits_for_the_endpoint_no_longer_than_a_bound(spans: Spans, settled: pytest.MonkeyPatch) -> None:
    settled.setattr(_otel, "CLOSE_S", 0.2)
    given_up, tried = threading.Event(), list[threading.Thread]()
    shutdown = spans._provider.shutdown

    def never() -> None:
        tried.append(threading.current_thread())
        given_up.wait(600)

    spans._provider.shutdown = never
    spans.close()
    assert tried[0].is_alive()  # nobody waited for it, and it keeps no process
    assert tried[0].daemon
    given_up.set()
    shutdown()


class _Faulty:
    """A servicer with a bug."""

    meter = None

    @answered
    def Predict(self, body: bytes, context: Any) -> bytes:
        raise KeyError("a bug")

    @answered
    def _feedback(self, request: Any, context: Any) -> Any:
        raise KeyError("a bug")


class _Context:
    def set_trailing_metadata(self, given: Any) -> None:
        pass

    def abort(self, status: Any, detail: str) -> None:
        raise RuntimeError(detail)


def test_a_bug_in_a_call_is_one_line_with_the_trace_of_its_event_and_the_stack(
    spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    kafka = logging.getLogger("kafka").level
    set_up(Settings(), spec, "predict")
    requests = (pb.PredictRequest(event_id="e1").SerializeToString(), b"\xff\xff", b"")
    try:
        for request in requests:
            with pytest.raises(RuntimeError, match="KeyError: a bug of the server"):
                _Faulty().Predict(request, _Context())
        with pytest.raises(RuntimeError):
            _Faulty()._feedback(pb.FeedbackRequest(event_id="e2"), _Context())
    finally:
        structlog.reset_defaults()
        logging.getLogger("kafka").setLevel(kafka)
    lines = [json.loads(x) for x in capsys.readouterr().err.splitlines()]
    traces = [x.get("trace", {}).get("id") for x in lines]
    assert traces == [trace_id("p", "e1"), None, None, trace_id("p", "e2")]
    assert [x["method"] for x in lines] == ["Predict", "Predict", "Predict", "Feedback"]
    assert all("in Predict" in x["error"]["stack_trace"] for x in lines[:3])


# -- switched off, or wrongly on -------------------------------------------------------------------------


def test_where_no_endpoint_is_set_nothing_that_makes_or_sends_spans_is_imported() -> None:
    code = (
        "import sys, consumers._busy, consumers._serve_calls, consumers._ship_client, consumers._otel as o\n"
        "assert o.spans_of(None, 'x') is None\n"
        "print([m for m in sys.modules if m.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    environment = {"PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=180, env=environment, check=False,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_a_wrong_share_or_protocol_is_said(spec: Spec, settled: pytest.MonkeyPatch) -> None:
    settled.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    for share in ("2", "-1", "nan", "some"):
        settled.setenv("OTEL_TRACES_SAMPLER_ARG", share)
        with pytest.raises(DataError, match=f"OTEL_TRACES_SAMPLER_ARG: found '{share}'"):
            spans_of(spec, "x")
    settled.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    with pytest.raises(DataError, match="found 'http/json'; grpc is wanted"):
        spans_of(spec, "x")
    settled.setenv("OTEL_SDK_DISABLED", "true")
    assert spans_of(spec, "x") is None


def test_without_the_extra_it_says_what_to_install(spec: Spec, settled: pytest.MonkeyPatch) -> None:
    settled.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    settled.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with pytest.raises(HeadwaterError, match=r"pip install 'headwater\[otel\]'"):
        spans_of(spec, "x")
