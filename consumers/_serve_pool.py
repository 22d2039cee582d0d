"""The threads that calls run in: as `ThreadPoolExecutor`, at a third of what it costs to hand over a call.

grpcio hands over each call by itself and wants no result back, only to be told of the end. So there is no future with a
lock of its own; one queue that is written in C, and a count of the calls in hand.
"""

import contextlib
import queue
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


class Task:
    """A call that was handed over; of a Future it has what grpcio asks of one."""

    __slots__ = ("args", "done", "function", "tell")

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.function, self.args = function, args
        self.done = False
        self.tell: list[Callable[[Any], Any]] = []

    def add_done_callback(self, tell: Callable[[Any], Any]) -> None:
        """Call it once the call has ended; at once where it has."""
        self.tell.append(tell)
        if self.done:
            self._tell()

    def end(self) -> None:
        """Tell whoever wants to know; once, whichever of two threads comes first."""
        self.done = True
        self.function, self.args = nothing, ()
        self._tell()

    def _tell(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self.tell.pop()(self)


def nothing() -> None:
    """What a call does that has ended."""


class Pool(ThreadPoolExecutor):
    """Threads that know how many calls they hold, waiting ones included."""

    def __init__(self, threads: int, name: str, held_max: int = 0) -> None:
        super().__init__(threads, thread_name_prefix=name)  # grpcio looks for the type; none of its threads ever starts
        self.name = name
        self.held_max = held_max  # calls at once; 0: as many as the server's options say
        self._most = threads
        self._counting = threading.Lock()
        self._left = False
        self.held = 0
        self._calls: queue.SimpleQueue[Task | None] = queue.SimpleQueue()
        self._own: list[threading.Thread] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """See Executor; what comes back only knows `add_done_callback`. Raises RuntimeError after `shutdown`."""
        assert not kwargs
        self._count()
        task = Task(fn, args)
        self._put(task)
        return task  # type: ignore[return-value]

    def _count(self) -> None:
        """One more call is in hand. Raises RuntimeError after `shutdown`."""
        with self._counting:
            if self._left:
                raise RuntimeError(f"pool {self.name} is shut down")
            self.held += 1

    def _put(self, task: Task) -> None:
        """Hand over a call that is counted."""
        with self._counting:
            if self.held > len(self._own) and len(self._own) < self._most:
                self._start()
        self._calls.put(task)

    def _start(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self.name}_{len(self._own)}", daemon=True)
        self._own.append(thread)
        thread.start()

    def _work(self) -> None:
        while (task := self._calls.get()) is not None:
            try:
                task.function(*task.args)
            except BaseException:
                sys.excepthook(*sys.exc_info())  # what a handler raises is caught before
            self._end(task)
            del task

    def _end(self, task: Task) -> None:
        with self._counting:
            self.held -= 1
        task.end()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See Executor."""
        with self._counting:
            self._left = True
        if cancel_futures:
            with contextlib.suppress(queue.Empty):
                while (task := self._calls.get_nowait()) is not None:
                    self._end(task)
        for _ in self._own:
            self._calls.put(None)
        if wait:
            for thread in self._own:
                thread.join()
        super().shutdown(wait=False)
