"""One tree of a forest with its background tree and record, and how it goes through a block."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.learn.forest.kernel import grow_block
from stream.learn.forest.layout import (
    BACK,
    CHANGED,
    DONE,
    DRIFT,
    DRIFTED,
    DRIFTS,
    FRONT,
    GROWING,
    JUDGED,
    RIGHT,
    ROOM,
    SHORT_BRANCHES,
    SHORT_ENTRIES,
    SHORT_TREE,
    Habits,
    Member,
    new_member,
    new_progress,
)
from stream.learn.tree import HoeffdingTree, layout
from stream.learn.tree import Params as TreeParams
from stream.learn.tree.layout import BAYES, MAJORITY, ROWS, SUBSET_DRAWS, SUBSET_SEED, Ids, Ints, Reals

START_BYTES = 2**16  # room for observers that a new tree begins with, so that it need not grow at once


@dataclass(frozen=True)
class SubsetParams(TreeParams):
    """A tree whose leaves draw `max_features` attributes to observe (0: they observe all)."""

    max_features: int = 0
    seed: int = 0


class SubsetTree(HoeffdingTree):
    """A tree of a forest, which teaches it: by itself it only scores and tells of itself."""

    PARAMS = SubsetParams
    params: SubsetParams

    def _start(self) -> None:
        width = self.params.max_features
        self._rules = self._rules._replace(slot_bytes=layout.slot_bytes(*self.shape, width))
        self._state = self._allocate(64, max(4, min(32, START_BYTES // self._rules.slot_bytes)), 128)
        self._plant()

    def _allocate(self, nodes: int, slots: int, entries: int) -> layout.State:
        return layout.allocate(*self.shape, nodes, slots, entries, self.params.max_features)

    def _plant(self) -> None:
        super()._plant()
        self._state.counters[SUBSET_SEED] = self.params.seed

    def forget(self) -> None:
        """Become a new tree, in the room of the old one."""
        layout.wipe(self._state)
        self._plant()

    def _learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals, out: Reals) -> None:
        raise NotImplementedError("a forest teaches its trees")


class Grower:
    """A tree, the background tree that may replace it, and their record."""

    def __init__(self, shape: tuple[int, int, int], params: SubsetParams, habits: Habits) -> None:
        self._habits = habits
        self.trees = [SubsetTree(*shape, **asdict(params)) for _ in range(2)]
        self.record: Member = new_member(shape[2])

    def learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals, votes: Reals, weights: Reals) -> bool:
        """Vote on each row into votes [n, k], with the tree's weight into weights [n]; then learn it by its own.

        Returns whether the tree has come to err more often (`Habits.change_delta`).
        """
        progress = new_progress()
        happened = -1
        while happened != DONE:
            front, back = self.trees
            rules = front._rules
            # a background tree is never asked, so a leaf of naive Bayes answers nothing there
            quiet = rules._replace(leaf_mode=MAJORITY) if rules.leaf_mode == BAYES else rules
            happened = grow_block(
                front._state, back._state, rules, quiet, front._parts, self._habits, self.record, progress,
                numeric, categories, target, weight, votes, weights,
            )  # fmt: skip
            if happened == ROOM:
                self._make_room(progress)
            elif happened != DONE:
                self._replace(happened == DRIFTED)
        return bool(progress[CHANGED])

    def renew(self) -> None:
        """Put an empty tree in the tree's place, with a new detector and a new record."""
        front = self.trees[FRONT]
        stood = front._state.counters[[ROWS, SUBSET_DRAWS]]
        front.forget()
        front._state.counters[[ROWS, SUBSET_DRAWS]] = stood
        self.record.met[FRONT] = 0
        self.record.window[DRIFT] = self.record.buckets[DRIFT] = 0
        self.record.counts[[RIGHT, JUDGED]] = 0
        self.record.counts[DRIFTS] += 1

    def _make_room(self, progress: Ints) -> None:
        branches = int(progress[SHORT_BRANCHES])
        if branches > len(self.trees[FRONT]._parts.entry):
            self.trees[FRONT]._parts = self._scratch(2 * branches)
        self.trees[progress[SHORT_TREE]]._grow(branches, int(progress[SHORT_ENTRIES]))

    def _scratch(self, branches: int) -> Any:
        return layout.scratch(self.trees[FRONT].shape[2], branches)

    def _replace(self, drifted: bool) -> None:
        """A warning starts a background tree; a drift puts it (if none grows, an empty one) in the tree's place."""
        front, back = self.trees
        if drifted:
            stood = front._state.counters[[ROWS, SUBSET_DRAWS]]
            back._parts = front._parts
            self.trees = [back, front]
            back._state.counters[[ROWS, SUBSET_DRAWS]] = stood
        self.trees[BACK].forget()
        self._met(drifted)
        self.record.counts[GROWING] = 0 if drifted else 1

    def _met(self, drifted: bool) -> None:
        if drifted:
            self.record.met[FRONT] = self.record.met[BACK]
        self.record.met[BACK] = 0

    def fill(self, record: dict[str, NDArray[Any]], trees: list[dict[str, NDArray[Any]]]) -> None:
        """Go on from these arrays."""
        for name, given in record.items():
            getattr(self.record, name)[:] = given
        for tree, arrays in zip(self.trees, trees, strict=True):
            tree._fill(arrays)

    def finite(self) -> bool:
        """Whether every number of the trees and detectors is finite."""
        held = [a for tree in self.trees for a in tree._state] + [self.record.window]
        return all(bool(np.isfinite(a).all()) for a in held if a.dtype.kind == "f")
