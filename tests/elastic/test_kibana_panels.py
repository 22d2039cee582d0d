"""Every panel, table and alert rule finds documents that the demo shipped, on a real Elasticsearch.

Each is read from the files that Kibana is given and run as the search that it stands for (`_kibana.py`). Regressions'
panels have documents of a regression beside the demo's, made by the same code.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from elasticsearch import Elasticsearch

import schemas
from consumers._kafka import Out
from consumers._loop import Loop
from consumers._metric import metric_out
from consumers._ship_assets import put
from consumers._ship_client import Sender
from consumers.demo.elk import _delivered
from consumers.settings import Settings
from consumers.ship import Ship
from infra.elastic import Found
from stream.arrive.records import Record
from stream.evaluate.prequential import Prequential
from stream.ship.datasets import DATASETS
from stream.ship.documents import Document, maker
from stream.spec import Spec
from stream.spec_load import load_spec
from tests.demo_run import DemoRun
from tests.elastic._kibana import (
    OBJECTS,
    RULES,
    Search,
    Span,
    columns_of,
    fields_of,
    firing,
    of,
    panel_search,
    panel_values,
    pattern_of,
    rule_search,
    table_search,
)

pytestmark = [pytest.mark.broker, pytest.mark.slow]
NUMBERS = "numbers"  # the pipeline of a regression
SHIPPED_S_MAX = 240.0
BY_KEY = {rule["tags"][1]: rule for rule in RULES.values()}


class Shipped:
    """The demo's documents, and those of a regression at the same time."""

    def __init__(self, client: Elasticsearch, spec: Spec) -> None:
        self.client, self.spec = client, spec
        self.own = {"terms": {"headwater.pipeline": [spec.name, NUMBERS]}}
        ends = {n: {n.removeprefix("to_"): {"field": "@timestamp"}} for n in ("to_min", "to_max")}
        demo = {"term": {"headwater.pipeline": spec.name}}
        times = self.search(Search("*headwater*", {"size": 0, "query": demo, "aggs": ends}))
        first, last = (int(times["aggregations"][n]["value"]) for n in ends)
        self.span = Span(first, last, (spec.name, NUMBERS))
        regression(client, spec, (first + last) // 2)

    def search(self, search: Search) -> dict[str, Any]:
        return dict(self.client.search(index=search.index, **search.body).body)

    def having(self, index: str, field: str, *more: Mapping[str, Any]) -> int:
        """How many of the demo's documents have a field."""
        query = {"bool": {"filter": [self.own, {"exists": {"field": field}}, *more]}}
        return int(self.client.count(index=index, query=query)["count"])


def send(client: Elasticsearch, pipeline: str, topic: str, values: list[bytes], at_ms: int) -> None:
    """Records of a topic as documents, by the shipper's own way."""
    make = maker(DATASETS[topic], pipeline)
    offset = time.time_ns()
    made = [make(Record(f"{pipeline}.{topic}", 0, offset + n, at_ms + n, None, v)) for n, v in enumerate(values)]
    documents = [d for d in made if isinstance(d, Document)]
    assert len(documents) == len(values)
    assert Sender(client).send(documents, doubtful=False) == []
    client.indices.refresh(index=DATASETS[topic].stream(pipeline))


@pytest.fixture(scope="module")
def shipped(
    demo_run: DemoRun, elastic: Found, client: Elasticsearch, key: Path | None, tmp_path_factory: pytest.TempPathFactory
) -> Shipped:
    """What the demo left on Kafka, shipped."""
    put(client)
    spec = load_spec(demo_run.folder / "flights.yaml")
    data = tmp_path_factory.mktemp("shipped")
    settings = Settings(kafka=demo_run.kafka, elasticsearch=elastic.url, elasticsearch_key=key, data=data)
    until_s, looked_s = time.monotonic() + SHIPPED_S_MAX, 0.0

    def done() -> bool:
        nonlocal looked_s
        assert time.monotonic() < until_s
        if time.monotonic() - looked_s < 1.0:
            return False
        looked_s = time.monotonic()
        return _delivered(spec, settings)

    Loop(Ship(spec, settings), settings).run(done)
    client.indices.refresh(index="*headwater*")
    return Shipped(client, spec)


def regression(client: Elasticsearch, spec: Spec, at_ms: int) -> None:
    """Metric windows of a regression."""
    rng = np.random.default_rng(1)
    label = rng.normal(size=400)
    metrics = Prequential("regression", 0, 100)
    windows = metrics.update(label + rng.normal(size=400), label, np.zeros(400, np.int64))
    outs = [metric_out(spec, "prequential", "line", w.number, w.rows, w.time_ms, w.values) for w in windows]
    send(client, NUMBERS, "metrics", values_of(outs), at_ms)


def values_of(outs: list[Out]) -> list[bytes]:
    return [out.value or b"" for out in outs]


@pytest.mark.parametrize("panel", of("lens"), ids=lambda o: o["id"])
def test_a_panel_is_not_empty(panel: dict[str, Any], shipped: Shipped) -> None:
    answer = shipped.search(panel_search(panel, shipped.span))
    found = panel_values(panel, answer)
    assert found
    assert [name for name, values in found.items() if not values] == [], answer
    for name, column in columns_of(panel).items():
        if column["isBucketed"] and column["operationType"] == "terms":
            assert shipped.having(panel_search(panel, shipped.span).index, column["sourceField"]), name


@pytest.mark.parametrize("table", of("search"), ids=lambda o: o["id"])
def test_a_table_of_documents_is_not_empty_and_each_column_is_filled(table: dict[str, Any], shipped: Shipped) -> None:
    search = table_search(table, shipped.span)
    assert shipped.search(search)["hits"]["hits"]
    shown = search.body["query"]["bool"]["filter"][0]
    lacking = [c for c in table["attributes"]["columns"] if not shipped.having(search.index, c, shown)]
    assert lacking == []


def test_every_data_view_shows_documents(shipped: Shipped) -> None:
    for view in of("index-pattern"):
        index = pattern_of({"id": view["id"]})
        assert shipped.having(index, view["attributes"]["timeFieldName"]), view["id"]
    assert len(OBJECTS) > 40


@pytest.mark.parametrize("name", BY_KEY)
def test_the_fields_of_a_rule_have_documents(name: str, shipped: Shipped) -> None:
    params = BY_KEY[name]["params"]
    literal = json.loads(params["esQuery"])["query"]
    terms = [c for c in literal["bool"]["filter"] if "term" in c]
    named = [*fields_of(literal), *(params[n] for n in ("termField", "aggField") if n in params)]
    lacking = [n for n in named if not shipped.having(",".join(params["index"]), n, *terms)]
    assert lacking == []


def test_the_demo_s_drained_arm_fires_the_guardrail_and_nothing_else_is_wrong(shipped: Shipped) -> None:
    fired = {}
    for name, rule in BY_KEY.items():
        answer = shipped.search(rule_search(rule, shipped.span.end_ms, (shipped.spec.name,)))
        fired[name] = firing(rule, answer)
    assert fired["guardrail"] == [shipped.spec.name]
    assert not fired["sample-ratio"]
    assert not fired["lag-stall"]
    assert not fired["silence"]


# -- planted ---------------------------------------------------------------------------------------------


def metric(spec: Spec, kind: str, arm: str = "", **values: float) -> tuple[str, bytes]:
    return "metrics", metric_out(spec, kind, arm, 0, 1, 0, values).value or b""


def change(action: str, at_ms: int) -> tuple[str, bytes]:
    record = {"experiment": "e", "salt": "1", "seq": 1, "action": action, "arm": "tree", "who": "me", "when_ms": at_ms,
              "before": {}, "weights": {"tree": 0.0}, "why": "a test"}  # fmt: skip
    return "experiment", schemas.codec("control").encode(record)


def test_each_rule_fires_on_a_planted_case_and_not_before(client: Elasticsearch, shipped: Shipped) -> None:
    spec, now_ms = shipped.spec, time.time_ns() // 1_000_000
    wrong = {
        "error-rate": metric(spec, "counts", events_in=10.0, error_rate=0.2),
        "freshness": metric(spec, "freshness", staleness_ms=90_000.0),
        "lag-stall": metric(spec, "lag", "join", lag=5_000.0),
        "drift": metric(spec, "prequential", "tree", drift_adwin=1.0, drift_adwin_new=1.0),
        "sample-ratio": metric(spec, "sample_ratio", p_value=1e-5, exposures=100.0),
        "guardrail": change("guardrail", now_ms),
        "silence": None,  # nothing more comes
    }
    right = {
        "error-rate": metric(spec, "counts", events_in=10.0, error_rate=0.01),
        "freshness": metric(spec, "freshness", staleness_ms=900.0),
        "lag-stall": metric(spec, "lag", "join", lag=5.0),
        "drift": metric(spec, "prequential", "tree", drift_adwin=1.0, drift_adwin_new=0.0),
        "sample-ratio": metric(spec, "sample_ratio", p_value=0.4, exposures=100.0),
        "guardrail": change("ramp", now_ms),
        "silence": metric(spec, "counts", events_in=10.0, error_rate=0.0),
    }
    assert set(wrong) == set(right) == set(BY_KEY)
    planted = tuple(f"planted-{name}" for name in BY_KEY)  # a pipeline for each, so that its alert is told apart

    def fired(at_ms: int) -> dict[str, list[str]]:
        answers = {n: shipped.search(rule_search(r, at_ms, planted)) for n, r in BY_KEY.items()}
        return {n: firing(BY_KEY[n], a) for n, a in answers.items()}

    for pipeline in planted:
        name = pipeline.removeprefix("planted-")
        send(client, pipeline, right[name][0], [right[name][1]], now_ms - 60_000)
    assert fired(now_ms) == {name: [] for name in BY_KEY}
    for pipeline in planted:
        name = pipeline.removeprefix("planted-")
        if (planted_ := wrong[name]) is not None:
            send(client, pipeline, planted_[0], [planted_[1]], now_ms)
    # One good look within the time is enough for these: what is caught up now and then is not stuck.
    lasting = {"freshness", "lag-stall"}
    whose = {"lag-stall": "planted-lag-stall join", "drift": "planted-drift tree"}
    told = {name: [whose.get(name, f"planted-{name}")] for name in BY_KEY} | {"silence": []}
    assert fired(now_ms + 100) == {n: [] if n in lasting else w for n, w in told.items()}
    minutes = {n: BY_KEY[n]["params"]["timeWindowSize"] for n in lasting}
    for name in lasting:  # until the good look lies too far back
        assert fired(now_ms - 59_000 + minutes[name] * 60_000)[name] == told[name]
    silent = BY_KEY["silence"]["params"]["timeWindowSize"] * 60_000
    assert fired(now_ms + silent - 1_000)["silence"] == []
    assert fired(now_ms + 20 * 60_000) == {name: [] for name in BY_KEY} | {"silence": ["all documents"]}
