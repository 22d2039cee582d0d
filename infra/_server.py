"""What a local broker and a local Elasticsearch have in common: one process that can be killed, paused and restarted.

Whoever inherits starts it: `_launch` runs `_process` and `_keeper`, and returns once it is ready.
"""

import contextlib
import os
import shutil
import signal
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from threading import Thread
from typing import ClassVar, Self


class LocalServer(ABC):
    """A server's process, in its own session. Without a folder of the user's it lives in one that `stop` removes."""

    stop_s_max: ClassVar[float]  # from SIGTERM to SIGKILL

    def __init__(self) -> None:
        self._home: Path | None = None
        self._temporary = False
        self._port = 0
        self._command: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._keeper = Thread()

    @property
    @abstractmethod
    def pid(self) -> int:
        """The process id; an error when it does not run."""

    @abstractmethod
    def start(self) -> Self:
        """Run, and return once ready."""

    @abstractmethod
    def _launch(self) -> None: ...

    def kill(self) -> None:
        """SIGKILL, as in a crash; returns when it is gone. `restart` brings it back with its data."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def restart(self) -> None:
        """Run again on the same data and port, ended in good order first if it runs; returns once ready."""
        self._end(signal.SIGTERM)
        self._launch()

    def stop(self) -> None:
        """End in good order, by SIGKILL past stop_s_max; remove the temporary folder. Again: does nothing."""
        self._leave(signal.SIGTERM)

    def wait(self) -> None:
        """Return when it has ended, for whatever reason."""
        if self._process is not None:
            self._process.wait()

    def _leave(self, how: signal.Signals) -> None:
        self._end(how)
        if self._temporary and self._home is not None:
            shutil.rmtree(self._home, ignore_errors=True)
        self._home = None

    def _end(self, how: signal.Signals) -> None:
        # Not by the keeper thread's is_alive: after a Ctrl-C in its join, Python 3.11 takes a thread for ended.
        for step in (how, signal.SIGKILL):
            if self._process is not None and self._process.poll() is None:
                self._process.send_signal(step)
                self._process.send_signal(signal.SIGCONT)  # a paused one would not notice SIGTERM
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(self.stop_s_max)

    def __enter__(self) -> Self:
        return self if self._home is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
