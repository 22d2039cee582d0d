"""The templates are put once, differences are named, and what is taken away is gone."""

from collections.abc import Callable

import pytest
from elasticsearch import Elasticsearch

from consumers._ship_assets import data_streams, put
from consumers.cli import main
from stream.errors import ElasticError
from stream.ship.assets import assets
from stream.ship.datasets import DATASETS
from tests.elastic.conftest import Ran

pytestmark = pytest.mark.slow


def done(ran: Ran) -> set[str]:
    return {a["done"] for a in ran.out["assets"]}


def test_they_are_put_once_compared_and_taken_away(elk: Callable[..., Ran], client: Elasticsearch) -> None:
    if data_streams(client):
        pytest.skip("the Elasticsearch that was found holds documents of ours")
    elk("down")
    assert elk("diff").code == 1
    assert done(elk("up")) == {"made"}
    assert done(elk("up")) == {"as wanted"}
    assert elk("diff").code == 0

    name = "headwater-labels"
    there = client.cluster.get_component_template(name=name)["component_templates"][0]["component_template"]["template"]
    there["mappings"]["properties"]["headwater"]["properties"]["label"]["properties"]["value"]["type"] = "keyword"
    there["mappings"]["properties"]["mine"] = {"type": "keyword"}
    client.cluster.put_component_template(name=name, template=there)
    found = elk("diff")
    assert found.code == 1
    lines = {a["name"]: a["differences"] for a in found.out["assets"] if a["state"] != "as wanted"}[name]
    path = "template.mappings.properties.headwater.properties.label.properties.value.type"
    assert f"{path}: found keyword; wanted double" in lines
    assert "template.mappings.properties.mine.type: found keyword; wanted nothing" in lines
    up = elk("up")
    assert [a["name"] for a in up.out["assets"] if a["done"] == "changed"] == [name]
    assert elk("diff").code == 0

    assert {a["name"] for a in elk("down").out["assets"]} == {a.name for a in assets()}
    assert {a["state"] for a in elk("diff").out["assets"]} == {"absent"}
    assert elk("down").out == {"assets": [], "data_streams": []}
    put(client)


def test_the_retention_and_the_mapping_are_those_of_the_table(client: Elasticsearch) -> None:
    put(client)
    for dataset in DATASETS.values():
        made = client.indices.simulate_index_template(name=dataset.stream("any"))["template"]
        assert made["mappings"]["dynamic"] == "false"
        assert made["settings"]["index"]["default_pipeline"] == "headwater"
        assert made["lifecycle"]["data_retention"] == dataset.retention


def test_templates_of_documents_are_kept_unless_the_documents_may_go(
    elk: Callable[..., Ran], client: Elasticsearch
) -> None:
    put(client)
    stream = DATASETS["labels"].stream("kept")
    client.index(index=stream, op_type="create", document={"@timestamp": 1}, refresh=True)
    refused = elk("down")
    assert refused.code == ElasticError.exit_code
    assert stream in refused.err
    assert elk("diff").code == 0


def test_nobody_there_is_one_line_and_an_exit_code(elk: Callable[..., Ran], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["elk", "up", "--elasticsearch", "http://127.0.0.1:9"])
    said = capsys.readouterr().err
    assert left.value.code == ElasticError.exit_code
    assert said.startswith("headwater: Elasticsearch at http://127.0.0.1:9: ConnectionError")
    assert said.count("\n") == 1
    with pytest.raises(SystemExit) as left:
        main(["elk", "up", "--elasticsearch", "nonsense"])
    assert left.value.code == 4
    assert "http://host:port is wanted" in capsys.readouterr().err
