"""How cost and memory grow, each point in a process of its own: `python -m benchmarks._growth MODEL WHAT SIZE ROWS`.

Rows are made up, a chunk at a time, outside of the timing. Memory is what the process's resident set grew by, at
most, since the kernels were loaded: the model, and less than 100 MiB for the chunk.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._report import Row
from benchmarks._rows import Rows, block_of
from benchmarks._run import model_of, now, since
from stream.block import F64, U64, Layout
from stream.learn.models import MODELS

CHUNK_NUMBERS = 4_000_000  # numbers in one chunk
MIX = np.uint64(0x9E3779B97F4A7C15)
Point = tuple[str, str, int, int]


def points(short: bool) -> list[Point]:
    """(model, what grows, to what, rows)."""
    found: list[Point] = []
    for model in ("linear.logistic", "tree.hoeffding"):
        sizes = (10, 1000) if short else (10, 100, 1000, 10_000)
        found += [(model, "features", n, (200_000 if short else 20_000_000) // n) for n in sizes]
        sizes = (100_000,) if short else (10_000, 100_000, 1_000_000, 10_000_000)
        found += [(model, "events", n, n) for n in sizes]
    found += [("linear.logistic", "categories", n, n) for n in ((100_000,) if short else (10**5, 10**6, 10**7))]
    if "forest.adaptive" in MODELS:
        found += [
            ("forest.adaptive", "trees", n, 2_000 if short else 20_000) for n in ((10,) if short else (10, 30, 100))
        ]
    return found


def rows(short: bool, told: Callable[[str], Any]) -> list[Row]:
    """Rate and memory at each point."""
    lines = []
    for model, what, size, count in points(short):
        name = f"{model}, {size:,} {what}" + ("" if what == "events" else f", {count:,} events")
        told(name)
        command = [sys.executable, "-m", "benchmarks._growth", model, what, str(size), str(count)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
        found = json.loads(done.stdout)
        lines.append(Row(name, count / found["seconds"], "events/s"))
        lines.append(Row(f"{name}: memory", found["grown_mib"], "MiB"))
    return lines


def _chunks(what: str, size: int, count: int) -> Iterator[tuple[F64, U64, F64]]:
    """numbers, category ids, labels that both say something about."""
    rng = np.random.default_rng(1)
    features = size if what == "features" else 10
    step = max(1, min(50_000, CHUNK_NUMBERS // features))
    for at in range(0, count, step):
        n = min(step, count - at)
        numbers = rng.normal(size=(n, features))
        if what == "categories":
            ids = (np.arange(at + 1, at + n + 1, dtype=np.uint64) * MIX)[:, None]
        else:
            ids = rng.integers(1, 21, (n, 2)).astype(np.uint64) * MIX
        label = (numbers[:, :5].sum(axis=1) + (ids[:, 0] % np.uint64(2)) + rng.normal(size=n) > 0.5).astype(np.float64)
        yield numbers, ids, label


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def main() -> int:
    """Learn one point; print seconds and what memory grew by."""
    model_name, what, size, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    params = {"n_models": size, "n_jobs": 1} if what == "trees" else {}
    model: Any = None
    seconds = before = most = 0.0
    for numbers, ids, label in _chunks(what, size, count):
        block = block_of(numbers, ids)
        if model is None:
            layout = Layout(tuple(map(str, range(numbers.shape[1]))), tuple(map(str, range(ids.shape[1]))), ())
            like = Rows("made up", layout, block, np.empty((0, 0), object), label)
            model_of(model_name, like, **params).score_learn(like.head(50).block, label[:50])
            before, model = _resident_mib(), model_of(model_name, like, **params)
        begin = now()
        model.score_learn(block, label)
        seconds += since(begin)
        most = max(most, _resident_mib())
    sys.stdout.write(json.dumps({"seconds": seconds, "grown_mib": most - before}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
