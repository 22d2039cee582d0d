"""Label records → values that a task can learn, or the reason why not."""

from typing import Any, NamedTuple

import schemas
from stream.arrive.reject import Reject
from stream.limits import DETAIL_CHARS_MAX, MAGNITUDE_MAX, TIME_AHEAD_MS_MAX
from stream.spec import Spec


class Label(NamedTuple):
    """One outcome. value: 0/1, a class index or a number; times in milliseconds; source: handed back untouched."""

    id: str
    value: float
    time_ms: int
    offset: int
    published_ms: int
    source: Any = None


_CODEC = schemas.codec("label")
_HEAD = len(_CODEC.prefix)
_FALSE_OR_TRUE = {b"\0\0": False, b"\0\1": True}  # the union's first branch, and the boolean


def decode_label(value: bytes) -> tuple[str, Any, int]:
    """id, value and time_ms of a label record. Raises ValueError when it is none.

    By far the most are a short id with true or false, which is read here at a third of fastavro's cost; whatever
    is not exactly that goes to the codec, which says what is wrong with it.
    """
    if value[:_HEAD] == _CODEC.prefix and len(value) > _HEAD and not value[_HEAD] & 0x81:
        at = _HEAD + 1 + (value[_HEAD] >> 1)
        flag = _FALSE_OR_TRUE.get(value[at : at + 2])
        if flag is not None and 0 < len(value) - at - 2 <= 9 and value[-1] < 0x80:
            zigzag, shift = 0, 0
            for byte in value[at + 2 :]:
                zigzag |= (byte & 0x7F) << shift
                shift += 7
                if byte < 0x80:
                    break
            if shift == 7 * (len(value) - at - 2):
                try:
                    return value[_HEAD + 1 : at].decode(), flag, (zigzag >> 1) ^ -(zigzag & 1)
                except UnicodeDecodeError as e:
                    raise ValueError(f"damaged Label record: {e}") from e
    record = _CODEC.decode(value)
    return record["id"], record["value"], record["time_ms"]


class LabelReader:
    """Reads label values under one spec."""

    def __init__(self, spec: Spec) -> None:
        self._task = spec.task
        self._classes = {name: float(i) for i, name in enumerate(spec.classes)}

    def read_bytes(self, value: bytes, offset: int, published_ms: int, source: Any = None) -> Label | Reject:
        """The label in a value of the labels topic."""
        try:
            event_id, given, time_ms = decode_label(value)
        except ValueError as e:
            return Reject("label.undecodable", str(e)[:DETAIL_CHARS_MAX])
        return self._label(event_id, given, time_ms, offset, published_ms, source)

    def read(self, record: dict[str, Any], offset: int, published_ms: int, source: Any = None) -> Label | Reject:
        """The label in a decoded record of the labels topic."""
        return self._label(record["id"], record["value"], record["time_ms"], offset, published_ms, source)

    def _label(
        self, event_id: str, given: Any, time_ms: int, offset: int, published_ms: int, source: Any
    ) -> Label | Reject:
        if not 0 <= time_ms <= published_ms + TIME_AHEAD_MS_MAX:
            limit = f"0 to Kafka's time {published_ms} ms + {TIME_AHEAD_MS_MAX} ms"
            return Reject("label.time_outside", f"time_ms: {time_ms}; {limit}")
        value = self._value(given)
        if isinstance(value, Reject):
            return value
        return Label(event_id, value, time_ms, offset, published_ms, source)

    def _value(self, raw: Any) -> float | Reject:
        if self._task == "classes":
            if isinstance(raw, str) and raw in self._classes:
                return self._classes[raw]
            return Reject("label.outside_task", f"value: found {_short(raw)}; one of {list(self._classes)} is wanted")
        number = isinstance(raw, int | float)  # also True and False
        if self._task == "binary":
            if number and raw in (0, 1):
                return float(raw)
            return Reject("label.outside_task", f"value: found {_short(raw)}; true, false, 0 or 1 is wanted")
        if number and not isinstance(raw, bool) and abs(raw) <= MAGNITUDE_MAX:
            return float(raw)
        wanted = f"a number within ±{MAGNITUDE_MAX:g} is wanted"
        return Reject("label.outside_task", f"value: found {_short(raw)}; {wanted}")


def _short(raw: Any) -> str:
    """What was given, cut to what a person reads."""
    text = repr(raw)
    return text if len(text) <= DETAIL_CHARS_MAX else f"{text[:DETAIL_CHARS_MAX]}…"
