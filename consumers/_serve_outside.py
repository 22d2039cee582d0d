"""A Kafka producer in a process of its own: what it takes of an interpreter is not taken from the one that answers.

`Outside.make` gives a `Sender` what it asks of a producer: send, flush, close. Records wait here until `flush` hands
all of them over and waits for what became of each. Invariant: a record counts as taken only once Kafka confirmed it to
the other process; where that one ends, or says nothing for too long, none of those in its hands does. It ends when its
input does, so it outlives nobody: signals to the whole group leave it to this process, which still has things to send.
"""

import contextlib
import logging
import os
import pickle
import select
import signal
import subprocess
import sys
from typing import Any, BinaryIO, NamedTuple

from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from consumers._producer import CONNECT_S, Out, make_producer
from consumers.settings import Settings

COMMAND = [sys.executable, "-P", "-m", "consumers._serve_outside"]
_LATE_S = 5.0  # beyond what it was given, before the process counts as lost
_END_S = 2.0  # for it to end by itself


class Metadata(NamedTuple):
    """Where a record is."""

    offset: int


class Pending:
    """What becomes of one record. value: once Kafka has it; exception: once it is known that it has not."""

    def __init__(self) -> None:
        self.value: Metadata | None = None
        self.exception: KafkaError | None = None

    def succeeded(self) -> bool:
        """Whether Kafka has it."""
        return self.value is not None


class Outside:
    """The process, begun when first needed and again whenever it has ended."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._over = False

    def make(self, settings: Settings) -> "OutsideProducer":
        """A new producer there, in place of the one before. Raises KafkaError."""
        self.ask(("make", settings), CONNECT_S)
        return OutsideProducer(self, settings)

    def ask(self, what: tuple[Any, ...], within_s: float) -> Any:
        """What the process answers. Raises KafkaError: what it met itself, or that it is gone."""
        child = self._child
        if child is None or not self.up or not self._tell(child, what):
            child = self._begin()
            if not self._tell(child, what):
                self._end()
                raise KafkaConnectionError("the process that sends ended as soon as it began")
        assert child.stdout is not None
        try:
            if not select.select([child.stdout], [], [], within_s + _LATE_S)[0]:
                raise KafkaTimeoutError(f"the process that sends said nothing in {within_s + _LATE_S:g} s")
            found = pickle.load(child.stdout)
        except (OSError, EOFError, pickle.UnpicklingError, KafkaTimeoutError) as e:
            self._end()
            if isinstance(e, KafkaTimeoutError):
                raise
            raise KafkaConnectionError(f"the process that sends ended: {type(e).__name__} {e}") from e
        if isinstance(found, KafkaError):
            raise found
        return found

    @property
    def up(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.poll() is None

    @staticmethod
    def _tell(child: "subprocess.Popen[bytes]", what: tuple[Any, ...]) -> bool:
        """Whether it took all of it; it had ended before and did nothing of it otherwise."""
        assert child.stdin is not None
        try:
            pickle.dump(what, child.stdin, protocol=5)
            child.stdin.flush()
        except BrokenPipeError:
            return False
        return True

    def stop(self) -> None:
        """End the process for good; what it has in hand may get there or not."""
        self._over = True
        self._end()

    def _begin(self) -> "subprocess.Popen[bytes]":
        self._end()
        if self._over:
            raise KafkaConnectionError("the process that sends was stopped")
        found = os.pathsep.join(path for path in sys.path if path)  # what this process could import, that one can
        env = {**os.environ, "PYTHONPATH": found}
        child = self._child = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env)
        return child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(OSError):
            child.stdin.close()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()


class OutsideProducer:
    """What a Sender sees of it."""

    def __init__(self, outside: Outside, settings: Settings) -> None:
        self._outside, self._settings = outside, settings
        self._waiting: list[tuple[Out, Pending]] = []

    def send(self, topic: str, value: bytes | None, key: bytes | None, partition: int | None) -> Pending:
        """Keep a record for the next flush."""
        pending = Pending()
        self._waiting.append((Out(topic, value, key, partition), pending))
        return pending

    def flush(self, timeout: float) -> None:
        """Hand over all that waits, and learn what became of each. timeout: s. Raises KafkaError."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        rows = [(out.topic, out.value, out.key, out.partition) for out, _ in waiting]
        try:
            found = self._outside.ask(("send", self._settings, rows, timeout), CONNECT_S + timeout)
        except KafkaError as e:
            for _, pending in waiting:
                pending.exception = e
            raise
        for (_, pending), one in zip(waiting, found, strict=True):
            if isinstance(one, int):
                pending.value = Metadata(one)
            else:
                pending.exception = one

    def close(self, timeout: float) -> None:
        """Let go of the producer; the process waits for the next."""
        if self._outside.up:
            with contextlib.suppress(KafkaError):
                self._outside.ask(("close", timeout), timeout)


def _send(producer: Any, rows: list[tuple[Any, ...]], timeout_s: float) -> list[int | KafkaError]:
    """An offset for each record, or why Kafka did not confirm it."""
    futures: list[Any] = []
    for topic, value, key, partition in rows:
        try:
            futures.append(producer.send(topic, value=value, key=key, partition=partition))
        except KafkaError as e:
            futures += [_plain(e)] * (len(rows) - len(futures))
            break
    late: KafkaError = KafkaTimeoutError("no answer")
    try:
        producer.flush(timeout_s)
    except KafkaError as e:
        late = e
    out: list[int | KafkaError] = []
    for f in futures:
        if isinstance(f, KafkaError):
            out.append(f)
        else:
            out.append(int(f.value.offset) if f.succeeded() else _plain(f.exception or late))
    return out


def _plain(error: BaseException) -> KafkaError:
    """An error that is the same after its journey, whatever it held."""
    return error if type(error) is KafkaError else KafkaError(f"{type(error).__name__} {error}")


def run(source: BinaryIO, sink: BinaryIO) -> None:
    """Do as told until the input ends."""
    producer: Any = None
    while True:
        try:
            what, *given = pickle.load(source)
        except (EOFError, pickle.UnpicklingError):  # the other end is gone, in the middle of a message perhaps
            break
        found: Any = None
        try:
            if producer is not None and what != "send":
                old, producer = producer, None
                old.close(timeout=given[0] if what == "close" else 0.0)
            if what != "close" and producer is None:
                producer = make_producer(given[0])
            if what == "send":
                found = _send(producer, *given[1:])
        except KafkaError as e:
            found = _plain(e)
        pickle.dump(found, sink, protocol=5)
        sink.flush()
    if producer is not None:
        with contextlib.suppress(KafkaError):
            producer.close(timeout=1.0)


def main() -> int:
    """The process."""
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, signal.SIG_IGN)
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # what it meets is said by the process that answers
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that prints disturbs the answers
    run(sys.stdin.buffer, sink)
    return 0


if __name__ == "__main__":
    sys.exit(main())
