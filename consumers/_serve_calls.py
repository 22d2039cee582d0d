"""What is told of each call where somebody wants to know: a span, or a line of log.

An interceptor stands in the way of calls only where one of the two is switched on: spans by an endpoint (`_otel`),
lines by the log level debug. Invariant: a call is answered as it would be without.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import structlog

from consumers._otel import spans_of
from consumers.settings import Settings
from schemas import headwater_pb2 as pb
from stream.spec import Spec
from stream.trace import caller_of

log = structlog.get_logger()
_SINGLE = ("Predict", "Feedback")  # methods whose answer names one event
Caller = tuple[str, str] | None
Tell = Callable[[str, str, int, str, Caller], None]
"""Hears of a call: method, event id or "", when it began (ns), status, the caller's trace and span."""


def calls_of(spec: Spec, settings: Settings) -> tuple[grpc.ServerInterceptor, ...]:
    """What a server puts before its handlers: nothing, unless something is switched on."""
    spans = spans_of(spec, "predict")
    tells: list[Tell] = [] if spans is None else [spans.call]
    tells += [_line] if settings.log_level == "debug" else []
    return (Calls(tells),) if tells else ()


def _line(method: str, event_id: str, begun_ns: int, status: str, caller: Caller) -> None:
    about = {"event_id": event_id} if event_id else {}
    about |= {"headwater.caller.trace_id": caller[0]} if caller else {}
    log.debug("call", method=method, status=status, **about, **{"event.duration": time.time_ns() - begun_ns})


class Calls(grpc.ServerInterceptor):  # type: ignore[misc]
    """Tells of each call with one answer."""

    def __init__(self, tells: Sequence[Tell]) -> None:
        self._tells = tells

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        """See grpc.ServerInterceptor."""
        handler = continuation(details)
        if handler is None or handler.unary_unary is None:  # a stream has no one answer
            return handler
        method = details.method.rpartition("/")[2]
        given = [v for k, v in details.invocation_metadata or () if k == "traceparent" and isinstance(v, str)]
        caller = caller_of(given[0]) if given else None
        made = grpc.unary_unary_rpc_method_handler
        return made(
            self._traced(handler.unary_unary, method, caller), handler.request_deserializer, handler.response_serializer
        )

    def _tell(self, method: str, event_id: str, begun_ns: int, status: str, caller: Caller) -> None:
        for tell in self._tells:
            tell(method, event_id, begun_ns, status, caller)

    def _traced(self, inner: Any, method: str, caller: Caller) -> Any:
        def traced(request: Any, context: Any) -> Any:
            begun_ns = time.time_ns()
            try:
                answer = inner(request, context)
            except BaseException:  # grpcio ends a call that is aborted by one
                self._tell(method, "", begun_ns, _status_of(context), caller)
                raise
            self._tell(method, _event_id_of(method, answer), begun_ns, "OK", caller)
            return answer

        pool = getattr(inner, "experimental_thread_pool", None)
        if pool is not None:
            traced.experimental_thread_pool = pool  # type: ignore[attr-defined]  # where grpcio looks for it
        prompt = getattr(inner, "prompt", None)
        if prompt is not None:
            traced.prompt = self._prompted(prompt, method, caller)  # type: ignore[attr-defined]
        return traced

    def _prompted(self, prompt: Any, method: str, caller: Caller) -> Any:
        def traced(body: bytes) -> Any:
            begun_ns = time.time_ns()
            answer = prompt(body)
            if answer is not None:  # else the call goes on to the handler itself
                self._tell(method, _event_id_of(method, answer), begun_ns, "OK", caller)
            return answer

        return traced


def _event_id_of(method: str, answer: Any) -> str:
    """The event that an answer names; "" for one about many."""
    if method not in _SINGLE or not answer:
        return ""
    if isinstance(answer, bytes):
        answer = pb.PredictResponse.FromString(answer)
    return str(answer.event_id)


def _status_of(context: Any) -> str:
    code = context.code()
    return "UNKNOWN" if code is None else str(code.name)
