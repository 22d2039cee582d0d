"""A Hoeffding tree classifier: River's, one event at a time, over flat arrays.

Why: River's tree walks dictionaries of objects at some ten thousand events a second and can only be saved
as a pickle. Invariant: after any rows, in any blocks, the state's bytes are a function of those rows alone,
and (docs/decisions/tree-equivalence.md) splits and probabilities are River's.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from stream.errors import SnapshotError
from stream.learn.tree import describe, layout
from stream.learn.tree.kernel import index_state, learn_block, score_block
from stream.learn.tree.layout import ENTRIES, NODES, SLOTS, Ids, Ints, Reals, Rules

VERSION = 1
CRITERIA = ("info_gain", "gini", "hellinger")
LEAF_MODES = ("mc", "nb", "nba")
WEIGHT_MIN, WEIGHT_MAX = 1e-100, 1e100  # sums and shares of weights in between neither vanish nor overflow
COUNTED = {
    "rows": layout.ROWS,
    "nodes": NODES,
    "active_leaves": layout.LIVE_SLOTS,
    "splits_refused": layout.SPLITS_REFUSED,
    "branches_refused": layout.BRANCHES_REFUSED,
    "values_dropped": layout.VALUES_DROPPED,
    "infinite": layout.INFINITE,
    "unweighted_rows": layout.UNWEIGHTED,
    "null_wins": layout.NULL_WINS,
    "observer_bytes": layout.BYTES,
}
DEPTH_MAX = 980  # River's own limit when none is given: Python's recursion limit less 20


@dataclass(frozen=True)
class Params:
    """River's parameters under River's names and defaults, and the two hard bounds."""

    grace_period: float = 200
    max_depth: int | None = None
    split_criterion: Literal["info_gain", "gini", "hellinger"] = "info_gain"
    delta: float = 1e-7
    tau: float = 0.05
    leaf_prediction: Literal["mc", "nb", "nba"] = "nba"
    nb_threshold: float = 0
    n_splits: int = 10
    binary_split: bool = False
    min_branch_fraction: float = 0.01
    max_share_to_split: float = 0.99
    merit_preprune: bool = True
    max_nodes: int = 65_536
    max_observer_bytes: int = 256 * 2**20

    def __post_init__(self) -> None:
        depth = DEPTH_MAX if self.max_depth is None else self.max_depth
        valid = {
            "grace_period > 0": self.grace_period > 0,
            f"0 <= max_depth <= {DEPTH_MAX}": 0 <= depth <= DEPTH_MAX,
            f"split_criterion in {CRITERIA}": self.split_criterion in CRITERIA,
            "0 < delta < 1": 0 < self.delta < 1,
            "tau >= 0": self.tau >= 0,
            f"leaf_prediction in {LEAF_MODES}": self.leaf_prediction in LEAF_MODES,
            "n_splits >= 1": self.n_splits >= 1,
            "0 <= min_branch_fraction <= 0.5": 0 <= self.min_branch_fraction <= 0.5,
            "0 < max_share_to_split <= 1": 0 < self.max_share_to_split <= 1,
            "max_nodes >= 1": self.max_nodes >= 1,
        }
        wrong = [rule for rule, holds in valid.items() if not holds]
        if wrong:
            raise ValueError(f"tree parameters: {'; '.join(wrong)} does not hold in {self}")


class HoeffdingTree:
    """`numeric` real attributes (0..f-1), then `categories` nominal ones (f..f+c-1), and `classes` labels.

    NaN in a number and 0 in a category mean absent; an infinite number is absent too, and counted.
    """

    FORMAT = "hoeffding-tree"
    PARAMS: type[Params] = Params

    def __init__(self, numeric: int, categories: int, classes: int = 2, **params: Any) -> None:
        self.params = self.PARAMS(**params)
        if numeric < 0 or categories < 0 or classes < 1:
            raise ValueError(f"tree of {numeric} numbers, {categories} categories, {classes} classes")
        self.shape = (numeric, categories, classes)
        self._rules = _rules(self.params, *self.shape)
        if self._rules.slot_bytes > self.params.max_observer_bytes:
            raise ValueError(
                f"max_observer_bytes {self.params.max_observer_bytes} can't hold one leaf's observers: "
                f"{self._rules.slot_bytes} bytes"
            )
        self._parts = layout.scratch(classes, 4)
        self._start()

    def _start(self) -> None:
        self._state = self._allocate(16, 4, 16)
        self._plant()

    def _plant(self) -> None:
        self._state.node_int[0, layout.SLOT] = 1
        self._state.counters[[NODES, SLOTS, layout.LIVE_SLOTS, layout.BYTES]] = 1, 2, 1, self._rules.slot_bytes

    def _allocate(self, nodes: int, slots: int, entries: int) -> layout.State:
        return layout.allocate(*self.shape, nodes, slots, entries)

    def score_learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals | None = None) -> Reals:
        """For each row in order: its class probabilities, then learn it. Returns [n, classes].

        numeric [n, f], categories [n, c], target [n] in 0..classes-1, weight [n] 0 (the row is
        scored only) or 1e-100..1e100. A row is all zeros while its leaf has seen nothing. ValueError on
        bad input, before anything is learned.
        """
        numeric, categories = self._inputs(numeric, categories)
        rows = len(numeric)
        target = read_only(target, np.int64, (rows,), "target")
        if rows and not (target.min() >= 0 and target.max() < self.shape[2]):
            raise ValueError(f"target {target.min()}..{target.max()}: allowed are 0..{self.shape[2] - 1}")
        weight = weights_of(weight, rows, WEIGHT_MIN, WEIGHT_MAX)
        out = np.zeros((rows, self.shape[2]))
        self._learn(numeric, categories, target, weight, out)
        return out

    def _learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals, out: Reals) -> None:
        row, due = 0, -1
        while row < len(out):
            row, due, branches, entries = learn_block(
                self._state, self._rules, self._parts, numeric, categories, target, weight, out, row, due
            )
            if row < len(out):
                self._grow(branches, entries)

    def score(self, numeric: Reals, categories: Ids) -> Reals:
        """Class probabilities [n, classes]; never learns. Safe in many threads while nothing learns here."""
        numeric, categories = self._inputs(numeric, categories)
        out = np.zeros((len(numeric), self.shape[2]))
        score_block(self._state, self._rules, numeric, categories, out)
        return out

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of the whole state; the bytes are a function of the rows learned alone."""
        return layout.used(self._state)

    def meta(self) -> dict[str, Any]:
        """What `restore` needs besides the arrays, and the counts, as JSON."""
        numeric, categories, classes = self.shape
        return {
            "format": self.FORMAT,
            "version": VERSION,
            "numeric": numeric,
            "categories": categories,
            "classes": classes,
            "params": asdict(self.params),
            "stats": self.stats(),
        }

    @classmethod
    def restore(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """The tree that gave `meta` and `arrays`; SnapshotError when they are not of this version."""
        if (meta.get("format"), meta.get("version")) != (cls.FORMAT, VERSION):
            raise SnapshotError(f"tree snapshot {meta.get('format')} {meta.get('version')}, wanted {VERSION}")
        tree = cls(meta["numeric"], meta["categories"], meta["classes"], **meta["params"])
        check_arrays(tree.arrays(), arrays)
        tree._fill(arrays)
        return tree

    def _fill(self, arrays: dict[str, NDArray[Any]]) -> None:
        nodes, slots, entries = (int(arrays["counters"][index]) for index in (NODES, SLOTS, ENTRIES))
        self._state = self._allocate(nodes + 16, slots + 4, entries + 16)
        layout.refill(self._state, arrays)
        index_state(self._state)

    def stats(self) -> dict[str, int]:
        """Counts: rows, nodes, leaves, what the bounds refused, and what was left out of the input."""
        return stats(self._state.counters, self._state.node_int)

    def split_log(self) -> list[describe.Split]:
        """Every split, in the order made: row, node, attribute, and threshold or category ids."""
        return describe.splits(self._state)

    def text(self, names: list[str], category_name: Callable[[int], str] | None = None) -> str:
        """The tree for a person; `names` in attribute order."""
        return describe.text(self._state, names, category_name or (lambda value: f"{value:016x}"))

    def _inputs(self, numeric: Reals, categories: Ids) -> tuple[Reals, Ids]:
        return inputs(numeric, categories, self.shape)

    def _grow(self, branches: int, entries: int) -> None:
        if branches > len(self._parts.size):
            self._parts = layout.scratch(self.shape[2], 2 * branches)
        counters, rules = self._state.counters, self._rules
        needed = (
            int(counters[NODES]) + branches,
            int(counters[layout.LIVE_SLOTS]) + 1 + branches,
            int(counters[layout.LIVE_ENTRIES]) + 1 + entries,
        )
        useful = (
            rules.max_nodes,
            rules.max_observer_bytes // rules.slot_bytes + 2,
            rules.max_observer_bytes // rules.entry_bytes + 2 + self.shape[1],
        )
        self._state = layout.enlarge(self._state, needed, useful)
        index_state(self._state)


def stats(counters: Ints, node_int: Ints) -> dict[str, int]:
    """Counts of any tree: rows, nodes, leaves, what the bounds refused, and what was left out of the input."""
    leaves = int((node_int[: counters[NODES], layout.KIND] == layout.LEAF).sum())
    return {name: int(counters[at]) for name, at in COUNTED.items()} | {"leaves": leaves}


def inputs(numeric: Reals, categories: Ids, shape: tuple[int, ...]) -> tuple[Reals, Ids]:
    """The columns as kernels take them; ValueError unless they have a tree's shape."""
    rows = len(numeric)
    return (
        read_only(numeric, np.float64, (rows, shape[0]), "numeric"),
        read_only(categories, np.uint64, (rows, shape[1]), "categories"),
    )


def warm() -> None:
    """Compile the kernels, or load them from numba's cache: first use costs seconds, later ones nothing."""
    tree = HoeffdingTree(1, 1)
    numbers, ids = np.zeros((2, 1)), np.ones((2, 1), np.uint64)
    tree.score_learn(numbers, ids, np.array([0, 1], np.int64))
    HoeffdingTree.restore(tree.meta(), tree.arrays()).score(numbers, ids)


def _rules(params: Params, numeric: int, categories: int, classes: int) -> Rules:
    return Rules(
        numeric=numeric,
        categories=categories,
        classes=classes,
        criterion=CRITERIA.index(params.split_criterion),
        leaf_mode=LEAF_MODES.index(params.leaf_prediction),
        grace_period=float(params.grace_period),
        max_depth=DEPTH_MAX if params.max_depth is None else int(params.max_depth),
        log_confidence=math.log(1.0 / params.delta),
        tau=float(params.tau),
        nb_threshold=float(params.nb_threshold),
        n_splits=int(params.n_splits),
        binary_split=bool(params.binary_split),
        min_branch_fraction=float(params.min_branch_fraction),
        max_share_to_split=float(params.max_share_to_split),
        merit_preprune=bool(params.merit_preprune),
        max_nodes=int(params.max_nodes),
        max_observer_bytes=int(params.max_observer_bytes),
        slot_bytes=layout.slot_bytes(numeric, categories, classes),
        entry_bytes=layout.entry_bytes(classes),
        half=0.5,
        two=2.0,
    )


def read_only(given: NDArray[Any], dtype: type, shape: tuple[int, ...], name: str) -> NDArray[Any]:
    """A C-contiguous read-only view (a copy only when it must be): the one array type the kernels know."""
    if given.shape != shape or given.dtype != dtype:
        raise ValueError(f"{name}: {given.dtype}{list(given.shape)}, wanted {np.dtype(dtype)}{list(shape)}")
    view = np.ascontiguousarray(given).view()
    view.flags.writeable = False
    return view


def weights_of(given: Reals | None, rows: int, least: float, most: float) -> Reals:
    """The weights of rows as kernels take them, 1 where none are given; ValueError when one is not allowed."""
    weight: Reals = read_only(np.ones(rows) if given is None else given, np.float64, (rows,), "weight")
    if given is not None and not ((weight == 0.0) | ((weight >= least) & (weight <= most))).all():
        raise ValueError(f"weight: every one must be 0 or in {least}..{most}")
    return weight


def check_arrays(wanted: dict[str, NDArray[Any]], arrays: dict[str, NDArray[Any]]) -> None:
    for name, like in wanted.items():
        given = arrays.get(name)
        if given is None or given.dtype != like.dtype or given.shape[1:] != like.shape[1:]:
            raise SnapshotError(f"tree snapshot: array {name} is missing or not {like.dtype} {like.shape[1:]}")
