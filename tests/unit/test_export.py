"""An exported model answers as the arm that it was made of, for rows with gaps, new categories and all leaves."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from consumers.demo.flights import read_flights
from stream.block import Block, Training, take
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.errors import DataError
from stream.explain.names import Names
from stream.export import Exported, export_arm
from stream.export.graph import OUTPUT
from stream.export.linear import keys_of, weights_of
from stream.learn.arms import Arms
from stream.learn.models import MODELS
from stream.learn.onnx_model import session_of
from stream.spec import Spec
from stream.spec_load import parse_spec

FIELDS: dict[str, Any] = {
    "x0": {"type": "numeric"},
    "c0": {"type": "category"},
    "x1": {"type": "numeric"},
    "c1": {"type": "category", "case": "upper"},
    "at": {"type": "time", "parts": ["hour"], "as": ["category"]},
}
CLASSES = ("lo", "mid", "hi")
OTHERS: list[tuple[str, str, dict[str, Any]]] = [
    ("linear.logistic", "binary", {"loss": "hinge", "optimizer": "ftrl", "scale": "robust"}),
    ("linear.logistic", "binary", {"scale": "min_max", "lr": 0.1}),
    ("linear.regression", "regression", {"loss": "poisson", "scale": "max_abs", "optimizer": "adam"}),
    ("linear.regression", "regression", {"scale": "none", "loss": "absolute"}),
    ("tree.hoeffding", "binary", {"leaf_prediction": "mc"}),
    ("tree.hoeffding", "classes", {"leaf_prediction": "nb", "nb_threshold": 30}),
    ("tree.regressor", "regression", {"leaf_prediction": "mean"}),
    ("tree.regressor", "regression", {"leaf_prediction": "model", "binary_split": True}),
    ("forest.adaptive", "binary", {"disable_weighted_vote": True, "binary_split": True}),
    ("forest.regressor", "regression", {"aggregation_method": "mean", "disable_weighted_vote": False}),
    ("forest.regressor", "regression", {"n_models": 4, "leaf_prediction": "mean"}),
]
KINDS = [(name, task, {}) for name, (tasks, _, _) in MODELS.items() for task in tasks] + OTHERS
QUICK: dict[str, Any] = {"grace_period": 40, "delta": 0.05, "tau": 0.1}
ROWS = 1500


def _spec(model: str, task: str, params: dict[str, Any], **arm: Any) -> Spec:
    grown = {k: v for k, v in QUICK.items() if not model.startswith("linear.")}
    event = {"schema": "none.avsc", "id": "id", "time": "at", "fields": arm.pop("fields_of", FIELDS)}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event, "classes": CLASSES if task == "classes" else ()}
    return Spec.model_validate({**raw, "arms": {"a": {"model": model, "params": {**grown, **params}, **arm}}})


@functools.cache
def _events(rows: int, seed: int, values: int) -> list[dict[str, Any]]:
    """Events with gaps; each of the categories has so many values."""
    rng = np.random.default_rng(seed)
    x, c = rng.normal(size=(rows, 2)) * [1.0, 30.0], rng.integers(0, values, (rows, 2))
    gaps, hours = rng.random((rows, 4)) < 0.1, rng.integers(0, 24, rows)
    return [
        {
            "id": str(i),
            "at": int(hours[i]) * 3_600_000,
            "x0": None if gaps[i, 0] else float(x[i, 0]),
            "x1": None if gaps[i, 1] else float(x[i, 1]),
            "c0": None if gaps[i, 2] else f"v{c[i, 0]}",
            "c1": None if gaps[i, 3] else f"w=é{c[i, 1]}",
        }
        for i in range(rows)
    ]


def _encoded(spec: Spec, events: list[dict[str, Any]]) -> tuple[Block, Any]:
    """The block of events, and the strings of its categories as the model is given them, [n, c]."""
    latest = max(e[spec.event.time] for e in events)
    cleaned = Cleaner(spec).clean(events, [Position(0, i, latest) for i in range(len(events))])
    assert not cleaned.rejects
    encoder, values = Encoder(spec), cleaned.columns.values
    block = encoder.encode(cleaned.columns)
    columns = []
    for j, name in enumerate(encoder.layout.categories):
        field, _, part = name.partition(".")
        if part:
            known = {i: str(k) for k in range(32) for i in [encoder._part_ids[name][k].item()]}
            columns.append([known[i] if i else "" for i in block.categories[:, j].tolist()])
        else:
            columns.append([v or "" for v in values[field]])
    return block, np.array(columns, object).T


def _labels(events: list[dict[str, Any]], task: str) -> Any:
    rng = np.random.default_rng(5)
    signal = np.array([(e["x0"] or 0) + (hash_of(e["c0"]) % 2) for e in events]) + 0.1 * rng.normal(size=len(events))
    if task == "regression":
        return np.abs(signal) * 3
    return (signal > 0.5) * 1.0 if task == "binary" else np.clip(np.floor(signal + 1), 0, 2)


def hash_of(value: str | None) -> int:
    """A number that depends on the category alone."""
    return int(value[1:]) if value else 0


def _learned(spec: Spec, rows: int = ROWS, seed: int = 1) -> Arms:
    events = _events(rows, seed, 6)
    block, _ = _encoded(spec, events)
    none = np.zeros(rows, np.int64)
    arms = Arms(spec)
    arms.learn(Training(block, _labels(events, spec.task), none, none, none))
    return arms


def _names(spec: Spec, values: int = 6) -> Names:
    names = Names(spec)
    names.learn(_events(ROWS, 1, values))
    return names


def _answers(exported: Exported, spec: Spec, by: str, block: Block, strings: Any, **more: Any) -> Any:
    session = session_of(exported.body, 1, "all")
    given = {"numeric": block.numeric, "categories": strings if by == "name" else block.categories.view(np.int64)}
    wanted = {i.name for i in session.get_inputs()}
    return session.run([OUTPUT], {k: v for k, v in given.items() if k in wanted} | more)[0]


@pytest.mark.parametrize("by", ["name", "id"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda k: "-".join([k[0], k[1], *map(str, k[2].values())]))
def test_the_file_answers_as_the_arm_does(kind: tuple[str, str, dict[str, Any]], by: Any) -> None:
    spec = _spec(*kind)
    arms = _learned(spec)
    exported = export_arm(spec, arms, "a", _names(spec), by)
    assert exported.unnamed == 0
    block, strings = _encoded(spec, _events(800, 2, 9))  # three values of each category are new
    expected = arms.score("a", block)
    answers = _answers(exported, spec, by, block, strings)
    assert answers.dtype == np.float64
    assert answers.shape == expected.shape
    assert expected.std() > 1e-3
    np.testing.assert_allclose(answers, expected, rtol=1e-9, atol=1e-10)
    one = _answers(exported, spec, by, take(block, [5]), strings[5:6])
    np.testing.assert_allclose(one, expected[5:6], rtol=1e-9, atol=1e-10)


def test_the_trees_of_these_tests_have_every_kind_of_split() -> None:
    kinds: set[int] = set()
    for binary_split in (False, True):
        spec = _spec("forest.bagging", "binary", {"binary_split": binary_split})
        ints = _learned(spec).models["a"].state().arrays["node_int"]
        kinds |= set(ints[:, 0].tolist())
    assert kinds == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["tree.hoeffding", "forest.adaptive", "linear.logistic", "tree.regressor"])
def test_a_model_that_has_learned_nothing_says_nothing(name: str) -> None:
    task = "regression" if name == "tree.regressor" else "binary"
    spec = _spec(name, task, {})
    block, strings = _encoded(spec, _events(20, 2, 9))
    arms = Arms(spec)
    answers = _answers(export_arm(spec, arms, "a", _names(spec)), spec, "name", block, strings)
    assert answers.tolist() == arms.score("a", block).tolist()


def test_softmax_without_a_class_is_refused_and_one_that_met_two_of_three_gives_the_third_nothing() -> None:
    spec = _spec("linear.softmax", "classes", {})
    with pytest.raises(DataError, match="arm a: the model has learned nothing yet"):
        export_arm(spec, Arms(spec), "a", _names(spec))
    arms, events = Arms(spec), _events(200, 1, 6)
    block, strings = _encoded(spec, events)
    none = np.zeros(200, np.int64)
    arms.learn(Training(block, np.minimum(_labels(events, "classes"), 1.0), none, none, none))
    answers = _answers(export_arm(spec, arms, "a", _names(spec)), spec, "name", block, strings)
    assert (answers[:, 2] == 0).all()
    np.testing.assert_allclose(answers, arms.score("a", block), atol=1e-12)


@pytest.mark.parametrize("name", ["linear.logistic", "tree.hoeffding"])
def test_values_without_a_name_are_counted_and_left_out(name: str) -> None:
    spec = _spec(name, "binary", {"leaf_prediction": "nb"} if name == "tree.hoeffding" else {})
    arms = _learned(spec)
    bare = Names(spec)  # knows the parts of times alone
    exported = export_arm(spec, arms, "a", bare)
    assert exported.unnamed == 12
    block, strings = _encoded(spec, _events(300, 2, 6))
    known = _answers(export_arm(spec, arms, "a", _names(spec)), spec, "name", block, strings)
    assert np.abs(_answers(exported, spec, "name", block, strings) - known).max() > 1e-3
    assert export_arm(spec, arms, "a", None, "id").unnamed == 0


def test_weights_that_are_inputs_are_swapped_in_the_same_session() -> None:
    spec = _spec("linear.logistic", "binary", {"lr": 0.05})
    early, late = _learned(spec, 300), _learned(spec, ROWS, seed=7)
    exported = export_arm(spec, early, "a", _names(spec), swappable=True)
    session = session_of(exported.body, 1, "all")
    assert {i.name for i in session.get_inputs()} == {"numeric", "categories"}
    block, strings = _encoded(spec, _events(500, 2, 6))
    given = {"numeric": block.numeric, "categories": strings}
    keys = keys_of(session.get_modelmeta().custom_metadata_map)
    weights = weights_of(late.models["a"].inner, keys)  # type: ignore[attr-defined]
    assert weights.missed == 0
    old, new = early.score("a", block), late.score("a", block)
    assert np.abs(old - new).max() > 0.01
    for feeds, expected in (({}, old), (weights.feeds(), new), ({}, old)):
        np.testing.assert_allclose(session.run([OUTPUT], {**given, **feeds})[0], expected, atol=1e-12)


def test_keys_learned_after_the_export_are_counted_as_missed() -> None:
    spec = _spec("linear.logistic", "binary", {})
    arms = _learned(spec, 300)
    keys = weights_of(arms.models["a"].inner).keys  # type: ignore[attr-defined]
    events = _events(300, 4, 8)
    block, _ = _encoded(spec, events)
    none = np.zeros(300, np.int64)
    arms.learn(Training(block, _labels(events, "binary"), none, none, none))
    assert weights_of(arms.models["a"].inner, keys).missed == 4  # type: ignore[attr-defined]
    strangers = np.array([3, *keys[:2].tolist()], np.uint64)
    rows = weights_of(arms.models["a"].inner, strangers).category_weight  # type: ignore[attr-defined]
    assert [bool(w) for w in rows[:, 0].tolist()] == [False, True, True, False]
    with pytest.raises(DataError, match=r"no headwater\.keys; `headwater export --swappable`"):
        keys_of({})


def test_an_adaptive_tree_with_alternates_is_refused_until_they_are_gone() -> None:
    spec = _spec("tree.adaptive", "binary", {"adwin_delta": 0.3})
    arms, events = Arms(spec), _events(2600, 1, 6)
    block, _ = _encoded(spec, events)
    label, none, refused = _labels(events, "binary"), np.zeros(200, np.int64), 0
    label[2000:] = 1 - label[2000:]
    test, strings = _encoded(spec, _events(200, 2, 9))
    for at in range(0, 2600, 200):
        arms.learn(Training(take(block, range(at, at + 200)), label[at : at + 200], none, none, none))
        growing = (arms.models["a"].state().arrays["node_link"][:, 0] != 0).sum()
        if growing:
            refused += 1
            with pytest.raises(DataError, match=f"arm a: {growing} alternate trees vote beside the tree"):
                export_arm(spec, arms, "a", _names(spec))
        else:
            answers = _answers(export_arm(spec, arms, "a", _names(spec)), spec, "name", test, strings)
            np.testing.assert_allclose(answers, arms.score("a", test), atol=1e-10)
    assert 0 < refused < 13


def test_what_has_no_way_into_onnx_is_refused_with_what_has(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = _spec("linear.logistic", "binary", {})
    arms = Arms(spec)
    with pytest.raises(DataError, match="arm: found 'b'; the spec has a"):
        export_arm(spec, arms, "b")
    worded = _spec("linear.logistic", "binary", {}, fields_of={**FIELDS, "t": {"type": "text"}})
    with pytest.raises(DataError, match=r"it sees the text t, .* `without: \[t\]`"):
        export_arm(worded, Arms(worded), "a")
    without = _spec("linear.logistic", "binary", {}, fields_of={**FIELDS, "t": {"type": "text"}}, without=["t"])
    assert export_arm(without, Arms(without), "a").unnamed == 0
    tree = _spec("tree.hoeffding", "binary", {})
    with pytest.raises(DataError, match="only a linear model's weights can be inputs"):
        export_arm(tree, Arms(tree), "a", swappable=True)
    monkeypatch.setenv("HEADWATER_PICKLE_KEY", "a secret")
    river = _spec("river:linear_model.LogisticRegression", "binary", {"trust_pickle": True})
    foreign = Spec.model_validate(
        {
            **river.model_dump(by_alias=True),
            "arms": {"a": {"model": river.arms["a"].model, "params": {"trust_pickle": True}}},
        }
    )
    with pytest.raises(DataError, match="linear, tree and forest models can be exported"):
        export_arm(foreign, Arms(foreign), "a")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(DataError, match=r"`pip install headwater\[onnx\]`"):
        export_arm(spec, arms, "a")


def test_an_export_by_id_is_an_arm_again(tmp_path: Path) -> None:
    spec = _spec("forest.adaptive", "binary", {"n_models": 3})
    arms = _learned(spec)
    (tmp_path / "m.onnx").write_bytes(export_arm(spec, arms, "a", None, "id").body)
    (tmp_path / "n.onnx").write_bytes(export_arm(spec, arms, "a", _names(spec), "name").body)
    raw = spec.model_dump(by_alias=True)
    block, _ = _encoded(spec, _events(200, 2, 9))
    expected = arms.score("a", block)
    for file in ("m.onnx", "n.onnx"):
        frozen = Spec.model_validate({**raw, "folder": tmp_path, "arms": {"a": {"model": f"onnx:{file}"}}})
        np.testing.assert_allclose(Arms(frozen).score("a", block), expected, atol=1e-10)


def test_equal_models_give_equal_files() -> None:
    spec = _spec("forest.adaptive", "binary", {"n_models": 2})
    one, two = (export_arm(spec, _learned(spec), "a", _names(spec)).body for _ in range(2))
    assert one == two


def test_ten_thousand_flights_are_answered_within_a_hundred_thousandth() -> None:
    flights = [f for f in read_flights(21_000) if f.late is not None]
    seen = ["carrier", "origin", "dest", "sched_dep_minute", "distance", "scheduled"]
    import yaml

    root = Path(__file__).parents[2] / "examples"
    raw = yaml.safe_load((root / "flights.yaml").read_text())
    raw["arms"] = {
        "logistic": {"model": "linear.logistic", "params": {"lr": 0.02}},
        "softmax": {"model": "linear.softmax"},
        "tree": {"model": "tree.hoeffding", "params": {"delta": 0.001}, "fields": seen},
        "forest": {"model": "forest.adaptive", "fields": seen, "params": {"n_models": 5}},
    }
    spec = parse_spec(raw, root)
    events = [f.event for f in flights]
    block, strings = _encoded(spec, events)
    label = np.array([float(bool(f.late)) for f in flights])
    learned, none = len(block) - 10_000, np.zeros(len(block), np.int64)
    arms, names = Arms(spec), Names(spec)
    arms.learn(Training(*(_first(learned, a) for a in (block, label, none, none, none))))
    names.learn(events[:learned])
    rows, test = range(learned, len(block)), slice(learned, None)
    last = take(block, rows)
    layout = Encoder(spec).layout.categories
    for arm in arms.models:
        exported = export_arm(spec, arms, arm, names)
        assert exported.unnamed == 0
        view = arms.views[arm]
        shown = strings[test, [layout.index(c) for c in view.layout.categories]] if view.categories else strings[test]
        answers = _answers(exported, spec, "name", view.of(last), shown)
        assert len(answers) == 10_000
        assert np.abs(answers - arms.score(arm, last)).max() <= 1e-5


def _first(n: int, rows: Any) -> Any:
    return take(rows, range(n)) if isinstance(rows, Block) else rows[:n]


def test_the_package_that_runs_it_is_the_one_that_is_declared() -> None:
    assert tuple(map(int, onnxruntime.__version__.split(".")[:2])) >= (1, 20)
