"""The threads that calls run in: all that is handed over runs, is counted, and is told of once."""

import threading
from typing import Any

import pytest

from consumers._serve_pool import Pool


def test_every_call_runs_and_is_told_of_once() -> None:
    pool, ran, told, lock = Pool(3, "test"), [], [], threading.Lock()
    all_told = threading.Semaphore(0)

    def tell(number: int) -> Any:
        def done(_: Any) -> None:
            with lock:
                told.append(number)
            all_told.release()

        return done

    for number in range(500):
        pool.submit(ran.append, number).add_done_callback(tell(number))
    for _ in range(500):
        assert all_told.acquire(timeout=30)
    assert sorted(ran) == sorted(told) == list(range(500))
    assert pool.held == 0
    pool.shutdown()
    with pytest.raises(RuntimeError, match="pool test is shut down"):
        pool.submit(ran.append, 1)


def test_calls_that_wait_are_counted_and_no_more_threads_run_than_were_asked_for() -> None:
    pool, gate, running = Pool(2, "test"), threading.Event(), threading.Semaphore(0)

    def work() -> None:
        running.release()
        assert gate.wait(30)

    for _ in range(5):
        pool.submit(work)
    assert all(running.acquire(timeout=30) for _ in range(2))
    assert not running.acquire(timeout=0.1)
    assert pool.held == 5
    gate.set()
    pool.shutdown()
    assert pool.held == 0


def test_a_fault_is_shown_and_the_thread_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, shown, done = Pool(1, "test"), [], threading.Event()
    monkeypatch.setattr("sys.excepthook", lambda *e: shown.append(e[0]))
    pool.submit(lambda: 1 // 0)
    pool.submit(done.set)
    assert done.wait(30)
    assert shown == [ZeroDivisionError]
    pool.shutdown()


def test_leaving_at_once_drops_what_waits_and_tells_of_it() -> None:
    pool, gate, begun, told, ran = Pool(1, "test"), threading.Event(), threading.Event(), [], []
    pool.submit(lambda: (begun.set(), gate.wait(30)))
    assert begun.wait(30)
    pool.submit(ran.append, 1).add_done_callback(told.append)
    pool.shutdown(wait=False, cancel_futures=True)
    assert (len(told), ran, pool.held) == (1, [], 1)
    gate.set()
    pool.shutdown()
    assert pool.held == 0
