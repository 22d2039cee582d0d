"""The compiled forests behind the Learner seam. Tokens of texts are not seen by them."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from stream.block import F64, Block, Layout
from stream.learn.forest import AdaptiveForest, AdwinBagging, Forest, RegressorForest
from stream.learn.forest.params import MODELS_MAX, RATE_MAX
from stream.learn.learner import State
from stream.learn.standard import Scaling, Standard


class _Trees(BaseModel):
    """What all forests have; bounds are for the whole forest (see its params)."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    n_models: int = Field(default=10, ge=1, le=MODELS_MAX)
    seed: int = Field(default=0, ge=0, lt=2**63)
    grace_period: int = Field(default=200, ge=1)
    max_depth: int | None = Field(default=None, ge=1, le=980)
    delta: float = Field(default=1e-7, gt=0, lt=1)
    tau: float = Field(default=0.05, ge=0, le=1)
    binary_split: bool = False
    max_nodes: int = Field(default=1_048_576, ge=2 * MODELS_MAX)
    max_observer_bytes: int = Field(default=1024 * 2**20, ge=2**20)
    n_jobs: int | None = Field(default=None, ge=1)


class BaggingParams(_Trees):
    """Hyper-parameters, with River's names and defaults."""

    split_criterion: Literal["info_gain", "gini", "hellinger"] = "info_gain"
    leaf_prediction: Literal["mc", "nb", "nba"] = "nba"
    nb_threshold: int = Field(default=0, ge=0)


class AdwinBaggingParams(BaggingParams):
    """As bagging's, and what its detectors are given."""

    adwin_delta: float = Field(default=0.002, gt=0, lt=1)


class _Adaptive(_Trees):
    """What adaptive forests have besides; a detector's delta of null turns it off."""

    grace_period: int = Field(default=50, ge=1)
    delta: float = Field(default=0.01, gt=0, lt=1)
    max_features: Literal["sqrt", "log2"] | Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, le=1)] | None = (
        "sqrt"
    )
    lambda_value: float = Field(default=6, gt=0, le=RATE_MAX)
    disable_weighted_vote: bool = False
    warning_delta: float | None = Field(default=0.01, gt=0, lt=1)
    drift_delta: float | None = Field(default=0.001, gt=0, lt=1)


class ForestParams(_Adaptive, BaggingParams):
    """As bagging's, and what makes it adaptive."""


class RegressorForestParams(_Adaptive):
    """As the classifier's; weights count where the aggregation is "mean" alone."""

    aggregation_method: Literal["mean", "median"] = "median"
    disable_weighted_vote: bool = True
    leaf_prediction: Literal["mean", "model", "adaptive"] = "adaptive"
    model_selector_decay: float = Field(default=0.95, ge=0, lt=1)
    min_samples_split: int = Field(default=5, ge=0)
    digits: int | None = Field(default=1, ge=0, le=15)
    leaf_lr: float = Field(default=0.01, gt=0, le=1)
    scale: Literal["none", "standard"] = "none"


class ForestArm:
    """A classifying forest: the adaptive one, ADWIN bagging or online bagging, as the parameters are."""

    def __init__(self, layout: Layout, classes: int, task: str, params: BaggingParams) -> None:
        self._task = task
        kinds: dict[type[BaggingParams], type[Forest]] = {
            ForestParams: AdaptiveForest, AdwinBaggingParams: AdwinBagging, BaggingParams: Forest
        }  # fmt: skip
        made = kinds[type(params)]
        given: dict[str, Any] = params.model_dump()
        self._forest: Forest = made(len(layout.numeric), len(layout.categories), classes, **given)
        self._jobs = params.n_jobs

    def _scores(self, probabilities: F64) -> F64:
        return np.ascontiguousarray(probabilities[:, 1]) if self._task == "binary" else probabilities

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        return self._scores(self._forest.score_learn(block.numeric, block.categories, label.astype(np.int64)))

    def score(self, block: Block) -> F64:
        """See Learner."""
        return self._scores(self._forest.score(block.numeric, block.categories))

    def state(self) -> State:
        """See Learner."""
        return State(self._forest.arrays(), {"kind": "forest", "version": 1, "forest": self._forest.meta()})

    def restore(self, state: State) -> None:
        """See Learner."""
        self._forest = type(self._forest).restore(state.meta["forest"], state.arrays, self._jobs)

    def finite(self) -> bool:
        """See Learner."""
        return self._forest.finite()

    def trees(self) -> list[dict[str, Any]]:
        """Copies of the arrays of the trees that vote."""
        return [tree.arrays() for tree in self._forest.trees()]


class RegressorForestArm(Scaling, ForestArm):
    """The adaptive random forest for numbers, which may be standardised."""

    _forest: RegressorForest

    def __init__(self, layout: Layout, params: RegressorForestParams) -> None:
        given = params.model_dump(exclude={"scale"})
        self._forest = RegressorForest(len(layout.numeric), len(layout.categories), **given)
        self._jobs = params.n_jobs
        self._standard = Standard(len(layout.numeric)) if params.scale == "standard" else None

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        if self._standard is None:
            return self._forest.score_learn(block.numeric, block.categories, label)
        before, after = self._standard.take(block.numeric)
        return self._forest.score_learn(after, block.categories, label, seen=before)

    def score(self, block: Block) -> F64:
        """See Learner."""
        numeric = block.numeric if self._standard is None else self._standard.scaled(block.numeric)
        return self._forest.score(numeric, block.categories)

    def trees(self) -> list[dict[str, Any]]:
        """Copies of the arrays of the trees, thresholds in the numbers' own units, as they are scaled now."""
        found = super().trees()
        for arrays in found:
            if self._standard is not None:
                self._standard.unscale(arrays)
        return found
