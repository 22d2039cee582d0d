"""A Hoeffding tree regressor: River's, one event at a time, over flat arrays.

Invariant: after any rows, in any blocks, the state's bytes are a function of those rows alone, and
(docs/decisions/tree-equivalence.md) splits and predictions are River's.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from stream.errors import SnapshotError
from stream.learn.regress import layout
from stream.learn.regress.kernel import learn_block, score_block
from stream.learn.regress.layout import MEAN, Rules
from stream.learn.regress.shared import index_state
from stream.learn.tree import describe, model
from stream.learn.tree.layout import (
    BYTES,
    ENTRIES,
    LIVE_ENTRIES,
    LIVE_SLOTS,
    NODES,
    SLOT,
    SLOTS,
    WEIGHT,
    Ids,
    Reals,
    refill,
    used,
)
from stream.learn.tree.model import DEPTH_MAX, check_arrays, read_only, weights_of

VERSION = 1
LEAF_MODES = ("mean", "model", "adaptive")
SIZE_MAX = 1e30  # of a target or a weight: squares and sums of them stay finite
WEIGHT_MIN = 1e-30
DIGITS_MAX = 15


@dataclass(frozen=True)
class Params:
    """River's parameters under River's names and defaults, and the two hard bounds.

    `digits` is what River's default splitter, TEBSTSplitter, rounds numbers to; None keeps them as they are
    (EBSTSplitter). `leaf_lr` is the learning rate of a leaf's linear model, for its weights and its intercept.
    """

    grace_period: float = 200
    max_depth: int | None = None
    delta: float = 1e-7
    tau: float = 0.05
    leaf_prediction: Literal["mean", "model", "adaptive"] = "adaptive"
    model_selector_decay: float = 0.95
    min_samples_split: float = 5
    binary_split: bool = False
    merit_preprune: bool = True
    digits: int | None = 1
    leaf_lr: float = 0.01
    max_nodes: int = 65_536
    max_observer_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        depth = DEPTH_MAX if self.max_depth is None else self.max_depth
        valid = {
            "grace_period > 0": self.grace_period > 0,
            f"0 <= max_depth <= {DEPTH_MAX}": 0 <= depth <= DEPTH_MAX,
            "0 < delta < 1": 0 < self.delta < 1,
            "tau >= 0": self.tau >= 0,
            f"leaf_prediction in {LEAF_MODES}": self.leaf_prediction in LEAF_MODES,
            "0 <= model_selector_decay < 1": 0 <= self.model_selector_decay < 1,
            "min_samples_split >= 0": self.min_samples_split >= 0,
            f"0 <= digits <= {DIGITS_MAX}": self.digits is None or 0 <= self.digits <= DIGITS_MAX,
            "0 < leaf_lr <= 1": 0 < self.leaf_lr <= 1,
            "max_nodes >= 1": self.max_nodes >= 1,
        }
        wrong = [rule for rule, holds in valid.items() if not holds]
        if wrong:
            raise ValueError(f"tree parameters: {'; '.join(wrong)} does not hold in {self}")


class HoeffdingRegressor:
    """`numeric` real attributes (0..f-1), then `categories` nominal ones (f..f+c-1); a real target.

    NaN in a number and 0 in a category mean absent; an infinite number is absent too, and counted.
    """

    def __init__(self, numeric: int, categories: int, **params: Any) -> None:
        self.params = Params(**params)
        if numeric < 0 or categories < 0:
            raise ValueError(f"tree of {numeric} numbers, {categories} categories")
        self.shape = (numeric, categories)
        self._rules = _rules(self.params, *self.shape)
        if self._rules.slot_bytes > self.params.max_observer_bytes:
            raise ValueError(
                f"max_observer_bytes {self.params.max_observer_bytes} can't hold one leaf's observers: "
                f"{self._rules.slot_bytes} bytes"
            )
        self._parts = layout.scratch(4)
        self._start()

    def _start(self) -> None:
        self._state = self._allocate(16, 4, 64)
        self._state.node_int[0, SLOT] = 1
        self._state.counters[[NODES, SLOTS, LIVE_SLOTS, BYTES]] = 1, 2, 1, self._rules.slot_bytes

    def _allocate(self, nodes: int, slots: int, entries: int) -> layout.State:
        return layout.allocate(*self.shape, nodes, slots, entries, self._rules.max_features)

    def score_learn(self, numeric: Reals, categories: Ids, target: Reals, weight: Reals | None = None) -> Reals:
        """For each row in order: its prediction, then learn it. Returns [n].

        numeric [n, f], categories [n, c], target [n] within +-1e30, weight [n] 0 (the row is scored only) or
        1e-30..1e30. ValueError on bad input, before anything is learned.
        """
        columns = self._columns(numeric, categories, target, weight)
        rows = len(columns[0])
        out = np.zeros(rows)
        row, due = 0, -1
        while row < rows:
            row, due, branches, entries = learn_block(self._state, self._rules, self._parts, *columns, out, row, due)
            if row < rows:
                self._grow(branches, entries)
        return out

    def _columns(
        self, numeric: Reals, categories: Ids, target: Reals, weight: Reals | None = None
    ) -> tuple[Reals, Ids, Reals, Reals]:
        """What is learned, as the kernels take it. Raises ValueError for what is not allowed."""
        numeric, categories = self._inputs(numeric, categories)
        target = read_only(target, np.float64, (len(numeric),), "target")
        if not (np.abs(target) <= SIZE_MAX).all():
            raise ValueError(f"target: every one must be a number within +-{SIZE_MAX}")
        return numeric, categories, target, weights_of(weight, len(target), WEIGHT_MIN, SIZE_MAX)

    def score(self, numeric: Reals, categories: Ids) -> Reals:
        """Predictions [n]; never learns. Safe in many threads while nothing learns here."""
        numeric, categories = self._inputs(numeric, categories)
        out = np.zeros(len(numeric))
        score_block(self._state, self._rules, numeric, categories, out)
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of the whole state; the bytes are a function of the rows learned alone."""
        state: Any = self._state
        return used(state)

    def meta(self) -> dict[str, Any]:
        """What `restore` needs besides the arrays, and the counts, as JSON."""
        numeric, categories = self.shape
        return {
            "format": "hoeffding-regressor",
            "version": VERSION,
            "numeric": numeric,
            "categories": categories,
            "params": asdict(self.params),
            "stats": self.stats(),
        }

    @classmethod
    def restore(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """The tree that gave `meta` and `arrays`; SnapshotError when they are not of this version."""
        if (meta.get("format"), meta.get("version")) != ("hoeffding-regressor", VERSION):
            raise SnapshotError(f"tree snapshot {meta.get('format')} {meta.get('version')}, wanted {VERSION}")
        tree = cls(meta["numeric"], meta["categories"], **meta["params"])
        check_arrays(tree.arrays(), arrays)
        nodes, slots, entries = (int(arrays["counters"][index]) for index in (NODES, SLOTS, ENTRIES))
        tree._state = tree._allocate(nodes + 16, slots + 4, entries + 64)
        state: Any = tree._state
        refill(state, arrays)
        index_state(tree._state)
        return tree

    def stats(self) -> dict[str, int]:
        """Counts: rows, nodes, leaves, what the bounds refused, and what was left out of the input."""
        counters = self._state.counters
        return model.stats(counters, self._state.node_int) | {"observer_entries": int(counters[LIVE_ENTRIES])}

    def split_log(self) -> list[describe.Split]:
        """Every split, in the order made: row, node, attribute, and threshold or category ids."""
        state: Any = self._state
        return describe.splits(state)

    def text(self, names: list[str], category_name: Callable[[int], str] | None = None) -> str:
        """The tree for a person; `names` in attribute order."""
        state: Any = self._state
        return describe.text(state, names, category_name or (lambda value: f"{value:016x}"), self._leaf_text)

    def _leaf_text(self, _state: Any, node: int) -> str:
        real = self._state.node_real[node]
        return f"mean {real[MEAN]:.6g} (weight {real[WEIGHT]:.6g})"

    def _inputs(self, numeric: Reals, categories: Ids) -> tuple[Reals, Ids]:
        return model.inputs(numeric, categories, self.shape)

    def _grow(self, branches: int, entries: int) -> None:
        if branches > len(self._parts.entry):
            self._parts = layout.scratch(2 * branches)
        counters, rules = self._state.counters, self._rules
        needed = (
            int(counters[NODES]) + branches,
            int(counters[LIVE_SLOTS]) + 1 + branches,
            int(counters[LIVE_ENTRIES]) + 1 + entries,
        )
        useful = (
            rules.max_nodes,
            rules.max_observer_bytes // rules.slot_bytes + 2,
            rules.max_observer_bytes // rules.entry_bytes + 2 + sum(self.shape),
        )
        self._state = layout.enlarge(self._state, needed, useful)
        index_state(self._state)


def warm() -> None:
    """Compile the kernels, or load them from numba's cache: first use costs seconds, later ones nothing."""
    tree = HoeffdingRegressor(1, 1)
    numbers, ids = np.zeros((2, 1)), np.ones((2, 1), np.uint64)
    tree.score_learn(numbers, ids, np.array([0.0, 1.0]))
    HoeffdingRegressor.restore(tree.meta(), tree.arrays()).score(numbers, ids)


def _rules(params: Params, numeric: int, categories: int) -> Rules:
    return Rules(
        numeric=numeric,
        categories=categories,
        leaf_mode=LEAF_MODES.index(params.leaf_prediction),
        grace_period=float(params.grace_period),
        max_depth=DEPTH_MAX if params.max_depth is None else int(params.max_depth),
        log_confidence=math.log(1.0 / params.delta),
        tau=float(params.tau),
        decay=float(params.model_selector_decay),
        min_samples_split=float(params.min_samples_split),
        binary_split=bool(params.binary_split),
        merit_preprune=bool(params.merit_preprune),
        digits_scale=0.0 if params.digits is None else float(10**params.digits),
        leaf_lr=float(params.leaf_lr),
        max_nodes=int(params.max_nodes),
        max_observer_bytes=int(params.max_observer_bytes),
        slot_bytes=layout.slot_bytes(numeric, categories),
        entry_bytes=layout.ENTRY_BYTES,
        two=2.0,
        max_features=0,
    )
