"""How many rows each step took and for how long it was busy: what `events/s by step` is made of.

Where spans are switched on (`_otel`), each block that a step worked on is one.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from consumers._otel import Spans


@dataclass(slots=True)
class Work:
    """What a step tells of its block: ids of the events, in one piece or several, and where it lies."""

    ids: Sequence[Iterable[str]] = ()
    about: dict[str, str | int | float | bool] = field(default_factory=dict)


class Busy:
    """Adds up rows and busy seconds by step. Waiting for Kafka is no step's work, except in `commit` and `poll`."""

    def __init__(self) -> None:
        self.spans: Spans | None = None
        self._rows: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, rows: int) -> Iterator[Work]:
        """Time the body as work of `name` on `rows` rows."""
        begin_s, begin_ns, work = time.perf_counter(), time.time_ns(), Work()
        try:
            yield work
            if self.spans is not None and (rows or work.ids):
                self.spans.block(name, begin_ns, work.ids, {"headwater.rows": rows, **work.about})
        finally:
            self._rows[name] = self._rows.get(name, 0) + rows
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - begin_s

    def totals(self) -> dict[str, dict[str, float]]:
        """step → {rows, busy_s}."""
        return {n: {"rows": float(self._rows[n]), "busy_s": self._seconds[n]} for n in self._rows}
