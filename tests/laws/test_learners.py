"""Every law of `stream.learn.learner` for every model: those of MODELS with each of their tasks, and a River arm.

A model that is added to MODELS is held to all of it without a line here. `python test_learners.py` prints the
digests, for the law that two processes learn the same.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("HEADWATER_PICKLE_KEY", "a secret of the tests")

import numpy as np
import pytest

from stream.block import F64, Block, Layout, concat, take
from stream.learn.learner import Learner, State
from stream.learn.models import MODELS, build
from stream.registry.snapshot import pack, unpack
from stream.spec import Spec

LAYOUT = Layout(("x0", "x1", "x2"), ("c0", "c1"), ("t",))
RIVER = "river:linear_model.LogisticRegression"
CLASSES = ("lo", "mid", "hi")
KINDS = [(name, task, {}) for name, (tasks, _, _) in MODELS.items() for task in tasks]
KINDS += [(name, "regression", {"scale": "standard"}) for name in ("tree.regressor", "forest.regressor")]
KINDS += [(RIVER, "binary", {"trust_pickle": True}), (RIVER, "binary", {"trust_pickle": True, "scale": True})]
EVERY = pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join([k[0], k[1], *k[2]]))
BOUNDED = [k for k in KINDS if k[0] != RIVER and "categories_max" in MODELS[k[0]][1].model_fields]
Kind = tuple[str, str, dict[str, Any]]


def _make(kind: Kind, **params: Any) -> Learner:
    name, task, given = kind
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event}
    raw |= {"classes": CLASSES} if task == "classes" else {}
    arm = {"model": name, "params": {**given, **params}}
    return build(Spec.model_validate({**raw, "arms": {"a": arm}}), "a", LAYOUT)


def _stream(kind: Kind, rows: int, seed: int = 1, categories: int = 40) -> tuple[Block, F64]:
    """Learnable rows with gaps; enough of them for a tree to split."""
    rng = np.random.default_rng(seed)
    numeric = rng.normal(size=(rows, 3)) * [1.0, 2.0, 1e-3]
    ids = rng.integers(1, categories + 1, (rows, 2)).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    signal = numeric[:, 0] + (ids[:, 0] % 2).astype(float) + 0.1 * rng.normal(size=rows)
    numeric[rng.random(numeric.shape) < 0.1] = np.nan
    ids[rng.random(ids.shape) < 0.1] = 0
    lengths = rng.integers(0, 3, rows)
    block = _block(numeric, ids, rng.integers(1, 30, int(lengths.sum())).astype(np.uint64), np.cumsum(lengths))
    return block, _labels(kind, signal)


def _labels(kind: Kind, signal: F64) -> F64:
    if kind[1] == "regression":
        return signal
    if kind[1] == "binary":
        return (signal > 0.5).astype(np.float64)
    return np.clip(np.floor(signal + 1), 0, len(CLASSES) - 1)


def _block(numeric: F64, ids: Any, tokens: Any = None, ends: Any = None) -> Block:
    n = len(numeric)
    numbers = np.arange(n)
    return Block(
        "h",
        [f"e{i}" for i in numbers],
        numbers,
        np.zeros(n, np.int32),
        numbers,
        np.ascontiguousarray(numeric),
        np.ascontiguousarray(ids),
        np.zeros(0, np.uint64) if tokens is None else tokens,
        np.zeros(n, np.int64) if ends is None else ends,
    )


def _learn(model: Learner, block: Block, label: F64, sizes: list[int]) -> list[Any]:
    """Learn the rows in pieces of these sizes, again and again; the scores."""
    scores: list[Any] = []
    at = turn = 0
    while at < len(block):
        rows = range(at, min(at + sizes[turn % len(sizes)], len(block)))
        scores += model.score_learn(take(block, rows), label[at : rows.stop]).tolist()
        at, turn = rows.stop, turn + 1
    return scores


def _fingerprint(block: Block, label: F64) -> list[bytes]:
    arrays = (block.numeric, block.categories, block.tokens, block.token_ends, block.time_ms, block.offset, label)
    return [a.tobytes() for a in arrays]


def _digest(model: Learner) -> str:
    return model.state().digest()


@EVERY
def test_input_is_never_changed(kind: Kind) -> None:
    block, label = _stream(kind, 300)
    before = _fingerprint(block, label)
    model = _make(kind)
    model.score_learn(block, label)
    model.score(block)
    assert _fingerprint(block, label) == before


@EVERY
def test_input_that_nobody_may_write_to_is_learned_from_all_the_same(kind: Kind) -> None:
    block, label = _stream(kind, 300)
    one, two = _make(kind), _make(kind)
    one.score_learn(block, label)
    for array in (block.numeric, block.categories, block.tokens, block.token_ends, label):
        array.flags.writeable = False
    two.score_learn(block, label)
    assert _digest(one) == _digest(two)


@EVERY
def test_scores_have_the_shape_of_the_task_and_come_before_learning(kind: Kind) -> None:
    block, label = _stream(kind, 500)
    model, twin = _make(kind), _make(kind)
    shape = (500, len(CLASSES)) if kind[1] == "classes" else (500,)
    for at in range(0, 500, 100):
        piece = take(block, range(at, at + 100))
        first = twin.score(take(piece, [0]))
        scores = model.score_learn(piece, label[at : at + 100])
        assert scores[:1].tolist() == first.tolist()
        twin.score_learn(piece, label[at : at + 100])
    scores = model.score(block)
    assert scores.shape == shape
    assert scores.dtype == np.float64
    assert np.isfinite(scores).all()
    if kind[1] != "regression":
        assert ((scores >= 0) & (scores <= 1)).all()
    if kind[1] == "classes":
        np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-9)


@EVERY
def test_it_learns_something(kind: Kind) -> None:
    block, label = _stream(kind, 4000)
    model = _make(kind)
    before = model.score(block)
    model.score_learn(block, label)
    after = model.score(block)
    if kind[1] == "regression":
        assert ((after - label) ** 2).mean() < 0.7 * ((before - label) ** 2).mean()
    elif kind[1] == "binary":
        assert ((after > 0.5) == (label == 1)).mean() > 0.8
    else:
        assert (after.argmax(axis=1) == label).mean() > 0.6


@EVERY
def test_score_never_learns(kind: Kind) -> None:
    block, label = _stream(kind, 600)
    model = _make(kind)
    for _ in range(2):
        before = _digest(model)
        first = model.score(block)
        assert model.score(block).tobytes() == first.tobytes()
        assert _digest(model) == before
        model.score_learn(block, label)


@EVERY
def test_how_the_stream_is_cut_into_blocks_changes_nothing(kind: Kind) -> None:
    block, label = _stream(kind, 2500)
    whole = _make(kind)
    scores = _learn(whole, block, label, [2500])
    for sizes in ([1], [7, 1, 64], [999], [2499, 1]):
        model = _make(kind)
        assert _learn(model, block, label, sizes) == scores
        assert _digest(model) == _digest(whole), sizes


@EVERY
def test_a_block_of_no_rows_changes_nothing(kind: Kind) -> None:
    block, label = _stream(kind, 200)
    nothing = take(block, [])
    model, twin = _make(kind), _make(kind)
    fresh = _digest(model)
    assert len(model.score_learn(nothing, label[:0])) == 0
    assert len(model.score(nothing)) == 0
    assert _digest(model) == fresh
    for m, again in ((model, True), (twin, False)):
        m.score_learn(block, label)
        if again:
            m.score_learn(nothing, label[:0])
    assert _digest(model) == _digest(twin)


@EVERY
@pytest.mark.parametrize("carry", [lambda s: s, lambda s: unpack(pack(s))], ids=["in memory", "over a snapshot"])
def test_a_restored_model_goes_on_bit_for_bit(kind: Kind, carry: Callable[[State], State]) -> None:
    block, label = _stream(kind, 2400)
    quiet, scores = _make(kind), []
    scores = _learn(quiet, block, label, [100])
    model, again = _make(kind), []
    for at in range(0, 2400, 300):
        rows = range(at, at + 300)
        again += _learn(model, take(block, rows), label[at : at + 300], [100])
        state = carry(model.state())
        model = _make(kind)
        model.restore(state)
        assert model.state().digest() == state.digest()
    assert again == scores
    assert _digest(model) == _digest(quiet)
    assert model.score(block).tobytes() == quiet.score(block).tobytes()


@EVERY
def test_a_copy_of_the_state_stays_as_it_was(kind: Kind) -> None:
    block, label = _stream(kind, 900)
    model, other = _make(kind), _make(kind)
    model.score_learn(take(block, range(400)), label[:400])
    state = model.state()
    before = state.digest()
    model.score_learn(take(block, range(400, 900)), label[400:])
    assert state.digest() == before, "learning on changed a state that was taken before"
    other.restore(state)
    other.score_learn(take(block, range(400, 900)), label[400:])
    assert state.digest() == before, "a model learned into the state that it was restored from"
    assert _digest(other) == _digest(model)


@EVERY
def test_two_models_share_nothing(kind: Kind) -> None:
    block, label = _stream(kind, 500)
    one, two = _make(kind), _make(kind)
    fresh = _digest(two)
    one.score_learn(block, label)
    assert _digest(two) == fresh
    assert _digest(one) != fresh


def _finite(model: Learner, block: Block) -> None:
    assert model.finite()
    for name, array in model.state().arrays.items():
        assert array.dtype.kind != "f" or np.isfinite(array).all(), name
    assert np.isfinite(model.score(block)).all()


_EXTREMES: dict[str, Callable[[Block, F64], tuple[Block, F64]]] = {
    "largest numbers": lambda b, y: (replace(b, numeric=np.sign(b.numeric) * 1e15), y),
    "largest and smallest in turn": lambda b, y: (
        replace(b, numeric=np.where(np.arange(len(b))[:, None] % 2, b.numeric * 1e-300, np.sign(b.numeric) * 1e15)), y
    ),
    "constant columns": lambda b, y: (replace(b, numeric=np.full_like(b.numeric, -3e14)), y),
    "all zero": lambda b, y: (replace(b, numeric=np.zeros_like(b.numeric)), y),
    "one class or value": lambda b, y: (b, np.full_like(y, y[0])),
    "nothing given": lambda b, y: (
        replace(
            b,
            numeric=np.full_like(b.numeric, np.nan),
            categories=np.zeros_like(b.categories),
            tokens=b.tokens[:0],
            token_ends=np.zeros_like(b.token_ends),
        ), y
    ),
    "one outlier": lambda b, y: (
        replace(b, numeric=np.where(np.arange(len(b))[:, None] == 50, 1e15, b.numeric)), y
    ),
}  # fmt: skip


@EVERY
@pytest.mark.parametrize("extreme", list(_EXTREMES))
def test_the_state_stays_finite(kind: Kind, extreme: str) -> None:
    plain, plain_label = _stream(kind, 1500)
    block, label = _EXTREMES[extreme](plain, plain_label)
    model = _make(kind)
    scores = model.score_learn(block, label)
    assert np.isfinite(scores).all()
    _finite(model, block)
    model.score_learn(plain, plain_label)
    _finite(model, plain)


@EVERY
def test_columns_that_vanish_and_come_back_or_come_late_are_taken_as_they_are(kind: Kind) -> None:
    block, label = _stream(kind, 1500)
    numeric, ids = block.numeric.copy(), block.categories.copy()
    numeric[500:1000, 0], ids[500:1000, 0] = np.nan, 0
    numeric[:700, 1], ids[:700, 1] = np.nan, 0
    gaps = replace(block, numeric=numeric, categories=ids)
    one, two = _make(kind), _make(kind)
    assert _learn(one, gaps, label, [1500]) == _learn(two, gaps, label, [50])
    assert _digest(one) == _digest(two)
    _finite(one, block)


@EVERY
def test_thousands_of_categories_fit_and_how_they_came_changes_nothing(kind: Kind) -> None:
    block, label = _stream(kind, 6000, categories=5000)
    one, two, three = (_make(kind) for _ in range(3))
    assert _learn(one, block, label, [6000]) == _learn(two, block, label, [17, 400])
    at = 2500
    three.score_learn(take(block, range(at)), label[:at])
    state, three = three.state(), _make(kind)
    three.restore(state)
    three.score_learn(take(block, range(at, 6000)), label[at:])
    assert _digest(one) == _digest(two) == _digest(three)
    _finite(one, block)


@pytest.mark.parametrize("kind", BOUNDED, ids=lambda k: "-".join([k[0], k[1]]))
@pytest.mark.parametrize("bound", [1, 5, 1000, 3000])
def test_the_bound_on_categories_holds_whatever_the_blocks(kind: Kind, bound: int) -> None:
    block, label = _stream(kind, 3000, categories=5000)
    one, two = _make(kind, categories_max=bound), _make(kind, categories_max=bound)
    assert _learn(one, block, label, [3000]) == _learn(two, block, label, [13])
    assert _digest(one) == _digest(two)
    arrays = one.state().arrays
    assert np.count_nonzero(arrays["keys"]) == bound
    assert len(arrays["keys"]) <= max(1024, 4 * bound)
    size = sum(a.nbytes for a in arrays.values())
    more, more_label = _stream(kind, 3000, seed=2, categories=50_000)
    one.score_learn(more, more_label)
    assert sum(a.nbytes for a in one.state().arrays.values()) == size


@EVERY
def test_learning_the_same_rows_twice_is_not_the_same_as_once(kind: Kind) -> None:
    block, label = _stream(kind, 300)
    once, twice = _make(kind), _make(kind)
    once.score_learn(block, label)
    twice.score_learn(concat([block, block]), np.concatenate([label, label]))
    assert _digest(once) != _digest(twice)


@EVERY
def test_the_state_says_what_it_is_in_plain_json(kind: Kind) -> None:
    state = _make(kind).state()
    assert {"kind", "version"} <= set(state.meta)
    assert unpack(pack(state)).digest() == state.digest()


def _digests() -> str:
    lines = []
    for kind in KINDS:
        block, label = _stream(kind, 1200, categories=2000)
        model = _make(kind)
        _learn(model, block, label, [77])
        lines.append(f"{kind[0]} {kind[1]} {_digest(model)}")
    return "\n".join(lines)


def test_another_process_learns_the_same_to_the_last_bit() -> None:
    env = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(Path(__file__).parents[2])}
    found = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True, check=True, timeout=300)
    assert found.stdout.strip() == _digests()


if __name__ == "__main__":
    print(_digests())
