"""The native broker starts, keeps what was committed, and dies when it should and only then."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient

from infra.kafka import KAFKA_VERSION, STOP_S_MAX, LocalBroker, fetch_broker, find_broker
from stream.errors import BrokerError

pytestmark = pytest.mark.broker


def create(address: str, topic: str) -> None:
    with KafkaAdminClient(bootstrap_servers=address) as admin:
        admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)


def produce(address: str, topic: str, value: bytes, *, commit: bool = True) -> None:
    """One record in a transaction of its own, in the order that RELIABILITY.md asks for."""
    producer = KafkaProducer(bootstrap_servers=address, transactional_id=f"{topic}-writer", max_block_ms=20_000)
    try:
        producer.init_transactions()
        producer.begin_transaction()
        sent = producer.send(topic, value, partition=0)
        producer.flush(10)
        sent.get(10)
        if commit:
            producer.commit_transaction()
        else:
            producer.abort_transaction()
    finally:
        producer.close(5)


def committed(address: str, topic: str, wanted: int) -> list[bytes]:
    """What a read_committed reader sees, from the start, once there are `wanted` records; at most 20 s."""
    values: list[bytes] = []
    consumer = KafkaConsumer(
        bootstrap_servers=address, isolation_level="read_committed", enable_auto_commit=False, group_id=None
    )
    try:
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.seek(partition, 0)
        deadline = time.monotonic() + 20
        while len(values) < wanted and time.monotonic() < deadline:
            for records in consumer.poll(500).values():
                values += [record.value for record in records]
    finally:
        consumer.close()
    return values


def gone(pid: int, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if " Z " in Path(f"/proc/{pid}/stat").read_text():
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_a_committed_transaction_is_read_and_an_aborted_one_is_not(kafka_address: str, prefix: str) -> None:
    topic = prefix + "one"
    create(kafka_address, topic)
    produce(kafka_address, topic, b"never", commit=False)
    produce(kafka_address, topic, b"once")
    assert committed(kafka_address, topic, 1) == [b"once"]


def test_a_broker_named_by_its_address_is_the_one_that_is_used(
    kafka_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADWATER_KAFKA", kafka_address)
    with find_broker() as address:
        assert address == kafka_address


def test_after_kill_9_the_restarted_broker_has_what_was_committed_at_the_same_address(
    fresh_broker: LocalBroker, prefix: str
) -> None:
    address, pid, topic = fresh_broker.address, fresh_broker.pid, prefix + "kept"
    create(address, topic)
    produce(address, topic, b"before")
    fresh_broker.kill()
    assert gone(pid, 0.1)
    with pytest.raises(BrokerError):
        _ = fresh_broker.pid
    fresh_broker.restart()
    assert fresh_broker.address == address
    produce(address, topic, b"after")
    assert committed(address, topic, 2) == [b"before", b"after"]


def test_a_paused_broker_holds_still_and_goes_on_where_it_was(fresh_broker: LocalBroker, prefix: str) -> None:
    create(fresh_broker.address, prefix + "slow")
    fresh_broker.pause()
    threading.Timer(2, fresh_broker.resume).start()
    begun = time.monotonic()
    produce(fresh_broker.address, prefix + "slow", b"late")
    assert time.monotonic() - begun > 1.5
    assert committed(fresh_broker.address, prefix + "slow", 1) == [b"late"]
    fresh_broker.pause()
    begun = time.monotonic()
    fresh_broker.stop()
    assert time.monotonic() - begun < STOP_S_MAX - 2, "a paused broker was ended by SIGKILL only"


def test_once_fetched_a_broker_starts_without_resolver_or_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    jars = fetch_broker()
    assert f"kafka_2.13-{KAFKA_VERSION}.jar" in {jar.name for jar in jars}
    for name in ("jgo", "jgo.maven", "requests", "urllib3"):
        monkeypatch.setitem(sys.modules, name, None)
    with LocalBroker().start(tmp_path) as broker:
        assert (tmp_path / "server.properties").exists()
        port = int(broker.address.rpartition(":")[2])
        with pytest.raises(BrokerError, match=f"port {port}"):
            LocalBroker().start(port=port)
    assert (tmp_path / "logs").is_dir(), "a folder that was given is kept"


def test_a_broker_dies_with_a_killed_parent_though_a_paused_one_cannot_act(tmp_path: Path) -> None:
    code = (
        "import time; from infra.kafka import LocalBroker; from pathlib import Path; import sys\n"
        "broker = LocalBroker().start(Path(sys.argv[1])); broker.pause()\n"
        "print(broker.pid, flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        try:
            pid = int(parent.stdout.readline())
            assert not gone(pid, 0.3)
        finally:
            parent.kill()
    assert gone(pid, 5)


def test_a_broker_outlives_the_thread_that_started_it(tmp_path: Path) -> None:
    broker = LocalBroker()
    starter = threading.Thread(target=broker.start)
    starter.start()
    starter.join(60)
    with broker:
        assert not starter.is_alive()
        assert not gone(broker.pid, 0.5)


def test_a_start_that_fails_ends_with_the_brokers_own_log(fresh_broker: LocalBroker) -> None:
    fresh_broker.kill()
    home = fresh_broker._home
    assert home is not None
    (home / "logs" / "meta.properties").unlink()
    begun = time.monotonic()
    with pytest.raises(BrokerError, match=r"ended while it started(.|\n)*meta\.properties"):
        fresh_broker.restart()
    assert time.monotonic() - begun < 20
    fresh_broker.stop()
    assert not home.exists()


def test_the_command_runs_in_the_foreground_and_leaves_nothing(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "infra.kafka"]
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with subprocess.Popen(line, stdout=subprocess.PIPE, env=env, text=True) as command:
        assert command.stdout is not None
        try:
            address = command.stdout.readline().strip()
            create(address, "by-hand")
            assert list(tmp_path.iterdir())
            command.send_signal(signal.SIGINT)
            assert command.wait(20) == 0
        finally:
            command.kill()
    assert not list(tmp_path.iterdir())
