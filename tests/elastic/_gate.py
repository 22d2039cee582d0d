"""A way to Elasticsearch that can be shut: connections are refused, as when it is down, and it costs no restart."""

import contextlib
import select
import socket
import threading
from collections.abc import Iterator

from infra.kafka import free_port

TURN_S = 0.2


class Gate:
    """Passes bytes to and fro between a port of its own and a server's, while it is open."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._server = host, int(port)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._shut = threading.Event()
        self._listener: threading.Thread | None = None

    def open(self) -> None:
        """Take connections from now on."""
        self._shut = threading.Event()
        listening = socket.create_server(("127.0.0.1", self._port))
        self._listener = threading.Thread(target=self._listen, args=(listening, self._shut), daemon=True)
        self._listener.start()

    def shut(self) -> None:
        """Refuse connections, and cut those that there are; returns once none is left."""
        self._shut.set()
        if self._listener is not None:
            self._listener.join()
        self._listener = None

    def _listen(self, listening: socket.socket, shut: threading.Event) -> None:
        passing = []
        with listening:
            listening.settimeout(TURN_S)
            while not shut.is_set():
                with contextlib.suppress(TimeoutError):
                    client, _ = listening.accept()
                    passing.append(threading.Thread(target=self._pass, args=(client, shut), daemon=True))
                    passing[-1].start()
        for each in passing:
            each.join()

    def _pass(self, client: socket.socket, shut: threading.Event) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(self._server) as server:
            other = {client: server, server: client}
            while not shut.is_set():
                for one in select.select([client, server], [], [], TURN_S)[0]:
                    if not (given := one.recv(1 << 16)):
                        return
                    other[one].sendall(given)


@contextlib.contextmanager
def gate(url: str) -> Iterator[Gate]:
    """An open one."""
    made = Gate(url)
    made.open()
    try:
        yield made
    finally:
        made.shut()
