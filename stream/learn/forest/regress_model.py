"""The adaptive random forest for numbers: River 0.26's `forest.ARFRegressor`; see `stream.learn.forest.model`."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from stream.learn.forest.layout import BACK, DONE, DRIFTED, FRONT, ROOM, Habits, new_member, new_progress
from stream.learn.forest.member import START_BYTES, Grower
from stream.learn.forest.model import Forest
from stream.learn.forest.params import AdaptiveParams
from stream.learn.forest.regress_kernel import SQUARED, Record, grow_block
from stream.learn.regress import HoeffdingRegressor, layout
from stream.learn.regress.kernel import score_block
from stream.learn.regress.model import SIZE_MAX, WEIGHT_MIN
from stream.learn.regress.shared import index_state
from stream.learn.tree.layout import (
    BYTES,
    ENTRIES,
    LIVE_SLOTS,
    NODES,
    SLOT,
    SLOTS,
    SUBSET_SEED,
    Ids,
    Reals,
    refill,
    wipe,
)
from stream.learn.tree.model import read_only, weights_of


@dataclass(frozen=True)
class RegressorParams(AdaptiveParams):
    """As the classifier's; `digits` and `leaf_lr` as for `HoeffdingRegressor`. Weights count with "mean" alone."""

    aggregation_method: Literal["mean", "median"] = "median"
    disable_weighted_vote: bool = True
    leaf_prediction: Any = "adaptive"
    model_selector_decay: float = 0.95
    min_samples_split: float = 5
    digits: int | None = 1
    leaf_lr: float = 0.01

    def _valid(self) -> dict[str, bool]:
        named = self.aggregation_method in ("mean", "median")
        return super()._valid() | {"aggregation_method is 'mean' or 'median'": named}

    def regressor(self) -> dict[str, Any]:
        """The parameters of one tree."""
        names = (
            "grace_period", "max_depth", "delta", "tau", "leaf_prediction", "model_selector_decay",
            "min_samples_split", "binary_split", "merit_preprune", "digits", "leaf_lr",
        )  # fmt: skip
        bounds = {name: getattr(self, name) // self.trees for name in ("max_nodes", "max_observer_bytes")}
        return {name: getattr(self, name) for name in names} | bounds


class SubsetRegressor(HoeffdingRegressor):
    """A tree of a forest, which teaches it: by itself it only scores and tells of itself."""

    def __init__(self, numeric: int, categories: int, max_features: int, seed: int, **params: Any) -> None:
        self._subset = max_features, seed
        super().__init__(numeric, categories, **params)

    def _start(self) -> None:
        width = layout.slot_bytes(*self.shape, self._subset[0])
        self._rules = self._rules._replace(max_features=self._subset[0], slot_bytes=width)
        self._state = self._allocate(64, max(4, min(32, START_BYTES // width)), 256)
        self._plant()

    def _plant(self) -> None:
        counters = self._state.counters
        self._state.node_int[0, SLOT] = 1
        counters[[NODES, SLOTS, LIVE_SLOTS, BYTES]] = 1, 2, 1, self._rules.slot_bytes
        counters[SUBSET_SEED] = self._subset[1]

    def _fill(self, arrays: dict[str, Any]) -> None:
        nodes, slots, entries = (int(arrays["counters"][index]) for index in (NODES, SLOTS, ENTRIES))
        self._state = self._allocate(nodes + 16, slots + 4, entries + 64)
        held: Any = self._state
        refill(held, arrays)
        index_state(self._state)

    def forget(self) -> None:
        """Become a new tree, in the room of the old one."""
        held: Any = self._state
        wipe(held)
        self._plant()


class RegressGrower(Grower):
    """A regression tree, its background tree, and their record."""

    def __init__(self, shape: tuple[int, int], params: dict[str, Any], subset: tuple[int, int], habits: Habits) -> None:
        self._habits = habits
        trees: Any = [SubsetRegressor(*shape, *subset, **params) for _ in range(2)]
        self.trees = trees
        new = new_member(1)
        record: Any = Record(new.counts, np.zeros(6), new.window, new.buckets)
        self.record = record

    def learn(
        self,
        numeric: Reals,
        categories: Ids,
        target: Any,
        weight: Reals,
        votes: Reals,
        weights: Reals,
        seen: Reals | None = None,
    ) -> bool:
        """Predict each row (by `seen`, if given) into votes [n], with the error until then in weights [n]; then learn
        it by its weight."""
        progress, shown = new_progress(), numeric if seen is None else seen
        happened = -1
        while happened != DONE:
            front: Any = self.trees[FRONT]
            back: Any = self.trees[BACK]
            record: Any = self.record
            happened = grow_block(
                front._state, back._state, front._rules, front._parts, self._habits, record, progress,
                shown, numeric, categories, target, weight, votes, weights, seen is not None,
            )  # fmt: skip
            if happened == ROOM:
                self._make_room(progress)
            elif happened != DONE:
                self._replace(happened == DRIFTED)
        return False

    def _scratch(self, branches: int) -> Any:
        return layout.scratch(branches)

    def _met(self, drifted: bool) -> None:
        """A regression tree meets no classes."""


class RegressorForest(Forest):
    """`numeric` real attributes, then `categories` nominal ones. Predictions are float64[n]."""

    FORMAT = "regressor-forest"
    PARAMS = RegressorParams
    params: RegressorParams

    def __init__(self, numeric: int, categories: int, classes: int = 1, **params: Any) -> None:
        super().__init__(numeric, categories, classes, **params)

    def _grow_all(self, seeds: list[int], habits: Habits) -> list[Grower]:
        shape = self.shape[:2]
        width = self.params.features(sum(shape))
        return [RegressGrower(shape, self.params.regressor(), (width, seed), habits) for seed in seeds]

    def score_learn(
        self,
        numeric: Reals,
        categories: Ids,
        target: Any,
        weight: Reals | None = None,
        seen: Reals | None = None,
    ) -> Reals:
        """For each row in order: its prediction, by `seen` if that is given, then learn it by `numeric`. Returns [n].

        numeric [n, f], categories [n, c], target [n] within +-1e30, weight [n] 0 (the row is scored only) or
        1e-30..1e30. A row is 0 while no tree has seen anything. ValueError on bad input, before anything is learned.
        """
        numeric, categories = self._inputs(numeric, categories)
        shown = None if seen is None else self._inputs(seen, categories)[0]
        target = read_only(target, np.float64, (len(numeric),), "target")
        weight = weights_of(weight, len(target), WEIGHT_MIN, SIZE_MAX)
        if not (np.abs(target) <= SIZE_MAX).all():
            raise ValueError(f"target: every one must be within +-{SIZE_MAX}")

        def learn(tree: int, rows: slice, votes: Reals, weights: Reals) -> None:
            grower: Any = self.growers[tree]
            by = None if shown is None else shown[rows]
            grower.learn(numeric[rows], categories[rows], target[rows], weight[rows], votes[:, 0], weights, by)

        return self._vote(len(target), learn)[:, 0].copy()

    def score(self, numeric: Reals, categories: Ids) -> Reals:
        """Predictions [n]; never learns. Safe in many threads while nothing learns here."""
        numeric, categories = self._inputs(numeric, categories)

        def score(tree: int, rows: slice, votes: Reals, weights: Reals) -> None:
            grower: Any = self.growers[tree]
            front = grower.trees[FRONT]
            score_block(front._state, front._rules, numeric[rows], categories[rows], votes[:, 0])
            weights[:] = grower.record.errors[SQUARED]

        return self._vote(len(numeric), score)[:, 0].copy()

    def _combine(self, votes: Reals, weights: Reals, out: Reals) -> None:
        found = votes[:, :, 0]
        if self.params.aggregation_method == "median":
            out[:, 0] = np.median(found, axis=0)
            return
        shares = np.ones_like(weights)
        if not self.params.disable_weighted_vote:
            shares = weights.sum(axis=0) - weights
            shares[:, shares.sum(axis=0) <= 0.0] = 1.0
        out[:, 0] = (found * (shares / shares.sum(axis=0))).sum(axis=0)
