"""River's own forests over ten seeds, kept for the tests, and ours beside them: `python -m tests.equivalence --seeds`.

`python -m tests.equivalence._forest_seeds [part of a title ...]` runs River anew, all cases or some, and writes
tests/golden/forest_seeds.json: progressive accuracy or mean absolute error (ten trees, River's defaults) by seed. A
case is equal when the two means differ by less than three standard errors of their difference (Welch).
"""

import json
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from river import datasets, forest

from stream.learn.forest import AdaptiveForest, RegressorForest
from tests.equivalence.forests import (
    VALUES,
    Numbers,
    Rows,
    clusters,
    collect,
    drifting,
    flights,
    friedman,
    planes,
    trump,
)

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "forest_seeds.json"
SEEDS = range(10)
ERRORS_MAX = 3.0


def phishing(rows: int) -> Rows:
    """River's Phishing, 1,250 rows."""
    return collect(iter(datasets.Phishing()), ("empty_server_form_handler", "ip_in_url"), rows)


@dataclass(frozen=True, slots=True)
class Case:
    """A forest on a stream."""

    title: str
    make: Callable[[int], Rows]
    rows: int
    params: dict[str, Any] = field(default_factory=dict)

    @property
    def regression(self) -> bool:
        """Whether labels are numbers."""
        return self.title in VALUES

    def ours(self, rows: Rows, seed: int) -> float:
        """Accuracy, or mean absolute error, of our forest."""
        shape = rows.numeric.shape[1], rows.categories.shape[1]
        if self.regression:
            scores = RegressorForest(*shape, seed=seed, **self.params).score_learn(*rows)
            return float(np.abs(scores - rows.target).mean())
        scores = AdaptiveForest(*shape, rows.classes, seed=seed, **self.params).score_learn(*rows)
        return float((scores.argmax(axis=1) == rows.target).mean())

    def rivers(self, rows: Rows, seed: int) -> float:
        """The same of River's, with draws of its own."""
        made: Any = forest.ARFRegressor if self.regression else forest.ARFClassifier
        params = self.params | ({"leaf_model": Numbers()} if self.regression else {})
        model, total = made(seed=seed, nominal_attributes=rows.nominal(), **params), 0.0
        for x, y in zip(rows.dicts(), rows.target.tolist(), strict=True):
            guess = model.predict_one(x)
            total += abs(guess - y) if self.regression else guess == y
            model.learn_one(x, y)
        return total / len(rows.target)


MEAN = {"leaf_prediction": "mean"}  # linear leaves can't take unscaled numbers of some hundred thousands
CASES = [
    Case("agrawal, drifting", drifting, 4_000),
    Case("rbf, drifting", clusters, 4_000),
    Case("phishing", phishing, 1_250),
    Case("flights", flights, 5_000),
    Case("friedman", friedman, 3_000),
    Case("planes, turned over", planes, 3_000),
    Case("trump approval, again and again", trump, 1_001, MEAN),
]


def kept() -> dict[str, Any]:
    """Title → what River's seeds gave."""
    found: dict[str, Any] = json.loads(GOLDEN.read_text())["cases"]
    return found


def compare(case: Case, theirs: list[float]) -> tuple[list[float], float]:
    """Our figure for each seed, and how many standard errors of the difference our mean is above River's."""
    rows = case.make(case.rows)
    ours = [case.ours(rows, seed) for seed in SEEDS]
    error = math.sqrt((np.var(ours, ddof=1) + np.var(theirs, ddof=1)) / len(SEEDS))
    return ours, float((np.mean(ours) - np.mean(theirs)) / error)


def table() -> tuple[str, bool]:
    """Every case as Markdown, and whether all are equal."""
    lines = [
        "| stream | rows | measure | River, mean ± deviation | ours | ours less River, standard errors |",
        "|---|---:|---|---:|---:|---:|",
    ]
    equal, golden = True, kept()
    for case in CASES:
        theirs = golden[case.title]["values"]
        ours, apart = compare(case, theirs)
        equal &= abs(apart) < ERRORS_MAX
        shown = [f"{np.mean(v):.4f} ± {np.std(v, ddof=1):.4f}" for v in (theirs, ours)]
        measure = "error" if case.regression else "accuracy"
        lines.append(f"| {case.title} | {case.rows:,} | {measure} | {shown[0]} | {shown[1]} | {apart:+.1f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines), equal


def main(wanted: list[str]) -> int:
    """See the module."""
    found = json.loads(GOLDEN.read_text())["cases"] if wanted else {}
    for case in CASES:
        if not wanted or any(part in case.title for part in wanted):
            rows = case.make(case.rows)
            values = [case.rivers(rows, seed) for seed in SEEDS]
            found[case.title] = {"rows": case.rows, "params": case.params, "values": values}
            print(case.title, values, file=sys.stderr, flush=True)
            GOLDEN.write_text(json.dumps({"river": "0.26", "cases": found}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
