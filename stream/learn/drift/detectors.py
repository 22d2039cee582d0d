"""ADWIN, Page-Hinkley, DDM and KSWIN for users: River's names, parameters and defaults, and whole blocks at once.

    detector = ADWIN(delta=0.002)
    drifts = detector.update_block(losses)  # bool[n]
    changes = detector.changes(losses)  # int8[n]: 1 where a drift raised the values, -1 where it lowered them
    detector.update(0.3)
    detector.drift_detected

A detector's state is one row of float64 and one of int64: a function of the values alone, however they were cut into
blocks, and `state()` then `restore()` goes on bit for bit. A value that can't be taken raises ValueError, with
nothing of its block taken. `n_detections` counts all drifts, which River's forgets at each drift.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stream.errors import SnapshotError
from stream.jit import cached, digest_of
from stream.learn.drift import adwin, ddm, kswin, page_hinkley
from stream.learn.learner import State
from stream.learn.tree import draws
from stream.learn.tree.layout import Ints, Reals

Flags = NDArray[np.bool_]
Changes = NDArray[np.int8]
NONE, ROSE, FELL = 0, 1, -1
_SOURCES = digest_of(*Path(__file__).parent.glob("*.py"), Path(draws.__file__))


def _entry_points(sources: int) -> tuple[Callable[..., None], ...]:
    """One loop over a block for each detector."""

    @cached
    def adwin_rows(
        real: Reals, ints: Ints, x: Reals, out: Changes, delta: float, clock: int, most: int, least: int, grace: int
    ) -> None:
        _ = sources
        for row in range(len(x)):
            before = adwin.adwin_estimation(real, ints)
            if adwin.adwin_update(real, ints, x[row], delta, clock, most, least, grace):
                out[row] = ROSE if adwin.adwin_estimation(real, ints) > before else FELL

    @cached
    def page_hinkley_rows(
        real: Reals, ints: Ints, x: Reals, out: Changes, least: int, delta: float, limit: float, alpha: float, mode: int
    ) -> None:
        _ = sources
        for row in range(len(x)):
            if page_hinkley.page_hinkley_update(real, ints, x[row], least, delta, limit, alpha, mode):
                out[row] = ROSE if page_hinkley.has_grown(real, limit, mode) else FELL

    @cached
    def ddm_rows(real: Reals, ints: Ints, x: Reals, out: Changes, warm: int, warning: float, drift: float) -> None:
        _ = sources
        for row in range(len(x)):
            if ddm.ddm_update(real, ints, x[row], warm, warning, drift):
                out[row] = ROSE

    @cached
    def kswin_rows(real: Reals, ints: Ints, x: Reals, out: Changes, work: Reals, size: int, smallest: int) -> None:
        _ = sources
        for row in range(len(x)):
            if kswin.kswin_update(real, ints, work, x[row], size, smallest):
                out[row] = ROSE if kswin.has_risen(work, size) else FELL

    return adwin_rows, page_hinkley_rows, ddm_rows, kswin_rows


_adwin_rows, _page_hinkley_rows, _ddm_rows, _kswin_rows = _entry_points(_SOURCES)


def _require(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} is {value!r}; {low} to {high} is allowed")


class Detector:
    """What all detectors have in common; a subclass sets `kind` and gives its rows, parameters and loop."""

    kind = ""

    def __init__(
        self, reals: int, integers: int, params: dict[str, Any], loop: Callable[..., None], *args: Any
    ) -> None:
        self.params = params
        self._real, self._ints = np.zeros(reals), np.zeros(integers, np.int64)
        self._loop, self._args = loop, args

    def update(self, x: float) -> None:
        """Take one value. Raises ValueError when it can't be taken."""
        self.update_block([x])

    def update_block(self, values: ArrayLike) -> Flags:
        """Take values float64[n] in order; whether each showed a drift, bool[n]. ValueError, and none taken, if bad."""
        return np.asarray(self.changes(values) != NONE)

    def changes(self, values: ArrayLike) -> Changes:
        """As `update_block`, with the direction: 1 where a drift raised the values, -1 where it lowered them."""
        x = np.ascontiguousarray(values, np.float64)
        if x.ndim != 1:
            raise ValueError(f"values have shape {x.shape}; one dimension is wanted")
        bad = np.flatnonzero(~self._fits(x))
        if bad.size:
            raise ValueError(f"value {bad[0]} is {x[bad[0]]}; {self._wanted} is wanted")
        out = np.zeros(len(x), np.int8)
        self._loop(self._real, self._ints, x, out, *self._args)
        return out

    _wanted = f"a finite number up to {adwin.LIMIT:g}"

    def _fits(self, x: Reals) -> Flags:
        return np.asarray(np.abs(x) <= adwin.LIMIT)

    @property
    def drift_detected(self) -> bool:
        """Whether the newest value showed a drift."""
        return bool(self._ints[adwin.DRIFTED])

    @property
    def n_detections(self) -> int:
        """How many drifts were detected in all."""
        return int(self._ints[adwin.DETECTIONS])

    def state(self) -> State:
        """A copy of the whole state."""
        meta = {"kind": self.kind, "version": 1, "params": self.params}
        return State({"real": self._real.copy(), "ints": self._ints.copy()}, meta)

    def restore(self, state: State) -> None:
        """Go on from a state of the same kind and parameters; raises SnapshotError for another."""
        own = self.state()
        if state.meta != own.meta or any(state.arrays[k].shape != a.shape for k, a in own.arrays.items()):
            raise SnapshotError(f"found the state of {state.meta}; this detector is {own.meta}")
        self._real, self._ints = state.arrays["real"].copy(), state.arrays["ints"].copy()


class ADWIN(Detector):
    """A window that drops its oldest part once its mean has changed: `drift.ADWIN`. max_buckets is at least 2."""

    kind = "drift.adwin"

    def __init__(
        self,
        delta: float = 0.002,
        clock: int = 32,
        max_buckets: int = 5,
        min_window_length: int = 5,
        grace_period: int = 10,
    ) -> None:
        _require("delta", delta, 1e-300, 1)
        _require("clock", clock, 1, 1_000_000_000)
        _require("max_buckets", max_buckets, 2, 1000)
        _require("min_window_length", min_window_length, 0, 1_000_000_000)
        _require("grace_period", grace_period, 0, 1_000_000_000)
        names = ("delta", "clock", "max_buckets", "min_window_length", "grace_period")
        given = (float(delta), clock, max_buckets, min_window_length, grace_period)
        widths = adwin.adwin_real_width(max_buckets), adwin.adwin_int_width(max_buckets)
        super().__init__(*widths, dict(zip(names, given, strict=True)), _adwin_rows, *given)

    @property
    def width(self) -> int:
        """How many values the window holds."""
        return int(self._ints[adwin.WIDTH])

    @property
    def total(self) -> float:
        """The sum of the window."""
        return float(self._real[adwin.TOTAL])

    @property
    def variance(self) -> float:
        """The sum of squared deviations in the window, as River has it under this name."""
        return float(self._real[adwin.VARIANCE])

    @property
    def estimation(self) -> float:
        """The mean of the window; 0 when it is empty."""
        return self.total / self.width if self.width else 0.0


class PageHinkley(Detector):
    """Page-Hinkley test: `drift.PageHinkley`. mode is "up", "down" or "both"."""

    kind = "drift.page_hinkley"

    def __init__(
        self,
        min_instances: int = 30,
        delta: float = 0.005,
        threshold: float = 50.0,
        alpha: float = 1 - 0.0001,
        mode: str = "both",
    ) -> None:
        modes = ("up", "down", "both")
        if mode not in modes:
            raise ValueError(f"mode is {mode!r}; one of {modes} is allowed")
        _require("min_instances", min_instances, 0, 1_000_000_000)
        _require("delta", delta, 0, 1e12)
        _require("threshold", threshold, 0, adwin.LIMIT)
        _require("alpha", alpha, 0, 1)
        given = (min_instances, float(delta), float(threshold), float(alpha))
        params = dict(zip(("min_instances", "delta", "threshold", "alpha"), given, strict=True)) | {"mode": mode}
        args = (*given, modes.index(mode))
        super().__init__(page_hinkley.REALS, page_hinkley.INTS, params, _page_hinkley_rows, *args)


class DDM(Detector):
    """Drift Detection Method over errors, 1 wrong and 0 right: `drift.binary.DDM`."""

    kind = "drift.ddm"
    _wanted = "0 (right) or 1 (wrong)"

    def __init__(self, warm_start: int = 30, warning_threshold: float = 2.0, drift_threshold: float = 3.0) -> None:
        _require("warm_start", warm_start, 0, 1_000_000_000)
        _require("warning_threshold", warning_threshold, 0, 1e12)
        _require("drift_threshold", drift_threshold, 0, 1e12)
        given = (warm_start, float(warning_threshold), float(drift_threshold))
        params = dict(zip(("warm_start", "warning_threshold", "drift_threshold"), given, strict=True))
        super().__init__(ddm.REALS, ddm.INTS, params, _ddm_rows, *given)

    def _fits(self, x: Reals) -> Flags:
        return np.asarray((x == 0) | (x == 1))

    @property
    def warning_detected(self) -> bool:
        """Whether the newest value is in the warning zone."""
        return bool(self._ints[ddm.WARNED])


class KSWIN(Detector):
    """Kolmogorov-Smirnov windowing: `drift.KSWIN`. stat_size is at most half of window_size."""

    kind = "drift.kswin"

    def __init__(self, alpha: float = 0.005, window_size: int = 100, stat_size: int = 30, seed: int = 1) -> None:
        _require("alpha", alpha, 0, 1)
        _require("window_size", window_size, 2, 100_000)
        _require("stat_size", stat_size, 1, min(1000, window_size // 2))
        _require("seed", seed, 0, 2**63 - 1)
        self._size = stat_size
        params = {"alpha": float(alpha), "window_size": window_size, "stat_size": stat_size, "seed": seed}
        args = (np.zeros(2 * stat_size), stat_size, kswin.gap_min(stat_size, alpha))
        super().__init__(window_size, kswin.INTS, params, _kswin_rows, *args)
        self._ints[kswin.SEED] = seed

    @property
    def p_value(self) -> float:
        """Of the newest test; 1 before the first."""
        return kswin.p_value(int(self._ints[kswin.GAP]), self._size)
