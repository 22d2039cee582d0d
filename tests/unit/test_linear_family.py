"""Every loss, schedule, optimiser, penalty and scale gives River's numbers over 6,000 events, and keeps the laws."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import BaseModel, ValidationError
from river import optim

from stream.block import F64, Block, concat, take
from stream.learn.linear import losses, schedules
from stream.learn.linear.choices import Optimizer, Schedule
from stream.learn.linear.losses import BINARY, REGRESSION
from stream.learn.linear.model import Linear
from stream.learn.linear.params import LinearParams, LogisticParams, RegressionParams
from stream.learn.linear.passive import TAU_MAX, Passive, PassiveParams, step_size
from stream.learn.linear.softmax import Softmax, SoftmaxParams
from stream.learn.linear.types import INTERCEPT, STEPS
from stream.registry.snapshot import pack, unpack
from tests.equivalence._linear_river import event, told, twin

EVENTS = 6_000
NUMERIC = ("a", "b", "flat", "late")
CATEGORIES = ("c", "d")
Event = tuple[dict[str, float], dict[str, int], float]
INVERSE = {"schedule": "inverse_scaling", "rate": 0.3, "power": 0.4}
OPTIMAL = {"schedule": "optimal", "alpha": 0.02}


def _events(count: int, seed: int = 7) -> Iterator[Event]:
    """Gaps, a flat column, one that comes late and large, a category of which new values keep coming."""
    rng = random.Random(seed)
    for i in range(count):
        x = {"flat": 7.0}
        if rng.random() < 0.9:
            x["a"] = rng.gauss(2.0, 3.0)
        if rng.random() < 0.7:
            x["b"] = rng.expovariate(0.01)
        if i > count // 2 and rng.random() < 0.9:
            x["late"] = rng.gauss(0, 1e4)
        c = {"c": 1 + rng.randrange(5)}
        if rng.random() < 0.8:
            c["d"] = 100 + int(rng.paretovariate(0.4)) % 3000
        yield x, c, 0.3 * x.get("a", 1.0) + (c["c"] == 2) - 0.5 + rng.gauss(0, 0.5)


def _block(events: list[Event]) -> Block:
    n, zeros = len(events), np.zeros(len(events), np.int64)
    numeric = np.array([[x.get(name, np.nan) for name in NUMERIC] for x, _, _ in events])
    ids = np.array([[c.get(name, 0) for name in CATEGORIES] for _, c, _ in events], np.uint64)
    ids *= np.uint64(0x9E3779B97F4A7C15)
    none = np.zeros(0, np.uint64)
    return Block("h", [""] * n, zeros, zeros.astype(np.int32), zeros, numeric, ids, none, zeros)


def _key(value: int) -> int:
    return value * 0x9E3779B97F4A7C15 % 2**64


EVENT_LIST = list(_events(EVENTS))
BLOCK = _block(EVENT_LIST)


def _ours(task: str, given: dict[str, Any]) -> Linear:
    if task == "binary":
        chosen = LogisticParams(**given)
        return Linear(len(NUMERIC), BINARY[chosen.loss], chosen)
    params = RegressionParams(**given)
    return Linear(len(NUMERIC), REGRESSION[params.loss], params)


def _labels(task: str, given: dict[str, Any]) -> F64:
    y = np.array([y for *_, y in EVENT_LIST])
    if task == "binary":
        return (y > 0).astype(np.float64)
    return np.floor(np.abs(y)) if given.get("loss") == "poisson" else y


def _expected(theirs: Any, task: str, label: list[float]) -> F64:
    """River's scores, one event at a time."""
    expected = np.empty(len(label))
    for i, ((x, c, _), y) in enumerate(zip(EVENT_LIST, label, strict=True)):
        if task == "binary":
            expected[i] = theirs.predict_proba_one(event(x, c))[True]
            theirs.learn_one(event(x, c), bool(y))
        else:
            expected[i] = theirs.predict_one(event(x, c))
            theirs.learn_one(event(x, c), y)
    return expected


def _in_pieces(model: Any, block: Block, label: F64, sizes: tuple[int, ...]) -> Any:
    scores, at, turn = [], 0, 0
    while at < len(block):
        rows = range(at, min(at + sizes[turn % len(sizes)], len(block)))
        scores.append(model.score_learn(take(block, rows), label[at : rows.stop]))
        at, turn = rows.stop, turn + 1
    return np.concatenate(scores)


VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("regression", {"loss": "absolute", "lr": 0.02}),
    ("regression", {"loss": "huber", "epsilon": 0.7, "l2": 0.01}),
    ("regression", {"loss": "quantile", "quantile": 0.8, "lr": INVERSE}),
    ("regression", {"loss": "epsilon_insensitive", "epsilon": 0.2}),
    ("regression", {"loss": "poisson", "lr": 0.005, "intercept_lr": INVERSE}),
    ("binary", {"loss": "hinge", "l2": 0.003}),
    ("binary", {"lr": OPTIMAL, "intercept_lr": OPTIMAL}),
    ("regression", {"lr": {**INVERSE, "rate": 0.03}, "intercept_lr": {**INVERSE, "power": 1.0}}),
    ("binary", {"optimizer": "ada_grad", "lr": 0.1}),
    ("regression", {"optimizer": {"name": "ada_grad", "eps": 0.1}, "lr": INVERSE, "l2": 0.01}),
    ("binary", {"optimizer": "rms_prop"}),
    ("regression", {"optimizer": {"name": "rms_prop", "rho": 0.7, "eps": 1e-3}, "clip_gradient": 1.5}),
    ("binary", {"optimizer": "adam", "l2": 0.01}),
    ("regression", {"optimizer": {"name": "adam", "beta_1": 0.8, "beta_2": 0.99, "eps": 1e-3}, "lr": INVERSE}),
    ("binary", {"optimizer": "ftrl"}),
    ("regression", {"optimizer": {"name": "ftrl", "alpha": 0.2, "beta": 0.5, "l1": 2.0, "l2": 0.1}, "l2": 0.01}),
    ("binary", {"l1": 0.0005, "lr": 0.02}),
    ("regression", {"l1": 0.001, "optimizer": "adam", "lr": {**INVERSE, "rate": 0.05}}),
    ("regression", {"scale": "min_max"}),
    ("binary", {"scale": "max_abs", "optimizer": "ada_grad"}),
    ("binary", {"scale": "none", "lr": 1e-7}),
    ("regression", {"scale": "robust", "lr": 0.001}),
]
EVERY = pytest.mark.parametrize(("task", "given"), VARIANTS, ids=lambda v: str(v).replace(" ", ""))


@EVERY
def test_scores_weights_and_intercept_are_those_of_river(task: str, given: dict[str, Any]) -> None:
    ours, (theirs, model), label = _ours(task, given), twin("linear", task, given), _labels(task, given)
    scores = _in_pieces(ours, BLOCK, label, (1, 7, 400, 3000))
    expected = _expected(theirs, task, [told(given, y) for y in label])
    known = ~np.isnan(expected)
    assert (~known).sum() <= (2 if given.get("scale") == "min_max" else 0), "River has no first minimum"
    np.testing.assert_allclose(scores[known], expected[known], rtol=1e-9, atol=1e-9)
    assert np.ptp(expected[known]) > 0.3, "a constant score would prove nothing"

    arrays = ours.state().arrays
    weights = dict(zip(NUMERIC, arrays["weights"].tolist(), strict=True))
    table = dict(zip(arrays["keys"].tolist(), arrays["table"].tolist(), strict=True))
    weights |= {f"{n}={v}": table[_key(v)] for n, v in {(n, v) for _, c, _ in EVENT_LIST for n, v in c.items()}}
    assert len(weights) > 500
    assert set(weights) == set(model.weights)
    for name, weight in model.weights.items():
        assert weights[name] == pytest.approx(weight, rel=1e-9, abs=1e-9), name
    assert arrays["scalars"][INTERCEPT] == pytest.approx(model.intercept, rel=1e-9, abs=1e-9)


@EVERY
def test_neither_blocks_nor_a_snapshot_change_a_bit(task: str, given: dict[str, Any]) -> None:
    label = _labels(task, given)[:5000]
    block = take(BLOCK, range(5000))
    whole, cut = _ours(task, given), _ours(task, given)
    scores = whole.score_learn(block, label)
    first = _in_pieces(cut, take(block, range(2500)), label[:2500], (1, 13, 500))
    state, before = unpack(pack(cut.state())), cut.state().digest()
    again = _ours(task, given)
    again.restore(state)
    cut.score_learn(take(block, range(2500, 2600)), label[2500:2600])
    assert state.digest() == again.state().digest() == before
    rest = _in_pieces(again, take(block, range(2500, 5000)), label[2500:], (999,))
    assert np.concatenate([first, rest]).tobytes() == scores.tobytes()
    assert state.digest() == before, "a model learned into the state that it was restored from"
    assert again.state().digest() == whole.state().digest()
    assert again.score(block).tobytes() == whole.score(block).tobytes()
    assert again.state().digest() == whole.state().digest(), "to score is not to learn"


@EVERY
@pytest.mark.parametrize("numbers", ["largest", "in turn", "zero", "outlier"])
def test_state_and_scores_stay_finite(task: str, given: dict[str, Any], numbers: str) -> None:
    block, label = take(BLOCK, range(1500)), _labels(task, given)[:1500]
    odd, x = np.arange(1500)[:, None] % 2 == 1, block.numeric
    wild = {
        "largest": np.sign(x) * 1e15,
        "in turn": np.where(odd, x * 1e-300, np.sign(x) * 1e15),
        "zero": np.zeros_like(x),
        "outlier": np.where(np.arange(1500)[:, None] == 50, 1e15, x),
    }[numbers]
    model = _ours(task, given)
    both = concat([replace(block, numeric=wild), block])
    assert np.isfinite(model.score_learn(both, np.concatenate([label, label]))).all()
    assert model.finite()
    assert np.isfinite(model.score(both)).all()
    assert all(np.isfinite(a).all() for a in model.state().arrays.values())


SOFTMAX: list[dict[str, Any]] = [
    {},
    {"l2": 0.01, "lr": INVERSE, "scale": "max_abs"},
    {"optimizer": "ada_grad", "lr": 0.1},
    {"optimizer": "adam", "lr": {**INVERSE, "rate": 0.05}},
    {"optimizer": {"name": "ftrl", "l1": 0.5}},
]


def _classes() -> F64:
    """Four classes; the second is met late, and so starts late."""
    y = np.array([y for *_, y in EVENT_LIST])
    label = np.digitize(y, [-0.7, 0.3, 1.2]).astype(np.float64)
    label[:1000][label[:1000] == 1] = 2
    return label


@pytest.mark.parametrize("given", SOFTMAX, ids=str)
def test_softmax_is_that_of_river_class_by_class(given: dict[str, Any]) -> None:
    ours, label = Softmax(len(NUMERIC), 4, SoftmaxParams(**given)), _classes()
    theirs, model = twin("linear.softmax", "classes", given)
    scores = _in_pieces(ours, BLOCK, label, (1, 7, 400, 3000))
    expected = np.zeros((EVENTS, 4))
    for i, (x, c, _) in enumerate(EVENT_LIST):
        for known, p in theirs.predict_proba_one(event(x, c)).items():
            expected[i, known] = p
        theirs.learn_one(event(x, c), int(label[i]))
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)
    assert (expected.argmax(axis=1) == label).mean() > 0.4
    arrays = ours.state().arrays
    slots = {key: slot for slot, key in enumerate(arrays["keys"].tolist())}
    for k, weights in model.weights.items():
        assert len(weights) > 100
        for name, weight in weights.items():
            column, _, value = name.partition("=")
            row = arrays["table"][slots[_key(int(value))]] if value else arrays["weights"][NUMERIC.index(column)]
            assert row[k] == pytest.approx(weight, rel=1e-9, abs=1e-9), name
    assert arrays["scalars"][STEPS] == EVENTS


PASSIVE: list[tuple[str, dict[str, Any]]] = [
    ("binary", {"c": 1.0}),
    ("binary", {"c": 0.05, "mode": 2, "learn_intercept": False}),
    ("binary", {"c": 0.5, "mode": 0, "scale": "max_abs"}),
    ("regression", {"c": 0.01}),
    ("regression", {"c": 0.5, "mode": 2, "eps": 0.3}),
    ("regression", {"mode": 0, "eps": 0.0, "scale": "max_abs"}),
]


@pytest.mark.parametrize(("task", "given"), PASSIVE, ids=str)
def test_passive_aggressive_is_that_of_river(task: str, given: dict[str, Any]) -> None:
    label, ours = _labels(task, {}), Passive(len(NUMERIC), task, PassiveParams(**given))
    theirs, model = twin("linear.passive_aggressive", task, given)
    scores = _in_pieces(ours, BLOCK, label, (1, 7, 400, 3000))
    expected = _expected(theirs, task, label.tolist())
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)
    arrays = ours.state().arrays
    assert arrays["scalars"][INTERCEPT] == pytest.approx(model.intercept, rel=1e-9, abs=1e-9)
    table = dict(zip(arrays["keys"].tolist(), arrays["table"].tolist(), strict=True))
    for name, weight in model.weights.items():
        column, _, value = name.partition("=")
        own = table[_key(int(value))] if value else arrays["weights"][NUMERIC.index(column)]
        assert own == pytest.approx(weight, rel=1e-9, abs=1e-9), name


def test_a_row_of_nearly_no_length_asks_for_a_bounded_step() -> None:
    rules = PassiveParams(mode=0).rules(losses.SQUARED)
    assert step_size.py_func(rules, 1.0, 1e-300) == TAU_MAX
    assert step_size.py_func(rules, 1.0, 0.0) == 0.0


@pytest.mark.parametrize("raw", [-1e3, -2.0, -0.5, 0.0, 0.2, 0.25, 1.0, 3.0, 50.0])
@pytest.mark.parametrize("target", [0.0, 0.2, 1.0, 3.0])
def test_slopes_at_and_beside_their_kinks_are_those_of_river(raw: float, target: float) -> None:
    theirs = {
        losses.ABSOLUTE: optim.losses.Absolute(),
        losses.HUBER: optim.losses.Huber(0.25),
        losses.QUANTILE: optim.losses.Quantile(0.25),
        losses.POISSON: optim.losses.Poisson(),
        losses.SQUARED: optim.losses.Squared(),
    }
    slope = losses.slope.py_func
    for loss, same in theirs.items():
        assert slope(loss, 0.25, target, raw) == pytest.approx(same.gradient(target, raw), rel=1e-12)
    if target in (0.0, 1.0):
        assert slope(losses.HINGE, 0.0, target, raw) == optim.losses.Hinge().gradient(int(target), raw)
    wide = optim.losses.EpsilonInsensitiveHinge(0.25).gradient((target + 1) / 2, raw)
    assert slope(losses.EPSILON_INSENSITIVE, 0.25, target, raw) == wide


def test_a_poisson_rate_is_bounded_where_rivers_overflows() -> None:
    assert losses.mean.py_func(losses.POISSON, 1e6) == math.exp(losses.EXPONENT_MAX)
    assert losses.slope.py_func(losses.POISSON, 0.0, 1.0, 1e6) == math.exp(losses.EXPONENT_MAX) - 1.0


@pytest.mark.parametrize("alpha", [1e-6, 1e-4, 0.5])
@pytest.mark.parametrize("t", [0, 1, 10, 10**7])
def test_rates_are_those_of_river_whatever_the_loss(alpha: float, t: int) -> None:
    own = Schedule(schedule="optimal", alpha=alpha).numbers()
    for loss in (optim.losses.Log(), optim.losses.Hinge(), optim.losses.Poisson(), optim.losses.Quantile(0.9)):
        expected = optim.schedulers.Optimal(loss, alpha).get(t)
        assert schedules.rate_at.py_func(own, t) == pytest.approx(expected, rel=1e-12)
    falling = Schedule(schedule="inverse_scaling", rate=alpha, power=0.3).numbers()
    assert schedules.rate_at.py_func(falling, t) == optim.schedulers.InverseScaling(alpha, 0.3).get(t)


def test_only_what_the_fast_kernel_knows_goes_to_it() -> None:
    assert _ours("binary", {"lr": 0.3, "l2": 0.1, "clip_gradient": 2.0})._plain
    assert _ours("regression", {"intercept_lr": 0})._plain
    for given in (VARIANTS[0], ("binary", {"optimizer": {"name": "adam"}}), ("binary", {"scale": "none"})):
        assert not _ours(*given)._plain


WRONG: list[tuple[type[BaseModel], dict[str, Any], str, str]] = [
    (LinearParams, {"lr": -1}, "lr", "Input should be greater than 0"),
    (LinearParams, {"lr": {"schedule": "optimal", "alpha": 2}}, "lr", "alpha: Input should be less than or equal to 1"),
    (LinearParams, {"lr": {"schedule": "constant", "power": 2}}, "lr", "power is nothing to constant; it has rate"),
    (LinearParams, {"intercept_lr": {"schedule": "cosine"}}, "intercept_lr", "'constant', 'inverse_scaling' or"),
    (LinearParams, {"optimizer": "adamw"}, "optimizer", "'sgd', 'ada_grad', 'rms_prop', 'adam' or 'ftrl'"),
    (LinearParams, {"optimizer": {"name": "adam", "rho": 0.5}}, "optimizer", "rho is nothing to adam; it has beta_1"),
    (LinearParams, {"optimizer": {"name": "rms_prop", "rho": 1}}, "optimizer", "rho: Input should be less than 1"),
    (LinearParams, {"optimizer": {"name": "sgd", "eps": 0.1}}, "optimizer", "eps is nothing to sgd; it has no"),
    (LinearParams, {"optimizer": "ftrl", "lr": 0.1}, "lr", "lr is nothing to ftrl; it has optimizer.alpha"),
    (LinearParams, {"optimizer": "ftrl", "l1": 0.1}, "l1", "l1 is nothing to ftrl; it has optimizer.l1"),
    (LinearParams, {"l1": 0.1, "l2": 0.2}, "l1", "l1 and l2 exclude each other; found l1 0.1, l2 0.2"),
    (LogisticParams, {"loss": "huber"}, "loss", "'log' or 'hinge'"),
    (RegressionParams, {"loss": "quantile", "quantile": 1}, "quantile", "less than 1"),
    (PassiveParams, {"mode": 3}, "mode", "0, 1 or 2"),
    (SoftmaxParams, {"l1": 0.1}, "l1", "Extra inputs"),
]


@pytest.mark.parametrize(("kind", "given", "where", "message"), WRONG, ids=str)
def test_a_wrong_parameter_is_named_with_its_limits(
    kind: type[BaseModel], given: dict[str, Any], where: str, message: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.model_validate(given)
    (error,) = caught.value.errors()
    assert ".".join(map(str, error["loc"])) == where
    assert message in error["msg"]


def test_a_state_of_another_shape_or_kind_is_refused() -> None:
    adam, plain = _ours("binary", {"optimizer": Optimizer(name="adam")}), _ours("binary", {})
    with pytest.raises(ValueError, match=r"found arrays .*this model has"):
        plain.restore(adam.state())
    with pytest.raises(ValueError, match=r"found \('linear', 1\); this model reads \('softmax', 1\)"):
        Softmax(len(NUMERIC), 3, SoftmaxParams()).restore(plain.state())
