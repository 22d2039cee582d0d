"""A forest of ten trees, trained on flights: its way to a snapshot and back, against pickling River's.

    python -m benchmarks.forest_snapshot [--short] [--json]

Bytes are those of `stream.registry.snapshot.pack`, which is what a snapshot folder holds; save is state and pack (every
array copied), load is unpack and restore (indexes built). Both sides learn the same flights, without the columns of
thousands of values; they are timed alternately, in CPU time, and the median ratio of the rounds counts.
"""

import argparse
import pickle
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks._report import Row, report
from benchmarks._river import adaptive_forest, whole
from benchmarks._rows import MANY_VALUES, flights
from benchmarks._run import model_of
from stream.registry.snapshot import pack, unpack

FULL, SHORT = 20_000, 1_000
ROUNDS = 7


def seconds(call: Callable[[], Any]) -> float:
    """CPU time of one call."""
    begin = time.process_time()
    call()
    return time.process_time() - begin


def compared(rows: int) -> list[Row]:
    """Sizes, times and their ratios."""
    data = flights(rows).without(*MANY_VALUES)
    mine, fresh = (model_of("forest.adaptive", data, n_models=10, n_jobs=1) for _ in range(2))
    theirs = adaptive_forest(data)
    for block, label in data.blocks():
        mine.score_learn(block, label)
    for x, y in zip(whole(data), data.targets(), strict=True):
        theirs.learn_one(x, y)
    body, pickled = pack(mine.state()), pickle.dumps(theirs, pickle.HIGHEST_PROTOCOL)
    calls = {
        "save": (lambda: pack(mine.state()), lambda: pickle.dumps(theirs, pickle.HIGHEST_PROTOCOL)),
        "load": (lambda: fresh.restore(unpack(body)), lambda: pickle.loads(pickled)),
    }
    lines = [
        Row("ours, bytes", len(body) / 1e6, "MB"),
        Row("River's, pickled", len(pickled) / 1e6, "MB"),
        Row("River's size / ours", len(pickled) / len(body), "×", 1.0),
    ]
    for what, (ours, river) in calls.items():
        times = [(seconds(ours), seconds(river)) for _ in range(ROUNDS)]
        lines.append(Row(f"ours, {what}", 1000 * statistics.median(a for a, _ in times), "ms"))
        lines.append(Row(f"River's, {what}", 1000 * statistics.median(b for _, b in times), "ms"))
        ratio = statistics.median(b / max(a, 1e-6) for a, b in times)
        lines.append(Row(f"River's {what} / ours", ratio, "×", 10.0))
    assert pack(fresh.state()) == body
    return lines


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer flights, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    rows = SHORT if given.short else FULL
    return report(f"Snapshot of a forest of ten trees, {rows:,} flights", compared(rows), given.json)


if __name__ == "__main__":
    sys.exit(main())
