"""A small real receiver of OTLP over gRPC, with the official protocol: what any collector would be sent."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as pb_grpc


@dataclass
class Receiver(pb_grpc.TraceServiceServicer):  # type: ignore[misc]
    """Keeps each span with the attributes of its process."""

    endpoint: str = ""
    spans: list[tuple[dict[str, Any], Any]] = field(default_factory=list)
    _lock: Any = field(default_factory=Lock)

    def Export(self, request: Any, context: Any) -> Any:
        """See the protocol."""
        with self._lock:
            for of_process in request.resource_spans:
                about = attributes(of_process.resource)
                self.spans += [(about, span) for scope in of_process.scope_spans for span in scope.spans]
        return pb.ExportTraceServiceResponse()

    def named(self, name: str) -> list[Any]:
        """The spans of this name so far."""
        with self._lock:
            return [span for _, span in self.spans if span.name == name]

    def of_trace(self, trace: str) -> list[Any]:
        """The spans of a trace so far, by their beginning."""
        with self._lock:
            found = [span for _, span in self.spans if span.trace_id.hex() == trace]
        return sorted(found, key=lambda span: span.start_time_unix_nano)


def attributes(given: Any) -> dict[str, Any]:
    """Of a span or a process, as plain values."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in given.attributes}


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver that listens."""
    server, receiver = grpc.server(ThreadPoolExecutor(2)), Receiver()
    pb_grpc.add_TraceServiceServicer_to_server(receiver, server)
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait(10)
