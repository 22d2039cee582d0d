"""What every benchmark prints: a table for people, or with --json a list of {name, value, unit, goal, holds}."""

import json
import logging
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

import structlog
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. goal: the least (or, with at_most, the largest) value that holds; None where nothing is promised."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = False

    @property
    def holds(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def quiet_log() -> None:
    """From now on the program's log lines are warnings only, on standard error: standard output is for the results."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def machine() -> str:
    """This machine, in one line."""
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{os.cpu_count()} cores, {memory_gib:.0f} GiB, Python {platform.python_version()}, {platform.machine()}"


def report(title: str, rows: Sequence[Row], as_json: bool) -> int:
    """Print; returns the exit code: 0 when every goal holds."""
    if as_json:
        found = [{**asdict(r), "holds": r.holds} for r in rows]
        for row in found:
            row.pop("at_most")
        sys.stdout.write(json.dumps(found, indent=1) + "\n")
    else:
        table = Table("what", "value", "unit", "goal", "holds", title=title)
        for r in rows:
            goal = "" if r.goal is None else f"{'≤' if r.at_most else '≥'} {r.goal:g}"
            table.add_row(r.name, f"{r.value:,.2f}", r.unit, goal, {None: "", True: "yes", False: "NO"}[r.holds])
        console = Console(width=120)
        console.print(table)
        console.print(f"{machine()}; {datetime.now(UTC):%Y-%m-%d}", highlight=False)
    return 0 if all(r.holds is not False for r in rows) else 1
