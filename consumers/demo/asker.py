"""The demo's client: asks about flights while they stream, as an airline's own system would."""

import threading
import time
from collections import Counter, deque

from consumers.client import PredictionClient
from consumers.demo.flights import Flight
from stream.errors import HeadwaterError

QUESTIONS_MAX = 200
PAUSE_S = 0.002


class Asker(threading.Thread):
    """Asks in its own thread; what it can't keep up with is left out, oldest first."""

    def __init__(self, address: str) -> None:
        super().__init__(name="asker", daemon=True)
        self._address = address
        self._flights: deque[Flight] = deque(maxlen=QUESTIONS_MAX)
        self._last: Flight | None = None
        self._ended = threading.Event()
        self.answers: list[tuple[int, int]] = []  # wall clock in ms, label offset learned through
        self.by_arm: Counter[str] = Counter()
        self.failed = 0
        self.last_error = ""

    def ask_about(self, flight: Flight) -> None:
        """A flight that was just scheduled."""
        self._flights.append(flight)

    def stop(self) -> None:
        """End, and wait until it has."""
        self._ended.set()
        self.join(timeout=10)

    @property
    def through(self) -> int:
        """Offset of the last label that the newest answer's model had learned."""
        return self.answers[-1][1] if self.answers else -1

    def server_is_up(self) -> bool:
        """Whether the server answers at all; it may have no model yet."""
        try:
            with PredictionClient(self._address, timeout_s=0.5) as client:
                client.describe()
        except HeadwaterError:
            return False
        return True

    def run(self) -> None:
        """Ask about the newest flight; with none new, about the last one again, which tells how fresh the model is."""
        with PredictionClient(self._address, timeout_s=5.0) as client:
            while not self._ended.is_set():
                fresh = bool(self._flights)
                flight = self._flights.popleft() if fresh else self._last
                if flight is not None:
                    self._last = flight
                    self._ask(client, flight, counts=fresh)
                time.sleep(PAUSE_S if fresh else 5 * PAUSE_S)

    def _ask(self, client: PredictionClient, flight: Flight, counts: bool) -> None:
        fields = {k: v for k, v in flight.event.items() if v is not None}
        try:
            answer = client.predict(fields, event_id=flight.event["flight_id"])
        except HeadwaterError as e:
            self.failed += 1
            self.last_error = str(e)
            return
        self.answers.append((time.time_ns() // 1_000_000, answer.model.label_offset))
        if counts:
            self.by_arm[answer.arm] += 1
