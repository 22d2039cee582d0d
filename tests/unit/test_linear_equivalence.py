"""Linear models equal River's on flights and on River's own streams; `python -m tests.equivalence` is the long form."""

from typing import Any

import pytest

from stream.learn.linear.losses import BINARY, REGRESSION
from stream.learn.linear.optimise import OPTIMIZERS
from stream.learn.linear.scaling import SCALES
from tests.equivalence._linear_streams import SOURCES
from tests.equivalence._table import difference, table
from tests.equivalence.linear import CASES, LOGISTIC, PASSIVE, REGRESS, SOFTMAX, Case, versus

LIMIT = 1e-9
LONG = 2  # as many of the first cases run over 100,000 events


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[3]}".replace(" ", ""))
def test_predictions_and_weights_are_those_of_river(case: Case) -> None:
    rows = 100_000 if case in CASES[:LONG] else 10_000
    found = versus(case, rows)
    assert found.rows == rows
    assert found.difference <= LIMIT, table([found])
    assert found.weights_difference is not None
    assert found.weights_difference <= LIMIT, table([found])


def _given(name: str) -> set[Any]:
    """Every value of a parameter that some case has, by its name."""
    found = {case[3].get(name) if not isinstance(case[3].get(name), dict) else None for case in CASES}
    return found | {v.get("name", v.get("schedule")) for c in CASES if isinstance(v := c[3].get(name), dict)}


def test_every_model_loss_optimiser_schedule_and_scale_is_in_some_case() -> None:
    assert {case[1] for case in CASES} == {LOGISTIC, REGRESS, SOFTMAX, PASSIVE}
    assert {*BINARY, *REGRESSION} <= _given("loss") | {"log", "squared"}
    assert set(OPTIMIZERS) <= _given("optimizer") | {"sgd"}
    assert set(SCALES) <= _given("scale") | {"standard", "none"}
    assert {"inverse_scaling", "optimal"} <= _given("lr")
    assert {case[3]["mode"] for case in CASES if "mode" in case[3]} == {0, 2}
    assert {case[0] for case in CASES} == set(SOURCES)


def test_a_difference_is_relative_above_one_and_nan_is_infinite() -> None:
    assert difference([1e9 + 1, 0.5], [1e9, 0.4]) == pytest.approx(0.1)
    assert difference([float("nan")], [1.0]) == float("inf")
    with pytest.raises(ValueError, match=r"shorter|longer"):
        difference([1.0], [1.0, 2.0])
