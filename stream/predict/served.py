"""The model that answers: all arms at one moment of the training log, never changed once made.

Invariant: a `Served` has scored a row with every arm before anyone sees it. So a damaged model never takes
the place of a good one, and no caller waits for a compiler.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import Block
from stream.encode.encoder import layout_of
from stream.errors import SnapshotError
from stream.learn.arms import Models
from stream.learn.learner import State
from stream.learn.models import maker
from stream.learn.view import view_of
from stream.registry.snapshot import Snapshot
from stream.spec import Spec

MODEL = "model."
"""Arrays of an arm's state that belong to its model begin so; no other is needed to serve."""


@dataclass(frozen=True, slots=True)
class Served:
    """Arms and where they come from. training_offset is the next one, label_offset the last; times in ms."""

    arms: Models
    generation: int
    sha256: str
    state_hash: str
    training_offset: int
    rows: int
    label_offset: int
    label_time_ms: int
    label_published_ms: int
    as_of_ms: int


class Loader:
    """Makes `Served`s of one spec's snapshots. What is the same for all of them is made once."""

    def __init__(self, spec: Spec, pause: Callable[[], None] = lambda: None) -> None:
        self._spec, self._pause = spec, pause
        self._views = {name: view_of(spec, name) for name in spec.arms}
        self._make = {name: maker(spec, name, view.layout) for name, view in self._views.items()}
        layout, zeros = layout_of(spec), np.zeros(1, np.int64)
        self._empty = Block(  # an event without a value
            spec.hash, [""], zeros, zeros.astype(np.int32), zeros,
            np.zeros((1, len(layout.numeric))), np.zeros((1, len(layout.categories)), np.uint64),
            np.zeros(0, np.uint64), zeros,
        )  # fmt: skip

    def served(self, snapshot: Snapshot, as_of_ms: int | None = None) -> Served:
        """The model in a verified snapshot; `as_of_ms` where more is known than the snapshot itself says.

        Raises SnapshotError when it can't be this spec's model, or does not score.
        """
        meta: Mapping[str, Any] = snapshot.meta
        where = f"{snapshot.path}"
        if set(snapshot.states) != set(self._spec.arms):
            wanted = sorted(self._spec.arms)
            raise SnapshotError(f"{where}: holds arms {sorted(snapshot.states)}; the spec has {wanted}")
        try:
            arms = Models(self._views, {}, meta["rows"])
            for name, make in self._make.items():
                self._pause()
                arms.models[name] = make()
                self._pause()
                arms.models[name].restore(_model_of(snapshot.states[name]))  # of the metrics nothing is served
            self._pause()
            through = meta["through"]
            served = Served(
                arms,
                meta["generation"],
                snapshot.sha256,
                meta["state_hash"],
                meta["training_offset"],
                meta["rows"],
                through["label_offset"],
                through["label_time_ms"],
                through["label_published_ms"],
                max(meta["as_of_ms"], as_of_ms or 0),
            )
            self._try(arms)
        except (KeyError, ValueError, TypeError, IndexError) as e:
            raise SnapshotError(f"{where}: {type(e).__name__} {e}") from e
        return served

    def _try(self, arms: Models) -> None:
        """Score one row of zeros with every arm."""
        for name, model in arms.models.items():
            self._pause()
            scores = np.atleast_1d(arms.score(name, self._empty)).ravel().tolist()
            self._pause()
            if not all(math.isfinite(s) for s in scores) or not model.finite():
                raise SnapshotError(f"arm {name} gives {scores} for an empty event; finite numbers are wanted")


def served_of(spec: Spec, snapshot: Snapshot, as_of_ms: int | None = None) -> Served:
    """The model in one verified snapshot: see `Loader.served`."""
    return Loader(spec).served(snapshot, as_of_ms)


def _model_of(state: State) -> State:
    """The model in an arm's state."""
    arrays = {name.removeprefix(MODEL): a for name, a in state.arrays.items() if name.startswith(MODEL)}
    return State(arrays, state.meta["model"])
