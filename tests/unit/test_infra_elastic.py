"""Finding, fetching and asking for an Elasticsearch, without running one."""

import io
import json
import socket
import tarfile
import threading
import time
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from infra import _elastic_files, elastic
from stream.errors import ElasticError


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Each install that was asked for; two small files take the place of the server."""
    asked: list[Path] = []

    def install(folder: Path) -> None:
        asked.append(folder)
        time.sleep(0.2)
        (folder / "es").mkdir(parents=True, exist_ok=True)
        for name in ("es/a", "start.jar"):
            (folder / name).write_bytes(b"whole")

    monkeypatch.setattr(_elastic_files, "_install", install)
    return asked


def test_a_second_fetch_only_reads_the_manifest_and_a_harmed_one_is_done_again(
    tmp_path: Path, installs: list[Path]
) -> None:
    told: list[str] = []
    folder = elastic.fetch_elastic(tmp_path, told.append)
    assert elastic.fetch_elastic(tmp_path, told.append) == folder
    assert (len(installs), len(told)) == (1, 1)
    for harm in ("es/a", "manifest.json"):
        (folder / harm).write_bytes(b"torn")
        assert elastic.fetch_elastic(tmp_path) == folder
    assert len(installs) == 3
    assert set(json.loads((folder / "manifest.json").read_text())) >= {"es/a", "start.jar"}


def test_two_fetches_at_once_install_once(tmp_path: Path, installs: list[Path]) -> None:
    threads = [threading.Thread(target=elastic.fetch_elastic, args=(tmp_path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(installs) == 1


def test_a_download_that_fails_is_tried_three_times_and_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    maven = pytest.importorskip("jgo.maven")
    tries: list[str] = []

    def refuse(self: object, artifact: object) -> None:
        tries.append(str(artifact))
        raise OSError("no network")

    monkeypatch.setattr(maven.PythonResolver, "download", refuse)
    with pytest.raises(ElasticError, match=r"Elasticsearch 9\.\d\.\d can't be fetched: .*no network"):
        elastic.fetch_elastic(tmp_path)
    assert len(tries) == 3


def test_only_what_a_test_node_needs_is_unpacked_and_the_licence_stays_with_it(tmp_path: Path) -> None:
    java = io.BytesIO()
    with tarfile.open(fileobj=java, mode="w:gz") as packed:
        info = tarfile.TarInfo("jdk-21-jre/bin/java")
        info.size = 4
        packed.addfile(info, io.BytesIO(b"java"))
    files = {
        "top/elasticsearch/lib/server.jar": b"s",
        "top/elasticsearch/lib/tools/cli.jar": b"no",
        "top/elasticsearch/lib/platform/darwin-x64/x": b"no",
        "top/elasticsearch/lib/platform/linux-x64/x": b"x",
        "top/elasticsearch/modules/reindex/plugin-descriptor.properties": b"name=a\nmodulename=org.a\n",
        "top/elasticsearch/modules/unknown/a.jar": b"no",
        "top/elasticsearch/LICENSE.txt": b"licence",
        "top/web/index.html": b"no",
        "top/jres/OpenJDK21U-jre_x64_linux_hotspot_21.tar.gz": java.getvalue(),
    }
    with zipfile.ZipFile(tmp_path / "holder.zip", "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    _elastic_files._unpack(tmp_path / "holder.zip", tmp_path / "out")
    found = {str(p.relative_to(tmp_path / "out")) for p in (tmp_path / "out").rglob("*") if p.is_file()}
    assert found == {
        "es/lib/server.jar",
        "es/lib/platform/linux-x64/x",
        "es/modules/reindex/plugin-descriptor.properties",
        "es/LICENSE.txt",
        "jre/bin/java",
    }
    descriptor = tmp_path / "out" / "es" / "modules" / "reindex" / "plugin-descriptor.properties"
    assert descriptor.read_bytes() == b"name=a\nmodulename=\n"


@pytest.fixture
def server() -> Iterator[tuple[str, list[int]]]:
    """Answers a health request with the statuses in a list, the last one again and again."""
    statuses = [503, 503, 200]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
            self.end_headers()
            self.wfile.write(b'{"status": "yellow"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}", statuses
        made.shutdown()


def test_ready_is_an_answer_that_says_so(server: tuple[str, list[int]]) -> None:
    url, statuses = server
    elastic.wait_until_ready(url, 20)
    assert statuses == [200]
    statuses[:] = [401]
    with pytest.raises(ElasticError, match="401"):
        elastic.wait_until_ready(url, 0.3)


def test_a_named_server_that_is_not_there_is_said_to_be_the_variable_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_ELASTICSEARCH", "http://127.0.0.1:9")
    monkeypatch.setattr(elastic, "FOUND_S_MAX", 0.3)
    with (
        pytest.raises(ElasticError, match="HEADWATER_ELASTICSEARCH: no Elasticsearch ready at"),
        elastic.find_elastic(),
    ):
        pass


def test_one_that_does_not_run_has_no_process() -> None:
    with pytest.raises(ElasticError, match="does not run"):
        _ = elastic.LocalElastic().pid


def test_a_port_in_use_is_refused_without_speaking_of_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elastic, "fetch_elastic", lambda *_: tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ElasticError, match=f"^port {port} of 127.0.0.1 can't be had"):
            elastic.LocalElastic().start(port=port)
