"""Parameters of the classifying forests, under River's names and defaults."""

import math
from dataclasses import dataclass
from typing import Literal

from stream.learn.forest.layout import Habits, poisson_chances
from stream.learn.forest.member import SubsetParams

MODELS_MAX = 1000
RATE_MAX = 100.0


@dataclass(frozen=True)
class BaggingParams:
    """Online bagging of Hoeffding trees; bounds are for the whole forest, shared out evenly over its trees.

    seed: of the draws, 0..2**63-1. n_jobs: threads (None: as many as cores); it changes no result.
    """

    n_models: int = 10
    seed: int = 0
    grace_period: float = 200
    max_depth: int | None = None
    split_criterion: Literal["info_gain", "gini", "hellinger"] = "info_gain"
    delta: float = 1e-7
    tau: float = 0.05
    leaf_prediction: Literal["mc", "nb", "nba"] = "nba"
    nb_threshold: float = 0
    binary_split: bool = False
    min_branch_fraction: float = 0.01
    max_share_to_split: float = 0.99
    merit_preprune: bool = True
    max_nodes: int = 1_048_576
    max_observer_bytes: int = 1024 * 2**20
    n_jobs: int | None = None

    def __post_init__(self) -> None:
        wrong = [rule for rule, holds in self._valid().items() if not holds]
        if wrong:
            raise ValueError(f"forest parameters: {'; '.join(wrong)} does not hold in {self}")

    def _valid(self) -> dict[str, bool]:
        return {
            f"1 <= n_models <= {MODELS_MAX}": 1 <= self.n_models <= MODELS_MAX,
            "0 <= seed < 2**63": 0 <= self.seed < 2**63,
            "n_jobs >= 1": self.n_jobs is None or self.n_jobs >= 1,
            f"max_nodes >= {self.trees}, one a tree": self.max_nodes >= self.trees,
        }

    @property
    def trees(self) -> int:
        """How many trees the forest may hold at once, background trees included."""
        return self.n_models

    def habits(self) -> Habits:
        """How the forest treats its trees."""
        return Habits(poisson_chances(1.0), repeats=True, warning_delta=0.0, drift_delta=0.0)

    def features(self, attributes: int) -> int:
        """How many attributes a leaf draws of so many; 0: it observes all."""
        _ = attributes
        return 0

    def tree(self, attributes: int, seed: int) -> SubsetParams:
        """The parameters of one tree."""
        return SubsetParams(
            grace_period=self.grace_period,
            max_depth=self.max_depth,
            split_criterion=self.split_criterion,
            delta=self.delta,
            tau=self.tau,
            leaf_prediction=self.leaf_prediction,
            nb_threshold=self.nb_threshold,
            binary_split=self.binary_split,
            min_branch_fraction=self.min_branch_fraction,
            max_share_to_split=self.max_share_to_split,
            merit_preprune=self.merit_preprune,
            max_nodes=self.max_nodes // self.trees,
            max_observer_bytes=self.max_observer_bytes // self.trees,
            max_features=self.features(attributes),
            seed=seed,
        )


@dataclass(frozen=True)
class AdwinBaggingParams(BaggingParams):
    """Bagging that replaces its worst tree; `adwin_delta` is that of the trees' detectors."""

    adwin_delta: float = 0.002

    def _valid(self) -> dict[str, bool]:
        return super()._valid() | {"0 < adwin_delta < 1": 0 < self.adwin_delta < 1}

    def habits(self) -> Habits:
        """How the forest treats its trees."""
        return super().habits()._replace(change_delta=self.adwin_delta)


@dataclass(frozen=True)
class AdaptiveParams(BaggingParams):
    """The adaptive random forest. A detector's delta of None turns it off."""

    max_features: Literal["sqrt", "log2"] | int | float | None = "sqrt"
    lambda_value: float = 6
    disable_weighted_vote: bool = False
    warning_delta: float | None = 0.01
    drift_delta: float | None = 0.001
    grace_period: float = 50
    delta: float = 0.01

    def _valid(self) -> dict[str, bool]:
        deltas = (self.warning_delta, self.drift_delta)
        named = self.max_features in ("sqrt", "log2", None)
        return super()._valid() | {
            "max_features is 'sqrt', 'log2', None, an int, or a float of (0, 1]": named
            or isinstance(self.max_features, int)
            or (isinstance(self.max_features, float) and 0 < self.max_features <= 1),
            f"0 < lambda_value <= {RATE_MAX}": 0 < self.lambda_value <= RATE_MAX,
            "detectors' deltas in (0, 1), or None": all(delta is None or 0 < delta < 1 for delta in deltas),
        }

    @property
    def trees(self) -> int:
        """How many trees the forest may hold at once, background trees included."""
        return self.n_models * (1 if self.warning_delta is None else 2)

    def habits(self) -> Habits:
        """How the forest treats its trees."""
        return Habits(
            poisson_chances(self.lambda_value),
            repeats=False,
            warning_delta=self.warning_delta or 0.0,
            drift_delta=self.drift_delta or 0.0,
        )

    def features(self, attributes: int) -> int:
        """How many attributes a leaf draws of so many; negative numbers count from all, as in River."""
        if self.max_features is None:
            wanted = attributes
        elif isinstance(self.max_features, str):
            root = math.sqrt if self.max_features == "sqrt" else math.log2
            wanted = round(root(max(1, attributes)))
        elif isinstance(self.max_features, int):
            wanted = self.max_features
        else:
            wanted = int(self.max_features * attributes)
        wanted = wanted + attributes if wanted < 0 else wanted
        return max(1, min(wanted, attributes)) if attributes else 0
