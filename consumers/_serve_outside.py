"""A Kafka producer in a process of its own: what it takes of an interpreter is not taken from the one that answers.

`Outside.make` gives a `Sender` what it asks of a producer: send, flush, close. Records wait here until `flush` hands
all of them over and waits for what became of each. Invariant: a record counts as taken only once Kafka confirmed it to
the other process; where that one ends, or says nothing for too long, none of those in its hands does. It ends when its
input does, so it outlives nobody: signals to the whole group leave it to this process, which still has things to send.
Messages are Avro's, each behind its length.
"""

import contextlib
import io
import json
import logging
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

import fastavro
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError

from consumers._producer import CONNECT_S, Out, make_producer
from consumers.settings import Settings

COMMAND = [sys.executable, "-P", "-m", "consumers._serve_outside"]
_ROW = {
    "type": "record", "name": "Row", "fields": [
        {"name": "topic", "type": "string"}, {"name": "value", "type": ["null", "bytes"]},
        {"name": "key", "type": ["null", "bytes"]}, {"name": "partition", "type": ["null", "int"]},
    ],
}  # fmt: skip
QUESTION = fastavro.parse_schema({
    "type": "record", "name": "Question", "fields": [
        {"name": "what", "type": {"type": "enum", "name": "What", "symbols": ["make", "send", "close"]}},
        {"name": "settings", "type": "string"}, {"name": "within_s", "type": "double"},
        {"name": "rows", "type": {"type": "array", "items": _ROW}},
    ],
})  # fmt: skip
ANSWER = fastavro.parse_schema({
    "type": "record", "name": "Answer", "fields": [
        {"name": "wrong", "type": "string"},
        {"name": "found", "type": {"type": "array", "items": ["long", "string"]}},
    ],
})  # fmt: skip
_SIZE = struct.Struct(">I")
_LATE_S = 5.0  # beyond what it was given, before the process counts as lost
_END_S = 2.0  # for it to end by itself


def put(sink: Any, schema: Any, message: dict[str, Any]) -> None:
    """Write one message."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, schema, message)
    sink.write(_SIZE.pack(body.tell()) + body.getbuffer())
    sink.flush()


def take(source: Any, schema: Any) -> dict[str, Any]:
    """Read one message. Raises EOFError where none is, or the other end went away in the middle of it."""
    head = source.read(_SIZE.size)
    if len(head) < _SIZE.size:
        raise EOFError("nothing more comes")
    (size,) = _SIZE.unpack(head)
    body = source.read(size)
    if len(body) < size:
        raise EOFError(f"{len(body)} bytes of {size}")
    found: dict[str, Any] = fastavro.schemaless_reader(io.BytesIO(body), schema, None)  # type: ignore[assignment]
    return found


def question(what: str, settings: str = "", within_s: float = 0.0, rows: Sequence[Out] = ()) -> dict[str, Any]:
    """What the process is told. settings: as JSON."""
    held = [{"topic": r.topic, "value": r.value, "key": r.key, "partition": r.partition} for r in rows]
    return {"what": what, "settings": settings, "within_s": within_s, "rows": held}


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
        given = settings.model_dump_json()
        self.ask(question("make", given), CONNECT_S)
        return OutsideProducer(self, given)

    def ask(self, what: dict[str, Any], within_s: float) -> list[int | str]:
        """What the process found. Raises KafkaError: what it met itself, or that it is gone."""
        child = self._child
        if child is None or not self.up or not self._tell(child, what):
            child = self._begin()
            if not self._tell(child, what):
                self._end()
                raise KafkaConnectionError("the process that sends ended as soon as it began")
        assert child.stdout is not None
        if not select.select([child.stdout], [], [], within_s + _LATE_S)[0]:
            self._end()
            raise KafkaTimeoutError(f"the process that sends said nothing in {within_s + _LATE_S:g} s")
        try:
            answer = take(child.stdout, ANSWER)
        except (OSError, EOFError) as e:
            self._end()
            raise KafkaConnectionError(f"the process that sends ended: {type(e).__name__} {e}") from e
        if answer["wrong"]:
            raise KafkaError(answer["wrong"])
        return list(answer["found"])

    @property
    def up(self) -> bool:
        """Whether the process is there."""
        return self._child is not None and self._child.poll() is None

    @staticmethod
    def _tell(child: "subprocess.Popen[bytes]", what: dict[str, Any]) -> bool:
        """Whether it took all of it; it had ended before and did nothing of it otherwise."""
        assert child.stdin is not None
        try:
            put(child.stdin, QUESTION, what)
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

    def __init__(self, outside: Outside, settings: str) -> None:
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
        told = question("send", self._settings, timeout, [out for out, _ in waiting])
        try:
            found = self._outside.ask(told, CONNECT_S + timeout)
        except KafkaError as e:
            for _, pending in waiting:
                pending.exception = e
            raise
        for (_, pending), one in zip(waiting, found, strict=True):
            if isinstance(one, int):
                pending.value = Metadata(one)
            else:
                pending.exception = KafkaError(one)

    def close(self, timeout: float) -> None:
        """Let go of the producer; the process waits for the next."""
        if self._outside.up:
            with contextlib.suppress(KafkaError):
                self._outside.ask(question("close", within_s=timeout), timeout)


def _send(producer: Any, rows: list[dict[str, Any]], timeout_s: float) -> list[int | str]:
    """An offset for each record, or why Kafka did not confirm it."""
    futures: list[Any] = []
    for row in rows:
        try:
            futures.append(producer.send(row["topic"], value=row["value"], key=row["key"], partition=row["partition"]))
        except KafkaError as e:
            futures += [_told(e)] * (len(rows) - len(futures))
            break
    late = "no answer"
    try:
        producer.flush(timeout_s)
    except KafkaError as e:
        late = _told(e)
    return [f if isinstance(f, str) else _became(f, late) for f in futures]


def _became(future: Any, late: str) -> int | str:
    if future.succeeded():
        return int(future.value.offset)
    return late if future.exception is None else _told(future.exception)


def _told(error: BaseException) -> str:
    return str(error) or type(error).__name__


def run(source: BinaryIO, sink: BinaryIO) -> None:
    """Do as told until the input ends."""
    producer: Any = None
    while True:
        try:
            told = take(source, QUESTION)
        except EOFError:  # the other end is gone
            break
        answer: dict[str, Any] = {"wrong": "", "found": []}
        try:
            if producer is not None and told["what"] != "send":
                old, producer = producer, None
                old.close(timeout=told["within_s"])
            if producer is None and told["what"] != "close":
                producer = make_producer(Settings(**json.loads(told["settings"])))
            if told["what"] == "send":
                answer["found"] = _send(producer, told["rows"], told["within_s"])
        except KafkaError as e:
            answer["wrong"] = _told(e)
        put(sink, ANSWER, answer)
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
