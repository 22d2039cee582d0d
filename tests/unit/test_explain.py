"""What a learned state says of itself, on a pipeline's own snapshot: names, sums, paths, importance, the command."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from consumers.cli import explain, main  # noqa: F401  it registers itself
from consumers.learn import LearnStep
from consumers.settings import Settings
from stream.block import F64, Block, Training
from stream.clean.cleaner import Cleaner, Position
from stream.clock import FakeClock
from stream.encode.encoder import Encoder
from stream.errors import DataError
from stream.explain.arm import explained
from stream.explain.explainable import Explanation
from stream.explain.linear import LinearExplained
from stream.explain.names import Names
from stream.explain.picture import html, mermaid
from stream.explain.tree import TreeExplained
from stream.learn.arms import Arms
from stream.learn.tree.layout import LEAF
from stream.spec import Spec
from stream.spec_load import load_spec

HOUR_MS = 3_600_000
SCHEMA = {
    "type": "record",
    "name": "Click",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "device", "type": ["null", "string"], "default": None},
        {"name": "price", "type": ["null", "double"], "default": None},
        {"name": "noise", "type": ["null", "double"], "default": None},
        {"name": "title", "type": ["null", "string"], "default": None},
    ],
}
FIELDS = {
    "device": {"type": "category", "case": "lower"},
    "price": {"type": "numeric"},
    "noise": {"type": "numeric"},
    "title": {"type": "text"},
    "at": {"type": "time", "parts": ["hour"], "as": ["category"]},
}
TREE = {"grace_period": 50, "delta": 0.01}
ARMS = {
    "binary": {
        "linear": {"model": "linear.logistic", "params": {"lr": 0.05}},
        "robust": {"model": "linear.logistic", "params": {"scale": "robust"}},
        "passive": {"model": "linear.passive_aggressive"},
        "tree": {"model": "tree.hoeffding", "params": {**TREE, "leaf_prediction": "mc"}, "without": ["title", "at"]},
    },
    "regression": {
        "linear": {"model": "linear.regression", "params": {"scale": "min_max"}},
        "tree": {"model": "tree.regressor", "params": {**TREE, "leaf_prediction": "mean"}, "without": ["title", "at"]},
    },
    "classes": {
        "linear": {"model": "linear.softmax"},
        "forest": {
            "model": "forest.adaptive",
            "params": {"n_models": 3, "max_features": None, "leaf_prediction": "mc"},
            "without": ["title", "at"],
        },
        "tree": {"model": "tree.hoeffding", "params": {**TREE, "leaf_prediction": "mc"}, "without": ["title", "at"]},
    },
}
ROWS = 3000


def _event(i: int, rng: Any) -> dict[str, Any]:
    device = ["Phone", "TV", "desk"][int(rng.integers(3))]
    price = None if rng.random() < 0.05 else float(rng.uniform(0, 100))
    words = " ".join(rng.choice(["cheap", "new", "red"], 2))
    at = int(rng.integers(0, 24)) * HOUR_MS
    return {"id": f"e{i}", "at": at, "device": device, "price": price, "noise": float(rng.normal()), "title": words}


def _label(task: str, event: dict[str, Any], rng: Any) -> float:
    signal = (event["price"] or 50.0) / 25 + (2.0 if event["device"] == "Phone" else 0.0) + rng.normal() * 0.3
    if task == "regression":
        return float(signal)
    return float(signal > 3) if task == "binary" else float(np.digitize(signal, [2.0, 4.0]))


class Learned:
    """A pipeline that has learned, with its snapshot on disk."""

    def __init__(self, task: str, folder: Path) -> None:
        (folder / "click.avsc").write_text(json.dumps(SCHEMA))
        self.file = folder / "clicks.yaml"
        raw = {"name": "clicks", "task": task, "arms": ARMS[task]}
        raw["event"] = {"schema": "click.avsc", "id": "id", "time": "at", "fields": FIELDS}
        raw |= {"classes": ["low", "mid", "high"]} if task == "classes" else {}
        self.file.write_text(yaml.safe_dump(raw))
        self.spec, self.data = load_spec(self.file), folder / "data"
        rng = np.random.default_rng(4)
        self.events = [_event(i, rng) for i in range(ROWS)]
        label = np.array([_label(task, e, rng) for e in self.events])
        at = np.arange(ROWS)
        step = LearnStep(self.spec, Settings(data=self.data), FakeClock())
        step.begin()
        step.learn(Training(self.block(self.events), label, at, at, at), 0)
        step.maybe_snapshot(caught_up=True, force=True)
        self.arms = step._arms

    def block(self, events: list[dict[str, Any]]) -> Block:
        where = [Position(0, i, 10**13) for i in range(len(events))]
        return Encoder(self.spec).encode(Cleaner(self.spec).clean(events, where).columns)

    def names(self) -> Names:
        found = Names(self.spec)
        found.learn(self.events)
        return found

    def explain(self, arm: str) -> tuple[Any, list[Explanation]]:
        """The arm's explanation, and that of some of the events."""
        model = explained(self.spec, self.arms, arm, self.names())
        return model, model.explain(self.arms.views[arm].of(self.block(self.events[:50])))

    def scores(self, arm: str) -> F64:
        return self.arms.score(arm, self.block(self.events[:50]))


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Learned]:
    made: dict[str, Learned] = {}

    def of(task: str) -> Learned:
        if task not in made:
            made[task] = Learned(task, tmp_path_factory.mktemp(task))
        return made[task]

    return of


LINKS: dict[str, Callable[[tuple[float, ...]], list[float]]] = {
    "binary": lambda t: [1 / (1 + math.exp(-t[0]))],
    "regression": lambda t: [t[0]],
    "classes": lambda t: [math.exp(x) / sum(map(math.exp, t)) for x in t],
}
LINEAR = [(task, arm) for task in ARMS for arm in ARMS[task] if arm not in ("tree", "forest")]


@pytest.mark.parametrize(("task", "arm"), LINEAR)
def test_a_linear_answer_is_the_sum_of_its_parts(learned: Any, task: str, arm: str) -> None:
    _, found = learned(task).explain(arm)
    scores = learned(task).scores(arm).reshape(50, -1)
    for row, one in enumerate(found):
        for k, total in enumerate(one.total):
            assert total == pytest.approx(one.base[k] + sum(p.contribution[k] for p in one.parts), abs=1e-12)
        assert LINKS[task](one.total) == pytest.approx(scores[row].tolist(), rel=1e-9)
        assert one.score == tuple(scores[row])
        names = {p.feature for p in one.parts}
        assert f"device={learned(task).events[row]['device'].lower()}" in names
        assert ("price" in names) == (learned(task).events[row]["price"] is not None)
        for p in one.parts:
            assert p.contribution == pytest.approx([w * p.value for w in p.weight])


def test_weights_have_names_scales_and_fall_in_size(learned: Any) -> None:
    model, _ = learned("binary").explain("linear")
    weights = model.weights()
    sizes = [abs(w.weight[0]) for w in weights]
    assert sizes == sorted(sizes, reverse=True)
    by_name = {w.feature: w for w in weights}
    assert {"price", "noise", "device=phone", "device=tv", "title=cheap", "at.hour=7"} <= set(by_name)
    assert not any(name.startswith("#") for name in by_name)
    assert re.fullmatch(r"\(x - [45]\d\.\d+\) / 2\d\.\d+", by_name["price"].scale)
    assert by_name["device=phone"].weight[0] > by_name["device=tv"].weight[0]
    assert weights[0].feature in ("price", "device=phone")
    text = model.text(3)
    assert text.startswith("intercept ")
    assert f"3 of {len(weights)} weights; categories: " in text
    importance = model.importance()
    assert sum(importance.values()) == pytest.approx(1)
    assert next(iter(importance)) == weights[0].feature


def test_a_hash_that_no_one_named_is_shown_as_it_is(learned: Any) -> None:
    pipeline = learned("binary")
    model = explained(pipeline.spec, pipeline.arms, "linear", Names(pipeline.spec))
    names = [w.feature for w in model.weights()]
    assert sum(n.startswith("#") for n in names) == 3 + 3, "devices and words"
    assert "at.hour=7" in names, "parts of times are known without a sample"


def test_the_robust_scale_is_told_as_it_is_applied(learned: Any) -> None:
    model, found = learned("binary").explain("robust")
    scale = next(w.scale for w in model.weights() if w.feature == "price")
    prices = [e["price"] for e in learned("binary").events[:50]]
    row = next(i for i, p in enumerate(prices) if p is not None)
    told = eval(scale, {"x": prices[row]})
    assert told == pytest.approx(next(p.value for p in found[row].parts if p.feature == "price"), rel=1e-4)


@pytest.mark.parametrize("task", list(ARMS))
def test_a_tree_s_path_leads_to_its_answer(learned: Any, task: str) -> None:
    model, found = learned(task).explain("tree")
    scores = learned(task).scores("tree").reshape(50, -1)
    assert len(model.root.below) >= 2, "a tree without a split would prove nothing"
    for row, one in enumerate(found):
        assert one.total == pytest.approx(scores[row].tolist(), rel=1e-9)
        steps = np.array([p.contribution for p in one.parts]).sum(axis=0)
        assert (np.array(one.base) + steps).tolist() == pytest.approx(list(one.total), abs=1e-12)


@pytest.mark.parametrize("task", list(ARMS))
def test_what_a_tree_splits_on_matters_and_noise_does_not(learned: Any, task: str) -> None:
    model, _ = learned(task).explain("tree")
    importance = model.importance()
    assert set(importance) == {"price", "noise", "device"}
    assert sum(importance.values()) == pytest.approx(1)
    assert importance["noise"] < 0.5 * min(importance["price"], importance["device"])
    assert model.weights() == []
    root = model.root
    assert 0.5 * ROWS < root.weight < ROWS + 1e-6, "a row without the attribute is no part of a split's branches"
    own = learned(task).arms.models["tree"].state()
    nodes = list(root.walk())
    assert len(nodes) == (own.meta["tree"]["stats"]["nodes"])
    assert sum(n.weight for n in nodes if n.kind == LEAF) == pytest.approx(root.weight)


def test_a_tree_as_text_names_fields_categories_and_classes(learned: Any) -> None:
    for task, word in (("binary", "1 0."), ("regression", "mean "), ("classes", "high ")):
        model, _ = learned(task).explain("tree")
        text = model.text(20)
        assert "price <= " in text or "device = phone" in text
        assert word in text
        assert "rows)" in text
        assert not any(line.startswith("#") for line in text.splitlines())


def test_pictures_are_whole_pages_and_mermaid_has_every_node(learned: Any) -> None:
    for task, arm in (("binary", "linear"), ("classes", "linear"), ("classes", "tree")):
        model, _ = learned(task).explain(arm)
        page = html(model, "a <title>", 10)
        assert page.startswith("<!doctype html>")
        assert "Plotly.newPlot" in page
        if isinstance(model, TreeExplained):
            lines = mermaid(model).splitlines()
            assert lines[0] == "flowchart TD"
            assert sum("-->" in line for line in lines) == sum(1 for _ in model.root.walk()) - 1
            assert all("<" not in line.replace("-->", "") for line in lines), "it would be read as HTML"


def test_a_model_that_has_learned_nothing_is_explained_too(learned: Any) -> None:
    spec: Spec = learned("classes").spec
    for arm in spec.arms:
        model = explained(spec, Arms(spec), arm, Names(spec))
        assert model.text(5)
        assert sum(model.importance().values()) == 0
        [one] = model.explain(Arms(spec).views[arm].of(learned("classes").block(learned("classes").events[:1])))
        assert all(math.isfinite(x) for x in one.total)
        assert html(model, "empty", 5)


def test_an_arm_that_is_not_there_or_is_a_strangers_is_told(learned: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline = learned("binary")
    with pytest.raises(DataError, match="arm: found 'nobody'; the spec has linear, passive, robust, tree"):
        explained(pipeline.spec, pipeline.arms, "nobody", pipeline.names())
    monkeypatch.setitem(pipeline.arms.models, "linear", object())
    with pytest.raises(DataError, match=r"arm linear: its model is linear.logistic; linear, tree and forest"):
        explained(pipeline.spec, pipeline.arms, "linear", pipeline.names())


def _run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main([str(w) for w in words])
    got = capsys.readouterr()
    return int(left.value.code or 0), got.out, got.err


def test_the_command_shows_names_and_writes_a_picture(
    learned: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline, sample, page = learned("binary"), tmp_path / "sample.jsonl", tmp_path / "made" / "model.html"
    sample.write_text("\n".join(json.dumps(e) for e in pipeline.events[:200]))
    base = ("explain", pipeline.file, "--data", pipeline.data)
    code, out, err = _run(capsys, *base, "--names", sample, "--top", 4, "--picture", page)
    assert (code, f"picture: {page}" in err) == (0, True)
    assert out.startswith("clicks, arm linear: linear.logistic, generation 1, 3000 rows\nintercept ")
    assert "device=phone" in out
    assert "importance: " in out
    assert page.read_text().startswith("<!doctype html>")
    code, out, _ = _run(capsys, *base, "--arm", "tree", "--names", sample, "--json")
    found = json.loads(out)
    assert (code, found["model"], found["rows"], found["weights"]) == (0, "tree.hoeffding", 3000, [])
    assert "price" in found["importance"]
    _, out, _ = _run(capsys, *base, "--json")
    found = json.loads(out)
    assert len(found["weights"]) == 20
    assert found["intercept"] is not None
    assert any(w["feature"].startswith("#") for w in found["weights"]), "no sample, no names"


def test_the_command_explains_one_event(learned: Any, capsys: pytest.CaptureFixture[str]) -> None:
    pipeline = learned("binary")
    base = ("explain", pipeline.file, "--data", pipeline.data, "--event", '{"device": "Phone", "price": 80.5}')
    code, out, _ = _run(capsys, *base, "--json")
    found = json.loads(out)
    names = {p["feature"] for p in found["parts"]}
    assert code == 0
    assert {"device=phone", "price"} <= names
    assert "noise" not in names
    assert 0.5 < found["score"][0] <= 1
    _, out, _ = _run(capsys, *base, "--arm", "tree")
    lines = out.splitlines()
    assert lines[0].startswith("base")
    assert lines[-1].startswith("score")
    assert any("price > " in line or "device = phone" in line for line in lines)


def test_what_is_wrong_is_one_line_and_an_exit_code(
    learned: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pipeline = learned("binary")
    base = ("explain", pipeline.file, "--data", pipeline.data)
    for words, wanted, said in (
        (("explain", pipeline.file, "--data", tmp_path), 8, "no snapshot yet"),
        ((*base, "--arm", "nobody"), 4, "arm: found 'nobody'; the spec has linear, passive"),
        ((*base, "--event", "{"), 4, "event: not JSON"),
        ((*base, "--event", '{"colour": 1}'), 4, "'colour': no such field; the event has id, at, device"),
        ((*base, "--event", '{"price": "dear"}'), 4, "price: found 'dear' (string); a number is wanted"),
        ((*base, "--names", tmp_path / "none.csv"), 4, "none.csv"),
        ((*base, "--top", 0), 2, "--top"),
    ):
        code, out, err = _run(capsys, *words)
        assert (code, out) == (wanted, "")
        assert said in err
        assert len(err.strip().splitlines()) == 1


def test_only_what_learned_by_its_weights_has_an_intercept(learned: Any) -> None:
    model, _ = learned("classes").explain("linear")
    assert isinstance(model, LinearExplained)
    assert model.intercept == (0.0, 0.0, 0.0)
    assert model.text(2).startswith("one number for each class: low, mid, high\n")


def test_a_forest_is_the_mean_of_its_trees(learned: Any) -> None:
    model, found = learned("classes").explain("forest")
    importance = model.importance()
    assert sum(importance.values()) == pytest.approx(1)
    assert importance["noise"] < min(importance["price"], importance["device"])
    assert model.text(5).startswith("tree 1 of 3\n")
    assert "\ntree 3 of 3\n" in model.text(5)
    for one in found:
        assert {p.feature for p in one.parts} <= {"price", "noise", "device"}
        steps = np.array([p.contribution for p in one.parts]).sum(axis=0)
        assert (np.array(one.base) + steps).tolist() == pytest.approx(list(one.total), abs=1e-12)
        assert sum(one.total) == pytest.approx(1)
    agreed = np.mean([np.argmax(one.total) == np.argmax(one.score) for one in found])
    assert agreed > 0.9
    assert html(model, "a forest", 5)
