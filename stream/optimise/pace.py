"""How long a call of each form takes: all of them in turn, round after round, so that what else runs meets all alike.

A call is onnxruntime's alone; what fills the inputs is the same for every form, and isn't counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from stream.block import Block, take
from stream.learn.onnx_model import OnnxModel

CALLS, CALLS_MIN = 200, 10  # of a form in a round; the fewer, the longer a call takes
ROUND_S = 0.25  # about as long a form is asked in a round


@dataclass(frozen=True, slots=True)
class Pace:
    """Of a row: microseconds of its call over the rows in it; medians of the rounds."""

    p50_us: float
    p99_us: float


def paces(
    models: Mapping[str, OnnxModel],
    block: Block,
    batch: int,
    rounds: int,
    now_s: Callable[[], float],
    told: Callable[[], object] = lambda: None,
) -> dict[str, Pace]:
    """Of calls of `batch` rows of the block; `told` hears after each form of each round."""
    starts = range(0, max(1, min(len(block) - batch + 1, CALLS * batch)), batch)
    pieces = [take(block, range(at, min(at + batch, len(block)))) for at in starts]
    asked = {name: [model.feeds(piece) for piece in pieces] for name, model in models.items()}
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in models}
    order = list(models)
    for number in range(rounds):
        for name in order[number % len(order) :] + order[: number % len(order)]:
            run, feeds = models[name].run, asked[name]
            for warm in feeds[:3]:
                run(warm)
            taken: list[float] = []
            end_s = now_s() + ROUND_S
            while len(taken) < CALLS and (len(taken) < CALLS_MIN or now_s() < end_s):
                one = feeds[len(taken) % len(feeds)]
                begin_s = now_s()
                run(one)
                taken.append(now_s() - begin_s)
            low, high = np.percentile(taken, [50, 99]) * 1e6 / len(pieces[0])
            found[name].append((float(low), float(high)))
            told()
    return {name: Pace(*np.median(each, axis=0).tolist()) for name, each in found.items()}
