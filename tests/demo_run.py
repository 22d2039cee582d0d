"""One run of the demo as a person starts it, for all tests of the session that look at what came of it."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class DemoRun:
    """result: what --json gave; said: on standard error; folder: of its spec; kafka: where its topics still are."""

    result: dict[str, Any]
    report: Path
    said: str
    folder: Path
    kafka: str


def run_demo(kafka: str, folder: Path) -> DemoRun:
    """examples/demo.sh on a broker that is there; 12,000 flights judge the bad arm whoever else is busy."""
    report = folder / "report.html"
    done = subprocess.run(
        [ROOT / "examples" / "demo.sh", "--flights", "12000", "--rate", "600", "--report", report, "--json"],
        env={**os.environ, "HEADWATER_KAFKA": kafka, "HEADWATER_VENV": sys.prefix},
        capture_output=True,
        text=True,
        timeout=480,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout)
    return DemoRun(result, report, done.stderr, folder / result["pipeline"], kafka)
