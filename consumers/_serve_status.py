"""What a handler raises → a gRPC status, for every service alike.

Invariant: whatever a caller sends, the answer has a status and a message that say what was given and what is allowed;
an exception that is none of ours is a bug, told as INTERNAL, and the server goes on.
"""

import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import structlog
from google.protobuf.message import DecodeError

from schemas import headwater_pb2 as pb
from stream.errors import HeadwaterError
from stream.predict import refuse
from stream.predict.refuse import Refused

log = structlog.get_logger()
_SHOWN = {"_feedback": "Feedback", "_stream": "PredictStream"}
_DETAIL_BYTES_MAX = 2000  # gRPC carries a message in a header
STATUS: dict[type[Refused], grpc.StatusCode] = {
    refuse.InvalidRequest: grpc.StatusCode.INVALID_ARGUMENT,
    refuse.UnknownArm: grpc.StatusCode.NOT_FOUND,
    refuse.NoModel: grpc.StatusCode.UNAVAILABLE,
    refuse.TooStale: grpc.StatusCode.FAILED_PRECONDITION,
    refuse.BadScore: grpc.StatusCode.INTERNAL,
    refuse.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    refuse.NotTaken: grpc.StatusCode.UNAVAILABLE,
    refuse.NotConfirmed: grpc.StatusCode.DEADLINE_EXCEEDED,
}


def abort(context: Any, status: grpc.StatusCode, reason: str, detail: str) -> None:
    """End a call. Raises, always."""
    body = detail.encode()
    if len(body) > _DETAIL_BYTES_MAX:
        detail = body[:_DETAIL_BYTES_MAX].decode(errors="ignore") + "…"
    context.set_trailing_metadata((("headwater-reason", reason),))
    context.abort(status, detail)


def status_of(error: Exception, method: str, request: Any = None) -> tuple[grpc.StatusCode, str, str]:
    """Status, short code and message of what a handler raised; a bug is logged, with the event that it is about."""
    if isinstance(error, Refused):
        return STATUS[type(error)], error.reason, str(error)
    if isinstance(error, HeadwaterError):
        return grpc.StatusCode.UNAVAILABLE, "server.unavailable", str(error)
    event_id = event_id_in(method, request)
    about = {"event_id": event_id} if event_id else {}
    log.error("call failed", method=_SHOWN.get(method, method), exc_info=error, **about)
    detail = f"{type(error).__name__}: a bug of the server; its log says more"
    return grpc.StatusCode.INTERNAL, "server.bug", detail


def event_id_in(method: str, request: Any) -> str:
    """The id of the one event that a request is about, where its caller gave one."""
    if isinstance(request, bytes):
        if method != "Predict":
            return ""
        try:
            request = pb.PredictRequest.FromString(request)
        except DecodeError:
            return ""
    return str(getattr(request, "event_id", ""))


def _count(servicer: Any, method: str, code: grpc.StatusCode, begun_s: float) -> None:
    """Tell the servicer's meter, if it has one."""
    if servicer.meter is not None:
        servicer.meter.call(_SHOWN.get(method, method), code, time.perf_counter() - begun_s)


def answered(method: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    """Turn what a handler raises into a status. (A call whose deadline passed in the queue never gets here.)"""

    name = method.__name__

    @functools.wraps(method)
    def handle(self: Any, request: Any, context: Any) -> Any:
        begun_s = time.perf_counter()
        try:
            found = method(self, request, context)
        except Exception as e:
            told = status_of(e, name, request)
        else:
            _count(self, name, grpc.StatusCode.OK, begun_s)
            return found
        _count(self, name, told[0], begun_s)
        return abort(context, *told)

    return handle


def streamed(method: Callable[[Any, Any, Any], Iterator[Any]]) -> Callable[[Any, Any, Any], Iterator[Any]]:
    """As `answered`, for a handler that answers with a stream."""

    @functools.wraps(method)
    def handle(self: Any, requests: Any, context: Any) -> Iterator[Any]:
        begun_s = time.perf_counter()
        try:
            yield from method(self, requests, context)
        except Exception as e:
            told = status_of(e, method.__name__)
        else:
            _count(self, method.__name__, grpc.StatusCode.OK, begun_s)
            return
        _count(self, method.__name__, told[0], begun_s)
        abort(context, *told)

    return handle
