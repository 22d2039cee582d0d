"""Benchmarks: every one has --help, --short and --json; its rows have five keys; who is missing is named."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks._published import PUBLISHED
from benchmarks._report import Row, report
from benchmarks._rows import Rows, flights, rows_of
from benchmarks._run import Contender, Run, accuracy, compete
from benchmarks.learners import table
from benchmarks.streams import STREAMS, measures
from stream.encode.ids import category_id, field_seed

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_") and "def main(" in p.read_text())
KEYS = {"name", "value", "unit", "goal", "holds"}


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What each says of itself; all are asked at once."""
    command = [sys.executable, "-m"]
    asked = {
        n: subprocess.Popen(
            [*command, f"benchmarks.{n}", "--help"], stdout=subprocess.PIPE, text=True, cwd=FOLDER.parent
        )
        for n in NAMES
    }
    told = {n: process.communicate(timeout=120)[0] for n, process in asked.items()}
    assert all(process.returncode == 0 for process in asked.values())
    return told


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_says_what_it_does_and_has_a_short_form_and_json(name: str, helps: dict[str, str]) -> None:
    assert f"python -m benchmarks.{name}" in helps[name]
    assert "--short" in helps[name]
    assert 0 < int(re.findall(r"at most (\d+) s", helps[name])[0]) <= 60
    assert "--json" in helps[name]


def test_ci_runs_the_short_form_of_every_benchmark() -> None:
    listed = re.search(r"^for name in (.*); do", (FOLDER.parent / ".ci" / "run").read_text(), re.MULTILINE)
    assert listed is not None
    assert sorted(listed[1].split()) == NAMES


def test_rows_are_printed_with_five_keys_and_a_missed_goal_is_the_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("a", 1.0, "×", goal=2.0), Row("b", 1.0, "s", goal=2.0, at_most=True), Row("c", 1.0, "s")]
    assert report("title", rows, as_json=True) == 1
    found = json.loads(capsys.readouterr().out)
    assert all(set(row) == KEYS for row in found)
    assert [row["holds"] for row in found] == [False, True, None]
    assert report("title", rows[1:], as_json=True) == 0


def _rows(n: int = 6, classes: int = 2) -> Rows:
    label = np.arange(n) % 2 if classes == 2 else np.arange(n) * 1.5
    texts: dict[str, list[str | None]] = {"c": ["x", None] * (n // 2)}
    return rows_of("made", {"a": np.arange(n), "c": np.full(n, np.nan)}, texts, label, classes)


def _contender(name: str, seconds: float, calls: list[str], rows_max: int = 6) -> Contender:
    def prepare(rows: Rows) -> Run:
        def run() -> tuple[float, Any]:
            calls.append(f"{name} {len(rows)}")
            return seconds, rows.label

        return run

    return Contender(name, prepare, rows_max)


def _missing(_: Rows) -> Run:
    raise ImportError("No module named 'other'")


def test_contenders_take_turns_and_the_slow_one_sees_the_first_rows_only() -> None:
    calls: list[str] = []
    outcomes = compete([_contender("a", 0.5, calls), _contender("b", 1.0, calls, 2)], _rows(), 2, lambda _: None)
    assert calls == ["a 6", "b 2", "b 2", "a 6"]
    assert [o.rate for o in outcomes] == [2.0, 1.0]
    assert outcomes[0].over(outcomes[1]) == 2.0


def test_a_competitor_that_is_not_installed_has_a_row_that_says_so() -> None:
    contenders = [_contender("ours", 0.001, []), Contender("CapyMOA", _missing, 6), _contender("River", 1.0, [])]
    rows = table("tree", contenders, _rows(), 1, lambda _: None)
    found = {row.name: row for row in rows}
    absent = found["made, tree: CapyMOA: not run (No module named 'other')"]
    assert absent.holds is None
    ratio = found["made, tree: ours / River"]
    assert (ratio.value, ratio.goal, ratio.holds) == (1000.0, 100, True)
    assert found["made, tree: ours, accuracy"].value == 100.0
    assert found["made, tree: accuracy, ours less River"].value == 0.0


def test_accuracy_takes_the_likeliest_class_and_a_number_is_measured_by_its_error() -> None:
    assert accuracy(np.array([0.6, 0.4, 0.9]), np.array([1.0, 1.0, 1.0])) == pytest.approx(200 / 3)
    assert accuracy(np.array([[0.1, 0.9], [0.8, 0.2]]), np.array([1.0, 0.0])) == 100.0
    rows = _rows(4, classes=0)
    assert measures(rows, rows.label + 2.0) == [("MAE", 2.0, ""), ("RMSE", 2.0, "")]


def test_dicts_leave_out_what_is_missing_and_never_give_a_number_and_a_text_one_name() -> None:
    dicts = list(_rows().dicts())
    assert dicts[0] == ({"a": 0.0}, {"c_is": "x"})
    assert dicts[1] == ({"a": 1.0}, {})


def test_rows_of_flights_say_the_same_as_texts_and_as_ids() -> None:
    rows = flights(40)
    assert len(rows) == 40
    for i, name in enumerate(rows.layout.categories):
        wanted = [0 if t is None else category_id(field_seed(name), t) for t in rows.texts[:, i].tolist()]
        assert rows.block.categories[:, i].tolist() == wanted, name


def test_what_was_published_is_of_streams_that_there_are() -> None:
    assert set(PUBLISHED) <= set(STREAMS)
