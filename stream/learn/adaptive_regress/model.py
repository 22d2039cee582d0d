"""A Hoeffding adaptive tree for numbers: River's, one event at a time, over flat arrays.

A branch whose absolute error grows (ADWIN) starts an alternate tree, which learns beside it, has its say in the
prediction, and takes the branch's place once its mean error is significantly smaller (a z-test). Source: River
0.26's `tree.HoeffdingAdaptiveTreeRegressor`; Bifet and Gavaldà 2009. Invariant: after any rows, in any blocks, the
state's bytes are a function of those rows and the seed, and (docs/decisions/tree-equivalence.md) splits, alternate
trees and predictions are River's given the same draws.
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from stream.errors import SnapshotError
from stream.learn.adaptive.layout import (
    ALTERNATE,
    ALTERNATES_REFUSED,
    DRAWS,
    LIVE_NODES,
    PRUNED,
    SEED,
    STARTED,
    SWITCHED,
    TOP,
)
from stream.learn.adaptive.params import Adapting
from stream.learn.adaptive_regress import layout
from stream.learn.adaptive_regress.kernel import learn_block, score_block
from stream.learn.adaptive_regress.layout import Habits
from stream.learn.adaptive_regress.shared import index_state
from stream.learn.regress import model
from stream.learn.regress.layout import scratch as parts_for
from stream.learn.tree import describe
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
    Reals,
    refill,
)
from stream.learn.tree.model import check_arrays

VERSION = 1
FORMAT = "hoeffding-adaptive-regressor"


@dataclass(frozen=True)
class Params(Adapting, model.Params):
    """Those of the regression tree, and those of every tree that adapts."""

    max_nodes: int = 16_384


class AdaptiveRegressor(model.HoeffdingRegressor):
    """`numeric` real attributes (0..f-1), then `categories` nominal ones (f..f+c-1); a real target.

    NaN in a number and 0 in a category mean absent; an infinite number is absent too, and counted.
    """

    params: Params

    def __init__(self, numeric: int, categories: int, **params: Any) -> None:
        own = Params(**params)
        self._adapts = own
        super().__init__(numeric, categories, **{f.name: getattr(own, f.name) for f in fields(model.Params)})
        self.params = own

    def _start(self) -> None:
        own = self._adapts
        self._habits = Habits(
            bootstrap=bool(own.bootstrap_sampling),
            grow_alternates=bool(own.grow_alternates),
            window=float(own.drift_window_threshold),
            significance=float(own.switch_significance),
            adwin_delta=float(own.adwin_delta),
            root_two=math.sqrt(2.0),
        )
        self._hold(layout.allocate(*self.shape, nodes=16, slots=4, entries=64))
        state = self._adaptive
        state.node_int[1, SLOT] = 1
        state.counters[[TOP, NODES, LIVE_NODES]] = 1, 2, 1
        state.counters[[SLOTS, LIVE_SLOTS, BYTES]] = 2, 1, self._rules.slot_bytes
        state.counters[[SEED, DRAWS]] = own.seed, 0

    @property
    def _adaptive(self) -> layout.State:
        return cast(layout.State, self._state)

    def _hold(self, state: layout.State) -> None:
        self._state = cast(Any, state)
        work = layout.scratch(len(state.node_int))
        held = getattr(self, "_work", work)
        for name in ("size", "due", "dead"):
            kept = getattr(held, name)
            getattr(work, name)[: len(kept)] = kept
        self._work = work

    def score_learn(
        self,
        numeric: Reals,
        categories: Ids,
        target: Reals,
        weight: Reals | None = None,
        seen: Reals | None = None,
    ) -> Reals:
        """For each row in order: its prediction, by `seen` if that is given, then learn it by `numeric`. Returns [n].

        As `HoeffdingRegressor.score_learn`.
        """
        apart = seen is not None
        seen, _ = self._inputs(numeric if seen is None else seen, categories)
        columns = self._columns(numeric, categories, target, weight)
        rows = len(columns[0])
        out = np.zeros(rows)
        given = seen, *columns, out, apart
        row, attempt = 0, -1
        while row < rows:
            row, attempt, nodes, entries = learn_block(
                self._adaptive, self._rules, self._habits, self._work, self._parts, *given, row, attempt
            )
            if row < rows:
                self._grow(nodes, entries)
        return out

    def score(self, numeric: Reals, categories: Ids) -> Reals:
        """Predictions [n]; never learns. Safe in many threads while nothing learns here."""
        numeric, categories = self._inputs(numeric, categories)
        out = np.zeros(len(numeric))
        score_block(self._adaptive, self._rules, numeric, categories, out, np.zeros(2))
        return out

    def meta(self) -> dict[str, Any]:
        """What `restore` needs besides the arrays, and the counts, as JSON."""
        return super().meta() | {"format": FORMAT, "version": VERSION, "params": asdict(self.params)}

    @classmethod
    def restore(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """The tree that gave `meta` and `arrays`; SnapshotError when they are not of this version."""
        if (meta.get("format"), meta.get("version")) != (FORMAT, VERSION):
            raise SnapshotError(f"tree snapshot {meta.get('format')} {meta.get('version')}, wanted {FORMAT} {VERSION}")
        tree = cls(meta["numeric"], meta["categories"], **meta["params"])
        check_arrays(tree.arrays(), arrays)
        nodes, slots, entries = (int(arrays["counters"][index]) for index in (NODES, SLOTS, ENTRIES))
        tree._hold(layout.allocate(*tree.shape, nodes=nodes + 16, slots=slots + 4, entries=entries + 64))
        state: Any = tree._state
        refill(state, arrays)
        index_state(state)
        return tree

    def stats(self) -> dict[str, int]:
        """Counts: as of the regression tree, with those of alternate trees; leaves and nodes include theirs."""
        state = self._adaptive
        counters, ints = state.counters, state.node_int
        live = int(counters[LIVE_NODES])
        inner = int((ints[: counters[NODES], KIND] != LEAF).sum())
        return super().stats() | {
            "nodes": live,
            "leaves": live - inner,
            "alternates": int((state.node_link[: counters[NODES], ALTERNATE] != 0).sum()),
            "alternates_started": int(counters[STARTED]),
            "alternates_switched": int(counters[SWITCHED]),
            "alternates_pruned": int(counters[PRUNED]),
            "alternates_refused": int(counters[ALTERNATES_REFUSED]),
            "draws": int(counters[DRAWS]),
            "depth": int(ints[: counters[NODES], DEPTH].max()),
        }

    def text(self, names: list[str], category_name: Callable[[int], str] | None = None) -> str:
        """The tree for a person, without its alternate trees; `names` in attribute order."""
        state: Any = self._state
        named = category_name or (lambda value: f"{value:016x}")
        return describe.text(state, names, named, self._leaf_text, root=int(state.counters[TOP]))

    def _grow(self, nodes: int, entries: int) -> None:
        if nodes > len(self._parts.entry):
            self._parts = parts_for(2 * nodes)
        counters, rules = self._state.counters, self._rules
        needed = (
            int(counters[LIVE_NODES]) + 1 + nodes,
            int(counters[LIVE_SLOTS]) + 1 + nodes,
            int(counters[LIVE_ENTRIES]) + 1 + entries,
        )
        useful = (
            rules.max_nodes,
            rules.max_observer_bytes // rules.slot_bytes + 2,
            rules.max_observer_bytes // rules.entry_bytes + 2 + sum(self.shape),
        )
        self._hold(layout.enlarge(self._adaptive, needed, useful))
        index_state(self._state)
