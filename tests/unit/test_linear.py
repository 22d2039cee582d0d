"""The linear models give River's numbers: scores, weights and intercept, over 6,000 events of every kind."""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from river import compose, linear_model, optim, preprocessing

from stream.block import Block
from stream.encode.ids import Ids
from stream.learn.linear import kernel, table
from stream.learn.linear.model import Linear, LinearParams
from stream.learn.linear.natural import sigmoid
from stream.learn.linear.types import INTERCEPT, OVERFLOWED, STEPS, USED

EVENTS = 6_000
NUMERIC = ("distance", "minute", "constant", "late_comer")
CATEGORIES = ("carrier", "tail", "dest")
Row = tuple[dict[str, float], dict[str, str], float]


def _flights(rng: random.Random) -> Iterator[Row]:
    """Like flights: skewed categories of which new ones keep coming, gaps, a constant, a column that appears late."""
    for i in range(EVENTS):
        x: dict[str, float] = {"constant": 7.0}
        if rng.random() < 0.9:
            x["distance"] = rng.choice([200.0, 733.0, 1400.0, 2475.0]) + rng.random()
        if rng.random() < 0.7:
            x["minute"] = float(rng.randint(0, 1440))
        if i > EVENTS // 2:
            x["late_comer"] = rng.gauss(0, 1e6)
        c = {"carrier": rng.choice(["UA", "B6", "EV", "DL"])}
        if rng.random() < 0.8:
            c["tail"] = f"N{int(rng.paretovariate(0.6)) % 3000}"
        if rng.random() < 0.95:
            c["dest"] = f"D{min(int(rng.expovariate(0.05)), i // 50)}"
        effect = 0.002 * (x.get("minute", 700.0) - 700.0) + (1.0 if c["carrier"] == "EV" else -0.5)
        yield x, c, effect + rng.gauss(0, 1)


def _wild(rng: random.Random) -> Iterator[Row]:
    """Synthetic: scales from 1e-6 to 1e9, whole rows missing, rare huge values."""
    for _ in range(EVENTS):
        x = {}
        for k, name in enumerate(NUMERIC):
            if rng.random() < 0.6:
                x[name] = rng.gauss(3.0, 1.0) * 10.0 ** (5 * k - 6) * (1e3 if rng.random() < 0.001 else 1.0)
        c = {n: f"v{rng.randint(0, 40)}" for n in CATEGORIES if rng.random() < 0.5}
        yield x, c, sum(x.values()) * 1e-9 + len(c) + rng.gauss(0, 0.1)


def _block(rows: list[Row], ids: dict[str, Ids]) -> Block:
    n, zeros = len(rows), np.zeros(len(rows), np.int64)
    numeric = np.array([[x.get(name, np.nan) for name in NUMERIC] for x, _, _ in rows]).reshape(n, len(NUMERIC))
    categories = [[ids[name].of(c[name]) if name in c else 0 for name in CATEGORIES] for _, c, _ in rows]
    tokens = np.zeros(0, np.uint64)
    return Block("h", [""] * n, zeros, zeros.astype(np.int32), zeros, numeric, np.array(categories, np.uint64).reshape(n, len(CATEGORIES)), tokens, zeros)  # fmt: skip # noqa: E501


def _river(loss: int, params: LinearParams) -> Any:
    kind = linear_model.LogisticRegression if loss == kernel.LOG else linear_model.LinearRegression
    model = kind(
        optim.SGD(params.lr), l2=params.l2, intercept_lr=params.intercept_lr, clip_gradient=params.clip_gradient
    )
    numbers = compose.SelectType(float) | preprocessing.StandardScaler()
    return (numbers + compose.SelectType(int)) | model, model


CASES = [
    (_flights, kernel.LOG, {"lr": 0.02}),
    (_flights, kernel.LOG, {"lr": 0.1, "intercept_lr": 0.3, "l2": 0.003, "clip_gradient": 0.4}),
    (_wild, kernel.LOG, {"l2": 0.01}),
    (_flights, kernel.SQUARED, {"lr": 0.005}),
    (_flights, kernel.SQUARED, {"lr": 0.02, "intercept_lr": 0.002, "l2": 0.01, "clip_gradient": 1.5}),
    (_wild, kernel.SQUARED, {"lr": 0.003, "clip_gradient": 3.0}),
]


@pytest.mark.parametrize(("make", "loss", "given"), CASES)
def test_scores_weights_and_intercept_are_those_of_river(make: Any, loss: int, given: dict[str, Any]) -> None:
    rng, params = random.Random(42), LinearParams(**given)
    rows = [(x, c, float(y > 0) if loss == kernel.LOG else y) for x, c, y in make(rng)]
    ids = {name: Ids(name) for name in CATEGORIES}
    ours, (theirs, model) = Linear(len(NUMERIC), loss, params), _river(loss, params)

    scores: list[float] = []
    at = 0
    while at < len(rows):
        size = rng.choice([1, 7, 400, 3000])
        piece = rows[at : at + size]
        scores += ours.score_learn(_block(piece, ids), np.array([y for *_, y in piece])).tolist()
        at += size

    expected = np.empty(len(rows))
    for i, (x, c, y) in enumerate(rows):
        event = {**x, **{f"{name}={value}": 1 for name, value in c.items()}}
        if loss == kernel.LOG:
            expected[i] = theirs.predict_proba_one(event)[True]
            theirs.learn_one(event, bool(y))
        else:
            expected[i] = theirs.predict_one(event)
            theirs.learn_one(event, y)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-9)
    assert np.ptp(expected) > 0.3, "a constant score would prove nothing"

    arrays = ours.state().arrays
    weights = dict(zip(NUMERIC, arrays["weights"].tolist(), strict=True))
    table = dict(zip(arrays["keys"].tolist(), arrays["table"].tolist(), strict=True))
    for name, value in {(n, v) for _, c, _ in rows for n, v in c.items()}:
        weights[f"{name}={value}"] = table.pop(ids[name].of(value))
    assert set(table) == {0}
    assert table[0] == 0.0
    for name, weight in model.weights.items():
        assert weights[name] == pytest.approx(weight, rel=1e-9, abs=1e-9), name
    assert arrays["scalars"][INTERCEPT] == pytest.approx(model.intercept, rel=1e-9, abs=1e-9)
    assert arrays["scalars"][STEPS] == EVENTS


@pytest.mark.parametrize("raw", [-1e4, -40.0, -18.5, -18.0, -1.0, 0.0, 1.0, 17.9, 18.1, 40.0, 1e4])
def test_loss_and_link_are_those_of_river_far_from_zero_too(raw: float) -> None:
    for target in (0.0, 1.0):
        assert kernel.gradient(kernel.LOG, target, raw) == pytest.approx(
            optim.losses.Log().gradient(bool(target), raw), rel=1e-12
        )
        assert kernel.gradient(kernel.SQUARED, target, raw) == optim.losses.Squared().gradient(target, raw)
    assert 0.0 <= sigmoid(raw) <= 1.0
    assert sigmoid(raw) + kernel.sigmoid(-raw) == pytest.approx(1.0)


def test_a_key_that_wraps_around_the_table_is_found() -> None:
    keys = np.zeros(4, np.uint64)
    for key in (3, 7, 11):  # all want the last slot
        slot = table.find.py_func(keys, np.uint64(key))
        assert slot < 0
        keys[-1 - slot] = key
    assert [table.find.py_func(keys, np.uint64(k)) for k in (3, 7, 11)] == [3, 0, 1]
    assert table.find.py_func(keys, np.uint64(15)) == -1 - 2


def test_categories_beyond_the_bound_weigh_nothing_and_are_counted() -> None:
    model = Linear(0, kernel.LOG, LinearParams(categories_max=3, evict="none"))
    categories = np.arange(1, 9, dtype=np.uint64)[:, None]
    zeros = np.zeros(8, np.int64)
    block = Block("h", [""] * 8, zeros, zeros.astype(np.int32), zeros, np.zeros((8, 0)), categories, zeros[:0].astype(np.uint64), zeros)  # fmt: skip # noqa: E501
    model.score_learn(block, np.ones(8))
    model.score_learn(block, np.ones(8))
    arrays = model.state().arrays
    assert sorted(arrays["keys"][arrays["keys"] != 0].tolist()) == [1, 2, 3]
    assert arrays["scalars"][USED] == 3
    assert arrays["scalars"][OVERFLOWED] == 10


def test_numbers_alone_are_learned_as_beside_a_category_that_is_never_there() -> None:
    zeros = np.zeros(40, np.int64)
    plain = ("h", [""] * 40, zeros, zeros.astype(np.int32), zeros, np.sin(np.arange(80.0)).reshape(40, 2))
    none = np.zeros(0, np.uint64), zeros
    label = (plain[-1][:, 0] > 0).astype(np.float64)
    alone, beside = (Linear(2, kernel.LOG, LinearParams()) for _ in range(2))
    scores = alone.score_learn(Block(*plain, np.zeros((40, 0), np.uint64), *none), label)
    assert scores.tolist() == beside.score_learn(Block(*plain, np.zeros((40, 1), np.uint64), *none), label).tolist()
    assert scores[-1] != scores[0]
    assert alone.state().digest() == beside.state().digest()


def test_tokens_weigh_as_categories_do_once_for_each_time_they_stand_there() -> None:
    zeros = np.zeros(2, np.int64)
    plain = ("h", ["", ""], zeros, zeros.astype(np.int32), zeros, np.zeros((2, 0)))
    none = np.zeros((2, 0), np.uint64)
    tokens = Block(*plain, none, np.array([5, 6, 6], np.uint64), np.array([1, 3]))
    categories = Block(*plain, np.array([[5, 0], [6, 6]], np.uint64), np.zeros(0, np.uint64), zeros)
    one, two = (Linear(0, kernel.LOG, LinearParams()) for _ in range(2))
    label = np.array([1.0, 0.0])
    assert one.score_learn(tokens, label).tolist() == two.score_learn(categories, label).tolist()
    assert one.state().digest() == two.state().digest()
    assert one.score(tokens).tolist() == two.score(categories).tolist()
