"""Progressive metrics: equal to plain formulas and to River's, whatever the blocks, over restarts too."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics

from stream.evaluate.measures import EPSILON, losses
from stream.evaluate.prequential import Prequential, Window
from stream.evaluate.roc import BINS, auc, binned_auc

TASKS = [("binary", 0), ("regression", 0), ("classes", 3)]
BY_TASK = pytest.mark.parametrize(("task", "classes"), TASKS)
WINDOW = 50


def _data(task: str, n: int, seed: int = 0) -> tuple[Any, Any, Any]:
    """scores, labels, times; coarse scores, so that many tie."""
    rng = np.random.default_rng(seed)
    times = np.cumsum(rng.integers(0, 9, n))
    if task == "regression":
        label = rng.normal(size=n) * 10
        return label + rng.normal(size=n), label, times
    if task == "binary":
        label = (rng.random(n) < 0.3).astype(np.float64)
        scores = np.round(np.clip(rng.normal(0.3 + 0.3 * label, 0.2), 0, 1), 2)
        return scores, label, times
    label = rng.integers(0, 3, n).astype(np.float64)
    scores = rng.random((n, 3)) + 0.5 * np.eye(3)[label.astype(int)]
    return scores / scores.sum(axis=1, keepdims=True), label, times


def _feed(task: str, classes: int, sizes: list[int], n: int, seed: int = 0) -> tuple[Prequential, list[Window]]:
    scores, label, times = _data(task, n, seed)
    measured, windows = Prequential(task, classes, WINDOW), []
    at = turn = 0
    while at < n:
        cut = slice(at, min(n, at + sizes[turn % len(sizes)]))
        windows += measured.update(scores[cut], label[cut], times[cut])
        at, turn = cut.stop, turn + 1
    return measured, windows


def _slow_auc(scores: Any, label: Any) -> float:
    positive, negative = scores[label == 1], scores[label == 0]
    wins = sum((p > q) + 0.5 * (p == q) for p in positive for q in negative)
    pairs = len(positive) * len(negative)
    return float(wins / pairs) if pairs else math.nan


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.25001, 0.5, 1.0]), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_pairs_in_the_right_order_with_ties_as_half(pairs: list[tuple[float, bool]]) -> None:
    scores, label = np.array([p for p, _ in pairs]), np.array([float(y) for _, y in pairs])
    expected = _slow_auc(scores, label)
    assert auc(scores, label == 1) == pytest.approx(expected, nan_ok=True)
    counts = np.zeros((2, BINS), np.int64)
    for score, y in zip(scores, label, strict=True):
        counts[int(y), min(int(score * BINS), BINS - 1)] += 1
    places = np.minimum((scores * BINS).astype(int), BINS - 1)
    assert binned_auc(counts) == pytest.approx(_slow_auc(places, label), nan_ok=True)


@BY_TASK
def test_a_window_and_the_total_are_the_plain_formulas(task: str, classes: int) -> None:
    n = 4 * WINDOW + 20
    scores, label, times = _data(task, n)
    measured, windows = _feed(task, classes, [33], n)
    assert [(w.number, w.rows, w.time_ms) for w in windows] == [
        (i, (i + 1) * WINDOW, int(times[(i + 1) * WINDOW - 1])) for i in range(4)
    ]
    for w in windows:
        here, so_far = slice(w.rows - WINDOW, w.rows), slice(0, w.rows)
        expected = _plain(task, scores[here], label[here])
        expected |= {f"{k}_all": v for k, v in _plain(task, scores[so_far], label[so_far]).items() if k != "base_rate"}
        assert w.values == pytest.approx(expected, rel=1e-12, abs=1e-12)
    totals = {k: v for k, v in _plain(task, scores, label).items() if k != "base_rate"}
    assert measured.totals() == pytest.approx(totals, rel=1e-12)


def _share(part: Any, whole: Any) -> float:
    return float(part / whole) if whole else 0.0


def _prf(said: Any, was: Any, weight: Any) -> tuple[float, float, float]:
    hits, n_said, n_was = ((weight * x).sum() for x in (said & was, said, was))
    return _share(hits, n_said), _share(hits, n_was), _share(2 * hits, n_said + n_was)


def _plain(task: str, scores: Any, label: Any, weight: Any = None) -> dict[str, float]:
    """Weighted formulas, row by row where that is plainer."""
    weight = np.ones(len(label)) if weight is None else weight
    n = weight.sum()

    def mean(x: Any) -> float:
        return float((weight * np.array(x, np.float64)).sum() / n)

    if task == "regression":
        error = scores - label
        spread = (weight * (label - mean(label)) ** 2).sum()
        mse = mean(error**2)
        r2 = 1 - n * mse / spread
        return {"mse": mse, "mae": mean(np.abs(error)), "rmse": math.sqrt(mse), "r2": r2}
    if task == "binary":
        p = [min(max(s if y else 1 - s, EPSILON), 1 - EPSILON) for s, y in zip(scores, label, strict=True)]
        precision, recall, f1 = _prf(scores > 0.5, label == 1, weight)
        return {
            "log_loss": -mean([math.log(x) for x in p]),
            "accuracy": mean((scores > 0.5) == (label == 1)),
            "brier": mean((scores - label) ** 2),
            "precision": precision,
            "recall": recall,
            "f1": f1,
            "auc": _slow_auc(np.round(scores, 2), label),
            "base_rate": float(label.mean()),
        }
    chosen = [math.log(scores[i, int(y)]) for i, y in enumerate(label)]
    said = scores.argmax(axis=1)
    each = [_prf(said == c, label == c, weight) for c in range(3) if ((said == c) | (label == c)).any()]
    precision, recall, f1 = np.mean(each, axis=0).tolist()
    return {
        "log_loss": -mean(chosen),
        "accuracy": mean(said == label),
        "brier": mean([((scores[i] - np.eye(3)[int(y)]) ** 2).sum() for i, y in enumerate(label)]),
        "precision": precision,
        "recall": recall,
        "f1": f1,
    }


@BY_TASK
@pytest.mark.parametrize("factor", [0.9, 0.999])
def test_fading_metrics_weigh_a_row_by_the_factor_for_each_row_after_it(task: str, classes: int, factor: float) -> None:
    n = 5 * WINDOW
    scores, label, times = _data(task, n)
    label = label * 3 + 1e6 if task == "regression" else label
    scores = scores * 3 + 1e6 if task == "regression" else scores
    measured = Prequential(task, classes, WINDOW, factor)
    windows = measured.update(scores, label, times)
    for w in windows:
        weight = factor ** np.arange(w.rows - 1, -1, -1.0)
        expected = _plain(task, scores[: w.rows], label[: w.rows], weight)
        for name in expected.keys() - {"auc", "base_rate"}:
            assert w.values[f"{name}_fading"] == pytest.approx(expected[name], rel=1e-9, abs=1e-9), name
    if task == "binary":
        weight = factor ** np.arange(n - 1, -1, -1.0)
        good, bad = label == 1, label == 0
        wins = (scores[good][:, None] > scores[bad]) + 0.5 * (scores[good][:, None] == scores[bad])
        pairs = weight[good][:, None] * weight[bad]
        assert windows[-1].values["auc_fading"] == pytest.approx((wins * pairs).sum() / pairs.sum(), rel=1e-9)
    plain = Prequential(task, classes, WINDOW).update(scores, label, times)
    assert plain[-1].values == {k: v for k, v in windows[-1].values.items() if not k.endswith("_fading")}


@BY_TASK
def test_fading_metrics_go_on_bit_for_bit_whatever_the_blocks(task: str, classes: int) -> None:
    scores, label, times = _data(task, 333)
    whole, parts = (Prequential(task, classes, WINDOW, 0.99) for _ in range(2))
    expected, found = whole.update(scores, label, times), []
    for at in range(0, 333, 37):
        found += parts.update(scores[at : at + 37], label[at : at + 37], times[at : at + 37])
        state, parts = parts.state(), Prequential(task, classes, WINDOW, 0.99)
        parts.restore(state)
    assert found == expected
    assert parts.state().digest() == whole.state().digest()


RIVERS: dict[str, dict[str, Callable[[], Any]]] = {
    "regression": {"mse": metrics.MSE, "mae": metrics.MAE, "rmse": metrics.RMSE, "r2": metrics.R2},
    "binary": {
        "log_loss": metrics.LogLoss,
        "accuracy": metrics.Accuracy,
        "precision": metrics.Precision,
        "recall": metrics.Recall,
        "f1": metrics.F1,
        "auc": lambda: metrics.ROCAUC(n_thresholds=101),
    },
    "classes": {
        "log_loss": metrics.CrossEntropy,
        "accuracy": metrics.Accuracy,
        "precision": metrics.MacroPrecision,
        "recall": metrics.MacroRecall,
        "f1": metrics.MacroF1,
    },
}


@BY_TASK
def test_totals_are_those_of_river(task: str, classes: int) -> None:
    n = 3000
    scores, label, _ = _data(task, n)
    measured, _ = _feed(task, classes, [n], n)
    for name, make in RIVERS[task].items():
        metric = make()
        for s, y in zip(scores, label, strict=True):
            if task == "regression":
                metric.update(y, s)
            elif name not in ("log_loss", "auc"):
                metric.update(int(y), int(s.argmax()) if task == "classes" else int(s > 0.5))
            elif task == "binary":
                metric.update(bool(y), {True: s, False: 1 - s})
            else:
                metric.update(int(y), dict(enumerate(s)))
        assert measured.totals()[name] == pytest.approx(metric.get(), rel=1e-9 if name != "auc" else 2e-3), name


def test_totals_are_those_of_sklearn() -> None:
    known = pytest.importorskip("sklearn.metrics")
    scores, label, _ = _data("classes", 3000)
    said, found = scores.argmax(axis=1), _feed("classes", 3, [3000], 3000)[0].totals()
    expected = known.precision_recall_fscore_support(label, said, average="macro")[:3]
    assert [found[k] for k in ("precision", "recall", "f1")] == pytest.approx(expected, rel=1e-9)
    assert found["log_loss"] == pytest.approx(known.log_loss(label, scores), rel=1e-9)
    assert found["brier"] == pytest.approx(known.brier_score_loss(label, scores, scale_by_half=False), rel=1e-9)
    scores, label, _ = _data("binary", 3000)
    found = _feed("binary", 0, [3000], 3000)[0].totals()
    assert found["brier"] == pytest.approx(known.brier_score_loss(label, scores), rel=1e-9)
    assert found["auc"] == pytest.approx(known.roc_auc_score(label, scores), rel=1e-9)
    assert found["f1"] == pytest.approx(known.f1_score(label, scores > 0.5), rel=1e-9)
    scores, label, _ = _data("regression", 3000)
    found = _feed("regression", 0, [3000], 3000)[0].totals()
    assert found["r2"] == pytest.approx(known.r2_score(label, scores), rel=1e-9)


def test_a_share_of_nothing_is_0_and_so_is_r2_of_a_constant() -> None:
    nothing = np.zeros(WINDOW)
    (window,) = Prequential("binary", 0, WINDOW).update(nothing, nothing, nothing.astype(np.int64))
    assert [window.values[k] for k in ("precision", "recall", "f1")] == [0.0, 0.0, 0.0]
    (window,) = Prequential("regression", 0, WINDOW).update(nothing + 1, nothing + 7, nothing.astype(np.int64))
    assert window.values["r2"] == 0.0


def test_a_class_that_never_occurs_has_no_part_in_the_average() -> None:
    scores = np.tile([0.1, 0.9, 0.0], (WINDOW, 1))
    (window,) = Prequential("classes", 3, WINDOW).update(scores, np.ones(WINDOW), np.zeros(WINDOW, np.int64))
    assert window.values["f1"] == window.values["f1_all"] == 1.0


@BY_TASK
def test_how_rows_are_cut_into_blocks_changes_nothing(task: str, classes: int) -> None:
    whole, windows = _feed(task, classes, [777], 777)
    for sizes in ([1], [7, 1, 60], [WINDOW], [WINDOW + 1, WINDOW - 1], [776, 1]):
        parts, found = _feed(task, classes, sizes, 777)
        assert found == windows, sizes
        assert parts.state().digest() == whole.state().digest(), sizes
        assert parts.totals() == whole.totals()


@BY_TASK
@pytest.mark.parametrize("at", [0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 333])
def test_restored_metrics_go_on_bit_for_bit(task: str, classes: int, at: int) -> None:
    n = 500
    scores, label, times = _data(task, n)
    quiet = Prequential(task, classes, WINDOW)
    windows = quiet.update(scores, label, times)
    first, second = Prequential(task, classes, WINDOW), Prequential(task, classes, WINDOW)
    found = first.update(scores[:at], label[:at], times[:at])
    state = first.state()
    before = state.digest()
    second.update(scores[::-1].copy(), label[::-1].copy(), times)  # what was there before is forgotten
    second.restore(state)
    assert second.state().digest() == before
    found += second.update(scores[at:], label[at:], times[at:])
    assert found == windows
    assert second.state().digest() == quiet.state().digest()
    assert state.digest() == before


@BY_TASK
def test_totals_change_nothing_and_count_the_open_window(task: str, classes: int) -> None:
    measured, _ = _feed(task, classes, [20], 70)
    before = measured.state().digest()
    assert measured.totals() == measured.totals()
    assert measured.state().digest() == before
    assert Prequential(task, classes, WINDOW).totals() == {}


def test_no_rows_give_no_window_and_change_nothing() -> None:
    measured, _ = _feed("binary", 0, [20], 70)
    before = measured.state().digest()
    nothing = np.zeros(0)
    assert measured.update(nothing, nothing, nothing.astype(np.int64)) == []
    assert measured.state().digest() == before


def test_a_score_of_exactly_zero_or_one_costs_much_but_not_everything() -> None:
    loss, right = losses("binary", np.array([0.0, 1.0, 1.0, 0.5]), np.array([1.0, 0.0, 1.0, 1.0]))
    assert loss[:2].tolist() == pytest.approx([-math.log(EPSILON)] * 2, rel=1e-2)
    assert loss[2] == pytest.approx(0.0, abs=1e-14)
    assert right.tolist() == [0.0, 0.0, 1.0, 0.0]
    loss, _ = losses("classes", np.array([[0.0, 1.0]]), np.array([0.0]))
    assert loss[0] == pytest.approx(-math.log(EPSILON))


def test_one_class_alone_has_no_auc_and_says_so() -> None:
    measured = Prequential("binary", 0, WINDOW)
    ones = np.ones(WINDOW)
    (window,) = measured.update(ones * 0.7, ones, ones.astype(np.int64))
    assert math.isnan(window.values["auc"])
    assert math.isnan(window.values["auc_all"])
    assert window.values["base_rate"] == 1.0


def test_the_binned_auc_is_off_by_no_more_than_the_pairs_within_a_bin() -> None:
    rng = np.random.default_rng(8)
    scores, label = rng.random(4000), (rng.random(4000) < 0.4).astype(np.float64)
    measured = Prequential("binary", 0, WINDOW)
    measured.update(scores, label, np.zeros(4000, np.int64))
    places = (scores * BINS).astype(int)
    together = sum((label[places == b] == 1).sum() * (label[places == b] == 0).sum() for b in np.unique(places)) / (
        (label == 1).sum() * (label == 0).sum()
    )
    assert abs(measured.totals()["auc"] - auc(scores, label == 1)) <= together / 2 + 1e-12


def test_scores_and_labels_given_are_not_changed_or_kept() -> None:
    scores, label, times = _data("binary", 30)
    before = (scores.tobytes(), label.tobytes())
    measured = Prequential("binary", 0, WINDOW)
    measured.update(scores, label, times)
    assert (scores.tobytes(), label.tobytes()) == before
    digest = measured.state().digest()
    scores[:] = 0
    assert measured.state().digest() == digest
