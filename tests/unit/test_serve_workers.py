"""Several servers at one port: it is held for them, each is told its own address of metrics, a fault ends them all."""

import socket
import sys
import time
from pathlib import Path

import pytest

from consumers._serve_workers import reserved, serve_workers, worker_env
from consumers.settings import Settings
from stream.errors import DataError, HeadwaterError


def listening(port: int, shared: bool) -> socket.socket:
    """Somebody who listens at a port."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def test_a_held_port_is_for_those_who_share_it() -> None:
    with reserved("127.0.0.1:0") as address:
        port = int(address.rpartition(":")[2])
        assert port > 0
        with listening(port, True), listening(port, True):
            pass
        with pytest.raises(OSError, match="in use"):
            socket.create_server(("127.0.0.1", port)).close()


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_where_somebody_listens_is_one_clear_error(shared: bool) -> None:
    with listening(0, shared) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        with (
            pytest.raises(HeadwaterError, match=f"can't listen at {address}: Address already in use"),
            reserved(address),
        ):
            pass


def test_an_address_that_is_none_is_refused() -> None:
    for bad in ("50051", "localhost:", "localhost:99999"):
        with pytest.raises(DataError, match="host:port is wanted"), reserved(bad):
            pass


def test_each_worker_has_metrics_of_its_own() -> None:
    settings = Settings(metrics="127.0.0.1:9100", kafka="broker:1")
    made = [worker_env(settings, "127.0.0.1:7", number) for number in range(2)]
    assert [env["HEADWATER_METRICS"] for env in made] == ["127.0.0.1:9100", "127.0.0.1:9101"]
    assert {(env["HEADWATER_GRPC"], env["HEADWATER_KAFKA"]) for env in made} == {("127.0.0.1:7", "broker:1")}
    assert worker_env(Settings(metrics="h:0"), "a:1", 3)["HEADWATER_METRICS"] == "h:0"


def test_workers_run_until_they_are_asked_to_leave_or_one_is_given_up(tmp_path: Path) -> None:
    settings, begun = Settings(grpc="127.0.0.1:0"), tmp_path / "begun"
    wait = f"import os, time; open({str(begun)!r} + str(os.getpid()), 'w').close(); time.sleep(60)"
    end_s = time.monotonic() + 30

    def both_began() -> bool:
        assert time.monotonic() < end_s
        return len(list(tmp_path.glob("begun*"))) == 2

    assert serve_workers([sys.executable, "-c", wait], settings, 2, both_began) == 0
    assert serve_workers([sys.executable, "-c", "raise SystemExit(2)"], settings, 2, lambda: False) == 2
