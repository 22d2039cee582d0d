"""Do the statistics of experiments keep what they promise? Simulated, and assignment in bulk.

    python -m benchmarks.experiment [--short] [--json]

*Equal arms*: 2,000 experiments without any effect for each metric and each split of units, looked at after every
outcome; how many ever say that arms differ. Beside it the usual z-test, looked at as often. A metric without bounds may
still be silent at the end, for want of outcomes for how skewed it is; so it is told how many were not.

*Planted effects*: how many are found by the time at which a z-test of fixed size has 80 % power, and within three times
that; the median outcomes of those found, in fixed sizes; how many intervals hold the planted effect.

*Assignment*: 10 million units, whether they fall evenly (into points of version 1, slots of version 2), whether two
salts' answers have to do with each other, and how many a second. Everything has fixed seeds, so a run can be repeated;
the short form takes at most 60 s.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from scipy.stats import chi2, norm

from benchmarks import _simulated as simulated
from benchmarks._report import Row, report
from benchmarks._simulated import ALPHA, FARTHEST, Metric
from stream.block import F64
from stream.experiment import slots
from stream.experiment.bulk import arms_at, bytes_of, points, points_of, slots_of
from stream.predict.assign import seed_of

SPLITS = ((0.5, "50:50"), (0.1, "10:90"))
LIFTS = (0.05, 0.1, 0.2)
SEED = 20
LONGER = 4  # times as many outcomes, for what is silent while outcomes are few
BINS, GRID, SALTS, SURE = 1_000, 20, 8, 0.01  # SURE: the least p-value of fixed seeds that is no alarm
CHUNK = 1_000_000
WEIGHTS = {"control": 9.0, "treatment": 1.0}
Told = Callable[[str, Iterable[Any], int], Iterator[Any]]


def equal(runs: int, outcomes: int, told: Told) -> list[Row]:
    """False alarms of every metric and split, and of the sample ratio."""
    rows = []
    for metric in simulated.METRICS:
        for share, split in SPLITS:
            rows += alarms(metric, share, f"equal arms, {metric.name}, {split}", runs, outcomes, told)
    [skewed] = [m for m in simulated.METRICS if m.name == "exponential"]
    title = f"equal arms, exponential, 10:90, {LONGER} × as long"
    rows += alarms(skewed, 0.1, title, runs // 2, LONGER * outcomes, told)
    for shares in ((0.5, 0.5), (0.9, 0.1), (0.6, 0.3, 0.1)):
        title = "shares kept, " + ":".join(f"{100 * s:.0f}" for s in shares)
        doubted = list(told(title, simulated.kept_shares(shares, runs, outcomes, SEED), runs))
        rows.append(Row(f"{title}: ever doubted", 100.0 * sum(doubted) / runs, "%", 100 * ALPHA, at_most=True))
    return rows


def alarms(metric: Metric, share: float, title: str, runs: int, outcomes: int, told: Told) -> list[Row]:
    """False alarms of one metric and split."""
    found = list(told(title, simulated.equal_arms(metric, share, runs, outcomes, SEED), runs))
    wrong, said, fooled = (100.0 * sum(column) / runs for column in zip(*found, strict=True))
    rows = [Row(f"{title}: ever told apart", wrong, "%", 100 * ALPHA, at_most=True)]
    if not metric.bounded:
        rows.append(Row(f"{title}: outcomes enough to speak at the end", said, "%"))
    return [*rows, Row(f"{title}: z-test looked at always", fooled, "%")]


def effects(lifts: Iterable[float], runs: int, told: Told) -> list[Row]:
    """Planted effects, found how often and how soon."""
    rows = []
    for metric in simulated.PLANTED:
        for share, split in SPLITS:
            for lift in lifts:
                rows += effect(metric, lift, share, f"{metric.name}, +{100 * lift:g} %, {split}", runs, told)
    return rows


def effect(metric: Metric, lift: float, share: float, title: str, runs: int, told: Told) -> list[Row]:
    """One planted effect."""
    found = list(told(title, simulated.planted(metric, lift, share, runs, SEED), runs))
    when = [f.horizons for f in found if f.horizons <= FARTHEST]
    size = simulated.fixed_horizon(metric, lift, share)
    rows = [
        Row(f"{title}: fixed size, 80 % power", size, "outcomes"),
        Row(f"{title}: z-test of fixed size finds", 100.0 * sum(f.once for f in found) / runs, "%"),
        Row(f"{title}: found within the fixed size", 100.0 * sum(w <= 1 for w in when) / runs, "%"),
        Row(f"{title}: found within {FARTHEST} × that", 100.0 * len(when) / runs, "%"),
        Row(f"{title}: intervals that hold the effect", 100.0 * sum(f.held for f in found) / runs, "%", 95.0),
    ]
    if when:
        middle = statistics.median(when)
        rows.append(Row(f"{title}: median when found / fixed size", middle, "×"))
        rows.append(Row(f"{title}: median when found", middle * size, "outcomes"))
    return rows


def chi_squared(observed: F64, expected: F64) -> float:
    """The p-value of counts, of which one follows from the others."""
    return float(chi2.sf(((observed - expected) ** 2 / expected).sum(), observed.size - 1))


def independent(table: F64) -> float:
    """The p-value of a table of counts whose rows should have nothing to do with its columns."""
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / table.sum()
    free = (table.shape[0] - 1) * (table.shape[1] - 1)
    return float(chi2.sf(((table - expected) ** 2 / expected).sum(), free))


def assignment(units: int, told: Told) -> list[Row]:
    """Evenness, independence and speed, of names that count up: the least random that there are."""
    seeds = [seed_of("checkout", f"salt{i}") for i in range(SALTS)]
    counts, treated, second = np.zeros(BINS), 0, np.zeros(slots.SLOTS)
    table_of_two = slots.fresh(slots.quotas([0.9, 0.1]))
    tables = {pair: np.zeros((GRID, GRID)) for pair in combinations(range(SALTS), 2)}
    bytes_s = texts_s = slots_s = 0.0
    points(["warm"], 1)
    for begin in told(f"{units:,} assignments, {SALTS} salts", range(0, units, CHUNK), units // CHUNK):
        names = [f"user-{i}" for i in range(begin, begin + CHUNK)]
        data, ends = bytes_of(names)
        start = time.process_time()
        found = [points(names, seeds[0])]
        arms = arms_at(found[0], WEIGHTS)
        texts_s += time.process_time() - start
        start = time.process_time()
        arms_at(points_of(data, ends, seeds[0]), WEIGHTS)
        bytes_s += time.process_time() - start
        start = time.process_time()
        fallen = slots_of(*bytes_of(names), slots.seed_of("checkout", "salt0"))
        arms_of_two = table_of_two[fallen]
        slots_s += time.process_time() - start
        assert arms_of_two.max() == 1
        second += np.bincount(fallen, minlength=slots.SLOTS)
        found += [points_of(data, ends, seed) for seed in seeds[1:]]
        counts += np.bincount((found[0] * BINS).astype(np.int64), minlength=BINS)
        treated += int((arms == 1).sum())
        cells = [(f * GRID).astype(np.int64) for f in found]
        for (a, b), table in tables.items():
            table += np.bincount(cells[a] * GRID + cells[b], minlength=GRID * GRID).reshape(GRID, GRID)
    even = np.full(slots.SLOTS, units / slots.SLOTS)
    share = WEIGHTS["treatment"] / sum(WEIGHTS.values())
    z = (treated - units * share) / np.sqrt(units * share * (1 - share))
    least = min(1.0, min(map(independent, tables.values())) * len(tables))
    return [
        Row(f"{units:,} units in {BINS:,} bins: p of χ²", chi_squared(counts, np.full(BINS, units / BINS)), "", SURE),
        Row(
            f"in {slots.SLOTS:,} slots: p of χ²",
            chi_squared(second, even),
            "",
            SURE,
        ),
        Row("in the arm of 10 %", 100.0 * treated / units, "%"),
        Row("in the arm of 10 %: p", float(2 * norm.sf(abs(z))), "", SURE),
        Row(f"{len(tables)} pairs of salts, {GRID} × {GRID} cells: least p of χ², Bonferroni", least, "", SURE),
        Row("assigned from a list of texts, one core", units / texts_s, "units/s", 1e6),
        Row("assigned by slots from a list of texts, one core", units / slots_s, "units/s", 1e6),
        Row("assigned from bytes end to end, one core", units / bytes_s, "units/s", 1e6),
    ]


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer and shorter experiments, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    runs, outcomes, units = (100, 1_000, CHUNK) if given.short else (2_000, 10_000, 10 * CHUNK)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:

        def told(title: str, things: Iterable[Any], total: int) -> Iterator[Any]:
            yield from bar.track(things, total=total, description=title)

        rows = assignment(units, told) + equal(runs, outcomes, told)
        rows += effects((0.2,), 20, told) if given.short else effects(LIFTS, 400, told)
    title = f"{runs:,} experiments of {outcomes:,} outcomes each, a peek after every one"
    return report(title, rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
