"""A thread that ends the process when a step takes longer than it may.

kafka-python's commit, abort and send_offsets have no time-out of their own: with the broker gone they wait for
ever. Invariant: between `guard` entering and leaving, at most `seconds` pass, or the process is gone.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

EXIT_CODE = 75  # EX_TEMPFAIL: restart me


class Watchdog:
    """One a process."""

    def __init__(self) -> None:
        self._until: float | None = None
        self._what = ""
        self._changed = threading.Condition()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    @contextmanager
    def guard(self, seconds: float, what: str) -> Iterator[None]:
        """End the process unless the body leaves within `seconds`."""
        with self._changed:
            self._until, self._what = time.monotonic() + seconds, f"{what} took longer than {seconds:g} s"
            self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._until = None
                self._changed.notify()

    def _watch(self) -> None:
        with self._changed:
            while True:
                left = None if self._until is None else self._until - time.monotonic()
                if left is not None and left <= 0:
                    sys.stderr.write(f"headwater: {self._what}; this process ends, nothing was committed twice\n")
                    sys.stderr.flush()
                    os._exit(EXIT_CODE)
                self._changed.wait(left)
