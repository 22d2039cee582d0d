"""Guardrails: a bad arm is found, a good one is not, over all looks; ramps and drained times don't count against it."""

import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from consumers.cli.app import main
from stream.experiment.collect import Exposed, Outcomes
from stream.experiment.control import State, begin, compared, drain, end, ramp
from stream.experiment.guard import Finding, findings, since
from stream.experiment.report import Question, analyse
from stream.spec import Spec
from tests.unit.test_control import BY, applied, make_spec

HALF = {"a": 0.5, "b": 0.5}


def guarded(metric: str = "brier", **more: Any) -> Spec:
    return make_spec(HALF, guardrails=[{"metric": metric, **more}])


def data(n: int, harm: float, seq: int = 0, seed: int = 1, share: float = 0.5) -> tuple[Exposed, Outcomes]:
    """n outcomes of arms a and b; b's scores are off by so much more."""
    rng = np.random.default_rng(seed)
    arm = (rng.random(n) < share).astype(np.int64)
    label = (rng.random(n) < 0.4).astype(np.float64)
    score = np.clip(0.4 + harm * arm * np.where(label > 0, -1, 1) + rng.normal(0, 0.05, n), 0.01, 0.99)
    chance = np.where(arm == 1, share, 1 - share)
    at = np.arange(n)
    exposed = Exposed(arm, chance, at, [f"e{seed}-{i}" for i in range(n)], np.full(n, seq))
    return exposed, Outcomes(at, score, label, at)


def together(*parts: tuple[Exposed, Outcomes]) -> tuple[Exposed, Outcomes]:
    e = [p[0] for p in parts]
    rows = np.arange(sum(map(len, e)))
    exposed = Exposed(*(np.concatenate([getattr(x, n) for x in e]) for n in ("arm", "propensity")), rows,
                      [i for x in e for i in x.ids], np.concatenate([x.seq for x in e]))  # fmt: skip
    told = (np.concatenate([getattr(p[1], n) for p in parts]) for n in ("scores", "label"))
    return exposed, Outcomes(rows, *told, rows)


def only(spec: Spec, state: State, given: tuple[Exposed, Outcomes]) -> Finding:
    [found] = findings(spec, state, *given)
    return found


@pytest.mark.parametrize("metric", ["brier", "log_loss"])
def test_an_arm_that_is_worse_is_found_and_the_reason_says_by_how_much(metric: str) -> None:
    spec = guarded(metric)
    found = only(spec, begin(spec), data(4_000, 0.2))
    assert found.worse
    assert 0 < found.difference.low < found.difference.estimate < found.difference.high
    assert f"{metric} of b less a: " in found.why("a")
    assert f"over {found.difference.n} outcomes; margin 0" in found.why("a")


def test_accuracy_is_worse_when_it_is_less() -> None:
    spec = guarded("accuracy")
    exposed, outcomes = data(4_000, 0.3)
    assert only(spec, begin(spec), (exposed, outcomes)).worse
    better = replace(exposed, arm=1 - exposed.arm)
    assert not only(spec, begin(spec), (better, outcomes)).worse


def test_an_arm_as_good_or_better_is_left_alone_at_every_look() -> None:
    spec = guarded()
    for seed in range(20):
        exposed, outcomes = data(2_000, 0.0 if seed % 2 else -0.1, seed=seed)
        for end_ in range(200, 2_001, 200):
            part = Outcomes(*(getattr(outcomes, n)[:end_] for n in ("row", "scores", "label", "known_ms")))
            assert not only(spec, begin(spec), (exposed, part)).worse, (seed, end_)


def test_alpha_is_shared_by_the_arms_that_are_compared() -> None:
    spec = make_spec({"a": 0.5, "b": 0.25, "c": 0.25}, guardrails=[{"metric": "brier", "alpha": 0.1}])
    found = findings(spec, begin(spec), *data(500, 0.0))
    assert [(f.arm, f.alpha) for f in found] == [("b", 0.05), ("c", 0.05)]


def test_harm_within_the_margin_is_borne() -> None:
    harmful = data(4_000, 0.2)
    assert only(guarded(margin=0.02), begin(guarded()), harmful).worse
    assert not only(guarded(margin=0.3), begin(guarded()), harmful).worse


def test_a_drained_arm_or_an_ended_experiment_is_judged_no_more() -> None:
    spec, harmful = guarded(), data(4_000, 0.2)
    drained = applied(spec, begin(spec), drain(spec, begin(spec), "b", *BY))
    ended = applied(spec, begin(spec), end(spec, begin(spec), "b", *BY))
    assert findings(spec, drained, *harmful) == findings(spec, ended, *harmful) == []


def test_an_arm_that_is_given_a_share_again_is_judged_from_then_on() -> None:
    spec = guarded()
    first = applied(spec, begin(spec), drain(spec, begin(spec), "b", *BY))
    again = applied(spec, first, ramp(spec, first, {"b": 0.5}, *BY))
    assert (since(again, "b"), since(again, "a")) == (2, 0)
    mended = together(data(4_000, 0.2), data(3_000, 0.0, seq=2, seed=5))
    assert not only(spec, again, mended).worse
    still = together(data(4_000, 0.2), data(3_000, 0.2, seq=2, seed=5))
    found = only(spec, again, still)
    assert found.worse
    assert found.difference.n < 3_000


def test_what_the_control_did_alone_says_nothing_of_a_difference() -> None:
    spec = guarded()
    state = applied(spec, begin(spec), drain(spec, begin(spec), "b", *BY))
    state = applied(spec, state, ramp(spec, state, {"b": 0.5}, *BY))
    assert compared(state, np.array([0, 1, 2, 3]), "b", "a").tolist() == [True, False, True, False]
    alone = data(3_000, 0.0, seq=1, seed=9, share=0.0)
    parts = [data(3_000, 0.1), alone, data(3_000, 0.1, seq=2, seed=3)]
    with_it, without = (
        analyse(spec, *given, {}, Question(state=state)).metrics[1]
        for given in (together(*parts), together(parts[0], parts[2]))
    )
    assert with_it.comparisons[0].now == without.comparisons[0].now
    assert with_it.comparisons[0].now.n > 5_000
    assert with_it.policies["b"] == without.policies["b"]
    assert with_it.policies["a"] != without.policies["a"]


def test_a_report_says_who_was_drained_and_that_it_ended() -> None:
    spec = guarded()
    drained = applied(spec, begin(spec), drain(spec, begin(spec), "b", "guardrail", 1, "too bad"))
    ended = applied(spec, drained, end(spec, drained, None, *BY))
    given, said = data(500, 0.1), "change 1: a guardrail drained b: too bad"
    assert said not in analyse(spec, *given, {}, Question()).notes
    assert said in analyse(spec, *given, {}, Question(state=drained)).notes
    assert (
        "the experiment ended by change 2; a serves everybody" in analyse(spec, *given, {}, Question(state=ended)).notes
    )


def test_a_report_plans_by_the_shares_that_hold_now_and_of_an_ended_experiment_by_its_last() -> None:
    spec = guarded()
    state = applied(spec, begin(spec), ramp(spec, begin(spec), {"b": 0.2}, *BY))
    given = together(data(500, 0.0), data(4_000, 0.0, seq=1, seed=2, share=0.2))
    for now in (state, applied(spec, state, end(spec, state, None, *BY))):
        found = analyse(spec, *given, {}, Question(state=now))
        assert found.planned == {"a": 0.8, "b": 0.2}
        assert [r.exposures for r in found.ratio] == [4_000]
        assert not found.ratio[0].broken


def test_a_supervised_guard_is_the_same_command_without_the_word(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[list[str]] = []

    def keep(command: list[str]) -> int:
        kept.append(command)
        return 7

    given = ["experiment", "guard", "my.yaml", "--supervise", "--every", "2"]
    monkeypatch.setattr("consumers._supervise.supervise", keep)
    monkeypatch.setattr(sys, "argv", ["headwater", *given])
    with pytest.raises(SystemExit) as left:
        main(given)
    assert left.value.code == 7
    assert kept == [[sys.executable, "-m", "consumers.cli", "experiment", "guard", "my.yaml", "--every", "2"]]
