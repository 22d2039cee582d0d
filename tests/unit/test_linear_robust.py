"""The robust scale is River's RobustScaler, value by value, whatever the numbers and the quantiles."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from river import preprocessing

from stream.block import F64, Block
from stream.learn.linear.choices import Scaler
from stream.learn.linear.kernel import SQUARED
from stream.learn.linear.model import Linear
from stream.learn.linear.params import LogisticParams, RegressionParams
from stream.learn.linear.scaling import SCALED_MAX

VALUES = st.one_of(
    st.floats(-1e6, 1e6), st.integers(-3, 3).map(float), st.sampled_from([7.0, 7.5, 1e15, -1e15, 1e-9, 0.0])
)


class _Scaled:
    """The scaled value before and after each is learned, read off a model whose one weight is held at 1."""

    def __init__(self, **given: Any) -> None:
        scale: Any = {"name": "robust", **given}
        self._model = Linear(1, SQUARED, RegressionParams(scale=scale, intercept_lr=0, lr=1e-300))
        state = self._model.state()
        state.arrays["weights"][:] = 1.0
        self._model.restore(state)

    def __call__(self, values: list[float]) -> F64:
        n, zeros = len(values), np.zeros(len(values), np.int64)
        block = Block(
            "h", [""] * n, zeros, zeros.astype(np.int32), zeros, np.array(values).reshape(n, 1),
            np.zeros((n, 0), np.uint64), np.zeros(0, np.uint64), zeros,
        )  # fmt: skip
        return self._model.score_learn(block, np.zeros(n))


def _river(values: list[float], **given: Any) -> list[float]:
    scaler, found = preprocessing.RobustScaler(**given), []
    for v in values:
        found.append(scaler.transform_one({"x": v})["x"])
        scaler.learn_one({"x": v})
    return [min(max(z, -SCALED_MAX), SCALED_MAX) for z in found]


@settings(deadline=None, max_examples=150)
@given(
    st.lists(VALUES, min_size=1, max_size=60),
    st.sampled_from([(0.25, 0.75), (0.1, 0.9), (0.03, 0.37), (0.5, 0.99)]),
    st.booleans(),
    st.booleans(),
)
def test_every_value_is_scaled_as_river_scales_it(
    values: list[float], quantiles: tuple[float, float], centred: bool, scaled: bool
) -> None:
    given: dict[str, Any] = {"q_inf": quantiles[0], "q_sup": quantiles[1]}
    given |= {"with_centering": centred, "with_scaling": scaled}
    np.testing.assert_allclose(_Scaled(**given)(values), _river(values, **given), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", ["normal", "heavy", "few values", "mostly one"])
def test_the_quantiles_stay_those_of_river_over_many_values(shape: str) -> None:
    rng = np.random.default_rng(11)
    values = {
        "normal": rng.normal(5, 2, 20_000),
        "heavy": rng.pareto(0.5, 20_000),
        "few values": rng.integers(0, 6, 20_000).astype(float),
        "mostly one": np.where(rng.random(20_000) < 0.8, 7.0, rng.random(20_000)),
    }[shape].tolist()
    found = _Scaled()(values)
    np.testing.assert_allclose(found, _river(values), rtol=1e-9, atol=1e-9)
    assert np.ptp(found[1000:]) > 0 or shape == "mostly one"


def test_a_nearly_flat_column_gives_large_numbers_but_never_infinite_ones() -> None:
    values = [1e-300, 2e-300, 3e-300, 4e-300, 5e-300, 1e15, -1e15, 1e15]
    assert np.isfinite(_Scaled()(values)).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("median", "'standard', 'min_max', 'max_abs', 'none' or 'robust'"),
        ({"name": "robust", "q_inf": 0.8}, "q_inf 0.8 is not below q_sup 0.75"),
        ({"name": "robust", "q_sup": 1}, "q_sup: Input should be less than 1"),
        ({"name": "standard", "q_inf": 0.1}, "q_inf is nothing to standard; it has no parameters"),
        ({"name": "robust", "window": 5}, "window: Extra inputs"),
    ],
)
def test_a_wrong_scale_is_named_with_its_limits(given: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        LogisticParams(scale=given)
    [error] = caught.value.errors()
    assert error["loc"] == ("scale",)
    assert message in error["msg"]


def test_a_scale_by_name_or_by_parameters_is_the_same_one() -> None:
    assert LogisticParams(scale="robust").scaler == LogisticParams(scale=Scaler(name="robust")).scaler
    assert LogisticParams(scale={"name": "standard"}).plain()  # type: ignore[arg-type]
