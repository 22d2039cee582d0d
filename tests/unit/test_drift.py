"""Drift detectors: River's detections on every stream, whatever the blocks, over restarts too."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift
from scipy.stats import ks_2samp

from stream.errors import SnapshotError
from stream.learn.drift import kswin
from stream.learn.drift.adwin import LIMIT, adwin_int_width, adwin_real_width, adwin_update
from stream.learn.drift.detectors import ADWIN, DDM, KSWIN, Detector, PageHinkley
from stream.learn.learner import State
from stream.learn.tree.draws import GOLDEN

N = 20_000
MAKES: dict[str, Callable[[], Detector]] = {"adwin": ADWIN, "page_hinkley": PageHinkley, "ddm": DDM, "kswin": KSWIN}
EVERY = pytest.mark.parametrize("name", list(MAKES))
ADWINS = [
    {},
    {"delta": 0.05, "clock": 1, "max_buckets": 2, "min_window_length": 1, "grace_period": 1},
    {"delta": 0.3, "clock": 7, "max_buckets": 9, "min_window_length": 0, "grace_period": 0},
    {"delta": 1e-5, "clock": 3, "max_buckets": 3, "min_window_length": 20, "grace_period": 100},
]


def _streams() -> dict[str, Any]:
    rng = np.random.default_rng(7)
    row = np.arange(N)
    return {
        "stationary": rng.normal(size=N),
        "abrupt": rng.normal(size=N) + row // 3000 % 3 * 2,
        "gradual": rng.normal(size=N) + np.where(rng.random(N) < row / N, 3.0, 0.0),
        "errors": (rng.random(N) < np.where(row // 4000 % 2, 0.2, 0.5)).astype(float),
        "extreme": rng.normal(size=N) * 10.0 ** rng.integers(-15, 15, N),
    }


STREAMS = _streams()


def _errors(stream: Any) -> Any:
    """The stream as right and wrong answers."""
    return (stream > np.median(stream)).astype(float)


@pytest.mark.parametrize("stream", list(STREAMS))
@pytest.mark.parametrize("params", ADWINS)
def test_adwin_is_rivers_to_the_last_bit(stream: str, params: dict[str, Any]) -> None:
    ours, theirs = ADWIN(**params), drift.ADWIN(**params)
    found = 0
    for start in range(0, N, 499):
        part = STREAMS[stream][start : start + 499]
        flags = []
        for x in part.tolist():
            theirs.update(x)
            flags.append(theirs.drift_detected)
        assert ours.update_block(part).tolist() == flags
        found += sum(flags)
        state = (ours.width, ours.estimation, ours.total, ours.variance, ours.drift_detected)
        assert state == (theirs.width, theirs.estimation, theirs.total, theirs.variance, theirs.drift_detected)
    assert ours.n_detections == found
    assert found > 0 or stream in ("stationary", "extreme")


def _same_as(theirs: Any, ours: Detector, stream: Any) -> int:
    flags, warnings = [], []
    for x in stream.tolist():
        theirs.update(x)
        flags.append(theirs.drift_detected)
        warnings.append(getattr(theirs, "warning_detected", False))
    assert ours.update_block(stream).tolist() == flags
    assert getattr(ours, "warning_detected", False) == warnings[-1]
    assert ours.n_detections == sum(flags)
    return sum(flags)


@pytest.mark.parametrize("stream", list(STREAMS))
@pytest.mark.parametrize(
    "params", [{}, {"threshold": 5.0, "mode": "up", "min_instances": 3}, {"alpha": 0.9, "delta": 1.0, "mode": "down"}]
)
def test_page_hinkley_is_rivers(stream: str, params: dict[str, Any]) -> None:
    found = _same_as(drift.PageHinkley(**params), PageHinkley(**params), STREAMS[stream])
    assert found > 0 or stream == "stationary" or params


@pytest.mark.parametrize("stream", list(STREAMS))
@pytest.mark.parametrize("params", [{}, {"warm_start": 5, "warning_threshold": 1.0, "drift_threshold": 2.0}])
def test_ddm_is_rivers(stream: str, params: dict[str, Any]) -> None:
    found = _same_as(drift.binary.DDM(**params), DDM(**params), _errors(STREAMS[stream]))
    assert found > 0 or not params


def test_ddm_warns_at_the_same_events_as_rivers() -> None:
    ours, theirs = DDM(), drift.binary.DDM()
    warned = 0
    for x in _errors(STREAMS["errors"])[2000:6000].tolist():
        ours.update(x)
        theirs.update(x)
        assert (ours.warning_detected, ours.drift_detected) == (theirs.warning_detected, theirs.drift_detected)
        warned += theirs.warning_detected
    assert warned > 0


class _Draws:
    """River's `random.Random` seam, told our draws: SplitMix64 and Knuth's algorithm S."""

    def __init__(self, seed: int) -> None:
        self.seed, self.count = seed, 0

    def _uniform(self) -> float:
        self.count += 1
        mask = 2**64 - 1
        mixed = (self.seed + self.count * GOLDEN) & mask
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & mask
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & mask
        return ((mixed ^ mixed >> 31) >> 11) * 2.0**-53

    def sample(self, pool: range, size: int) -> list[int]:
        drawn: list[int] = []
        for place in pool:
            if self._uniform() * (len(pool) - place) < size - len(drawn):
                drawn.append(place)
        return drawn


class _River(drift.KSWIN):  # type: ignore[misc]
    """River's KSWIN with our draws, which go on over a drift."""

    draws: Any = None

    def _reset(self) -> None:
        super()._reset()
        self.draws = self.draws or _Draws(self.seed)
        self._rng = self.draws


@pytest.mark.parametrize(
    ("stream", "rows", "params"),
    [
        ("stationary", 2500, {}),
        ("abrupt", 7000, {}),
        ("gradual", 2500, {"alpha": 0.05, "window_size": 40, "stat_size": 20}),
        ("errors", 2500, {"alpha": 0.2, "window_size": 60, "stat_size": 11}),
        ("extreme", 2500, {"alpha": 0.05, "window_size": 25, "stat_size": 5}),
    ],
)
def test_kswin_is_rivers_given_the_same_draws(stream: str, rows: int, params: dict[str, Any]) -> None:
    values = STREAMS[stream][:rows]
    found = _same_as(_River(seed=3, **params), KSWIN(seed=3, **params), values)
    assert found > 0 or not params


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 60), st.data())
def test_the_p_value_is_scipys(size: int, data: st.DataObject) -> None:
    gap = data.draw(st.integers(0, size))
    first, second = np.arange(size) + 0.5, np.arange(size) + gap
    points = np.concatenate([first, second])
    ranks = np.searchsorted(first, points, "right") - np.searchsorted(second, points, "right")
    observed = int(np.abs(ranks).max())
    if kswin.p_value(observed, size) < 1 - 1e-9:  # scipy's can come out above 1, and then is another's
        found = ks_2samp(first, second, method="exact")
        assert kswin.p_value(observed, size) == pytest.approx(found.pvalue, rel=1e-9, abs=1e-14)
    for alpha in (0.0, 0.001, 0.05, 1.0):
        smallest = kswin.gap_min(size, alpha)
        gaps = [g for g in range(1, size + 1) if g / size > 0.1 and kswin.p_value(g, size) <= alpha]
        assert smallest == min(gaps, default=size + 1)


@EVERY
@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=8), st.integers(0, 1))
def test_how_values_are_cut_into_blocks_changes_nothing_nor_does_a_restart(
    name: str, sizes: list[int], restart: int
) -> None:
    stream = STREAMS["abrupt"][2000:5000]
    stream = _errors(stream) if name == "ddm" else stream
    whole, parts = MAKES[name](), MAKES[name]()
    expected, found = whole.update_block(stream).tolist(), []
    at = turn = 0
    while at < len(stream):
        size = max(1, sizes[turn % len(sizes)])
        found += parts.update_block(stream[at : at + size]).tolist()
        at, turn = at + size, turn + 1
        if restart:
            state, parts = parts.state(), MAKES[name]()
            parts.update_block(np.ones(50))  # what was there before is forgotten
            parts.restore(state)
            assert parts.state().digest() == state.digest()
    assert found == expected
    assert any(expected)
    assert parts.state().digest() == whole.state().digest()
    assert parts.drift_detected == whole.drift_detected


@EVERY
def test_a_copy_of_the_state_stays_as_it_was(name: str) -> None:
    detector = MAKES[name]()
    detector.update_block(np.ones(150))
    state = detector.state()
    before = state.digest()
    detector.restore(state)
    detector.update_block(np.zeros(150))
    assert state.digest() == before != detector.state().digest()


@EVERY
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e101])
def test_a_value_that_is_no_number_is_refused_with_its_whole_block(name: str, bad: float) -> None:
    detector = MAKES[name]()
    detector.update_block(np.ones(120))
    before = detector.state().digest()
    with pytest.raises(ValueError, match=r"value 1 is .*wanted"):
        detector.update_block([1.0, bad, 1.0])
    with pytest.raises(ValueError, match="value 0"):
        detector.update(bad)
    assert detector.state().digest() == before


@EVERY
@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(-LIMIT, LIMIT), min_size=1, max_size=300))
def test_the_state_stays_finite(name: str, values: list[float]) -> None:
    detector = MAKES[name]()
    detector.update_block(np.abs(np.sign(values)) if name == "ddm" else values)
    assert np.isfinite(detector.state().arrays["real"]).all()


def test_only_right_and_wrong_are_answers_to_ddm() -> None:
    with pytest.raises(ValueError, match=r"0 \(right\) or 1 \(wrong\)"):
        DDM().update(0.5)


@pytest.mark.parametrize(
    ("make", "params"),
    [
        (ADWIN, {"delta": 0.0}),
        (ADWIN, {"max_buckets": 1}),
        (ADWIN, {"clock": 0}),
        (PageHinkley, {"mode": "sideways"}),
        (PageHinkley, {"alpha": 1.5}),
        (DDM, {"warm_start": -1}),
        (KSWIN, {"stat_size": 51}),
        (KSWIN, {"alpha": float("nan")}),
    ],
)
def test_a_parameter_out_of_range_is_refused_by_name(make: Any, params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(params))} is .*allowed"):
        make(**params)


def test_a_state_of_another_detector_or_other_parameters_is_refused() -> None:
    for other in (DDM().state(), ADWIN(delta=0.1).state(), State({"real": np.zeros(1)}, ADWIN().state().meta)):
        with pytest.raises((SnapshotError, KeyError)):
            ADWIN().restore(other)


def test_a_full_row_forgets_its_oldest_bucket() -> None:
    real, ints = np.zeros(adwin_real_width(5, 3)), np.zeros(adwin_int_width(5, 3), np.int64)
    update = _uncompiled()
    for x in range(1000):
        update(real, ints, float(x % 2), 1e-9, 1, 5, 5, 10)
    newest = [float(x % 2) for x in range(1000)][-int(ints[3]) :]
    assert 28 <= ints[3] <= 35
    assert real[0] == sum(newest)
    assert real[1] == pytest.approx(np.var(newest) * len(newest))


def _uncompiled() -> Any:
    from numba import njit

    from stream.jit import OPTIONS

    return njit(**OPTIONS)(lambda *a: adwin_update(*a))
