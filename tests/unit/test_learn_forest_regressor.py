"""The compiled forest for numbers is River's, given the same draws."""

import json
from typing import Any

import numpy as np
import pytest

from stream.errors import SnapshotError
from stream.learn.forest import RegressorForest
from stream.learn.learner import State
from tests.equivalence.forests import Rows, friedman, numbers

SENSITIVE = {"n_models": 3, "seed": 4, "warning_delta": 0.3, "drift_delta": 0.1}


def new(rows: Rows, **params: Any) -> RegressorForest:
    return RegressorForest(rows.numeric.shape[1], rows.categories.shape[1], **params)


def cut(rows: Rows, begin: int, end: int) -> Rows:
    return Rows(*(None if column is None else column[begin:end] for column in rows))


def digest(model: RegressorForest) -> str:
    return State(model.arrays(), model.meta()).digest()


@pytest.fixture(scope="module")
def stream() -> Rows:
    return friedman(1500)


@pytest.mark.parametrize(
    "params",
    [
        {"n_models": 3, "seed": 4},
        SENSITIVE | {"aggregation_method": "mean", "delta": 0.1, "tau": 0.2},
        {"n_models": 2, "seed": 9, "leaf_prediction": "mean", "warning_delta": None, "drift_delta": 0.2},
    ],
)
def test_predictions_warnings_and_drifts_are_rivers(stream: Rows, params: dict[str, Any]) -> None:
    line = numbers(stream, params)
    assert line.rows == 1500
    assert line.difference <= 1e-9
    assert line.weights_difference == 0


def test_predictions_of_weighted_rows_are_those_of_rivers_trees(stream: Rows) -> None:
    line = numbers(cut(stream, 0, 1000).weighted(), SENSITIVE)
    assert line.difference <= 1e-9
    assert line.weights_difference == 0


def test_a_row_that_weighs_nothing_is_predicted_and_not_learned(stream: Rows) -> None:
    model = new(stream, n_models=2)
    model.score_learn(*cut(stream, 0, 300))
    before, rest = model.arrays(), cut(stream, 300, 400)
    scores = model.score_learn(*rest._replace(weight=np.zeros(100)))
    assert np.array_equal(scores, model.score(*rest[:2]))
    after = model.arrays()
    assert {name for name, a in before.items() if not np.array_equal(a, after[name])} == {"counters"}
    with pytest.raises(ValueError, match="weight: every one must be 0 or in"):
        model.score_learn(*rest._replace(weight=np.full(100, -1.0)))


def test_weighted_means_are_means_though_rivers_are_divided_once_more(stream: Rows) -> None:
    given = {"n_models": 3, "aggregation_method": "mean"}
    model = new(stream, disable_weighted_vote=False, **given)
    scores = model.score_learn(*stream)
    assert np.abs(scores[300:740] - stream.target[300:740]).mean() < 4
    assert not np.array_equal(scores, new(stream, **given).score_learn(*stream))


@pytest.mark.parametrize("stop", [0, 1, 700, 1100])
def test_state_depends_on_rows_alone_and_a_restored_forest_goes_on_bit_for_bit(stream: Rows, stop: int) -> None:
    whole, model = new(stream, n_jobs=1, **SENSITIVE), new(stream, n_jobs=2, **SENSITIVE)
    wanted = whole.score_learn(*stream)
    model.score_learn(*cut(stream, 0, stop))
    again = RegressorForest.restore(json.loads(json.dumps(model.meta())), model.arrays())
    assert digest(again) == digest(model)
    ahead = again.score(*cut(stream, stop, stop + 1)[:2])
    scores = again.score_learn(*cut(stream, stop, 1500))
    assert np.array_equal(scores, wanted[stop:])
    assert np.array_equal(ahead, scores[:1])
    assert digest(again) == digest(whole)
    assert whole.stats()["drifts"] >= 1


def test_bad_targets_and_snapshots_are_refused(stream: Rows) -> None:
    model = new(stream, n_models=2)
    with pytest.raises(ValueError, match="within"):
        model.score_learn(stream.numeric, stream.categories, np.full(1500, np.nan))
    with pytest.raises(SnapshotError, match="wanted 1"):
        RegressorForest.restore(model.meta() | {"version": 2}, model.arrays())
