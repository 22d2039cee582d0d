"""How many rows each step took and for how long it was busy: what `events/s by step` is made of."""

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Busy:
    """Adds up rows and busy seconds by step. Waiting for Kafka is no step's work, except in `commit` and `poll`."""

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str, rows: int) -> Iterator[None]:
        """Time the body as work of `name` on `rows` rows."""
        begin_s = time.perf_counter()
        try:
            yield
        finally:
            self._rows[name] = self._rows.get(name, 0) + rows
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - begin_s

    def totals(self) -> dict[str, dict[str, float]]:
        """step → {rows, busy_s}."""
        return {n: {"rows": float(self._rows[n]), "busy_s": self._seconds[n]} for n in self._rows}
