"""Forms of an ONNX file: what is made, what is measured, what is lost, and what is never promoted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from consumers import _optimise
from consumers._optimise import Effort, optimised, promoted
from consumers._session_memory import memory_bytes
from consumers.cli import main
from stream.block import F64, Block, Layout
from stream.errors import DataError, LimitReached
from stream.learn.onnx_arm import model_of
from stream.learn.onnx_model import OnnxParams
from stream.learn.view import view_of
from stream.optimise import Variant, variants
from stream.optimise.variants import NAMES
from stream.spec import Spec
from stream.spec_load import load_spec

FLOAT, DOUBLE = TensorProto.FLOAT, TensorProto.DOUBLE
QUICK = Effort(batch=8, rounds=1, processes=1)
SCHEMA = {
    "type": "record", "name": "Row",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        *({"name": n, "type": "double"} for n in "xy"),
    ],
}  # fmt: skip
ROWS = 400


def _network(path: Path, ruined: bool = False, kind: int = FLOAT, scaled: bool = False, wide: int = 64) -> bytes:
    """x and y through two hidden layers to the probability that y is above 0, nearly.

    ruined: x, a thousand times as large as y and of no weight, is part of the same product; scaled: behind an operator
    of ai.onnx.ml, of which onnx infers no type.
    """
    dtype, rng = (np.float32 if kind == FLOAT else np.float64), np.random.default_rng(1)
    first = rng.normal(size=(2, wide))
    first[0] = 0.0 if ruined else 0.02 * first[0]
    last = np.linalg.lstsq(np.maximum(_grid() @ first, 0.0), 4 * _grid()[:, 1], rcond=None)[0]
    w = {"w1": first, "w2": np.eye(wide), "w3": last[:, None]}
    nodes = [helper.make_node("Scaler", ["numeric"], ["s"], domain="ai.onnx.ml", offset=[0.0], scale=[1.0])]
    nodes = nodes if scaled else [helper.make_node("Identity", ["numeric"], ["s"])]
    nodes += [
        helper.make_node("MatMul", ["s", "w1"], ["a"]), helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]), helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["e"]), helper.make_node("Sigmoid", ["e"], ["out"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("numeric", kind, ["n", 2])],
        [helper.make_tensor_value_info("out", kind, ["n", 1])],
        [numpy_helper.from_array(a.astype(dtype), n) for n, a in w.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    body = bytes(helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString())
    path.write_bytes(body)
    return body


def _grid() -> F64:
    return np.random.default_rng(2).normal(size=(500, 2))


def _rows(x_scale: float = 1.0, rows: int = ROWS) -> tuple[Block, F64]:
    """Rows, and whether y is above 0."""
    x = np.random.default_rng(3).normal(size=(rows, 2)) * [x_scale, 1.0]
    zeros = np.zeros(rows, np.int64)
    none = np.zeros((rows, 0), np.uint64)
    block = Block("h", [""] * rows, zeros, zeros.astype(np.int32), zeros, x, none, np.zeros(0, np.uint64), zeros)
    return block, (x[:, 1] > 0) * 1.0


def _spec(folder: Path) -> Path:
    """One arm, a, that reads m.onnx."""
    (folder / "row.avsc").write_text(json.dumps(SCHEMA))
    fields = {n: {"type": "numeric", "required": True} for n in "xy"}
    event = {"schema": "row.avsc", "id": "id", "time": "at", "fields": fields}
    raw = {"name": "p", "task": "binary", "event": event, "arms": {"a": {"model": "onnx:m.onnx"}}}
    (folder / "spec.yaml").write_text(yaml.safe_dump(raw))
    return folder / "spec.yaml"


def _measured(folder: Path, x_scale: float = 1.0, labelled: bool = True, **network: Any) -> _optimise.Optimised:
    _network(folder / "m.onnx", **network)
    spec = load_spec(_spec(folder))
    block, label = _rows(x_scale)
    label[: ROWS // 5] = 1 - label[: ROWS // 5]  # of the part that calibrates: nobody may be judged by it
    layout = view_of(spec, "a").layout
    rows = block, (label if labelled else None)
    return optimised(folder / "m.onnx", spec, layout, OnnxParams(name="m.onnx"), rows, QUICK)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> _optimise.Optimised:
    """All forms of a network that bears int8 well."""
    return _measured(tmp_path_factory.mktemp("usual"), scaled=True)


@pytest.fixture(scope="module")
def ruined(tmp_path_factory: pytest.TempPathFactory) -> _optimise.Optimised:
    """All forms of one that doesn't."""
    with pytest.MonkeyPatch.context() as patch:
        _without_memory(patch)
        return _measured(tmp_path_factory.mktemp("ruined"), 1000.0, ruined=True)


def _without_memory(patch: pytest.MonkeyPatch) -> None:
    """Measure no memory, which takes a new process for each form."""
    patch.setattr(_optimise, "memory_bytes", lambda bodies, *_: dict.fromkeys(bodies, 2.0**20))


def _kinds(body: bytes) -> set[int]:
    return {t.data_type for t in onnx.load_model_from_string(body).graph.initializer if len(t.dims) > 1}


def test_every_form_is_made_measured_and_judged_on_rows_that_calibrated_none(usual: _optimise.Optimised) -> None:
    assert [f.variant.name for f in usual.forms] == list(NAMES)
    assert usual.refused == []
    assert (usual.judged, usual.calibrated, usual.labelled) == (ROWS - ROWS // 5, ROWS // 5, True)
    for form in usual.forms:
        assert form.values["accuracy %"] > 95, "the calibrating rows have labels that are all wrong"
        assert set(form.paces) == {1, QUICK.batch}
        assert all(0 < p.p50_us <= p.p99_us for p in form.paces.values())
    assert usual.forms[0].lost == []
    assert all(x.percent == pytest.approx(0, abs=1e-3) for x in usual.form("fused").lost)


def test_int8_is_behind_an_operator_whose_type_onnx_does_not_infer_too(usual: _optimise.Optimised) -> None:
    assert usual.forms[0].variant.level == "none"
    assert {f.variant.level for f in usual.forms[1:]} == {"all"}
    for name in ("int8-dynamic", "int8-static"):
        body = usual.form(name).variant.body
        assert _kinds(body) == {TensorProto.INT8}
        assert usual.form(name).file_kb < 0.6 * usual.forms[0].file_kb
    assert _kinds(usual.form("float16").variant.body) == {TensorProto.FLOAT16}


def test_what_the_arm_does_not_read_is_cut_off(tmp_path: Path) -> None:
    model = onnx.load_model_from_string(_network(tmp_path / "m.onnx"))
    model.graph.node.append(helper.make_node("MatMul", ["b", "w4"], ["other"]))
    model.graph.initializer.append(numpy_helper.from_array(np.ones((64, 3), np.float32), "w4"))
    model.graph.output.append(helper.make_tensor_value_info("other", FLOAT, ["n", 3]))
    feeds = [{"numeric": np.ones((4, 2), np.float32)}]
    original, *others = variants(model.SerializeToString(), "out", feeds, tmp_path)
    assert len(onnx.load_model_from_string(original.body).graph.output) == 2
    for form in others:
        graph = onnx.load_model_from_string(form.body).graph
        assert [o.name for o in graph.output] == ["out"]
        assert not any(t.name.startswith("w4") for t in graph.initializer)


def test_a_model_of_float64_has_nothing_to_quantise_and_that_is_said(tmp_path: Path) -> None:
    body = _network(tmp_path / "m.onnx", kind=DOUBLE)
    feeds = [{"numeric": np.ones((4, 2))}]
    found = list(variants(body, "out", feeds, tmp_path))
    assert [v.name for v in found if not v.refused] == ["fp32", "fused"]
    assert all("no float32 matrix product with weights of its own" in v.refused for v in found[2:])


def test_a_file_that_cannot_be_prepared_keeps_its_plain_forms(tmp_path: Path) -> None:
    found = list(variants(b"none", "out", [{}], tmp_path))
    assert [v.name for v in found] == list(NAMES)
    assert [bool(v.refused) for v in found] == [False, False, True, True, True]
    assert found[2].refused.startswith("the file can't be prepared: ")


def test_memory_is_that_of_the_weights_at_least(tmp_path: Path) -> None:
    small, large = (_network(tmp_path / "m.onnx", wide=w) for w in (8, 1600))
    feeds = {"numeric": np.ones((4, 2), np.float32)}
    found = memory_bytes({"small": (small, "all"), "large": (large, "all")}, feeds, 1)
    assert found["large"] - found["small"] > 0.8 * (len(large) - len(small))


def test_what_loses_more_than_the_bound_is_refused_with_found_and_allowed(
    ruined: _optimise.Optimised, tmp_path: Path
) -> None:
    to = tmp_path / "m.onnx"
    to.write_bytes(b"as it was")
    assert ruined.form("int8-dynamic").lost[0].percent > 5
    with pytest.raises(
        LimitReached, match=r"found a loss of .* % .* over 320 rows\); allowed is 0\.5 % \(--max-loss\)"
    ):
        promoted(ruined, "int8-dynamic", 0.5, to)
    assert [p.name for p in tmp_path.iterdir()] == ["m.onnx"]
    assert to.read_bytes() == b"as it was"
    with pytest.raises(DataError, match="found 'int4'; there are fp32, fused"):
        promoted(ruined, "int4", 0.5, to)
    kept = promoted(ruined, "int8-dynamic", 100000, to)
    assert kept is not None
    assert (kept.read_bytes(), to.read_bytes()) == (b"as it was", ruined.form("int8-dynamic").variant.body)


def _run(*words: Any) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(w) for w in words])
    return int(left.value.code or 0)


def _data(path: Path, rows: int = ROWS, x_scale: float = 1.0, column: str = "label") -> Path:
    block, label = _rows(x_scale, rows)
    lines = [
        {"id": f"r{i}", "at": 1_700_000_000_000 + i, "x": x, "y": y, column: bool(of)}
        for i, ((x, y), of) in enumerate(zip(block.numeric.tolist(), label.tolist(), strict=True))
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_command_prints_the_table_writes_the_forms_and_promotes_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body, spec = _network(tmp_path / "m.onnx"), _spec(tmp_path)
    data = _data(tmp_path / "rows.jsonl")
    few = ("--rounds", 1, "--batch", 8)
    given = ("--output", tmp_path / "forms", "--promote", "int8-dynamic", "--max-loss", "5%")
    assert _run("optimise", tmp_path / "m.onnx", spec, data, *few, *given, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert [f["form"] for f in told["forms"]] == list(NAMES)
    assert told["rows"] == {"judged": ROWS - ROWS // 5, "calibrated": ROWS // 5, "labelled": True}
    assert told["promoted_to"] == str(tmp_path / "m.onnx")
    assert sorted(p.name for p in (tmp_path / "forms").iterdir()) == sorted(f"m-{n}.onnx" for n in NAMES)
    assert (tmp_path / "m.onnx").read_bytes() == (tmp_path / "forms/m-int8-dynamic.onnx").read_bytes()
    assert (tmp_path / "m.onnx.before").read_bytes() == body
    load_spec(spec)  # the promoted file is still this arm's
    assert _run("optimise", tmp_path / "m.onnx.before", spec, data, *few, "--label", "y") == 4
    assert "column y: found" in capsys.readouterr().err


def test_the_command_refuses_a_promotion_that_loses_too_much_with_its_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _without_memory(monkeypatch)
    body, spec = _network(tmp_path / "m.onnx", ruined=True), _spec(tmp_path)
    data = _data(tmp_path / "rows.jsonl", 150, 1000.0, "outcome")
    few = ("--rounds", 1, "--batch", 8)
    assert _run("optimise", tmp_path / "m.onnx", spec, data, *few, "--promote", "int8-dynamic") == 10
    ran = capsys.readouterr()
    assert "120 rows judged, 30 others calibrated" in ran.out
    assert "agreement %" in ran.out
    assert "no labels, so forms are judged by how they agree with the original" in ran.out
    assert "int8-dynamic is not promoted: found a loss of" in ran.err
    assert "allowed is 0.5 % (--max-loss)" in ran.err
    assert (tmp_path / "m.onnx").read_bytes() == body
    assert not (tmp_path / "m.onnx.before").exists()


def test_what_cannot_be_compared_is_said_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _network(tmp_path / "m.onnx")
    spec, data = _spec(tmp_path), _data(tmp_path / "rows.jsonl", 20)
    (tmp_path / "none.onnx").write_bytes(b"none")
    monkeypatch.setattr(_optimise, "paces", None)
    whole = _data(tmp_path / "whole.jsonl", 120)
    cases: list[tuple[tuple[Any, ...], str]] = [
        (("m.onnx", data), "20 rows that can be used; at least 100 are wanted"),
        (("m.onnx", data, "--max-loss", "much"), "--max-loss: found 'much'; a share such as 0.5%"),
        (("m.onnx", data, "--arm", "b"), "--arm: found 'b'; the arms that read an ONNX file are a"),
        (("none.onnx", whole), "none.onnx: onnxruntime refuses it"),
    ]
    for (file, rows, *more), text in cases:
        assert _run("optimise", tmp_path / file, spec, rows, *more) == 4
        assert text in capsys.readouterr().err


def test_each_form_answers_as_an_arm_would(usual: _optimise.Optimised, tmp_path: Path) -> None:
    spec: Spec = load_spec(_spec(_made(tmp_path)))
    block, _ = _rows()
    layout = Layout(("x", "y"), (), ())
    scores = []
    for form in usual.forms:
        path = tmp_path / f"{form.variant.name}.onnx"
        path.write_bytes(form.variant.body)
        scores.append(model_of(path, layout, spec, OnnxParams(name=path.name)).score(block))
    assert scores[0].std() > 0.2
    for other, bound in zip(scores[1:], (1e-6, 5e-3, 0.1, 0.1), strict=True):
        assert np.abs(other - scores[0]).max() <= bound


def _made(folder: Path) -> Path:
    _network(folder / "m.onnx")
    return folder


def test_a_form_that_was_refused_says_why_when_it_is_asked_for() -> None:
    found = _optimise.Optimised([], [Variant("float16", b"", refused="a reason")], 1, 1, True)
    with pytest.raises(DataError, match="found 'float16': a reason"):
        found.form("float16")
