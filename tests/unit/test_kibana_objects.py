"""The committed dashboards and rules: as generated, whole in themselves, and about fields that documents have.

Read from the files, not from the typed source: what Kibana is given is what is held to the mappings.
"""

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.kibana import generate as generating
from infra.kibana.generate import generate
from stream.ship.assets import assets
from stream.ship.datasets import DATASETS
from stream.ship.kibana.boards import BOARDS, WIDTH
from stream.ship.kibana.rules import PAGE, rules
from stream.ship.kibana.thresholds import THRESHOLDS

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra" / "kibana"
OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "headwater.ndjson").read_text().splitlines()]
RULES: dict[str, dict[str, Any]] = json.loads((FOLDER / "rules.json").read_text())
NUMBERS, KEYS = {"long", "double"}, {"keyword", "boolean", "long", "date"}
ALLOWED = {  # types of fields that an operation of Lens takes
    "date_histogram": {"date"}, "terms": KEYS, "sum": NUMBERS, "average": NUMBERS, "median": NUMBERS,
    "percentile": NUMBERS, "max": NUMBERS | {"date"}, "min": NUMBERS | {"date"}, "unique_count": KEYS | NUMBERS,
}  # fmt: skip


def of(kind: str) -> list[dict[str, Any]]:
    return [o for o in OBJECTS if o["type"] == kind]


def mapped(topic: str) -> dict[str, str]:
    """Field → type, as the templates of a topic say; what grows by a dynamic template ends with *."""
    bodies = {a.name: a.body for a in assets() if a.kind == "component template"}
    found: dict[str, str] = {}

    def walk(properties: dict[str, Any], path: str) -> None:
        for name, below in properties.items():
            if "properties" in below:
                walk(below["properties"], f"{path}{name}.")
            else:
                found[f"{path}{name}"] = below["type"]

    for part in ("base", topic):
        mappings = bodies[f"headwater-{part}"]["template"]["mappings"]
        walk(mappings["properties"], "")
        for each in mappings.get("dynamic_templates", ()):
            for template in each.values():
                found[template["path_match"]] = template["mapping"]["type"]
    return found


def type_of(topic: str, field: str) -> str:
    types = mapped(topic)
    return types.get(field) or types.get(f"{field.rpartition('.')[0]}.*") or f"no field {field} of {topic}"


def fields_of(kql: str) -> list[str]:
    """Fields that a query in KQL names; it must be nothing else than such clauses."""
    clause = r'(?:not )?([\w.@]+): "[^"]+"'
    assert kql == "" or re.fullmatch(rf"{clause}(?: (?:or|and) {clause})*", kql), kql
    return re.findall(r'([\w.@]+): "', kql)


def texts_of(value: Any) -> Iterator[str]:
    """Every text that looks like JSON within JSON, however deep."""
    if isinstance(value, dict | list):
        for below in value.values() if isinstance(value, dict) else value:
            yield from texts_of(below)
    elif isinstance(value, str) and value[:1] in ("{", "["):
        yield value
        yield from texts_of(json.loads(value))


def topic_of(reference: dict[str, str]) -> str:
    assert reference["type"] == "index-pattern"
    return reference["id"].removeprefix("headwater-")


# -- the files -------------------------------------------------------------------------------------------


def test_the_files_are_what_the_source_gives() -> None:
    for name, text in generate().items():
        assert (FOLDER / name).read_text() == text, f"{name}: run python -m infra.kibana.generate"


def test_generating_them_is_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generating, "_FOLDER", tmp_path)
    assert generating.main() == 0
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == generate()


def test_fields_that_are_drawn_are_mapped_before_the_first_document_has_them() -> None:
    columns = [
        column
        for panel in of("lens")
        for layer in panel["attributes"]["state"]["datasourceStates"]["formBased"]["layers"].values()
        for column in layer["columns"].values()
    ]
    grown = {c["sourceField"] for c in columns if c.get("sourceField", "").startswith("headwater.values.")}
    grown |= {rule["params"]["aggField"] for rule in RULES.values() if "aggField" in rule["params"]}
    assert len(grown) > 20
    assert grown | {"headwater.values.drift_adwin_new"} <= set(mapped("metrics"))


def test_ids_are_fixed_and_given_once() -> None:
    ids = Counter((o["type"], o["id"]) for o in OBJECTS)
    assert set(ids.values()) == {1}
    assert all(re.fullmatch(r"headwater-[a-z0-9-]+", name) for _, name in ids)
    assert {b["id"] for b in of("dashboard")} == {board.id for board in BOARDS}
    assert {o["type"] for o in OBJECTS} == {"index-pattern", "lens", "search", "links", "dashboard"}


def test_every_reference_resolves_and_is_used() -> None:
    there = {(o["type"], o["id"]) for o in OBJECTS}
    used = Counter((r["type"], r["id"]) for o in OBJECTS for r in o["references"])
    assert set(used) <= there
    for kind in ("lens", "search", "links", "dashboard", "index-pattern"):
        idle = {o["id"] for o in of(kind)} - {name for k, name in used if k == kind}
        assert not idle - {"headwater-labels"}, kind  # nobody draws labels; their view is for Discover
    for o in OBJECTS:
        names = [r["name"] for r in o["references"]]
        assert len(set(names)) == len(names), o["id"]


def test_texts_of_json_parse() -> None:
    assert sum(1 for o in OBJECTS for _ in texts_of(o)) > 30


def test_data_views_are_those_of_the_datasets() -> None:
    for view, dataset in zip(of("index-pattern"), DATASETS.values(), strict=True):
        assert view["attributes"]["title"] == dataset.pattern
        assert type_of(dataset.topic, view["attributes"]["timeFieldName"]) == "date"
    assert yaml.safe_load((ROOT / "docker-compose.yml").read_text())


# -- panels ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("panel", of("lens"), ids=lambda o: o["id"])
def test_a_panel_is_complete_and_its_operations_fit_its_fields(panel: dict[str, Any]) -> None:
    state = panel["attributes"]["state"]
    layers = state["datasourceStates"]["formBased"]["layers"]
    references = {r["name"]: r for r in panel["references"]}
    assert set(references) == {f"indexpattern-datasource-layer-{name}" for name in layers}
    topic = topic_of(references["indexpattern-datasource-layer-data"])
    for layer in layers.values():
        assert sorted(layer["columnOrder"]) == sorted(layer["columns"])
        buckets = [layer["columns"][name]["isBucketed"] for name in layer["columnOrder"]]
        assert buckets == sorted(buckets, reverse=True)  # buckets first
        for column in layer["columns"].values():
            _fits(topic, column, layer["columns"])
    for field in fields_of(state["query"]["query"]):
        assert type_of(topic, field) in ("keyword", "long"), field
    assert panel["attributes"]["description"].endswith(".")


def _fits(topic: str, column: dict[str, Any], others: dict[str, Any]) -> None:
    operation, field = column["operationType"], column.get("sourceField")
    if operation == "static_value":
        float(column["params"]["value"])
    elif operation == "counter_rate":
        assert [others[name]["operationType"] for name in column["references"]] == ["max"]
        assert column["timeScale"] == "s"
        assert any(c["operationType"] == "date_histogram" for c in others.values())
    elif operation == "count":
        assert field == "___records___"
    else:
        assert type_of(topic, str(field)) in ALLOWED[operation], (operation, field, type_of(topic, str(field)))
    for name in fields_of(column.get("filter", {}).get("query", "")):
        assert type_of(topic, name) == "keyword", name
    order = column["params"].get("orderBy", {}).get("columnId")
    assert order is None or others[order]["operationType"] not in ("counter_rate", "percentile")
    assert (operation == "percentile") == ("percentile" in column["params"])


@pytest.mark.parametrize("panel", of("lens"), ids=lambda o: o["id"])
def test_what_a_panel_shows_is_among_its_columns(panel: dict[str, Any]) -> None:
    state, kind = panel["attributes"]["state"], panel["attributes"]["visualizationType"]
    layers = state["datasourceStates"]["formBased"]["layers"]
    shown = state["visualization"]
    if kind == "lnsXY":
        for layer in shown["layers"]:
            columns = set(layers[layer["layerId"]]["columns"])
            named = {*layer["accessors"], *(layer[a] for a in ("xAccessor", "splitAccessor") if a in layer)}
            assert named <= columns
            assert {mark["forAccessor"] for mark in layer.get("yConfig", ())} <= set(layer["accessors"])
            hidden = columns - named
            assert hidden <= {r for c in layers[layer["layerId"]]["columns"].values() for r in c.get("references", ())}
        assert {layer["layerId"] for layer in shown["layers"]} == set(layers)
    elif kind == "lnsMetric":
        assert set(layers[shown["layerId"]]["columns"]) == {shown["metricAccessor"]}
    else:
        assert kind == "lnsDatatable"
        assert {c["columnId"] for c in shown["columns"]} == set(layers[shown["layerId"]]["columns"])


def test_limits_in_panels_are_those_of_the_rules() -> None:
    limits = {
        o["id"]: float(layers["limit"]["columns"]["limit"]["params"]["value"])
        for o in of("lens")
        if "limit" in (layers := o["attributes"]["state"]["datasourceStates"]["formBased"]["layers"])
    }
    assert limits == {
        "headwater-lag": THRESHOLDS.lag_records, "headwater-freshness": THRESHOLDS.staleness_ms,
        "headwater-sample-ratio": THRESHOLDS.sample_ratio_p, "headwater-error-rate": THRESHOLDS.error_rate,
        "headwater-busy": 1.0,
    }  # fmt: skip


@pytest.mark.parametrize("table", of("search"), ids=lambda o: o["id"])
def test_a_table_of_documents_shows_fields_that_these_have(table: dict[str, Any]) -> None:
    [reference] = table["references"]
    source = json.loads(table["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    assert source["indexRefName"] == reference["name"]
    topic = topic_of(reference)
    names = [*table["attributes"]["columns"], *fields_of(source["query"]["query"]), table["attributes"]["sort"][0][0]]
    assert [n for n in names if type_of(topic, n).startswith("no field")] == []


# -- dashboards ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("board", of("dashboard"), ids=lambda o: o["id"])
def test_a_dashboard_s_panels_are_its_references_and_lie_side_by_side(board: dict[str, Any]) -> None:
    panels = json.loads(board["attributes"]["panelsJSON"])
    references = {r["name"]: r for r in board["references"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        reference = references.pop(f"{panel['panelIndex']}:{panel['panelRefName']}")
        assert reference["type"] == panel["type"]
        at = panel["gridData"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["i"] == panel["panelIndex"]
        assert max(x for x, _ in cells) < WIDTH
        assert not cells & taken
        taken |= cells
    assert len({x for x, _ in taken}) == WIDTH
    assert [r["type"] for r in references.values()] == ["index-pattern"]  # of the choice of a pipeline
    controls = json.loads(board["attributes"]["controlGroupInput"]["panelsJSON"])
    chosen = controls["pipeline"]["explicitInput"]
    assert type_of("metrics", chosen["fieldName"]) == "keyword"
    assert chosen["dataViewId"] == next(iter(references.values()))["id"]


def test_each_dashboard_links_to_each() -> None:
    [links] = of("links")
    named = {r["name"]: r["id"] for r in links["references"]}
    assert [named[link["destinationRefName"]] for link in links["attributes"]["links"]] == [b.id for b in BOARDS]
    assert all(("links", links["id"]) in {(r["type"], r["id"]) for r in b["references"]} for b in of("dashboard"))


# -- rules -----------------------------------------------------------------------------------------------


def clauses_of(query: Any) -> Iterator[tuple[str, str]]:
    """(clause, field) of the literal query."""
    for name, below in query.items():
        if name in ("term", "range"):
            yield from ((name, field) for field in below)
        else:
            for each in below if isinstance(below, list) else [below]:
                yield from clauses_of(each)


@pytest.mark.parametrize(("rule_id", "rule"), RULES.items(), ids=[r["tags"][1] for r in RULES.values()])
def test_a_rule_filters_and_measures_fields_that_documents_have(rule_id: str, rule: dict[str, Any]) -> None:
    assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", rule_id)
    params = rule["params"]
    [topic] = [d.topic for d in DATASETS.values() if [d.pattern] == params["index"]]
    found = list(clauses_of(json.loads(params["esQuery"])["query"]))
    assert found
    for clause, field in found:
        assert type_of(topic, field) == {"term": "keyword", "range": "double"}[clause]
    assert type_of(topic, params["timeField"]) == "date"
    assert params["groupBy"] == "all" or type_of(topic, params["termField"]) == "keyword"
    assert params["aggType"] == "count" or type_of(topic, params["aggField"]) in NUMBERS
    [board] = rule["artifacts"]["dashboards"]
    assert board["id"] in {b.id for b in BOARDS}


def test_rules_are_the_seven_and_each_names_its_section_of_the_page() -> None:
    keys = [rule.key for rule in rules()]
    assert keys == ["error-rate", "freshness", "lag-stall", "drift", "sample-ratio", "guardrail", "silence"]
    page = ROOT / PAGE
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M) if page.exists() else []
    anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
    anchors |= set(re.findall(r'<a id="([a-z-]+)">', page.read_text())) if page.exists() else set()
    for rule in rules():
        section = f"{PAGE}#{rule.key}"
        assert section in rule.body["tags"]
        assert section in rule.body["artifacts"]["investigation_guide"]["blob"]
        assert not anchors or rule.key in anchors, f"{PAGE} has no section #{rule.key}"


def test_each_threshold_is_some_rule_s() -> None:
    """Numbers stand in one place: what a rule compares with and over which time is what the table says."""
    told = {rule.key: (rule.body["params"]["threshold"][0], rule.body["params"]["timeWindowSize"]) for rule in rules()}
    t = dataclasses.asdict(THRESHOLDS)
    assert sorted(v for pair in told.values() for v in pair) == sorted(t.values())


def test_the_page_tells_of_each_dashboard_and_each_threshold() -> None:
    page = (ROOT / "docs" / "kibana.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert [row.split("`")[1] for row in rows if row.startswith("| `headwater-")] == [b.id for b in BOARDS]
    told = {rule.key: next(row for row in rows if f"#{rule.key})" in row) for rule in rules()}
    t = THRESHOLDS
    wanted = {
        "error-rate": f"more than {t.error_rate * 100:g} %", "lag-stall": f"than {t.lag_records:,.0f} ",
        "freshness": f"less than {t.staleness_ms / 1000:g} s", "sample-ratio": f"{t.sample_ratio_p:g}",
    }  # fmt: skip
    for rule in rules():
        assert wanted.get(rule.key, "") in told[rule.key]
        assert f"{rule.body['params']['timeWindowSize']} minutes" in told[rule.key]
