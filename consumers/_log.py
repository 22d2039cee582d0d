"""Application logs: one canonical JSON line an event, in Elastic's common schema, on stderr and, if wanted, on Kafka.

Sending a line to the `logs` topic never blocks the work: the queue is bounded, and what does not fit is counted in
the next line that does.
"""

import logging
import queue
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, TextIO, cast

import ecs_logging
import structlog
from kafka.errors import KafkaError

from consumers._kafka import make_producer
from consumers.settings import Settings
from stream.spec import Spec

_LINES_MAX = 10_000


class _KafkaLines:
    """Carries lines to the logs topic in its own thread."""

    def __init__(self, settings: Settings, topic: str) -> None:
        self._settings, self._topic = settings, topic
        self._lines: queue.Queue[str] = queue.Queue(_LINES_MAX)
        self.dropped = 0
        threading.Thread(target=self._carry, name="logs", daemon=True).start()

    def put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def _carry(self) -> None:
        try:
            producer = make_producer(self._settings)
            while True:
                producer.send(self._topic, value=self._lines.get().encode(), partition=0)
        except KafkaError as e:
            sys.stderr.write(f"headwater: log lines no longer go to {self._topic}: {e}\n")


class _Stderr:
    """Standard error as it is when a line is written, not as it was when logging was configured."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def set_up(settings: Settings, spec: Spec | None = None, step: str = "") -> None:
    """Configure logging for this process; call it once, first."""
    level = logging.getLevelName(settings.log_level.upper())
    logging.basicConfig(level=logging.ERROR, format="%(name)s: %(message)s")
    logging.getLogger("kafka").setLevel(logging.CRITICAL)  # its errors reach people as ours, once
    carrier = _KafkaLines(settings, spec.topic("logs")) if settings.log_topic and spec else None

    def printer(_: Any, __: str, line: Any) -> str:
        text = line if isinstance(line, str) else str(line)
        if carrier is not None:
            carrier.put(text)
        return text

    def context(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        event.setdefault("service.name", "headwater")
        event.setdefault("headwater.pipeline", spec.name if spec else "")
        event.setdefault("headwater.step", step)
        event.setdefault("headwater.spec_hash", spec.hash if spec else "")
        if carrier is not None and carrier.dropped:
            event["headwater.dropped_lines"] = carrier.dropped
        return event

    as_ecs: Any = ecs_logging.StructlogFormatter()
    structlog.configure(
        processors=[structlog.processors.add_log_level, context, as_ecs, printer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )
