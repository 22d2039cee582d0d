"""A Hoeffding adaptive tree classifier: River's, one event at a time, over flat arrays.

A branch whose error grows (ADWIN) starts an alternate tree, which learns beside it and takes its place when it has
become the better of the two (Bifet and Gavalda, 2009). Invariant: after any rows, in any blocks, the state's bytes
are a function of those rows and the seed, and (docs/decisions/tree-equivalence.md) splits, alternate trees and
probabilities are River's given the same draws.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from stream.learn.adaptive import layout
from stream.learn.adaptive.detect import ADWIN_INTS, ADWIN_REALS
from stream.learn.adaptive.kernel import learn_block, score_block
from stream.learn.adaptive.layout import ALTERNATE, DRAWS, LIVE_NODES, SEED, TOP, Habits
from stream.learn.adaptive.params import Adapting
from stream.learn.adaptive.shared import index_state
from stream.learn.tree import describe, model
from stream.learn.tree.layout import (
    BYTES,
    DEPTH,
    ENTRIES,
    KIND,
    LEAF,
    LIVE_ENTRIES,
    LIVE_SLOTS,
    NODES,
    SLOT,
    SLOTS,
    Ids,
    Ints,
    Reals,
    refill,
)
from stream.learn.tree.layout import scratch as parts_for

WIDTHS = (ADWIN_REALS, ADWIN_INTS)


@dataclass(frozen=True)
class Params(Adapting, model.Params):
    """Those of the Hoeffding tree, and those of every tree that adapts."""

    max_nodes: int = 16_384


class AdaptiveTree(model.HoeffdingTree):
    """`numeric` real attributes (0..f-1), then `categories` nominal ones (f..f+c-1), and `classes` labels.

    NaN in a number and 0 in a category mean absent; an infinite number is absent too, and counted.
    """

    FORMAT = "hoeffding-adaptive-tree"
    PARAMS = Params
    params: Params

    def _start(self) -> None:
        self._habits = _habits(self.params)
        self._hold(layout.allocate(*self.shape, WIDTHS, nodes=16, slots=4, entries=16))
        state = self._adaptive
        state.node_int[1, SLOT] = 1
        state.counters[[TOP, NODES, LIVE_NODES]] = 1, 2, 1
        state.counters[[SLOTS, LIVE_SLOTS, BYTES]] = 2, 1, self._rules.slot_bytes
        state.counters[[SEED, DRAWS]] = self.params.seed, 0

    @property
    def _adaptive(self) -> layout.State:
        return cast(layout.State, self._state)

    def _hold(self, state: layout.State) -> None:
        self._state = cast(Any, state)
        work = layout.scratch(self.shape[2], len(state.node_int))
        held = getattr(self, "_work", work)
        for name in ("size", "due", "dead"):
            kept = getattr(held, name)
            getattr(work, name)[: len(kept)] = kept
        self._work = work

    def _learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals, out: Reals) -> None:
        columns = numeric, categories, target, weight, out
        row, attempt = 0, -1
        while row < len(out):
            row, attempt, nodes, entries = learn_block(
                self._adaptive, self._rules, self._habits, self._work, self._parts, *columns, row, attempt
            )
            if row < len(out):
                self._grow(nodes, entries)

    def score(self, numeric: Reals, categories: Ids) -> Reals:
        """Class probabilities [n, classes]; never learns. Safe in many threads while nothing learns here."""
        numeric, categories = self._inputs(numeric, categories)
        out = np.zeros((len(numeric), self.shape[2]))
        score_block(self._adaptive, self._rules, numeric, categories, out, np.zeros(self.shape[2]))
        return out

    def _fill(self, arrays: dict[str, NDArray[Any]]) -> None:
        nodes, slots, entries = (int(arrays["counters"][index]) for index in (NODES, SLOTS, ENTRIES))
        self._hold(layout.allocate(*self.shape, WIDTHS, nodes=nodes + 16, slots=slots + 4, entries=entries + 16))
        refill(self._state, arrays)
        index_state(self._adaptive)

    def stats(self) -> dict[str, int]:
        """Counts: as of the Hoeffding tree, with those of alternate trees; leaves and nodes include theirs."""
        counters = self._state.counters
        live = int(counters[LIVE_NODES])
        inner = int((self._state.node_int[: counters[NODES], KIND] != LEAF).sum())
        return super().stats() | {
            "nodes": live,
            "leaves": live - inner,
            "alternates": int((self._adaptive.node_link[: counters[NODES], ALTERNATE] != 0).sum()),
            "alternates_started": int(counters[layout.STARTED]),
            "alternates_switched": int(counters[layout.SWITCHED]),
            "alternates_pruned": int(counters[layout.PRUNED]),
            "alternates_refused": int(counters[layout.ALTERNATES_REFUSED]),
            "draws": int(counters[DRAWS]),
            "depth": int(self._state.node_int[: counters[NODES], DEPTH].max()),
        }

    def text(self, names: list[str], category_name: Callable[[int], str] | None = None) -> str:
        """The tree for a person, without its alternate trees; `names` in attribute order."""
        named = category_name or (lambda value: f"{value:016x}")
        return describe.text(self._state, names, named, root=int(self._state.counters[TOP]))

    def _grow(self, nodes: int, entries: int) -> None:
        if nodes > len(self._parts.size):
            self._parts = parts_for(self.shape[2], 2 * nodes)
        counters, rules = self._state.counters, self._rules
        needed = (
            int(counters[LIVE_NODES]) + 1 + nodes,
            int(counters[LIVE_SLOTS]) + 1 + nodes,
            int(counters[LIVE_ENTRIES]) + 1 + entries,
        )
        useful = (
            rules.max_nodes,
            rules.max_observer_bytes // rules.slot_bytes + 2,
            rules.max_observer_bytes // rules.entry_bytes + 2 + self.shape[1],
        )
        self._hold(layout.enlarge(self._adaptive, needed, useful))
        index_state(self._adaptive)


def warm() -> None:
    """Compile the kernels, or load them from numba's cache: first use costs seconds, later ones nothing."""
    tree = AdaptiveTree(1, 1)
    numbers, ids = np.zeros((2, 1)), np.ones((2, 1), np.uint64)
    tree.score_learn(numbers, ids, np.array([0, 1], np.int64))
    AdaptiveTree.restore(tree.meta(), tree.arrays()).score(numbers, ids)


def _habits(params: Params) -> Habits:
    return Habits(
        bootstrap=bool(params.bootstrap_sampling),
        grow_alternates=bool(params.grow_alternates),
        window=float(params.drift_window_threshold),
        log_significance=math.log(2.0 / params.switch_significance),
        adwin_delta=float(params.adwin_delta),
    )
