"""The model that answers: all arms at one moment of the training log, never changed once made.

Invariant: a `Served` has scored a row with every arm before anyone sees it. So a damaged model never takes
the place of a good one, and no caller waits for a compiler.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import Block, Layout
from stream.encode.encoder import layout_of
from stream.errors import SnapshotError
from stream.learn.arms import Arms
from stream.learn.learner import State
from stream.registry.snapshot import Snapshot
from stream.spec import Spec

MODEL = "model."
"""Arrays of an arm's state that belong to its model begin so; no other is needed to serve."""


@dataclass(frozen=True, slots=True)
class Served:
    """Arms and where they come from. training_offset is the next one, label_offset the last; times in ms."""

    arms: Arms
    generation: int
    sha256: str
    state_hash: str
    training_offset: int
    rows: int
    label_offset: int
    label_time_ms: int
    label_published_ms: int
    as_of_ms: int


def served_of(spec: Spec, snapshot: Snapshot, as_of_ms: int | None = None) -> Served:
    """The model in a verified snapshot; `as_of_ms` where more is known than the snapshot itself says.

    Raises SnapshotError when it can't be this spec's model, or does not score.
    """
    meta: Mapping[str, Any] = snapshot.meta
    where = f"{snapshot.path}"
    if set(snapshot.states) != set(spec.arms):
        raise SnapshotError(f"{where}: holds arms {sorted(snapshot.states)}; the spec has {sorted(spec.arms)}")
    arms = Arms(spec)
    try:
        for name, state in snapshot.states.items():  # of the metrics nothing is served
            arms.models[name].restore(_model_of(state))
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
        _try(arms, layout_of(spec), meta["spec_hash"])
    except (KeyError, ValueError, TypeError, IndexError) as e:
        raise SnapshotError(f"{where}: {type(e).__name__} {e}") from e
    return served


def _model_of(state: State) -> State:
    """The model in an arm's state."""
    arrays = {name.removeprefix(MODEL): a for name, a in state.arrays.items() if name.startswith(MODEL)}
    return State(arrays, state.meta["model"])


def _try(arms: Arms, layout: Layout, spec_hash: str) -> None:
    """Score one row of zeros with every arm."""
    zeros = np.zeros(1, np.int64)
    block = Block(
        spec_hash, [""], zeros, zeros.astype(np.int32), zeros,
        np.zeros((1, len(layout.numeric))), np.zeros((1, len(layout.categories)), np.uint64),
        np.zeros(0, np.uint64), zeros,
    )  # fmt: skip
    for arm in arms.models:
        scores = np.atleast_1d(arms.score(arm, block)).ravel().tolist()
        if not all(math.isfinite(s) for s in scores) or not arms.models[arm].finite():
            raise SnapshotError(f"arm {arm} gives {scores} for an empty event; finite numbers are wanted")
