"""The command of the monitor, as its page of the docs gives it, without a broker."""

import io
import json
import re
import shlex
import socket
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from consumers.cli.app import main
from consumers.demo.main import _Job, _monitored
from consumers.settings import Settings
from stream.spec_load import load_spec

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "monitor.md").read_text(), re.S)
LINES = [line for block in BLOCKS for line in block.splitlines() if line.startswith("headwater monitor")]


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Kafka's address is one at which nobody listens; logging stays as the tests have it."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("consumers._log.set_up", lambda *_: None)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HEADWATER_KAFKA", f"127.0.0.1:{taken.getsockname()[1]}")
        yield


def run(line: str, monkeypatch: pytest.MonkeyPatch, looked: Callable[[], None]) -> int:
    """The command's exit code; `looked` is called while it runs."""

    def until_signalled() -> Callable[[], bool]:
        return lambda: (looked(), True)[1]

    monkeypatch.setattr("consumers.run.until_signalled", until_signalled)
    with pytest.raises(SystemExit) as left:
        main(shlex.split(line)[1:])
    return int(left.value.code or 0)


@pytest.mark.parametrize("line", LINES)
def test_the_commands_of_the_docs_print_an_address_and_the_page_is_there(
    line: str, nobody: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found: dict[str, Any] = {}
    beyond = "--beyond-loopback" in line

    def look() -> None:
        out, err = capsys.readouterr()
        found["url"], found["note"] = out.strip(), err
        port = re.search(r":(\d+)/", out)
        assert port is not None
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        query = found["url"].partition("/?")[2]
        page = opener.open(f"http://127.0.0.1:{port[1]}/{'?' if query else ''}{query}", timeout=30).read()
        assert b"<html" in page.lower()
        assert b'"pipeline":"flights"' in opener.open(f"http://127.0.0.1:{port[1]}/api/state", timeout=30).read()
        if beyond:
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"http://127.0.0.1:{port[1]}/api/state", timeout=30)

    line = re.sub(r"--bind \S+", "", line) + (" --bind 0.0.0.0:0" if beyond else " --bind 127.0.0.1:0")
    assert run(line, monkeypatch, look) == 0
    assert ("#token=" in found["url"]) == ("--write" in line)
    assert ("?token=" in found["url"]) == ("unencrypted" in found["note"]) == beyond


def test_the_docs_give_one_command_for_each_way() -> None:
    assert len(LINES) == 3
    found = [("--write" in line, "--beyond-loopback" in line) for line in LINES]
    assert found == [(False, False), (True, False), (False, True)]


def test_an_address_that_others_reach_is_refused_without_the_word(
    nobody: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "headwater monitor examples/flights.yaml --bind 0.0.0.0:8600"
    assert run(line, monkeypatch, lambda: pytest.fail("it runs")) == 4
    assert "--beyond-loopback allows it" in capsys.readouterr().err


def test_a_bug_in_a_thread_of_its_own_ends_it(nobody: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumers.monitor.tail.Tail._turn", lambda self: 1 / 0)
    monkeypatch.setattr("consumers.run.until_signalled", lambda: lambda: False)
    with pytest.raises(ZeroDivisionError):
        main(["monitor", str(ROOT / "examples" / "flights.yaml"), "--bind", "127.0.0.1:0"])


def test_it_says_what_to_install(nobody: None, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    line = "headwater monitor examples/flights.yaml"
    assert run(line, monkeypatch, lambda: pytest.fail("it runs")) == 1
    assert "pip install 'headwater[monitor]'" in capsys.readouterr().err


def test_the_demo_s_page_is_there_while_it_runs_and_gone_after(nobody: None, tmp_path: Path) -> None:
    out = io.StringIO()
    settings = Settings(data=tmp_path)
    spec = ROOT / "examples" / "flights.yaml"
    job = _Job([], load_spec(spec), spec, settings, 1.0, False, tmp_path / "page.html", Console(file=out), False, True)
    with _monitored(job):
        address = re.search(r"http://127.0.0.1:\d+/", out.getvalue())
        assert address is not None
        until_s = time.monotonic() + 180
        while True:
            try:
                state = json.loads(urllib.request.urlopen(f"{address[0]}api/state", timeout=30).read())
                break
            except OSError:
                assert time.monotonic() < until_s, (tmp_path / "logs" / "monitor.log").read_text()
                time.sleep(0.1)
        assert state["pipeline"] == "flights"
        assert not state["writable"]
    with pytest.raises(OSError):
        urllib.request.urlopen(address[0], timeout=30)
    with _monitored(replace(job, monitor=False)):
        assert out.getvalue().count("http") == 1
