"""Names of hashed categories: a hash can't be reversed, so values that may occur are hashed, and remembered.

Known without being told: parts of times, and the values that the spec itself gives (`unify`, `impute`). Events of a
sample go through the pipeline's own cleaning, so that what is named is what the model saw.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from stream.block import Columns, Layout
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import PARTS_MAX, layout_of
from stream.encode.ids import Ids
from stream.limits import TOKENS_MAX
from stream.spec import Spec

_WORD = re.compile(r"\w+")
NAMES_MAX = 4_000_000  # further values stay hashes


class Names:
    """64-bit id → field=value."""

    def __init__(self, spec: Spec) -> None:
        self._cleaner, self._layout = Cleaner(spec), layout_of(spec)
        self._time = spec.event.time
        self._known: dict[int, str] = {}
        self._fields = {name: field.type for name, field in spec.event.fields.items()}
        for name, field in spec.event.fields.items():
            if field.type in ("category", "text"):
                given = [*field.unify.values(), *([field.impute] if isinstance(field.impute, str) else [])]
                self._add(name, given, field.type == "text")
            elif field.type == "time" and "category" in field.as_:
                for part in field.parts:
                    self._add(f"{name}.{part}", map(str, range(PARTS_MAX)), False)

    def __len__(self) -> int:
        return len(self._known)

    def of(self, key: int) -> str:
        """The name, or # and the hash where it is not known."""
        return self._known.get(key) or f"#{key:016x}"

    def learn(self, events: Sequence[dict[str, Any]]) -> None:
        """Remember every category and word of these events that cleaning keeps."""
        latest = max((t for e in events if isinstance(t := e.get(self._time), int)), default=0)
        cleaned = self._cleaner.clean(events, [Position(0, i, latest) for i in range(len(events))])
        self._columns(cleaned.columns)

    def _columns(self, columns: Columns) -> None:
        for name, values in columns.values.items():
            if self._fields[name] in ("category", "text") and values.dtype == object:
                self._add(name, (v for v in values if v is not None), self._fields[name] == "text")

    def _add(self, field: str, values: Iterable[Any], words: bool) -> None:
        ids = Ids(field)
        for value in set(values):
            for text in _WORD.findall(value.lower())[:TOKENS_MAX] if words else [value]:
                if len(self._known) < NAMES_MAX:
                    self._known[ids.of(text)] = f"{field}={text}"


def field_of(feature: str, layout: Layout) -> str:
    """The column that a feature's name begins with; the name itself for a bare hash."""
    name = feature.partition("=")[0]
    return name if name in (*layout.numeric, *layout.categories, *layout.tokens) else feature
