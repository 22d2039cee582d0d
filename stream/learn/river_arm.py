"""Any River estimator as an arm: rows become dicts, one event at a time. The reference, not the fast way.

Its state is a signed pickle, which must be asked for: `stream/learn/pickled.py`.
"""

import importlib
import math
from typing import Any

import numpy as np

from stream.block import F64, Block, Layout
from stream.errors import SnapshotError
from stream.learn.learner import State
from stream.learn.pickled import ForeignParams, Signer
from stream.spec import Spec


class RiverParams(ForeignParams):
    """name: dotted name below `river`; scale: standardise the numbers; others go to the class."""

    def problems(self, task: str) -> list[str]:
        """See ForeignParams."""
        found = self.distrust("a River arm")
        if not found:
            try:
                self.build()
            except Exception as e:  # whatever a foreign constructor raises is the user's to see
                found = [f"river.{self.name}: {type(e).__name__} {e}"]
        return found

    def build(self) -> Any:
        """The estimator."""
        module, _, cls = self.name.rpartition(".")
        return getattr(importlib.import_module(f"river.{module}"), cls)(**(self.model_extra or {}))

    def build_scaler(self) -> Any:
        """What standardises the numbers, or None."""
        if not self.scale:
            return None
        from river import preprocessing  # heavy: only for those who ask

        return preprocessing.StandardScaler()


class RiverArm:
    """Wraps one River classifier or regressor."""

    def __init__(self, layout: Layout, spec: Spec, params: RiverParams) -> None:
        self._layout, self._task = layout, spec.task
        self._classes = max(2, len(spec.classes))
        self._model, self._scaler = params.build(), params.build_scaler()
        self._signer = Signer("river")

    def _row(self, block: Block, i: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Numbers, and categories as ones. What is missing is absent."""
        values, ids = block.numeric[i].tolist(), block.categories[i].tolist()
        numbers = {n: v for n, v in zip(self._layout.numeric, values, strict=True) if v == v}
        names = {f"{n}={v:016x}": 1.0 for n, v in zip(self._layout.categories, ids, strict=True) if v}
        return numbers, names

    def _scaled(self, numbers: dict[str, Any], names: dict[str, Any]) -> dict[str, Any]:
        if not self._scaler:
            return {**numbers, **names}
        known = {n: v for n, v in numbers.items() if n in self._scaler.counts}  # asking for others would add them
        return {**dict.fromkeys(numbers, 0.0), **self._scaler.transform_one(known), **names}

    def _score(self, x: dict[str, Any]) -> Any:
        if self._task == "regression":
            return self._model.predict_one(x) or 0.0
        p = self._model.predict_proba_one(x)
        if self._task == "binary":
            return p.get(True, 0.0)
        return [p.get(c, 0.0) for c in range(self._classes)]

    def _target(self, label: float) -> Any:
        return label if self._task == "regression" else label == 1.0 if self._task == "binary" else int(label)

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner."""
        out = []
        for i, y in enumerate(label.tolist()):
            numbers, names = self._row(block, i)
            out.append(self._score(self._scaled(numbers, names)))
            if self._scaler:
                self._scaler.learn_one(numbers)
            self._model.learn_one(self._scaled(numbers, names), self._target(y))
        return np.array(out, np.float64)

    def score(self, block: Block) -> F64:
        """See Learner."""
        return np.array([self._score(self._scaled(*self._row(block, i))) for i in range(len(block))], np.float64)

    def state(self) -> State:
        """See Learner. A signed pickle."""
        return self._signer.pack((self._model, self._scaler))

    def restore(self, state: State) -> None:
        """See Learner. Raises SnapshotError when the signature does not fit."""
        found = self._signer.unpack(state)
        if not isinstance(found, tuple) or len(found) != 2:
            raise SnapshotError(f"the signed pickle holds {type(found).__name__}; a model and its scaler are wanted")
        self._model, self._scaler = found

    def finite(self) -> bool:
        """Whether a score of an empty event is a number; River's state can't be searched in general."""
        score = np.atleast_1d(np.asarray(self._score({}), np.float64))
        return all(math.isfinite(v) for v in score.tolist())
