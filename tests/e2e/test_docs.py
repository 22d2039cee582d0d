"""Every command of the README runs, in its order; every `headwater` command of any page parses."""

import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from consumers.cli import (  # noqa: F401  they register
    commands,
    elk,
    experiment,
    explain,
    export,
    look,
    make,
    monitor,
    optimise,
    rollback,
    schema,
    ship,
    trace,
)
from consumers.cli.app import app, main
from infra.kafka import free_port

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ELSEWHERE = {
    "examples/demo.sh": "tests/e2e/test_demo.py runs it",
    "tests/run.sh": "it runs this test; .ci/run calls it",
    ". .venv/bin/activate": "the tests' own environment is active",
}
WITH_ELASTIC = ("headwater elk ", "headwater ship ")  # tests/elastic/test_outage.py runs those of operations.md
BACKGROUND = ("python -m infra.kafka", "headwater run ", "headwater serve ")


def bash_commands(page: Path) -> list[str]:
    """Commands of the page's bash blocks, comments cut off."""
    blocks = re.findall(r"```bash\n(.*?)```", page.read_text(), re.S)
    lines = [re.sub(r"\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_headwater_command_of_the_page_parses(page: Path) -> None:
    import typer

    root = typer.main.get_command(app)
    for line in bash_commands(page):
        words = shlex.split(line)
        if words[0] != "headwater":
            continue
        context = root.make_context("headwater", words[1:])
        while hasattr(context.command, "resolve_command"):
            name, command, rest = context.command.resolve_command(context, [*context._protected_args, *context.args])
            context = command.make_context(name, rest, parent=context)


def test_ci_runs_the_readme_s_own_test_command() -> None:
    assert "\ntests/run.sh" in (ROOT / ".ci" / "run").read_text()
    assert "tests/run.sh" in bash_commands(ROOT / "README.md")


class Terminals:
    """Runs commands as a person with several terminals would."""

    def __init__(self, folder: Path) -> None:
        (folder / "examples").symlink_to(ROOT / "examples")
        self._folder, self._port = folder, free_port()
        with socket.create_server(("127.0.0.1", 0)) as probe:  # not of the ports that brokers are given
            self.grpc = f"127.0.0.1:{probe.getsockname()[1]}"
        self._env = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HEADWATER_KAFKA": f"127.0.0.1:{self._port}",
            "HEADWATER_GRPC": self.grpc,
            "HEADWATER_DATA": str(folder / "data"),
        }
        self._open: list[subprocess.Popen[bytes]] = []

    def run(self, line: str) -> str:
        """Run to its end; what it printed."""
        done = subprocess.run(
            shlex.split(line), cwd=self._folder, env=self._env, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    @contextmanager
    def here(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        """As if this process were one of the terminals."""
        with monkeypatch.context() as patch:
            patch.chdir(self._folder)
            for name in ("KAFKA", "GRPC", "DATA"):
                patch.setenv(f"HEADWATER_{name}", self._env[f"HEADWATER_{name}"])
            yield

    def start(self, line: str) -> None:
        """Leave running."""
        log = (self._folder / f"terminal-{len(self._open)}.log").open("wb")
        words = shlex.split(line.replace("9092", str(self._port)))
        with log:
            self._open.append(subprocess.Popen(words, cwd=self._folder, env=self._env, stdout=log, stderr=log))

    def wait(self, line: str, until: Callable[[str], bool]) -> None:
        """Run again and again until its output is as wanted."""
        limit_s = time.monotonic() + 120
        while True:
            done = subprocess.run(
                shlex.split(line),
                cwd=self._folder,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=180,
                check=False,
            )
            if done.returncode == 0 and until(done.stdout):
                return
            logs = "".join(p.read_text()[-1500:] for p in sorted(self._folder.glob("terminal-*.log")))
            assert time.monotonic() < limit_s, f"{line}\n{done.stdout}{done.stderr}\n{logs}"
            time.sleep(0.5)

    def close(self) -> None:
        """Ctrl-C in each, the last opened first."""
        for process in reversed(self._open):
            process.terminate()
            process.wait(timeout=60)


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    opened = Terminals(tmp_path)
    yield opened
    opened.close()


@pytest.mark.broker
@pytest.mark.slow
def test_the_readme_s_tutorial_runs_from_its_first_command_to_its_last_and_what_operators_are_told(
    terminals: Terminals, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [line for line in bash_commands(ROOT / "README.md") if line not in ELSEWHERE]
    spec = next(shlex.split(line)[2] for line in lines if line.startswith("headwater check"))
    for line in lines:
        if line.startswith(BACKGROUND):
            terminals.start(line)
            if "infra.kafka" in line:
                terminals.wait(f"headwater topics create {spec}", lambda out: True)
            continue
        if line.startswith("headwater status"):
            terminals.wait(f"{line} --json", lambda out: '"rows": 4' in out)  # 400 labels, all learned
        if line.startswith("headwater predict"):
            terminals.wait(line, lambda out: True)
        out = terminals.run(line)
        if line.startswith("headwater predict"):
            assert "arm" in out
            assert "score" in out
    [snippet] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    exec(compile(snippet.replace("127.0.0.1:50051", terminals.grpc), "README.md", "exec"), {})
    told = [line for line in bash_commands(ROOT / "docs/operations.md") if not line.startswith(WITH_ELASTIC)]
    assert len(told) > 15
    with terminals.here(monkeypatch):
        for line in told:
            with pytest.raises(SystemExit) as left:
                main(shlex.split(line)[1:])
            assert left.value.code == 0, line
