"""The demo's experiment: a ramp while flights stream, and what came of it all in the end.

What a person would type, the demo says to the same functions: `headwater experiment ramp`, `history`, `report`. The
guardrail is no part of this: `headwater experiment guard` runs beside the steps, and does what it finds right.
"""

import shutil
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from consumers._control import Changed, change, state_of
from consumers._experiment import report_of
from consumers._experiment_page import write_page
from consumers.settings import Settings
from stream.experiment.control import Action, State, ramp
from stream.experiment.report import Report
from stream.spec import Spec

METRIC = "brier"
RAMPED, SHARE = "tree", 0.5
WHO, WHY = "demo", "the tree kept up so far"
AT = 1 / 3  # of the flights
ALPHA = 0.05


def with_experiment(raw: dict[str, Any], examples: Path, folder: Path) -> dict[str, Any]:
    """The example's spec with the arms and the experiment that the demo adds; models are copied into the folder."""
    more = yaml.safe_load((examples / "flights" / "experiment.yaml").read_text())
    for arm in more["arms"].values():
        library, _, file = arm["model"].partition(":")
        if library == "onnx":
            copied = shutil.copy(examples / file, folder)
            arm["model"] = f"onnx:{Path(copied).name}"
    return {**raw, "arms": raw["arms"] | more["arms"], "experiment": raw["experiment"] | more["experiment"]}


class Ramp:
    """Ramps one arm, once, when so many flights were seen; in a thread of its own, for publishing goes on meanwhile."""

    def __init__(self, spec: Spec, settings: Settings, flights: int) -> None:
        self._spec, self._settings, self._left = spec, settings, max(1, round(flights * AT))
        self._pool = ThreadPoolExecutor(1, "ramp")
        self._done: Future[Changed] | None = None

    def seen(self) -> None:
        """One more flight."""
        self._left -= 1
        if self._left == 0:
            self._done = self._pool.submit(change, self._spec, self._settings, self._record)

    def _record(self, state: State) -> Any:
        return ramp(self._spec, state, {RAMPED: SHARE}, WHO, time.time_ns() // 1_000_000, WHY)

    def close(self) -> None:
        """Wait until it is done. Raises what it raised."""
        try:
            if self._done is not None:
                self._done.result()
        finally:
            self._pool.shutdown()


@dataclass(frozen=True, slots=True)
class Experiment:
    """What came of it. shares: now; changes: control records; compared: arm → its difference to the control in METRIC.

    shadows: arm → metrics of what it would have answered, over the same answers.
    """

    control: str
    shares: dict[str, float]
    changes: list[dict[str, Any]]
    compared: dict[str, dict[str, Any]]
    shadows: dict[str, dict[str, float]]
    ratio_kept: bool
    page: str = field(default="")

    def actions(self, action: Action) -> list[dict[str, Any]]:
        """The changes of this kind."""
        return [c for c in self.changes if c["action"] == action]


def experiment_of(spec: Spec, settings: Settings, metrics: Mapping[str, dict[str, float]], page: Path) -> Experiment:
    """Read what Kafka has, and write the experiment's own page."""
    report = report_of(spec, settings, None, ALPHA, None, ["carrier"], False, lambda *_: None)
    state = state_of(spec, settings)
    write_page(report, page)
    return Experiment(
        control=report.control,
        shares=dict(state.shares),
        changes=[asdict(r) for r in state.records],
        compared=_compared(report),
        shadows={a: metrics.get(f"shadow_total.{a}", {}) for a, arm in spec.arms.items() if arm.shadow},
        ratio_kept=not any(line.broken for line in report.ratio),
        page=str(page.resolve()),
    )


def _compared(report: Report) -> dict[str, dict[str, Any]]:
    of = next(m for m in report.metrics if m.metric.name == METRIC)
    return {
        c.arm: {"difference": c.now.estimate, "low": c.now.low, "high": c.now.high, "outcomes": c.now.n,
                "verdict": c.verdict}
        for c in of.comparisons
    }  # fmt: skip
