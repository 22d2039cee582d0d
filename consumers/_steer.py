"""The experiment topic → the assignment that answers. A thread of its own; no call ever waits for it.

Read from its beginning at each (re)connect, and to its end before anything is replaced: so a server that starts, or one
that lost Kafka for a while, never answers by a state that is past. Invariant: while Kafka is away the assignment in
place stays.
"""

import structlog
from kafka import KafkaConsumer

from consumers._control import Fold, connected, read_on
from consumers._listen import Batch, Listener, close
from consumers.settings import Settings
from stream.predict.plane import Plane
from stream.predict.steer import Assigner
from stream.spec import Spec

log = structlog.get_logger()


class Steering(Listener):
    """Keeps `plane` at the newest state of the experiment."""

    def __init__(self, spec: Spec, settings: Settings, plane: Plane) -> None:
        super().__init__(settings, "steer")
        self._spec, self._plane = spec, plane
        self._fold = Fold(spec)
        self._said = 0

    def _connect(self) -> KafkaConsumer | None:
        """Read to the topic's end, and have the present state in place."""
        fold, consumer = Fold(self._spec), connected(self._spec, self._settings)
        if consumer is not None:
            try:
                read_on(consumer, fold)
            except BaseException:
                close(consumer)
                raise
            self._fold = fold
            self._place()
        return consumer

    def _away(self, error: Exception) -> None:
        self._complain("experiment topic not read; the assignment in place stays", error)

    def _turn(self, batch: Batch | None) -> None:
        if batch is None:
            return
        self._told = ""
        if batch:
            for records in batch.values():
                self._fold.take(records)
            self._place()

    def _place(self) -> None:
        state = self._fold.state
        if state.seq != self._plane.assignment.seq:
            self._plane.steer(Assigner(self._spec, state))
            last = {n: getattr(state.records[-1], n) for n in ("action", "who", "why")} if state.records else {}
            log.info("assignment changed", seq=state.seq, shares=dict(state.shares), ended=state.ended, **last)
        for offset, why in sorted(self._fold.passed_over.items())[self._said :]:
            log.warning("control record passed over", topic=self._spec.topic("experiment"), offset=offset, error=why)
        self._said = max(self._said, len(self._fold.passed_over))
