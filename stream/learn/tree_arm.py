"""The compiled trees behind the Learner seam. Tokens of texts are not seen by them."""

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stream.block import F64, Block, Layout
from stream.learn.adaptive import AdaptiveTree
from stream.learn.adaptive_regress import AdaptiveRegressor
from stream.learn.learner import State
from stream.learn.regress import HoeffdingRegressor
from stream.learn.regress.seen import score_learn_seen
from stream.learn.standard import Scaling, Standard
from stream.learn.tree import HoeffdingTree


class _Growth(BaseModel):
    """Hyper-parameters of every tree, with River's names and defaults, and two hard bounds (null: the tree's own)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    grace_period: int = Field(default=200, ge=1)
    max_depth: int | None = Field(default=None, ge=1, le=1000)
    delta: float = Field(default=1e-7, gt=0, lt=1)
    tau: float = Field(default=0.05, ge=0, le=1)
    max_nodes: int | None = Field(default=None, ge=1, le=2**24)
    max_observer_bytes: int | None = Field(default=None, ge=2**20)

    def of_tree(self) -> dict[str, Any]:
        """As the tree itself takes them."""
        bounds = ("max_nodes", "max_observer_bytes")
        return {name: value for name, value in self.model_dump().items() if value is not None or name not in bounds}


class TreeParams(_Growth):
    """Hyper-parameters, with River's names and defaults."""

    split_criterion: Literal["info_gain", "gini", "hellinger"] = "info_gain"
    leaf_prediction: str = Field(default="nba", pattern="^(mc|nb|nba)$")
    nb_threshold: int = Field(default=0, ge=0)
    binary_split: bool = False
    n_splits: int = Field(default=10, ge=1, le=1000)
    min_branch_fraction: float = Field(default=0.01, ge=0, le=0.5)
    max_share_to_split: float = Field(default=0.99, gt=0, le=1)
    merit_preprune: bool = True


class _Adapts(BaseModel):
    """What makes a tree adaptive, with River's names and defaults (`adwin_delta`: of its default drift detector).

    `grow_alternates` false lets an alternate tree take over with its first split, as River's does.
    """

    bootstrap_sampling: bool = True
    drift_window_threshold: int = Field(default=300, ge=0)
    switch_significance: float = Field(default=0.05, gt=0, lt=1)
    adwin_delta: float = Field(default=0.002, gt=0, lt=1)
    grow_alternates: bool = True
    seed: int = Field(default=0, ge=0, lt=2**63)


class AdaptiveParams(_Adapts, TreeParams):
    """Hyper-parameters, with River's names and defaults."""


class RegressorParams(_Growth):
    """Hyper-parameters, with River's names and defaults.

    `digits` is the rounding of River's default splitter (None: none); `leaf_lr` is for the leaves' linear models.
    """

    scale: Literal["none", "standard"] = "none"

    leaf_prediction: str = Field(default="adaptive", pattern="^(mean|model|adaptive)$")
    model_selector_decay: float = Field(default=0.95, ge=0, lt=1)
    min_samples_split: int = Field(default=5, ge=0)
    binary_split: bool = False
    digits: int | None = Field(default=1, ge=0, le=15)
    leaf_lr: float = Field(default=0.01, gt=0, le=1)


class AdaptiveRegressorParams(_Adapts, RegressorParams):
    """Hyper-parameters, with River's names and defaults."""


class _Arm:
    """What the arms of all trees have in common: `_tree`, and how its state is kept."""

    kind: str = "tree"
    _tree: Any

    def state(self) -> State:
        """See Learner."""
        return State(self._tree.arrays(), {"kind": self.kind, "version": 1, "tree": self._tree.meta()})

    def restore(self, state: State) -> None:
        """See Learner."""
        self._tree = type(self._tree).restore(state.meta["tree"], state.arrays)

    def finite(self) -> bool:
        """See Learner."""
        return all(bool(np.isfinite(a).all()) for a in self._tree.arrays().values() if a.dtype.kind == "f")


class TreeArm(_Arm):
    """A Hoeffding tree classifier; with AdaptiveParams, the adaptive one."""

    def __init__(self, layout: Layout, classes: int, task: str, params: TreeParams) -> None:
        self._task = task
        made = HoeffdingTree
        if isinstance(params, AdaptiveParams):
            self.kind, made = "tree.adaptive", AdaptiveTree
        self._tree = made(len(layout.numeric), len(layout.categories), classes, **params.of_tree())

    def _scores(self, probabilities: F64) -> F64:
        return np.ascontiguousarray(probabilities[:, 1]) if self._task == "binary" else probabilities

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        target = label.astype(np.int64)
        return self._scores(self._tree.score_learn(block.numeric, block.categories, target))

    def score(self, block: Block) -> F64:
        """See Learner."""
        return self._scores(self._tree.score(block.numeric, block.categories))


class RegressorArm(Scaling, _Arm):
    """A Hoeffding tree regressor; with AdaptiveRegressorParams, the adaptive one. Its numbers may be standardised."""

    kind = "tree.regressor"

    def __init__(self, layout: Layout, params: RegressorParams) -> None:
        made = HoeffdingRegressor
        if isinstance(params, AdaptiveRegressorParams):
            self.kind, made = "tree.adaptive_regressor", AdaptiveRegressor
        given = params.of_tree()
        del given["scale"]
        self._tree = made(len(layout.numeric), len(layout.categories), **given)
        self._standard = Standard(len(layout.numeric)) if params.scale == "standard" else None

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        if self._standard is None:
            return np.asarray(self._tree.score_learn(block.numeric, block.categories, label))
        before, after = self._standard.take(block.numeric)
        if isinstance(self._tree, AdaptiveRegressor):
            return self._tree.score_learn(after, block.categories, label, seen=before)
        return score_learn_seen(self._tree, before, after, block.categories, label)

    def score(self, block: Block) -> F64:
        """See Learner."""
        numeric = block.numeric if self._standard is None else self._standard.scaled(block.numeric)
        return np.asarray(self._tree.score(numeric, block.categories))

    def arrays(self) -> dict[str, Any]:
        """A copy of the tree's arrays, its thresholds in the numbers' own units, as they are scaled now."""
        found: dict[str, Any] = self._tree.arrays()
        if self._standard is not None:
            self._standard.unscale(found)
        return found
