"""Several processes that answer at one port, each with an interpreter of its own; the kernel shares connections out.

A worker is a whole server: it follows the models by itself, has health and metrics of its own, drains by itself, and is
started again when it ends by a fault. Connections, not calls, are shared out: one channel stays with one worker. This
process serves nothing; it holds the port, so that no other server can join the workers unnoticed. Invariant: either the
port is these workers' alone, or nothing starts.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from consumers._supervise import Supervisor
from consumers.settings import Settings
from stream.errors import DataError, HeadwaterError

WORKERS_MAX = 64
_LOOK_S = 0.1


def _split(setting: str, address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise DataError(f"HEADWATER_{setting}: found {address!r}; host:port is wanted")
    return host, int(port)


@contextmanager
def reserved(address: str) -> Iterator[str]:
    """Hold a port that several processes may listen at together; gives the address, with the port where it was 0.

    Raises HeadwaterError where somebody listens there already, or the address can't be had.
    """
    host, port = _split("GRPC", address)
    try:
        family, _, _, _, found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as alone:  # whoever listens, if only with others, is met here
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(found)
            alone.listen(1)
            port = alone.getsockname()[1]
        holder = socket.socket(family, socket.SOCK_STREAM)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # and no other: a server alone must not get in
        try:
            holder.bind((found[0], port, *found[2:]))
        except OSError:
            holder.close()
            raise
    except OSError as e:
        detail = f"{e.strerror}; the port is in use, or the address is not of this machine"
        raise HeadwaterError(
            f"the prediction server can't listen at {address}: {detail}; HEADWATER_GRPC=host:port sets another"
        ) from e
    with holder:
        yield f"{host}:{port}"


def worker_env(settings: Settings, address: str, number: int) -> dict[str, str]:
    """The environment of a worker: the port of all, and a metrics port of its own, the n-th after the setting's."""
    env = dict(os.environ) | {"HEADWATER_GRPC": address, "HEADWATER_KAFKA": settings.kafka}
    if settings.metrics is not None:
        host, port = _split("METRICS", settings.metrics)
        env["HEADWATER_METRICS"] = f"{host}:{port + number if port else 0}"
    return env


def serve_workers(command: list[str], settings: Settings, workers: int, stop: Callable[[], bool]) -> int:
    """Keep so many servers running until `stop()`; the exit code to leave with: of one that was given up, else 0."""
    with reserved(settings.grpc) as address, Supervisor() as keeper:
        for number in range(workers):
            keeper.start(f"worker {number}", command, worker_env(settings, address, number))
        sys.stderr.write(f"headwater: {workers} workers at {address}\n")
        while not stop() and not keeper.failures() and not keeper.join(_LOOK_S):
            pass
        codes = keeper.stop().values()
    code = next((code for code in codes if code), 0)
    return code if code >= 0 else 128 - code
