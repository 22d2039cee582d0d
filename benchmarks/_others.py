"""Vowpal Wabbit and scikit-learn on the same rows. Both are optional: `pip install 'headwater[bench]'`."""

import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._rows import Rows
from benchmarks._run import Run, now, since
from stream.block import F64

HASHED = 1 << 14  # each partial_fit copies all weights, so more would only be slower


def vowpal(*options: str) -> Callable[[Rows], Run]:
    """VW's own loop (C++, a parser thread beside the learner's) over its own binary cache file of the rows.

    Start-up (an engine that reads nothing) is subtracted. PyPI's `vowpalwabbit` has no `vw` binary;
    this is the same code run through its binding, with no Python in the loop.
    """

    def prepare(rows: Rows) -> Run:
        from vowpalwabbit import Workspace

        folder = Path(tempfile.mkdtemp(prefix="headwater-vw-"))
        (folder / "rows.txt").write_text("\n".join(_lines(rows)) + "\n")
        bare = " ".join(["--loss_function logistic --link logistic --quiet -b 18", *options])
        command = f"{bare} -d {folder}/rows.txt --cache_file {folder}/rows.cache"
        Workspace(f"{command} -p {folder}/scores.txt").finish()  # makes the cache
        scores = np.loadtxt(folder / "scores.txt", ndmin=1)

        def run() -> tuple[float, F64]:
            begin = now()
            Workspace(command).finish()
            return (since(begin)) / len(rows), scores

        weakref.finalize(run, shutil.rmtree, folder, ignore_errors=True)
        return run

    return prepare


def vowpal_lines() -> Callable[[Rows], Run]:
    """VW fed by Python, a line of text made of each row's dicts."""

    def prepare(rows: Rows) -> Run:
        from vowpalwabbit import Workspace

        def run() -> tuple[float, F64]:
            model = Workspace("--loss_function logistic --link logistic --quiet -b 18")
            scores = np.empty(len(rows))
            begin = now()
            for i, line in enumerate(_lines(rows)):
                example = model.parse(line)
                model.learn(example)
                scores[i] = example.get_simplelabel_prediction()
                model.finish_example(example)
            seconds = since(begin)
            model.finish()
            return seconds / len(rows), scores

        return run

    return prepare


def _lines(rows: Rows) -> Any:
    for (numbers, texts), y in zip(rows.dicts(), rows.label.tolist(), strict=True):
        left = " ".join(f"{k}:{v:.9g}" for k, v in numbers.items())
        right = " ".join(f"{k}={v}" for k, v in texts.items())
        yield f"{1 if y else -1} |n {left} |c {right}"


def sgd(step: int, encode: bool = False) -> Callable[[Rows], Run]:
    """scikit-learn's SGDClassifier, `step` rows at a time: scaled numbers, hashed texts, score, then partial_fit.

    encode: hashing the dicts counts too. The scaler's own work (partial_fit, transform) always counts.
    """

    def prepare(rows: Rows) -> Run:
        from scipy.sparse import csr_matrix, hstack
        from sklearn.feature_extraction import FeatureHasher
        from sklearn.linear_model import SGDClassifier
        from sklearn.preprocessing import StandardScaler

        hasher = FeatureHasher(HASHED, input_type="string")
        numbers = np.nan_to_num(rows.block.numeric)

        def hashed(dicts: Any) -> Any:
            return hasher.transform([f"{k}={v}" for k, v in texts.items()] for _, texts in dicts)

        kept = None if encode else hashed(rows.dicts())

        def run() -> tuple[float, F64]:
            scaler, model, scores = StandardScaler(), SGDClassifier(loss="log_loss"), np.zeros(len(rows))
            begin = now()
            made = list(rows.dicts()) if encode else []
            for at in range(0, len(rows), step):
                piece = slice(at, at + step)
                texts = hashed(made[piece]) if kept is None else kept[piece]
                if at:
                    x = hstack([csr_matrix(scaler.transform(numbers[piece])), texts], format="csr")
                    scores[piece] = model.predict_proba(x)[:, 1]
                scaler.partial_fit(numbers[piece])
                x = hstack([csr_matrix(scaler.transform(numbers[piece])), texts], format="csr")
                model.partial_fit(x, rows.label[piece], classes=[0.0, 1.0])
            return (since(begin)) / len(rows), scores

        return run

    return prepare
