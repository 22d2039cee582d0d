"""One real Elasticsearch for all tests here, secured where it is our own; skipped only where none can be had."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from elasticsearch import Elasticsearch

from consumers.cli import main
from infra.elastic import USER, Found, find_elastic
from stream.errors import ElasticError


@pytest.fixture(scope="session")
def elastic() -> Iterator[Found]:
    """The server; `local` is the one to kill, if any."""
    found = find_elastic(secure=True)
    try:
        server = found.__enter__()
    except ElasticError as error:
        if "HEADWATER_ELASTICSEARCH" in os.environ:
            raise  # somebody wants these tests to run there
        pytest.skip(f"no real Elasticsearch can be had on this machine: {error}")
    try:
        yield server
    finally:
        found.__exit__(None, None, None)


@pytest.fixture(scope="session")
def client(elastic: Found) -> Iterator[Elasticsearch]:
    """Of the superuser."""
    who = {"basic_auth": (USER, elastic.password)} if elastic.password else {}
    with Elasticsearch(elastic.url, request_timeout=60, max_retries=0, **who) as made:
        yield made


@pytest.fixture(scope="session")
def key(elastic: Found, client: Elasticsearch, tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """File with an API key that may create documents and look for them, nothing else."""
    if not elastic.password:
        return None
    return write_key(
        client, tmp_path_factory.mktemp("keys") / "ship", ["auto_configure", "create_doc", "read", "maintenance"]
    )


def write_key(client: Elasticsearch, path: Path, privileges: list[str]) -> Path:
    """A new API key for our data streams with these privileges; returns the file that holds it."""
    names = ["logs-headwater.*-*", "metrics-headwater.*-*"]
    role = {"ship": {"indices": [{"names": names, "privileges": privileges}]}}
    path.write_text(client.security.create_api_key(name=path.name, role_descriptors=role)["encoded"])
    return path


class Ran(NamedTuple):
    """A command that ended: its exit code, what it said as JSON, and its complaints."""

    code: int
    out: Any
    err: str


@pytest.fixture
def elk(
    elastic: Found,
    client: Elasticsearch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Ran]:
    """`headwater elk … --json` as the administrator, in this process."""
    for name in ("HEADWATER_KAFKA", "HEADWATER_KIBANA"):
        monkeypatch.delenv(name, raising=False)
    if elastic.password:
        (tmp_path / "key").write_text(client.security.create_api_key(name=f"{USER}-admin")["encoded"])
        monkeypatch.setenv("HEADWATER_ELASTICSEARCH_KEY", str(tmp_path / "key"))

    def run(*words: str) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(["elk", *words, "--elasticsearch", elastic.url, "--json"])
        said = capsys.readouterr()
        return Ran(int(left.value.code or 0), json.loads(said.out) if said.out else None, said.err)

    return run
