"""A trained model's way to bytes and back, against pickling River's model of the same rows."""

import pickle
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks._report import Row
from benchmarks._river import adaptive_forest, hoeffding, whole
from benchmarks._rows import Rows
from benchmarks._run import model_of, now, since
from stream.learn.learner import Learner
from stream.learn.models import MODELS
from stream.registry.snapshot import pack, unpack

PAIRS = (("tree.hoeffding", hoeffding, {}), ("forest.adaptive", adaptive_forest, {"n_models": 10, "n_jobs": 1}))
ROUNDS = 5


def rows(data: Rows, short: bool, told: Callable[[str], Any]) -> list[Row]:
    """Of each model: bytes, save and load, ours and River's."""
    lines: list[Row] = []
    seen = data.head(500 if short else 20_000)
    for name, make, params in PAIRS:
        if name not in MODELS:
            lines.append(Row(f"snapshot of {name}: not there yet", 0.0, ""))
            continue
        told(f"training {name} and River's on {len(seen):,} flights")
        mine, fresh, theirs = model_of(name, seen, **params), model_of(name, seen, **params), make(seen)
        for block, label in seen.blocks():
            mine.score_learn(block, label)
        for x, y in zip(whole(seen), seen.targets(), strict=True):
            theirs.learn_one(x, y)
        lines += _compared(f"snapshot of {name}, {len(seen):,} flights: ", mine, fresh, theirs)
    return lines


def _compared(first: str, mine: Learner, fresh: Learner, theirs: Any) -> list[Row]:
    times: dict[str, list[float]] = {"save": [], "load": [], "River save": [], "River load": []}
    body, pickled = pack(mine.state()), pickle.dumps(theirs, pickle.HIGHEST_PROTOCOL)
    for _ in range(ROUNDS):
        _timed(times["save"], lambda: pack(mine.state()))
        _timed(times["load"], lambda: fresh.restore(unpack(body)))
        _timed(times["River save"], lambda: pickle.dumps(theirs, pickle.HIGHEST_PROTOCOL))
        _timed(times["River load"], lambda: pickle.loads(pickled))
    lines = [Row(f"{first}ours", len(body) / 1e6, "MB"), Row(f"{first}River's pickle", len(pickled) / 1e6, "MB")]
    lines += [Row(first + what, 1000 * statistics.median(t), "ms") for what, t in times.items()]
    for what in ("save", "load"):
        ratios = [b / a for a, b in zip(times[what], times[f"River {what}"], strict=True)]
        lines.append(Row(f"{first}River {what} / ours", statistics.median(ratios), "×"))
    return lines


def _timed(to: list[float], call: Callable[[], Any]) -> None:
    begin = now()
    call()
    to.append(since(begin))
