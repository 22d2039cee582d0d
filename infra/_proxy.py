"""Start a child that never outlives this process, even when this process is killed (Linux; elsewhere it may).

The child is this file first: it asks the kernel for SIGKILL at its parent's death, then becomes the command.
Invariant: the kernel's "parent" is the *thread* that forked, so that thread here lasts as long as the child.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Thread

_PR_SET_PDEATHSIG, _SIGKILL = 1, 9


def spawn(command: Sequence[str], log: Path) -> tuple["subprocess.Popen[bytes]", Thread]:
    """Run `command` in its own session, output appended to `log`; the thread ends when the child has."""
    born: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        line = [sys.executable, "-I", "-S", __file__, str(os.getpid()), *command]
        try:
            with log.open("ab") as out:
                child = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
        except OSError as error:
            born.set_exception(error)
            return
        born.set_result(child)
        child.wait()

    keeper = Thread(target=keep, name=f"keeper of {Path(command[0]).name}", daemon=True)
    keeper.start()
    return born.result(), keeper


def _become(parent: int, command: list[str]) -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        sys.exit("the process that started this has ended already")
    os.execv(command[0], command)


if __name__ == "__main__":
    _become(int(sys.argv[1]), sys.argv[2:])
