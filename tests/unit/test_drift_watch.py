"""Detectors on an arm's loss: River's detections, told in windows, whatever the blocks, over restarts too."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from river import drift

import schemas
from consumers.learn import LearnStep
from consumers.settings import Settings
from stream.block import Block, Training
from stream.errors import SpecError
from stream.evaluate.measures import terms
from stream.evaluate.prequential import Prequential
from stream.learn.drift.watch import DETECTORS, MEMORY, OUTLIER, Watch
from stream.spec import MetricsSpec, Spec
from stream.spec_load import parse_spec

WINDOW, ROWS = 100, 4000
SOME: dict[str, dict[str, Any]] = {
    "adwin": {}, "page_hinkley": {"threshold": 10.0}, "ddm": {}, "kswin": {"alpha": 1e-4, "stat_size": 40}
}  # fmt: skip


def _stream(task: str) -> tuple[Any, Any]:
    """Scores and labels: good for a while, then bad, then good again."""
    rng = np.random.default_rng(5)
    bad = (np.arange(ROWS) // 1500) == 1
    if task == "regression":
        label = rng.normal(size=ROWS) * 40
        return label + rng.normal(size=ROWS) * np.where(bad, 30, 5), label
    label = (rng.random(ROWS) < 0.5).astype(np.float64)
    right = rng.random(ROWS) < np.where(bad, 0.4, 0.9)
    of_one = np.where(right == (label == 1), rng.uniform(0.5, 1, ROWS), rng.uniform(0, 0.5, ROWS))
    return (np.stack([1 - of_one, of_one], axis=1) if task == "classes" else of_one), label


def _metrics(task: str, given: dict[str, dict[str, Any]]) -> Prequential:
    if task == "regression":
        given = {k: v for k, v in given.items() if k != "ddm"}
    return Prequential(task, 2 if task == "classes" else 0, WINDOW, None, Watch(task, given))


def _fed(measured: Prequential, task: str, sizes: list[int]) -> list[Any]:
    scores, label = _stream(task)
    windows, start, turn = [], 0, 0
    while start < ROWS:
        piece = slice(start, start + sizes[turn % len(sizes)])
        windows += measured.update(scores[piece], label[piece], np.zeros(len(label[piece]), np.int64))
        start, turn = piece.stop, turn + 1
    return windows


TASKS = pytest.mark.parametrize("task", ["binary", "classes", "regression"])


@TASKS
def test_every_detector_tells_when_the_loss_rises_and_when_it_falls(task: str) -> None:
    windows = _fed(_metrics(task, SOME), task, [ROWS])
    for name in SOME if task != "regression" else SOME.keys() - {"ddm"}:
        worse = np.array([w.values[f"drift_{name}"] for w in windows])
        better = np.array([w.values[f"drift_{name}_better"] for w in windows])
        assert worse[14] == 0, name
        assert worse[20] >= 1, name
        assert worse[39] == worse[29], name
        assert (better[39] > better[29]) == (name != "ddm"), name
        assert (np.diff(worse) >= 0).all(), name
        assert (np.diff(better) >= 0).all(), name


def test_the_counts_are_those_of_rivers_detectors_on_the_brier_terms() -> None:
    scores, label = _stream("binary")
    theirs = {"adwin": drift.ADWIN(), "page_hinkley": drift.PageHinkley(threshold=10.0), "ddm": drift.binary.DDM()}
    found = dict.fromkeys(theirs, 0)
    for score, was in zip(scores.tolist(), label.tolist(), strict=True):
        for name, detector in theirs.items():
            detector.update((score - was) ** 2 if name != "ddm" else (score > 0.5) != was)
            found[name] += detector.drift_detected
    last = _fed(_metrics("binary", SOME), "binary", [ROWS])[-1].values
    assert {n: last[f"drift_{n}"] + last[f"drift_{n}_better"] for n in theirs} == found
    assert min(found.values()) > 0


@TASKS
def test_state_and_counts_do_not_depend_on_the_blocks_nor_on_a_restart(task: str) -> None:
    whole, parts = _metrics(task, SOME), _metrics(task, SOME)
    expected = [w.values for w in _fed(whole, task, [ROWS])]
    assert [w.values for w in _fed(parts, task, [1, 77, 130])] == expected
    assert parts.state().digest() == whole.state().digest()
    scores, label = _stream(task)
    zeros = np.zeros(ROWS, np.int64)
    for at in (0, 1650, 3333):
        first, again = _metrics(task, SOME), _metrics(task, SOME)
        first.update(scores[:at], label[:at], zeros[:at])
        again.restore(first.state())
        again.update(scores[at:], label[at:], zeros[at:])
        assert again.state().digest() == whole.state().digest()
        assert again.totals() == whole.totals()


def test_totals_tell_the_counts_of_the_newest_window_and_change_nothing() -> None:
    scores, label = _stream("binary")
    measured = _metrics("binary", SOME)
    windows = measured.update(scores[:2050], label[:2050], np.zeros(2050, np.int64))
    before = measured.state().digest()
    assert measured.totals()["drift_adwin"] == windows[-1].values["drift_adwin"] == 1
    assert measured.state().digest() == before


def test_a_state_without_detectors_lets_them_begin_anew() -> None:
    scores, label = _stream("binary")
    older = Prequential("binary", 0, WINDOW)
    older.update(scores[:950], label[:950], np.zeros(950, np.int64))
    measured = _metrics("binary", SOME)
    measured.restore(older.state())
    (window,) = measured.update(scores[950:1000], label[950:1000], np.zeros(50, np.int64))
    assert (window.rows, window.values["drift_adwin"]) == (1000, 0)


@TASKS
def test_a_loss_that_is_no_number_is_passed_over(task: str) -> None:
    scores, label = _stream(task)
    rows = terms(task, scores, label)
    holed = np.insert(rows, [5, 700, 2000], np.array([[np.nan], [np.inf], [1e200]]), axis=0)
    given = {k: v for k, v in SOME.items() if task != "regression" or k != "ddm"}
    quiet, other = Watch(task, given), Watch(task, given)
    quiet.update(rows)
    other.update(holed)
    assert quiet.values() == other.values()
    assert all((quiet.arrays()[k] == a).all() for k, a in other.arrays().items())


def test_the_scale_of_a_regression_does_not_matter() -> None:
    scores, label = _stream("regression")
    told = []
    for factor in (1.0, 2.0**30, 2.0**-30):
        watch = Watch("regression", {"adwin": {}, "kswin": {}})
        watch.update(terms("regression", scores * factor, label * factor))
        told.append(watch.values())
    assert told[0] == told[1] == told[2]


def test_one_absurd_error_does_not_hide_a_drift() -> None:
    errors = np.abs(np.random.default_rng(1).normal(size=6000))
    errors[500] = 1e25
    errors[4000:] *= 4
    watch = Watch("regression", {"adwin": {}})
    watch.update(np.stack([np.ones(6000), errors**2, errors], axis=1)[:4000])
    assert watch.values()["drift_adwin"] == 0
    watch.update(np.stack([np.ones(6000), errors**2, errors], axis=1)[4000:])
    assert watch.values()["drift_adwin"] == 1
    assert watch.values()["drift_adwin_new"] == 1
    watch.update(np.ones((50, 3)))
    assert (watch.values()["drift_adwin"], watch.values()["drift_adwin_new"]) == (1, 0)  # new in the window before
    assert OUTLIER < MEMORY


def test_metrics_name_detectors_with_or_without_parameters() -> None:
    assert MetricsSpec().drift == {"adwin": {}}
    listed: Any = ["kswin", "ddm"]
    assert MetricsSpec(drift=listed).drift == {"kswin": {}, "ddm": {}}
    bare: Any = {"adwin": None, "kswin": {"seed": 3}}
    assert MetricsSpec(drift=bare).drift == {"adwin": {}, "kswin": {"seed": 3}}
    assert Watch("binary", MetricsSpec(drift={}).drift).values() == {}


def _raw(drift: Any, task: str = "binary") -> dict[str, Any]:
    model = "linear.regression" if task == "regression" else "linear.logistic"
    fields = {"x": {"type": "numeric"}}
    return {
        "name": "p", "task": task, "event": {"schema": "e.avsc", "id": "id", "time": "t", "fields": fields},
        "arms": {"a": {"model": model}}, "metrics": {"drift": drift},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "task", "told"),
    [
        ({"adwim": {}}, "binary", "adwim: there is no such detector; allowed: adwin, page_hinkley, ddm, kswin"),
        ({"adwin": {"detla": 1}}, "binary", "adwin.detla: there is no such parameter; allowed: delta, clock"),
        ({"adwin": {"delta": 2.0}}, "binary", "adwin.delta: found 2.0; 1e-300 to 1 is allowed"),
        ({"adwin": {"clock": 1.5}}, "binary", "adwin.clock: found 1.5; a whole number is wanted, as 32"),
        ({"kswin": {"alpha": "low"}}, "binary", "kswin.alpha: found 'low'; a number is wanted, as 0.005"),
        ({"page_hinkley": {"mode": "sideways"}}, "binary", "page_hinkley.mode: found 'sideways'; one of ('up'"),
        (["ddm"], "regression", "ddm: it counts right and wrong answers; the task is regression"),
    ],
)
def test_a_wrong_detector_is_told_with_what_is_allowed(given: Any, task: str, told: str, tmp_path: Path) -> None:
    (tmp_path / "e.avsc").write_text(
        '{"type": "record", "name": "E", "fields": [{"name": "id", "type": "string"},'
        ' {"name": "t", "type": "long"}, {"name": "x", "type": "double"}]}'
    )
    with pytest.raises(SpecError) as wrong:
        parse_spec(_raw(given, task), tmp_path)
    assert f"metrics.drift.{told}" in str(wrong.value)


def test_a_default_keeps_the_hash_of_older_pipelines_and_a_choice_changes_it(tmp_path: Path) -> None:
    (tmp_path / "e.avsc").write_text(
        '{"type": "record", "name": "E", "fields": [{"name": "id", "type": "string"},'
        ' {"name": "t", "type": "long"}, {"name": "x", "type": "double"}]}'
    )
    without = _raw(None)
    del without["metrics"]
    hashes = [parse_spec(s, tmp_path).hash for s in (without, _raw(["adwin"]), _raw([]), _raw(["adwin", "kswin"]))]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3


def test_all_detectors_can_be_named() -> None:
    assert set(DETECTORS) == {"adwin", "page_hinkley", "ddm", "kswin"}


class _Clock:
    """One second later at each look."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic_s(self) -> float:
        self.now_s += 1.0
        return self.now_s

    def wall_ms(self) -> int:
        return 1000


def _blocks(spec: Spec, turned_at: int, count: int) -> list[Training]:
    """Blocks of 100 rows whose label follows x, and its opposite from block `turned_at` on."""
    rng, none = np.random.default_rng(4), np.zeros(0, np.uint64)
    found = []
    for block in range(count):
        x, at = rng.normal(size=100), np.arange(100)
        numbers = np.zeros(100, np.int64)
        ids = [f"{block}-{i}" for i in at]
        given = Block(
            spec.hash, ids, at, np.zeros(100, np.int32), at, x[:, None], np.zeros((100, 0), np.uint64), none, numbers
        )
        found.append(Training(given, ((x > 0) == (block < turned_at)).astype(np.float64), at, at, at))
    return found


def test_the_learner_tells_of_a_drift_in_its_metrics_and_goes_on_counting_after_a_restart(tmp_path: Path) -> None:
    raw = _raw({"adwin": {}, "ddm": {}}) | {"folder": tmp_path}
    raw["metrics"]["window_rows"] = WINDOW
    raw["arms"] = {"a": {"model": "tree.hoeffding", "params": {"grace_period": 50}}}
    spec = Spec.model_validate(raw)
    step = LearnStep(spec, Settings(data=tmp_path), _Clock())
    step.begin()
    told, announced = [], []
    for offset, rows in enumerate(_blocks(spec, 20, 30)):
        if offset == 24:
            step = LearnStep(spec, Settings(data=tmp_path), _Clock())
            step.begin()
        step.learn(rows, offset)
        step.maybe_snapshot(caught_up=False, force=True)
        for out in step.take_outs():
            kind = out.topic.removeprefix("p.").rstrip("s")
            (told if kind == "metric" else announced).append(schemas.codec(kind).decode(out.value or b""))
    of_windows = {m["window"]: m["values"] for m in told if m["kind"] == "prequential"}
    for name in ("drift_adwin", "drift_ddm"):
        counts = [of_windows[window][name] for window in range(30)]
        assert counts[19] == 0, name
        assert counts[29] >= 1, name
        assert counts == sorted(counts), name
        assert announced[-1]["values"][f"a.{name}"] == counts[-1]
