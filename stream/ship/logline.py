"""A line of the logs topic as a flat record: known fields by their dotted names, whatever else in one bounded map.

Lines are ours as a rule (consumers/_log.py), yet anybody may write to the topic: nothing in a line makes a new field.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

from stream.ship.fields import KEYWORD_CHARS_MAX, Field, Kind

REST_FIELD = "headwater.rest"
REST_MAX = 50  # further unknown fields of a line are left out
TEXT_CHARS_MAX = 32_000  # a longer message or stack trace is cut
DEPTH_MAX = 8  # deeper objects are kept as text
LOG_FIELDS: dict[str, Kind] = {
    "message": "text", "log.level": "keyword", "log.logger": "keyword", "trace.id": "keyword", "span.id": "keyword",
    "transaction.id": "keyword", "event.action": "keyword", "event.duration": "long", "error.type": "keyword",
    "error.message": "text", "error.stack_trace": "text", "process.pid": "long", "host.name": "keyword",
    "headwater.step": "keyword", "headwater.spec_hash": "keyword", "headwater.event.id": "keyword",
}  # fmt: skip
_OWN = frozenset({"@timestamp", *LOG_FIELDS})
_SAID_ANYWAY = frozenset({"ecs.version", "service.name", "headwater.pipeline"})


def read_line(value: bytes) -> dict[str, Any]:
    """The fields of one line. Raises ValueError for what is no JSON object."""
    try:
        given = json.loads(value)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if not isinstance(given, dict):
        raise ValueError(f"a JSON {type(given).__name__}; an object is wanted")
    known: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, found in _flat(given, "", 1):
        if name in _OWN:
            known[name] = _clean(found, TEXT_CHARS_MAX)
        elif name not in _SAID_ANYWAY and len(rest) < REST_MAX:
            rest[_clean(name, KEYWORD_CHARS_MAX)] = _plain(found)
    return {**known, REST_FIELD: {k: v for k, v in rest.items() if k and v is not None} or None}


def _flat(given: Mapping[str, Any], before: str, depth: int) -> Iterator[tuple[str, Any]]:
    for name, value in given.items():
        path = f"{before}{name}"
        if isinstance(value, dict) and depth < DEPTH_MAX:
            yield from _flat(value, f"{path}.", depth + 1)
        else:
            yield path, value


def _clean(value: Any, chars_max: int) -> Any:
    """Text that every encoder takes, cut; anything else as it is."""
    return value.encode("utf-8", "replace").decode()[:chars_max] if isinstance(value, str) else value


def _plain(value: Any) -> str | None:
    """Any value as the short text that a map of unknown fields holds."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return str(_clean(text, KEYWORD_CHARS_MAX))


def log_field(name: str, kind: Kind) -> Field:
    """A known field of a line; what does not fit its type is left out."""
    wanted: type | tuple[type, ...] = str if kind in ("keyword", "text") else (int, float)

    def take(record: Mapping[str, Any], _: Any) -> Any:
        value = record.get(name)
        if not isinstance(value, wanted) or isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return int(value) if math.isfinite(value) and abs(value) < 2**63 else None
        return value

    return Field(name, kind, take)
