"""Any scikit-learn estimator with `partial_fit` as an arm, one event at a time: `sklearn:linear_model.SGDClassifier`.

A row is a dense vector: the numbers, then `features` columns that each category is hashed into as a one (two that
meet add up). A missing number is 0, after standardising if `scale` is given; tokens of texts are not seen. Numbers are
standardised (Welford) with what came before the row to score it, and with the row too to learn it, as a River arm's.
Classes are those of the spec from the first row on; before it, each class has the same chance. An estimator without
`predict_proba` gives the logistic function (for more than two classes, softmax) of its `decision_function`.
`random_state` is 0 unless given, since None would draw from the process's own numbers.

Its state is a signed pickle, which must be asked for: `stream/learn/pickled.py`. scikit-learn is optional.
"""

import importlib
from typing import Any

import numpy as np
from pydantic import Field

from stream.block import F64, I64, Block, Layout
from stream.learn.learner import State
from stream.learn.pickled import ForeignParams, Signer
from stream.spec import Spec

MIX = np.uint64(0x9E3779B97F4A7C15)


class SklearnParams(ForeignParams):
    """name: dotted name below `sklearn`; features: columns for categories; others go to the class."""

    features: int = Field(default=256, ge=1, le=65_536)

    def problems(self, task: str) -> list[str]:
        """See ForeignParams."""
        try:
            importlib.import_module("sklearn")
        except ImportError:
            return ["scikit-learn is not installed; `pip install headwater[sklearn]` brings it"]
        found = self.distrust("a scikit-learn arm")
        if found:
            return found
        try:
            model = self.build()
        except Exception as e:  # whatever a foreign constructor raises is the user's to see
            return [f"sklearn.{self.name}: {type(e).__name__} {e}"]
        if not hasattr(model, "partial_fit"):
            return [f"sklearn.{self.name} has no partial_fit, so it can't learn from a stream"]
        wanted = "regressor" if task == "regression" else "classifier"
        if _kind_of(model) != wanted:
            return [f"sklearn.{self.name} is a {_kind_of(model)}; the task {task} wants a {wanted}"]
        return []

    def build(self) -> Any:
        """The estimator."""
        module, _, cls = self.name.rpartition(".")
        model = getattr(importlib.import_module(f"sklearn.{module}"), cls)(**(self.model_extra or {}))
        known = model.get_params(deep=False)
        if "random_state" in known and known["random_state"] is None:
            model.set_params(random_state=0)
        return model


def _kind_of(model: Any) -> str:
    """classifier, regressor, or whatever else."""
    base = importlib.import_module("sklearn.base")
    found = (n for n, test in (("classifier", base.is_classifier), ("regressor", base.is_regressor)) if test(model))
    return next(found, "neither classifier nor regressor")


class Standard:
    """Running mean and variance of each number, over the rows that have it."""

    def __init__(self, columns: int) -> None:
        self.held = np.zeros((3, columns))  # count, mean, sum of squared deviations

    def learn(self, numbers: F64) -> None:
        """Count a row float64[f]; NaN is none."""
        given = np.flatnonzero(~np.isnan(numbers))
        count, mean, squares = self.held[:, given]
        off = numbers[given] - mean
        mean = mean + off / (count + 1)
        self.held[:, given] = count + 1, mean, squares + off * (numbers[given] - mean)

    def of(self, numbers: F64) -> F64:
        """The row in standard deviations from the mean; 0 where that isn't known or is nothing."""
        count, mean, squares = self.held
        deviation = np.sqrt(squares / np.maximum(count, 1))
        return np.divide(numbers - mean, deviation, out=np.zeros_like(numbers), where=deviation > 0)


class SklearnArm:
    """Wraps one scikit-learn classifier or regressor."""

    def __init__(self, layout: Layout, spec: Spec, params: SklearnParams) -> None:
        self._task, self._features = spec.task, params.features if layout.categories else 0
        self._classes = np.arange(max(2, len(spec.classes)), dtype=np.int64)
        self._model, self._signer = params.build(), Signer("sklearn")
        self._scaler = Standard(len(layout.numeric)) if params.scale else None
        self._learned, self._failed = False, False
        self._config = importlib.import_module("sklearn").config_context

    def _slots(self, block: Block) -> I64:
        """int64[n, c]: the column of each category, -1 for none."""
        columns = np.arange(1, block.categories.shape[1] + 1, dtype=np.uint64)
        mixed = (block.categories ^ (columns * MIX)) * MIX
        places = ((mixed >> np.uint64(32)) % np.uint64(max(1, self._features))).astype(np.int64)
        return np.where(block.categories == 0, -1, places)

    def _row(self, numbers: F64, slots: I64) -> F64:
        """float64[1, numbers + features]"""
        x = np.zeros((1, numbers.size + self._features))
        x[0, : numbers.size] = np.nan_to_num(self._scaler.of(numbers) if self._scaler else numbers, nan=0.0)
        np.add.at(x[0], numbers.size + slots[slots >= 0], 1.0)
        return x

    def _score(self, x: F64) -> Any:
        """A number, or one for each class."""
        if self._task == "regression":
            return float(self._model.predict(x)[0]) if self._learned else 0.0
        if not self._learned:
            shares = np.full(self._classes.size, 1 / self._classes.size)
        elif hasattr(self._model, "predict_proba"):
            shares = self._model.predict_proba(x)[0]
        else:
            shares = _shares(np.ravel(self._model.decision_function(x)))
        return shares[1] if self._task == "binary" else shares

    def _learn(self, x: F64, label: float) -> None:
        try:
            if self._task == "regression":
                self._model.partial_fit(x, np.array([label]))
            elif self._learned:
                self._model.partial_fit(x, np.array([int(label)]))
            else:
                self._model.partial_fit(x, np.array([int(label)]), classes=self._classes)
            self._learned = True
        except ValueError:  # numbers overflowed; `finite` tells, and what was learned of the block is undone
            self._failed = True

    def _shape(self, rows: int) -> tuple[int, ...]:
        return (rows, self._classes.size) if self._task == "classes" else (rows,)

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        out, slots = np.zeros(self._shape(len(block))), self._slots(block)
        with self._config(assume_finite=True, skip_parameter_validation=True), np.errstate(all="ignore"):
            for i, y in enumerate(label.tolist()):
                x = self._row(block.numeric[i], slots[i])
                out[i] = self._score(x)
                if self._scaler:
                    self._scaler.learn(block.numeric[i])
                    x = self._row(block.numeric[i], slots[i])
                self._learn(x, y)
        return out

    def score(self, block: Block) -> F64:
        """See Learner."""
        out, slots = np.zeros(self._shape(len(block))), self._slots(block)
        with self._config(assume_finite=True, skip_parameter_validation=True), np.errstate(all="ignore"):
            for i in range(len(block)):
                out[i] = self._score(self._row(block.numeric[i], slots[i]))
        return out

    def state(self) -> State:
        """See Learner. A signed pickle, and the scaler's numbers."""
        packed = self._signer.pack(self._model)
        arrays = packed.arrays | ({"scaler": self._scaler.held.copy()} if self._scaler else {})
        return State(arrays, {**packed.meta, "learned": self._learned})

    def restore(self, state: State) -> None:
        """See Learner. Raises SnapshotError when the signature does not fit."""
        self._model = self._signer.unpack(state)
        self._learned, self._failed = bool(state.meta["learned"]), False
        if self._scaler:
            self._scaler.held = state.arrays["scaler"].copy()

    def finite(self) -> bool:
        """Whether every number that the estimator holds in an array or by itself is finite."""
        held = [v for v in vars(self._model).values() if isinstance(v, float | np.ndarray)]
        held += [a for v in vars(self._model).values() if isinstance(v, list) for a in v if isinstance(a, np.ndarray)]
        held += [self._scaler.held] if self._scaler else []
        numbers = (np.asarray(v) for v in held)
        return not self._failed and all(bool(np.isfinite(v).all()) for v in numbers if v.dtype.kind == "f")


def _shares(decision: F64) -> F64:
    """Decision values as shares that sum to 1: one value is class 1 against class 0."""
    values = np.array([0.0, decision[0]]) if decision.size == 1 else decision
    powers = np.exp(values - values.max())
    return np.asarray(powers / powers.sum())
