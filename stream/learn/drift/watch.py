"""The drift detectors that `metrics.drift` names, on one arm's progressive loss.

What they see of a row, always from 0 to 1: a classifier's Brier term (over 2 for many classes), for DDM whether the
row was wrong; a regression's absolute error x as x / (x + m), where m is the mean absolute error of the rows until now.
An error counts for at most `OUTLIER` times the mean there, and the mean forgets over `MEMORY` rows.

Published for each detector: `drift_adwin`, how often the loss had risen since the beginning, `drift_adwin_new`, how
often of these in the newest window, and `drift_adwin_better`, how often it had fallen. They are taken to the end of
each metric window.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from stream.block import F64, I64
from stream.jit import cached
from stream.learn.drift.adwin import LIMIT
from stream.learn.drift.detectors import ADWIN, DDM, FELL, KSWIN, ROSE, Detector, PageHinkley
from stream.learn.learner import State
from stream.spec import Spec

DETECTORS: Mapping[str, Callable[..., Detector]] = {
    "adwin": ADWIN, "page_hinkley": PageHinkley, "ddm": DDM, "kswin": KSWIN
}  # fmt: skip
MEMORY, OUTLIER = 10_000.0, 10.0
RIGHT, BRIER = 2, 3  # columns of `measures.terms`; the absolute error stands where `right` does


@cached
def _shares(errors: F64, scale: F64, out: F64) -> None:
    """out = errors as shares of themselves and of their mean until then; scale is rows and mean."""
    for row in range(len(errors)):
        error = errors[row]
        scale[0] += 1.0
        if scale[0] > 1.0:
            error = min(error, OUTLIER * scale[1])
        if scale[0] == 1.0 or scale[1] == 0.0:
            scale[1] = errors[row]
        else:
            scale[1] += (error - scale[1]) / min(scale[0], MEMORY)
        out[row] = errors[row] / (errors[row] + scale[1]) if errors[row] > 0.0 else 0.0


class Watch:
    """Detectors by name, each with its parameters. State: theirs, their counts, and the mean absolute error."""

    def __init__(self, task: str, given: Mapping[str, Mapping[str, Any]]) -> None:
        self._task = task
        self._detectors = {name: DETECTORS[name](**params) for name, params in given.items()}
        self._counts: dict[str, I64] = {name: np.zeros(2, np.int64) for name in given}  # risen, fallen
        self._new = dict.fromkeys(given, 0)  # risen in the newest window
        self._scale = np.zeros(2)

    def update(self, rows: F64) -> None:
        """Show rows of `measures.terms`, in order. A row whose loss is no finite number is passed over."""
        if not self._detectors:
            return
        at = {"regression": RIGHT}.get(self._task, BRIER)
        fits = np.abs(rows[:, at]) <= LIMIT
        if not fits.all():
            rows = rows[fits]
        losses = self._losses(np.ascontiguousarray(rows[:, at]))
        for name, detector in self._detectors.items():
            changes = detector.changes(1 - rows[:, RIGHT] if name == "ddm" else losses)
            self._new[name] = 0
            if changes.any():
                self._new[name] = int((changes == ROSE).sum())
                self._counts[name] += [self._new[name], (changes == FELL).sum()]

    def _losses(self, found: F64) -> F64:
        """From 0 to 1."""
        if self._task != "regression":
            return found if self._task == "binary" else found / 2
        out = np.empty(len(found))
        _shares(found, self._scale, out)
        return out

    def values(self) -> dict[str, float]:
        """Metric name → value."""
        found: dict[str, float] = {}
        for name, (risen, fallen) in self._counts.items():
            found |= {f"drift_{name}": float(risen), f"drift_{name}_new": float(self._new[name])}
            found[f"drift_{name}_better"] = float(fallen)
        return found

    def arrays(self) -> dict[str, Any]:
        """A copy of the state."""
        held: dict[str, Any] = {"drift.scale": self._scale.copy()} if self._detectors else {}
        for name, detector in self._detectors.items():
            held[f"drift.{name}.counts"] = self._counts[name].copy()
            held[f"drift.{name}.new"] = np.array([self._new[name]])
            held |= {f"drift.{name}.{k}": a for k, a in detector.state().arrays.items()}
        return held

    def restore(self, arrays: Mapping[str, Any]) -> None:
        """Go on from `arrays`; a detector that was not there begins anew."""
        self._scale = arrays.get("drift.scale", self._scale).copy()
        for name, detector in self._detectors.items():
            if f"drift.{name}.counts" in arrays:
                self._counts[name] = arrays[f"drift.{name}.counts"].copy()
                self._new[name] = int(arrays[f"drift.{name}.new"][0])
                detector.restore(
                    State({k: arrays[f"drift.{name}.{k}"] for k in ("real", "ints")}, detector.state().meta)
                )


def watch_of(spec: Spec) -> Watch:
    """What the spec wants to be watched."""
    return Watch(spec.task, spec.metrics.drift)


def drift_problems(spec: Spec) -> list[str]:
    """What is wrong with `metrics.drift`; each line starts with its path in the spec."""
    problems = []
    for name, params in spec.metrics.drift.items():
        where = f"metrics.drift.{name}"
        if name not in DETECTORS:
            problems.append(f"{where}: there is no such detector; allowed: {', '.join(DETECTORS)}")
        elif name == "ddm" and spec.task == "regression":
            problems.append(f"{where}: it counts right and wrong answers; the task is regression")
        else:
            problems += [f"{where}.{p}" for p in _param_problems(DETECTORS[name], params)]
    return problems


def _param_problems(make: Callable[..., Detector], params: Mapping[str, Any]) -> list[str]:
    known = {n: p.default for n, p in inspect.signature(make).parameters.items()}
    problems = []
    for name, value in params.items():
        if name not in known:
            problems.append(f"{name}: there is no such parameter; allowed: {', '.join(known)}")
        elif not _is_like(known[name], value):
            wanted = {int: "a whole number", float: "a number", str: "a text"}[type(known[name])]
            problems.append(f"{name}: found {value!r}; {wanted} is wanted, as {known[name]!r}")
    if not problems:
        try:
            make(**params)
        except ValueError as e:
            name, _, rest = str(e).partition(" is ")
            problems.append(f"{name}: found {rest}")
    return problems


def _is_like(default: Any, value: Any) -> bool:
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    return isinstance(value, kinds) and not isinstance(value, bool)
