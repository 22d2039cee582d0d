"""Compare with River, module by module; one table; exit code 1 when a line is further than 1e-9.

A module has `check(rows)`, which gives all its lines at once, or `plan(rows)`: by title, what makes one line. A plan's
lines can be chosen with `--match`, and each is told of on stderr when it is done, since long ones take many minutes.
"""

import argparse
import json
import sys
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.equivalence._table import Equal, table

LIMIT = 1e-9


def modules() -> list[str]:
    """Names of this package's modules that hold checks."""
    return sorted(p.stem for p in Path(__file__).parent.glob("*.py") if not p.stem.startswith("_"))


def lines_of(module: Any, rows: int, match: str) -> list[Equal]:
    """The lines of one module; of a plan those whose title contains `match`."""
    if not hasattr(module, "plan"):
        return list(module.check(rows))
    lines = []
    for title, make in module.plan(rows):
        if match in title:
            lines.append(make())
            print(f"{title}: {lines[-1]}", file=sys.stderr, flush=True)
    return lines


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m tests.equivalence", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="events of each stream that has so many")
    parser.add_argument("--only", choices=modules(), help="one module")
    parser.add_argument("--match", default="", help="of modules with a plan: the titles that contain this")
    parser.add_argument("--seeds", action="store_true", help="instead: forests with draws of their own, ten seeds each")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.seeds:
        told, equal = import_module("tests.equivalence._forest_seeds").table()
        print(told)
        return int(not equal)
    lines: list[Equal] = []
    for name in [given.only] if given.only else modules():
        lines += lines_of(import_module(f"tests.equivalence.{name}"), given.rows, given.match)
    print(json.dumps([asdict(line) for line in lines], indent=2) if given.json else table(lines))
    return int(any(max(line.difference, line.weights_difference or 0.0) > LIMIT for line in lines))


if __name__ == "__main__":
    sys.exit(main())
