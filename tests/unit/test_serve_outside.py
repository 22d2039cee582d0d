"""The producer in a process of its own: what it is told, what it answers, and what its end means. No Kafka."""

import io
import os
import signal
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from consumers import _serve_outside
from consumers._producer import Out
from consumers._serve_outside import ANSWER, QUESTION, Outside, OutsideProducer, put, question, run, take
from consumers.settings import Settings

# A process that does as the first record of a batch says
ANSWERS = """
import sys, time, os
from consumers._serve_outside import ANSWER, QUESTION, put, take
while True:
    try:
        told = take(sys.stdin.buffer, QUESTION)
    except EOFError:
        break
    first = told["rows"][0]["value"] if told["rows"] else b""
    if first == b"die":
        os._exit(3)
    if first == b"sleep":
        time.sleep(60)
    put(sys.stdout.buffer, ANSWER, {"wrong": "", "found": list(range(len(told["rows"])))})
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
        assert made.ask(question("close"), 20.0) == []  # it is up
        child = made._child
        assert child is not None
        for name in (signal.SIGINT, signal.SIGTERM):
            os.kill(child.pid, name)
        assert made.ask(question("close"), 5.0) == []
        assert child.poll() is None
    finally:
        made.stop()
    assert child.returncode == 0  # its input ended


# -- what goes on in there ---------------------------------------------------------------------------------


class _Producer:
    """As kafka-python's; `full` refuses from the second record on, `deaf` confirms every other record only."""

    def __init__(self, kind: str) -> None:
        self.kind, self.futures, self.closed, self.sent = kind, list[Any](), list[float](), list[Any]()

    def send(self, topic: str, value: bytes, key: bytes | None, partition: int | None) -> Any:
        if self.kind == "full" and self.futures:
            raise KafkaTimeoutError("no room")
        self.sent.append((topic, value, key, partition))
        done = self.kind != "deaf" or len(self.futures) % 2 == 0
        offset = SimpleNamespace(offset=100 + len(self.futures))
        self.futures.append(SimpleNamespace(succeeded=lambda: done, value=offset, exception=None))
        return self.futures[-1]

    def flush(self, timeout: float) -> None:
        if self.kind == "deaf":
            raise KafkaTimeoutError("too late")

    def close(self, timeout: float) -> None:
        self.closed.append(timeout)


def _told(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[Settings], Any], *asked: dict[str, Any]
) -> list[dict[str, Any]]:
    monkeypatch.setattr(_serve_outside, "make_producer", make)
    source, sink = io.BytesIO(), io.BytesIO()
    for one in asked:
        put(source, QUESTION, one)
    source.seek(0)
    run(source, sink)
    sink.seek(0)
    return [take(sink, ANSWER) for _ in asked]


ROWS = [Out("t", b"v", b"k"), Out("t", None, None, 1), Out("t", b"")]


def test_each_record_is_answered_by_its_offset_or_by_what_became_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[_Producer] = []

    def make(settings: Settings) -> _Producer:
        made.append(_Producer(settings.kafka))
        return made[-1]

    given = [Settings(kafka=kind).model_dump_json() for kind in ("fine", "full", "deaf")]
    asked = [question(what, one, 2.0, ROWS if what == "send" else ()) for one in given for what in ("make", "send")]
    found = _told(monkeypatch, make, *asked, question("close", within_s=3.0), asked[1])
    assert [one["wrong"] for one in found] == [""] * 8
    assert [one["found"] for one in found[0::2]] == [[]] * 4
    fine, full, deaf, again = (one["found"] for one in found[1::2])
    assert fine == again == [100, 101, 102]  # with none there, it makes one
    assert full == [100, "KafkaTimeoutError: no room", "KafkaTimeoutError: no room"]
    assert deaf == [100, "KafkaTimeoutError: too late", 102]
    assert [producer.closed for producer in made] == [[2.0], [2.0], [3.0], [1.0]]
    assert made[0].sent == [("t", b"v", b"k", None), ("t", None, None, 1), ("t", b"", None, None)]


def test_what_kafka_refuses_comes_back_as_an_error_and_the_process_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(settings: Settings) -> Any:
        raise KafkaConnectionError("nobody there")

    found = _told(monkeypatch, make, *[question("make", Settings().model_dump_json())] * 2)
    assert [one["found"] for one in found] == [[], []]
    assert all("nobody there" in one["wrong"] for one in found)


@pytest.mark.parametrize("cut", [1, 4, 5, -1])
def test_a_message_that_was_cut_is_an_end(cut: int) -> None:
    whole = io.BytesIO()
    put(whole, QUESTION, question("send", rows=ROWS))
    with pytest.raises(EOFError):
        take(io.BytesIO(whole.getvalue()[:cut]), QUESTION)
