"""River's models, one event at a time: as its users write them, and fed as it is fastest."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from river import compose, forest, linear_model, optim, preprocessing, tree

from benchmarks._rows import Rows
from benchmarks._run import Run, now, since

LR = 0.02  # the example spec's


class Sparse:
    """A scaler for the numbers and `name=value` features of 1 for texts. `x` is both dicts: River's least work."""

    def __init__(self, model: Any = None) -> None:
        self._scaler = preprocessing.StandardScaler()
        self._model = model or linear_model.LogisticRegression(optim.SGD(LR))

    def _features(self, x: tuple[dict[str, float], dict[str, float]]) -> dict[str, float]:
        return {**self._scaler.transform_one(x[0]), **x[1]}

    def predict_proba_one(self, x: tuple[dict[str, float], dict[str, float]]) -> dict[Any, float]:
        """Probabilities."""
        found: dict[Any, float] = self._model.predict_proba_one(self._features(x))
        return found

    def predict_one(self, x: tuple[dict[str, float], dict[str, float]]) -> Any:
        """A value."""
        return self._model.predict_one(self._features(x))

    def learn_one(self, x: tuple[dict[str, float], dict[str, float]], y: Any) -> None:
        """One row."""
        self._scaler.learn_one(x[0])
        self._model.learn_one(self._features(x), y)


def pipeline(rows: Rows) -> Any:
    """Scaler + one-hot + logistic, as River's documentation writes it; it takes one dict of everything."""
    numbers = compose.Select(*rows.layout.numeric) | preprocessing.StandardScaler()
    texts = compose.Select(*rows.text_names) | preprocessing.OneHotEncoder()
    return (numbers + texts) | linear_model.LogisticRegression(optim.SGD(LR))


def hoeffding(rows: Rows) -> Any:
    """River's defaults, which are ours."""
    return tree.HoeffdingTreeClassifier()


def adaptive_forest(rows: Rows) -> Any:
    """Ten trees."""
    return forest.ARFClassifier(n_models=10, seed=1)


def sparse(rows: Rows) -> Iterator[tuple[dict[str, float], dict[str, float]]]:
    """What `Sparse` takes."""
    return ((numbers, {f"{k}={v}": 1.0 for k, v in texts.items()}) for numbers, texts in rows.dicts())


def whole(rows: Rows) -> Iterator[dict[str, Any]]:
    """What everything else takes."""
    return ({**numbers, **texts} for numbers, texts in rows.dicts())


def river(make: Callable[[Rows], Any], features: Callable[[Rows], Iterable[Any]], encode: bool = False) -> Any:
    """predict_proba_one, then learn_one, of each row. encode: making the dicts counts too."""

    def prepare(rows: Rows) -> Run:
        kept, labels = [] if encode else list(features(rows)), rows.targets()

        def run() -> tuple[float, Any]:
            model = make(rows)
            scores = np.zeros((len(rows), max(2, rows.classes)))
            begin = now()
            for i, (x, y) in enumerate(zip(features(rows) if encode else kept, labels, strict=True)):
                for known, p in model.predict_proba_one(x).items():
                    scores[i, int(known)] = p
                model.learn_one(x, y)
            seconds = since(begin)
            return seconds / len(rows), scores[:, 1] if rows.classes == 2 else scores

        return run

    return prepare
