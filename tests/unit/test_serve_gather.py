"""Calls answered as one block: each gets its own, whatever the others are, do and cost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers._serve_gather import Gatherer, Gone

calls = st.lists(
    st.tuples(st.integers(0, 9), st.sampled_from(["waits", "waits", "waits", "cancelled", "late"])),
    min_size=1,
    max_size=40,
)


def ask(gatherer: Gatherer[Any, Any], number: int, size: int, how: str) -> Any:
    """What a caller gets: the result, or the exception."""
    try:
        return gatherer.put((number, size), lambda: how != "cancelled", -1.0 if how == "late" else 60.0)
    except Exception as e:
        return e


@settings(max_examples=60, deadline=None)
@given(calls, st.integers(1, 8), st.integers(1, 12), st.sets(st.integers(0, 39)), st.sampled_from([0.0, 0.002]))
def test_every_caller_gets_its_own_rows_only(
    given_: list[tuple[int, str]], size_max: int, threads: int, faulty: set[int], wait_s: float
) -> None:
    blocks: list[list[tuple[int, int]]] = []
    overlapping = threading.Lock()

    def answer(requests: list[tuple[int, int]]) -> list[list[int]]:
        assert overlapping.acquire(blocking=False), "two blocks at once"
        try:
            blocks.append(requests)
            if any(number in faulty for number, _ in requests):
                raise ValueError(*sorted(number for number, _ in requests))
            return [[number] * size for number, size in requests]
        finally:
            overlapping.release()

    gatherer: Gatherer[Any, Any] = Gatherer(answer, size_max, wait_s)
    with ThreadPoolExecutor(threads) as pool:
        asked = [pool.submit(ask, gatherer, number, size, how) for number, (size, how) in enumerate(given_)]
        found = [each.result(30) for each in asked]
    assert all(1 <= len(block) <= size_max for block in blocks)
    seen = sorted(number for block in blocks for number, _ in block)
    assert seen == [number for number, (_, how) in enumerate(given_) if how == "waits"]  # each once, and no other
    for number, (size, how) in enumerate(given_):
        if how != "waits":
            assert isinstance(found[number], Gone)
        elif isinstance(found[number], ValueError):  # its own block failed
            assert number in found[number].args
            assert faulty & set(found[number].args)
        else:
            assert found[number] == [number] * size


def test_what_comes_while_a_block_is_answered_is_the_next_block() -> None:
    working, go_on, blocks = threading.Event(), threading.Event(), []

    def answer(requests: list[int]) -> list[int]:
        blocks.append(requests)
        working.set()
        assert go_on.wait(30)
        return requests

    gatherer: Gatherer[int, int] = Gatherer(answer, 64)
    with ThreadPoolExecutor(10) as pool:
        first = pool.submit(gatherer.put, 0)
        assert working.wait(30)
        rest = [pool.submit(gatherer.put, number) for number in range(1, 10)]
        while len(gatherer._waiting) < 9:
            time.sleep(0.001)
        go_on.set()
        assert [first.result(30), *(each.result(30) for each in rest)] == list(range(10))
    assert [len(block) for block in blocks] == [1, 9]


def test_a_block_waits_for_more_but_not_past_what_its_callers_have() -> None:
    gatherer: Gatherer[int, int] = Gatherer(lambda requests: [len(requests)] * len(requests), 2, wait_s=60.0)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(gatherer.put, number) for number in range(2)]
        assert [each.result(30) for each in both] == [2, 2]  # full: the wait is over
    assert gatherer.put(0, left_s=0.5) == 1


def test_a_fault_is_told_to_all_of_its_block_and_the_next_is_answered() -> None:
    faults = [ValueError("once")]

    def answer(requests: list[int]) -> list[int]:
        if faults:
            raise faults.pop()
        return requests

    gatherer: Gatherer[int, int] = Gatherer(answer, 4)
    with pytest.raises(ValueError, match="once"):
        gatherer.put(1)
    assert gatherer.put(2) == 2
