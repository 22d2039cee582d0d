"""What Elasticsearch is told before the first document: an ingest pipeline, component templates, index templates.

All are made from the table of datasets. `assets()` gives them in the order in which they can be put; each body is the
request's. Only what every distribution of Elasticsearch has is used.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from stream.ship.datasets import BY_ARRIVAL, BY_PIPELINE, COMMON, DATASETS, MODULE, Dataset
from stream.ship.fields import MAPPINGS, Field, Kind, nested
from stream.ship.kibana.drawn import drawn

PIPELINE = MODULE
BASE = f"{MODULE}-base"
CUSTOM = f"{MODULE}@custom"  # a component template that a person may make; it wins over ours
PRIORITY = 500  # above those that Elasticsearch brings for logs-*-* and metrics-*-* (100)
_META = {"managed_by": "headwater elk up", "description": "changed by hand, it is changed back"}
_SETTINGS: dict[str, Any] = {
    "index": {
        "refresh_interval": "1s",  # longest wait between a document taken and a document found
        "auto_expand_replicas": "0-1",  # green on one node, safe on more
        "default_pipeline": PIPELINE,
    }
}


@dataclass(frozen=True, slots=True)
class Asset:
    """One thing to put. body: as the API wants it."""

    kind: Literal["ingest pipeline", "component template", "index template"]
    name: str
    body: dict[str, Any]


def assets() -> list[Asset]:
    """All, each after those that it refers to."""
    arrival = {
        "description": "Stamps each document with the time at which it came.",
        "processors": [{"set": {"field": BY_ARRIVAL, "copy_from": "_ingest.timestamp"}}],
        "_meta": _META,
    }
    base = {"settings": _SETTINGS, "mappings": _mappings([*COMMON, *_told()])}
    made = [Asset("ingest pipeline", PIPELINE, arrival), _component(BASE, base)]
    for dataset in DATASETS.values():
        mappings = _mappings(dataset.fields, drawn(dataset.topic))
        made.append(_component(f"{MODULE}-{dataset.topic}", {"mappings": mappings}))
    return made + [_index_template(d) for d in DATASETS.values()]


def _told() -> list[Field]:
    kinds: dict[str, Kind] = {**dict.fromkeys(BY_PIPELINE, "keyword"), BY_ARRIVAL: "date"}
    return [Field(name, kind, lambda record, at: None) for name, kind in kinds.items()]


def _component(name: str, template: dict[str, Any]) -> Asset:
    return Asset("component template", name, {"template": template, "_meta": _META})


def _mappings(fields: Any, known: Iterable[str] = ()) -> dict[str, Any]:
    """Explicit, so that no document makes a field; only maps of numbers grow, and only by numbers.

    known: fields below such maps that are there from the beginning.
    """
    flat = {f.name: MAPPINGS[f.kind] for f in fields}
    for f in fields:
        below = [name.removeprefix(f"{f.name}.") for name in known if name.startswith(f"{f.name}.")]
        if f.kind == "values" and below:
            flat[f.name] = {**flat[f.name], "properties": {name: {"type": "double"} for name in below}}
    found: dict[str, Any] = {"dynamic": "false", "properties": _properties(nested(flat))}
    grows = [f.name for f in fields if f.kind == "values"]
    if grows:
        found["dynamic_templates"] = [
            {name.replace(".", "_"): {"path_match": f"{name}.*", "mapping": {"type": "double"}}} for name in grows
        ]
    return found


def _properties(tree: dict[str, Any]) -> dict[str, Any]:
    leaf = {name for name, value in tree.items() if isinstance(value.get("type"), str)}
    return {name: value if name in leaf else {"properties": _properties(value)} for name, value in tree.items()}


def _index_template(dataset: Dataset) -> Asset:
    body = {
        "index_patterns": [dataset.pattern],
        "data_stream": {},
        "priority": PRIORITY,
        "composed_of": [BASE, f"{MODULE}-{dataset.topic}", CUSTOM],
        "ignore_missing_component_templates": [CUSTOM],
        "template": {"lifecycle": {"enabled": True, "data_retention": dataset.retention}},
        "_meta": _META,
    }
    return Asset("index template", f"{MODULE}-{dataset.topic}", body)
