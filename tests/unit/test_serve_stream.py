"""PredictStream: in order, bounded, and ended in good order; the loop by itself, then over real gRPC."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_grpc import Running, running, until
from test_predict_plane import GOOD, make_spec, snapshot

from consumers._serve_stream import AHEAD_MAX, answers
from consumers.client import Answer, CallFailed, Event
from stream.errors import DataError
from stream.predict.refuse import NoModel
from stream.predict.served import Served, served_of
from stream.spec import Spec


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 300))
def test_all_is_answered_once_in_order_in_blocks_that_are_bounded(n: int) -> None:
    blocks: list[int] = []

    def answer(batch: list[int]) -> list[str]:
        blocks.append(len(batch))
        return [str(i) for i in batch]

    assert list(answers(range(n), answer, lambda: False)) == [str(i) for i in range(n)]
    assert sum(blocks) == n
    assert all(0 < size <= AHEAD_MAX for size in blocks)


def test_no_more_is_read_than_a_bounded_number_ahead_of_what_was_taken() -> None:
    read = []

    def requests() -> Iterator[int]:
        for i in range(10_000):
            read.append(i)
            yield i

    for taken, found in enumerate(answers(requests(), lambda batch: batch, lambda: False)):
        assert found == taken
        # what is being given out, what waits, and the one that the reader holds
        assert len(read) <= taken + 1 + 2 * AHEAD_MAX + 1
        if taken == 1000:
            break
    threads = [t for t in threading.enumerate() if t.name == "read ahead"]
    for t in threads:
        t.join(5)
    assert not any(t.is_alive() for t in threads)  # nobody reads for a stream that was left


def test_a_stream_is_answered_to_the_end_of_what_was_read_when_the_server_leaves() -> None:
    leaving, more = threading.Event(), threading.Event()

    def requests() -> Iterator[int]:
        yield from range(3)
        more.wait(10)

    found = answers(requests(), lambda batch: batch, leaving.is_set)
    assert [next(found) for _ in range(3)] == [0, 1, 2]
    leaving.set()
    with pytest.raises(NoModel, match="leaving"):
        next(found)
    more.set()


def test_a_caller_who_breaks_off_ends_the_stream() -> None:
    def requests() -> Iterator[int]:
        yield 1
        raise RuntimeError("cancelled")

    assert list(answers(requests(), lambda batch: batch, lambda: False)) == [1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stream")


@pytest.fixture(scope="module")
def spec(folder: Path) -> Spec:
    return make_spec(folder)


@pytest.fixture(scope="module")
def served(spec: Spec, folder: Path) -> Served:
    return served_of(spec, snapshot(spec, folder / "snapshots"))


def test_events_are_answered_one_for_one_and_a_bad_one_ends_nothing(spec: Spec, served: Served) -> None:
    given = [Event({**GOOD, "amount": float(i)}, event_id=f"e{i}") for i in range(300)]
    given[7] = Event({**GOOD, "amount": -1.0})
    with running(spec, served) as server:
        found = list(server.client.predict_stream(given, timeout_s=30))
        assert len(found) == 300
        bad = found.pop(7)
        assert isinstance(bad, CallFailed)
        assert (bad.status, bad.reason) == ("INVALID_ARGUMENT", "value.out_of_range")
        wanted = server.client.predict_batch([e for e in given if e.event_id])
        for one, other in zip(found, wanted, strict=True):
            assert isinstance(one, Answer)
            assert isinstance(other, Answer)
            assert (one.event_id, one.score, one.arm) == (other.event_id, other.score, other.arm)
        until(lambda: len(server.kafka.of("visits.predictions", "prediction")) == 598)


def test_a_caller_who_takes_no_answers_is_held_up_and_goes_on_when_he_does(spec: Spec, served: Served) -> None:
    sent, wide = [], "x" * 1000

    def endless() -> Iterator[Event]:
        for i in range(20_000):
            sent.append(i)
            yield Event(GOOD, event_id=f"e{i}", unit=wide)  # the answer is as long

    with running(spec, served) as server:
        found = server.client.predict_stream(endless(), timeout_s=60)
        assert isinstance(next(found), Answer)
        size, still = -1, 0
        while still < 5:  # until nothing moves
            threading.Event().wait(0.2)
            still, size = (still + 1, size) if len(sent) == size else (0, len(sent))
        assert size < 15_000
        for _ in range(500):
            assert isinstance(next(found), Answer)
        found.close()
        until(lambda: server.it.server._pools[1].held == 0)
        assert server.client.predict(GOOD).score > 0


def test_a_drain_ends_open_streams_and_says_so(spec: Spec, served: Served) -> None:
    held = threading.Event()

    def slow() -> Iterator[Event]:
        yield Event(GOOD)
        held.wait(20)

    with running(spec, served) as server:
        found = server.client.predict_stream(slow(), timeout_s=30)
        assert isinstance(next(found), Answer)
        assert server.it.server.drain()
        with pytest.raises(CallFailed, match="leaving") as e:
            next(found)
        assert (e.value.status, e.value.reason) == ("UNAVAILABLE", "server.leaving")
        with pytest.raises(CallFailed):
            list(server.client.predict_stream([GOOD], timeout_s=1))
        held.set()


def _fails(server: Running, events: Any, status: str, said: str, timeout_s: float = 10) -> None:
    with pytest.raises(CallFailed) as e:
        list(server.client.predict_stream(events, timeout_s))
    assert (e.value.status, said in str(e.value)) == (status, True), str(e.value)


def test_streams_beyond_the_bound_are_refused_at_once(spec: Spec, served: Served) -> None:
    held = threading.Event()

    def slow() -> Iterator[Event]:
        yield Event(GOOD)
        held.wait(20)

    with running(spec, served, streams=1) as server:
        first = server.client.predict_stream(slow(), timeout_s=30)
        assert isinstance(next(first), Answer)
        _fails(server, [GOOD], "RESOURCE_EXHAUSTED", "1 calls are in hand")
        held.set()
        assert list(first) == []
        until(lambda: server.it.server._pools[1].held == 0)
        assert len(list(server.client.predict_stream([GOOD], timeout_s=10))) == 1


def test_what_ends_a_whole_stream_has_its_status(spec: Spec, served: Served) -> None:
    with running(spec, None) as server:
        _fails(server, [GOOD], "UNAVAILABLE", "no model is loaded yet")
        server.it.plane.swap(served)
        held = threading.Event()

        def never() -> Iterator[Event]:
            yield Event(GOOD)
            held.wait(20)

        _fails(server, never(), "DEADLINE_EXCEEDED", "", timeout_s=0.5)
        held.set()
        server.it.plane.predict_batch = lambda *_: 1 // 0  # type: ignore[method-assign]
        _fails(server, [GOOD], "INTERNAL", "ZeroDivisionError")


def test_a_value_that_no_message_can_carry_ends_the_stream_with_what_is_wrong(spec: Spec, served: Served) -> None:
    with running(spec, served) as server, pytest.raises(DataError, match="visits: "):
        list(server.client.predict_stream([{**GOOD, "visits": 1 << 63}], timeout_s=5))
