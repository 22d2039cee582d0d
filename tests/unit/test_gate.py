"""The gate before serving: its figures, its verdict, what the learner does with it, and which snapshots are kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

import schemas
from consumers._follow import load
from consumers.learn import LearnStep
from consumers.settings import Settings
from stream.block import Block, Training
from stream.errors import SnapshotError
from stream.evaluate.prequential import Prequential
from stream.registry import snapshot as snapshots
from stream.registry.gate import Recent, recent_of, verdict
from stream.spec import GateSpec, Spec

GATE = GateSpec(loss_factor=1.5, calibration=0.1, rows_min=50, patience_rows=5_000)
GOOD = {"a": Recent(100, 0.4, 0.01)}


def _one(loss: float, gap: float = 0.0, rows: int = 100) -> dict[str, Recent]:
    return {"a": Recent(rows, loss, gap)}


@pytest.mark.parametrize(
    ("recent", "since", "starts"),
    [
        (_one(0.6), 10, ""),
        (_one(0.61), 10, "arm a: loss 0.61 over the last 100 rows; at most 1.5 times 0.4, that of the last good one"),
        (_one(float("nan")), 10, "arm a: loss nan over"),
        (_one(float("inf")), 10, "arm a: loss inf over"),
        (_one(9.0), 5_000, ""),  # the good one's loss is out of date
        (_one(0.4, 0.1), 10, ""),
        (_one(0.4, 0.11), 10, "arm a: mean score and mean outcome of the last 100 rows are 0.11 apart; at most 0.1 is"),
        (_one(0.4, float("nan")), 9_000, "arm a: mean score and mean outcome of the last 100 rows are nan apart"),
        (_one(9.0, 0.5, 49), 10, "as before"),
    ],
)
def test_the_verdict_says_what_was_found_and_what_is_allowed(recent: Any, since: int, starts: str) -> None:
    found = verdict(GATE, recent, GOOD, since, "as before")
    assert found.startswith(starts)
    assert bool(found) == bool(starts)


def test_without_a_gate_or_a_good_one_before_there_is_nothing_to_hold_against_a_loss() -> None:
    assert verdict(None, _one(9.0, 9.0), GOOD, 0, "as before") == ""
    assert verdict(GATE, _one(9.0), {}, 0, "") == ""
    assert verdict(GATE, _one(1e-9), _one(0.0), 0, "") == ""
    assert "; " in verdict(GATE, {**_one(9.0), "b": Recent(100, 1.0, 0.3)}, GOOD, 0, "")


def test_figures_are_those_of_the_task() -> None:
    label = np.array([0.0, 1.0, 1.0, 1.0])
    binary = recent_of("binary", np.array([[0.25], [0.5], [0.5], [0.75]]), label)
    assert (binary.rows, binary.gap) == (4, 0.25)
    assert binary.loss == pytest.approx(-np.log([0.75, 0.5, 0.5, 0.75]).mean())
    regression = recent_of("regression", np.array([[1.0], [1.0], [1.0], [1.0]]), label)
    assert (regression.loss, regression.gap) == (0.5, pytest.approx(0.25 / label.std()))
    classes = recent_of("classes", np.array([[0.8, 0.2]] * 4), label)
    assert classes.gap == pytest.approx(0.55)
    for found in (
        binary,
        regression,
        classes,
        Recent(3, float("inf"), float("inf")),
        recent_of("binary", label[:0], label[:0]),
    ):
        assert Recent.of(json.loads(json.dumps(found.to_json()))) == found


def test_recent_rows_are_the_last_window_s_and_after_a_restart_those_at_hand() -> None:
    metrics = Prequential("binary", 0, 10)
    scores = np.linspace(0.01, 0.99, 37)
    metrics.update(scores, np.zeros(37), np.arange(37))
    assert sorted(metrics.recent()[0][:, 0].tolist()) == scores[27:].tolist()
    again = Prequential("binary", 0, 10)
    again.restore(metrics.state())
    assert sorted(again.recent()[0][:, 0].tolist()) == scores[30:].tolist()
    again.update(scores[:5], np.zeros(5), np.arange(5))
    assert sorted(again.recent()[0][:, 0].tolist()) == sorted([*scores[:5], *scores[32:]][-10:])


def test_a_gate_that_could_never_judge_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"snapshot.gate.rows_min: found 200; at most metrics.window_rows, 100"):
        _spec(window_rows=100, gate={})


# -- the learner -----------------------------------------------------------------------------------------


class _Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def wall_ms(self) -> int:
        return 1000


def _spec(window_rows: int = 100, **snapshot: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    arm = {"model": "linear.logistic", "params": {"lr": 0.5}}
    raw = {"name": "p", "task": "binary", "event": event, "arms": {"a": arm}, "snapshot": snapshot}
    return Spec.model_validate({**raw, "metrics": {"window_rows": window_rows}})


def _learn(step: LearnStep, wrong: bool, rows: int = 100) -> dict[str, Any]:
    """Learn rows, with true labels or with chance ones; the record that is announced then."""
    rng, offset = np.random.default_rng(step.next_offset), step.next_offset
    x, numbers = rng.normal(size=rows), np.arange(rows)
    block = Block(
        step.spec.hash, [f"{offset}-{i}" for i in numbers], numbers, np.zeros(rows, np.int32), numbers, x[:, None],
        np.zeros((rows, 0), np.uint64), np.zeros(0, np.uint64), np.zeros(rows, np.int64),
    )  # fmt: skip
    label = (rng.random(rows) < 0.5 if wrong else x > 0).astype(np.float64)
    step.learn(Training(block, label, numbers, numbers, numbers), offset)
    step.maybe_snapshot(caught_up=False, force=True)
    outs = [o for o in step.take_outs() if o.topic == "p.models"]
    assert outs[-1].value is not None
    return schemas.codec("model").decode(outs[-1].value)


def test_a_poisoned_stretch_is_refused_the_last_good_one_stays_and_what_comes_after_serves(tmp_path: Path) -> None:
    spec = _spec(gate={"rows_min": 100, "loss_factor": 3, "calibration": 0.5}, keep=2, history=0)
    settings = Settings(data=tmp_path)
    step = LearnStep(spec, settings, _Clock())
    step.begin()
    good = [_learn(step, wrong=False) for _ in range(3)][-1]
    assert good["refused"] == ""
    bad = [_learn(step, wrong=True) for _ in range(4)]
    assert all(r["refused"].startswith("arm a: loss ") for r in bad)
    assert {r["good_generation"] for r in bad} == {good["generation"]}
    assert bad[0]["good_uri"] == good["uri"]
    assert load(spec, good).generation == good["generation"]  # kept, though two newer ones are there
    with pytest.raises(SnapshotError, match="refused by its gate: arm a: loss"):
        load(spec, bad[-1] | {"refused": ""})  # whatever the record says: the manifest counts
    again = LearnStep(spec, settings, _Clock())  # a restart goes on from the refused one: learning is exact
    again.begin()
    assert again.state_hash() == step.state_hash()
    (record,) = [schemas.codec("model").decode(o.value) for o in again.take_outs() if o.topic == "p.models" and o.value]
    assert (record["refused"], record["good_generation"]) == (bad[-1]["refused"], bad[-1]["good_generation"])
    for _ in range(30):
        after = _learn(again, wrong=False)
        if not after["refused"]:
            break
    assert after["refused"] == ""
    assert after["good_generation"] == -1


def test_what_is_learned_does_not_depend_on_the_gate(tmp_path: Path) -> None:
    hashes = []
    for gate in (None, {"rows_min": 100, "loss_factor": 1, "calibration": 1e-6}):
        step = LearnStep(_spec(gate=gate), Settings(data=tmp_path / str(len(hashes))), _Clock())
        step.begin()
        refused = [_learn(step, wrong=bool(i % 3))["refused"] for i in range(5)]
        assert any(refused) == (gate is not None)
        hashes.append((step.spec.hash, step.state_hash()))
    assert hashes[0] == hashes[1]


# -- what is kept ----------------------------------------------------------------------------------------


def _generations(folder: Path) -> list[int]:
    return [int(p.name) for p in snapshots.list_snapshots(folder)]


def _write(folder: Path, generation: int, **more: Any) -> Path:
    return snapshots.write(folder, {}, {"generation": generation, "spec_hash": "h"}, 2, **more).path


def test_the_pinned_the_needed_and_some_of_the_marked_are_kept_beside_the_newest(tmp_path: Path) -> None:
    for generation in range(1, 11):
        path = _write(tmp_path, generation, history=2, needed=(4,))
        if generation in (1, 2, 3, 6):
            snapshots.mark(path, snapshots.HISTORY)
        if generation == 5:
            snapshots.mark(path, snapshots.PINNED)
    assert _generations(tmp_path) == [10, 9, 6, 5, 4, 3]
    assert snapshots.pinned(tmp_path) == 5
    assert snapshots.read(tmp_path / f"{5:012d}").meta["generation"] == 5  # a mark damages nothing
    snapshots.mark(tmp_path / f"{5:012d}", snapshots.PINNED, on=False)
    _write(tmp_path, 11)
    assert _generations(tmp_path) == [11, 10]
    assert snapshots.pinned(tmp_path) == -1


def test_now_and_then_a_good_one_is_kept_for_later(tmp_path: Path) -> None:
    step = LearnStep(_spec(keep=1, history=2, history_every="10s"), Settings(data=tmp_path), _Clock())
    step.begin()
    for _ in range(12):
        _learn(step, wrong=False, rows=10)
    folder = tmp_path / "p" / "snapshots"
    marked = [int(p.name) for p in snapshots.list_snapshots(folder) if (p / snapshots.HISTORY).exists()]
    assert len(marked) == 2
    assert min(marked) > 1  # the first knows too little
    assert set(_generations(folder)) == {12, 11, *marked}  # the newest, and what was the last good one before it
