"""Time as a value that is handed in: the core never asks the machine what time it is.

Deadlines use `monotonic_s`, which nobody can set back; `wall_ms` only stamps records for people.
"""

import time
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What the processes need of time."""

    def wall_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC, as this machine believes."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some moment; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's own time."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


@dataclass
class FakeClock:
    """Time that moves only when told to; for tests."""

    ms: int = 0

    def wall_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.ms / 1000

    def sleep(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)
