"""What a field of a document is: its name, how it is indexed, and how its value is taken from a record.

Invariant: what `take` gives fits `type`, or the field is left out: no NaN, no half of a surrogate pair.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from stream.arrive.records import Record

# Only types that every distribution has. values: a map of names to numbers; rest: a map that nobody foresaw.
Kind = Literal["date", "keyword", "text", "double", "long", "boolean", "values", "rest"]
Take = Callable[[Mapping[str, Any], Record], Any]
KEYWORD_CHARS_MAX = 1024  # a longer one is kept but not indexed

MAPPINGS: dict[Kind, dict[str, Any]] = {
    "date": {"type": "date"},
    "keyword": {"type": "keyword", "ignore_above": KEYWORD_CHARS_MAX},
    "text": {"type": "text"},
    "double": {"type": "double"},
    "long": {"type": "long"},
    "boolean": {"type": "boolean"},
    "values": {"type": "object", "dynamic": "true", "subobjects": False},
    "rest": {"type": "flattened", "ignore_above": KEYWORD_CHARS_MAX},
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field. name: dotted, of Elastic's common schema or under headwater. None and "" are left out."""

    name: str
    kind: Kind
    take: Take


def always(value: Any) -> Take:
    """The same in every document."""
    return lambda record, at: value


def key(name: str) -> Take:
    """A value of the record as it is."""
    return lambda record, at: record.get(name)


def number(name: str) -> Take:
    """A number of the record; nothing when it is not finite."""
    return lambda record, at: finite(record.get(name))


def numbers(name: str) -> Take:
    """A list of numbers; nothing when it is empty, or one of them is not finite."""
    return lambda record, at: [v for v in record[name] if math.isfinite(v)] or None


def values(name: str) -> Take:
    """A map of numbers; those that are not finite are left out."""
    return lambda record, at: finite_values(record[name])


def finite(value: Any) -> float | None:
    """The number, or None where there is none."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


def finite_values(given: Mapping[str, float]) -> dict[str, float] | None:
    """The map's finite numbers as floats, so that the first one seen does not make a field of whole numbers."""
    return {k: float(v) for k, v in given.items() if k and math.isfinite(v)} or None


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted names as objects within objects."""
    out: dict[str, Any] = {}
    for name, value in flat.items():
        *folders, last = name.split(".")
        node = out
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = value
    return out
