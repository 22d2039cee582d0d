"""A scikit-learn arm: the estimator's own numbers one row at a time, refused with a reason when it can't be."""

import importlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stream.block import Block, Layout, take
from stream.errors import SnapshotError
from stream.learn.models import build, model_problems
from stream.learn.pickled import KEY_VARIABLE
from stream.learn.sklearn_arm import SklearnArm, Standard
from stream.spec import Spec

linear_model = pytest.importorskip("sklearn.linear_model")
LAYOUT = Layout(("x", "y"), ("c", "d"), ())
SGD = "sklearn:linear_model.SGDClassifier"
LOG = {"loss": "log_loss"}
N = 120


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret")


def _spec(model: str = SGD, task: str = "binary", **params: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event}
    raw |= {"classes": ["k", "l", "m"]} if task == "classes" else {}
    return Spec.model_validate({**raw, "arms": {"a": {"model": model, "params": {"trust_pickle": True, **params}}}})


def _arm(model: str = SGD, task: str = "binary", **params: Any) -> Any:
    return build(_spec(model, task, **params), "a", LAYOUT).inner


def _block(scale: float = 1.0) -> tuple[Block, Any]:
    rng = np.random.default_rng(5)
    numeric = rng.normal(size=(N, 2)) * scale
    numeric[rng.random(numeric.shape) < 0.1] = np.nan
    zeros = np.zeros(N, np.int64)
    ids = rng.integers(0, 4, (N, 2)).astype(np.uint64)
    label = (np.nan_to_num(numeric[:, 0]) > 0).astype(np.float64)
    none = np.zeros(0, np.uint64)
    return Block("h", [""] * N, zeros, zeros.astype(np.int32), zeros, numeric, ids, none, zeros), label


def _rows(arm: SklearnArm, block: Block) -> list[Any]:
    slots = arm._slots(block)
    return [arm._row(block.numeric[i], slots[i]) for i in range(len(block))]


def test_it_scores_and_learns_as_the_estimator_itself_would() -> None:
    block, label = _block()
    arm, plain = _arm(**LOG, features=16, alpha=0.01), linear_model.SGDClassifier(**LOG, alpha=0.01, random_state=0)
    expected = [0.5]
    for x, y in zip(_rows(arm, block), label, strict=True):
        expected += [float(plain.predict_proba(x)[0, 1])] if len(expected) > 1 or hasattr(plain, "coef_") else []
        plain.partial_fit(x, [int(y)], classes=[0, 1])
    assert arm.score_learn(block, label).tolist() == expected
    assert arm._model.coef_.tolist() == plain.coef_.tolist()


def test_a_row_is_the_numbers_then_a_one_for_each_category() -> None:
    block, _ = _block()
    arm = _arm(features=1000)
    for i, x in enumerate(_rows(arm, block)):
        assert x.shape == (1, 1002)
        assert x[0, :2].tolist() == np.nan_to_num(block.numeric[i]).tolist()
        assert x[0, 2:].sum() == (block.categories[i] != 0).sum()
    same = block.categories[:, 0] == block.categories[:, 1]
    slots = arm._slots(block)[same & (block.categories[:, 0] != 0)]
    assert (slots[:, 0] != slots[:, 1]).all(), "one id in two columns is two categories"


def test_numbers_are_standardised_by_the_rows_that_have_them() -> None:
    block, _ = _block(scale=7.0)
    scaler = Standard(2)
    assert scaler.of(block.numeric[0]).tolist() == [0.0, 0.0]
    for row in block.numeric:
        scaler.learn(row)
    mean, deviation = np.nanmean(block.numeric, axis=0), np.nanstd(block.numeric, axis=0)
    np.testing.assert_allclose(scaler.of(block.numeric[3]), (block.numeric[3] - mean) / deviation, rtol=1e-12)


@pytest.mark.parametrize(
    ("model", "task", "params", "shape"),
    [
        ("sklearn:linear_model.SGDRegressor", "regression", {"scale": True}, (N,)),
        ("sklearn:linear_model.SGDClassifier", "classes", LOG, (N, 3)),
        ("sklearn:linear_model.Perceptron", "classes", {}, (N, 3)),
        ("sklearn:linear_model.Perceptron", "binary", {}, (N,)),
        ("sklearn:naive_bayes.GaussianNB", "binary", {"features": 3}, (N,)),
        ("sklearn:neural_network.MLPClassifier", "binary", {"hidden_layer_sizes": [3], "features": 4}, (N,)),
    ],
)
def test_each_task_gets_its_shape_and_goes_on_from_a_state_bit_for_bit(
    model: str, task: str, params: dict[str, Any], shape: tuple[int, ...]
) -> None:
    block, label = _block()
    label = np.arange(N) % 3.0 if task == "classes" else label
    arm, quiet = _arm(model, task, **params), _arm(model, task, **params)
    scores = arm.score_learn(block, label)
    assert scores.shape == shape
    assert scores.tobytes() == quiet.score_learn(block, label).tobytes()
    if task == "classes":
        np.testing.assert_allclose(scores.sum(axis=1), 1.0, rtol=1e-12)
    state, again = arm.state(), _arm(model, task, **params)
    again.restore(state)
    assert again.state().digest() == state.digest()
    assert again.score_learn(block, label).tobytes() == quiet.score_learn(block, label).tobytes()
    assert again.state().digest() == quiet.state().digest()
    assert again.finite()


@pytest.mark.parametrize(
    ("model", "task", "params", "said"),
    [
        ("sklearn:linear_model.Nothing", "binary", {}, "AttributeError"),
        ("sklearn:nowhere.Model", "binary", {}, "ModuleNotFoundError"),
        (SGD, "binary", {"speed": 9}, "TypeError"),
        ("sklearn:linear_model.LogisticRegression", "binary", {}, "has no partial_fit"),
        ("sklearn:linear_model.SGDRegressor", "classes", {}, "is a regressor; the task classes wants a classifier"),
        ("sklearn:cluster.MiniBatchKMeans", "regression", {}, "is a neither classifier nor regressor"),
        (SGD, "binary", {"trust_pickle": False}, "a scikit-learn arm is kept as a pickle"),
    ],
)
def test_what_can_not_be_built_says_why(model: str, task: str, params: dict[str, Any], said: str) -> None:
    (problem,) = model_problems(_spec(model, task, **params), "a")
    assert problem.startswith("arms.a.params: ")
    assert said in problem
    assert model_problems(_spec(), "a") == []


def test_without_scikit_learn_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.import_module

    def missing(name: str) -> Any:
        if name.startswith("sklearn"):
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    (problem,) = model_problems(_spec(), "a")
    assert "pip install headwater[sklearn]" in problem


def test_features_out_of_range_are_refused_with_the_limit() -> None:
    (problem,) = model_problems(_spec(features=0), "a")
    assert problem.startswith("arms.a.params.features: found 0")


def test_numbers_that_overflow_are_told_by_finite_and_undone_by_a_restore() -> None:
    block, label = _block()
    arm = _arm("sklearn:linear_model.SGDRegressor", "regression")
    arm.score_learn(block, label)
    state = arm.state()
    huge, _ = _block(scale=1e200)
    arm.score_learn(huge, label)
    assert not arm.finite()
    arm.restore(state)
    assert arm.finite()
    assert arm.state().digest() == state.digest()


def test_a_state_signed_with_another_key_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    block, label = _block()
    arm = _arm()
    arm.score_learn(block, label)
    state = arm.state()
    monkeypatch.setenv(KEY_VARIABLE, "another secret")
    with pytest.raises(SnapshotError, match=KEY_VARIABLE):
        _arm().restore(state)


def _learn(arm: SklearnArm, block: Block, label: Any, size: int) -> list[float]:
    scores: list[float] = []
    for at in range(0, len(block), size):
        rows = range(at, min(at + size, len(block)))
        scores += arm.score_learn(take(block, rows), label[at : rows.stop]).tolist()
    return scores


def test_how_rows_are_cut_into_blocks_changes_nothing() -> None:
    block, label = _block()
    whole, parts = _arm(scale=True, **LOG), _arm(scale=True, **LOG)
    assert _learn(whole, block, label, N) == _learn(parts, block, label, 7)
    assert whole.state().digest() == parts.state().digest()
    before = parts.state().digest()
    assert parts.score(block).tobytes() == whole.score(block).tobytes()
    assert parts.state().digest() == before, "a score has learned"


def test_input_that_nobody_may_write_to_is_learned_from_and_left_as_it_was() -> None:
    block, label = _block()
    before = (block.numeric.tobytes(), block.categories.tobytes(), label.tobytes())
    for array in (block.numeric, block.categories, label):
        array.flags.writeable = False
    _arm(scale=True, **LOG).score_learn(block, label)
    assert (block.numeric.tobytes(), block.categories.tobytes(), label.tobytes()) == before


@pytest.mark.parametrize("values", [1e15, -3e14, 0.0, np.nan])
def test_standardised_extremes_leave_the_state_finite(values: float) -> None:
    block, label = _block()
    numeric = block.numeric.copy()
    numeric[N // 2] = values
    numeric[:9, 0] = values
    arm = _arm(scale=True, **LOG)
    scores = arm.score_learn(replace(block, numeric=numeric), label)
    assert np.isfinite(scores).all()
    assert ((scores >= 0) & (scores <= 1)).all()
    assert arm.finite()
