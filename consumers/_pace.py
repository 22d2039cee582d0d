"""Sending at a chosen speed: `rate` records a second, or as fast as the broker takes them (0)."""

import time


class Pace:
    """Sleeps so that n calls of `tick` take n / rate seconds in all; a late start is made up for."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._begin_s = time.monotonic()
        self._done = 0

    def tick(self) -> None:
        """One record more."""
        self._done += 1
        if self._rate <= 0 or self._done % 8:
            return
        ahead_s = self._done / self._rate - (time.monotonic() - self._begin_s)
        if ahead_s > 0:
            time.sleep(ahead_s)
