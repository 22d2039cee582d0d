"""The assets in an Elasticsearch: compare them, put what differs, take them away.

Compared is what is there, not a version that was noted: what a person changed by hand shows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from elasticsearch import Elasticsearch, NotFoundError

from stream.errors import ElasticError
from stream.ship.assets import Asset, assets
from stream.ship.datasets import DATASETS

# Parts that are whole in a request: whatever else is found in them is a difference too.
_WHOLE = ("template.mappings.", "template.settings.", "processors", "index_patterns", "composed_of")


@dataclass(frozen=True, slots=True)
class State:
    """One asset: as wanted, absent, or different; differences: a line each, with path, found and wanted."""

    asset: Asset
    state: Literal["as wanted", "absent", "different"]
    differences: tuple[str, ...] = ()


def states(client: Elasticsearch) -> list[State]:
    """How each asset stands. Raises ApiError, TransportError."""
    return [_state(client, asset) for asset in assets()]


def _state(client: Elasticsearch, asset: Asset) -> State:
    found = _find(client, asset)
    if found is None:
        return State(asset, "absent")
    there, wanted = _flat(found), _flat(asset.body)
    lines = [
        f"{path}: found {there.get(path, 'nothing')}; wanted {value}"
        for path, value in wanted.items()
        if there.get(path) != value and not (value == "{}" and any(p.startswith(f"{path}.") for p in there))
    ]
    lines += [
        f"{path}: found {value}; wanted nothing"
        for path, value in there.items()
        if path not in wanted and path.startswith(_WHOLE)
    ]
    return State(asset, "different" if lines else "as wanted", tuple(lines))


def _find(client: Elasticsearch, asset: Asset) -> dict[str, Any] | None:
    try:
        if asset.kind == "ingest pipeline":
            return dict(client.ingest.get_pipeline(id=asset.name)[asset.name])
        if asset.kind == "component template":
            answer = client.cluster.get_component_template(name=asset.name)
            return dict(answer["component_templates"][0]["component_template"])
        return dict(client.indices.get_index_template(name=asset.name)["index_templates"][0]["index_template"])
    except NotFoundError:
        return None


def _flat(value: Any, path: str = "") -> dict[str, str]:
    """Path → value as text, since Elasticsearch gives settings back as text and true as "true"."""
    if isinstance(value, Mapping) and value:
        return {p: v for k, below in value.items() for p, v in _flat(below, f"{path}.{k}" if path else str(k)).items()}
    if isinstance(value, list):
        return {path: json.dumps([_flat(v) if isinstance(v, Mapping) else v for v in value], sort_keys=True)}
    return {path: value if isinstance(value, str) else json.dumps(value)}


def put(client: Elasticsearch) -> list[State]:
    """Put what is absent or different; returns how each stood before. Raises ApiError, TransportError."""
    before = states(client)
    for found in before:
        if found.state != "as wanted":
            _put(client, found.asset)
    return before


def _put(client: Elasticsearch, asset: Asset) -> None:
    if asset.kind == "ingest pipeline":
        client.ingest.put_pipeline(id=asset.name, **_underscored(asset.body))
    elif asset.kind == "component template":
        client.cluster.put_component_template(name=asset.name, **_underscored(asset.body))
    else:
        client.indices.put_index_template(name=asset.name, **_underscored(asset.body))


def _underscored(body: Mapping[str, Any]) -> dict[str, Any]:
    """The client calls `_meta` meta."""
    return {name.lstrip("_"): value for name, value in body.items()}


def data_streams(client: Elasticsearch) -> list[str]:
    """Names of the data streams that have documents of ours."""
    pattern = ",".join(d.pattern for d in DATASETS.values())
    return sorted(s["name"] for s in client.indices.resolve_index(name=pattern)["data_streams"])


def take_away(client: Elasticsearch, with_data: bool) -> tuple[list[Asset], list[str]]:
    """Delete the assets, and with `with_data` the documents; returns what was deleted, assets and data streams.

    Raises ElasticError when there are documents that may not be deleted: their templates can't be then.
    """
    streams = data_streams(client)
    if streams and not with_data:
        raise ElasticError(
            f"{', '.join(streams)}: still there, and Elasticsearch keeps the templates of data streams; "
            "with --data their documents are deleted too"
        )
    if streams:
        client.indices.delete_data_stream(name=streams)
    gone = [s.asset for s in states(client) if s.state != "absent"]
    for asset in reversed(gone):
        if asset.kind == "index template":
            client.indices.delete_index_template(name=asset.name)
        elif asset.kind == "component template":
            client.cluster.delete_component_template(name=asset.name)
        else:
            client.ingest.delete_pipeline(id=asset.name)
    return gone, streams
