"""Freshness as it happens: from a label's time on Kafka to the first answer of a model that had learned it.

While nobody asks there are no answers; then the moment that counts is that of the announcement of a snapshot which
servers go to, and which they have in place within a poll. Labels that came before the first such moment that was seen
are not counted, as theirs may have been long before. Memory: the labels that wait, and the newest that do not.
"""

from collections import deque

import numpy as np

from consumers.monitor.state import POINTS_MAX, Freshness

GOAL_MS = 1000
WAITING_MAX, MEASURED_MAX = 20_000, 2_000
ASKED_MS = 10_000  # after the last answer, announcements count


class Fresh:
    """Give it labels, answers and announcements as they come, then `settle` once all that is there was given."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, int]] = deque(maxlen=WAITING_MAX)  # offset, time
        self._moments: dict[int, int] = {}  # last label learned → time
        self._announced: dict[int, int] = {}
        self._answered_ms = 0
        self._through: int | None = None
        self._measured: deque[int] = deque(maxlen=MEASURED_MAX)
        self._points: deque[list[float]] = deque(maxlen=POINTS_MAX)

    def label(self, offset: int, time_ms: int) -> None:
        """A label on Kafka."""
        self._waiting.append((offset, time_ms))

    def answer(self, time_ms: int, through: int) -> None:
        """An answer by a model that had learned labels up to this offset."""
        self._answered_ms = max(self._answered_ms, time_ms)
        self._moments[through] = min(time_ms, self._moments.get(through, time_ms))

    def announcement(self, time_ms: int, through: int) -> None:
        """A snapshot that servers go to."""
        self._announced[through] = min(time_ms, self._announced.get(through, time_ms))

    def settle(self, now_ms: int) -> None:
        """Labels that a moment has reached are measured; one point of the series is made of them."""
        asked = now_ms - self._answered_ms < ASKED_MS
        moments = self._moments if asked else self._announced
        self._moments, self._announced = {}, {}
        took: list[int] = []
        for through, time_ms in sorted(moments.items(), key=lambda moment: moment[::-1]):
            while self._waiting and self._waiting[0][0] <= through:
                took.append(max(0, time_ms - self._waiting.popleft()[1]))
            if self._through is None:
                took = []
            self._through = max(through, self._through or 0)
        if took:
            self._measured.extend(took)
            self._points.append([now_ms, float(np.median(took))])

    def told(self) -> Freshness:
        """For the page."""
        p50, p99 = np.percentile(self._measured, [50, 99]).tolist() if self._measured else (None, None)
        now = self._points[-1][1] if self._points else None
        return {"now_ms": now, "p50_ms": p50, "p99_ms": p99, "goal_ms": GOAL_MS, "points": list(self._points)}
