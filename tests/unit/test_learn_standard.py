"""Numbers standardised before a tree: River's pipeline, its split and its predictions, in one state."""

from typing import Any

import numpy as np
import pytest
from equivalence import forests
from equivalence._tree_river import AdaptiveNumbers, NumbersOnly, as_dicts, mended
from equivalence._tree_streams import VALUES, Rows, ragged, stream
from equivalence.trees import EAGER
from river import preprocessing, tree

from stream.block import Block, Layout
from stream.errors import DataError
from stream.explain.arm import explained
from stream.explain.names import Names
from stream.export.trees import grown_of
from stream.learn.arms import Arms
from stream.learn.forest_arm import RegressorForestArm, RegressorForestParams
from stream.learn.standard import FAR, LIMIT, Standard
from stream.learn.tree_arm import AdaptiveRegressorParams, RegressorArm, RegressorParams
from stream.spec import Spec


class NumbersScaled:
    """River's StandardScaler of a row's numbers, and its tree behind it, driven as a pipeline drives them."""

    def __init__(self, model: Any, letter: str = "x") -> None:
        self.scaler, self.model, self.letter = preprocessing.StandardScaler(), model, letter

    def _row(self, x: dict[str, Any]) -> dict[str, Any]:
        return {**x, **self.scaler.transform_one(self._numbers(x))}

    def _numbers(self, x: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in x.items() if name[0] == self.letter}

    def predict_then_learn(self, x: dict[str, Any], y: float) -> float:
        predicted = float(self.model.predict_one(self._row(x)))
        self.scaler.learn_one(self._numbers(x))
        self.model.learn_one(self._row(x), y)
        return predicted


def _block(rows: Rows) -> Block:
    n = len(rows.target)
    at = np.arange(n)
    given = rows.numeric, rows.categories, np.zeros(0, np.uint64), np.zeros(n, np.int64)
    return Block("h", [str(i) for i in at], at, np.zeros(n, np.int32), at, *given)


def _arm(rows: Rows, params: Any) -> RegressorArm:
    numeric, categories = rows.shape[:2]
    names = tuple(f"x{i}" for i in range(numeric)), tuple(f"c{i}" for i in range(categories))
    return RegressorArm(Layout(*names, ()), params)


def _river(rows: Rows, adaptive: bool) -> Any:
    nominal = [f"c{at}" for at in range(rows.shape[1])]
    if adaptive:
        return AdaptiveNumbers(rows.shape, 3, **EAGER)
    return tree.HoeffdingTreeRegressor(leaf_model=NumbersOnly(), nominal_attributes=nominal, **EAGER)


@pytest.mark.parametrize("adaptive", [False, True])
@pytest.mark.parametrize("name", ["TrumpApproval, again and again", "FriedmanDrift, ragged"])
def test_predictions_are_those_of_rivers_pipeline(name: str, adaptive: bool) -> None:
    rows = stream(name.removesuffix(", ragged"), VALUES, 1000)
    rows = ragged(rows, weighted=False) if name.endswith("ragged") else rows
    made: Any = AdaptiveRegressorParams if adaptive else RegressorParams
    arm = _arm(rows, made(scale="standard", **EAGER, **({"seed": 3} if adaptive else {})))
    river = NumbersScaled(_river(rows, adaptive))
    with mended(True):
        pairs = zip(as_dicts(rows), rows.target.tolist(), strict=True)
        wanted = np.array([river.predict_then_learn(x, y) for x, y in pairs])
    scores = arm.score_learn(_block(rows), rows.target)
    assert np.abs(scores - wanted).max() <= 1e-9 * max(1, np.abs(wanted).max())
    assert arm._tree.stats()["nodes"] > 3


def test_a_forests_predictions_are_those_of_rivers_pipeline() -> None:
    rows = forests.friedman(700)
    params: dict[str, Any] = {"n_models": 3, "seed": 4, "warning_delta": 0.3, "drift_delta": 0.1}
    columns = tuple(f"a{i}" for i in range(10)), ("c0", "c1"), ()
    arm = RegressorForestArm(Layout(*columns), RegressorForestParams(scale="standard", n_jobs=1, **params))
    river = NumbersScaled(forests.river_forest(rows, params, forests.RiverRegressor), "a")
    pairs = zip(rows.dicts(), rows.target.tolist(), strict=True)
    wanted = np.array([river.predict_then_learn(x, y) for x, y in pairs])
    scores = arm.score_learn(_block(Rows(*rows[:3])), rows.target)
    assert np.abs(scores - wanted).max() <= 1e-9
    assert arm._forest.stats()["drifts"] >= 1


def test_trump_approval_is_predicted_as_well_as_published_once_its_numbers_are_scaled() -> None:
    rows = stream("TrumpApproval, again and again", VALUES, 1001)
    scaled, bare = (_arm(rows, RegressorParams(scale=scale)) for scale in ("standard", "none"))
    missed = [float(np.abs(arm.score_learn(_block(rows), rows.target) - rows.target).mean()) for arm in (scaled, bare)]
    assert missed[0] < 1.0
    assert missed[1] > 1e6


def test_absent_infinite_absurd_and_flat_numbers_leave_the_statistics_finite() -> None:
    numeric = np.array([[np.nan, 1.0, 3.0], [np.inf, 1.0, 1e300], [2.0, 1.0, 5.0], [4.0, 1.0, -1e99]])
    standard = Standard(3)
    before, after = standard.take(numeric)
    assert np.isnan(before[0, 0])
    assert np.isinf(after[1, 0])
    assert (before[:, 1] == 0).all()
    assert np.abs(after[:, 2]).max() <= FAR
    assert standard.stats[0].tolist() == [2, 4, 3]
    assert np.isfinite(standard.stats).all()
    assert LIMIT < 1e300


def _spec(**params: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    arm = {"model": "tree.regressor", "params": {**EAGER, "leaf_prediction": "mean", **params}}
    return Spec.model_validate({"name": "p", "task": "regression", "event": event, "arms": {"a": arm}})


def test_explanations_speak_in_the_numbers_own_units_and_an_export_is_refused() -> None:
    spec = _spec(scale="standard")
    rng = np.random.default_rng(2)
    x = rng.normal(5000, 100, 2000)
    rows = Rows(x[:, None], np.zeros((2000, 0), np.uint64), np.where(x > 5100, 3.0, 1.0))
    arms = Arms(spec)
    arms.models["a"].score_learn(_block(rows), rows.target)
    shown = explained(spec, arms, "a", Names(spec))
    (test, *_) = [line for line in shown.text(9).splitlines() if line.startswith("x <= ")]
    assert abs(float(test.split()[2].rstrip(":")) - 5100) < 40
    low, high = shown.explain(_block(rows.cut(0, 2000)))[int(x.argmin())], shown.explain(_block(rows))[int(x.argmax())]
    assert low.total[0] < 1.5 < high.total[0]
    with pytest.raises(DataError, match="`scale: none` can be exported"):
        grown_of(arms.models["a"].state())
