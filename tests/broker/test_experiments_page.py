"""Every command of docs/experiments.md runs, in its order, on the spec that the page shows."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumers.cli.app import main

pytestmark = pytest.mark.broker
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "experiments.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", PAGE, re.S)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line.startswith("headwater ")]


@pytest.fixture
def spec_file(prefix: str, tmp_path: Path) -> Path:
    """The flights' pipeline with the page's arms and experiment."""
    raw: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "flights.yaml").read_text())
    [shown] = blocks("yaml")
    raw |= yaml.safe_load(shown) | {"name": f"{prefix}page"}
    raw["event"]["schema"] = str(ROOT / "examples" / raw["event"]["schema"])
    made = tmp_path / "my.yaml"
    made.write_text(yaml.safe_dump(raw, sort_keys=False))
    return made


def test_the_page_s_commands_run_and_say_what_it_tells(
    spec_file: Path,
    kafka_address: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("consumers.run.until_signalled", lambda: lambda: False)
    monkeypatch.setattr("consumers.guard.set_up", lambda *_: None)  # it would be for all tests of this process
    monkeypatch.setenv("HEADWATER_KAFKA", kafka_address)
    monkeypatch.chdir(spec_file.parent)
    said = {}
    for line in commands():
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(shlex.split(line)[1:])
        got = capsys.readouterr()
        assert not left.value.code, f"{line}\n{got.out}{got.err}"
        said[line] = got.out
    assert len(said) == 9
    changes = [out.splitlines()[0] for line, out in said.items() if re.search("ramp|stop|promote", line)]
    assert changes == [
        "change 1, ramp: logistic 0.7, tree 0.3, trial 0",
        "change 2, stop: logistic 1, tree 0, trial 0",
        "change 3, ramp: logistic 0.5, tree 0.5, trial 0",
        "change 4, promote: logistic 0, tree 1, trial 0",
    ]
    history = next(out for line, out in said.items() if "history" in line)
    assert "the sample ratio is broken" in history
    assert "now: logistic 0, tree 1, trial 0, ended" in history
