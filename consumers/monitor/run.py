"""The monitor's web server in a thread of its own, on a port that is taken before anything is promised."""

import socket
import threading
import time
from pathlib import Path

import uvicorn

from consumers.monitor.access import Access
from consumers.monitor.server import EVERY_S, STATIC, Source, make_app
from stream.errors import HeadwaterError

START_S, STOP_S = 30.0, 10.0
CONNECTIONS_MAX = 100


class Web:
    """`start` gives the port; `stop` ends it, open streams included."""

    def __init__(self, source: Source, access: Access, static: Path = STATIC, every_s: float = EVERY_S) -> None:
        self._access = access
        self._leaving = threading.Event()
        config = uvicorn.Config(
            make_app(source, access, static, every_s, self._leaving.is_set),
            log_config=None,
            access_log=False,  # addresses that people open may hold the token
            server_header=False,
            proxy_headers=False,
            ws="none",
            lifespan="off",
            loop="asyncio",
            http="h11",
            limit_concurrency=CONNECTIONS_MAX,
            timeout_graceful_shutdown=5,  # open streams leave by themselves before
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self) -> int:
        """Listen; returns the port. Raises HeadwaterError when the address can't be had."""
        listening = self._bind()
        port = int(listening.getsockname()[1])
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="monitor-web", daemon=True)
        self._thread.start()
        until_s = time.monotonic() + START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > until_s:
                raise HeadwaterError(f"--bind: {self._access.host}:{port}: the web server did not start")
            time.sleep(0.01)
        return port

    def _bind(self) -> socket.socket:
        a = self._access
        family = socket.AF_INET6 if ":" in a.host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((a.host, a.port))
            listening.listen(CONNECTIONS_MAX)
        except OSError as e:
            listening.close()
            raise HeadwaterError(f"--bind: {a.host}:{a.port}: {e.strerror or e}; another one is wanted") from None
        return listening

    def stop(self) -> None:
        """End; bounded."""
        self._leaving.set()
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(STOP_S)
