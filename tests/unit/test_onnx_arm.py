"""An ONNX arm: what goes in, what comes out, what is refused with which words, and that it never learns."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper, save

from stream.block import Block, Layout, take
from stream.encode.ids import Ids
from stream.errors import DataError, SnapshotError
from stream.learn.arms import Arms
from stream.learn.models import build, model_problems
from stream.learn.onnx_feeds import UNKNOWN
from stream.learn.onnx_model import OnnxParams, opened
from stream.registry.snapshot import pack, unpack
from stream.spec import Spec

FLOAT, DOUBLE, INT64, STRING, UINT64 = (
    TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64, TensorProto.STRING, TensorProto.UINT64,
)  # fmt: skip
FIELDS: dict[str, Any] = {
    "y": {"type": "numeric", "required": True},
    "c": {"type": "category"},
    "d": {"type": "category"},
}
LAYOUT = Layout(("x", "y"), ("c", "d"), ())
N = 50


def _write(path: Path, nodes: list[Any], inputs: list[Any], output: tuple[int, list[Any]], *tensors: Any) -> Path:
    """A model of these nodes; what comes out is called `out`."""
    shown = [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs]
    graph = helper.make_graph(
        nodes, "g", shown, [helper.make_tensor_value_info("out", *output)],
        [numpy_helper.from_array(np.asarray(a), name) for name, a in tensors],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    save(helper.make_model(graph, opset_imports=opsets, ir_version=10), str(path))
    return path


def _logistic(folder: Path, weights: Any = ((2.0,), (-1.0,)), name: str = "m.onnx") -> Path:
    """sigmoid(numeric @ weights), in float32."""
    nodes = [helper.make_node("MatMul", ["numeric", "w"], ["z"]), helper.make_node("Sigmoid", ["z"], ["out"])]
    w = np.array(weights, np.float32)
    return _write(folder / name, nodes, [("numeric", FLOAT, ["n", 2])], (FLOAT, ["n", w.shape[1]]), ("w", w))


def _plus(folder: Path, kind: int = DOUBLE, shape: Any = ("n",)) -> Path:
    """x + y, each an input of its own."""
    nodes = [helper.make_node("Add", ["x", "y"], ["out"])]
    return _write(folder / "m.onnx", nodes, [(n, kind, list(shape)) for n in "xy"], (kind, list(shape)))


def _by_name(folder: Path, column: str = "c", names: Any = ("lo", "hi"), scores: Any = (0.1, 0.9)) -> Path:
    """A number for each name of a category, 0.5 for any other, 0.25 for none."""
    node = helper.make_node(
        "LabelEncoder", [column], ["out"], domain="ai.onnx.ml", default_float=0.5,
        keys_strings=[*names, ""], values_floats=[*scores, 0.25],
    )  # fmt: skip
    return _write(folder / "m.onnx", [node], [(column, STRING, ["n"])], (FLOAT, ["n"]))


def _spec(folder: Path, task: str = "binary", gaps: bool = False, **params: Any) -> Spec:
    """One arm, a; with `gaps` events may lack x."""
    fields = {"x": {"type": "numeric", "required": not gaps}, **FIELDS}
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": fields}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event, "folder": folder}
    raw |= {"classes": ["k", "l", "m"]} if task == "classes" else {}
    return Spec.model_validate({**raw, "arms": {"a": {"model": "onnx:m.onnx", "params": params}}})


def _arm(folder: Path, task: str = "binary", **params: Any) -> Any:
    return build(_spec(folder, task, **params), "a", LAYOUT)


def _problems(folder: Path, task: str = "binary", **params: Any) -> list[str]:
    return model_problems(_spec(folder, task, **params), "a")


def _block(n: int = N, seed: int = 3) -> Block:
    rng = np.random.default_rng(seed)
    names = np.array([None, "lo", "hi", "new"], object)
    ids = np.column_stack([Ids(f).column(names[rng.integers(0, 4, n)]) for f in "cd"])
    zeros = np.zeros(n, np.int64)
    numeric = rng.normal(size=(n, 2))
    return Block("h", [""] * n, zeros, zeros.astype(np.int32), zeros, numeric, ids, np.zeros(0, np.uint64), zeros)


def test_a_matrix_of_numbers_goes_in_and_the_probability_of_true_comes_out(tmp_path: Path) -> None:
    _logistic(tmp_path)
    assert _problems(tmp_path) == []
    block = _block()
    scores = _arm(tmp_path).score(block)
    expected = 1 / (1 + np.exp(-(2 * block.numeric[:, 0] - block.numeric[:, 1])))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_of_two_columns_the_second_is_the_probability_of_true(tmp_path: Path) -> None:
    _logistic(tmp_path, [[0.0, 2.0], [0.0, -1.0]])
    block = _block()
    expected = 1 / (1 + np.exp(-(2 * block.numeric[:, 0] - block.numeric[:, 1])))
    np.testing.assert_allclose(_arm(tmp_path).score(block), expected, atol=1e-6)


def test_classes_come_out_as_shares_of_one(tmp_path: Path) -> None:
    _logistic(tmp_path, [[1.0, 0.0, 2.0], [0.5, 1.0, -2.0]])
    block = _block()
    scores = _arm(tmp_path, "classes").score(block)
    raw = 1 / (1 + np.exp(-block.numeric @ [[1.0, 0.0, 2.0], [0.5, 1.0, -2.0]]))
    np.testing.assert_allclose(scores, raw / raw.sum(axis=1, keepdims=True), atol=1e-6)
    np.testing.assert_allclose(scores.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("shape", [["n"], ["n", 1]])
def test_inputs_are_columns_by_name_and_a_value_comes_out(tmp_path: Path, shape: list[Any]) -> None:
    _plus(tmp_path, shape=shape)
    block = _block()
    assert _arm(tmp_path, "regression").score(block).tolist() == (block.numeric[:, 0] + block.numeric[:, 1]).tolist()


def test_inputs_of_other_names_are_told_their_columns(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sub", ["one", "two"], ["out"])]
    _write(tmp_path / "m.onnx", nodes, [(n, DOUBLE, ["n"]) for n in ("one", "two")], (DOUBLE, ["n"]))
    (first, second) = _problems(tmp_path, "regression")
    assert first.startswith(
        "arms.a.model: input 'one' (tensor(double)): no such column; `params.inputs: {one: COLUMN}`"
    )
    assert "numeric, x, y, categories, c, d" in second
    block = _block()
    scores = _arm(tmp_path, "regression", inputs={"one": "y", "two": "x"}).score(block)
    assert scores.tolist() == (block.numeric[:, 1] - block.numeric[:, 0]).tolist()
    (problem,) = _problems(tmp_path, "regression", inputs={"one": "y", "two": "x", "three": "x"})
    assert problem == "arms.a.params.inputs: found 'three'; the model's inputs are one, two"


@pytest.mark.parametrize("kind", [UINT64, INT64])
def test_ids_of_categories_go_in_with_all_their_bits(tmp_path: Path, kind: int) -> None:
    block = _block()
    known = Ids("c").of("hi")
    value = np.array([known], np.uint64).view(np.int64 if kind == INT64 else np.uint64)
    nodes = [helper.make_node("Equal", ["c", "known"], ["same"]), helper.make_node("Cast", ["same"], ["out"], to=FLOAT)]
    _write(tmp_path / "m.onnx", nodes, [("c", kind, ["n"])], (FLOAT, ["n"]), ("known", value))
    assert _arm(tmp_path).score(block).tolist() == (block.categories[:, 0] == known).astype(float).tolist()


def test_categories_go_in_by_name_if_the_model_knows_the_name(tmp_path: Path) -> None:
    _by_name(tmp_path)
    block = _block()
    ids = Ids("c")
    of = {0: 0.25, ids.of("lo"): 0.1, ids.of("hi"): 0.9, ids.of("new"): 0.5}
    expected = [of[i] for i in block.categories[:, 0].tolist()]
    np.testing.assert_allclose(_arm(tmp_path).score(block), expected, atol=1e-7)


def test_a_model_that_knows_the_word_for_unknown_is_given_it(tmp_path: Path) -> None:
    _by_name(tmp_path, names=("lo", UNKNOWN), scores=(0.1, 0.75))
    ids = Ids("c")
    of = {0: 0.25, ids.of("lo"): 0.1, ids.of("hi"): 0.75, ids.of("new"): 0.75}
    block = _block()
    np.testing.assert_allclose(_arm(tmp_path).score(block), [of[i] for i in block.categories[:, 0].tolist()], atol=1e-7)


def test_a_model_that_looks_inside_of_a_string_is_refused(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["c"], ["s"]),
        helper.make_node("RegexFullMatch", ["s"], ["m"], pattern="h."),
        helper.make_node("Cast", ["m"], ["out"], to=FLOAT),
    ]
    _write(tmp_path / "m.onnx", nodes, [("c", STRING, ["n"])], (FLOAT, ["n"]))
    (problem,) = _problems(tmp_path)
    assert "its operator RegexFullMatch is given the string 's'; strings may be compared only" in problem


def test_without_the_package_onnx_strings_are_refused_with_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _by_name(tmp_path, column="d")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    (problem,) = _problems(tmp_path)
    assert problem.endswith("it takes strings, which needs the package onnx; `pip install headwater[onnx]` brings it")


def test_an_absent_number_goes_in_as_nan_or_as_the_spec_says(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("IsNaN", ["x"], ["gap"]),
        helper.make_node("Where", ["gap", "seven", "x"], ["out"]),
    ]
    _write(tmp_path / "m.onnx", nodes, [("x", DOUBLE, ["n"])], (DOUBLE, ["n"]), ("seven", np.array(7.0)))
    block = _block()
    block.numeric[0, 0] = np.nan
    assert _arm(tmp_path, "regression", gaps=True).score(block)[0] == 7.0
    assert _arm(tmp_path, "regression", missing=3.0).score(block)[0] == 3.0
    assert np.isnan(block.numeric[0, 0])


def test_a_model_that_answers_nan_for_what_may_be_absent_is_refused_at_check(tmp_path: Path) -> None:
    _plus(tmp_path)
    (problem,) = _problems(tmp_path, "regression", gaps=True)
    assert "it gives nan where x is absent; `params.missing: 0`" in problem, "y is required, so it is not absent"
    assert _problems(tmp_path, "regression", gaps=True, missing=0) == []


def test_whole_numbers_need_a_stand_in_for_what_is_absent(tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["out"], to=FLOAT)]
    _write(tmp_path / "m.onnx", nodes, [("x", INT64, ["n"])], (FLOAT, ["n"]))
    (problem,) = _problems(tmp_path, "regression")
    assert "whole numbers have none for 'absent'; `params.missing` says what stands for it" in problem
    block = _block()
    block.numeric[:2, 0] = [np.nan, 4.9]
    assert _arm(tmp_path, "regression", missing=-1).score(block)[:2].tolist() == [-1.0, 4.0]


def test_raw_outputs_are_refused_until_the_spec_says_what_makes_probabilities_of_them(tmp_path: Path) -> None:
    nodes = [helper.make_node("MatMul", ["numeric", "w"], ["out"])]
    w = np.array([[2.0], [-1.0]])
    _write(tmp_path / "m.onnx", nodes, [("numeric", DOUBLE, ["n", 2])], (DOUBLE, ["n", 1]), ("w", w))
    (problem,) = _problems(tmp_path)
    assert "it answers -1 to 100; probabilities are wanted; `params.apply: sigmoid`" in problem
    block = _block()
    raw = (block.numeric @ w)[:, 0]
    scores = _arm(tmp_path, apply="sigmoid").score(block)
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-raw)), atol=1e-12)


def test_of_several_outputs_the_spec_names_one(tmp_path: Path) -> None:
    path = _logistic(tmp_path)
    import onnx

    model = onnx.load(path)
    model.graph.output.append(helper.make_tensor_value_info("z", FLOAT, ["n", 1]))
    onnx.save(model, str(path))
    (problem,) = _problems(tmp_path)
    assert "2 of its outputs are floats; the outputs are out (tensor(float)), z (tensor(float))" in problem
    (problem,) = _problems(tmp_path, output="there")
    assert problem.startswith("arms.a.params.output: found 'there'; the outputs are out")
    assert _problems(tmp_path, output="out") == []


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ([1, 2], "its shape is [1, 2]; the first dimension has to be free"),
        (["n", 3], "its shape is ['n', 3]; the arm's columns are [n, 2], for x, y"),
    ],
)
def test_a_wrong_shape_is_refused_with_the_one_that_is_wanted(tmp_path: Path, shape: list[Any], words: str) -> None:
    nodes = [helper.make_node("ReduceMean", ["numeric", "one"], ["out"], keepdims=1)]
    _write(tmp_path / "m.onnx", nodes, [("numeric", FLOAT, shape)], (FLOAT, ["n", 1]), ("one", np.array([1])))
    (problem,) = _problems(tmp_path, "regression")
    assert words in problem


def test_an_output_of_another_width_is_refused(tmp_path: Path) -> None:
    _logistic(tmp_path, [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, 3.0]])
    (problem,) = _problems(tmp_path, "classes")
    assert problem == "arms.a.model: its output 'out' is [1, 4] for one row; [n, 3] is wanted"
    (problem,) = _problems(tmp_path, "regression")
    assert "[n] or [n, 1] is wanted" in problem


@pytest.mark.parametrize("body", [None, b"", b"no model"])
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, body: bytes | None) -> None:
    if body is not None:
        (tmp_path / "m.onnx").write_bytes(body)
    (problem,) = _problems(tmp_path)
    assert problem.startswith(f"arms.a.model: {tmp_path / 'm.onnx'}")
    with pytest.raises(DataError, match=r"m\.onnx"):
        _arm(tmp_path)


def test_a_parameter_that_is_none_is_refused(tmp_path: Path) -> None:
    _logistic(tmp_path)
    (problem,) = _problems(tmp_path, thread=2)
    assert problem.startswith("arms.a.params.thread: found 2")


def test_learning_is_scoring_and_changes_nothing(tmp_path: Path) -> None:
    _logistic(tmp_path)
    arm, block = _arm(tmp_path), _block()
    before = arm.state().digest()
    np.testing.assert_allclose(arm.score_learn(block, np.ones(N)), arm.score(block), atol=1e-6)
    assert arm.state().digest() == before
    assert arm.finite()


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(1, 40), min_size=1, max_size=6), seed=st.integers(0, 100))
def test_how_rows_are_cut_changes_no_bit_of_what_the_log_is_scored(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int], seed: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    nodes = [  # the answer to a row depends on those that are asked with it
        helper.make_node("ReduceMean", ["x", "first"], ["mean"], keepdims=1),
        helper.make_node("Mul", ["mean", "share"], ["shift"]),
        helper.make_node("Sub", ["x", "shift"], ["z"]),
        helper.make_node("Sigmoid", ["z"], ["out"]),
    ]
    constants = ("first", np.array([0])), ("share", np.array(0.1))
    _write(folder / "m.onnx", nodes, [("x", DOUBLE, ["n"])], (DOUBLE, ["n"]), *constants)
    arm, block, label = _arm(folder), _block(80, seed), np.zeros(80)
    whole, parts, at, turn = arm.score_learn(block, label), [], 0, 0
    while at < 80:
        rows = range(at, min(80, at + cuts[turn % len(cuts)]))
        parts += arm.score_learn(take(block, rows), label[at : rows.stop]).tolist()
        at, turn = rows.stop, turn + 1
    assert parts == whole.tolist()


def test_no_rows_are_no_scores(tmp_path: Path) -> None:
    _logistic(tmp_path)
    arm, nothing = _arm(tmp_path), _block(0)
    assert arm.score(nothing).shape == (0,)
    assert arm.score_learn(nothing, np.zeros(0)).shape == (0,)


def test_a_row_that_the_model_fails_on_says_nothing_and_spoils_no_other(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=INT64),
        helper.make_node("Gather", ["table", "i"], ["out"]),
    ]
    table = np.array([0.2, 0.4, np.nan], np.float32)
    _write(tmp_path / "m.onnx", nodes, [("x", DOUBLE, ["n"])], (FLOAT, ["n"]), ("table", table))
    block = _block(4)
    block.numeric[:, 0] = [1, 900, 0, 2]
    arm = _arm(tmp_path, missing=0)
    for scores in (arm.score(block), arm.score_learn(block, np.zeros(4))):
        np.testing.assert_allclose(scores, [0.4, 0.5, 0.2, 0.5], atol=1e-7)


def test_the_state_names_the_file_and_a_changed_file_is_refused(tmp_path: Path) -> None:
    _logistic(tmp_path)
    arms = Arms(_spec(tmp_path))
    states = {name: unpack(pack(state)) for name, state in arms.states().items()}
    assert states["a"].meta["model"]["file"] == "m.onnx"
    Arms(_spec(tmp_path)).restore(states)
    old = (tmp_path / "m.onnx").read_bytes()
    _logistic(tmp_path, [[3.0], [1.0]], name="new.onnx").replace(tmp_path / "m.onnx")
    with pytest.raises(SnapshotError, match=r"m\.onnx: its sha256 is .*; the snapshot was made with m\.onnx, sha256"):
        Arms(_spec(tmp_path)).restore(states)
    (tmp_path / "old.onnx").write_bytes(old)
    (tmp_path / "old.onnx").replace(tmp_path / "m.onnx")
    Arms(_spec(tmp_path)).restore(states)


def test_the_file_is_opened_once_however_often_the_arm_is_made(tmp_path: Path) -> None:
    _logistic(tmp_path)
    params = OnnxParams(name="m.onnx")
    given = (tmp_path / "m.onnx", LAYOUT, "binary", 2, (), params)
    assert opened(*given) is opened(*given)
    _logistic(tmp_path, [[3.0], [1.0]], name="new.onnx").replace(tmp_path / "m.onnx")
    assert opened(*given).sha256 != ""
    block = _block()
    expected = 1 / (1 + np.exp(-(3 * block.numeric[:, 0] + block.numeric[:, 1])))
    np.testing.assert_allclose(opened(*given).score(block), expected, atol=1e-6)
