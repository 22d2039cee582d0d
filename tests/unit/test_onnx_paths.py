"""From scikit-learn and TensorFlow to an arm: what the other library answers, the arm answers; and the command."""

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from consumers.cli import main
from consumers.learn import snapshot_folder
from consumers.settings import Settings
from stream.block import Block, Training, take
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.learn.arms import Arms, digest
from stream.learn.onnx_model import session_of
from stream.registry.snapshot import write
from stream.spec import Spec
from stream.spec_load import load_spec

ROOT = Path(__file__).parents[2]
NUMBERS = ("distance", "sched_dep_minute", "sched_arr_minute")


@pytest.fixture(scope="module")
def sklearn_path() -> Any:
    """The example as a module."""
    pytest.importorskip("skl2onnx")
    found = importlib.util.spec_from_file_location("from_sklearn", ROOT / "examples/onnx/from_sklearn.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def _spec(folder: Path, arms: dict[str, Any]) -> Path:
    """The flights with these arms, as a file beside the models."""
    shutil.copytree(ROOT / "examples/flights", folder / "flights", dirs_exist_ok=True)
    raw = yaml.safe_load((ROOT / "examples/flights.yaml").read_text())
    for name in NUMBERS:
        raw["event"]["fields"][name]["required"] = True
    (folder / "spec.yaml").write_text(yaml.safe_dump({**raw, "arms": arms}, sort_keys=False))
    return folder / "spec.yaml"


def _block(spec: Spec, events: list[dict[str, Any]]) -> Block:
    latest = max(e["scheduled"] for e in events)
    cleaned = Cleaner(spec).clean(events, [Position(0, i, latest) for i in range(len(events))])
    assert not cleaned.rejects
    return Encoder(spec).encode(cleaned.columns)


def _event(i: int, **fields: Any) -> dict[str, Any]:
    return {"flight_id": str(i), "scheduled": 1_357_000_000_000 + i * 60_000, "carrier": "UA", **fields}


def test_a_pipeline_of_scikit_learn_answers_as_an_arm_with_names_it_never_met_too(
    tmp_path: Path, sklearn_path: Any
) -> None:
    columns, late = sklearn_path.flights(3000)
    pipeline = sklearn_path.fitted(columns, late)
    (tmp_path / "late.onnx").write_bytes(sklearn_path.converted(pipeline))
    spec = load_spec(_spec(tmp_path, {"a": {"model": "onnx:late.onnx"}}))
    shown = columns.head(400).copy()
    shown.loc[::7, "carrier"] = "ZZ"
    shown.loc[::11, "origin"] = "a field of grass"
    rows = shown.to_dict("records")
    block = _block(spec, [_event(i, sched_arr_minute=0, **row) for i, row in enumerate(rows)])
    expected = pipeline.predict_proba(shown)[:, 1]
    assert expected.std() > 0.01
    np.testing.assert_allclose(Arms(spec).score("a", block), expected, atol=1e-6)


def test_probabilities_as_maps_are_refused_with_the_option_that_mends_it(tmp_path: Path) -> None:
    skl2onnx = pytest.importorskip("skl2onnx")
    from sklearn.linear_model import LogisticRegression

    x = np.arange(12.0).reshape(6, 2)
    model = skl2onnx.to_onnx(LogisticRegression().fit(x, [0, 0, 0, 1, 1, 1]), x.astype(np.float32))
    (tmp_path / "maps.onnx").write_bytes(model.SerializeToString())
    path = _spec(tmp_path, {"a": {"model": "onnx:maps.onnx", "fields": ["distance", "sched_dep_minute"]}})
    from stream.errors import SpecError

    with pytest.raises(SpecError, match=r"seq\(map\(int64,tensor\(float\)\)\).*; convert with `zipmap: False`"):
        load_spec(path)


def test_a_network_of_tensorflow_answers_as_tensorflow_did(tmp_path: Path) -> None:
    shutil.copy(ROOT / "tests/golden/late_tf.onnx", tmp_path)
    golden = json.loads((ROOT / "tests/golden/late_tf.json").read_text())
    spec = load_spec(_spec(tmp_path, {"a": {"model": "onnx:late_tf.onnx"}}))
    columns = golden["columns"]
    events = [_event(i, **{n: columns[n][i] for n in NUMBERS}) for i in range(len(golden["answers"]))]
    assert np.std(golden["answers"]) > 0.01
    np.testing.assert_allclose(Arms(spec).score("a", _block(spec, events)), golden["answers"], atol=1e-6)


@pytest.fixture
def learned(tmp_path: Path) -> tuple[Path, Arms, Block]:
    """A pipeline with a snapshot, what it holds, and a block of events, which lie in events.jsonl too."""
    path = _spec(tmp_path, {"logistic": {"model": "linear.logistic"}, "tree": {"model": "tree.hoeffding"}})
    spec, rng = load_spec(path), np.random.default_rng(1)
    events = [
        _event(
            i, carrier=f"c{rng.integers(5)}", origin="EWR", dest=f"d{rng.integers(20)}", flight=None, tailnum=None,
            distance=float(rng.integers(100, 900)), sched_dep_minute=int(rng.integers(1400)), sched_arr_minute=5,
        )
        for i in range(300)
    ]  # fmt: skip
    lines = "".join(json.dumps(e) + "\n" for e in events)
    (tmp_path / "events.jsonl").write_text(lines)
    block, arms, none = _block(spec, events), Arms(spec), np.zeros(300, np.int64)
    arms.learn(Training(block, (block.numeric[:, 0] > 500) * 1.0, none, none, none))
    meta: dict[str, Any] = {
        "generation": 7, "spec_hash": spec.hash, "training_offset": 1, "rows": 300, "as_of_ms": 0,
        "state_hash": digest(arms.states()),
        "through": {"label_offset": 0, "label_time_ms": 0, "label_published_ms": 0},
    }  # fmt: skip
    write(snapshot_folder(Settings(data=tmp_path / "data"), spec), arms.states(), meta, 3)
    return path, arms, block


def _run(*words: Any) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(w) for w in words])
    return int(left.value.code or 0)


def test_the_command_writes_the_newest_snapshot_s_arm(
    learned: tuple[Path, Arms, Block], capsys: pytest.CaptureFixture[str]
) -> None:
    path, arms, block = learned
    folder, out = path.parent, path.parent / "made" / "m.onnx"
    given = ("--data", folder / "data", "--output", out)
    assert _run("export", path, "logistic", "--names", folder / "events.jsonl", *given, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["bytes"] == out.stat().st_size
    assert (told["rows"], told["generation"], told["left_out"]) == (300, 7, 0)
    assert _run("export", path, "tree", "--by", "id", *given) == 0
    assert f"{out}: tree.hoeffding after 300 rows" in capsys.readouterr().out
    last = take(block, range(20))
    feeds = {"numeric": last.numeric, "categories": last.categories.view(np.int64)}
    session = session_of(out.read_bytes(), 1, "all")
    assert session.get_modelmeta().custom_metadata_map["headwater.rows"] == "300"
    answers = session.run(None, feeds)[0]
    np.testing.assert_allclose(answers, arms.score("tree", last), atol=1e-12)


def test_the_command_says_what_is_missing(
    learned: tuple[Path, Arms, Block], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _, _ = learned
    given = ("--data", path.parent / "data", "--output", path.parent / "m.onnx")
    cases: list[tuple[tuple[Any, ...], int, str]] = [
        (("export", path, "logistic", *given), 4, "values of categories have no name in any file; --names gives"),
        (("export", path, "nobody", *given), 4, "arm: found 'nobody'; the spec has logistic, tree"),
        (("export", path, "tree", "--swappable", "--by", "id", *given), 4, "only a linear model's weights"),
        (("export", path, "tree", "--snapshot", path.parent, *given), 8, "manifest.json"),
        (("export", path, "tree", "--data", path.parent / "no", "--output", "m.onnx"), 8, "no snapshot yet"),
    ]
    for words, code, text in cases:
        assert _run(*words) == code
        shown = capsys.readouterr().err
        assert text in shown
        assert "Traceback" not in shown
    assert not (path.parent / "m.onnx").exists()
    assert _run("export", path, "logistic", "--drop-unnamed", *given) == 0
    assert "25 values left out" in capsys.readouterr().out.replace("26 values", "25 values")
