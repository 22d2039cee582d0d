"""The network beside the flights' example: an arm as it lies there; what its script makes answers as the pipeline."""

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from consumers.demo.flights import Flight, read_flights
from stream.block import Block
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.learn.arms import Arms
from stream.spec import Spec
from stream.spec_load import parse_spec

EXAMPLES = Path(__file__).parents[2] / "examples"
FILE = EXAMPLES / "flights/late_mlp.onnx"


def _spec(file: Path, **params: Any) -> Spec:
    """The example's, with the network beside its arms, served to nobody."""
    raw = yaml.safe_load((EXAMPLES / "flights.yaml").read_text())
    raw["arms"]["frozen"] = {"model": f"onnx:{file}", "shadow": True, **params}
    return parse_spec(raw, EXAMPLES)


def _block(spec: Spec, events: list[dict[str, Any]]) -> Block:
    cleaned = Cleaner(spec).clean(events, [Position(0, i, e["scheduled"]) for i, e in enumerate(events)])
    assert not cleaned.rejects
    return Encoder(spec).encode(cleaned.columns)


@pytest.fixture(scope="module")
def flights() -> list[Flight]:
    return [f for f in read_flights(4000) if f.late is not None]


@pytest.fixture(scope="module")
def script() -> Any:
    """The script as a module."""
    pytest.importorskip("skl2onnx")
    found = importlib.util.spec_from_file_location("late_mlp", EXAMPLES / "flights/late_mlp.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_the_committed_network_tells_late_flights_that_it_never_saw_from_others(
    flights: list[Flight], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)  # it takes ids, so onnxruntime alone has to do
    assert FILE.stat().st_size <= 200_000
    spec = _spec(FILE)
    scores = Arms(spec).score("frozen", _block(spec, [f.event for f in flights]))
    late = np.array([bool(f.late) for f in flights])
    order = np.argsort(np.argsort(scores)) + 1.0
    area = (order[late].sum() - late.sum() * (late.sum() + 1) / 2) / (late.sum() * (~late).sum())
    assert area > 0.57


def test_it_answers_where_numbers_are_absent_and_places_are_new(flights: list[Flight]) -> None:
    spec = _spec(FILE)
    event = flights[0].event
    gaps = {"distance": None, "sched_dep_minute": None, "sched_arr_minute": None, "origin": None, "dest": "QQQ"}
    scores = Arms(spec).score("frozen", _block(spec, [event, {**event, **gaps, "carrier": "ZZ"}]))
    assert scores[0] != scores[1]
    assert ((scores > 0) & (scores < 1) & (scores != 0.5)).all()


def test_the_script_s_file_answers_as_its_pipeline(flights: list[Flight], script: Any, tmp_path: Path) -> None:
    assert all(f.event["scheduled"] < script.DECEMBER_MS for f in flights)
    (tmp_path / "small.onnx").write_bytes(FILE.read_bytes())
    spec = _spec(tmp_path / "small.onnx")
    rows, late = script.columns(spec, flights)
    assert len(rows) == len(flights)
    pipeline = script.fitted(rows[:1500], late[:1500], (8,), 2)
    (tmp_path / "other.onnx").write_bytes(script.converted(pipeline))
    again = _spec(tmp_path / "other.onnx")
    expected = pipeline.predict_proba(rows)[:, 1]
    assert expected.std() > 0.01
    scores = Arms(again).score("frozen", _block(again, [f.event for f in flights]))
    np.testing.assert_allclose(scores, expected, atol=1e-5)
