"""A River arm: refused unless asked for and signed; a pickle that is not ours is never opened."""

import hashlib
import hmac
import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import linear_model, tree

from stream.block import Block, Layout
from stream.errors import SnapshotError
from stream.learn.learner import State
from stream.learn.models import build, model_problems
from stream.learn.pickled import KEY_VARIABLE
from stream.learn.river_arm import RiverArm, RiverParams
from stream.registry import snapshot as snapshots
from stream.spec import Spec

LAYOUT = Layout(("x", "y"), ("c",), ())
MODEL = "river:linear_model.LogisticRegression"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY_VARIABLE, "a secret")


def _spec(model: str = MODEL, task: str = "binary", **params: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event}
    raw |= {"classes": ["k", "l", "m"]} if task == "classes" else {}
    return Spec.model_validate({**raw, "arms": {"a": {"model": model, "params": {"trust_pickle": True, **params}}}})


def _arm(model: str = MODEL, task: str = "binary", **params: Any) -> Any:
    return build(_spec(model, task, **params), "a", LAYOUT).inner  # type: ignore[attr-defined]


def _block(n: int = 50) -> tuple[Block, Any]:
    rng = np.random.default_rng(5)
    numeric = rng.normal(size=(n, 2))
    numeric[rng.random(numeric.shape) < 0.1] = np.nan
    zeros = np.zeros(n, np.int64)
    ids = rng.integers(0, 4, (n, 1)).astype(np.uint64)
    label = (np.nan_to_num(numeric[:, 0]) > 0).astype(np.float64)
    none = np.zeros(0, np.uint64)
    return Block("h", [""] * n, zeros, zeros.astype(np.int32), zeros, numeric, ids, none, zeros), label


def test_it_is_refused_unless_the_spec_trusts_pickles() -> None:
    assert model_problems(_spec(), "a") == []
    (problem,) = model_problems(_spec(trust_pickle=False), "a")
    assert problem.startswith("arms.a.params: a River arm is kept as a pickle")


@pytest.mark.parametrize("key", [None, ""])
def test_it_is_refused_without_a_key_to_sign_with(monkeypatch: pytest.MonkeyPatch, key: str | None) -> None:
    monkeypatch.delenv(KEY_VARIABLE) if key is None else monkeypatch.setenv(KEY_VARIABLE, key)
    (problem,) = model_problems(_spec(), "a")
    assert KEY_VARIABLE in problem


@pytest.mark.parametrize(
    ("model", "params", "said"),
    [
        ("river:linear_model.Nothing", {}, "AttributeError"),
        ("river:nowhere.Model", {}, "ModuleNotFoundError"),
        ("river:linear_model.LogisticRegression", {"speed": 9}, "TypeError"),
    ],
)
def test_an_estimator_that_can_not_be_built_says_why(model: str, params: dict[str, Any], said: str) -> None:
    (problem,) = model_problems(_spec(model, **params), "a")
    assert problem.startswith(f"arms.a.params: {model.replace(':', '.')}: {said}")


def test_it_scores_and_learns_as_the_estimator_itself_would() -> None:
    block, label = _block()
    arm, plain = _arm(l2=0.1), linear_model.LogisticRegression(l2=0.1)
    expected = []
    for i, y in enumerate(label):
        x = {n: v for n, v in zip("xy", block.numeric[i].tolist(), strict=True) if v == v}
        if block.categories[i, 0]:
            x[f"c={block.categories[i, 0]:016x}"] = 1.0
        expected.append(plain.predict_proba_one(x)[True])
        plain.learn_one(x, bool(y))
    assert arm.score_learn(block, label).tolist() == expected


def test_each_task_gets_the_target_and_the_shape_it_wants() -> None:
    block, label = _block()
    value = _arm("river:linear_model.LinearRegression", "regression")
    assert value.score_learn(block, label * 2.5).shape == (50,)
    classes = _arm("river:naive_bayes.GaussianNB", "classes")
    scores = classes.score_learn(block, np.arange(50) % 3.0)
    assert scores.shape == (50, 3)
    assert scores[-1].sum() == pytest.approx(1.0)
    assert classes.finite()
    assert isinstance(_arm("river:tree.HoeffdingTreeClassifier")._model, tree.HoeffdingTreeClassifier)


def test_a_model_whose_score_is_no_number_is_noticed() -> None:
    arm = _arm()
    assert arm.finite()
    arm._model.intercept = float("nan")
    assert not arm.finite()


class _Canary:
    """A pickle of it writes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def _state(body: bytes, sign: str | None) -> State:
    meta = {"kind": "river", "version": 1} | ({} if sign is None else {"hmac": sign})
    return State({"pickle": np.frombuffer(body, np.uint8).copy()}, meta)


def test_a_pickle_that_is_not_signed_with_our_key_is_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = pickle.dumps((_Canary(tmp_path / "canary"), None))
    good = hmac.new(b"a secret", body, hashlib.sha256).hexdigest()
    own = _arm().state().meta["hmac"]
    arm = _arm()
    wrong = [None, "", "0" * 64, own, good[:-1], good.upper(), hashlib.sha256(body).hexdigest()]
    wrong.append(hmac.new(b"", body, hashlib.sha256).hexdigest())
    for sign in wrong:
        with pytest.raises(SnapshotError, match=KEY_VARIABLE):
            arm.restore(_state(body, sign))
    with pytest.raises(SnapshotError):
        arm.restore(_state(body + b"\0", good))
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv(KEY_VARIABLE)
    keyless = RiverArm(LAYOUT, _spec(), RiverParams(name=MODEL.removeprefix("river:"), trust_pickle=True))
    with pytest.raises(SnapshotError):
        keyless.restore(_state(body, hmac.new(b"", body, hashlib.sha256).hexdigest()))
    assert list(tmp_path.iterdir()) == []
    arm.restore(_state(body, good))  # so the canary does sing: whoever has the key is trusted
    assert (tmp_path / "canary").exists()


def test_a_snapshot_that_was_signed_with_another_key_is_not_restored(monkeypatch: pytest.MonkeyPatch) -> None:
    block, label = _block()
    arm = _arm()
    arm.score_learn(block, label)
    state = arm.state()
    again = _arm()
    again.restore(state)
    assert again.score(block).tolist() == arm.score(block).tolist()
    monkeypatch.setenv(KEY_VARIABLE, "another secret")
    with pytest.raises(SnapshotError):
        _arm().restore(state)


def test_a_pickle_in_place_of_the_arrays_of_a_snapshot_is_never_opened(tmp_path: Path) -> None:
    evil = tmp_path / "canary"
    meta = {"generation": 1, "spec_hash": "h"}
    found = snapshots.write(tmp_path / "s", {"a": State({"w": np.ones(2)}, {})}, meta, 3)
    objects = np.empty(1, object)
    objects[0] = _Canary(evil)
    with (found.path / "a.npz").open("wb") as f:
        np.savez(f, allow_pickle=True, w=objects, meta=np.frombuffer(b"{}", np.uint8))
    body = (found.path / "a.npz").read_bytes()
    manifest = json.loads((found.path / snapshots.MANIFEST).read_text())
    manifest["files"]["a.npz"] = hashlib.sha256(body).hexdigest()
    del manifest["sha256"]
    manifest["sha256"] = snapshots._sha256(manifest)
    (found.path / snapshots.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(SnapshotError, match="allow_pickle=False"):
        snapshots.load_newest(tmp_path / "s", "h")
    assert not evil.exists()


def test_scaling_leaves_categories_their_weight() -> None:
    n = 2000
    zeros = np.zeros(n, np.int64)
    ids = (np.arange(n)[:, None] % 2 + 1).astype(np.uint64)
    none = np.zeros(0, np.uint64)
    block = Block("h", [""] * n, zeros, zeros.astype(np.int32), zeros, np.ones((n, 2)), ids, none, zeros)
    arm = _arm(scale=True)
    arm.score_learn(block, (ids[:, 0] == 1).astype(np.float64))
    scores = arm.score(block)
    assert scores[0] > 0.6 > 0.4 > scores[1]


def test_a_restored_scaled_arm_has_the_digest_of_one_that_was_never_away() -> None:
    block, label = _block()
    quiet, arm = _arm(scale=True), _arm(scale=True)
    for _ in range(2):
        quiet.score_learn(block, label)
        arm.score_learn(block, label)
        state = arm.state()
        arm = _arm(scale=True)
        arm.restore(state)
    assert arm.state().digest() == quiet.state().digest()


def test_the_key_comes_from_the_environment_alone() -> None:
    assert KEY_VARIABLE in os.environ
    assert "a secret" not in repr(_spec().model_dump())
    assert "a secret" not in repr(_arm().state().meta)
