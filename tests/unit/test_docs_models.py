"""docs/models.md knows every model, every detector and every parameter, and no other."""

import inspect
import re
from pathlib import Path

from stream.learn.drift.watch import DETECTORS
from stream.learn.models import FOREIGN, MODELS

PAGE = (Path(__file__).parents[2] / "docs/models.md").read_text()
FIRST_CELLS = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
NAMED = {name for cell in FIRST_CELLS for name in re.findall(r"`([^`]+)`", cell)}


def test_every_model_is_told_of_with_its_tasks() -> None:
    for name, (tasks, _, _) in MODELS.items():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        assert line.split("|")[2].strip() == ", ".join(tasks)
    assert all(any(name.startswith(f"{library}:") for name in NAMED) for library in FOREIGN)


def test_every_parameter_is_told_of_and_none_that_is_not_there() -> None:
    parameters = {field for _, params, _ in MODELS.values() for field in params.model_fields}
    assert {name for name in NAMED if "." not in name} == parameters | DETECTORS.keys()


def test_every_detector_is_told_of_with_its_values_and_parameters() -> None:
    for name, make in DETECTORS.items():
        (line,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |")]
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.split("|")]
        assert cells[2] == [f"drift_{name}", f"drift_{name}_better"]
        assert cells[4] == list(inspect.signature(make).parameters)
