"""Calls answered by the thread that receives them: each with its own answer, once, and as the pool would answer it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from test_grpc import Running, running, until
from test_predict_plane import GOOD, make_spec, snapshot

from consumers import _serve_prompt
from consumers._grpc import SERVICE
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from stream.predict import wire
from stream.predict.served import Served, served_of
from stream.spec import Spec

PATH = f"/{SERVICE}/Predict"


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    return make_spec(tmp_path_factory.mktemp("prompt"))


@pytest.fixture(scope="module")
def served(spec: Spec, tmp_path_factory: pytest.TempPathFactory) -> Served:
    return served_of(spec, snapshot(spec, tmp_path_factory.mktemp("prompt_snapshots")))


@pytest.fixture
def server(spec: Spec, served: Served) -> Iterator[Running]:
    with running(spec, served, held_max=512) as made:
        yield made


def request_of(**other: Any) -> pb.PredictRequest:
    message = pb.PredictRequest(**other)
    for name, value in GOOD.items():
        message.fields[name].CopyFrom(wire.value_of(value))
    return message


def threads(server: Running) -> int:
    """How many of the pool's threads were ever needed."""
    return len(server.it.server._pool._own)


def test_grpcio_is_inside_as_it_is_taken_to_be() -> None:
    assert _serve_prompt.able, "grpcio has changed: calls are answered all the same, at half the rate"


@pytest.mark.parametrize("change", [{"_abort": None}, {"_status": lambda event, state: None}, {"_SEVEN": ("event",)}])
def test_another_grpcio_is_noticed(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in change.items():
        monkeypatch.setattr(_serve_prompt if name == "_SEVEN" else _serve_prompt.inside, name, value)
    assert not _serve_prompt._is_known()


def test_a_plain_call_needs_no_thread_of_the_pool(server: Running) -> None:
    for number in range(20):
        assert server.client.predict(GOOD, event_id=f"e{number}").event_id == f"e{number}"
    assert threads(server) == 0
    assert server.client.predict({**GOOD, "country": "ÄÖ"}).score > 0  # left to the row form
    assert threads(server) == 1


def test_where_grpcio_is_another_the_pool_answers_the_same(
    server: Running, spec: Spec, served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = server.client.predict(GOOD, event_id="e", unit="u")
    monkeypatch.setattr(_serve_prompt, "able", False)
    pooled = server.client.predict(GOOD, event_id="e", unit="u")
    assert threads(server) == 1
    assert (pooled.score, pooled.arm, pooled.unit, pooled.model) == (prompt.score, prompt.arm, "u", prompt.model)


def test_every_caller_gets_its_own_answer_whoever_gives_it(server: Running) -> None:
    stub = pb_grpc.PredictionsStub(server.channel)
    asked = []
    for number in range(300):
        message = request_of(event_id=f"e{number}", unit=f"u{number}")
        if number % 3 == 1:
            message.fields["country"].string_value = f"Ä{number}"  # by the row form, in the pool
        if number % 3 == 2:
            message.fields["amount"].double_value = -1.0 - number  # refused
        asked.append(stub.Predict.future(message, timeout=60))
        if number % 10 == 9:
            asked[-1].cancel()
    for number, call in enumerate(asked):
        if number % 10 == 9:
            continue
        if number % 3 == 2:
            with pytest.raises(grpc.RpcError, match=f"amount: found -{1 + number}"):
                call.result()
            assert call.code() is grpc.StatusCode.INVALID_ARGUMENT
        else:
            answer = call.result()
            assert (answer.event_id, answer.unit) == (f"e{number}", f"u{number}")
            assert answer.prediction_id.endswith(f"/e{number}")
    until(lambda: server.it.server._pool.held == 0)


def test_a_call_without_a_message_is_ended_as_grpcio_ends_it(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = []
    for able in (True, False):
        monkeypatch.setattr(_serve_prompt, "able", able)
        with pytest.raises(grpc.RpcError) as e:
            server.channel.stream_unary(PATH)(iter(()), timeout=20)
        outcomes.append((e.value.code(), e.value.details()))
    assert [code for code, _ in outcomes] == [grpc.StatusCode.UNIMPLEMENTED] * 2
    assert all("requires exactly one request message" in details for _, details in outcomes)
    until(lambda: server.it.server._pool.held == 0)
    assert server.client.predict(GOOD).score > 0


def test_a_fault_at_once_is_met_again_and_told_by_the_pool(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    answer, at = server.it.quick.answer, []

    def faulty(body: bytes, now_ms: int, at_once: bool = False) -> Any:
        at.append(at_once)
        raise ZeroDivisionError

    monkeypatch.setattr(server.it.quick, "answer", faulty)
    with pytest.raises(grpc.RpcError, match="ZeroDivisionError: a bug of the server"):
        pb_grpc.PredictionsStub(server.channel).Predict(request_of(), timeout=20)
    assert at == [True, False]
    monkeypatch.setattr(server.it.quick, "answer", answer)
    assert server.client.predict(GOOD).score > 0


def test_arms_that_take_long_are_left_to_the_pool(server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    quick, now = server.it.quick, server.clock.wall_ms()
    assert quick._prompt == {"calm", "bold", "shadow"}
    monkeypatch.setattr(quick, "_prompt", frozenset({"calm"}))
    for arm, at_once in (("calm", True), ("bold", False)):
        body = request_of(arm=arm).SerializeToString()
        assert (quick.answer(body, now, at_once=True) is not None) == at_once
        assert quick.answer(body, now) is not None


def test_a_forest_is_no_prompt_arm(tmp_path: Path) -> None:
    from stream.predict.plane import Plane
    from stream.predict.quick.plane import QuickPlane

    arms = {"calm": {"model": "linear.logistic"}, "wood": {"model": "forest.adaptive", "weight": 0}}
    assert QuickPlane(Plane(make_spec(tmp_path, arms=arms)))._prompt == {"calm"}
