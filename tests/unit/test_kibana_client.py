"""What `elk` asks of Kibana is what its documentation allows; twice is once; what a person added stays.

With HEADWATER_KIBANA set, the round trip runs on that one too (in the space `headwater-tests`, which must exist).
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from consumers._kibana import Kibana
from consumers._kibana_assets import put, states, take_away
from consumers.settings import Settings
from stream.errors import DataError, ElasticError
from stream.ship.kibana.objects import objects
from stream.ship.kibana.rules import rules
from tests.unit.kibana_server import KibanaServer, kibana_server

SPACE = "headwater-tests"


@pytest.fixture
def server() -> Iterator[KibanaServer]:
    with kibana_server() as made:
        yield made


def kibana(server: KibanaServer, space: str = "", key: Path | None = None) -> Kibana:
    return Kibana(Settings(kibana=server.url, kibana_key=key), space)


@pytest.mark.parametrize("real", [False, True])
def test_all_is_put_once_compared_changed_back_and_taken_away(real: bool, server: KibanaServer) -> None:
    if real and "HEADWATER_KIBANA" not in os.environ:
        pytest.skip("HEADWATER_KIBANA names no Kibana to run this on")
    server.space = SPACE
    to = Kibana(Settings(), SPACE) if real else kibana(server, SPACE)
    try:
        assert {s.state for s in states(to)} == {"absent"}
        put(to)
        assert [s for s in states(to) if s.state != "as wanted"] == []
        assert {s.state for s in put(to)} == {"as wanted"}
    finally:
        gone = take_away(to)
    assert len(gone) == len(objects()) + len(rules())
    assert {s.state for s in states(to)} == {"absent"}


def test_a_second_time_changes_nothing_and_each_request_is_one_of_the_documented(server: KibanaServer) -> None:
    put(kibana(server))
    made = [f"POST /api/alerting/rule/{rule.id}" for rule in rules()]
    assert all("kbn-xsrf" in asked.headers for asked in server.asked)
    assert server.changes() == ["POST /api/saved_objects/_import?overwrite=true", *made]
    assert set(server.objects) == {(o["type"], o["id"]) for o in objects()}
    put(kibana(server))
    assert server.changes() == []
    take_away(kibana(server))
    deleted = [f"DELETE /api/alerting/rule/{rule.id}" for rule in rules()]
    assert server.changes() == [*deleted, "POST /api/saved_objects/_bulk_delete"]
    take_away(kibana(server))
    assert server.changes() == []


def test_what_was_changed_by_hand_is_named_and_changed_back(server: KibanaServer) -> None:
    put(kibana(server))
    board = server.objects["dashboard", "headwater-overview"]["attributes"]
    panels = json.loads(board["panelsJSON"])
    panels[1]["gridData"]["w"] = 3
    board["panelsJSON"] = json.dumps(panels)
    for reference in server.objects["lens", "headwater-lag"]["references"]:
        reference["id"] = "mine"
    del server.objects["search", "headwater-letters"]
    rule = rules()[2]
    server.rules[rule.id]["params"]["threshold"] = [7]

    told = {s.name: s for s in states(kibana(server)) if s.state != "as wanted"}
    assert told["headwater-overview"].differences == ("attributes.panelsJSON.1.gridData.w: found 3; wanted 12",)
    assert told["headwater-lag"].differences == (
        "references: found no index-pattern headwater-metrics; it is wanted",
        "references: found index-pattern mine; it is not wanted",
    )
    assert told["headwater-letters"].state == "absent"
    assert told["lag-stall"].differences == ("rule.params.threshold.0: found 7; wanted 1000.0",)
    assert len(told) == 4

    server.changes()
    put(kibana(server))
    assert server.changes() == [
        "POST /api/saved_objects/_import?overwrite=true",
        f"PUT /api/alerting/rule/{rule.id}",
    ]
    assert {s.state for s in states(kibana(server))} == {"as wanted"}


def test_who_is_told_by_a_rule_is_left_to_people(server: KibanaServer) -> None:
    put(kibana(server))
    rule = rules()[0]
    action = {"group": "query matched", "id": "pager", "params": {"message": "look"}, "uuid": "1"}
    server.rules[rule.id]["actions"] = [{**action, "connector_type_id": ".slack"}]
    server.rules[rule.id]["enabled"] = False
    assert {s.state for s in put(kibana(server))} == {"as wanted"}
    server.rules[rule.id]["tags"] = []
    put(kibana(server))
    assert server.rules[rule.id]["actions"] == [action]
    assert server.rules[rule.id]["tags"] == rule.body["tags"]
    assert server.rules[rule.id]["enabled"] is False


def test_what_kibana_adds_by_itself_is_no_difference(server: KibanaServer) -> None:
    put(kibana(server))
    for found in server.objects.values():
        found["attributes"] |= {"added": 1}
    server.objects["lens", "headwater-lag"]["attributes"]["state"].pop("adHocDataViews")
    assert {s.state for s in states(kibana(server))} == {"as wanted"}


def test_the_key_is_sent_and_a_wrong_one_is_one_line(server: KibanaServer, tmp_path: Path) -> None:
    server.key = "abc="
    (tmp_path / "key").write_text("abc=\n")
    put(kibana(server, key=tmp_path / "key"))
    (tmp_path / "key").write_text("other")
    with pytest.raises(ElasticError, match=r"^Kibana at .*: 401 to GET /api/status: unable to authenticate$"):
        put(kibana(server, key=tmp_path / "key"))
    with pytest.raises(DataError, match="can't be read"):
        kibana(server, key=tmp_path / "none")


def test_a_kibana_that_is_too_old_or_none_at_all_is_one_line(server: KibanaServer) -> None:
    server.version = "8.19.2"
    with pytest.raises(ElasticError, match=r"it is 8\.19\.2; 9\.1 is wanted"):
        put(kibana(server))
    with pytest.raises(ElasticError, match=r"^Kibana at http://127\.0\.0\.1:9: .*refused"):
        states(Kibana(Settings(kibana="http://127.0.0.1:9")))
    with pytest.raises(DataError, match="http://host:port is wanted"):
        Kibana(Settings(kibana="127.0.0.1:5601"))
    with pytest.raises(DataError, match="--space: found 'A b'"):
        kibana(server, "A b")


def test_a_space_that_is_not_there_is_one_line(server: KibanaServer) -> None:
    server.space = "other"
    with pytest.raises(ElasticError, match=r"404 to GET /api/status: Not Found"):
        put(kibana(server, "mine"))


def test_ids_that_another_space_has_are_said(server: KibanaServer) -> None:
    server.elsewhere = True
    with pytest.raises(ElasticError, match="another space has ours"):
        put(kibana(server))


def test_a_refused_rule_names_kibana_s_reason(server: KibanaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = [rules()[0]]
    broken[0].body["params"]["thresholdComparator"] = "near"
    monkeypatch.setattr("consumers._kibana_assets.rules", lambda: broken)
    with pytest.raises(ElasticError, match=r"400 to POST /api/alerting/rule/.*'near' is not one of"):
        put(kibana(server))
