"""Who gets what: overrides, hold-out, namespaces, shares; version 1 stays what it was; shadows are never served."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from stream.experiment.control import begin, end, ramp
from stream.predict.answers import Batch
from stream.predict.assign import Assignment
from stream.predict.batch import Columnar
from stream.predict.given import Column, numbered
from stream.predict.plane import Answer, Plane, Request
from stream.predict.served import Served
from stream.predict.steer import HOW, Assigner
from stream.spec import Spec
from stream.spec_load import load_spec
from tests.unit.test_control import ABC, BY, applied, make_spec
from tests.unit.test_predict_plane import LINEAR, NOW, learned
from tests.unit.test_predict_plane import make_spec as visits

ROOT = Path(__file__).parents[2]
UNITS = [f"user-{i}" for i in range(20_000)]


def test_version_1_gives_every_unit_the_arm_that_it_always_had() -> None:
    weights = {"a": 1.0, "b": 2.0, "c": 7.0}
    old, now = Assignment("abc", "s", weights), Assigner(make_spec(weights, version=1))
    assert now.version == 1
    assert all(old.of(u) == now.given(u)[:2] and now.given(u).how == "experiment" for u in UNITS[:5_000])


def test_a_spec_that_says_nothing_of_versions_keeps_its_units() -> None:
    golden = json.loads((ROOT / "tests" / "golden" / "assignment.json").read_text())
    spec = load_spec(ROOT / "examples" / "flights.yaml")
    raw = yaml.safe_load((ROOT / "examples" / "flights.yaml").read_text())
    assert "assignment" not in raw["experiment"]
    ours = [v for v in golden["points"] if (v["experiment"], v["salt"]) == (spec.experiment.name, spec.experiment.salt)]
    assert len(ours) > 3
    for v in ours:
        expected = "logistic" if float.fromhex(v["point"]) < 0.5 else "tree"
        assert Assigner(spec).given(v["unit"]) == (expected, 0.5, "experiment")


def test_version_2_keeps_the_shares() -> None:
    assigner = Assigner(make_spec(ABC))
    found = Counter(assigner.given(u).arm for u in UNITS)
    assert all(abs(found[arm] / len(UNITS) - share) < 0.015 for arm, share in ABC.items())
    assert {u.propensity for u in map(assigner.given, UNITS) if u.arm == "b"} == {0.3}


def test_experiments_of_one_namespace_share_no_unit_and_all_others_keep_the_control() -> None:
    first = Assigner(make_spec(ABC, namespace={"name": "home", "slots": [0, 3000]}))
    second = Assigner(make_spec(ABC, namespace={"name": "home", "slots": [3000, 9000]}, salt="t"))
    pairs = Counter((first.given(u).how, second.given(u).how) for u in UNITS)
    assert ("experiment", "experiment") not in pairs
    assert abs(pairs["experiment", "outside"] / len(UNITS) - 0.3) < 0.02
    assert abs(pairs["outside", "experiment"] / len(UNITS) - 0.6) < 0.02
    outside = [g for g in map(first.given, UNITS) if g.how == "outside"]
    assert {(g.arm, g.propensity) for g in outside} == {("a", 1.0)}


def test_the_held_out_keep_the_control_whatever_is_promoted_and_everyone_else_stays() -> None:
    without, spec = Assigner(make_spec(ABC)), make_spec(ABC, holdout=0.1)
    held = Assigner(spec)
    gone = [u for u in UNITS if held.given(u).how == "holdout"]
    assert abs(len(gone) / len(UNITS) - 0.1) < 0.01
    assert all(held.given(u) == without.given(u) for u in UNITS if u not in set(gone))
    promoted = Assigner(spec, applied(spec, begin(spec), end(spec, begin(spec), "c", *BY)))
    assert Counter(promoted.given(u)[:3] for u in UNITS) == Counter(
        {("a", 1.0, "holdout"): len(gone), ("c", 1.0, "ended"): len(UNITS) - len(gone)}
    )


@pytest.mark.parametrize("version", [1, 2])
def test_an_override_is_outside_the_experiment_and_moves_nobody_else(version: int) -> None:
    with_it = Assigner(make_spec(ABC, version, overrides={"user-7": "c", "user-8": "a"}, holdout=0.5))
    without = Assigner(make_spec(ABC, version, holdout=0.5))
    assert with_it.given("user-7") == ("c", 1.0, "override")
    assert with_it.given("user-8") == ("a", 1.0, "override")
    assert all(with_it.given(u) == without.given(u) for u in UNITS[9:500])


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize(
    "more",
    [{}, {"holdout": 0.2}, {"namespace": {"name": "home", "slots": [1000, 7000]}, "holdout": 0.1},
     {"overrides": {"user-3": "c", "": "b"}, "holdout": 0.1}],
)  # fmt: skip
def test_many_units_at_once_get_what_each_gets_alone(version: int, more: dict[str, Any]) -> None:
    spec, units = make_spec(ABC, version, **more), ["", "é", "日本", "x" * 50, *UNITS[:2_000]]
    states = [begin(spec)]
    states.append(applied(spec, states[0], ramp(spec, states[0], {"b": 0.05}, *BY)))
    states.append(applied(spec, states[1], end(spec, states[1], "c", *BY)))
    for assigner in (Assigner(spec, state) for state in states):
        arm, propensity, how = assigner.many(units)
        found = list(zip(["abc"[a] for a in arm], propensity.tolist(), [HOW[h] for h in how], strict=True))
        assert found == [tuple(assigner.given(u)) for u in units]
        assert assigner.many([])[0].tolist() == []


# -- answers -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> Spec:
    arms = {**LINEAR, "shadow": {"model": "linear.logistic", "params": {"lr": 0.2}, "shadow": True}}
    experiment = {"name": "x", "salt": "7", "unit": "user", "assignment": 2, "overrides": {"boss": "bold"}}
    return visits(tmp_path_factory.mktemp("s"), arms=arms, experiment={**experiment, "holdout": 0.3})


@pytest.fixture(scope="module")
def served(spec: Spec) -> Served:
    return Served(learned(spec, 300), 4, "0" * 64, "1" * 16, 9, 300, 299, NOW - 500, NOW - 400, NOW - 100)


@pytest.fixture
def plane(spec: Spec, served: Served) -> Plane:
    made = Plane(spec)
    made.swap(served)
    return made


def rows(n: int) -> list[dict[str, Any]]:
    return [
        {"amount": 10.0 * i, "device": "desk", "user": "boss" if i == 3 else f"user-{i}", "country": "uk"}
        for i in range(n)
    ]


def columns(n: int, **more: Any) -> Batch:
    given = rows(n)
    fields = {
        name: Column("string", *numbered([r[name] for r in given]), None) for name in ("device", "user", "country")
    }
    fields["amount"] = Column("double", np.array([r["amount"] for r in given]), None, None)
    return Batch(n, fields, [f"e{i}" for i in range(n)], **more)


def test_rows_and_columns_are_assigned_alike_and_say_how(plane: Plane, spec: Spec) -> None:
    by_rows = plane.predict_batch([Request(r, f"e{i}") for i, r in enumerate(rows(60))], NOW)
    answers = Columnar(plane).answer(columns(60), NOW)
    kinds = set()
    for i, one in enumerate(by_rows):
        assert isinstance(one, Answer)
        other = answers.at(i)
        named = ("arm", "propensity", "assigned", "experiment", "score", "control_seq", "arm_requested")
        assert [getattr(one, n) for n in named] == [getattr(other, n) for n in named]
        assert one.experiment == ("x" if one.assigned == "experiment" else "")
        assert one.shadows.at(one.row) == other.shadows.at(other.row)
        kinds.add(one.assigned)
    assert kinds == {"experiment", "holdout", "override"}
    assert answers.left_out() == [i for i, a in enumerate(by_rows) if isinstance(a, Answer) and not a.experiment]


def test_a_new_state_answers_from_the_next_call_on(plane: Plane, spec: Spec) -> None:
    stopped = applied(spec, begin(spec), end(spec, begin(spec), "bold", *BY))
    plane.steer(Assigner(spec, stopped))
    found = [a for a in plane.predict_batch([Request(r) for r in rows(60)], NOW) if isinstance(a, Answer)]
    assert {(a.arm, a.assigned, a.experiment, a.control_seq) for a in found} == {
        ("bold", "ended", "", 1), ("calm", "holdout", "", 1), ("bold", "override", "", 1),
    }  # fmt: skip
    answers = Columnar(plane).answer(columns(60), NOW)
    assert (answers.control_seq, len(answers.left_out())) == (1, 60)


def test_a_shadow_arm_is_scored_for_every_answer_and_never_served(plane: Plane, served: Served) -> None:
    found = [a for a in plane.predict_batch([Request(r) for r in rows(60)], NOW) if isinstance(a, Answer)]
    assert len(found) == 60
    assert "shadow" not in {a.arm for a in found}
    shadows = [a.shadows.at(a.row) for a in found]
    asked = [plane.answer(Request(r, arm="shadow"), NOW) for r in rows(60)]
    assert [(s.arm, s.score) for [s] in shadows] == [("shadow", a.score) for a in asked]


def test_a_shadow_arm_is_scored_by_who_logs_and_only_then(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: list[str] = []
    whole = plane.served.arms.score  # type: ignore[union-attr]

    def score(arm: str, block: Any) -> Any:
        scored.append(arm)
        return whole(arm, block)

    monkeypatch.setattr(plane.served.arms, "score", score)  # type: ignore[union-attr]
    answers = Columnar(plane).answer(columns(60), NOW)
    assert "shadow" not in scored
    assert len([answers.at(i).shadows.at(i) for i in range(60)]) == 60
    assert scored.count("shadow") == 1  # once for the block


def test_a_faulty_shadow_arm_costs_its_own_scores_only(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plane.served.arms.score  # type: ignore[union-attr]

    def score(arm: str, block: Any) -> Any:
        return whole(arm, block) if arm != "shadow" else 1 // 0

    monkeypatch.setattr(plane.served.arms, "score", score)  # type: ignore[union-attr]
    answer = plane.answer(Request(rows(1)[0]), NOW)
    assert answer.shadows.at(answer.row) == []
    assert "ZeroDivisionError" in answer.shadows.faults["shadow"]


def test_a_shadow_score_that_is_no_number_is_left_out(plane: Plane, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = plane.served.arms.score  # type: ignore[union-attr]

    def score(arm: str, block: Any) -> Any:
        return whole(arm, block) * (np.nan if arm == "shadow" else 1.0)

    monkeypatch.setattr(plane.served.arms, "score", score)  # type: ignore[union-attr]
    answer = plane.answer(Request(rows(1)[0]), NOW)
    assert (answer.shadows.at(answer.row), answer.shadows.faults) == ([], {})


def test_rows_that_columns_doubt_are_assigned_by_the_batch_s_own_state(plane: Plane, spec: Spec) -> None:
    stopped = applied(spec, begin(spec), end(spec, begin(spec), "bold", *BY))
    [found] = plane.predict_batch([Request(rows(1)[0])], NOW, plane.served, Assigner(spec, stopped))
    assert isinstance(found, Answer)
    assert found.control_seq == 1


def test_a_shadow_flag_is_no_other_model(spec: Spec) -> None:
    arms = {name: without_shadow(arm) for name, arm in spec.arms.items()}
    assert spec.model_copy(update={"arms": arms}).hash == spec.hash


def without_shadow(arm: Any) -> Any:
    return arm.model_copy(update={"shadow": False})
