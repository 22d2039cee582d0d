"""Calls that wait at the same time are answered as one block: the first does it for all, no clock is waited for.

The first call to come answers itself at once. What comes meanwhile is the next block, which the first of these answers;
so blocks grow with the load, and a call alone waits for nothing. `wait_s` lets a block wait for more calls, but no
longer than half of what the most urgent of its callers has left. Invariant: a caller gets the result of its own request
or an exception, never that of another; a call that nobody waits for any more is not answered.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Result = TypeVar("Result")


class Gone(Exception):
    """Nobody waits for this call any more: it was cancelled, or its deadline has passed."""


class _Call(Generic[Request, Result]):
    __slots__ = ("alive", "done", "error", "leads", "patient_until_s", "request", "result", "until_s")

    def __init__(self, request: Request, alive: Callable[[], bool], now_s: float, left_s: float | None) -> None:
        self.request, self.alive = request, alive
        self.until_s = None if left_s is None else now_s + left_s
        self.patient_until_s = None if left_s is None else now_s + left_s / 2
        self.done = threading.Event()
        self.leads = False
        self.result: Result | None = None
        self.error: BaseException | None = None


class Gatherer(Generic[Request, Result]):
    """Safe to share between threads. `answer` gives one result a request, in order; no two of its calls overlap."""

    def __init__(
        self,
        answer: Callable[[list[Request]], Sequence[Result]],
        size_max: int,
        wait_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._answer, self._size_max, self._wait_s, self._clock = answer, size_max, wait_s, clock
        self._waiting: deque[_Call[Request, Result]] = deque()
        self._came = threading.Condition()
        self._busy = False  # a call answers, or is about to

    def put(self, request: Request, alive: Callable[[], bool] = lambda: True, left_s: float | None = None) -> Result:
        """The result of a request. alive: whether its caller still waits; left_s: for how long.

        Raises what `answer` raised for the block, and Gone.
        """
        call: _Call[Request, Result] = _Call(request, alive, self._clock(), left_s)
        with self._came:
            self._waiting.append(call)
            call.leads, self._busy = not self._busy, True
            self._came.notify()
        if not call.leads:
            call.done.wait()
        if call.leads:
            self._lead()
        if call.error is not None:
            raise call.error
        return call.result  # type: ignore[return-value]  # set, where there is no error

    def _lead(self) -> None:
        """Answer the block that begins with this thread's own call, then let the next one lead."""
        block = self._block()
        try:
            wanted = [call for call in block if self._is_wanted(call)]
            results = self._answer([call.request for call in wanted]) if wanted else ()
            for call, result in zip(wanted, results, strict=True):
                call.result = result
        except BaseException as e:
            for call in wanted:
                call.error = e
        finally:
            with self._came:
                following = self._waiting[0] if self._waiting else None
                self._busy = following is not None
                if following is not None:
                    following.leads = True
            for call in block[1:]:
                call.done.set()
            if following is not None:
                following.done.set()

    def _block(self) -> list[_Call[Request, Result]]:
        """The calls to answer together."""
        with self._came:
            end_s = self._clock() + self._wait_s
            while len(self._waiting) < self._size_max and (left_s := self._patience(end_s)) > 0:
                self._came.wait(left_s)
            return [self._waiting.popleft() for _ in range(min(self._size_max, len(self._waiting)))]

    def _patience(self, end_s: float) -> float:
        """How long the calls that wait may go on waiting for more."""
        if not self._wait_s:
            return 0.0
        return min(end_s, *(c.patient_until_s or end_s for c in self._waiting)) - self._clock()

    def _is_wanted(self, call: _Call[Request, Result]) -> bool:
        if call.alive() and (call.until_s is None or self._clock() < call.until_s):
            return True
        call.error = Gone("nobody waits for the answer any more")
        return False
