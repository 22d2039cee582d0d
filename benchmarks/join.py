"""The join of features and labels, compiled, against the plain one that it replaced (tests/sim/join_reference.py).

    python -m benchmarks.join [--short] [--json]

Both get the same blocks and label records, in one run, alternately: flights' columns, blocks of 2,000 events in four
partitions, a label for each event that comes two blocks, 11 hours, later, marks after every block as at a commit. What
counts is the processor time of one event with its label: the row kept, the label record read, both joined, the row
handed out for training. Then the same with every tenth label of no event or a duplicate.
"""

import argparse
import gc
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import schemas
from benchmarks._report import Row, report
from stream.arrive.records import Record, Records, records_of
from stream.block import Block
from stream.encode.encoder import layout_of
from stream.join.columns import LabelColumns
from stream.join.join import Join
from stream.join.labels import Label, LabelReader
from stream.join.warm import warm
from stream.spec import Spec
from stream.spec_load import load_spec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights.yaml"
BLOCK, PARTITIONS, BEHIND, ROUNDS = 2_000, 4, 2, 7
EVENT_MS, START_MS = 10_000, 1_357_000_000_000
Run = Callable[[Spec, "Load"], int]


@dataclass(frozen=True)
class Load:
    """Blocks of events and, BEHIND of them later, the records of their labels: as columns and as objects."""

    blocks: list[Block]
    columns: list[Records]
    objects: list[list[Record]]

    def __len__(self) -> int:
        return sum(map(len, self.blocks))


def make_load(spec: Spec, events: int, odd: bool) -> Load:
    """Flight-like ids, in turn over the partitions; values are made up. odd: every tenth label fits no event."""
    layout, rng, codec = layout_of(spec), np.random.default_rng(5), schemas.codec("label")
    blocks, columns, objects = [], [], []
    for first in range(0, events, BLOCK):
        number = np.arange(first, min(first + BLOCK, events))
        times = START_MS + number * EVENT_MS
        ids = [f"2013-{i % 12:02}-{i % 28:02}-UA-{i}-EWR" for i in number.tolist()]
        n = len(ids)
        shape = ((n, len(layout.numeric)), (n, len(layout.categories)))
        partition = np.full(n, first // BLOCK % PARTITIONS, np.int32)
        categories = rng.integers(1, 1 << 60, shape[1], dtype=np.uint64)
        none, ends = np.zeros(0, np.uint64), np.zeros(n, np.int64)
        blocks.append(
            Block(spec.hash, ids, times, partition, number, rng.normal(size=shape[0]), categories, none, ends)
        )
        late_ms = BEHIND * BLOCK * EVENT_MS
        given = [(i, int(t) + late_ms) for i, t in zip(ids, times, strict=True)]
        if odd:
            given[::10] = [(("nobody", given[k - 1][0])[k // 10 % 2], given[k][1]) for k in range(0, n, 10)]
        values = [codec.encode({"id": i, "value": bool(k % 3), "time_ms": t}) for k, (i, t) in enumerate(given)]
        records = [Record("l", 0, first + k, given[k][1], given[k][0].encode(), v) for k, v in enumerate(values)]
        objects.append(records)
        columns.append(records_of("l", 0, records))
    return Load(blocks, columns, objects)


def _drive(join: Any, load: Load, add_labels: Callable[[int], None]) -> int:
    """Feed all; how many rows came out."""
    trained = 0
    for step in range(len(load.blocks) + BEHIND):
        if step < len(load.blocks):
            block = load.blocks[step]
            join.add_features(block, int(block.partition[0]), block.offset.tolist())
        if step >= BEHIND:
            add_labels(step - BEHIND)
        training, _ = join.advance(caught_up=step >= len(load.blocks))
        trained += len(training) if training else 0
        for partition in range(PARTITIONS):
            join.features_mark(partition)
        join.labels_mark(load.objects[max(0, step - BEHIND)][-1].offset + 1)
    return trained


def compiled(spec: Spec, load: Load) -> int:
    """The join as consumers/join.py runs it."""
    join, reader = Join(*_made(spec)), LabelColumns(spec)

    def add(step: int) -> None:
        labels, _ = reader.read(load.columns[step])
        join.add_labels(labels)

    return _drive(join, load, add)


def plain(spec: Spec, load: Load) -> int:
    """As it ran before, a Python object for each event and label."""
    # By name: nothing but tests and this comparison may use what lies in tests.
    join, reader = importlib.import_module("tests.sim.join_reference").Join(*_made(spec)), LabelReader(spec)

    def add(step: int) -> None:
        read = [reader.read_bytes(r.value or b"", r.offset, r.timestamp, r) for r in load.objects[step]]
        join.add_labels([x for x in read if isinstance(x, Label)])

    return _drive(join, load, add)


def _made(spec: Spec) -> tuple[Any, ...]:
    negative = spec.label.timeout == "negative"
    return spec.hash, layout_of(spec), range(PARTITIONS), spec.label.window, spec.label.grace, negative


def measure(spec: Spec, load: Load) -> dict[str, list[float]]:
    """µs of the processor for an event with its label, of each way, a figure a round."""
    found: dict[str, list[float]] = {"compiled": [], "plain": []}
    ways: list[tuple[str, Run]] = [("compiled", compiled), ("plain", plain)]
    rows = set()
    for number in range(ROUNDS):
        for name, run in ways[:: 1 if number % 2 else -1]:
            gc.collect()
            begin_s = time.process_time()
            rows.add(run(spec, load))
            found[name].append((time.process_time() - begin_s) / len(load) * 1e6)
            print(f"round {number + 1}: {name} {found[name][-1]:.2f} µs", file=sys.stderr)
    assert len(rows) == 1, f"the two joined differently: {rows} rows"
    return found


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer events, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    spec, events, rows = load_spec(EXAMPLE), 20_000 if given.short else 60_000, []
    warm(spec)
    for kind, odd in (("every label fits", False), ("every tenth label fits nothing", True)):
        found = measure(spec, make_load(spec, events, odd))
        ratios = [b / a for a, b in zip(found["compiled"], found["plain"], strict=True)]
        rows += [Row(f"{name} join, {kind}", statistics.median(us), "µs/event") for name, us in found.items()]
        rows.append(Row(f"compiled / plain, {kind}", statistics.median(ratios), "×", goal=None if odd else 5.0))
    return report(f"{events:,} events and labels, {ROUNDS} rounds, alternately, medians", rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
