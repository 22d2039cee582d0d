"""What a model takes of memory once it is open and has answered: measured in a process of its own, by what that grew.

In the process that asks, freed pages of the models before would be filled again, and a session would seem to cost
nothing. The new process opens a tiny model first, so that onnxruntime's own share isn't counted.
"""

import ctypes
import multiprocessing
import os
import resource
import statistics
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stream.learn.onnx_model import Level, session_of

CALLS = 20
WAIT_S = 300.0


def resident_bytes() -> int:
    """Of this process, without what the allocator could give back, nor pages of files, which libraries' code is."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    with suppress(OSError):
        _, resident, of_files, *_ = map(int, Path("/proc/self/statm").read_text().split())
        return (resident - of_files) * os.sysconf("SC_PAGE_SIZE")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _grown(tiny: bytes, body: bytes, level: Level, arena: bool, feeds: Mapping[str, NDArray[Any]]) -> int:
    """In the new process."""
    held = session_of(tiny, 1, "all")
    before = resident_bytes()
    session = session_of(body, 1, level, arena)
    for _ in range(CALLS):
        session.run(None, dict(feeds))
    grown = resident_bytes() - before
    assert held.get_inputs()
    return grown


def _tiny() -> bytes:
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n"]) for n in "xy")
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "tiny", [x], [y])
    opset = [helper.make_opsetid("", 18)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString())


def memory_bytes(
    bodies: Mapping[str, tuple[bytes, Level]],
    feeds: Mapping[str, NDArray[Any]],
    repeats: int,
    arena: bool = True,
    told: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Of each model, the median of `repeats` new processes, taken in turn."""
    found: dict[str, list[int]] = {name: [] for name in bodies}
    fresh, tiny = multiprocessing.get_context("spawn"), _tiny()
    with ProcessPoolExecutor(1, fresh, max_tasks_per_child=1) as pool:
        for _ in range(repeats):
            for name, (body, level) in bodies.items():
                found[name].append(pool.submit(_grown, tiny, body, level, arena, feeds).result(WAIT_S))
                told()
    return {name: statistics.median(each) for name, each in found.items()}
