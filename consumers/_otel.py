"""OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT says so; else nothing of it is imported, and nothing costs anything.

Each block that a step works on is a span in a trace of its own. A sample of the events, the same ones in every process
(OTEL_TRACES_SAMPLER_ARG, a share), besides has a span of each step in the event's own trace (stream/trace.py), linked
to the block's. Spans hold ids, counts and positions, never values of an event.
"""

import atexit
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any

from stream.errors import DataError, HeadwaterError
from stream.spec import Spec
from stream.trace import root_span_id, sample, sampled, trace_id

SHARE = 0.01  # of events that have spans of their own, unless OTEL_TRACES_SAMPLER_ARG says otherwise
EVENTS_MAX = 32  # spans of events for one block
CLOSE_S = 3.0  # for the spans that wait, when leaving
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
Attributes = Mapping[str, str | int | float | bool]
Ids = Iterable[str]


def switched_on() -> bool:
    """Whether an endpoint is set."""
    return any(os.environ.get(name) for name in _ENDPOINTS) and os.environ.get("OTEL_SDK_DISABLED", "") != "true"


def spans_of(spec: Spec, process: str) -> "Spans | None":
    """Where this process sends its spans; None where no endpoint is set. Raises DataError, HeadwaterError."""
    if not switched_on():
        return None
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    if protocol not in (None, "", "grpc"):
        raise DataError(f"OTEL_EXPORTER_OTLP_PROTOCOL: found {protocol!r}; grpc is wanted")
    try:
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError as error:
        raise HeadwaterError(
            f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {error.name} is not installed: pip install 'headwater[otel]'"
        ) from None
    about = {"service.name": "headwater", "headwater.pipeline": spec.name, "headwater.spec_hash": spec.hash}
    provider = TracerProvider(
        sampler=ALWAYS_ON,
        resource=Resource.create({**about, "headwater.process": process}),
        id_generator=_ids(),
        shutdown_on_exit=False,  # it would wait for a dead endpoint for as long as it takes to give up each batch
    )
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    spans = Spans(spec.name, provider, _share())
    atexit.register(spans.close)
    return spans


def _share() -> float:
    given = os.environ.get("OTEL_TRACES_SAMPLER_ARG", "")
    try:
        share = float(given) if given else SHARE
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise DataError(f"OTEL_TRACES_SAMPLER_ARG: found {given!r}; a share from 0 to 1 is wanted")
    return share


class Spans:
    """Makes spans and hands them to the exporter's own thread, whose queue is bounded: nothing waits for it."""

    def __init__(self, pipeline: str, provider: Any, share: float) -> None:
        from opentelemetry import trace
        from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, TraceFlags

        self._pipeline, self._provider, self._share = pipeline, provider, share
        self._tracer = provider.get_tracer("headwater")
        self._link, self._server = Link, SpanKind.SERVER
        self._in_span: Callable[[Any], Any] = lambda context: trace.set_span_in_context(NonRecordingSpan(context))
        self._context: Callable[[str, str], Any] = lambda t, s: SpanContext(
            int(t, 16), int(s, 16), is_remote=True, trace_flags=TraceFlags(1)
        )

    def block(self, step: str, begun_ns: int, ids: Iterable[Ids], about: Attributes) -> None:
        """A step's work on one block, from begun_ns until now (wall clock), and the sampled events in it."""
        ended_ns = time.time_ns()
        span = self._tracer.start_span(step, context=_root(), start_time=begun_ns, attributes=dict(about))
        span.end(ended_ns)
        link = [self._link(span.get_span_context())]
        for _, event_id, trace in islice(sample(self._pipeline, chain.from_iterable(ids), self._share), EVENTS_MAX):
            self._event(step, trace, (begun_ns, ended_ns), event_id, {}, links=link)

    def published(self, ids: Sequence[str], time_ms: Sequence[int]) -> None:
        """The spans that all others of an event hang from: when Kafka took it."""
        for number, event_id, trace in islice(sample(self._pipeline, ids, self._share), EVENTS_MAX):
            at_ns = int(time_ms[number]) * 1_000_000
            with _given(trace, root_span_id(trace)):
                about = {"headwater.event.id": event_id}
                self._tracer.start_span("publish", context=_root(), start_time=at_ns, attributes=about).end(at_ns)

    def call(self, method: str, event_id: str, begun_ns: int, status: str, caller: tuple[str, str] | None) -> None:
        """A call that was answered; of a sampled event, or by a caller who traces it."""
        trace = trace_id(self._pipeline, event_id) if event_id else ""
        if caller is None and not (trace and sampled(trace, self._share)):
            return
        about = {"rpc.system": "grpc", "rpc.method": method, "rpc.grpc.status": status}
        links = [self._link(self._context(*caller))] if caller else []
        if trace:
            self._event(method, trace, (begun_ns, time.time_ns()), event_id, about, links=links, kind=self._server)
        else:
            more: dict[str, Any] = {"links": links, "kind": self._server, "attributes": about}
            self._tracer.start_span(method, context=_root(), start_time=begun_ns, **more).end()

    def _event(
        self, name: str, trace: str, between_ns: tuple[int, int], event_id: str, about: Attributes, **more: Any
    ) -> None:
        parent, (begun_ns, ended_ns) = self._in_span(self._context(trace, root_span_id(trace))), between_ns
        given = {"headwater.event.id": event_id, **about}
        self._tracer.start_span(name, context=parent, start_time=begun_ns, attributes=given, **more).end(ended_ns)

    def close(self) -> None:
        """Send what waits, for at most CLOSE_S; what is left then is lost."""
        sending = threading.Thread(target=self._provider.shutdown, name="spans", daemon=True)
        sending.start()
        sending.join(CLOSE_S)
        atexit.unregister(self.close)


def _root() -> Any:
    """That a span has no parent, whatever this thread is in."""
    from opentelemetry.context import Context

    return Context()


class _Given(threading.local):
    """Ids that the next span made by this thread shall have; 0 for any."""

    trace, span = 0, 0


_next = _Given()


@contextmanager
def _given(trace: str, span: str) -> Iterator[None]:
    _next.trace, _next.span = int(trace, 16), int(span, 16)
    try:
        yield
    finally:
        _next.trace = _next.span = 0


def _ids() -> Any:
    from opentelemetry.sdk.trace.id_generator import RandomIdGenerator

    class Ids(RandomIdGenerator):
        """Random, but where a span's ids are given."""

        def generate_trace_id(self) -> int:
            return _next.trace or super().generate_trace_id()

        def generate_span_id(self) -> int:
            return _next.span or super().generate_span_id()

    return Ids()
