"""The prediction server over real gRPC on a free port; Kafka's side is played by a producer in memory."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from kafka.errors import KafkaTimeoutError
from test_predict_plane import BAD, GOOD, NOW, make_spec, snapshot

import schemas
from consumers._exposures import Exposures
from consumers._grpc import SERVICE, ServerOptions
from consumers._kafka import Out
from consumers._serve_sender import Sender
from consumers._serve_status import STATUS
from consumers.client import Answer, CallFailed, Event, PredictionClient, Security
from consumers.predict import PredictServer
from consumers.settings import Settings
from schemas import generate
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from stream.clock import FakeClock
from stream.errors import DataError, HeadwaterError
from stream.predict import refuse
from stream.predict.served import Served, served_of
from stream.spec import Spec

SERVING, NOT_SERVING = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
)


class _Sent:
    """A future as kafka-python's, that is settled by `flush`."""

    def __init__(self, offset: int) -> None:
        self.value = type("Metadata", (), {"offset": offset})()
        self.exception: Exception | None = None
        self.done = False

    def succeeded(self) -> bool:
        return self.done and self.exception is None


class Kafka:
    """Producers in memory. down: none can be made; deaf: nothing is confirmed; slow_s: what a flush takes."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None, bytes]] = []
        self.made = 0
        self.down = self.deaf = False
        self.slow_s = 0.0

    def make(self, _: Settings) -> "_Producer":
        if self.down:
            raise KafkaTimeoutError("no broker")
        self.made += 1
        return _Producer(self)

    def of(self, topic: str, kind: str) -> list[tuple[bytes | None, dict[str, Any]]]:
        """Records of a topic, decoded."""
        return [(k, schemas.codec(kind).decode(v)) for t, k, v in self.records if t == topic]


class _Producer:
    def __init__(self, kafka: Kafka) -> None:
        self.kafka = kafka
        self.waiting: list[_Sent] = []

    def send(self, topic: str, value: bytes, key: bytes | None, partition: int | None) -> _Sent:
        sent = _Sent(len(self.kafka.records))
        self.waiting.append(sent)
        if self.kafka.deaf:
            sent.exception = KafkaTimeoutError("not confirmed")
        else:
            self.kafka.records.append((topic, key, value))
        return sent

    def flush(self, timeout: float) -> None:
        time.sleep(self.kafka.slow_s)
        for sent in self.waiting:
            sent.done = True
        self.waiting = []

    def close(self, timeout: float) -> None:
        pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("grpc")


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return make_spec(folder)


@pytest.fixture(scope="module")
def served(spec: Spec, folder: Path) -> Served:
    return served_of(spec, snapshot(spec, folder / "snapshots"))


class Running:
    """A server on a free port, its client, its Kafka."""

    def __init__(
        self,
        spec: Spec,
        served: Served | None,
        options: ServerOptions,
        settings: Settings | None = None,
        security: Security | None = None,
    ) -> None:
        settings = settings or Settings(grpc="127.0.0.1:0")
        self.kafka = Kafka()
        self.clock = FakeClock(NOW + 100)
        self.it = PredictServer(spec, settings, options, self.clock, self.kafka.make)
        self.it.exposures.start()
        self.it.labels.sender.start()
        self.address = f"127.0.0.1:{self.it.listen('127.0.0.1:0')}"
        if served is not None:
            self.it.plane.swap(served)
            self.it.server.tell(True)
        self.client = PredictionClient(self.address, 5.0, security)
        self.channel = grpc.insecure_channel(self.address)

    def health(self, name: str = SERVICE, timeout_s: float = 2.0) -> int:
        stub = health_pb2_grpc.HealthStub(self.channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=timeout_s).status)

    def close(self) -> None:
        self.client.close()
        self.channel.close()
        self.it.close()


@contextmanager
def running(
    spec: Spec,
    served: Served | None,
    settings: Settings | None = None,
    security: Security | None = None,
    **options: Any,
) -> Iterator[Running]:
    made = Running(spec, served, ServerOptions(**options), settings, security)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def server(spec: Spec, served: Served) -> Iterator[Running]:
    with running(spec, served) as made:
        yield made


def until(holds: Any, timeout_s: float = 5.0) -> None:
    """Wait for a condition."""
    end = time.monotonic() + timeout_s
    while not holds():
        assert time.monotonic() < end, "it never came about"
        time.sleep(0.01)


def hold(server: Running) -> tuple[threading.Event, list[int]]:
    """Hold calls at work until the event is set; the list grows by one with each."""
    answer, gate, worked = server.it.quick.answer, threading.Event(), []

    def slow(body: bytes, now_ms: int, at_once: bool = False) -> Any:
        if at_once:
            return None  # as of an arm that takes long
        worked.append(1)
        gate.wait(5)
        return answer(body, now_ms)

    server.it.quick.answer = slow  # type: ignore[method-assign]
    return gate, worked


def test_the_committed_modules_are_what_the_generator_gives() -> None:
    for name, body in generate.generate().items():
        assert (Path(schemas.__file__).parent / name).read_bytes() == body, f"{name}: python -m schemas.generate"


def test_predict_answers_with_arm_model_and_freshness(server: Running, served: Served, spec: Spec) -> None:
    answer = server.client.predict(GOOD, event_id="e1")
    expected = server.it.plane.predict(GOOD, "e1", now_ms=NOW + 100)
    assert (answer.score, answer.arm, answer.unit) == (expected.score, expected.arm, "ann")
    assert (answer.propensity, answer.experiment, answer.arm_requested) == (0.5, "calm-or-bold", False)
    assert answer.prediction_id.endswith("/e1")
    assert (answer.model.generation, answer.model.sha256) == (1, served.sha256)
    assert (answer.model.rows, answer.model.label_offset, answer.model.as_of_ms) == (2000, 1999, NOW)
    assert (answer.staleness_ms, answer.spec_hash) == (100, spec.hash)
    asked = server.client.predict(GOOD, arm="shadow")
    assert (asked.propensity, asked.experiment, asked.arm_requested) == (1.0, "", True)


def test_a_batch_answers_each_row_by_itself(server: Running) -> None:
    first, bad, last = server.client.predict_batch([GOOD, Event({**GOOD, "amount": "x"}), Event(GOOD, arm="bold")])
    assert isinstance(first, Answer)
    assert isinstance(bad, CallFailed)
    assert (bad.status, bad.reason) == ("INVALID_ARGUMENT", "field.wrong_type")
    assert "amount: found 'x' (string); a number is wanted" in str(bad)
    assert isinstance(last, Answer)
    assert last.arm == "bold"
    assert server.client.predict_batch([]) == []
    with pytest.raises(CallFailed, match="4097 requests; at most 4096") as e:
        server.client.predict_batch([{}] * 4097)
    assert e.value.status == "INVALID_ARGUMENT"


def test_describe_says_all_that_a_caller_needs(server: Running, spec: Spec, served: Served) -> None:
    found = server.client.describe()
    assert (found.pipeline, found.task, found.spec_hash) == ("visits", "binary", spec.hash)
    assert (found.event_id_field, found.event_time_field) == ("id", "at")
    fields = {f.name: f for f in found.fields}
    assert set(fields) == {
        "id",
        "at",
        "user",
        "amount",
        "visits",
        "count",
        "ratio",
        "country",
        "device",
        "vip",
    }
    assert [n for n, f in fields.items() if f.required] == ["amount", "device"]
    assert (fields["amount"].type, fields["amount"].avro) == ("numeric", "double")
    assert (fields["amount"].min, fields["amount"].max, fields["amount"].outside) == (0, 1000, "reject")
    assert not fields["vip"].HasField("min")
    assert list(fields["device"].symbols) == ["phone", "desk"]
    assert [(a.name, a.weight, a.propensity) for a in found.arms] == [
        ("calm", 0.5, 0.5),
        ("bold", 0.5, 0.5),
        ("shadow", 0.0, 0.0),
    ]
    assert (found.experiment.name, found.experiment.unit) == ("calm-or-bold", "user")
    assert found.experiment.assignment_version == 1
    assert found.model is not None
    assert (found.model.sha256, found.staleness_ms) == (served.sha256, 100)


@pytest.mark.parametrize(("what", "fields", "request_", "kind", "reason", "said"), BAD, ids=[b[0] for b in BAD])
def test_every_bad_request_gets_its_status_and_a_message_and_the_server_stays_up(
    server: Running,
    what: str,
    fields: dict[str, Any],
    request_: dict[str, Any],
    kind: type[refuse.Refused],
    reason: str,
    said: list[str],
) -> None:
    with pytest.raises((CallFailed, DataError)) as e:
        server.client.predict({**GOOD, **fields}, **request_)
    if isinstance(e.value, CallFailed):
        assert e.value.status == STATUS[kind].name
        assert e.value.reason == reason
        assert all(part in str(e.value) for part in said), str(e.value)
    else:  # a value that no message can carry never leaves the client
        assert what in ("an unhashable", "a lone surrogate")
        assert str(e.value).startswith(next(iter(fields)))
    assert server.client.predict(GOOD).score > 0


def test_each_kind_of_refusal_has_a_status() -> None:
    kinds = {k for k in vars(refuse).values() if isinstance(k, type) and issubclass(k, refuse.Refused)}
    assert set(STATUS) == kinds - {refuse.Refused}


def test_a_long_message_of_many_bytes_still_arrives(server: Running) -> None:
    with pytest.raises(CallFailed) as e:
        server.client.predict({**GOOD, "device": "🦉" * 100_000})
    assert e.value.status == "INVALID_ARGUMENT"
    with pytest.raises(CallFailed, match="value: found '🦉") as e:
        server.client.feedback("🦉" * 100_000, event_id="e")
    assert e.value.status == "INVALID_ARGUMENT"
    assert len(str(e.value)) < 1000


def test_a_message_too_large_is_refused_and_the_next_is_answered(server: Running) -> None:
    with pytest.raises(CallFailed) as e:
        server.client.predict({**GOOD, "country": "x" * (9 << 20)})
    assert e.value.status == "RESOURCE_EXHAUSTED"
    assert server.client.predict(GOOD).score > 0


def test_bytes_that_are_no_message_are_refused_and_the_server_stays_up(server: Running) -> None:
    call = server.channel.unary_unary(f"/{SERVICE}/Predict")
    with pytest.raises(grpc.RpcError):
        call(b"\xff\xff\xff", timeout=5)
    assert server.client.predict(GOOD).score > 0


def test_a_bug_is_told_as_internal_and_the_server_stays_up(
    server: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(server.it.quick, "answer", lambda *_: 1 // 0)
        with pytest.raises(CallFailed, match="ZeroDivisionError") as e:
            server.client.predict(GOOD)
    assert (e.value.status, e.value.reason) == ("INTERNAL", "server.bug")
    assert server.client.predict(GOOD).score > 0


def test_health_follows_the_model_and_the_drain(spec: Spec, served: Served) -> None:
    with running(spec, None) as server:
        assert server.health() == server.health("") == NOT_SERVING
        with pytest.raises(CallFailed, match="no model is loaded yet") as e:
            server.client.predict(GOOD, timeout_s=0.2)
        assert (e.value.status, e.value.reason) == ("UNAVAILABLE", "model.none")
        assert server.client.describe().model is None
        server.it.plane.swap(served)
        server.it.server.tell(True)
        assert server.health() == server.health("") == SERVING


def test_reflection_lists_the_services_unless_switched_off(spec: Spec, served: Served) -> None:
    def listed(server: Running) -> list[str]:
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([asked]), timeout=5)
        return [s.name for s in answer.list_services_response.service]

    with running(spec, served) as server:
        assert {SERVICE, "grpc.health.v1.Health"} <= set(listed(server))
    with running(spec, served, reflection=False) as server:
        with pytest.raises(grpc.RpcError) as e:
            listed(server)
        assert e.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_port_in_use_is_one_clear_error(server: Running, spec: Spec) -> None:
    other = PredictServer(spec, Settings(), producer=Kafka().make)
    with pytest.raises(HeadwaterError, match=f"can't listen at {server.address}: the port is in use"):
        other.server.start(server.address)
    other.close()


def test_a_flood_is_shed_and_health_still_answers(spec: Spec, served: Served) -> None:
    with running(spec, served, workers=2, held_max=8) as server:
        gate, _ = hold(server)
        stub = pb_grpc.PredictionsStub(server.channel)
        request = pb.PredictRequest(event_id="e")
        request.fields["amount"].double_value = 1.0
        request.fields["device"].string_value = "desk"
        calls = [stub.Predict.future(request, timeout=20) for _ in range(80)]
        until(lambda: sum(c.done() for c in calls) == 72)
        assert server.health(timeout_s=1.0) == SERVING
        gate.set()
        codes = [c.code() for c in calls]
        assert codes.count(grpc.StatusCode.OK) == 8
        assert codes.count(grpc.StatusCode.RESOURCE_EXHAUSTED) == 72
        refused = next(c for c in calls if c.code() is not grpc.StatusCode.OK)
        assert "8 calls are in hand" in refused.details()
        assert dict(refused.trailing_metadata())["headwater-reason"] == "server.overloaded"
        until(lambda: server.it.server._pool.held == 0)
        assert server.client.predict(GOOD).score > 0


def test_a_call_whose_deadline_passed_in_the_queue_is_not_worked_on(spec: Spec, served: Served) -> None:
    with running(spec, served, workers=1) as server:
        gate, worked = hold(server)
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(server.client.predict, GOOD)
            until(lambda: worked)
            with pytest.raises(CallFailed) as e:
                server.client.predict(GOOD, timeout_s=0.1)
            assert e.value.status == "DEADLINE_EXCEEDED"
            time.sleep(0.3)  # the server counts from when the call came, so to a little later than its caller
            gate.set()
            assert first.result().score > 0
        assert server.client.predict(GOOD).score > 0
        assert len(worked) == 2


def test_a_drain_ends_calls_at_work_and_takes_no_new_ones(spec: Spec, served: Served) -> None:
    with running(spec, served) as server:
        gate, worked = hold(server)
        watch = health_pb2_grpc.HealthStub(server.channel).Watch(
            health_pb2.HealthCheckRequest(service=SERVICE), timeout=10
        )
        assert next(watch).status == SERVING
        with ThreadPoolExecutor(2) as pool:
            at_work = pool.submit(server.client.predict, GOOD)
            until(lambda: worked)
            drained = pool.submit(server.it.server.drain)
            assert next(watch).status == NOT_SERVING
            with pytest.raises(CallFailed, match="leaving") as e:
                server.client.predict(GOOD, timeout_s=3)
            assert (e.value.status, e.value.reason) == ("UNAVAILABLE", "server.leaving")
            assert server.health() == NOT_SERVING
            gate.set()
            assert at_work.result().score > 0
            assert drained.result()
        with pytest.raises(CallFailed):
            server.client.predict(GOOD, timeout_s=0.2)


def test_a_call_that_does_not_end_is_not_waited_for_for_ever(spec: Spec, served: Served) -> None:
    with running(spec, served, drain_s=0.3) as server:
        gate, worked = hold(server)
        with ThreadPoolExecutor(1) as pool:
            stuck = pool.submit(server.client.predict, GOOD, timeout_s=3)
            until(lambda: worked)
            begun = time.monotonic()
            assert not server.it.server.drain()
            assert time.monotonic() - begun < 2
            gate.set()
            assert isinstance(stuck.exception(), CallFailed)


# -- labels --------------------------------------------------------------------------------------------


def test_feedback_answers_once_kafka_has_the_label(server: Running) -> None:
    answer = server.client.predict(GOOD, event_id="a/b")
    assert isinstance(server.client.feedback(True, prediction_id=answer.prediction_id, time_ms=NOW - 5), int)
    server.client.feedback(0, event_id="e2")
    assert server.kafka.of("visits.labels", "label") == [
        (b"a/b", {"id": "a/b", "value": True, "time_ms": NOW - 5}),
        (b"e2", {"id": "e2", "value": 0, "time_ms": NOW + 100}),
    ]


WRONG_LABELS: list[tuple[pb.FeedbackRequest, list[str]]] = [
    (pb.FeedbackRequest(event_id="e"), ["value", "missing"]),
    (pb.FeedbackRequest(bool_value=True), ["event_id", "0 characters"]),
    (pb.FeedbackRequest(event_id="x" * 257, bool_value=True), ["event_id", "257", "256"]),
    (pb.FeedbackRequest(prediction_id="e", bool_value=True), ["prediction_id", "'e'"]),
    (pb.FeedbackRequest(event_id="e", int64_value=2), ["value", "2", "0 or 1"]),
    (pb.FeedbackRequest(event_id="e", string_value="yes"), ["value", "'yes'", "0 or 1"]),
    (pb.FeedbackRequest(event_id="e", double_value=float("nan")), ["value", "nan", "0 or 1"]),
    (pb.FeedbackRequest(event_id="e", bool_value=True, time_ms=-1), ["time_ms", "-1"]),
    (pb.FeedbackRequest(event_id="e", bool_value=True, time_ms=NOW + 10**9), ["time_ms", str(NOW + 10**9)]),
]


@pytest.mark.parametrize(("request_", "said"), WRONG_LABELS)
def test_a_wrong_label_is_refused_and_not_published(
    server: Running, request_: pb.FeedbackRequest, said: list[str]
) -> None:
    stub: Any = pb_grpc.PredictionsStub(server.channel)
    with pytest.raises(grpc.RpcError) as e:
        stub.Feedback(request_, timeout=5)
    assert e.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert all(part in e.value.details() for part in said), e.value.details()
    assert not server.kafka.of("visits.labels", "label")


def test_a_label_that_kafka_does_not_confirm_is_never_answered_with_ok(server: Running) -> None:
    server.kafka.deaf = True
    with pytest.raises(CallFailed, match="did not confirm") as e:
        server.client.feedback(True, event_id="e")
    assert (e.value.status, e.value.reason) == ("DEADLINE_EXCEEDED", "label.not_confirmed")
    server.kafka.deaf = False
    made = server.kafka.made
    assert server.client.feedback(True, event_id="e") >= 0
    assert server.kafka.made == made + 1  # a producer that failed is never used again


def test_without_kafka_labels_keep_their_deadline_and_predictions_go_on(spec: Spec, served: Served) -> None:
    with running(spec, served, labels=2) as server:
        until(lambda: server.kafka.made == 2)
        server.kafka.down = server.kafka.deaf = True
        with ThreadPoolExecutor(6) as pool:
            begun = time.monotonic()
            labels = [pool.submit(server.client.feedback, True, event_id=f"e{i}", timeout_s=0.6) for i in range(6)]
            for _ in range(20):
                assert server.client.predict(GOOD, timeout_s=0.5).score > 0
            for label in labels:
                assert isinstance(label.exception(), CallFailed)
            assert time.monotonic() - begun < 3
        server.kafka.down = server.kafka.deaf = False
        assert server.client.feedback(True, event_id="after", timeout_s=5) >= 0
        time.sleep(0.3)
        ids = [r["id"] for _, r in server.kafka.of("visits.labels", "label")]
        assert ids == ["after"]  # those given up were not sent behind their callers' backs


def test_labels_that_wait_for_kafka_hold_up_no_prediction(spec: Spec, served: Served) -> None:
    with running(spec, served, workers=1, labels=2) as server:
        server.client.predict(GOOD)
        server.kafka.slow_s = 1.0
        with ThreadPoolExecutor(4) as pool:
            labels = [pool.submit(server.client.feedback, True, event_id=f"e{i}") for i in range(4)]
            until(lambda: server.it.server._pools[0].held == 4)
            for _ in range(10):
                assert server.client.predict(GOOD, timeout_s=0.5).score > 0
            assert not any(label.done() for label in labels)
            assert sorted(label.result() for label in labels)


# -- exposures -----------------------------------------------------------------------------------------


def test_every_answer_is_logged_with_what_it_said(server: Running, served: Served) -> None:
    answers = [server.client.predict(GOOD, event_id=f"e{i}") for i in range(20)]
    batch = server.client.predict_batch([GOOD, {}, Event(GOOD, arm="shadow")])
    until(lambda: len(server.kafka.of("visits.predictions", "prediction")) == 22)
    records = server.kafka.of("visits.predictions", "prediction")
    by_id = {r["prediction_id"]: (k, r) for k, r in records}
    for a in answers + [b for b in batch if isinstance(b, Answer)]:
        key, r = by_id[a.prediction_id]
        assert key == a.event_id.encode()
        assert (r["id"], r["unit"], r["arm"], r["propensity"]) == (a.event_id, a.unit, a.arm, a.propensity)
        assert (r["score"], r["staleness_ms"], r["experiment"]) == (a.score, a.staleness_ms, a.experiment)
        assert (r["model_generation"], r["model_sha256"]) == (1, served.sha256)
        assert (r["trained_label_offset"], r["spec_hash"]) == (1999, a.spec_hash)
        assert (r["served_ms"], r["dropped_before"]) == (NOW + 100, 0)
        assert 0 < r["latency_us"] < 5_000_000
    until(lambda: server.client.describe().exposures.sent == 22)


def test_an_exposure_never_waits_and_what_is_dropped_is_counted_and_said(spec: Spec, served: Served) -> None:
    kafka = Kafka()
    kafka.slow_s = 0.05
    sender = Sender(Settings(), "exposures", 10, kafka.make)
    exposures = Exposures("visits.predictions", sender)
    with running(spec, served) as server:
        answer = server.it.plane.predict(GOOD, now_ms=NOW)
    begun = time.perf_counter()
    for _ in range(1000):
        exposures.put(answer, NOW, 1)
    assert time.perf_counter() - begun < 0.5
    assert exposures.counts() == (0, 990, 10)
    exposures.start()
    until(lambda: exposures.counts()[0] == 10)
    exposures.put(answer, NOW, 1)
    assert exposures.close(5.0) == 990
    said = [r["dropped_before"] for _, r in kafka.of("visits.predictions", "prediction")]
    assert said == [0] * 10 + [990]


def test_exposures_that_kafka_does_not_confirm_count_as_dropped() -> None:
    kafka = Kafka()
    kafka.deaf = True
    sender = Sender(Settings(), "exposures", 10, kafka.make)
    lost: list[str] = []

    class Parcel:
        def out(self) -> Any:
            return Out("t", b"v")

        def sent(self, offset: int) -> None:
            raise AssertionError

        def lost(self, why: str, maybe_written: bool) -> None:
            lost.append(why)

    assert sender.offer(Parcel())
    sender.start()
    until(lambda: lost)
    assert "KafkaTimeoutError" in lost[0]
    assert sender.close(5.0) == 0
    assert not sender.offer(Parcel())


def test_leaving_without_kafka_is_bounded_and_counts_what_is_left(spec: Spec, served: Served) -> None:
    kafka = Kafka()
    kafka.down = True
    exposures = Exposures("visits.predictions", Sender(Settings(), "exposures", 10, kafka.make))
    exposures.start()
    with running(spec, served) as server:
        answer = server.it.plane.predict(GOOD, now_ms=NOW)
    for _ in range(5):
        exposures.put(answer, NOW, 1)
    begun = time.monotonic()
    assert exposures.close(0.5) == 5
    assert time.monotonic() - begun < 2


# -- the client ----------------------------------------------------------------------------------------


def test_the_client_tries_again_while_the_server_is_unavailable(spec: Spec, served: Served) -> None:
    with running(spec, None) as server:
        threading.Timer(0.3, server.it.plane.swap, (served,)).start()
        assert server.client.predict(GOOD, timeout_s=5).score > 0


def test_the_client_keeps_its_deadline_when_nobody_is_there() -> None:
    begun = time.monotonic()
    with (
        pytest.raises(CallFailed, match=r"127\.0\.0\.1:1:") as e,
        PredictionClient("127.0.0.1:1", 0.5) as client,
    ):
        client.predict(GOOD)
    assert e.value.status in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    assert time.monotonic() - begun < 5


def test_the_client_does_not_repeat_what_can_not_pass(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    answer = server.it.plane.predict_batch
    monkeypatch.setattr(server.it.plane, "predict_batch", lambda *a: (calls.append(1), answer(*a))[1])
    with pytest.raises(CallFailed):
        server.client.predict({"amount": -1.0, "device": "desk"})
    assert len(calls) == 1


def test_values_that_no_message_can_carry_are_refused_by_name(server: Running) -> None:
    for bad in (1 << 63, [1], {"a": 1}, b"x"):
        with pytest.raises(DataError, match="visits: "):
            server.client.predict({**GOOD, "visits": bad})
    with pytest.raises(DataError, match="exactly one"):
        server.client.feedback(True)
    with pytest.raises(DataError, match="found None"):
        server.client.feedback(None, event_id="e")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="more than 0"):
        PredictionClient(timeout_s=0)


# -- what the quick way hands over ---------------------------------------------------------------------


def test_calls_that_the_quick_way_hands_over_are_answered_as_one_block_each_with_its_own(
    spec: Spec, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(spec, served, workers=6, gather_wait_s=5.0) as server:
        sizes: list[int] = []
        monkeypatch.setattr(server.it.quick, "answer", lambda *_, **__: None)
        answer = server.it.plane.predict_batch
        monkeypatch.setattr(server.it.plane, "predict_batch", lambda r, *a: (sizes.append(len(r)), answer(r, *a))[1])
        names = [f"ä{n}" for n in range(5)]
        with ThreadPoolExecutor(6) as pool:
            asked = [pool.submit(server.client.predict, GOOD, unit=n, event_id=n, timeout_s=2.0) for n in names]
            wrong = pool.submit(server.client.predict, {**GOOD, "amount": -1.0}, timeout_s=2.0)
            assert [a.result().unit for a in asked] == [a.result().event_id for a in asked] == names
            with pytest.raises(CallFailed, match="amount: found -1"):
                wrong.result()
        assert sum(sizes) == 6
        assert len(sizes) < 6


def test_a_request_of_other_bytes_says_so(server: Running) -> None:
    call = server.channel.unary_unary(f"/{SERVICE}/Predict")
    with pytest.raises(grpc.RpcError, match="found 3 bytes that are no PredictRequest") as e:
        call(b"\xff\xff\xff", timeout=5)
    assert e.value.code() is grpc.StatusCode.INVALID_ARGUMENT
