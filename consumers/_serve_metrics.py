"""What the server counts, for Prometheus to scrape over HTTP; off unless a setting names an address.

Calls are counted by method and status, with how long they took; rows by method, arm and status, since one call may hold
thousands. What is a state (staleness, generation, calls in hand, exposures) is read when it is asked for.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import grpc
import numpy as np
from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumers._serve_pool import Pool
from consumers._serve_status import STATUS
from stream.clock import Clock
from stream.errors import DataError, HeadwaterError
from stream.predict.answers import Answers
from stream.predict.plane import Plane

_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Meter:
    """Counters of one server; safe to share between threads."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._calls = Counter(
            "headwater_calls", "calls by method and status", ["method", "code"], registry=self.registry
        )
        self._rows = Counter(
            "headwater_rows", "rows by method, arm and status", ["method", "arm", "code"], registry=self.registry
        )
        self._seconds = Histogram(
            "headwater_call_seconds", "time from a call's start at work to its answer", ["method"],
            buckets=_BUCKETS_S, registry=self.registry,
        )  # fmt: skip
        self._bound: dict[tuple[str, grpc.StatusCode], tuple[Any, Any]] = {}
        self._bound_rows: dict[tuple[str, str, grpc.StatusCode], Any] = {}

    def call(self, method: str, code: grpc.StatusCode, seconds: float | None = None) -> None:
        """One call ended; `seconds`: how long it was at work."""
        known = self._bound.get((method, code)) or self._bind(method, code)
        known[0].inc()
        if seconds is not None:
            known[1].observe(seconds)

    def rows(self, method: str, arm: str, code: grpc.StatusCode, count: int = 1) -> None:
        """So many rows were answered, or refused (with arm '')."""
        if count:
            known = self._bound_rows.get((method, arm, code))
            if known is None:
                known = self._bound_rows[method, arm, code] = self._rows.labels(method, arm, code.name)
            known.inc(count)

    def _bind(self, method: str, code: grpc.StatusCode) -> tuple[Any, Any]:
        """The counter and the histogram of these labels; to look them up costs more than to count."""
        found = self._calls.labels(method, code.name), self._seconds.labels(method)
        self._bound[method, code] = found
        return found

    def watch(
        self, plane: Plane, pools: Mapping[str, Pool], exposures: Callable[[], tuple[int, int, int]], clock: Clock
    ) -> None:
        """Also tell how these are, whenever it is asked for."""
        self.registry.register(_State(plane, pools, exposures, clock))

    def serve(self, address: str) -> "Metrics":
        """Answer at this address, host:port. Raises HeadwaterError where it can't be had."""
        host, _, port = address.rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            raise DataError(f"HEADWATER_METRICS: found {address!r}; host:port is wanted")
        try:
            server, thread = start_http_server(int(port), host, self.registry)
        except OSError as e:
            detail = f"metrics can't be served at {address}: {e.strerror}; HEADWATER_METRICS sets another"
            raise HeadwaterError(detail) from e
        return Metrics(server, thread)


def count_rows(meter: Meter, method: str, answers: Answers) -> None:
    """The rows of a batch."""
    counts = np.bincount(answers.arm[answers.arm >= 0], minlength=len(answers.arms))
    for arm, count in zip(answers.arms, counts, strict=True):
        meter.rows(method, arm, grpc.StatusCode.OK, int(count))
    for refused in answers.refused.values():
        meter.rows(method, "", STATUS[type(refused)])


class Metrics:
    """The HTTP side; `port` is where it listens."""

    def __init__(self, server: Any, thread: threading.Thread) -> None:
        self._server, self._thread = server, thread
        self.port = int(server.server_port)

    def close(self) -> None:
        """Give the port back."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5.0)


class _State(Collector):
    def __init__(
        self, plane: Plane, pools: Mapping[str, Pool], exposures: Callable[[], tuple[int, int, int]], clock: Clock
    ) -> None:
        self._plane, self._pools, self._exposures, self._clock = plane, pools, exposures, clock

    def collect(self) -> Iterator[Any]:
        """See prometheus_client."""
        served = self._plane.served
        if served is not None:
            stale_s = (self._clock.wall_ms() - served.as_of_ms) / 1000
            yield GaugeMetricFamily("headwater_staleness_seconds", "the clock less what is all known", value=stale_s)
            yield GaugeMetricFamily("headwater_model_generation", "of the model in place", value=served.generation)
            yield GaugeMetricFamily("headwater_model_rows", "rows that it has learned", value=served.rows)
        seq = self._plane.assignment.seq
        yield GaugeMetricFamily("headwater_control_seq", "last change of the experiment that is followed", value=seq)
        held = GaugeMetricFamily("headwater_held_calls", "at work or waiting", labels=["pool"])
        for name, pool in self._pools.items():
            held.add_metric([name], pool.held)
        yield held
        sent, dropped, waiting = self._exposures()
        counted = CounterMetricFamily("headwater_exposures", "answers logged, or dropped", labels=["what"])
        counted.add_metric(["sent"], sent)
        counted.add_metric(["dropped"], dropped)
        yield counted
        yield GaugeMetricFamily("headwater_exposures_waiting", "to be sent", value=waiting)
