"""Children are started again when that may help, never when it can't, and never outlive their supervisor."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from consumers import _supervise
from consumers._supervise import (
    BACKOFF_S_MAX,
    BACKOFF_S_MIN,
    CRASHES_MAX,
    FOR_A_PERSON,
    Supervisor,
    backoff_s,
    supervise,
    worth_restarting,
)
from stream import errors
from stream.errors import DataError, HeadwaterError

WAIT_S = 20.0


def until(true: Callable[[], object], what: str) -> None:
    end_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < end_s, f"not within {WAIT_S} s: {what}"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


SLEEP = python("import time; print('up', flush=True); time.sleep(600)")
STUBBORN = python(
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True); time.sleep(600)"
)


def ends_with(codes: list[int], folder: Path) -> list[str]:
    """A command that ends with the first code when run first, and so on; minus n: by signal n."""
    return python(
        f"import os, pathlib, signal\ncount = pathlib.Path({str(folder / 'count')!r})\n"
        f"n = int(count.read_text()) if count.exists() else 0\ncount.write_text(str(n + 1))\n"
        f"code = {codes}[n]\n"
        "os.kill(os.getpid(), -code) if code < 0 else os._exit(code)"
    )


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_supervise, "BACKOFF_S_MIN", 0.01)
    monkeypatch.setattr(_supervise, "BACKOFF_S_MAX", 0.02)


# -- the rules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "again"),
    [
        (0, False), (1, True), (2, False), (3, False), (4, False), (5, True), (6, False), (7, False),
        (8, False), (9, False), (10, False), (11, True), (75, True), (126, False), (127, False), (137, True),
        (-9, True), (-11, True),
    ],
)  # fmt: skip
def test_a_restart_is_tried_where_it_may_mend_something(code: int, again: bool) -> None:
    assert worth_restarting(code, crashes=0) is again


def test_every_error_is_decided_on() -> None:
    kinds = [k for k in vars(errors).values() if isinstance(k, type) and issubclass(k, HeadwaterError)]
    open_codes = {k.exit_code for k in kinds} - FOR_A_PERSON.keys()
    lost = {errors.BrokerError.exit_code, errors.ElasticError.exit_code}
    assert open_codes == {HeadwaterError.exit_code} | lost


def test_an_unexplained_end_is_not_retried_for_ever_but_a_lost_broker_is() -> None:
    assert worth_restarting(1, CRASHES_MAX - 1)
    assert not worth_restarting(1, CRASHES_MAX)
    assert worth_restarting(5, CRASHES_MAX)
    assert worth_restarting(11, CRASHES_MAX)
    assert worth_restarting(-9, CRASHES_MAX)


def test_waits_double_with_jitter_up_to_a_bound() -> None:
    assert [backoff_s(n, lambda: 1.0) for n in (1, 2, 3)] == [
        BACKOFF_S_MIN,
        BACKOFF_S_MIN * 2,
        BACKOFF_S_MIN * 4,
    ]
    assert backoff_s(10_000, lambda: 1.0) == BACKOFF_S_MAX
    assert backoff_s(1, lambda: 0.0) == BACKOFF_S_MIN / 2
    assert len({backoff_s(3) for _ in range(20)}) > 10
    assert BACKOFF_S_MAX <= 15  # with the child's own start, work goes on within 30 s


# -- one child -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("codes", "left"),
    [([0], 0), ([75, 5, 0], 0), ([-9, 1, 0], 0), ([1, 2], 2), ([5, 7], 7), ([8], 8)],
)
def test_a_command_is_kept_until_it_ends_well_or_a_person_is_needed(
    codes: list[int], left: int, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert supervise(ends_with(codes, tmp_path)) == left
    assert (tmp_path / "count").read_text() == str(len(codes))
    told = capfd.readouterr().err.splitlines()
    assert sum("started again in" in line for line in told) == len(codes) - 1
    assert sum("it is not started again" in line for line in told) == (left != 0)


@pytest.mark.usefixtures("quick")
def test_a_crash_that_repeats_is_given_up(tmp_path: Path) -> None:
    assert supervise(ends_with([1] * 99, tmp_path)) == 1
    assert (tmp_path / "count").read_text() == str(CRASHES_MAX)


@pytest.mark.usefixtures("quick")
def test_a_minute_of_health_begins_a_new_count(tmp_path: Path) -> None:
    now_s = [0.0]

    def clock() -> float:  # every look at it is a minute later: each life was a healthy one
        now_s[0] += _supervise.HEALTHY_S
        return now_s[0]

    codes = [1] * (CRASHES_MAX + 5) + [0]
    with Supervisor(told=lambda line: None, clock=clock) as kept:
        kept.start("child", ends_with(codes, tmp_path))
        assert kept.join(WAIT_S)
        assert kept.failures() == {}
    assert (tmp_path / "count").read_text() == str(len(codes))


def test_a_command_that_is_not_there_is_told_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert supervise(["/no/such/command"]) == 127
    assert "/no/such/command" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_are_passed_on_and_the_child_may_finish(number: signal.Signals, tmp_path: Path) -> None:
    child = (
        "import signal, sys, time, pathlib\n"
        f"def leave(n, _): pathlib.Path({str(tmp_path / 'got')!r}).write_text(str(n)); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave); signal.signal(signal.SIGINT, leave)\n"
        "print('up', flush=True)\n"
        "while True: time.sleep(0.05)"  # one long sleep would miss a signal that comes just before it
    )
    code = f"import sys; from consumers._supervise import supervise; sys.exit(supervise({python(child)!r}))"
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.send_signal(number)
        assert process.wait(WAIT_S) == 0
    assert (tmp_path / "got").read_text() == str(int(number))


def test_a_signal_while_waiting_for_a_restart_ends_it_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from consumers import _supervise\n"
        "_supervise.BACKOFF_S_MIN = _supervise.BACKOFF_S_MAX = 600\n"
        f"sys.exit(_supervise.supervise({python('import os; os._exit(75)')!r}))"
    )
    with subprocess.Popen(python(code), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "started again in" in process.stderr.readline()
        process.terminate()
        assert process.wait(WAIT_S) == 75


def test_a_stubborn_child_is_killed_after_the_bound() -> None:
    code = f"import sys; from consumers._supervise import supervise\nsys.exit(supervise({STUBBORN!r}, stop_s=0.5))"
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        assert process.wait(WAIT_S) == 128 + signal.SIGKILL


def test_a_child_dies_with_its_supervisor_even_by_kill_9(tmp_path: Path) -> None:
    child = (
        f"import os, time, pathlib; pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid()))\n"
        "print(flush=True); time.sleep(600)"
    )
    code = f"from consumers._supervise import supervise; supervise({python(child)!r})"
    with subprocess.Popen(python(code), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        pid = int((tmp_path / "pid").read_text())
        assert alive(pid)
        process.kill()
        process.wait(WAIT_S)
        until(lambda: not alive(pid), "the child's end")


# -- several -------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_several_children_run_log_and_end_together(tmp_path: Path) -> None:
    with Supervisor(tmp_path / "logs", told=lambda line: None) as kept:
        kept.start("one", SLEEP)
        kept.start("two", SLEEP)
        logs = [tmp_path / "logs" / f"{name}.log" for name in ("one", "two")]
        until(lambda: all(log.exists() and log.stat().st_size for log in logs), "their logs")
        pids = kept.pids
        assert pids.keys() == {"one", "two"}
    assert not any(map(alive, pids.values()))
    assert kept.stop() == {"one": 0, "two": 0}
    assert kept.failures() == {}


@pytest.mark.usefixtures("quick")
def test_a_killed_child_comes_back_and_the_other_is_left_alone(tmp_path: Path) -> None:
    told: list[str] = []
    with Supervisor(tmp_path, told=told.append) as kept:
        kept.start("one", SLEEP)
        kept.start("two", SLEEP)
        until(lambda: len(kept.pids) == 2, "both children")
        before = kept.pids
        os.kill(before["one"], signal.SIGKILL)
        until(lambda: kept.pids.get("one") not in (None, before["one"]), "the restart")
        assert kept.restarts == {"one": 1, "two": 0}
        assert kept.pids["two"] == before["two"]
    assert "one was ended by SIGKILL; it is started again in" in told[0]


def test_a_child_that_is_given_up_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Supervisor(tmp_path, told=lambda line: None) as kept:
        kept.start("one", python("import sys; sys.stderr.write('spec is wrong'); sys.exit(2)"))
        assert kept.join(WAIT_S)
        [(name, why)] = kept.failures().items()
    assert name == "one"
    assert "exit code 2 (SpecError)" in why
    assert "spec is wrong" in why


def test_stop_ends_stubborn_children_and_theirs_within_its_bound(tmp_path: Path) -> None:
    parent = python(
        "import subprocess, pathlib\n"
        f"inner = subprocess.Popen({STUBBORN!r})\n"
        f"pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(inner.pid))\ninner.wait()"
    )
    kept = Supervisor(tmp_path, told=lambda line: None)
    kept.start("stubborn", STUBBORN)
    kept.start("parent", ["/bin/sh", "-c", f"trap '' TERM; {sys.executable} -c \"$0\"", parent[2]])
    until(lambda: (tmp_path / "pid").exists() and (tmp_path / "stubborn.log").stat().st_size, "their start")
    until(lambda: b"up" in (tmp_path / "parent.log").read_bytes(), "the inner child's start")
    begin_s = time.monotonic()
    codes = kept.stop(within_s=0.5)
    assert time.monotonic() - begin_s < 5
    assert codes == {"stubborn": -signal.SIGKILL, "parent": -signal.SIGKILL}
    until(lambda: not alive(int((tmp_path / "pid").read_text())), "the inner child's end")


@pytest.mark.usefixtures("quick")
def test_a_crash_on_purpose_happens_only_once(tmp_path: Path) -> None:
    child = python("import os; os._exit(75 if os.environ.get('HEADWATER_CRASH') else 0)")
    with Supervisor(told=lambda line: None) as kept:
        kept.start("one", child, {**os.environ, "HEADWATER_CRASH": "learn.mid_update"})
        assert kept.join(WAIT_S)
        assert (kept.restarts, kept.failures()) == ({"one": 1}, {})


def test_a_name_is_given_once(tmp_path: Path) -> None:
    with Supervisor(tmp_path, told=lambda line: None) as kept:
        kept.start("one", SLEEP)
        with pytest.raises(DataError, match="child one: started already"):
            kept.start("one", SLEEP)


def test_run_supervised_with_a_wrong_spec_ends_at_once(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "consumers.cli",
        "run",
        "--supervise",
        str(tmp_path / "no.yaml"),
        "clean",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    first, second = done.stderr.splitlines()
    assert "no.yaml: can't be read" in first
    assert "it is not started again" in second
