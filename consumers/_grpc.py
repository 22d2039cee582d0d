"""The adapter to gRPC: a server that sheds load, says how it is, and leaves in good order.

Pitfalls decide each setting: without so_reuseport=0 a second server binds the same port silently; without a bound
on calls the queued ones expire unanswered; past gRPC's own bound a call ends as CANCELLED, which says nothing.
Health has a thread of its own and passes the gate, so a flood of predictions can't make a live server look dead;
labels have threads of their own, so a slow Kafka can't hold up predictions.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from consumers._serve_pool import Pool
from consumers._serve_prompt import PromptPool
from stream.errors import HeadwaterError

SERVICE = "headwater.v1.Predictions"
CALLS_MAX = 1024  # hard bound on calls of any kind, and on those of one connection; the gate sheds long before
WAITING_MAX = 4096  # calls that gRPC holds until they can be received; of more it cancels some, of twice as many all
STOP_S = 0.25  # for answers on their way out, and for those who watch health
_STREAMS = ("/PredictStream", "/ServerReflectionInfo")  # methods whose callers send a stream
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVING = health_pb2.HealthCheckResponse.SERVING


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """workers: threads that predict; labels: threads that wait for Kafka; held_max: calls that each of the
    two holds, at work or waiting, past which more get RESOURCE_EXHAUSTED (what is answered as it is received waits
    in gRPC, see WAITING_MAX); streams: PredictStreams at once, a thread each; drain_s: what calls at work get when
    leaving; shared_port: others may listen at the same one too; gather_wait_s: how long a block of concurrent calls
    waits for more.
    """

    workers: int = 4
    labels: int = 8
    streams: int = 16
    held_max: int = 64
    message_bytes_max: int = 8 << 20
    reflection: bool = True
    drain_s: float = 10.0
    shared_port: bool = False
    gather_wait_s: float = 0.0


def in_pool(method: Callable[[Any, Any], Any], pool: ThreadPoolExecutor) -> Callable[[Any, Any], Any]:
    """The handler `method`, to be run by `pool` instead of the server's own."""

    def run(request: Any, context: Any) -> Any:
        return method(request, context)

    run.experimental_thread_pool = pool  # type: ignore[attr-defined]  # where grpcio looks for it
    return run


@dataclass(frozen=True, slots=True)
class Service:
    """What a server offers: `add` registers the handlers at what stands for a grpc.Server (`Handlers`).

    pools: methods that run in threads of their own; open: methods that no gate holds up.
    """

    name: str
    add: Callable[[Any], None]
    pools: Mapping[str, Pool] = field(default_factory=dict)
    open: tuple[str, ...] = ()

    def path(self, method: str) -> str:
        """How gRPC names a method."""
        return f"/{self.name}/{method}"


Told = Callable[[str, grpc.StatusCode], None]
"""Hears of each call that is refused: method, status."""


class Refusal:
    """Handlers that end each call with one status."""

    def __init__(self, status: grpc.StatusCode, reason: str, detail: str, pool: ThreadPoolExecutor) -> None:
        def refuse(_: Any, context: Any) -> None:
            context.set_trailing_metadata((("headwater-reason", reason),))
            context.abort(status, detail)

        self.status = status
        self._unary = grpc.unary_unary_rpc_method_handler(in_pool(refuse, pool))
        self._stream = grpc.stream_unary_rpc_method_handler(in_pool(refuse, pool))

    def of(self, method: str) -> Any:
        """The handler for this method's callers."""
        return self._stream if method.endswith(_STREAMS) else self._unary


def open_to_all(method: str) -> bool:
    """Whether a method is health's, which neither the gate nor a token holds up."""
    return method.startswith(f"/{health.SERVICE_NAME}/")


class Handlers:
    """Stands for a grpc.Server where a service registers its handlers; `of` has them by method."""

    def __init__(self) -> None:
        self.of: dict[str, Any] = {}

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """See grpc.Server; the same come by name."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """See grpc.Server."""
        self.of = dict(handlers)


class Gate(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The services' handlers; refuses calls whose pool holds its most already, and all once the server leaves.

    It works in the thread that receives calls, before any of the pools. That it hands out the handlers, and is no
    interceptor, saves a call what grpcio does around an interceptor. What belongs to no service (health, reflection)
    is not its.
    """

    def __init__(
        self, services: Sequence[Service], default: Pool, held_max: int, side: ThreadPoolExecutor, told: Told
    ) -> None:
        self._told, self.leaving = told, False
        self._doors: dict[str, tuple[Any, Pool | None, int]] = {}  # method → handler; pool, if any; most calls in it
        for service in services:
            handlers = Handlers()
            service.add(handlers)
            for method, handler in handlers.of.items():
                pool = None if method in service.open else service.pools.get(method, default)
                self._doors[service.path(method)] = handler, pool, (pool.held_max if pool else 0) or held_max
        self._full = {
            most: Refusal(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                "server.overloaded",
                f"{most} calls are in hand, the most at once; try again later",
                side,
            )
            for _, _, most in self._doors.values()
        }
        gone = "the server is leaving; try again, another may answer"
        self._gone = Refusal(grpc.StatusCode.UNAVAILABLE, "server.leaving", gone, side)

    def service(self, details: Any) -> Any:
        """See grpc.GenericRpcHandler."""
        found = self._doors.get(details.method)
        if found is None:
            return None
        handler, pool, most = found
        if pool is None:
            return handler
        if self.leaving:
            return self._refused(details.method, self._gone)
        return self._refused(details.method, self._full[most]) if pool.held >= most else handler

    def _refused(self, method: str, refusal: Refusal) -> Any:
        self._told(method.rpartition("/")[2], refusal.status)
        return refusal.of(method)


class _Health(health.HealthServicer):  # type: ignore[misc]
    """grpc.health.v1 for the whole server and for SERVICE; they are the same here."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        super().__init__()
        self.Check = in_pool(super().Check, pool)
        self.tell(False)

    def tell(self, serving: bool) -> None:
        """SERVING or NOT_SERVING."""
        for name in ("", SERVICE):
            self.set(name, _SERVING if serving else _NOT_SERVING)


class Server:
    """One gRPC server on one address; nothing listens before `start`.

    `side` is the thread for what must never wait: health, refusals, and whatever the services give it. `guards` see a
    call before the gate does; `told` hears of what the gate refuses.
    """

    def __init__(
        self,
        options: ServerOptions,
        services: Sequence[Service],
        side: ThreadPoolExecutor,
        guards: Sequence[grpc.ServerInterceptor] = (),
        told: Told = lambda method, status: None,
    ) -> None:
        self._options, self._side = options, side
        self._pool = PromptPool(options.workers, "predict")
        self._pools = [pool for service in services for pool in service.pools.values()]
        self.gate = Gate(services, self._pool, options.held_max, side, told)
        self._health = _Health(self._side)
        self._server = grpc.server(
            self._pool,
            interceptors=tuple(guards),
            maximum_concurrent_rpcs=CALLS_MAX,
            options=(
                ("grpc.so_reuseport", int(options.shared_port)),
                ("grpc.max_concurrent_streams", CALLS_MAX),
                ("grpc.server.max_pending_requests", WAITING_MAX),
                ("grpc.server.max_pending_requests_hard_limit", 2 * WAITING_MAX),
                ("grpc.max_receive_message_length", options.message_bytes_max),
                ("grpc.max_send_message_length", options.message_bytes_max),
            ),
        )
        self._server.add_generic_rpc_handlers((self.gate,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if options.reflection:
            names = (*(s.name for s in services), health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)

    @property
    def pools(self) -> dict[str, Pool]:
        """Threads that hold calls, by name."""
        return {pool.name: pool for pool in (self._pool, *self._pools)}

    def start(self, address: str, credentials: Any = None) -> int:
        """Listen; returns the port. credentials: for TLS. Raises HeadwaterError where the address can't be had."""
        try:
            if credentials is None:
                port = int(self._server.add_insecure_port(address))
            else:
                port = int(self._server.add_secure_port(address, credentials))
        except (RuntimeError, ValueError) as e:
            raise HeadwaterError(
                f"the prediction server can't listen at {address}: the port is in use, or the address is "
                "not of this machine; HEADWATER_GRPC=host:port sets another"
            ) from e
        self._server.start()
        return port

    def tell(self, serving: bool) -> None:
        """What health answers from now on."""
        self._health.tell(serving)

    def drain(self) -> bool:
        """Leave: health says NOT_SERVING, new calls are UNAVAILABLE, those at work get `drain_s` to end.

        The port is given back last: a call that meets a closing connection would end as CANCELLED, which says
        nothing. Returns whether all calls at work ended.
        """
        self.gate.leaving = True  # first: who reads NOT_SERVING may count on new calls being refused
        self._health.enter_graceful_shutdown()
        pools = (self._pool, *self._pools)
        until_s = time.monotonic() + self._options.drain_s
        while any(pool.held for pool in pools) and time.monotonic() < until_s:
            time.sleep(0.005)
        drained = not any(pool.held for pool in pools)
        self._server.stop(STOP_S).wait(STOP_S + 2)
        for pool in (*pools, self._side):
            pool.shutdown(wait=False, cancel_futures=True)
        return drained
