"""Progressive validation: every row is scored before it is learned; metrics of a window, since the beginning, fading.

Source: Dawid 1984 (prequential); Gama, Sebastião and Rodrigues 2013 (fading factors); as River's
`evaluate.progressive_val_score`. Names: `accuracy` of the window, `accuracy_all` since the beginning,
`accuracy_fading` where each row makes those before it count by a factor less. AUC of a window is exact (ties count
half); the others count scores in bins (`stream/evaluate/roc.py`). `measures.py` has the formulas.

What `metrics.drift` names watches the same rows (`stream/learn/drift/watch.py`).

Sums are carried on at the end of each window, so they don't depend on how rows were cut into blocks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from stream.block import F64, I64
from stream.evaluate.measures import Tally, terms
from stream.evaluate.roc import BINS, auc, binned_auc, count
from stream.learn.learner import State

ALL, FADING = "_all", "_fading"


@dataclass(frozen=True, slots=True)
class Window:
    """number: from 0; rows: from the beginning; values: metric name → value; see the module for the endings."""

    number: int
    rows: int
    time_ms: int
    values: dict[str, float]


class Watcher(Protocol):
    """What watches the rows of each window, once it is complete."""

    def update(self, rows: F64) -> None:
        """Take rows of `measures.terms`, in order."""
        ...

    def values(self) -> dict[str, float]:
        """Metric name → value, as of the newest complete window."""
        ...

    def arrays(self) -> dict[str, Any]:
        """A copy of the state."""
        ...

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on from `arrays`."""
        ...


class Span:
    """Metrics over more than a window: since the beginning (factor 1), or fading. State: sums, and bins if binary."""

    def __init__(self, task: str, classes: int, factor: float = 1.0) -> None:
        self._factor = factor
        self._tally = Tally(task, classes, factor)
        self._bins = np.zeros((2, BINS if task == "binary" else 0))

    def copy(self) -> "Span":
        """One that shares nothing."""
        other = Span.__new__(Span)
        other._factor, other._tally, other._bins = self._factor, self._tally.copy(), self._bins.copy()
        return other

    def add(self, rows: F64, scores: F64, label: F64) -> None:
        """Count rows in order."""
        self._tally.add(rows, label)
        if self._bins.size:
            count(scores, label == 1, self._factor, self._bins)

    def values(self) -> dict[str, float]:
        """Metric name → value; {} before the first row."""
        found = self._tally.values()
        return found | ({"auc": binned_auc(self._bins)} if found and self._bins.size else {})

    def arrays(self, name: str) -> dict[str, F64]:
        """A copy of the state."""
        held = {"sums": self._tally.sums, "spread": self._tally.spread, "bins": self._bins}
        return {f"{name}.{k}": v.copy() for k, v in held.items()}

    def restore(self, name: str, arrays: dict[str, F64]) -> None:
        """Go on from `arrays`."""
        self._tally.sums, self._tally.spread = arrays[f"{name}.sums"].copy(), arrays[f"{name}.spread"].copy()
        self._bins = arrays[f"{name}.bins"].copy()


class Prequential:
    """One arm's progressive metrics. State: the open window's scores and labels, the spans, and the watcher's.

    fading: the factor, 0 < fading < 1 (0.999 forgets half in 693 rows); None for none.
    """

    def __init__(
        self, task: str, classes: int, window_rows: int, fading: float | None = None, watch: Watcher | None = None
    ) -> None:
        self._watch = watch
        self._task, self._size, self._classes, self._fading = task, window_rows, classes, fading
        self._width = max(1, classes)
        self._scores = np.zeros((window_rows, self._width))
        self._labels = np.zeros(window_rows)
        self._spans = {ALL: Span(task, classes)} | ({FADING: Span(task, classes, fading)} if fading else {})
        self._rows = self._restored = 0  # rows, and of these before the window that was restored

    def update(self, scores: F64, label: F64, time_ms: I64) -> list[Window]:
        """Count rows in order; returns the windows that they completed."""
        out, start = [], 0
        scores = scores.reshape(len(label), self._width)
        while start < len(label):
            at = self._rows % self._size
            n = min(self._size - at, len(label) - start)
            self._scores[at : at + n] = scores[start : start + n]
            self._labels[at : at + n] = label[start : start + n]
            self._rows, start = self._rows + n, start + n
            if at + n == self._size:
                values = self._measure(self._size, self._spans, self._watch)
                out.append(Window(self._rows // self._size - 1, self._rows, int(time_ms[start - 1]), values))
        return out

    def recent(self) -> tuple[F64, F64]:
        """Scores float64[n, 1 or classes] and labels of the newest rows at hand, up to a window; in no order."""
        n = min(self._rows - self._restored, self._size)
        return self._scores[:n], self._labels[:n]

    def totals(self) -> dict[str, float]:
        """Metrics of all rows so far, those of the open window included; nothing changes. {} before the first row."""
        if not self._rows:
            return {}
        values = self._measure(self._rows % self._size, {ALL: self._spans[ALL].copy()})
        found = {k.removesuffix(ALL): v for k, v in values.items() if k.endswith(ALL)}
        return found | (self._watch.values() if self._watch else {})

    def _measure(self, n: int, spans: dict[str, Span], watch: Watcher | None = None) -> dict[str, float]:
        """Metrics of the first n rows of the open window, and of the spans and the watcher, which they are added to."""
        flat = self._scores[:n, 0] if self._width == 1 else self._scores[:n]
        label = self._labels[:n]
        rows = terms(self._task, flat, label)
        window = Tally(self._task, self._classes)
        window.add(rows, label)
        values = window.values()
        if n and self._task == "binary":
            values |= {"auc": auc(flat, label == 1), "base_rate": float((label == 1).mean())}
        for ending, span in spans.items():
            span.add(rows, flat, label)
            values |= {f"{k}{ending}": v for k, v in span.values().items()}
        if watch is not None:
            watch.update(rows)
            values |= watch.values()
        return values

    def state(self) -> State:
        """A copy of the whole state; rows of the open window beyond its end are left out."""
        open_rows = self._rows % self._size
        arrays = {"scores": self._scores[:open_rows].copy(), "labels": self._labels[:open_rows].copy()}
        for ending, span in self._spans.items():
            arrays |= span.arrays(ending.removeprefix("_"))
        if self._watch is not None:
            arrays |= self._watch.arrays()
        return State(arrays, {"rows": self._rows, "window_rows": self._size, "fading": self._fading})

    def restore(self, state: State) -> None:
        """Go on from a state of the same task, window and fading."""
        a = state.arrays
        self._rows = state.meta["rows"]
        self._restored = self._rows - len(a["labels"])
        self._scores[: len(a["scores"])], self._labels[: len(a["labels"])] = a["scores"], a["labels"]
        for ending, span in self._spans.items():
            span.restore(ending.removeprefix("_"), a)
        if self._watch is not None:
            self._watch.restore(a)
