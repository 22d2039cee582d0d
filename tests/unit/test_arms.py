"""Arms: each sees its own columns, all learn from one log, and the whole state is a function of the rows alone."""

from typing import Any

import numpy as np
import pytest

from stream.block import Block, Layout, Training, concat, take
from stream.encode.encoder import layout_of
from stream.learn.arms import Arms, digest, view_of
from stream.learn.models import MODELS, build, model_problems
from stream.learn.warm import warm
from stream.spec import Spec

FIELDS: dict[str, Any] = {
    "x": {"type": "numeric"},
    "c": {"type": "category"},
    "at": {"type": "time", "parts": ["hour", "month"], "as": ["number", "category"]},
    "t": {"type": "text"},
    "y": {"type": "numeric"},
}
ARMS: dict[str, Any] = {
    "all": {"model": "linear.logistic"},
    "some": {"model": "linear.logistic", "fields": ["x", "at.hour"]},
    "fewer": {"model": "tree.hoeffding", "without": ["c", "at.month", "t"], "params": {"grace_period": 50}},
}


def _spec(arms: dict[str, Any] = ARMS, task: str = "binary", **more: Any) -> Spec:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": FIELDS}
    raw = {"name": "p", "task": task, "event": event, "arms": arms, "metrics": {"window_rows": 100}}
    return Spec.model_validate(raw | more)


def _rows(n: int, seed: int = 3) -> Training:
    rng = np.random.default_rng(seed)
    layout = layout_of(_spec())
    numeric = rng.normal(size=(n, len(layout.numeric)))
    categories = rng.integers(0, 9, (n, len(layout.categories))).astype(np.uint64)
    lengths = rng.integers(0, 3, n)
    numbers = np.arange(n)
    block = Block(
        "h", [f"e{i}" for i in numbers], numbers, np.zeros(n, np.int32), numbers, numeric, categories,
        rng.integers(1, 20, int(lengths.sum())).astype(np.uint64), np.cumsum(lengths),
    )  # fmt: skip
    label = (numeric[:, 0] + rng.normal(size=n) > 0).astype(np.float64)
    return Training(block, label, numbers, numbers * 10, numbers)


def _piece(rows: Training, start: int, stop: int) -> Training:
    cut = slice(start, stop)
    labels = (rows.label_offset[cut], rows.label_time_ms[cut], rows.label_published_ms[cut])
    return Training(take(rows.block, range(start, min(stop, len(rows)))), rows.label[cut], *labels)


@pytest.mark.parametrize(
    ("arm", "numeric", "categories", "tokens"),
    [
        ({}, ("x", "at.hour", "at.month", "y"), ("c", "at.hour", "at.month"), ("t",)),
        ({"fields": ["x"]}, ("x",), (), ()),
        ({"fields": ["at"]}, ("at.hour", "at.month"), ("at.hour", "at.month"), ()),
        ({"fields": ["at.hour", "c"]}, ("at.hour",), ("c", "at.hour"), ()),
        ({"without": ["at.hour"]}, ("x", "at.month", "y"), ("c", "at.month"), ("t",)),
        ({"without": ["t", "at", "c"]}, ("x", "y"), (), ()),
        ({"fields": ["at", "t"], "without": ["at.month"]}, ("at.hour",), ("at.hour",), ("t",)),
    ],
)
def test_fields_and_without_name_what_an_arm_sees(arm: Any, numeric: Any, categories: Any, tokens: Any) -> None:
    spec = _spec({"a": {"model": "linear.logistic", **arm}})
    view = view_of(spec, "a")
    assert view.layout == Layout(numeric, categories, tokens)
    rows, layout = _rows(20), layout_of(spec)
    seen = view.of(rows.block)
    for i, name in enumerate(numeric):
        assert seen.numeric[:, i].tolist() == rows.block.numeric[:, layout.numeric.index(name)].tolist()
    for i, name in enumerate(categories):
        assert seen.categories[:, i].tolist() == rows.block.categories[:, layout.categories.index(name)].tolist()
    assert seen.numeric.flags.c_contiguous
    assert seen.categories.flags.c_contiguous
    assert seen.tokens.size == (rows.block.tokens.size if tokens else 0)
    assert seen.token_ends[-1] == seen.tokens.size
    assert seen.ids == rows.block.ids


def test_an_arm_that_sees_all_is_given_the_block_itself() -> None:
    rows = _rows(5)
    assert view_of(_spec(), "all").of(rows.block) is rows.block


def test_what_an_arm_does_not_see_can_not_change_it() -> None:
    rows = _rows(400)
    hidden = rows.block.numeric.copy()
    hidden[:, [2, 3]] += 5.0  # at.month and y: not of arm `some`
    b = rows.block
    other = Block(b.spec_hash, b.ids, b.time_ms, b.partition, b.offset, hidden, b.categories * np.uint64(1), b.tokens, b.token_ends)  # fmt: skip # noqa: E501
    one, two = Arms(_spec()), Arms(_spec())
    one.learn(rows)
    two.learn(Training(other, rows.label, rows.label_offset, rows.label_time_ms, rows.label_published_ms))
    assert one.states()["some"].digest() == two.states()["some"].digest()
    assert one.states()["all"].digest() != two.states()["all"].digest()


def test_state_and_windows_do_not_depend_on_how_the_log_was_cut() -> None:
    rows = _rows(1234)
    whole, parts = Arms(_spec()), Arms(_spec())
    windows = whole.learn(rows)
    found = []
    for start in range(0, 1234, 77):
        found += parts.learn(_piece(rows, start, start + 77))
    key = lambda w: (w[0], w[1].number)  # noqa: E731
    assert sorted(found, key=key) == sorted(windows, key=key)
    assert len(windows) == 12 * len(ARMS)
    assert digest(whole.states()) == digest(parts.states())
    assert parts.rows == 1234


def test_restored_arms_go_on_bit_for_bit() -> None:
    rows = _rows(1000)
    quiet = Arms(_spec())
    quiet.learn(rows)
    first, second = Arms(_spec()), Arms(_spec())
    first.learn(_piece(rows, 0, 450))
    states = first.states()
    before = digest(states)
    second.restore(states)
    assert digest(second.states()) == before
    second.learn(_piece(rows, 450, 1000))
    assert digest(second.states()) == digest(quiet.states())
    assert digest(states) == before
    assert second.rows == 1000
    for arm in ARMS:
        assert second.metrics[arm].totals() == quiet.metrics[arm].totals()
        assert second.score(arm, rows.block).tobytes() == quiet.score(arm, rows.block).tobytes()


def test_scoring_learns_nothing_and_changes_nothing() -> None:
    arms, rows = Arms(_spec()), _rows(300)
    arms.learn(rows)
    before = digest(arms.states())
    for arm in ARMS:
        assert len(arms.score(arm, rows.block)) == 300
    assert digest(arms.states()) == before


def test_an_arm_learns_the_same_whoever_learns_beside_it() -> None:
    rows = _rows(600)
    together = Arms(_spec())
    together.learn(rows)
    for arm, given in ARMS.items():
        alone = Arms(_spec({arm: given}))
        alone.learn(rows)
        assert alone.states()[arm].digest() == together.states()[arm].digest()


def test_a_number_that_is_not_finite_is_noticed() -> None:
    arms, rows = Arms(_spec()), _rows(300)
    arms.learn(rows)
    assert arms.finite()
    before = digest(arms.states())
    rows.block.numeric[7, 0] = np.inf
    with pytest.raises(ValueError, match=r"row 7, \w+: found an infinite number"):
        arms.learn(rows)
    assert arms.finite()
    assert digest(arms.states()) == before
    states = arms.states()
    next(a for s in states.values() for n, a in s.arrays.items() if n == "model.weights")[0] = np.inf
    arms.restore(states)
    assert not arms.finite()


def test_weights_in_the_experiment_change_no_model() -> None:
    heavy = {name: {**arm, "weight": 7} for name, arm in ARMS.items()}
    one, two = Arms(_spec()), Arms(_spec(heavy))
    rows = _rows(200)
    one.learn(rows)
    two.learn(rows)
    assert digest(one.states()) == digest(two.states())


def test_warming_leaves_nothing_behind() -> None:
    spec, rows = _spec(), _rows(200)
    cold = Arms(spec)
    cold.learn(rows)
    warm(spec)
    warmed = Arms(spec)
    warmed.learn(rows)
    assert digest(cold.states()) == digest(warmed.states())


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_of_the_list_can_be_built_for_each_of_its_tasks_and_refuses_others(name: str) -> None:
    tasks, _, _ = MODELS[name]
    for task in ("binary", "regression", "classes"):
        spec = _spec({"a": {"model": name}}, task, classes=["k", "l", "m"] if task == "classes" else [])
        problems = model_problems(spec, "a")
        if task in tasks:
            assert problems == []
            assert build(spec, "a", layout_of(spec)).finite()
        else:
            assert problems == [f"arms.a.model: {name} is for {' or '.join(tasks)}; the task is {task}"]


@pytest.mark.parametrize("name", list(MODELS))
def test_every_parameter_is_checked_and_unknown_ones_are_refused(name: str) -> None:
    spec = _spec({"a": {"model": name, "params": {"nonsense": 1}}}, MODELS[name][0][0])
    assert model_problems(spec, "a") == ["arms.a.params.nonsense: found 1; Extra inputs are not permitted"]
    for parameter, field in MODELS[name][1].model_fields.items():
        assert field.default is not None or parameter in ("max_depth", "n_jobs", "max_nodes", "max_observer_bytes")
        broken = _spec({"a": {"model": name, "params": {parameter: "nonsense"}}}, MODELS[name][0][0])
        problems = model_problems(broken, "a")  # one a kind of value that is allowed
        assert problems
        for problem in problems:
            assert problem.startswith(f"arms.a.params.{parameter}")
            assert ": found 'nonsense'; " in problem


def test_concatenated_blocks_are_one_stream() -> None:
    one, two = _rows(150, seed=1), _rows(250, seed=2)
    whole, parts = Arms(_spec()), Arms(_spec())
    label = np.concatenate([one.label, two.label])
    times = np.concatenate([one.label_time_ms, two.label_time_ms])
    whole.learn(Training(concat([one.block, two.block]), label, times, times, times))
    parts.learn(one)
    parts.learn(two)
    assert digest(whole.states()) == digest(parts.states())
