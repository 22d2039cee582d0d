"""Control records: a pure fold, the same for everyone who reads them; what a person asks for, and what is refused."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import DataError, SpecError
from stream.experiment.control import Control, State, after, begin, drain, end, least_moved, moved, ramp
from stream.spec import Spec, control_of
from stream.spec_load import parse_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights.yaml"
UNITS = [f"user-{i}" for i in range(4_000)]
BY = ("anna", 1_000, "to see")


def make_spec(weights: dict[str, float], version: int = 2, shadow: bool = False, **experiment: Any) -> Spec:
    raw = yaml.safe_load(EXAMPLE.read_text())
    raw["arms"] = {name: {"model": "linear.logistic", "weight": w} for name, w in weights.items()}
    if shadow:
        raw["arms"]["dark"] = {"model": "linear.logistic", "shadow": True}
    raw["experiment"] = {"name": "abc", "salt": "s", "assignment": version, **experiment}
    return parse_spec(raw, EXAMPLE.parent)


ABC = {"a": 0.5, "b": 0.3, "c": 0.2}


def applied(spec: Spec, state: State, record: Control) -> State:
    state, why_not = after(spec, state, record)
    assert why_not == ""
    return state


def test_the_beginning_is_the_spec_s_weights() -> None:
    for version in (1, 2):
        state = begin(make_spec({"a": 2, "b": 1, "c": 1}, version))
        assert (state.seq, state.shares, state.ended) == (0, {"a": 0.5, "b": 0.25, "c": 0.25}, False)


def test_a_ramp_gives_named_arms_their_share_and_the_rest_as_it_was_shared() -> None:
    spec = make_spec(ABC)
    record = ramp(spec, begin(spec), {"c": 0.6}, *BY)
    assert record.weights == {"a": 0.25, "b": 0.15, "c": 0.6}
    assert (record.seq, record.action, record.before, record.who, record.why) == (1, "ramp", ABC, "anna", "to see")
    state = applied(spec, begin(spec), record)
    assert state.shares == record.weights
    assert ramp(spec, state, {"b": 0.5, "c": 0.5}, *BY).weights == {"a": 0.0, "b": 0.5, "c": 0.5}


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({}, "at most 1 is wanted"),
        ({"a": 0.7, "b": 0.7}, "together 1.4; at most 1 is wanted"),
        ({"a": 0.2, "b": 0.2, "c": 0.2}, "all arms are named, so 1 is wanted"),
        ({"d": 0.2}, "arm: found 'd'; the arms are a, b, c"),
        ({"a": -0.1}, "a share from 0 to 1 is wanted"),
        ({"a": float("nan")}, "a share from 0 to 1 is wanted"),
        ({"a": 0.00001}, "0, or at least 0.0001 is wanted"),
    ],
)
def test_shares_that_can_not_be_are_refused_with_what_is_wanted(named: dict[str, float], said: str) -> None:
    spec = make_spec(ABC)
    with pytest.raises(DataError, match=said):
        ramp(spec, begin(spec), named, *BY)


def test_when_nobody_else_has_a_share_the_control_takes_what_is_left() -> None:
    spec = make_spec({"a": 0.5, "b": 0.5, "c": 0})
    state = applied(spec, begin(spec), ramp(spec, begin(spec), {"b": 1.0}, *BY))
    assert ramp(spec, state, {"b": 0.4}, *BY).weights == {"a": 0.6, "b": 0.4, "c": 0.0}
    state = applied(spec, begin(spec), ramp(spec, begin(spec), {"a": 1.0}, *BY))
    with pytest.raises(DataError, match="no other arm has a share to grow"):
        ramp(spec, state, {"a": 0.4}, *BY)


def test_stop_gives_all_the_control_and_promote_the_arm_and_both_end_it_till_the_next_ramp() -> None:
    spec = make_spec(ABC)
    stopped = applied(spec, begin(spec), end(spec, begin(spec), None, *BY))
    assert (stopped.shares, stopped.ended, stopped.rest) == ({"a": 1.0, "b": 0.0, "c": 0.0}, True, "a")
    promoted = applied(spec, stopped, end(spec, stopped, "c", *BY))
    assert (promoted.shares, promoted.ended, promoted.rest) == ({"a": 0.0, "b": 0.0, "c": 1.0}, True, "c")
    again = applied(spec, promoted, ramp(spec, promoted, ABC, *BY))
    assert (again.shares, again.ended, again.rest) == (ABC, False, "a")
    assert moved(spec, begin(spec), again) == 0  # who goes on after a stop finds the same units with the same arms
    assert [dict(e) for e in again.epochs] == [ABC, dict(stopped.shares), dict(promoted.shares), ABC]


def test_a_drained_arm_s_share_goes_to_the_control() -> None:
    spec = make_spec(ABC, control="b")
    assert control_of(spec) == "b"
    record = drain(spec, begin(spec), "c", "guardrail", 5, "worse")
    assert (record.action, record.arm, record.weights) == ("guardrail", "c", {"a": 0.5, "b": 0.5, "c": 0.0})


def test_a_record_that_lost_a_race_or_is_of_another_experiment_counts_for_nothing() -> None:
    spec = make_spec(ABC)
    first = ramp(spec, begin(spec), {"c": 0.6}, *BY)
    state = applied(spec, begin(spec), first)
    for stranger, why in (
        (first, "its number is 1, the next one is 2"),
        (replace(first, seq=3), "its number is 3, the next one is 2"),
        (replace(first, seq=2, experiment="other"), "it is of experiment other"),
        (replace(first, seq=2, salt="t"), "salt t"),
        (replace(first, seq=2, weights={}), "sum above 0 is wanted"),
        (replace(first, seq=2, weights={"a": -1.0, "b": 2.0}), "sum above 0 is wanted"),
    ):
        found, why_not = after(spec, state, stranger)
        assert found is state
        assert why in why_not


def test_the_spec_s_weights_may_change_later_and_nobody_moves() -> None:
    spec = make_spec(ABC)
    record = ramp(spec, begin(spec), {"c": 0.6}, *BY)
    state = applied(spec, begin(spec), record)
    later = make_spec({"a": 0.1, "b": 0.1, "c": 0.8})
    assert moved(later, applied(later, begin(later), record), state) == 0


def test_an_arm_that_the_spec_lost_leaves_its_share_to_the_control() -> None:
    spec = make_spec(ABC)
    record = ramp(spec, begin(spec), {"c": 0.6}, *BY)
    fewer = make_spec({"a": 0.5, "b": 0.5})
    assert applied(fewer, begin(fewer), record).shares == pytest.approx({"a": 0.85, "b": 0.15})


@pytest.mark.parametrize("version", [1, 2])
def test_moved_says_what_share_of_units_a_change_moves(version: int) -> None:
    from stream.predict.steer import Assigner

    spec = make_spec(ABC, version)
    states = [begin(spec)]
    for named in ({"a": 0.2}, {"c": 0.7, "a": 0.3}, {"b": 0.5}):
        states.append(applied(spec, states[-1], ramp(spec, states[-1], named, *BY)))
    states.append(applied(spec, states[-1], end(spec, states[-1], "b", *BY)))
    states.append(applied(spec, states[-1], end(spec, states[-1], None, *BY)))
    for old, new in itertools.pairwise(states):
        first, second = Assigner(spec, old), Assigner(spec, new)
        found = sum(first.given(u).arm != second.given(u).arm for u in UNITS) / len(UNITS)
        assert found == pytest.approx(moved(spec, old, new), abs=0.03)
        if version == 2 and not new.ended:
            assert moved(spec, old, new) == pytest.approx(least_moved(old, new))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 98), st.sampled_from("abc")), max_size=6), st.integers(0, 6))
def test_who_reads_the_records_later_or_again_has_the_same_state(steps: list[tuple[int, str]], cut: int) -> None:
    spec = make_spec(ABC)
    state, records = begin(spec), []
    for percent, arm in steps:
        others = [a for a in "abc" if a != arm]
        records.append(ramp(spec, state, {arm: percent / 100, others[0]: 1 - percent / 100}, *BY))
        state = applied(spec, state, records[-1])
    other = begin(spec)
    for record in [*records[:cut], *records]:  # a reader that began again from the start
        other, _ = after(spec, other, record)
    assert (other.seq, other.shares, other.epochs) == (state.seq, state.shares, state.epochs)
    assert moved(spec, other, state) == 0


def test_a_shadow_arm_is_given_no_share() -> None:
    spec = make_spec({"a": 0.5, "b": 0.5}, shadow=True)
    for wrong in ({"control": "dark"}, {"overrides": {"u": "dark"}}):
        with pytest.raises(SpecError, match="found 'dark'; a shadow arm is never served"):
            make_spec({"a": 0.5, "b": 0.5}, shadow=True, **wrong)
    for make in (lambda: ramp(spec, begin(spec), {"dark": 0.1}, *BY), lambda: end(spec, begin(spec), "dark", *BY)):
        with pytest.raises(DataError, match="a shadow arm is never served"):
            make()


@pytest.mark.parametrize(
    ("experiment", "problem"),
    [
        ({"control": "z"}, "experiment.control: found 'z'; the arms are a, b, c"),
        ({"overrides": {"u": "z"}}, "experiment.overrides.u: found 'z'; the arms are a, b, c"),
        ({"guardrails": [{"metric": "speed"}]}, "experiment.guardrails.0.metric: found 'speed'; for binary: log_loss"),
        ({"namespace": {"name": "home", "slots": [5, 5]}}, "from < to within 0 to 10000 is wanted"),
        ({"namespace": {"name": "home"}, "holdout": 0.1}, "the hold-out begins at 9000"),
        ({"holdout": 1.0}, "experiment.holdout: found 1.0"),
    ],
)
def test_a_spec_s_wrong_experiment_is_refused_with_its_place(experiment: dict[str, Any], problem: str) -> None:
    with pytest.raises(SpecError) as e:
        make_spec(ABC, **experiment)
    assert problem in str(e.value)


def test_metrics_of_guardrails_are_those_of_the_report() -> None:
    from stream.experiment.measure import METRICS
    from stream.spec import METRIC_NAMES

    assert {task: tuple(m.name for m in metrics) for task, metrics in METRICS.items()} == METRIC_NAMES


def test_under_training_own_arms_learn_the_units_that_they_serve_by_either_version() -> None:
    from stream.encode.owner import Owners
    from stream.predict.steer import Assigner

    for version in (1, 2):
        spec = make_spec(ABC, version, training="own", holdout=0.2, overrides={"user-1": "c"})
        owners, assigner = Owners(spec), Assigner(spec)
        assert [list(ABC)[owners.of(u) - 1] for u in UNITS] == [assigner.given(u).arm for u in UNITS]


def test_under_training_own_no_change_is_made_since_arms_learn_by_the_spec_s_weights() -> None:
    from consumers._control import change
    from consumers.settings import Settings

    spec = make_spec(ABC, version=1, training="own")
    with pytest.raises(DataError, match="training: found own"):
        change(spec, Settings(kafka="127.0.0.1:1"), lambda state: ramp(spec, state, {"a": 1.0}, *BY))
