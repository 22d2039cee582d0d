"""Our trees against River's, one event at a time: splits, alternate trees and predictions.

`python -m tests.equivalence --only trees` is the long form; the unit tests run shorter pieces of it.
"""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from river import drift, tree

from stream.learn.adaptive import AdaptiveTree
from stream.learn.adaptive.layout import ALTERNATE, TOP
from stream.learn.adaptive_regress import AdaptiveRegressor
from stream.learn.regress import HoeffdingRegressor
from stream.learn.tree import HoeffdingTree
from stream.learn.tree.layout import FIRST, KIND, LEAF, NEXT

from ._table import Equal, difference
from ._tree_river import Adaptive, AdaptiveNumbers, Classifier, NumbersOnly, Regressor, Splits, as_dicts, mended
from ._tree_streams import CLASSES, DRIFTS, VALUES, Rows, Streams, ragged, stream

EAGER = {"grace_period": 50, "delta": 1e-2, "tau": 0.2}
LOOK_EVERY = 1000  # rows between comparisons of whole adaptive trees


def drive(river: Any, rows: Rows, after: Callable[[int], None] | None = None) -> NDArray[np.float64]:
    """River's predictions, [n] or [n, classes], each before the row is learned; `after` is told each row's number."""
    classes = rows.shape[2:]
    out = np.zeros((len(rows.target), *classes))
    weights = np.ones(len(rows.target)) if rows.weight is None else rows.weight
    for row, (x, y, w) in enumerate(zip(as_dicts(rows), rows.target.tolist(), weights.tolist(), strict=True)):
        river.row = row
        if classes:
            for label, share in river.predict_proba_one(x).items():
                out[row, label] = share
        else:
            out[row] = river.predict_one(x)
        river.learn_one(x, y, w=w)
        if after is not None:
            after(row)
    return out


def splits_of(ours: Any) -> Splits:
    """The splits of one of our trees, in the order made, as `_tree_river` writes them down."""
    return [(split.row, split.attribute, split.threshold, split.categories) for split in ours.split_log()]


def versus_classifier(rows: Rows, **params: Any) -> tuple[float, int, float, float]:
    """(largest difference, splits, River's seconds, ours); AssertionError when a split differs."""
    return _versus(HoeffdingTree(*rows.shape, **params), Classifier(rows.shape, **params), rows)


def versus_regressor(rows: Rows, digits: int | None = 1, **params: Any) -> tuple[float, int, float, float]:
    """As `versus_classifier`."""
    splitter = tree.splitter.EBSTSplitter() if digits is None else tree.splitter.TEBSTSplitter(digits)
    river = Regressor(rows.shape, leaf_model=NumbersOnly(), splitter=splitter, **params)
    return _versus(HoeffdingRegressor(*rows.shape, digits=digits, **params), river, rows)


def _versus(ours: Any, river: Any, rows: Rows) -> tuple[float, int, float, float]:
    begin = perf_counter()
    wanted = drive(river, rows)
    between = perf_counter()
    scores = ours.score_learn(*rows)
    end = perf_counter()
    assert splits_of(ours) == river.splits
    worst = difference(scores.ravel().tolist(), wanted.ravel().tolist())
    return worst, len(river.splits), between - begin, end - between


def versus_adaptive(
    rows: Rows, grow_alternates: bool, seed: int = 3, mend: bool = True, adwin_delta: float = 0.002, **params: Any
) -> tuple[float, dict[str, int], float, float]:
    """(largest difference, our counts, River's seconds, ours); AssertionError when anything happens at another event.

    Compared after every event: how many alternate trees were started, took over, were dropped, and draws; every
    thousand events: both trees whole, with the event at which each split was made.
    """
    habits: dict[str, Any] = {"seed": seed, "grow_alternates": grow_alternates, "adwin_delta": adwin_delta}
    made: Any = AdaptiveTree if rows.shape[2:] else AdaptiveRegressor
    theirs_made = Adaptive if rows.shape[2:] else AdaptiveNumbers
    ours = made(*rows.shape, **habits, **params)
    river = theirs_made(rows.shape, seed, drift_detector=drift.ADWIN(adwin_delta), **params)
    scores = np.zeros((len(rows.target), *rows.shape[2:]))
    spent = 0.0

    def after(row: int) -> None:
        nonlocal spent
        begin = perf_counter()
        scores[row] = ours.score_learn(*rows.cut(row, row + 1))[0]
        stats = ours.stats()
        counts = [stats[f"alternates_{what}"] for what in ("started", "switched", "pruned")]
        theirs = [river.n_alternate_trees, river.n_switch_alternate_trees, river.n_pruned_alternate_trees]
        assert [*counts, stats["draws"]] == [*theirs, river._rng.count], f"row {row}"
        if row % LOOK_EVERY == 0 or row + 1 == len(rows.target):
            assert outline(ours) == river_outline(river._root), f"row {row}"
        spent += perf_counter() - begin

    begin = perf_counter()
    with mended(grow_alternates) if mend else nullcontext():
        wanted = drive(river, rows, after)
    river_s = perf_counter() - begin - spent
    again = made(*rows.shape, **habits, **params)
    begin = perf_counter()
    at_once = again.score_learn(*rows)
    ours_s = perf_counter() - begin
    assert np.array_equal(at_once, scores)
    return difference(scores.ravel().tolist(), wanted.ravel().tolist()), ours.stats(), river_s, ours_s


def outline(ours: Any) -> Any:
    """The tree as nested tuples: split, children, alternate tree; a leaf is None."""
    arrays = ours.arrays()
    ints, links = arrays["node_int"], arrays["node_link"]
    made = {split.node: (split.row, split.attribute, split.threshold, split.categories) for split in ours.split_log()}

    def under(node: int) -> Any:
        if ints[node, KIND] == LEAF:
            return None
        children, child = [], int(ints[node, FIRST])
        while child != 0:
            children.append(under(child))
            child = int(ints[child, NEXT])
        alternate = int(links[node, ALTERNATE])
        return made[node], children, (under(alternate),) if alternate else ()

    return under(int(arrays["counters"][TOP]))


def river_outline(node: Any) -> Any:
    """The same of a node of River's tree."""
    if not hasattr(node, "children"):
        return None
    alternate = (river_outline(node._alternate_tree),) if node._alternate_tree else ()
    return node.split, [river_outline(child) for child in node.children], alternate


def plan(rows: int) -> list[tuple[str, Callable[[], Equal]]]:
    """All trees on all their streams, whole and ragged. `weights` of a line are its splits: the same, or it raises."""

    def classifier(given: Rows) -> tuple[Any, ...]:
        with mended(False):
            return versus_classifier(given)

    kinds: list[tuple[Streams, str, Callable[[Rows], tuple[Any, ...]]]] = [
        (CLASSES, "tree.hoeffding", classifier),
        (VALUES, "tree.regressor", versus_regressor),
        (VALUES, "tree.adaptive_regressor", lambda given: versus_adaptive(given, True)),
        (VALUES, "tree.adaptive_regressor, grow_alternates: false", lambda given: versus_adaptive(given, False)),
        (DRIFTS, "tree.adaptive", lambda given: versus_adaptive(given, True)),
        (DRIFTS, "tree.adaptive, grow_alternates: false", lambda given: versus_adaptive(given, False)),
    ]
    return [
        (f"{model} on {title}", partial(_line, streams, name, title, model, versus, rows))
        for streams, model, versus in kinds
        for name in streams
        for title in (name, f"{name}, ragged")
    ]


def _line(
    streams: Streams, name: str, title: str, model: str, versus: Callable[[Rows], tuple[Any, ...]], rows: int
) -> Equal:
    given = stream(name, streams, rows)
    worst, _, river_s, ours_s = versus(given if title == name else ragged(given))
    return Equal(title, model, len(given.target), worst, 0.0, river_s, ours_s)
