"""`headwater elk` with a Kibana beside a real Elasticsearch; Kibana's part is played by a local server."""

from collections.abc import Callable, Iterator

import pytest
from elasticsearch import Elasticsearch

from consumers._ship_assets import put
from stream.errors import DataError, ElasticError
from stream.ship.assets import assets
from stream.ship.datasets import DATASETS
from stream.ship.kibana.objects import objects
from stream.ship.kibana.rules import rules
from tests.elastic.conftest import Ran
from tests.unit.kibana_server import KibanaServer, kibana_server

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[KibanaServer]:
    with kibana_server() as made:
        yield made


@pytest.fixture
def elk(elk: Callable[..., Ran], server: KibanaServer) -> Callable[..., Ran]:
    """The command, with a Kibana."""

    def run(word: str, *more: str, kibana: str = server.url) -> Ran:
        return elk(word, *(["--kibana", kibana] if kibana else []), *more)

    return run


def test_both_are_put_once_and_compared_and_documents_keep_both(
    elk: Callable[..., Ran], server: KibanaServer, client: Elasticsearch
) -> None:
    put(client)
    first, again = elk("up"), elk("up")
    assert {(a["kind"], a["name"]) for a in first.out["assets"]} == {(a.kind, a.name) for a in assets()}
    assert [k["done"] for k in first.out["kibana"]] == ["made"] * (len(objects()) + len(rules()))
    assert {k["done"] for k in [*again.out["assets"], *again.out["kibana"]]} == {"as wanted"}
    assert elk("diff").code == 0

    del server.objects["dashboard", "headwater-dead"]
    found = elk("diff")
    assert found.code == 1
    wrong = [(k["kind"], k["name"], k["state"]) for k in found.out["kibana"] if k["state"] != "as wanted"]
    assert wrong == [("dashboard", "headwater-dead", "absent")]

    client.index(index=DATASETS["labels"].stream("kept"), op_type="create", document={"@timestamp": 1}, refresh=True)
    server.changes()
    refused = elk("down")
    assert refused.code == ElasticError.exit_code
    assert "with --data" in refused.err
    assert server.changes() == []


def test_without_a_kibana_nothing_is_done_about_one(elk: Callable[..., Ran], server: KibanaServer) -> None:
    assert set(elk("up", kibana="").out) == {"assets"}
    refused = elk("up", "--space", "mine", kibana="")
    assert refused.code == DataError.exit_code
    assert "--space: found 'mine', but no Kibana" in refused.err
    assert server.asked == []


def test_a_kibana_that_is_away_is_one_line_and_an_exit_code(elk: Callable[..., Ran]) -> None:
    for word in ("up", "diff", "down"):
        away = elk(word, kibana="http://127.0.0.1:9")
        assert away.code == ElasticError.exit_code
        assert away.err.startswith("headwater: Kibana at http://127.0.0.1:9: ")
        assert away.err.count("\n") == 1
