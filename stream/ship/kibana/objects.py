"""All saved objects, and the NDJSON that Kibana imports: data views, panels, tables of documents, links, dashboards.

Order and ids are fixed, so that the file changes only where something changed, and an import replaces what was there.
"""

import json
from collections.abc import Iterator
from typing import Any

from stream.ship.datasets import DATASETS, MODULE, Dataset
from stream.ship.kibana.boards import BOARDS, WIDTH
from stream.ship.kibana.lens import lens
from stream.ship.kibana.model import Board, Documents, Panel

LINKS = f"{MODULE}-links"
LINKS_HEIGHT = 3
REFRESH_MS = 10_000
_SEARCH_SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"
_KQL_ALL = {"query": {"query": "", "language": "kuery"}, "filter": []}


def view_id(topic: str) -> str:
    """Of the data view over a topic's data streams, of all pipelines."""
    return f"{MODULE}-{topic}"


def objects() -> list[dict[str, Any]]:
    """Each after those that it refers to, but for dashboards and the links between them."""
    shown = list(_shown())
    panels = [lens(each, view_id(each.topic)) for each in shown if isinstance(each, Panel)]
    tables = [_search(each) for each in shown if isinstance(each, Documents)]
    return [*(_view(d) for d in DATASETS.values()), *panels, *tables, _links(), *(_dashboard(b) for b in BOARDS)]


def ndjson() -> str:
    """One object a line."""
    return "".join(json.dumps(each, ensure_ascii=False, sort_keys=True) + "\n" for each in objects())


def _shown() -> Iterator[Panel | Documents]:
    """Everything that is on a dashboard, once."""
    seen: set[str] = set()
    for board in BOARDS:
        for placed in (placed for row in board.rows for placed in row):
            if placed.what.id not in seen:
                seen.add(placed.what.id)
                yield placed.what


def _object(kind: str, name: str, attributes: dict[str, Any], references: list[dict[str, str]], version: str) -> Any:
    return {"type": kind, "id": name, "attributes": attributes, "references": references,
            "coreMigrationVersion": "8.8.0", "typeMigrationVersion": version}  # fmt: skip


def _view(dataset: Dataset) -> dict[str, Any]:
    attributes = {
        "title": dataset.pattern,
        "name": f"Headwater: {dataset.topic}",
        "timeFieldName": "@timestamp",
        "allowNoIndex": True,  # a pipeline may not have shipped anything yet
        "fields": "[]",
        "fieldAttrs": "{}",
        "fieldFormatMap": "{}",
        "runtimeFieldMap": "{}",
        "sourceFilters": "[]",
        "typeMeta": "{}",
    }
    return dict(_object("index-pattern", view_id(dataset.topic), attributes, [], "8.0.0"))


def _search(table: Documents) -> dict[str, Any]:
    source = {"query": {"query": table.where, "language": "kuery"}, "filter": [], "indexRefName": _SEARCH_SOURCE}
    attributes = {
        "title": table.title,
        "description": table.why,
        "columns": list(table.columns),
        "sort": [["@timestamp", "desc"]],
        "grid": {},
        "hideChart": True,
        "isTextBasedQuery": False,
        "timeRestore": False,
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(source)},
    }
    references = [{"type": "index-pattern", "id": view_id(table.topic), "name": _SEARCH_SOURCE}]
    return dict(_object("search", table.id, attributes, references, "8.0.0"))


def _links() -> dict[str, Any]:
    """One row of links that all dashboards share; who follows one keeps time and filters."""
    options = {"openInNewTab": False, "useCurrentDateRange": True, "useCurrentFilters": True}
    links = [
        {"type": "dashboardLink", "id": b.id, "label": b.link, "order": i, "options": options,
         "destinationRefName": f"link_{b.id}_dashboard"}
        for i, b in enumerate(BOARDS)
    ]  # fmt: skip
    attributes = {"title": "Headwater: dashboards", "description": "", "layout": "horizontal", "links": links}
    references = [{"type": "dashboard", "id": b.id, "name": f"link_{b.id}_dashboard"} for b in BOARDS]
    return dict(_object("links", LINKS, attributes, references, "8.0.0"))


def _dashboard(board: Board) -> dict[str, Any]:
    panels = [_panel("links", "links", 0, 0, WIDTH, LINKS_HEIGHT)]
    references = [{"type": "links", "id": LINKS, "name": "links:panel_links"}]
    y = LINKS_HEIGHT
    for row in board.rows:
        x = 0
        for placed in row:
            name, kind = placed.what.id, "lens" if isinstance(placed.what, Panel) else "search"
            panels.append(_panel(name, kind, x, y, placed.width, placed.height))
            references.append({"type": kind, "id": name, "name": f"{name}:panel_{name}"})
            x += placed.width
        y += max(placed.height for placed in row)
    attributes = {
        "title": board.title,
        "description": board.why,
        "panelsJSON": json.dumps(panels),
        "optionsJSON": json.dumps({"useMargins": True, "syncColors": True, "syncCursor": True, "syncTooltips": False,
                                   "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": board.since,
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": REFRESH_MS},
        "controlGroupInput": _choice_of_pipeline(),
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(_KQL_ALL)},
        "version": 1,
    }  # fmt: skip
    references.append(
        {"type": "index-pattern", "id": view_id("metrics"), "name": "controlGroup_pipeline:optionsListDataView"}
    )
    return dict(_object("dashboard", board.id, attributes, references, "8.9.0"))


def _panel(name: str, kind: str, x: int, y: int, width: int, height: int) -> dict[str, Any]:
    return {
        "type": kind,
        "panelIndex": name,
        "panelRefName": f"panel_{name}",
        "gridData": {"x": x, "y": y, "w": width, "h": height, "i": name},
        "embeddableConfig": {"enhancements": {}, **({"hidePanelTitles": True} if kind == "links" else {})},
    }


def _choice_of_pipeline() -> dict[str, Any]:
    """A list of the pipelines above the panels; without a choice all are shown together."""
    control = {
        "type": "optionsListControl",
        "order": 0,
        "grow": False,
        "width": "medium",
        "explicitInput": {
            "id": "pipeline",
            "fieldName": "headwater.pipeline",
            "title": "Pipeline",
            "dataViewId": view_id("metrics"),
            "selectedOptions": [],
            "enhancements": {},
        },
    }
    ignore = dict.fromkeys(("ignoreFilters", "ignoreQuery", "ignoreTimerange", "ignoreValidations"), False)
    return {
        "controlStyle": "oneLine",
        "chainingSystem": "HIERARCHICAL",
        "showApplySelections": False,
        "ignoreParentSettingsJSON": json.dumps(ignore),
        "panelsJSON": json.dumps({"pipeline": control}),
    }
