"""Vital signs are told by evaluate, without waiting for them; the sample ratio is that of the present weights."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import schemas
from consumers._vitals import EVERY_S, Sight, Vitals
from consumers.status import Counts, Status, StepStatus
from stream.errors import BrokerError
from stream.experiment import served_ratio
from stream.experiment.control import Control, State, after, begin
from stream.experiment.ratio import SampleRatio
from stream.experiment.served_ratio import ServedRatio
from stream.spec import Spec
from stream.spec_load import load_spec

SPEC = """
name: shop
task: binary
event: {schema: event.avsc, id: id, time: at, fields: {amount: {type: numeric}}}
arms:
  first: {model: linear.logistic, weight: 0.5}
  second: {model: linear.logistic, weight: 0.5}
experiment: {name: shown, salt: "1"}
"""
SCHEMA = """{"type": "record", "name": "Event", "fields": [{"name": "id", "type": "string"},
 {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}}, {"name": "amount", "type": "double"}]}"""


@pytest.fixture
def spec(tmp_path: Path) -> Spec:
    (tmp_path / "event.avsc").write_text(SCHEMA)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return load_spec(tmp_path / "spec.yaml")


class Time:
    def __init__(self) -> None:
        self.s = 0.0

    def wall_ms(self) -> int:
        return 1_790_000_000_000

    def monotonic_s(self) -> float:
        return self.s

    def sleep(self, seconds: float) -> None: ...


def sight(spec: Spec, read: int, refused: int, model: bool = True) -> Sight:
    made = {"generation": 7, "rows": 90} if model else None
    counts = Counts(events_in=read, cleaned=read - refused, rejected={"value.missing": refused})
    steps = {"join": StepStatus(30, {"p.events-0": 30}), "evaluate": StepStatus(0, {})}
    return Sight(Status("shop", "h", steps, counts, made, 1200 if model else None, {}), begin(spec))


class Fixture:
    """Vitals whose looks end when the test says so."""

    def __init__(self, spec: Spec) -> None:
        self.time, self.seen, self.ended, self.looks = Time(), list[Any](), threading.Semaphore(0), 0
        self.vitals = Vitals(spec, self._look, self.time)

    def _look(self) -> Sight:
        assert self.ended.acquire(timeout=60)
        self.looks += 1
        found = self.seen.pop(0)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def next(self, found: Any) -> dict[str, dict[str, Any]]:
        """What is told of one look, by kind and arm."""
        self.seen.append(found)
        assert self.vitals.take() == []  # it begins
        assert self.vitals.take() == []  # and is not waited for
        self.ended.release()
        under_way = self.vitals._under_way
        assert under_way is not None
        under_way.exception(60)
        outs = self.vitals.take()
        self.time.s += EVERY_S
        told = [schemas.codec("metric").decode(o.value or b"") for o in outs]
        return {f"{m['kind']}.{m['arm']}".rstrip("."): m for m in told}


@pytest.fixture
def fixture(spec: Spec) -> Iterator[Fixture]:
    made = Fixture(spec)
    yield made
    made.ended.release()  # of a look that nobody waited for


def exposure(unit: str, arm: str, seq: int = 0, experiment: str = "shown") -> dict[str, Any]:
    return {"experiment": experiment, "arm": arm, "unit": unit, "control_seq": seq}


def test_each_step_s_lag_the_counts_and_the_freshness_are_told(fixture: Fixture, spec: Spec) -> None:
    told = fixture.next(sight(spec, 100, 4))
    assert set(told) == {"lag.join", "lag.evaluate", "counts", "freshness", "sample_ratio"}
    assert (told["lag.join"]["values"], told["lag.join"]["rows"]) == ({"lag": 30.0}, 30)
    assert told["freshness"]["values"] == {"staleness_ms": 1200.0, "generation": 7.0}
    assert told["counts"]["values"]["events_in"] == 100
    assert told["counts"]["values"]["rejected"] == 4
    assert {m["event_time_ms"] for m in told.values()} == {1_790_000_000_000}


def test_the_error_rate_is_of_what_was_read_since_the_last_look(fixture: Fixture, spec: Spec) -> None:
    assert "error_rate" not in fixture.next(sight(spec, 100, 4))["counts"]["values"]
    assert fixture.next(sight(spec, 150, 14))["counts"]["values"]["error_rate"] == pytest.approx(0.2)
    assert "error_rate" not in fixture.next(sight(spec, 150, 14))["counts"]["values"]  # nothing came


def test_without_a_model_there_is_no_freshness(fixture: Fixture, spec: Spec) -> None:
    assert "freshness" not in fixture.next(sight(spec, 0, 0, model=False))


@pytest.mark.parametrize("error", [BrokerError("away"), ValueError("no metric: a stranger's bytes")])
def test_a_look_that_fails_is_passed_over_and_the_next_one_tells(
    error: Exception, fixture: Fixture, spec: Spec
) -> None:
    assert fixture.next(error) == {}
    assert fixture.next(sight(spec, 1, 0))


def test_a_bug_in_a_look_ends_the_process(fixture: Fixture) -> None:
    with pytest.raises(KeyError):
        fixture.next(KeyError("model"))


def test_nothing_is_looked_up_before_it_is_due(fixture: Fixture, spec: Spec) -> None:
    fixture.next(sight(spec, 1, 0))
    fixture.time.s = EVERY_S / 2
    assert fixture.vitals.take() == []
    assert fixture.vitals._under_way is None
    assert fixture.looks == 1


# -- the sample ratio ------------------------------------------------------------------------------------


def drained(spec: Spec, state: State, seq: int, weights: dict[str, float]) -> State:
    record = Control("shown", "1", seq, "ramp", "first", dict(state.weights), weights, "me", 1, "a test")
    new, why_not = after(spec, state, record)
    assert not why_not
    return new


def test_the_ratio_is_that_of_the_units_first_exposures(spec: Spec) -> None:
    rng = np.random.default_rng(3)
    arms = rng.integers(0, 2, 3000)
    ratio, wanted = ServedRatio(spec), SampleRatio([0.5, 0.5])
    for unit, arm in enumerate(arms.tolist()):
        for _ in range(1 + unit % 3):  # who comes back brings no news
            ratio.exposure(exposure(f"u{unit}", ("first", "second")[arm]))
        ratio.exposure(exposure(f"u{unit}", "second", experiment="other"))
    wanted.update(arms.astype(np.int64))
    found = ratio.look(begin(spec))
    assert found == {"exposures": 3000.0, "p_value": wanted.p_value, "chi_squared_p": wanted.chi_squared()[1]}
    assert ratio.look(begin(spec)) == found  # nothing new, nothing changed
    assert found["p_value"] > 0.01


def test_a_broken_ratio_shows(spec: Spec) -> None:
    ratio = ServedRatio(spec)
    for unit in range(1000):
        ratio.exposure(exposure(f"u{unit}", "first" if unit % 10 < 7 else "second"))
    assert ratio.look(begin(spec))["p_value"] < 1e-6


def test_with_new_weights_it_begins_anew_and_with_one_arm_there_is_none(spec: Spec) -> None:
    ratio, state = ServedRatio(spec), begin(spec)
    for unit in range(1000):
        ratio.exposure(exposure(f"u{unit}", "first"))
    ratio.look(state)
    state = drained(spec, state, 1, {"first": 0.9, "second": 0.1})
    for unit in range(1000, 2000):
        ratio.exposure(exposure(f"u{unit}", "second" if unit % 10 == 0 else "first", seq=1))
    found = ratio.look(state)
    assert (found["exposures"], found["p_value"] > 0.5) == (1000.0, True)
    state = drained(spec, state, 2, {"first": 1.0, "second": 0.0})
    ratio.exposure(exposure("late", "first", seq=2))
    assert ratio.look(state) == {}


def test_what_is_remembered_is_bounded(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_ratio, "UNITS_MAX", 10)
    ratio = ServedRatio(spec)
    for unit in range(100):
        ratio.exposure(exposure(f"u{unit}", "first", seq=unit))
    assert len(ratio._units) == 10
    assert len(ratio._waiting) == served_ratio.SEQS_MAX
