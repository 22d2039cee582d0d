"""Training policies: who learns which row, that metrics see all of them, and what a spec may not ask for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stream.block import Block, Training, take
from stream.encode.encoder import layout_of
from stream.encode.owner import ARM
from stream.errors import DataError, SpecError
from stream.experiment.collect import Collector
from stream.experiment.report import Question, analyse
from stream.learn.arms import Arms, digest
from stream.learn.check import Checked
from stream.learn.training import Policy, refuse_other_weights
from stream.learn.warm import warm
from stream.registry.snapshot import pack, unpack
from stream.spec import Spec
from stream.spec_load import parse_spec

ARMS: dict[str, Any] = {
    "much": {"model": "linear.logistic", "weight": 95},
    "little": {"model": "linear.logistic", "weight": 4},
    "tree": {"model": "tree.hoeffding", "weight": 1, "params": {"grace_period": 50}},
}
FIELDS: dict[str, Any] = {"x": {"type": "numeric"}, "c": {"type": "category"}, "t": {"type": "text"}}


def _spec(training: str, arms: dict[str, Any] = ARMS, **experiment: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": FIELDS}
    more = {"experiment": {"training": training, **experiment}, "metrics": {"window_rows": 50}}
    return Spec.model_validate({"name": "p", "task": "binary", "event": event, "arms": arms, **more})


def _rows(spec: Spec, n: int = 3000, seed: int = 4) -> Training:
    rng = np.random.default_rng(seed)
    layout = layout_of(spec)
    numeric = rng.normal(size=(n, len(layout.numeric)))
    if ARM in layout.numeric:
        numeric[:, layout.numeric.index(ARM)] = rng.choice(len(spec.arms), n, p=[0.6, 0.3, 0.1])
    lengths, numbers = rng.integers(0, 3, n), np.arange(n)
    block = Block(
        "h", [f"e{i}" for i in numbers], numbers, np.zeros(n, np.int32), numbers, numeric,
        rng.integers(0, 9, (n, 1)).astype(np.uint64), rng.integers(1, 20, int(lengths.sum())).astype(np.uint64),
        np.cumsum(lengths),
    )  # fmt: skip
    label = (numeric[:, 0] + rng.normal(size=n) > 0).astype(np.float64)
    return Training(block, label, numbers, numbers * 10, numbers)


def _some(rows: Training, which: Any) -> Training:
    index = np.flatnonzero(which)
    labels = (rows.label_offset[index], rows.label_time_ms[index], rows.label_published_ms[index])
    return Training(take(rows.block, index), rows.label[index], *labels)


@pytest.mark.parametrize("training", ["own", "equal"])
def test_an_arm_is_what_its_own_rows_make_it_whatever_the_others_get(training: str) -> None:
    spec = _spec(training)
    rows, arms = _rows(spec), Arms(spec)
    arms.learn(rows)
    learners = Policy(spec).learners(rows.block)
    assert learners is not None
    for number, name in enumerate(spec.arms):
        alone = Arms(_spec("shared", {name: ARMS[name] | {"weight": 1}}))
        seen = arms.views[name].of(rows.block)
        mine = learners == number
        alone.models[name].score_learn(take(seen, np.flatnonzero(mine)), rows.label[mine])
        assert alone.models[name].state().digest() == arms.models[name].state().digest()
        assert arms.learned[name] == int(mine.sum()) > 0
    assert sum(arms.learned.values()) == len(rows)


@pytest.mark.parametrize("training", ["shared", "own", "equal"])
def test_metrics_are_of_all_rows_each_scored_by_what_was_learned_before(training: str) -> None:
    spec = _spec(training)
    rows, arms = _rows(spec, 400), Arms(spec)
    windows = arms.learn(rows)
    assert sorted((arm, w.rows) for arm, w in windows) == sorted((a, n) for a in ARMS for n in range(50, 401, 50))
    singly, learners = Arms(spec), Policy(spec).learners(rows.block)
    scores: dict[str, list[float]] = {name: [] for name in ARMS}
    for row in range(400):
        one = _some(rows, np.arange(400) == row)
        for number, (name, model) in enumerate(singly.models.items()):
            seen = singly.views[name].of(one.block)
            scores[name] += model.score(seen).tolist()
            if learners is None or learners[row] == number:
                model.score_learn(seen, one.label)
    for number, (name, model) in enumerate(Arms(spec).models.items()):
        found, _ = Policy(spec).score_learn(model, name, arms.views[name].of(rows.block), rows.label, learners)
        assert found.tolist() == scores[name], number


@pytest.mark.parametrize("training", ["own", "equal"])
def test_state_does_not_depend_on_how_the_log_was_cut_and_survives_a_snapshot(training: str) -> None:
    spec = _spec(training)
    rows, whole, parts = _rows(spec), Arms(spec), Arms(spec)
    whole.learn(rows)
    for number, start in enumerate(range(0, len(rows), 77)):
        place = np.arange(len(rows))
        parts.learn(_some(rows, (place >= start) & (place < start + 77)))
        if number == 20:
            kept = {n: unpack(pack(s)) for n, s in parts.states().items()}
            parts = Arms(spec)
            parts.restore(kept)
    assert digest(parts.states()) == digest(whole.states())
    assert parts.learned == whole.learned


def test_equal_shares_are_equal_disjoint_and_do_not_move_with_weights() -> None:
    spec, other = _spec("equal"), _spec("equal", {n: a | {"weight": 1} for n, a in ARMS.items()}, salt="other")
    rows = _rows(spec, 9000)
    found, moved = Policy(spec).learners(rows.block), Policy(other).learners(rows.block)
    assert found is not None
    assert moved is not None
    counts = np.bincount(found, minlength=3)
    assert (abs(counts - 3000) < 6 * np.sqrt(9000 * 2 / 9)).all()
    assert found.tolist() == moved.tolist()
    assert found[[8, 3]].tolist() == np.asarray(Policy(spec).learners(take(rows.block, [8, 3]))).tolist()
    assert found[:12].tolist() == [0, 2, 2, 2, 1, 0, 2, 2, 1, 1, 1, 2]  # frozen: another sharing is another SEED


def test_a_row_without_its_arm_is_never_guessed() -> None:
    spec = _spec("own")
    rows = _rows(spec, 5)
    rows.block.numeric[3, layout_of(spec).numeric.index(ARM)] = np.nan
    with pytest.raises(ValueError, match=r"experiment.arm: row 3, id e3: found nan; an arm's number is wanted"):
        Arms(spec).learn(rows)


@pytest.mark.parametrize("training", ["shared", "own", "equal"])
def test_every_arm_s_kernels_are_compiled_before_the_first_block(
    training: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[int] = []

    def seen(model: Any, block: Block, label: Any) -> Any:
        taught.append(len(block))
        return whole(model, block, label)

    whole = Checked.score_learn
    monkeypatch.setattr(Checked, "score_learn", seen)
    warm(_spec(training))
    assert len(taught) == len(ARMS)
    assert min(taught) > 0


def test_no_rows_are_no_trouble() -> None:
    for training in ("shared", "own", "equal"):
        arms = Arms(_spec(training))
        assert arms.learn(_rows(_spec(training), 0)) == []
        assert arms.rows == 0


def test_the_hash_tells_policies_apart_and_weights_under_own_alone() -> None:
    hashes = {t: _spec(t).hash for t in ("shared", "own", "equal")}
    assert len(set(hashes.values())) == 3
    lighter = {**ARMS, "much": ARMS["much"] | {"weight": 90}}
    assert [_spec(t, lighter).hash == h for t, h in hashes.items()] == [True, False, True]
    assert [_spec(t, salt="2").hash == h for t, h in hashes.items()] == [True, False, True]


def test_weights_may_change_where_they_decide_on_no_training() -> None:
    refuse_other_weights(_spec("shared"))
    refuse_other_weights(_spec("equal"))
    with pytest.raises(DataError, match=r"experiment.training: found own, .*; allowed with shared or equal"):
        refuse_other_weights(_spec("own"))


FLIGHTS = Path(__file__).parents[2] / "examples/flights.yaml"


def test_own_wants_a_unit_that_log_and_server_see_alike_and_arms_that_get_rows(tmp_path: Path) -> None:
    import yaml

    raw = yaml.safe_load(FLIGHTS.read_text())
    raw["experiment"] |= {"training": "own", "unit": "distance"}
    first = next(iter(raw["arms"]))
    raw["arms"][first]["weight"] = 0
    with pytest.raises(SpecError) as caught:
        parse_spec(raw, FLIGHTS.parent)
    assert [p.partition(":")[0] for p in caught.value.problems] == ["experiment.unit", f"arms.{first}.weight"]
    assert "distance is numeric; with training: own a category or text is wanted" in caught.value.problems[0]
    raw["experiment"]["training"] = "equal"
    parse_spec(raw, FLIGHTS.parent)


@pytest.mark.parametrize("training", ["shared", "own", "equal"])
def test_the_report_names_the_policy(training: str) -> None:
    spec = _spec(training)
    exposed, records = Collector(spec, False).exposed()
    found = analyse(spec, exposed, Collector(spec, False).outcomes(records), {}, Question())
    assert found.training == training
