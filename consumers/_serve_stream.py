"""A stream of requests → a stream of answers, in order, with a bounded number in between.

A thread reads ahead, so that what came while the last answers were made is answered together, as one block. Invariant:
no more than AHEAD_MAX requests are read before the answers to the ones before them are taken; then nothing is read, and
gRPC's own flow control holds the caller up.
"""

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

from stream.predict.refuse import NoModel

AHEAD_MAX = 64  # requests read ahead; also the most that are answered as one block
_LOOK_S = 0.1  # how often a waiting stream looks whether the server leaves
_END = object()
Request = TypeVar("Request")
Result = TypeVar("Result")


def answers(
    requests: Iterable[Request], answer: Callable[[list[Request]], Sequence[Result]], leaving: Callable[[], bool]
) -> Iterator[Result]:
    """The results of `answer`, in the order of the requests. Raises NoModel once `leaving`, after the last answer."""
    waiting: queue.Queue[Any] = queue.Queue(AHEAD_MAX)
    stopping = threading.Event()
    threading.Thread(target=_read, args=(requests, waiting, stopping), name="read ahead", daemon=True).start()
    try:
        ended = False
        while not ended:
            if leaving():
                stopping.set()
            batch, ended = _take(waiting, stopping)
            if batch:
                yield from answer(batch)
            elif stopping.is_set() and not ended:
                raise NoModel("server.leaving", "the server is leaving; try again, another may answer")
    finally:
        stopping.set()


def _read(requests: Iterable[Any], waiting: "queue.Queue[Any]", stopping: threading.Event) -> None:
    """Put requests into the queue until there are no more, the call is over, or nobody wants them."""
    with contextlib.suppress(Exception):  # how gRPC tells that the call is over; its handler learns it by itself
        for request in requests:
            if not _put(request, waiting, stopping):
                return
    _put(_END, waiting, stopping)


def _put(item: Any, waiting: "queue.Queue[Any]", stopping: threading.Event) -> bool:
    while not stopping.is_set():
        try:
            waiting.put(item, timeout=_LOOK_S)
        except queue.Full:
            continue
        return True
    return False


def _take(waiting: "queue.Queue[Any]", stopping: threading.Event) -> tuple[list[Any], bool]:
    """All that waits, and whether it was the last; nothing after a while."""
    batch: list[Any] = []
    try:
        item = waiting.get(not stopping.is_set(), _LOOK_S)
        while item is not _END:
            batch.append(item)
            if len(batch) == AHEAD_MAX:
                return batch, False
            item = waiting.get_nowait()
    except queue.Empty:
        return batch, False
    return batch, True
