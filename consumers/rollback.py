"""rollback: every server goes back to an older snapshot and stays there, until it is released.

What it writes: a mark in the snapshot's folder, so that the learner keeps it, then a record on the models topic under a
key of its own, which servers follow within a poll. The learner goes on: what it learns is a function of the log, not of
what serves. Invariant: what is announced was read whole, after it was marked.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import schemas
from consumers._follow import folder_of
from consumers._kafka import broker_errors, consuming, make_producer
from consumers._pin import pin_key
from consumers._read import read_with
from consumers.settings import Settings
from stream.errors import DataError, SnapshotError
from stream.registry import snapshot as snapshots
from stream.spec import Spec

SEND_S = 15.0
RECORDS_READ = 50  # newest records of the models topic that are looked at: the learner's newest is among them


@dataclass(frozen=True, slots=True)
class Choice:
    """One snapshot to roll back to. refused: why its gate refuses it; empty: it is good."""

    generation: int
    rows: int
    as_of_ms: int
    refused: str
    pinned: bool
    newest: bool

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return asdict(self)


class Rollback:
    """Looks once at what there is; then pins or releases. Raises BrokerError, TopicMissing, SnapshotError."""

    def __init__(self, spec: Spec, settings: Settings) -> None:
        self._spec, self._settings = spec, settings
        with broker_errors(settings), consuming(settings) as consumer:
            records = list(read_with(consumer, spec.topic("models"), settings, last=RECORDS_READ))
        found = [r for r in records if r.key != pin_key(spec)]
        if not found:
            raise SnapshotError(f"{spec.topic('models')}: no snapshot was announced yet; nothing to go back to")
        self._newest = schemas.codec("model").decode(found[-1].value)
        self._folder = folder_of(self._newest["uri"]).parent
        if not self._folder.is_dir():
            raise SnapshotError(f"{self._folder}: not here; run rollback where the snapshots are")

    def choices(self) -> list[Choice]:
        """All whole snapshots, the newest first."""
        out = []
        for path in snapshots.list_snapshots(self._folder):
            try:
                meta = snapshots.read(path, self._spec.hash).meta
            except SnapshotError:
                continue
            newest = meta["generation"] == self._newest["generation"]
            pinned = (path / snapshots.PINNED).exists()
            found = (meta["generation"], meta["rows"], meta["as_of_ms"], meta.get("refused", ""), pinned, newest)
            out.append(Choice(*found))
        return out

    def default(self) -> int:
        """The generation to go back to where none is named: the newest good one that is kept for this, else the newest
        good one before the newest."""
        older = [c for c in self.choices() if c.generation < self._newest["generation"] and not c.refused]
        kept = [c for c in older if (self._path(c.generation) / snapshots.HISTORY).exists()]
        if not older:
            raise SnapshotError(f"{self._folder}: no good snapshot before generation {self._newest['generation']}")
        return (kept or older)[0].generation

    def pin(self, generation: int, why: str) -> dict[str, Any]:
        """Every server goes to this generation; returns the record. Raises DataError when it is not there."""
        path = self._path(generation)
        if not path.is_dir():
            there = ", ".join(str(c.generation) for c in self.choices()) or "none"
            raise DataError(f"generation: found {generation}; there are {there}")
        before = self._marked()
        snapshots.mark(path, snapshots.PINNED)
        found = snapshots.read(path, self._spec.hash)  # after the mark: from here on it stays
        meta = found.meta
        record = {
            **{k: meta[k] for k in ("pipeline", "generation", "state_hash", "spec_hash", "training_offset", "rows")},
            **meta["through"],
            "uri": path.resolve().as_uri(),
            "sha256": found.sha256,
            "as_of_ms": meta["as_of_ms"],
            "arms": list(self._spec.arms),
            "values": meta["values"],
            "refused": meta.get("refused", ""),
            "pinned": True,
            "why": why,
        }
        self._send(schemas.codec("model").encode(record))
        for other in before - {path}:
            snapshots.mark(other, snapshots.PINNED, on=False)
        return record

    def release(self) -> None:
        """Servers follow the learner again."""
        self._send(None)
        for path in self._marked():
            snapshots.mark(path, snapshots.PINNED, on=False)

    def _path(self, generation: int) -> Path:
        return self._folder / f"{generation:012d}"

    def _marked(self) -> set[Path]:
        return {p for p in snapshots.list_snapshots(self._folder) if (p / snapshots.PINNED).exists()}

    def _send(self, value: bytes | None) -> None:
        with broker_errors(self._settings):
            producer = make_producer(self._settings)
            try:
                sent = producer.send(self._spec.topic("models"), value=value, key=pin_key(self._spec), partition=0)
                sent.get(SEND_S)
            finally:
                producer.close(timeout=2)
