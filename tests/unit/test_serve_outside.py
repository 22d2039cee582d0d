"""The producer in a process of its own: what it is told, what it answers, and what its end means. No Kafka."""

import io
import os
import pickle
import signal
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from consumers import _serve_outside
from consumers._serve_outside import Outside, OutsideProducer, run
from consumers.settings import Settings

# A process that answers as told: N to a batch means offsets from N on
ANSWERS = """
import pickle, sys, time, os
while True:
    try:
        what, *given = pickle.load(sys.stdin.buffer)
    except EOFError:
        break
    found = None
    if what == "send":
        first = given[1][0][1]
        if first == b"die":
            os._exit(3)
        if first == b"sleep":
            time.sleep(60)
        found = list(range(len(given[1])))
    pickle.dump(found, sys.stdout.buffer)
    sys.stdout.buffer.flush()
"""


@pytest.fixture
def outside(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(_serve_outside, "COMMAND", [sys.executable, "-c", ANSWERS])
    monkeypatch.setattr(_serve_outside, "_LATE_S", 0.2)
    monkeypatch.setattr(_serve_outside, "_END_S", 0.2)
    monkeypatch.setattr(_serve_outside, "CONNECT_S", 3.0)
    made = Outside()
    yield made
    made.stop()


def _send(producer: OutsideProducer, *values: bytes) -> list[Any]:
    return [producer.send("t", value=value, key=None, partition=None) for value in values]


def test_a_flush_hands_over_all_that_waits_and_tells_each_its_offset(outside: Outside) -> None:
    producer = outside.make(Settings())
    first = _send(producer, b"a", b"b")
    assert not any(pending.succeeded() for pending in first)
    producer.flush(5.0)
    assert [pending.value.offset for pending in first] == [0, 1]
    second = _send(producer, b"c")
    producer.flush(5.0)
    producer.flush(5.0)  # of nothing
    assert [pending.value.offset for pending in second] == [0]


def test_where_the_process_ends_nothing_in_its_hands_counts_as_taken_and_the_next_goes_on(outside: Outside) -> None:
    producer = outside.make(Settings())
    assert outside._child is not None
    before = outside._child.pid
    pending = _send(producer, b"die", b"b")
    with pytest.raises(KafkaConnectionError, match="the process that sends ended"):
        producer.flush(5.0)
    assert [p.succeeded() for p in pending] == [False, False]
    assert all(isinstance(p.exception, KafkaError) for p in pending)
    again = outside.make(Settings())
    assert outside._child is not None
    assert outside._child.pid != before
    fine = _send(again, b"a")
    again.flush(5.0)
    assert fine[0].succeeded()


def test_what_a_process_that_had_ended_before_never_saw_the_next_one_sends(outside: Outside) -> None:
    producer = outside.make(Settings())
    for reaped in (True, False):
        child = outside._child
        assert child is not None
        child.kill()
        if reaped:
            child.wait()
        else:
            time.sleep(0.2)  # it is known to be gone by its pipe alone
            child.poll = lambda: None  # type: ignore[method-assign]
        pending = _send(producer, b"a", b"b")
        producer.flush(5.0)
        assert [p.succeeded() for p in pending] == [True, True]
        assert outside._child is not child


def test_a_process_that_says_nothing_is_ended_in_time(outside: Outside) -> None:
    producer = outside.make(Settings())
    child = outside._child
    assert child is not None
    (pending,) = _send(producer, b"sleep")
    begun_s = time.monotonic()
    with pytest.raises(KafkaTimeoutError, match=r"said nothing in 3\.3 s"):
        producer.flush(0.1)
    assert time.monotonic() - begun_s < 30
    assert not pending.succeeded()
    assert child.returncode == -signal.SIGKILL


def test_once_stopped_none_is_begun(outside: Outside) -> None:
    producer = outside.make(Settings())
    outside.stop()
    producer.close(1.0)  # of what is gone already: no trouble
    with pytest.raises(KafkaConnectionError, match="was stopped"):
        outside.make(Settings())


def test_signals_to_all_leave_the_sending_process_to_the_one_that_answers() -> None:
    made = Outside()
    try:
        assert made.ask(("close", 0.0), 20.0) is None  # it is up
        child = made._child
        assert child is not None
        for name in (signal.SIGINT, signal.SIGTERM):
            os.kill(child.pid, name)
        assert made.ask(("close", 0.0), 5.0) is None
        assert child.poll() is None
    finally:
        made.stop()
    assert child.returncode == 0  # its input ended


# -- what goes on in there ---------------------------------------------------------------------------------


class _Producer:
    """As kafka-python's; `full` refuses from the second record on, `deaf` confirms every other record only."""

    def __init__(self, kind: str) -> None:
        self.kind, self.futures, self.closed = kind, list[Any](), list[float]()

    def send(self, topic: str, value: bytes, key: bytes | None, partition: int | None) -> Any:
        if self.kind == "full" and self.futures:
            raise KafkaTimeoutError("no room")
        done = self.kind != "deaf" or len(self.futures) % 2 == 0
        offset = SimpleNamespace(offset=100 + len(self.futures))
        self.futures.append(SimpleNamespace(succeeded=lambda: done, value=offset, exception=None))
        return self.futures[-1]

    def flush(self, timeout: float) -> None:
        if self.kind == "deaf":
            raise KafkaTimeoutError("too late")

    def close(self, timeout: float) -> None:
        self.closed.append(timeout)


def _told(monkeypatch: pytest.MonkeyPatch, make: Callable[[Settings], Any], *asked: tuple[Any, ...]) -> list[Any]:
    monkeypatch.setattr(_serve_outside, "make_producer", make)
    sink = io.BytesIO()
    run(io.BytesIO(b"".join(pickle.dumps(one) for one in asked)), sink)
    sink.seek(0)
    return [pickle.load(sink) for _ in asked]


ROWS = [("t", b"v", b"k", None)] * 3


def test_each_record_is_answered_by_its_offset_or_by_what_became_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_Producer] = []

    def make(settings: Settings) -> _Producer:
        made.append(_Producer(settings.kafka))
        return made[-1]

    asked = [(what, Settings(kafka=kind), ROWS, 1.0) for kind in ("fine", "full", "deaf") for what in ("make", "send")]
    found = _told(monkeypatch, make, *asked, ("close", 3.0), asked[1])
    assert found[0::2] == [None] * 4
    assert found[7] == [100, 101, 102]  # with none there, it makes one
    assert found[1] == [100, 101, 102]
    assert found[3][0] == 100
    assert [type(one) for one in found[3][1:]] == [KafkaError, KafkaError]
    assert "no room" in str(found[3][1])
    assert (found[5][0], found[5][2]) == (100, 102)
    assert "too late" in str(found[5][1])
    assert [producer.closed for producer in made] == [[0.0], [0.0], [3.0], [1.0]]


def test_what_kafka_refuses_comes_back_as_an_error_and_the_process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(settings: Settings) -> Any:
        raise KafkaConnectionError("nobody there")

    found = _told(monkeypatch, make, ("make", Settings()), ("make", Settings()))
    assert all(isinstance(one, KafkaError) and "nobody there" in str(one) for one in found)
