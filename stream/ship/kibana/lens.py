"""A panel as a saved object of type `lens`, in the form that Kibana 8.9 and later write and read.

Lens rather than TSVB, Vega or aggregation-based panels: it is what Kibana offers a person who edits a panel, so each of
ours can be opened, understood and changed without knowing how it was made.
"""

from collections.abc import Mapping
from typing import Any

from stream.ship.kibana.model import Number, Panel, Terms

LAYER, LIMIT = "data", "limit"
RECORDS = "___records___"  # Lens's name for "documents" as a field
_FORMATS: dict[str, dict[str, Any]] = {
    "number": {"id": "number", "params": {"decimals": 3}},
    "whole": {"id": "number", "params": {"decimals": 0}},
    "percent": {"id": "percent", "params": {"decimals": 1}},
    "bytes": {"id": "bytes", "params": {"decimals": 1}},
    "ms": {"id": "number", "params": {"decimals": 0, "suffix": " ms"}},
}
_LIMIT_COLOUR = "#BD271E"


def lens(panel: Panel, view: str) -> dict[str, Any]:
    """The saved object. view: id of the data view that it reads."""
    columns = _columns(panel)
    layers = {LAYER: {"columnOrder": list(columns), "columns": columns, "incompleteColumns": {}, "sampling": 1}}
    if panel.limit is not None:
        layers[LIMIT] = _limit_layer(*panel.limit)
    return {
        "type": "lens",
        "id": panel.id,
        "attributes": {
            "title": panel.title,
            "description": panel.why,
            "visualizationType": _kind(panel),
            "state": {
                "datasourceStates": {"formBased": {"layers": layers}},
                "visualization": _visualization(panel, columns),
                "query": {"query": panel.where, "language": "kuery"},
                "filters": [],
                "internalReferences": [],
                "adHocDataViews": {},
            },
        },
        "references": [
            {"type": "index-pattern", "id": view, "name": f"indexpattern-datasource-layer-{name}"} for name in layers
        ],
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": "8.9.0",
    }


def _kind(panel: Panel) -> str:
    return {"metric": "lnsMetric", "table": "lnsDatatable"}.get(panel.shape, "lnsXY")


def _columns(panel: Panel) -> dict[str, Any]:
    """By id, buckets outermost first, as Elasticsearch nests them."""
    found: dict[str, Any] = {f"by{i}": _terms(terms, panel.numbers[0]) for i, terms in enumerate(panel.by)}
    if panel.by_time and panel.shape not in ("metric", "table", "bar_horizontal"):
        found["time"] = _time()
    for i, number in enumerate(panel.numbers):
        found |= _number(f"n{i}", number)
    return found


def _time() -> dict[str, Any]:
    return {
        "operationType": "date_histogram",
        "sourceField": "@timestamp",
        "label": "@timestamp",
        "dataType": "date",
        "isBucketed": True,
        "scale": "interval",
        "params": {"interval": "auto", "includeEmptyRows": True, "dropPartials": False},
    }


def _terms(terms: Terms, first: Number) -> dict[str, Any]:
    """The values with the most of the first number, where Lens can order by it; else by name."""
    largest = first.operation != "percentile" and not (first.a_second and first.operation == "max")
    order = {"type": "column", "columnId": "n0"} if largest else {"type": "alphabetical", "fallback": True}
    return {
        "operationType": "terms",
        "sourceField": terms.field,
        "label": terms.label,
        "customLabel": True,
        "dataType": "string",
        "isBucketed": True,
        "scale": "ordinal",
        "params": {
            "size": terms.size,
            "orderBy": order,
            "orderDirection": "desc" if largest else "asc",
            "otherBucket": False,
            "missingBucket": False,
            "parentFormat": {"id": "terms"},
        },
    }


def _number(name: str, number: Number) -> dict[str, Any]:
    """One column, or two where one is the growth of the other."""
    if number.a_second and number.operation == "max":
        rate = {**_plain(number, "counter_rate"), "references": [f"{name}_of"], "timeScale": "s"}
        return {name: rate, f"{name}_of": _measure(number)}
    return {name: _measure(number)}


def _plain(number: Number, operation: str) -> dict[str, Any]:
    return {
        "operationType": operation,
        "label": number.label,
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "scale": "ratio",
        "params": {"format": _FORMATS[number.unit]},
    }


def _measure(number: Number) -> dict[str, Any]:
    column = {**_plain(number, number.operation), "sourceField": number.field or RECORDS}
    column["params"] = {**column["params"], "emptyAsNull": True}
    if number.percentile:
        column["params"] = {**column["params"], "percentile": number.percentile}
    if number.a_second and number.operation == "count":
        column["timeScale"] = "s"
    if number.where:
        column["filter"] = {"query": number.where, "language": "kuery"}
    if number.newest:
        column["reducedTimeRange"] = number.newest
    return column


def _limit_layer(label: str, value: float) -> dict[str, Any]:
    column = {
        "operationType": "static_value",
        "label": label,
        "customLabel": True,
        "dataType": "number",
        "isBucketed": False,
        "isStaticValue": True,
        "scale": "ratio",
        "params": {"value": f"{value:g}" if value < 1 else f"{value:.0f}"},
        "references": [],
    }
    return {"columnOrder": ["limit"], "columns": {"limit": column}, "incompleteColumns": {}, "sampling": 1}


def _visualization(panel: Panel, columns: Mapping[str, Any]) -> dict[str, Any]:
    shown = [f"n{i}" for i in range(len(panel.numbers))]
    if panel.shape == "metric":
        return {"layerId": LAYER, "layerType": "data", "metricAccessor": shown[0]}
    if panel.shape == "table":
        order = [*(f"by{i}" for i in range(len(panel.by))), *shown]
        return {
            "layerId": LAYER,
            "layerType": "data",
            "columns": [{"columnId": name} for name in order],
            "paging": {"size": 10, "enabled": True},
        }
    return _xy(panel, columns, shown)


def _xy(panel: Panel, columns: Mapping[str, Any], shown: list[str]) -> dict[str, Any]:
    axis = "time" if "time" in columns else "by0"
    split = next((name for name in columns if name.startswith("by") and name != axis), None)
    data: dict[str, Any] = {
        "layerId": LAYER,
        "layerType": "data",
        "seriesType": panel.shape,
        "xAccessor": axis,
        "accessors": shown,
        "showGridlines": False,
    }
    layers = [data | ({"splitAccessor": split} if split else {})]
    if panel.limit is not None:
        mark = {"forAccessor": "limit", "axisMode": "left", "color": _LIMIT_COLOUR, "lineStyle": "dashed",
                "lineWidth": 2, "fill": "none", "textVisibility": True}  # fmt: skip
        layers.append({"layerId": LIMIT, "layerType": "referenceLine", "accessors": ["limit"], "yConfig": [mark]})
    return {
        "preferredSeriesType": panel.shape,
        "legend": {"isVisible": True, "position": "bottom", "showSingleSeries": len(shown) > 1},
        "valueLabels": "hide",
        "fittingFunction": "Linear",
        "axisTitlesVisibilitySettings": {"x": False, "yLeft": False, "yRight": False},
        "layers": layers,
    }
