"""The pipeline's vital signs as metric records: lag, counts, freshness, the sample ratio.

`evaluate` tells them, since it is one process and needs none of the others to be alive: a step that hangs or is gone
still shows. They are looked up in a thread of their own, so that no commit waits for them, and no end of the process.
A look that fails is logged, and the next one tried.
"""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Thread

import structlog

from consumers._control import state_of
from consumers._kafka import Out
from consumers._metric import metric_out
from consumers.settings import Settings
from consumers.status import Status, status
from stream.clock import Clock, SystemClock
from stream.errors import HeadwaterError
from stream.experiment.control import State
from stream.experiment.served_ratio import ServedRatio
from stream.spec import Spec

log = structlog.get_logger()
EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Sight:
    """What one look saw."""

    status: Status
    state: State


def look_of(spec: Spec, settings: Settings) -> Callable[[], Sight]:
    """A look at a pipeline on a broker."""
    return lambda: Sight(status(spec, settings), state_of(spec, settings))


class Vitals:
    """Records about every EVERY_S; nothing here waits."""

    def __init__(self, spec: Spec, look: Callable[[], Sight], clock: Clock | None = None) -> None:
        self._spec, self._look, self._clock = spec, look, clock or SystemClock()
        self._under_way: Future[Sight] | None = None
        self._due_s = 0.0
        self._before: tuple[int, int] | None = None  # events read and refused, at the last look
        self.ratio = ServedRatio(spec)

    def take(self) -> list[Out]:
        """The records of a look that has ended; begins the next when it is due."""
        if self._under_way is None:
            if self._clock.monotonic_s() >= self._due_s:
                self._due_s = self._clock.monotonic_s() + EVERY_S
                self._under_way = Future()
                Thread(target=self._fulfil, args=(self._under_way,), name="vitals", daemon=True).start()
            return []
        if not self._under_way.done():
            return []
        done, self._under_way = self._under_way, None
        try:
            return self._tell(done.result())
        except (HeadwaterError, ValueError) as error:  # no broker; a stranger's bytes in a topic
            log.warning("vital signs not read", error=str(error))
            return []

    def _fulfil(self, promise: "Future[Sight]") -> None:
        try:
            promise.set_result(self._look())
        except Exception as error:
            promise.set_exception(error)

    def _tell(self, sight: Sight) -> list[Out]:
        seen = sight.status
        outs = [self._out("lag", step, s.lag, {"lag": float(s.lag)}) for step, s in seen.steps.items()]
        outs.append(self._out("counts", "", seen.counts.events_in, self._counts(seen)))
        if seen.model is not None and seen.model_age_ms is not None:
            values = {"staleness_ms": float(seen.model_age_ms), "generation": float(seen.model["generation"])}
            outs.append(self._out("freshness", "", seen.model["rows"], values))
        if ratio := self.ratio.look(sight.state):
            outs.append(self._out("sample_ratio", "", round(ratio["exposures"]), ratio))
        return outs

    def _counts(self, seen: Status) -> dict[str, float]:
        """Where events and labels went; error_rate: the refused share of the events read since the last look."""
        c = seen.counts
        refused = sum(c.rejected.values())
        values = {n: float(getattr(c, n)) for n in c.__slots__ if n != "rejected"} | {"rejected": float(refused)}
        before, self._before = self._before, (c.events_in, refused)
        if before is not None and c.events_in > before[0]:
            values["error_rate"] = (refused - before[1]) / (c.events_in - before[0])
        return values

    def _out(self, kind: str, arm: str, rows: int, values: dict[str, float]) -> Out:
        return metric_out(self._spec, kind, arm, 0, rows, self._clock.wall_ms(), values)
