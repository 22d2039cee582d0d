"""`headwater run STEP…`: one process, one loop; ends cleanly on SIGTERM or Ctrl-C."""

import signal
from collections.abc import Callable, Sequence
from threading import Event

from consumers._chain import Pipeline, check_steps
from consumers._evaluate import Evaluate
from consumers._log import set_up
from consumers._loop import Chain, Loop
from consumers._vitals import Vitals, look_of
from consumers.settings import Settings
from stream.clock import SystemClock
from stream.errors import DataError
from stream.spec import Spec


def until_signalled() -> Callable[[], bool]:
    """A `stop` that turns true at SIGTERM or SIGINT."""
    asked = Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: asked.set())
    return asked.is_set


def run(spec: Spec, settings: Settings, steps: Sequence[str], stop: Callable[[], bool]) -> None:
    """Run steps until `stop()`. Raises HeadwaterError where a person can mend something."""
    set_up(settings, spec, "+".join(steps))
    chain: Chain
    if "evaluate" in steps:
        if len(steps) > 1:
            raise DataError(f"steps: found {', '.join(steps)}; evaluate runs in a process of its own")
        chain = Evaluate(spec, Vitals(spec, look_of(spec, settings)))
    else:
        chain = Pipeline(spec, settings, check_steps(steps), SystemClock())
    Loop(chain, settings).run(stop)
