"""Forests of Hoeffding trees for classes: online bagging, and the adaptive random forest.

Sources: River 0.26's `ensemble.BaggingClassifier` and `forest.ARFClassifier`; Oza and Russell 2001; Gomes et al. 2017,
"Adaptive random forests for evolving data stream classification". Trees learn independently of each other, each with
its own draws, so each goes through a piece of rows by itself, in any thread; the votes are combined afterwards with
the weights as they stood before each event. Invariant: the state's bytes are a function of the rows and the seed
(docs/decisions/forest-equivalence.md).
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stream.errors import SnapshotError
from stream.learn.forest.kernel import combine
from stream.learn.forest.layout import DRIFTS, GROWING, JUDGED, RIGHT, WARNINGS, Habits, tree_seed
from stream.learn.forest.member import Grower, SubsetTree
from stream.learn.forest.pack import joined, parted
from stream.learn.forest.params import AdaptiveParams, BaggingParams
from stream.learn.tree.kernel import score_block
from stream.learn.tree.layout import Ids, Ints, Reals
from stream.learn.tree.model import WEIGHT_MAX, WEIGHT_MIN, check_arrays, read_only, weights_of

VERSION = 1
VOTES_MAX = 2**20  # numbers of votes held at once; so a piece of rows is as long as that allows
THREADS_FROM = 256  # rows; fewer are not worth a thread


class Forest:
    """`numeric` real attributes (0..f-1), then `categories` nominal ones (f..f+c-1), and `classes` labels.

    NaN in a number and 0 in a category mean absent; an infinite number is absent too.
    """

    FORMAT = "bagging-forest"
    PARAMS: type[BaggingParams] = BaggingParams

    def __init__(self, numeric: int, categories: int, classes: int = 2, **params: Any) -> None:
        self.params = self.PARAMS(**params)
        self.shape = (numeric, categories, classes)
        self._weighted = isinstance(self.params, AdaptiveParams) and not self.params.disable_weighted_vote
        seeds = [tree_seed(self.params.seed, tree) for tree in range(self.params.n_models)]
        self.growers = self._grow_all(seeds, self.params.habits())

    def _grow_all(self, seeds: list[int], habits: Habits) -> list[Grower]:
        attributes = self.shape[0] + self.shape[1]
        return [Grower(self.shape, self.params.tree(attributes, seed), habits) for seed in seeds]

    def score_learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals | None = None) -> Reals:
        """For each row in order: its class probabilities, then learn it. Returns [n, classes].

        numeric [n, f], categories [n, c], target [n] in 0..classes-1, weight [n] 0 (the row is scored only) or
        1e-100..1e100. A row is all zeros while no tree has seen anything. ValueError on bad input, before
        anything is learned.
        """
        numeric, categories = self._inputs(numeric, categories)
        target = read_only(target, np.int64, (len(numeric),), "target")
        if len(target) and not (target.min() >= 0 and target.max() < self.shape[2]):
            raise ValueError(f"target {target.min()}..{target.max()}: allowed are 0..{self.shape[2] - 1}")
        return self._learn(numeric, categories, target, weights_of(weight, len(target), WEIGHT_MIN, WEIGHT_MAX))

    def _learn(self, numeric: Reals, categories: Ids, target: Ints, weight: Reals) -> Reals:
        def learn(tree: int, rows: slice, votes: Reals, weights: Reals) -> None:
            self.growers[tree].learn(numeric[rows], categories[rows], target[rows], weight[rows], votes, weights)

        return self._vote(len(target), learn)

    def score(self, numeric: Reals, categories: Ids) -> Reals:
        """Class probabilities [n, classes]; never learns. Safe in many threads while nothing learns here."""
        numeric, categories = self._inputs(numeric, categories)

        def score(tree: int, rows: slice, votes: Reals, weights: Reals) -> None:
            grower = self.growers[tree]
            front, counts = grower.trees[0], grower.record.counts
            score_block(front._state, front._rules, numeric[rows], categories[rows], votes)
            weights[:] = counts[RIGHT] / counts[JUDGED] if counts[JUDGED] else 0.0

        return self._vote(len(numeric), score)

    def _vote(self, rows: int, task: Callable[[int, slice, Reals, Reals], None]) -> Reals:
        """`task` for every tree over every piece of rows, in threads; the combined votes."""
        trees, classes = len(self.growers), self.shape[2]
        out = np.zeros((rows, classes))
        piece = max(64, VOTES_MAX // (trees * classes))
        jobs = min(trees, self.params.n_jobs or len(os.sched_getaffinity(0)))
        for begin in range(0, rows, piece):
            here = slice(begin, min(begin + piece, rows))
            size = here.stop - begin
            votes, weights = np.zeros((trees, size, classes)), np.zeros((trees, size))
            if jobs == 1 or size < THREADS_FROM:
                for tree in range(trees):
                    task(tree, here, votes[tree], weights[tree])
            else:
                with ThreadPoolExecutor(jobs) as pool:
                    done = [pool.submit(task, tree, here, votes[tree], weights[tree]) for tree in range(trees)]
                    for one in done:
                        one.result()
            self._combine(votes, weights, out[here])
        return out

    def _combine(self, votes: Reals, weights: Reals, out: Reals) -> None:
        combine(votes, weights if self._weighted else np.zeros_like(weights), out)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Copies of the whole state; trees end to end, each followed by its background tree."""
        records = {
            f"member_{name}": np.stack([getattr(grower.record, name) for grower in self.growers])
            for name in self.growers[0].record._fields
        }
        return records | joined([tree.arrays() for grower in self.growers for tree in grower.trees])

    def meta(self) -> dict[str, Any]:
        """What `restore` needs besides the arrays, and the counts, as JSON. Threads are no part of it."""
        numeric, categories, classes = self.shape
        return {
            "format": self.FORMAT,
            "version": VERSION,
            "numeric": numeric,
            "categories": categories,
            "classes": classes,
            "params": asdict(replace(self.params, n_jobs=None)),
            "stats": self.stats(),
        }

    @classmethod
    def restore(cls, meta: dict[str, Any], arrays: dict[str, NDArray[Any]], n_jobs: int | None = None) -> Self:
        """The forest that gave `meta` and `arrays`; SnapshotError when they are not of this version."""
        if (meta.get("format"), meta.get("version")) != (cls.FORMAT, VERSION):
            raise SnapshotError(f"forest snapshot {meta.get('format')} {meta.get('version')}, wanted {VERSION}")
        forest = cls(meta["numeric"], meta["categories"], meta["classes"], **(meta["params"] | {"n_jobs": n_jobs}))
        check_arrays(forest.arrays(), arrays)
        trees = parted({name: a for name, a in arrays.items() if not name.startswith("member_")})
        if len(trees) != 2 * len(forest.growers):
            raise SnapshotError(f"forest snapshot: {len(trees)} trees, wanted {2 * len(forest.growers)}")
        for at, grower in enumerate(forest.growers):
            record = {name: arrays[f"member_{name}"][at] for name in grower.record._fields}
            grower.fill(record, trees[2 * at : 2 * at + 2])
        return forest

    def stats(self) -> dict[str, int]:
        """Sums over all trees, background trees included: see `HoeffdingTree.stats`; warnings, drifts, trees."""
        each = [tree.stats() for grower in self.growers for tree in grower.trees]
        total = {name: sum(stats[name] for stats in each) for name in each[0]}
        counts = np.sum([grower.record.counts for grower in self.growers], axis=0)

        return total | {
            "rows": each[0]["rows"],
            "trees": len(self.growers),
            "background_trees": int(counts[GROWING]),
            "warnings": int(counts[WARNINGS]),
            "drifts": int(counts[DRIFTS]),
        }

    def finite(self) -> bool:
        """Whether every number in the state is finite."""
        return all(grower.finite() for grower in self.growers)

    def trees(self) -> list[SubsetTree]:
        """The trees that vote, for their text and their splits (rows count from the start of the stream)."""
        return [grower.trees[0] for grower in self.growers]

    def _inputs(self, numeric: Reals, categories: Ids) -> tuple[Reals, Ids]:
        rows = len(numeric)
        return (
            read_only(numeric, np.float64, (rows, self.shape[0]), "numeric"),
            read_only(categories, np.uint64, (rows, self.shape[1]), "categories"),
        )


class AdaptiveForest(Forest):
    """The adaptive random forest."""

    FORMAT = "adaptive-forest"
    PARAMS = AdaptiveParams
