"""Bad input to a learner: an error with value and limit at the API; in the stream the row goes to `dead`."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schemas
from consumers._kafka import Out
from consumers.learn import LearnStep
from consumers.settings import Settings
from stream.block import Block, Layout, Training
from stream.clock import FakeClock
from stream.encode.encoder import layout_of
from stream.learn.arms import digest
from stream.learn.models import build
from stream.spec import Spec

CLASSES = ("lo", "mid", "hi")


def _spec(task: str, model: str, folder: Path = Path()) -> Spec:
    fields = {"x": {"type": "numeric"}, "y": {"type": "numeric"}, "c": {"type": "category"}}
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": fields}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event, "arms": {"a": {"model": model}}}
    return Spec.model_validate(raw | ({"classes": CLASSES} if task == "classes" else {}) | {"folder": folder})


def _block(spec: Spec, n: int = 5, **more: Any) -> Block:
    rng, zeros, none = np.random.default_rng(1), np.zeros(n, np.int64), np.zeros(0, np.uint64)
    ids = rng.integers(1, 9, (n, 1)).astype(np.uint64)
    numeric = rng.normal(size=(n, 2))
    names = [f"e{i}" for i in range(n)]
    block = Block(spec.hash, names, zeros, zeros.astype(np.int32), zeros, numeric, ids, none, zeros)
    return replace(block, **more)


MODELS = [
    ("linear.logistic", "binary"),
    ("linear.regression", "regression"),
    ("linear.softmax", "classes"),
    ("linear.passive_aggressive", "binary"),
    ("tree.hoeffding", "classes"),
]
EVERY = pytest.mark.parametrize(("model", "task"), MODELS)
BLOCKS: list[tuple[dict[str, Any], str]] = [
    ({"numeric": np.zeros((5, 2), np.float32)}, r"block.numeric: found float32\[5, 2\]; float64\[5, 2\] is wanted"),
    ({"numeric": np.zeros((5, 3))}, r"block.numeric: found float64\[5, 3\]; float64\[5, 2\]"),
    ({"numeric": np.zeros((4, 2))}, r"block.numeric: found float64\[4, 2\]; float64\[5, 2\]"),
    ({"categories": np.zeros((5, 1), np.int64)}, r"block.categories: found int64\[5, 1\]; uint64\[5, 1\]"),
    ({"categories": np.zeros((5, 0), np.uint64)}, r"block.categories: found uint64\[5, 0\]; uint64\[5, 1\]"),
    ({"tokens": np.zeros(2, np.int64)}, r"block.tokens: found int64\[2\]; uint64\[2\]"),
    ({"token_ends": np.array([0, 0, 3, 3, 3])}, "block.token_ends: not rising from 0 to 0"),
    ({"token_ends": np.zeros(3, np.int64)}, r"block.token_ends: found int64\[3\]; int64\[5\]"),
    ({"numeric": np.array([[0, 1.0]] * 3 + [[0, -np.inf]] * 2)}, "block.numeric: row 3, y: found an infinite number"),
]  # fmt: skip


@EVERY
@pytest.mark.parametrize(("wrong", "message"), BLOCKS, ids=[m for _, m in BLOCKS])
def test_a_block_of_another_shape_or_type_is_refused_with_both(
    model: str, task: str, wrong: dict[str, Any], message: str
) -> None:
    spec = _spec(task, model)
    learner = build(spec, "a", layout_of(spec))
    before = learner.state().digest()
    with pytest.raises(ValueError, match=message):
        learner.score_learn(_block(spec, **wrong), np.zeros(5))
    with pytest.raises(ValueError, match=message):
        learner.score(_block(spec, **wrong))
    assert learner.state().digest() == before


LABELS: list[tuple[str, Any, str]] = [
    ("binary", [0, 1, 2, 0, 0], r"label: row 2: found 2; 0 or 1 is wanted"),
    ("binary", [0, 1, 0.5, 0, 0], r"label: row 2: found 0.5; 0 or 1"),
    ("binary", [0, np.nan, 1, 0, 0], r"label: row 1: found nan; 0 or 1"),
    ("classes", [0, 1, 2, 3, 0], r"label: row 3: found 3; 0 to 2 is wanted, a place in \['lo', 'mid', 'hi'\]"),
    ("classes", [-1, 1, 2, 2, 0], r"label: row 0: found -1; 0 to 2"),
    ("classes", [0, 1.5, 2, 2, 0], r"label: row 1: found 1.5; 0 to 2"),
    ("regression", [0, 1, np.nan, 0, 0], r"label: row 2: found nan; a number within ±1e\+15"),
    ("regression", [0, np.inf, 2, 0, 0], r"label: row 1: found inf; a number"),
    ("regression", [0, 1, 2, 0, -2e15], r"label: row 4: found -2e\+15; a number within ±1e\+15"),
]


@EVERY
def test_a_label_outside_the_task_is_refused_before_anything_is_learned(model: str, task: str) -> None:
    spec = _spec(task, model)
    learner = build(spec, "a", layout_of(spec))
    before = learner.state().digest()
    for _, label, message in (case for case in LABELS if case[0] == task):
        with pytest.raises(ValueError, match=message):
            learner.score_learn(_block(spec), np.array(label, np.float64))
    with pytest.raises(ValueError, match=r"label: found int64\[5\]; float64\[5\] is wanted"):
        learner.score_learn(_block(spec), np.zeros(5, np.int64))
    with pytest.raises(ValueError, match=r"label: found float64\[4\]; float64\[5\]"):
        learner.score_learn(_block(spec), np.zeros(4))
    assert learner.state().digest() == before
    assert Layout(("x", "y"), ("c",), ()) == layout_of(spec)


def _step(spec: Spec, folder: Path) -> LearnStep:
    step = LearnStep(spec, Settings(data=folder), FakeClock())
    step.begin()
    return step


def _training(spec: Spec, label: list[float], **more: Any) -> Training:
    at = np.arange(len(label))
    return Training(_block(spec, len(label), **more), np.array(label, np.float64), at, at + 100, at + 200)


def _dead(step: LearnStep) -> list[dict[str, Any]]:
    found = [o for o in step.take_outs() if o.topic == "p.dead"]
    return [schemas.codec("dead").decode(o.value) for o in found]


@pytest.mark.parametrize(
    ("task", "model", "label", "wrong"),
    [
        ("binary", "linear.logistic", [0, 2, 1, np.nan, 1], [1, 3]),
        ("regression", "linear.regression", [0.5, np.inf, 1, np.nan, 1e300], [1, 3, 4]),
        ("classes", "linear.softmax", [0, 3, 1, -1, 2], [1, 3]),
        ("binary", "linear.logistic", [2, 2, 2, 2, 2], [0, 1, 2, 3, 4]),
    ],
)
def test_in_the_stream_a_wrong_label_goes_to_dead_and_the_other_rows_are_learned(
    task: str, model: str, label: list[float], wrong: list[int], tmp_path: Path
) -> None:
    spec = _spec(task, model)
    step, quiet = _step(spec, tmp_path / "a"), _step(spec, tmp_path / "b")
    step.learn(_training(spec, label), 7)
    dead = _dead(step)
    assert [(d["code"], d["offset"], d["step"]) for d in dead] == [("label.outside_task", 7, "learn")] * len(wrong)
    for row, letter in zip(wrong, dead, strict=True):
        assert f"row {row} of 5, id e{row}: label: found {label[row]:g};" in letter["detail"]
        assert "wanted" in letter["detail"]
    assert step.rows == 5 - len(wrong)
    assert step.next_offset == 8
    right = [i for i in range(5) if i not in wrong]
    whole = _training(spec, label)
    for i in right:
        one = {n: getattr(whole.block, n)[i : i + 1] for n in ("numeric", "categories")}
        quiet.learn(_training(spec, [label[i]], **one, ids=[f"e{i}"]), 0)
    assert step.state_hash() == quiet.state_hash() or not right
    step.learn(_training(spec, [0.0, 1.0]), 8)
    assert step.rows == 7 - len(wrong)


def test_in_the_stream_an_infinite_number_or_a_foreign_block_goes_to_dead_too(tmp_path: Path) -> None:
    spec = _spec("binary", "linear.logistic")
    step = _step(spec, tmp_path)
    step.learn(_training(spec, [0, 1, 1], numeric=np.array([[1.0, 2], [np.inf, 1], [np.nan, 3]])), 1)
    step.learn(_training(spec, [0, 1], numeric=np.zeros((2, 7))), 2)
    infinite, foreign = _dead(step)
    assert (infinite["code"], infinite["detail"]) == ("value.not_finite", "row 1 of 3, id e1: an infinite number")
    assert (foreign["code"], foreign["offset"]) == ("block.undecodable", 2)
    assert "found float64[2, 7]; float64[2, 2] is wanted" in foreign["detail"]
    assert (step.rows, step.next_offset) == (2, 3)
    step.maybe_snapshot(caught_up=True, force=True)
    again = _step(spec, tmp_path)
    assert (again.rows, again.state_hash(), again.next_offset) == (2, step.state_hash(), 3)
    assert json.loads(next(tmp_path.rglob("manifest.json")).read_text())["through"]["label_offset"] == 2
    assert digest({}) != again.state_hash()


def _windows(step: LearnStep) -> tuple[list[Out], list[int]]:
    """What is to be sent now, and the numbers of the metric windows in it."""
    outs = step.take_outs()
    found = [schemas.codec("metric").decode(o.value) for o in outs if o.topic == "p.metrics" and o.value]
    return outs, [m["window"] for m in found]


def test_a_window_travels_in_every_snapshot_until_a_commit_has_carried_it(tmp_path: Path) -> None:
    """Also when the commit is under way while more is learned, and a second snapshot is written."""
    spec = _spec("binary", "linear.logistic")
    step, rows = _step(spec, tmp_path), _training(spec, [0.0, 1.0] * (spec.metrics.window_rows // 2))
    step.learn(rows, 0)
    step.maybe_snapshot(caught_up=False, force=True)
    under_way, sent = _windows(step)
    step.learn(rows, 1)
    step.maybe_snapshot(caught_up=False, force=True)
    again = _step(spec, tmp_path)  # it was killed before the commit ended
    assert (sent, _windows(again)[1]) == ([0], [0, 1])
    step.written(under_way)
    step.learn(rows, 2)
    step.maybe_snapshot(caught_up=False, force=True)
    assert _windows(_step(spec, tmp_path))[1] == [1, 2]
