"""Application logs: one canonical JSON line an event, in Elastic's common schema, on stderr and, if wanted, on Kafka.

A line names pipeline, step and spec; of one event also its id and trace id. Sending a line to the `logs` topic never
blocks the work: the queue is bounded, and what does not fit is counted in the next line that does. Where the spec has
private fields, what an exception says is withheld: it may cite a value. Its type and its stack stay.
"""

import logging
import queue
import sys
import threading
import traceback
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, TextIO, cast

import ecs_logging
import structlog
from kafka.errors import KafkaError

from consumers._kafka import make_producer
from consumers.settings import Settings
from stream.spec import Spec
from stream.trace import trace_id

_LINES_MAX = 10_000
_WITHHELD = "withheld: the spec has private fields"
Event = MutableMapping[str, Any]


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
    discreet = spec is not None and bool(spec.event.private)
    if discreet:
        sys.excepthook = _discreet_end
        threading.excepthook = lambda told: _discreet_end(told.exc_type, told.exc_value, told.exc_traceback)

    def printer(_: Any, __: str, line: Any) -> str:
        text = line if isinstance(line, str) else str(line)
        if carrier is not None:
            carrier.put(text)
        return text

    def context(_: Any, __: str, event: Event) -> Event:
        event.setdefault("service.name", "headwater")
        event.setdefault("headwater.pipeline", spec.name if spec else "")
        event.setdefault("headwater.step", step)
        event.setdefault("headwater.spec_hash", spec.hash if spec else "")
        if carrier is not None and carrier.dropped:
            event["headwater.dropped_lines"] = carrier.dropped
        return event

    def about_event(_: Any, __: str, event: Event) -> Event:
        """`event_id=…` makes the line one about an event."""
        event_id = event.pop("event_id", None)
        if event_id is not None and spec is not None:
            event.update({"headwater.event.id": event_id, "trace.id": trace_id(spec.name, event_id)})
        return event

    def about_error(_: Any, __: str, event: Event) -> Event:
        return _error(event, discreet)

    as_ecs: Any = ecs_logging.StructlogFormatter()
    structlog.configure(
        processors=[structlog.processors.add_log_level, about_event, about_error, context, as_ecs, printer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=cast(TextIO, _Stderr())),
        cache_logger_on_first_use=True,
    )


def _error(event: Event, discreet: bool) -> Event:
    """`error=…` and `exc_info=…` as the common schema has them."""
    given, said = event.pop("exc_info", None), event.pop("error", None)
    found = sys.exc_info()[1] if given is True else given
    if isinstance(found, BaseException):
        event["error.type"] = type(found).__name__
        event["error.message"] = _WITHHELD if discreet else str(found)
        event["error.stack_trace"] = _stack(found, discreet)
    if said is not None:
        event["error.message"] = said if isinstance(said, str) else str(said)
    return event


def _stack(error: BaseException, discreet: bool) -> str:
    if not discreet:
        return "".join(traceback.format_exception(error))
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{type(error).__name__} ({_WITHHELD})\n"


def _discreet_end(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    """What the process, or a thread of it, says when it ends by a bug."""
    sys.stderr.write(_stack((error or kind()).with_traceback(trace), discreet=True))
