"""The pictures in docs/monitor: `python -m tests.browser.screenshots docs/monitor` takes them anew.

It runs the demo on a broker of its own, with the monitor beside it, and takes the page as the demo goes on: at its
start, in its middle, when the experiment has found an arm out, and after the broker was killed with signal 9.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from infra.kafka import LocalBroker
from tests.browser._window import DESK, PHONE, Window, chromium, found

WAIT_S = 150.0
BYTES_MAX = 250_000
FLIGHTS, RATE = 12_000, 110  # two minutes: the guardrail finds the bad arm out in the first
_VERDICTS = "[...document.querySelectorAll('#experiment .verdict')].map((v) => v.textContent)"

_EVENTS = "Number(document.querySelector('#figures .big').textContent.replaceAll(',', ''))"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--flights", type=int, default=FLIGHTS)
    parser.add_argument("--rate", type=float, default=RATE)
    given = parser.parse_args()
    if found() is None:
        print("no chromium with chromedriver on the PATH, nor at HEADWATER_CHROMIUM", file=sys.stderr)
        return 1
    given.folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="headwater-pictures-") as made,
        LocalBroker().start() as broker,
        chromium(Path(made) / "chromium") as window,
    ):
        runs = Path(made) / "runs"
        with _demo(broker.address, runs, given.flights, given.rate) as spec, _monitor(broker.address, spec) as url:
            _take(window, url, broker, given.folder, given.flights)
    return 0


def _take(window: Window, url: str, broker: LocalBroker, folder: Path, flights: int) -> None:
    window.open(url)
    _until(window, "document.querySelector('#mood').dataset.level === 'ok'")
    _until(window, "document.querySelectorAll('#snapshots tbody tr').length > 1")
    _save(window, folder / "start.png", "#main", 1040)
    _until(window, f"{_EVENTS} > {flights * 0.4}")
    _until(window, "document.querySelectorAll('#experiment canvas').length > 0")
    _save(window, folder / "middle.png", "#main", 1040)
    _until(window, f"{_VERDICTS}.some((v) => v !== 'undecided')")
    _until(
        window, "[...document.querySelectorAll('#experiment .history b')].some((b) => /guardrail/.test(b.textContent))"
    )
    _until(window, "document.querySelectorAll('#predictions .bars i').length > 3")
    _save(window, folder / "decided.png", "#experiment", 1120)
    window.media(dark=True)
    _save(window, folder / "dark.png", "#main", 1040)
    window.size(*PHONE, 2)
    _save(window, folder / "phone.png", "#main", 740)
    window.media(dark=False)
    window.size(*DESK)
    _save(window, folder / "rejected.png", "#rejected", 1000)
    broker.kill()
    _until(window, "document.title.startsWith('broker unreachable')")
    time.sleep(8)  # old enough for its age to be worth telling
    _save(window, folder / "broken.png", "#main", 1040)


def _until(window: Window, expression: str) -> None:
    limit_s = time.monotonic() + WAIT_S
    while not window.js(expression):
        if time.monotonic() > limit_s:
            raise SystemExit(f"not seen in {WAIT_S:.0f} s: {expression}\n{window.text('body')[:3000]}")
        time.sleep(0.2)


def _save(window: Window, path: Path, section: str, height: int) -> None:
    """The page from this section's top (of `#main`: from the page's), so high."""
    time.sleep(1.5)  # charts are drawn once more after a change of size or of colours
    top = (
        0
        if section == "#main"
        else window.js("document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY", section)
    )
    picture = window.picture(max(0, top - 16), height)
    path.write_bytes(picture)
    print(f"{path}: {len(picture):,} bytes", flush=True)
    if len(picture) > BYTES_MAX:
        raise SystemExit(f"{path}: {len(picture):,} bytes; at most {BYTES_MAX:,} are wanted in the docs")
    if complaints := window.errors():
        raise SystemExit(f"{path}: the console complained: {complaints}")


@contextmanager
def _demo(kafka: str, runs: Path, flights: int, rate: float) -> Iterator[Path]:
    """The demo, as a person starts it; gives the spec that it made."""
    runs.mkdir()
    words = [
        "demo",
        "--flights",
        str(flights),
        "--rate",
        str(rate),
        "--report",
        str(runs / "report.html"),
        "--no-monitor",
    ]
    with _running(words, {"HEADWATER_KAFKA": kafka}, runs / "demo.log"):
        limit_s = time.monotonic() + WAIT_S
        while not (specs := list(runs.glob("*/flights.yaml"))):
            if time.monotonic() > limit_s:
                raise SystemExit((runs / "demo.log").read_text()[-3000:])
            time.sleep(0.2)
        yield specs[0]


@contextmanager
def _monitor(kafka: str, spec: Path) -> Iterator[str]:
    """The monitor beside it; gives the address that it prints."""
    log = spec.parent / "monitor.log"
    words = ["monitor", str(spec), "--write", "--bind", "127.0.0.1:0"]
    with _running(words, {"HEADWATER_KAFKA": kafka, "HEADWATER_DATA": str(spec.parent)}, log):
        limit_s = time.monotonic() + WAIT_S
        while not (url := re.search(r"http://\S+", log.read_text())):
            if time.monotonic() > limit_s:
                raise SystemExit(log.read_text()[-3000:])
            time.sleep(0.1)
        yield url[0]


@contextmanager
def _running(words: list[str], more: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "consumers.cli", *words], env={**os.environ, **more}, stdout=out, stderr=out
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # without a broker the demo's steps take their time
            process.kill()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
