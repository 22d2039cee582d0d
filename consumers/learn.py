"""learn: the training log → models. A model is a pure function of the log; this module keeps it so over crashes.

State lives in snapshots, not in group offsets: on start the newest whole snapshot is loaded and the log is read on
from the offset that it names. Metric windows that no commit has carried yet travel inside it, so that a crash
between snapshot and commit loses none: they are sent again, and a repeat replaces itself by its key.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import schemas
from consumers._crash import crash_point
from consumers._kafka import Out
from consumers._metric import metric_out
from consumers._otel import Spans
from consumers.settings import Settings
from stream.block import Training, take
from stream.clock import Clock
from stream.encode.encoder import layout_of
from stream.errors import HeadwaterError
from stream.evaluate.prequential import Window
from stream.learn.arms import Arms, digest
from stream.learn.check import allowed, block_problem, infinite, outside
from stream.learn.learner import State
from stream.limits import DETAIL_CHARS_MAX
from stream.registry import snapshot as snapshots
from stream.registry.gate import Recent, recent_of, verdict
from stream.registry.snapshot import Snapshot
from stream.spec import Spec

HEARTBEAT_S = 1.0


def snapshot_folder(settings: Settings, spec: Spec) -> Path:
    """Where a pipeline's snapshots are."""
    return settings.data / spec.name / "snapshots"


@dataclass(slots=True)
class Through:
    """The last row learned."""

    label_offset: int = -1
    label_time_ms: int = 0
    label_published_ms: int = 0


class LearnStep:
    """All arms, their snapshots, and what is told of them."""

    def __init__(self, spec: Spec, settings: Settings, clock: Clock) -> None:
        self.spec, self._clock = spec, clock
        self._folder = snapshot_folder(settings, spec)
        self._arms, self._layout = Arms(spec), layout_of(spec)
        self._through = Through()
        self._generation = 0
        self._skipped: list[int] = []
        self._outbox: list[tuple[Out, dict[str, Any]]] = []  # windows that no commit has carried yet
        self._since: list[tuple[Training, int]] = []  # learned since the last snapshot
        self._kept: dict[str, State] = {}  # states at the last snapshot
        self._outs: list[Out] = []
        self.next_offset = 0
        self._written_s = self._told_s = clock.monotonic_s()
        self._last: Snapshot | None = None
        self._as_of_ms = 0
        self._refused = ""  # why the newest snapshot may not serve
        self._good: dict[str, Any] | None = None  # the last that may: generation, uri, sha256, rows, recent
        self._history_s = -math.inf
        self.spans: Spans | None = None

    # -- start -----------------------------------------------------------------------------------------

    def begin(self) -> list[str]:
        """Load the newest snapshot; returns what a person should know about damaged ones."""
        found = snapshots.load_newest(self._folder, self.spec.hash)
        if found is None:
            self._kept = self._arms.states()
            self._history_s = self._clock.monotonic_s()  # the first ones know too little to go back to
            return []
        self._arms.restore(found.states)
        meta = found.meta
        self._kept, self._last = found.states, found
        self._generation, self.next_offset = meta["generation"], meta["training_offset"]
        self._through = Through(**meta["through"])
        self._skipped = meta["skipped"]
        self._as_of_ms = meta["as_of_ms"]
        self._refused = meta.get("refused", "")
        self._good = meta.get("good") if self._refused else _good(found)
        self._outbox = [(self._metric(told), told) for told in meta["outbox"]]
        self._outs += [out for out, _ in self._outbox]
        self._outs.append(self._model(found))
        return found.passed_over

    @property
    def rows(self) -> int:
        """Rows learned since the beginning."""
        return self._arms.rows

    def state_hash(self) -> str:
        """sha256 of the canonical state of all arms."""
        return digest(self._arms.states())

    # -- work ------------------------------------------------------------------------------------------

    def learn(self, rows: Training, offset: int, source: Any = None) -> None:
        """One block of the training log, at `offset`; blocks come in order."""
        if rows.block.spec_hash != self.spec.hash:
            raise HeadwaterError(
                f"{self.spec.topic('training')} offset {offset}: block of spec {rows.block.spec_hash}; this one is "
                f"{self.spec.hash}; a changed spec needs a new pipeline name"
            )
        problem = block_problem(rows.block, self._layout)
        if problem is not None:
            self._bury(offset, "block.undecodable", problem)
        elif offset not in self._skipped:
            rows = self._only_right(rows, offset)
            if len(rows):
                crash_point("learn.mid_update")
                self._learn(rows, offset)
        self.next_offset = offset + 1

    def _only_right(self, rows: Training, offset: int) -> Training:
        """The rows that a model may be given; each of the others is told of."""
        infinities, labels = infinite(rows.block), outside(rows.label, self.spec.task, len(self.spec.classes))
        for row in np.flatnonzero(infinities | labels).tolist():
            code, why = "value.not_finite", "an infinite number"
            if labels[row]:
                code = "label.outside_task"
                why = f"label: found {rows.label[row]:g}; {allowed(self.spec.task, self.spec.classes)}"
            event_id = rows.block.ids[row]
            self._bury(offset, code, f"row {row} of {len(rows)}, id {event_id}: {why}"[:DETAIL_CHARS_MAX], event_id)
        right = np.flatnonzero(~(infinities | labels))
        if len(right) == len(rows):
            return rows
        return rows.at(right, take(rows.block, right))

    def refuse(self, letter: Out, offset: int) -> None:
        """A record of the training log that is no block of ours: told, passed over."""
        self._outs.append(letter)
        self.next_offset = offset + 1

    def _learn(self, rows: Training, offset: int) -> None:
        windows = self._arms.learn(rows)
        crash_point("learn.after_update")
        if not self._arms.finite():
            self._undo(rows, offset)
            return
        self._since.append((rows, offset))
        self._through = Through(
            int(rows.label_offset[-1]), int(rows.label_time_ms[-1]), int(rows.label_published_ms[-1])
        )
        for arm, window in windows:
            self._tell(arm, window)

    def _undo(self, rows: Training, offset: int) -> None:
        """A model is no longer finite: back to the last snapshot, over the good blocks again, this one to `dead`."""
        self._skipped.append(offset)
        self._arms.restore(self._kept)
        for good, _ in self._since:
            self._arms.learn(good)
        self._bury(offset, "block.not_finite", f"{len(rows)} rows; the models are as before them")

    def _bury(self, offset: int, code: str, detail: str, event_id: str = "") -> None:
        """Tell in `dead` of what was not learned; the training log keeps it."""
        value = {
            "topic": self.spec.topic("training"), "partition": 0, "offset": offset,
            "timestamp_ms": self._clock.wall_ms(), "key": None, "value": b"", "step": "learn",
            "code": code, "detail": detail, "spec_hash": self.spec.hash, "event_id": event_id,
        }  # fmt: skip
        self._outs.append(Out(self.spec.topic("dead"), schemas.codec("dead").encode(value)))

    def _tell(self, arm: str, window: Window) -> None:
        place = {"arm": arm, "window": window.number, "rows": window.rows, "time_ms": window.time_ms}
        told = {**place, "values": window.values}
        out = self._metric(told)
        self._outbox.append((out, told))
        self._outs.append(out)

    # -- what comes out --------------------------------------------------------------------------------

    def maybe_snapshot(self, caught_up: bool, force: bool = False) -> None:
        """Write a snapshot when one is due and something was learned; tell that we are alive when not."""
        now = self._clock.monotonic_s()
        self._as_of_ms = self._clock.wall_ms() if caught_up else max(self._as_of_ms, self._through.label_published_ms)
        due = now - self._written_s >= self.spec.snapshot.every / 1000
        if self._since and (due or force):
            self._write()
            self._written_s = self._told_s = now
        elif self._last and caught_up and not self._since and now - self._told_s >= HEARTBEAT_S:
            self._told_s = now
            self._outs.append(self._model(self._last))

    def _write(self) -> None:
        begun_ns = time.time_ns()
        self._generation += 1
        states = self._arms.states()
        recent = self._recent()
        self._refused = self._judged(recent)
        meta = {
            "generation": self._generation,
            "spec_hash": self.spec.hash,
            "pipeline": self.spec.name,
            "training_offset": self.next_offset,
            "rows": self._arms.rows,
            "state_hash": digest(states),
            "through": {n: getattr(self._through, n) for n in Through.__slots__},
            "skipped": self._skipped,
            "outbox": [told for _, told in self._outbox],
            "as_of_ms": self._as_of_ms,
            "values": self._values(),
            "recent": {arm: r.to_json() for arm, r in recent.items()},
            "refused": self._refused,
            "good": self._good,
        }
        kept = self.spec.snapshot
        needed = () if self._good is None else (self._good["generation"],)
        self._last = snapshots.write(
            self._folder, states, meta, kept.keep, lambda s: crash_point(f"snapshot.{s}"), kept.history, needed
        )
        if not self._refused:
            self._good = _good(self._last)
            self._keep_for_later(self._last.path)
        self._kept, self._since = states, []
        self._outs.append(self._model(self._last))
        if self.spans is not None:
            place: dict[str, int] = {"generation": self._generation, "training_offset": self.next_offset}
            self.spans.block("snapshot", begun_ns, (), {**place, "refused": self._refused})

    def _recent(self) -> dict[str, Recent]:
        """Figures of the last rows, of arms that serve."""
        arms = {arm: self._arms.metrics[arm].recent() for arm, a in self.spec.arms.items() if a.weight > 0}
        return {arm: recent_of(self.spec.task, *rows) for arm, rows in arms.items()}

    def _judged(self, recent: dict[str, Recent]) -> str:
        """Why the models as they are may not serve; '' if they may."""
        good = self._good or {"recent": {}, "rows": self._arms.rows}
        then = {arm: Recent.of(r) for arm, r in good["recent"].items()}
        return verdict(self.spec.snapshot.gate, recent, then, self._arms.rows - good["rows"], self._refused)

    def _keep_for_later(self, path: Path) -> None:
        """Now and then a good one is marked, so that there is something to roll back to."""
        now = self._clock.monotonic_s()
        if self.spec.snapshot.history and now - self._history_s >= self.spec.snapshot.history_every / 1000:
            self._history_s = now
            snapshots.mark(path, snapshots.HISTORY)

    def _values(self) -> dict[str, float]:
        totals = {arm: m.totals() for arm, m in self._arms.metrics.items()}
        if self._arms.policy.name != "shared":
            totals = {arm: {**t, "rows_learned": self._arms.learned[arm]} for arm, t in totals.items()}
        return {f"{arm}.{k}": v for arm, t in totals.items() for k, v in t.items() if math.isfinite(v)}

    def _metric(self, told: dict[str, Any]) -> Out:
        place = (told["arm"], told["window"], told["rows"], told["time_ms"])
        return metric_out(self.spec, "prequential", *place, told["values"])

    def _model(self, snapshot: Snapshot) -> Out:
        meta = snapshot.meta
        record = {
            **{k: meta[k] for k in ("pipeline", "generation", "state_hash", "spec_hash", "training_offset", "rows")},
            **meta["through"],
            "uri": snapshot.path.resolve().as_uri(),
            "sha256": snapshot.sha256,
            "as_of_ms": max(self._as_of_ms, meta["as_of_ms"]),
            "arms": list(self.spec.arms),
            "values": meta["values"],
            "refused": meta.get("refused", ""),
            "pin_generation": snapshots.pinned(self._folder),
        }
        if record["refused"] and self._good is not None:
            record |= {f"good_{n}": self._good[n] for n in ("generation", "uri", "sha256")}
        return Out(self.spec.topic("models"), schemas.codec("model").encode(record), self.spec.name.encode(), 0)

    def take_outs(self) -> list[Out]:
        """Records to send, once."""
        outs, self._outs = self._outs, []
        return outs

    def written(self, outs: Sequence[Out]) -> None:
        """These very records are committed: snapshots need not carry their windows any more."""
        gone = set(map(id, outs))
        self._outbox = [(out, told) for out, told in self._outbox if id(out) not in gone]


def _good(snapshot: Snapshot) -> dict[str, Any]:
    """What is remembered of one that may serve."""
    meta = snapshot.meta
    place = {"uri": snapshot.path.resolve().as_uri(), "sha256": snapshot.sha256}
    return {"generation": meta["generation"], "rows": meta["rows"], "recent": meta.get("recent", {}), **place}
