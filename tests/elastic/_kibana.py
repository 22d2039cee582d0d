"""Saved objects of Kibana read back into the searches that they stand for: panels, tables of documents, alert rules.

A reader of its own, from the NDJSON: it shares no code with what wrote it. What Lens computes itself after the search
(the growth of a counter) is computed here too. Of KQL it knows the clauses that our objects use.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "kibana"
OBJECTS: list[dict[str, Any]] = [json.loads(line) for line in (FOLDER / "headwater.ndjson").read_text().splitlines()]
RULES: dict[str, dict[str, Any]] = json.loads((FOLDER / "rules.json").read_text())
METRICS = {"sum": "sum", "average": "avg", "max": "max", "min": "min", "unique_count": "cardinality"}
TIMES = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
BUCKETS = 40  # of time, over the whole span


@dataclass(frozen=True)
class Span:
    """What a dashboard's time picker and its choice of a pipeline say."""

    start_ms: int
    end_ms: int
    pipelines: tuple[str, ...]

    def filters(self, since_ms: int | None = None) -> list[dict[str, Any]]:
        times = {"gte": self.start_ms if since_ms is None else since_ms, "lte": self.end_ms, "format": "epoch_millis"}
        return [{"range": {"@timestamp": times}}, {"terms": {"headwater.pipeline": list(self.pipelines)}}]


@dataclass
class Search:
    """A request of `_search`; index: a pattern."""

    index: str
    body: dict[str, Any] = field(default_factory=dict)


def of(kind: str) -> list[dict[str, Any]]:
    return [o for o in OBJECTS if o["type"] == kind]


def pattern_of(reference: Mapping[str, str]) -> str:
    """The indices of the data view that a reference names."""
    [view] = [o for o in of("index-pattern") if o["id"] == reference["id"]]
    return str(view["attributes"]["title"])


def kql(text: str) -> dict[str, Any]:
    """A query in KQL as Elasticsearch's."""
    if not text:
        return {"match_all": {}}
    clauses = [_clause(c) for c in re.split(r" (?:or|and) ", text)]
    if " or " in text:
        assert " and " not in text
        return {"bool": {"should": clauses, "minimum_should_match": 1}}
    return {"bool": {"filter": clauses}}


def _clause(text: str) -> dict[str, Any]:
    found = re.fullmatch(r'(not )?([\w.@]+): "([^"]+)"', text)
    assert found, text
    term = {"term": {found[2]: found[3]}}
    return {"bool": {"must_not": [term]}} if found[1] else term


# -- panels ----------------------------------------------------------------------------------------------


def columns_of(panel: Mapping[str, Any]) -> dict[str, Any]:
    """Of the panel's layer of data, in their order."""
    layer = panel["attributes"]["state"]["datasourceStates"]["formBased"]["layers"]["data"]
    return {name: layer["columns"][name] for name in layer["columnOrder"]}


def panel_search(panel: Mapping[str, Any], span: Span) -> Search:
    """The search that a Lens panel makes."""
    [reference] = [r for r in panel["references"] if r["name"].endswith("-layer-data")]
    state, columns = panel["attributes"]["state"], columns_of(panel)
    measures = {n: _measure(c, span) for n, c in columns.items() if not c["isBucketed"]}
    aggregations = {n: m for n, m in measures.items() if m}
    for name, column in reversed([(n, c) for n, c in columns.items() if c["isBucketed"]]):
        aggregations = {
            name: {**_buckets(column, columns, span), "aggs": {**aggregations, **_order(column, columns, span)}}
        }
    query = {"bool": {"filter": [kql(state["query"]["query"]), *span.filters()]}}
    return Search(pattern_of(reference), {"size": 0, "query": query, "aggs": aggregations, "track_total_hits": True})


def _measure(column: Mapping[str, Any], span: Span) -> dict[str, Any]:
    """{} where Lens takes the number of documents, or computes by itself."""
    operation, name = column["operationType"], column.get("sourceField")
    if operation in METRICS:
        found = {METRICS[operation]: {"field": name}}
    elif operation in ("percentile", "median"):
        found = {"percentiles": {"field": name, "percents": [column["params"].get("percentile", 50)]}}
    else:
        assert operation in ("count", "counter_rate"), operation
        found = {}
    narrowed = [kql(column["filter"]["query"])] if "filter" in column else []
    if "reducedTimeRange" in column:
        number, unit = re.fullmatch(r"(\d+)([smhd])", column["reducedTimeRange"]).groups()  # type: ignore[union-attr]
        narrowed += span.filters(span.end_ms - int(number) * TIMES[unit])
    if narrowed:
        found = {"filter": {"bool": {"filter": narrowed}}, **({"aggs": {"only": found}} if found else {})}
    return found


def _buckets(column: Mapping[str, Any], columns: Mapping[str, Any], span: Span) -> dict[str, Any]:
    name = column["sourceField"]
    if column["operationType"] == "date_histogram":
        width = max(1, (span.end_ms - span.start_ms) // BUCKETS)
        return {"date_histogram": {"field": name, "fixed_interval": f"{width}ms", "min_doc_count": 0}}
    assert column["operationType"] == "terms"
    order, way = column["params"]["orderBy"], column["params"]["orderDirection"]
    by = "_key" if order["type"] == "alphabetical" else "order" if _order(column, columns, span) else "_count"
    return {"terms": {"field": name, "size": column["params"]["size"], "order": {by: way}}}


def _order(column: Mapping[str, Any], columns: Mapping[str, Any], span: Span) -> dict[str, Any]:
    """The number by which values are ranked, at their own level."""
    order = column["params"].get("orderBy", {})
    measure = _measure(columns[order["columnId"]], span) if order.get("type") == "column" else {}
    return {"order": measure} if measure else {}


def panel_values(panel: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, list[float]]:
    """Column → its numbers, of all buckets that have one."""
    columns = columns_of(panel)
    buckets = [n for n, c in columns.items() if c["isBucketed"]]
    total = {**answer.get("aggregations", {}), "doc_count": answer["hits"]["total"]["value"]}
    found: dict[str, list[float]] = {}
    for name, column in columns.items():
        if column["isBucketed"]:
            continue
        if column["operationType"] == "counter_rate":
            [of_] = column["references"]
            series = _series(total, buckets, of_, columns[of_])
            found[name] = [new - old if new >= old else new for s in series for old, new in pairwise(s)]
        else:
            found[name] = [v for s in _series(total, buckets, name, column) for v in s]
    return found


def _series(found: Mapping[str, Any], buckets: list[str], name: str, column: Mapping[str, Any]) -> list[list[float]]:
    """The column's numbers, a list for each innermost run of buckets."""
    if not buckets:
        value = _value(found, name, column)
        return [[] if value is None else [value]]
    below = found[buckets[0]]["buckets"]
    if len(buckets) > 1:
        return [s for b in below for s in _series(b, buckets[1:], name, column)]
    return [[v for b in below if (v := _value(b, name, column)) is not None]]


def _value(bucket: Mapping[str, Any], name: str, column: Mapping[str, Any]) -> float | None:
    found = bucket.get(name, bucket)
    if column["operationType"] == "count":
        return float(found["doc_count"]) or None
    found = found.get("only", found)
    value = next(iter(found["values"].values())) if "values" in found else found["value"]
    empty = value is None or bucket["doc_count"] == 0 or (column["operationType"] == "sum" and not value)
    return None if empty or value != value else float(value)


# -- tables and rules ------------------------------------------------------------------------------------


def table_search(table: Mapping[str, Any], span: Span) -> Search:
    """The search that a table of documents makes, newest first."""
    [reference] = table["references"]
    source = json.loads(table["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])
    query = {"bool": {"filter": [kql(source["query"]["query"]), *span.filters()]}}
    sort = [{name: way} for name, way in table["attributes"]["sort"]]
    return Search(pattern_of(reference), {"query": query, "sort": sort, "size": 100})


def rule_search(rule: Mapping[str, Any], now_ms: int, pipelines: tuple[str, ...]) -> Search:
    """The search that a rule of type .es-query makes when it runs at `now_ms`."""
    params = rule["params"]
    since_ms = now_ms - params["timeWindowSize"] * TIMES[params["timeWindowUnit"]]
    literal = json.loads(params["esQuery"])["query"]
    query = {"bool": {"filter": [literal, *Span(since_ms, now_ms, pipelines).filters()]}}
    measure = {} if params["aggType"] == "count" else {"value": {params["aggType"]: {"field": params["aggField"]}}}
    body = {"size": params["size"], "query": query}
    if params["groupBy"] == "top":
        groups = {"terms": {"field": params["termField"], "size": params["termSize"]}, "aggs": measure}
        return Search(",".join(params["index"]), {**body, "aggs": {"groups": groups}})
    assert (params["groupBy"], params["aggType"]) == ("all", "count")
    return Search(",".join(params["index"]), {**body, "track_total_hits": True})


def firing(rule: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """The groups that meet the rule's condition; "all documents" where it has none."""
    params = rule["params"]
    [threshold] = params["threshold"]
    meets = {">": lambda v: v > threshold, "<": lambda v: v < threshold}[params["thresholdComparator"]]
    if params["groupBy"] == "all":
        return ["all documents"] if meets(answer["hits"]["total"]["value"]) else []
    buckets = answer["aggregations"]["groups"]["buckets"]
    values = {b["key"]: b["doc_count"] if params["aggType"] == "count" else b["value"]["value"] for b in buckets}
    return sorted(key for key, value in values.items() if value is not None and meets(value))


def fields_of(query: Any) -> Iterator[str]:
    """Fields that a literal query names."""
    if isinstance(query, list):
        for each in query:
            yield from fields_of(each)
    elif isinstance(query, dict):
        for name, below in query.items():
            yield from below if name in ("term", "terms", "range") else fields_of(below)
