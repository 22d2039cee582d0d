"""Children that are started again when they end by a fault that a new start may mend.

What: `supervise` keeps one command running in this process's place; `Supervisor` keeps several for a program.
Why: a step never reuses a client after an error, but exits (RELIABILITY.md); this starts the next one.
Invariants: no child outlives this process, even when it is killed (infra/_proxy.py); `stop` ends within its
bound; what only a person can mend is not tried again; restarts back off with jitter, up to BACKOFF_S_MAX.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self

from consumers._watchdog import EXIT_CODE as WATCHDOG
from infra import _proxy
from stream import errors
from stream.errors import DataError, StorageError

BACKOFF_S_MIN = 0.5
BACKOFF_S_MAX = 10.0  # with a child's own start, under the 30 s within which work must go on
HEALTHY_S = 60.0  # a child that lived this long begins a new count of restarts
CRASHES_MAX = 10  # unexplained ends in a row, none of them healthy, after which a restart mends nothing
STOP_S_MAX = 45.0  # from SIGTERM to SIGKILL; a commit may take 30
LOG_CHARS = 2000  # how much of the end of a log a failure carries

FOR_A_PERSON = {
    kind.exit_code: kind.__name__
    for kind in (
        errors.SpecError,
        errors.SchemaError,
        errors.DataError,
        errors.TopicMissing,
        errors.OffsetLost,
        errors.SnapshotError,
        errors.StorageError,
        errors.LimitReached,
    )
} | {126: "the command can't be run", 127: "the command is not found"}
"""Exit codes that a restart can't mend → what they mean."""
_EXPLAINED = {errors.BrokerError.exit_code, errors.ElasticError.exit_code, WATCHDOG}


def worth_restarting(code: int, crashes: int) -> bool:
    """Whether to start again after this exit code; `crashes`: unexplained ends in a row, with this one."""
    if code == 0 or code in FOR_A_PERSON:
        return False
    return code < 0 or code in _EXPLAINED or crashes < CRASHES_MAX


def backoff_s(restarts: int, jitter: Callable[[], float] = random.random) -> float:
    """Seconds to wait before restart number `restarts` (from 1): doubling, 50 to 100 % of it, bounded."""
    most = min(BACKOFF_S_MAX, BACKOFF_S_MIN * 2.0 ** min(restarts - 1, 20))
    return most * (0.5 + jitter() / 2)


@dataclass(frozen=True, slots=True)
class Child:
    """One command to keep running. log: where its output is appended; None: it shares ours, as with env."""

    name: str
    command: list[str]
    log: Path | None = None
    env: Mapping[str, str] | None = None


class _Keeper:
    """One child's life, in a thread of its own: to the kernel, its parent is the thread that forked it."""

    def __init__(self, child: Child, told: Callable[[str], object], clock: Callable[[], float]) -> None:
        self.child, self._told, self._clock = child, told, clock
        self.restarts = 0  # in all
        self.code: int | None = None  # how it ended for good; None while it is kept
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self.thread = threading.Thread(target=self._keep, name=f"keeper of {child.name}", daemon=True)

    @property
    def pid(self) -> int | None:
        """Of the process that runs now, if one does."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    def ask(self, number: int) -> None:
        """Pass a signal on, and start no more."""
        self._stopping.set()
        self._signal(number)

    def kill(self) -> None:
        """End the child with all that it started, at once."""
        self._stopping.set()
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return
            if number == signal.SIGKILL:
                os.killpg(self._process.pid, number)  # it leads a group of its own
            else:
                self._process.send_signal(number)

    def _keep(self) -> None:
        in_a_row = crashes = 0
        while True:
            begin_s = self._clock()
            code = self._once()
            if self._stopping.is_set():
                self.code = 0 if code in (-signal.SIGTERM, -signal.SIGINT) else code
                return
            if self._clock() - begin_s >= HEALTHY_S:
                in_a_row = crashes = 0
            in_a_row += 1
            crashes += code > 0 and code not in _EXPLAINED
            if not worth_restarting(code, crashes):
                if code:
                    self._told(f"{self.child.name} {_shown(code)}; it is not started again")
                self.code = code
                return
            wait_s = backoff_s(in_a_row)
            self._told(f"{self.child.name} {_shown(code)}; it is started again in {wait_s:.1f} s")
            if self._stopping.wait(wait_s):
                self.code = code
                return
            self.restarts += 1

    def _once(self) -> int:
        """Run the command to its end; its exit code, or minus the signal that ended it."""
        env = dict(os.environ if self.child.env is None else self.child.env)
        if self.restarts:
            env.pop("HEADWATER_CRASH", None)  # a crash on purpose happens once
        try:
            log = self.child.log.open("ab") if self.child.log else None
        except OSError as e:
            self._told(f"{self.child.log}: can't be written: {e.strerror}")
            return errors.StorageError.exit_code
        try:
            with self._lock:
                if self._stopping.is_set():
                    return 0
                self._process = _spawn(self.child.command, env, log)
            return self._process.wait()
        except OSError as e:
            self._told(f"{self.child.command[0]}: {e.strerror}")
            return 127
        finally:
            if log is not None:
                log.close()


def _spawn(command: list[str], env: Mapping[str, str], log: IO[bytes] | None) -> "subprocess.Popen[bytes]":
    """As infra._proxy.spawn, which always logs to a file: an own session, and death with this thread."""
    found = shutil.which(command[0])
    if found is None:
        raise FileNotFoundError(2, "no such command", command[0])
    line = [sys.executable, "-I", "-S", _proxy.__file__, str(os.getpid()), found, *command[1:]]
    stdin = subprocess.DEVNULL if log else None
    return subprocess.Popen(line, env=env, stdin=stdin, stdout=log, stderr=log, start_new_session=True)


def _shown(code: int) -> str:
    if code < 0:
        return f"was ended by {signal.Signals(-code).name}"
    what = FOR_A_PERSON.get(code) or {5: "BrokerError", 11: "ElasticError", WATCHDOG: "its watchdog"}.get(code)
    return f"ended with exit code {code}" + (f" ({what})" if what else "")


def _say(line: str) -> None:
    sys.stderr.write(f"headwater: {line}\n")
    sys.stderr.flush()


class Supervisor:
    """Several children, kept. As a context manager it stops them all on leaving, within STOP_S_MAX.

    `logs` is the folder for their output, one file each; None: it goes where ours goes. `told` hears of every
    end and restart, one line each, from threads of its own.
    """

    def __init__(
        self,
        logs: Path | None = None,
        told: Callable[[str], object] = _say,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logs, self._told, self._clock = logs, told, clock
        self._keepers: dict[str, _Keeper] = {}

    def start(self, name: str, command: list[str], env: Mapping[str, str] | None = None) -> None:
        """Start one more; `env` is its whole environment. A command that can't run is told by `failures`."""
        if name in self._keepers:
            raise DataError(f"child {name}: started already; each name once is wanted")
        log = None
        if self._logs is not None:
            try:
                self._logs.mkdir(parents=True, exist_ok=True)
            except OSError as e:
                raise StorageError(f"{self._logs}: can't be made: {e.strerror}") from None
            log = self._logs / f"{name}.log"
        self._keepers[name] = _Keeper(Child(name, command, log, env), self._told, self._clock)
        self._keepers[name].thread.start()

    @property
    def restarts(self) -> dict[str, int]:
        """By child, since the start."""
        return {name: keeper.restarts for name, keeper in self._keepers.items()}

    @property
    def pids(self) -> dict[str, int]:
        """Of the children that run now."""
        return {name: pid for name, keeper in self._keepers.items() if (pid := keeper.pid) is not None}

    def failures(self) -> dict[str, str]:
        """Children that were given up → exit code and the end of their log."""
        ended = {name: k for name, k in self._keepers.items() if k.code}
        return {name: f"{_shown(k.code or 0)}{_end_of(k.child.log)}" for name, k in ended.items()}

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until every child has ended for good; whether that is so."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        for keeper in self._keepers.values():
            keeper.thread.join(None if until_s is None else max(0.0, until_s - time.monotonic()))
        return not any(keeper.thread.is_alive() for keeper in self._keepers.values())

    def ask(self, number: int = signal.SIGTERM) -> None:
        """Pass a signal on to all; none is started again."""
        for keeper in self._keepers.values():
            keeper.ask(number)

    def stop(self, within_s: float = STOP_S_MAX) -> dict[str, int]:
        """SIGTERM to all, SIGKILL to those that still run after `within_s`; the exit codes."""
        self.ask()
        started = list(self._keepers.values())
        until_s = time.monotonic() + within_s
        for keeper in started:
            keeper.thread.join(max(0.0, until_s - time.monotonic()))
        for keeper in started:
            if keeper.thread.is_alive():
                keeper.kill()
                keeper.thread.join(5.0)
        return {k.child.name: -signal.SIGKILL if k.code is None else k.code for k in started}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _end_of(log: Path | None) -> str:
    try:
        text = log.read_text(errors="replace")[-LOG_CHARS:].strip() if log else ""
    except OSError:
        return ""
    return f"; the end of {log}:\n{text}" if text else ""


def supervise(command: list[str], stop_s: float = STOP_S_MAX) -> int:
    """Keep one command running; SIGTERM and SIGINT are passed on and end it. Call it from the main thread.

    Returns the exit code to leave with: 0 when it ended well or as asked, else the one that was given up on.
    """
    keeper = Supervisor()
    asked = threading.Event()

    def pass_on(number: int, _: object) -> None:
        asked.set()
        # Not here: a handler may interrupt the very code whose lock it would wait for.
        threading.Thread(target=keeper.ask, args=(number,), daemon=True).start()

    before = {n: signal.signal(n, pass_on) for n in (signal.SIGTERM, signal.SIGINT)}
    try:
        keeper.start("the process", command)
        while not asked.is_set() and not keeper.join(0.2):
            pass
        if asked.is_set():
            keeper.join(stop_s)
        [code] = keeper.stop(0.0 if asked.is_set() else stop_s).values()
        return code if code >= 0 else 128 - code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
