"""Corrected labels and fake negatives: what a spec may ask for, what is learned of them, and that weights undo bias."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from stream.block import Block, Layout, Training, decode_training, encode_training, split_training
from stream.learn.arms import Arms, digest
from stream.learn.linear.losses import FAKE_NEGATIVE, fake_negative, mean, slope
from stream.learn.models import build, model_problems
from stream.spec import LabelSpec, Spec

FIELDS: dict[str, Any] = {"x": {"type": "numeric"}}
ARM: dict[str, Any] = {"model": "linear.logistic", "params": {"lr": 0.02, "intercept_lr": 0.02}}


def _spec(arms: dict[str, Any] | None = None, **label: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": FIELDS}
    raw = {"name": "p", "task": "binary", "event": event, "arms": arms or {"a": ARM}, "label": label}
    return Spec.model_validate({**raw, "metrics": {"window_rows": 10}})


def _rows(x: Any, label: Any, correction: Any = None) -> Training:
    n = len(x)
    numbers = np.arange(n)
    block = Block(
        "h", [f"e{i}" for i in numbers], numbers, np.zeros(n, np.int32), numbers, np.asarray(x, float).reshape(n, 1),
        np.zeros((n, 0), np.uint64), np.zeros(0, np.uint64), np.zeros(n, np.int64),
    )  # fmt: skip
    return Training(block, np.asarray(label, float), numbers, numbers, numbers, correction)


# -- corrections -----------------------------------------------------------------------------------------


def test_a_correction_is_learned_and_counts_in_no_metric() -> None:
    rng = np.random.default_rng(1)
    x, label = rng.normal(size=60), (rng.random(60) < 0.5).astype(float)
    again = np.arange(60) % 3 == 1
    taught, plain, first = Arms(_spec()), Arms(_spec()), Arms(_spec())
    windows = taught.learn(_rows(x, label, again))
    plain.learn(_rows(x, label))
    assert taught.models["a"].state().digest() == plain.models["a"].state().digest()
    assert taught.rows == 60
    assert [w.rows for _, w in windows] == [10, 20, 30, 40]
    scores = first.models["a"].score_learn(_rows(x, label).block, label)
    kept = ~again
    assert first.metrics["a"].update(scores[kept], label[kept], np.arange(60)[kept]) == [w for _, w in windows]


def test_corrections_survive_the_topic_and_every_cut() -> None:
    rows = _rows(np.zeros(10_000), np.zeros(10_000), np.arange(10_000) % 7 == 0)
    pieces = [decode_training(encode_training(piece)) for piece in split_training(rows)]
    assert len(pieces) > 1
    assert np.concatenate([p.correction for p in pieces if p.correction is not None]).tolist() == [
        i % 7 == 0 for i in range(10_000)
    ]
    assert decode_training(encode_training(_rows([1], [0]))).correction is None


def test_a_flag_too_few_is_a_damaged_record() -> None:
    rows = _rows([1, 2, 3], [0, 1, 0], np.array([True]))
    with pytest.raises(ValueError, match="block says 3 rows, but its labels differ"):
        decode_training(encode_training(rows))


def test_state_does_not_depend_on_how_a_log_with_corrections_was_cut() -> None:
    rng = np.random.default_rng(2)
    x, label, again = rng.normal(size=300), (rng.random(300) < 0.5).astype(float), rng.random(300) < 0.2
    whole, parts = Arms(_spec()), Arms(_spec())
    whole.learn(_rows(x, label, again))
    for at in range(0, 300, 7):
        cut = slice(at, at + 7)
        piece = _rows(x[cut], label[cut], again[cut])
        parts.learn(Training(piece.block, piece.label, *[np.arange(300)[cut]] * 3, piece.correction))
    assert digest(parts.states()) == digest(whole.states())


# -- importance ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("raw", [-30.0, -3.0, -0.2, 0.0, 0.7, 4.0, 30.0])
def test_the_slope_is_that_of_the_weighted_loss_with_its_weights_held(raw: float) -> None:
    p, rest = 1 / (1 + np.exp(-raw)), 1 / (1 + np.exp(raw))
    for target, weight, off in ((1.0, 1 + p, -rest), (0.0, rest * (1 + p), p)):  # off: slope of the plain log loss
        assert fake_negative(target, raw) == pytest.approx(weight * off, rel=1e-12)
        assert slope.py_func(FAKE_NEGATIVE, 0.0, target, raw) == fake_negative(target, raw)
    assert mean.py_func(FAKE_NEGATIVE, raw) == pytest.approx(p)
    # over rows of true probability p, each a negative first, nothing pulls at p
    assert fake_negative(0.0, raw) + p * fake_negative(1.0, raw) == pytest.approx(0.0, abs=1e-12)


def test_weights_undo_the_bias_of_negatives_that_came_too_early() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=30_000)
    truth = rng.random(30_000) < 1 / (1 + np.exp(-(x - 0.5)))
    order = [(i, 0, x[i]) for i in range(30_000)] + [(i + 2_000 * rng.random(), 1, x[i]) for i in np.flatnonzero(truth)]
    rows = [(value, label) for when, label, value in sorted(order) if when < 30_000]  # else positives alone at the end
    given = _rows([v for v, _ in rows], [y for _, y in rows])
    weighted, plain = Arms(_spec(timeout="importance")), Arms(_spec())
    for arms in (weighted, plain):
        arms.learn(given)
    seen = _rows(x, truth).block
    aim = truth.mean()
    assert abs(weighted.score("a", seen).mean() - aim) < 0.03
    assert plain.score("a", seen).mean() < aim - 0.08  # what the weights are for


def test_with_importance_only_models_that_weigh_their_rows_are_allowed() -> None:
    arms = {
        "log": ARM,
        "hinge": {"model": "linear.logistic", "params": {"loss": "hinge"}},
        "tree": {"model": "tree.hoeffding"},
    }
    spec = _spec(arms, timeout="importance")
    assert model_problems(spec, "log") == []
    for name in ("hinge", "tree"):
        (problem,) = model_problems(spec, name)
        assert problem.startswith(f"arms.{name}.model: found {arms[name]['model']}; with label.timeout: importance ")
    kind = build(spec, "log", Layout(("x",), (), ())).state().meta
    assert kind["loss"] == FAKE_NEGATIVE


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ({"timeout": "negative", "negative_after": "5s"}, "negative_after goes with timeout importance, not negative"),
        (
            {"timeout": "importance", "negative_after": "2h", "window": "1h"},
            "negative_after 7200000 ms is longer than the window, 3600000 ms",
        ),
        ({"timeout": "importance", "corrections": "learn"}, "corrections learn goes with timeout drop or negative"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(label: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        LabelSpec.model_validate(label)


def test_the_hash_tells_policies_apart_and_is_what_it_was_without_them() -> None:
    given: list[dict[str, Any]] = [
        {}, {"corrections": "learn"}, {"timeout": "negative"}, {"timeout": "importance"},
        {"timeout": "importance", "negative_after": "1s"},
    ]  # fmt: skip
    assert len({_spec(**label).hash for label in given}) == len(given)
    assert _spec(corrections="first", negative_after=0).hash == _spec().hash
