"""What each look of a guard found, as metric records: the interval of an arm's difference while it narrows.

Only what changed is sent. A pipeline without the metrics topic is guarded all the same.
"""

from collections.abc import Sequence

from kafka import KafkaProducer

from consumers._checkpoint import wait
from consumers._kafka import Out, broker_errors, consuming, make_producer
from consumers._metric import metric_out
from consumers.settings import Settings
from stream.clock import Clock, SystemClock
from stream.experiment.guard import Finding
from stream.spec import Spec


def finding_outs(spec: Spec, findings: Sequence[Finding], now_ms: int) -> list[Out]:
    """A record of each finding; window: the guardrail's place in the spec. Infinite bounds are left out."""
    places = {(rail.metric, rail.margin): i for i, rail in reversed(list(enumerate(spec.experiment.guardrails)))}
    outs = []
    for f in findings:
        d, place = f.difference, places[f.metric, f.margin]
        values = {"difference": d.estimate, "low": d.low, "high": d.high, "margin": f.margin, "worse": float(f.worse)}
        outs.append(metric_out(spec, "guardrail", f.arm, place, d.n, now_ms, values))
    return outs


class Teller:
    """Sends them; `close` when done."""

    def __init__(self, spec: Spec, settings: Settings, clock: Clock | None = None) -> None:
        self._spec, self._settings, self._clock = spec, settings, clock or SystemClock()
        self._producer: KafkaProducer | None = None
        self._told: tuple[Finding, ...] = ()
        self._silent = not self._can_tell()

    def _can_tell(self) -> bool:
        with broker_errors(self._settings), consuming(self._settings) as consumer:
            return self._spec.topic("metrics") in consumer.topics()

    def tell(self, findings: Sequence[Finding]) -> None:
        """Raises BrokerError when they are not taken."""
        new = [f for f in findings if f.difference.n and f not in self._told]
        if self._silent or not new:
            return
        with broker_errors(self._settings):
            self._producer = self._producer or make_producer(self._settings)
            outs = finding_outs(self._spec, new, self._clock.wall_ms())
            sent = [self._producer.send(o.topic, value=o.value, key=o.key, partition=o.partition) for o in outs]
            for future in sent:
                wait(future, self._settings)
        self._told = tuple(findings)

    def close(self) -> None:
        """Leave."""
        if self._producer is not None:
            self._producer.close(timeout=2)
