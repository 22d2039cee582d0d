"""The hyper-parameters that make a tree an adaptive one, whatever it predicts."""

from dataclasses import dataclass
from typing import Any

SEED_MAX = 2**63 - 1


@dataclass(frozen=True)
class Adapting:
    """River's parameters under River's names and defaults; stands before the Params of the tree that adapts.

    `adwin_delta` is the delta of River's default drift detector. With `grow_alternates` an alternate tree takes over
    when it is better, however often it has split; without, it takes over with its first split, as River's does.
    """

    bootstrap_sampling: bool = True
    drift_window_threshold: float = 300
    switch_significance: float = 0.05
    adwin_delta: float = 0.002
    grow_alternates: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        tree: Any = super()
        tree.__post_init__()
        valid = {
            "drift_window_threshold >= 0": self.drift_window_threshold >= 0,
            "0 < switch_significance < 1": 0 < self.switch_significance < 1,
            "0 < adwin_delta < 1": 0 < self.adwin_delta < 1,
            f"0 <= seed <= {SEED_MAX}": 0 <= self.seed <= SEED_MAX,
        }
        wrong = [rule for rule, holds in valid.items() if not holds]
        if wrong:
            raise ValueError(f"tree parameters: {'; '.join(wrong)} does not hold in {self}")
