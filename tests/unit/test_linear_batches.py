"""Rows are learned in batches, and nobody can tell: each score and bit of the state is that of one row at a time."""

import math
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

from stream.block import Block, take
from stream.learn.linear.kernel import LOG, SQUARED
from stream.learn.linear.lanes import LANES, aligned, scratch
from stream.learn.linear.model import Linear
from stream.learn.linear.natural import FAR, power, sigmoid
from stream.learn.linear.params import LinearParams

SPREAD = np.uint64(0x9E3779B97F4A7C15)
ROWS = 700


def _rows(features: int, tokens: bool) -> tuple[Block, Any]:
    """Gaps, categories that are absent, and ever new ones; up to six tokens a row, some twice."""
    rng = np.random.default_rng(features)
    numeric = rng.normal(size=(ROWS, features)) * 10.0 ** rng.integers(-3, 6, features)
    numeric[rng.random(numeric.shape) < 0.2] = np.nan
    ids = (rng.zipf(1.4, (ROWS, 3)) % 900).astype(np.uint64) * SPREAD
    ends = np.cumsum(rng.integers(0, 7, ROWS)) if tokens else np.zeros(ROWS, np.int64)
    words = (rng.zipf(1.3, ends[-1]) % 2000 + 1).astype(np.uint64) * SPREAD
    zeros = np.zeros(ROWS, np.int64)
    block = Block("h", [""] * ROWS, zeros, zeros.astype(np.int32), zeros, numeric, ids, words, ends)
    return block, rng.integers(0, 2, ROWS).astype(np.float64)


@pytest.mark.parametrize("bound", [{}, {"categories_max": 60}, {"categories_max": 100, "evict": "none"}])
@pytest.mark.parametrize("more", [{}, {"l2": 0.01, "clip_gradient": 0.3}])
@pytest.mark.parametrize(("features", "tokens"), [(0, True), (5, True), (8, False), (19, True)])
def test_one_row_at_a_time_gives_the_same_scores_and_the_same_state(
    features: int, tokens: bool, more: dict[str, Any], bound: dict[str, Any]
) -> None:
    block, label = _rows(features, tokens)
    whole, single = (Linear(features, LOG, LinearParams(lr=0.1, **more, **bound)) for _ in range(2))
    scores = whole.score_learn(block, label)
    for row in range(ROWS):
        one = take(block, range(row, row + 1))
        assert single.score(one)[0] == scores[row], "what is asked for is what is scored before it is learned"
        single.score_learn(one, label[row : row + 1])
    assert single.state().digest() == whole.state().digest()
    assert single.counts() == whole.counts()
    assert whole.counts()["held"] <= bound.get("categories_max", np.inf)
    assert whole.counts()["evicted"] + whole.counts()["refused"] > 0 or not bound


def test_a_row_with_more_tokens_than_any_before_finds_room_for_them() -> None:
    block, label = _rows(2, True)
    first, last = take(block, range(3)), take(block, range(3, ROWS))
    cut, whole = (Linear(2, SQUARED, LinearParams()) for _ in range(2))
    cut.score_learn(first, label[:3])
    cut.score_learn(last, label[3:])
    whole.score_learn(block, label)
    assert cut.state().digest() == whole.state().digest()


def test_e_to_the_x_is_within_one_unit_in_the_last_place() -> None:
    rng = np.random.default_rng(1)
    with localcontext() as context:
        context.prec = 40
        for x in [
            0.0,
            18.0,
            -FAR,
            FAR,
            *rng.uniform(-18, 18, 500),
            *rng.uniform(-FAR, FAR, 500),
            *rng.normal(size=200),
        ]:
            found, exact = power.py_func(float(x)), Decimal(float(x)).exp()
            assert abs(Decimal(found) - exact) <= Decimal(math.ulp(found)), x


def test_a_sigmoid_of_anything_is_a_probability_and_of_nan_is_nan() -> None:
    assert [sigmoid(z) for z in (-math.inf, -1e9, 0.0, 40.0, math.inf)] == [
        pytest.approx(0.0, abs=1e-300), pytest.approx(0.0, abs=1e-300), 0.5, 1.0, 1.0,
    ]  # fmt: skip
    assert math.isnan(sigmoid(math.nan))


@pytest.mark.parametrize("features", [0, 1, 8, 9, 600])
def test_lanes_begin_where_cache_lines_do_and_their_batch_is_small(features: int) -> None:
    work, z = scratch(features)
    assert work.shape[0] * LANES >= features == z.shape[2] - (-features % LANES)
    assert z.nbytes <= max(2 * 64 * LANES * 8, 2 * work.shape[0] * LANES * 8)
    assert all(aligned(3, size).ctypes.data % 64 == 0 for size in (1, 8, 5, 40))
