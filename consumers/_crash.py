"""Named points at which a test can make the process kill itself, as a power cut would, or stand still.

HEADWATER_CRASH=learn.mid_update:3 sends SIGKILL to this process at the third pass of that point. Nothing is
flushed, nothing is caught. With :stop behind it (commit.*:1:stop) the process says where it is and stops there, at
each third (here: each) pass, until somebody sends SIGCONT: so a test can do something at exactly that moment.
Without the variable a point costs one comparison.
"""

import os
import signal
import sys

_wanted, _nth, _how = (*os.environ.get("HEADWATER_CRASH", "").split(":"), "", "")[:3]
_left = int(_nth or 1)


def crash_point(name: str) -> None:
    """Die or stop here if the environment asks for it."""
    global _left
    if not _wanted or not (name == _wanted or (_wanted.endswith("*") and name.startswith(_wanted[:-1]))):
        return
    _left -= 1
    if _left:
        return
    if _how != "stop":
        os.kill(os.getpid(), signal.SIGKILL)
    _left = int(_nth or 1)
    sys.stderr.write(f"headwater: stopped at {name}\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGSTOP)
