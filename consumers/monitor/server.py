"""The monitor over HTTP: the page, its state as JSON and as a stream, two requests that act.

It knows nothing of Kafka: what it tells and does is a `Source`'s. Invariant: a refusal is JSON with an `error`, and
says what is wanted; no text of a stranger leaves as markup.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Protocol

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, RedirectResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from consumers.monitor.access import COOKIE, HEADER, Access
from consumers.monitor.state import State, plain
from stream.errors import HeadwaterError

STATIC = Path(__file__).with_name("static")
EVERY_S = 1.0
LOOK_S = 0.2  # so soon an open stream notices that it shall end
STREAMS_MAX = 16  # pages that watch at the same time
BODY_BYTES_MAX = 64 << 10
POSITIONS_MAX = 1000  # dead letters of one request
_OUTSIDE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}
_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


class Source(Protocol):
    """What the page is about. Each may raise HeadwaterError, which the reader sees."""

    def state(self) -> State:
        """Now."""
        ...

    def replay(self, offsets: tuple[int, ...], code: str) -> str:
        """Send dead letters again: these of the dead topic, or all with this code. Returns what was done."""
        ...

    def rollback(self, generation: int | None) -> str:
        """Servers go to this snapshot and stay; None: they follow the learner again. Returns what was done."""
        ...


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def to_json(state: Any) -> bytes:
    """JSON that is safe wherever it is put: ASCII, without < > &, null for numbers that JSON lacks."""
    text = json.dumps(plain(state), separators=(",", ":"), allow_nan=False)
    for sign, escaped in _OUTSIDE.items():
        text = text.replace(sign, escaped)
    return text.encode()


def make_app(
    source: Source,
    access: Access,
    static: Path = STATIC,
    every_s: float = EVERY_S,
    leaving: Callable[[], bool] = lambda: False,
) -> ASGIApp:
    """The application, guarded. leaving: whether open streams shall end."""
    handlers = _Handlers(source, access, static, every_s, leaving)
    routes = [
        Route("/", handlers.page),
        Route("/api/state", handlers.state),
        Route("/api/stream", handlers.stream),
        Route("/api/replay", handlers.replay, methods=["POST"]),
        Route("/api/rollback", handlers.rollback, methods=["POST"]),
        Mount("/static", StaticFiles(directory=static, check_dir=False)),
    ]
    return _Door(Starlette(routes=routes), access)


class _Door:
    """Hosts, and beyond loopback the token, before anything else; the headers that hold on every answer."""

    def __init__(self, inner: ASGIApp, access: Access) -> None:
        self._inner, self._access = inner, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                own = {k.lower() for k, _ in message["headers"]}
                more = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in own]
                message["headers"] = [*message["headers"], *more]
            await send(message)

        app = self._answer(Request(scope)) or self._inner
        await app(scope, receive, with_headers)

    def _answer(self, request: Request) -> Response | None:
        """What is said instead of letting it in."""
        hosts = request.headers.getlist("host")
        why = self._access.refuses_host(hosts[0]) if len(hosts) == 1 else "Host: one is wanted"
        if why:
            return JSONResponse({"error": why}, 421)
        if not self._access.beyond:
            return None
        given = request.query_params.get("token")
        if given is not None and request.url.path == "/" and self._access.knows(given):
            answer = RedirectResponse(f"/#token={given}" if self._access.write else "/", 303)
            answer.set_cookie(COOKIE, given, httponly=True, samesite="strict")
            return answer
        if any(map(self._access.knows, (request.headers.get(HEADER, ""), request.cookies.get(COOKIE, "")))):
            return None
        return JSONResponse({"error": "a token is wanted: open the address that `headwater monitor` printed"}, 401)


class _Handlers:
    def __init__(
        self, source: Source, access: Access, static: Path, every_s: float, leaving: Callable[[], bool]
    ) -> None:
        self._source, self._access, self._static, self._every_s = source, access, static, every_s
        self._leaving = leaving
        self._streams = 0

    async def page(self, request: Request) -> Response:
        return FileResponse(self._static / "index.html")

    async def state(self, request: Request) -> Response:
        return Response(await self._now(), media_type="application/json")

    async def _now(self) -> bytes:
        return await run_in_threadpool(lambda: to_json(self._source.state()))

    async def stream(self, request: Request) -> Response:
        """Each second; a reader that can't keep up holds up only itself."""
        if self._streams >= STREAMS_MAX:
            return JSONResponse({"error": f"{STREAMS_MAX} pages watch already; close one"}, 503)

        async def events() -> AsyncIterator[bytes]:
            self._streams += 1
            try:
                while not self._leaving():
                    yield b"event: state\ndata: " + await self._now() + b"\n\n"
                    await self._rest()
            finally:
                self._streams -= 1

        return StreamingResponse(events(), media_type="text/event-stream")

    async def _rest(self) -> None:
        left_s = self._every_s
        while left_s > 0 and not self._leaving():
            await asyncio.sleep(min(left_s, LOOK_S))
            left_s -= LOOK_S

    async def replay(self, request: Request) -> Response:
        def work(given: dict[str, Any]) -> str:
            return self._source.replay(*_letters(given))

        return await self._act(request, work)

    async def rollback(self, request: Request) -> Response:
        def work(given: dict[str, Any]) -> str:
            generation = given.get("generation", -1)
            if generation is not None and (not _whole(generation) or generation < 0):
                raise _Refused(400, f"generation: found {_brief(generation)}; a number from 0, or null, is wanted")
            return self._source.rollback(generation)

        return await self._act(request, work)

    async def _act(self, request: Request, work: Callable[[dict[str, Any]], str]) -> Response:
        """Check who asks, then do it in a thread; whatever a person can mend is told."""
        try:
            self._check(request)
            given = await _body(request.headers.get("content-type", ""), request.stream())
            said = await run_in_threadpool(work, given)
        except _Refused as e:
            return JSONResponse({"error": e.why}, e.status)
        except HeadwaterError as e:
            return JSONResponse({"error": str(e)}, 409)
        return JSONResponse({"ok": True, "said": said})

    def _check(self, request: Request) -> None:
        if not self._access.write:
            raise _Refused(403, "read-only; start the monitor with --write to act from here")
        headers = request.headers
        if why := self._access.refuses_origin(headers.get("origin", ""), headers.get("host", "")):
            raise _Refused(403, why)
        if not self._access.knows(headers.get(HEADER, "")):
            raise _Refused(403, "X-Headwater-Token: it is missing or wrong; open the address that was printed")


async def _body(kind: str, parts: AsyncIterator[bytes]) -> dict[str, Any]:
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise _Refused(415, f"Content-Type: found {kind[:100]!r}; application/json is wanted")
    body = b""
    async for part in parts:
        body += part
        if len(body) > BODY_BYTES_MAX:
            raise _Refused(413, f"body: more than {BODY_BYTES_MAX} bytes")
    try:
        given = json.loads(body)
    except ValueError as e:
        raise _Refused(400, f"body: not JSON: {e}") from None
    except RecursionError:
        raise _Refused(400, "body: nested too deep") from None
    if not isinstance(given, dict):
        raise _Refused(400, f"body: found {_brief(given)}; an object is wanted")
    return given


def _letters(given: dict[str, Any]) -> tuple[tuple[int, ...], str]:
    """Offsets of the dead topic, or a code."""
    positions, code = given.get("positions"), given.get("code")
    if (positions is None) == (code is None):
        raise _Refused(400, "one of positions and code is wanted")
    if code is not None:
        if not isinstance(code, str) or not code:
            raise _Refused(400, f"code: found {_brief(code)}; a reason is wanted")
        return (), code
    if not isinstance(positions, list) or not 0 < len(positions) <= POSITIONS_MAX:
        raise _Refused(400, f"positions: found {_brief(positions)}; a list of 1 to {POSITIONS_MAX} is wanted")
    offsets: list[int] = []
    for p in positions:
        place: list[Any] = [p.get("partition"), p.get("offset")] if isinstance(p, dict) else []
        if not place or not all(map(_whole, place)) or place[0] != 0 or place[1] < 0:
            raise _Refused(400, f"positions: found {_brief(p)}; partition 0 and an offset from 0 are wanted")
        offsets.append(place[1])
    return tuple(sorted(set(offsets))), ""


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value < 1 << 63


def _brief(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
