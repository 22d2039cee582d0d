"""Outcomes that callers tell → the labels topic; each call waits for its own.

Invariant: what is answered with an offset is in Kafka; what is not says whether it may be there all the same. What the
join would refuse is refused here, to the one who can mend it.
"""

from concurrent.futures import Future, TimeoutError
from dataclasses import dataclass
from typing import Any

import schemas
from consumers._kafka import Out
from consumers._serve_sender import Sender
from stream.arrive.reject import Reject
from stream.clean.cleaner import ID_CHARS_MAX
from stream.join.labels import LabelReader
from stream.predict.refuse import InvalidRequest, NotConfirmed, NotTaken, Overloaded
from stream.spec import Spec

LABELS_WAITING_MAX = 1000


@dataclass(frozen=True, slots=True)
class _Label:
    record: Out
    done: "Future[int]"

    def out(self) -> Out | None:
        return self.record if self.done.set_running_or_notify_cancel() else None

    def sent(self, offset: int) -> None:
        self.done.set_result(offset)

    def lost(self, why: str, maybe_written: bool) -> None:
        made = NotConfirmed if maybe_written else NotTaken
        reason = "label.not_confirmed" if maybe_written else "label.not_taken"
        self.done.set_exception(made(reason, f"Kafka did not confirm the label: {why}"))


class Labels:
    """Outcomes on their way to the labels topic; each call waits for its own."""

    def __init__(self, spec: Spec, sender: Sender) -> None:
        self._topic = spec.topic("labels")
        self._reader = LabelReader(spec)
        self._codec = schemas.codec("label")
        self.sender = sender

    def put(self, event_id: str, value: Any, time_ms: int, now_ms: int, timeout_s: float) -> int:
        """Publish an outcome; returns its offset once Kafka has it. Raises Refused."""
        if not 0 < len(event_id) <= ID_CHARS_MAX:
            detail = f"event_id: {len(event_id)} characters; 1 to {ID_CHARS_MAX} are wanted"
            raise InvalidRequest("request.wrong", detail)
        record = {"id": event_id, "value": value, "time_ms": time_ms}
        read = self._reader.read(record, -1, now_ms)  # as the join will: what it would refuse is refused here
        if isinstance(read, Reject):
            raise InvalidRequest(read.code, read.detail)
        done: Future[int] = Future()
        out = Out(self._topic, self._codec.encode(record), event_id.encode(), 0)
        if not self.sender.offer(_Label(out, done)):
            raise Overloaded("server.overloaded", f"{LABELS_WAITING_MAX} labels wait for Kafka already")
        try:
            return done.result(timeout_s)
        except TimeoutError:
            if done.cancel():
                detail = f"the label was not sent within {timeout_s:.3f} s, and will not be"
                raise NotTaken("label.not_taken", detail) from None
            detail = f"Kafka did not confirm the label within {timeout_s:.3f} s; it may have it; repeating is safe"
            raise NotConfirmed("label.not_confirmed", detail) from None
