"""Snapshots as the page shows them: those in the folder, where that is on this machine; else what was announced."""

import json
from pathlib import Path
from typing import Any

from consumers._follow import folder_of
from consumers.monitor.seen import Models
from consumers.monitor.state import SNAPSHOTS_MAX, Snapshot
from stream.errors import SnapshotError
from stream.registry import snapshot as snapshots
from stream.spec import Spec

MANIFESTS_MAX = 100


class Shelf:
    """Looks into the folder whenever it is asked; each manifest is read once."""

    def __init__(self, spec: Spec) -> None:
        self._gated = spec.snapshot.gate is not None
        self._read: dict[Path, dict[str, Any] | None] = {}

    def told(self, models: Models) -> list[Snapshot]:
        """The newest first; a pinned one is never left out."""
        metas = self._there(models)
        if metas is None:
            metas = {n: (r, r["uri"]) for n, r in models.known.items()}
        newest = sorted(metas, reverse=True)
        shown = newest[:SNAPSHOTS_MAX]
        if models.pin in metas and models.pin not in shown:
            shown[-1] = models.pin
        return [self._snapshot(n, *metas[n], models) for n in shown]

    def _there(self, models: Models) -> dict[int, tuple[dict[str, Any], str]] | None:
        """Generation → its manifest, and where it lies; None where the folder is not on this machine."""
        if models.newest is None:
            return {}
        try:
            folder = folder_of(models.newest["uri"]).parent
            if not folder.is_dir():
                return None
            paths = snapshots.list_snapshots(folder)[:MANIFESTS_MAX]
        except (SnapshotError, OSError):
            return None
        self._read = {path: self._read.get(path) or _manifest(path) for path in paths}
        return {int(p.name): (meta, p.as_uri()) for p, meta in self._read.items() if meta is not None}

    def _snapshot(self, generation: int, meta: dict[str, Any], uri: str, models: Models) -> Snapshot:
        refused = str(meta.get("refused", ""))
        return {
            "generation": generation,
            "as_of_ms": meta["as_of_ms"],
            "rows": meta["rows"],
            "uri": uri,
            "gate": None if not self._gated else "refused" if refused else "passed",
            "reason": refused or None,
            "serving": generation == models.serving,
            "pinned": generation == models.pin,
            "metrics": dict(meta["values"]),
        }


def _manifest(path: Path) -> dict[str, Any] | None:
    """None for one that is damaged, or gone meanwhile; what serves is verified by those who load it."""
    try:
        meta: dict[str, Any] = json.loads((path / snapshots.MANIFEST).read_bytes())
        return {k: meta[k] for k in ("as_of_ms", "rows", "values")} | {"refused": meta.get("refused", "")}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
