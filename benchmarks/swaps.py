"""The prediction server while its model is replaced 10,000 times, and how soon a label is in the answers.

    python -m benchmarks.swaps [--short] [--json] [--only swaps|fresh] [--ghz PATH]

Swaps: the server in a process of its own, calls at a fixed rate; half seconds without swaps, with 50 a second and with
4 a second, which is what a pipeline does that writes a snapshot each 250 ms, take turns while the calls go on, so that
what else the machine does meets all three alike. A call counts to the half second in which it began; of each 15 s the
p99 of the three is compared, and the median of these is shown. A swap is what the follower does: read the snapshot from
disk, verify it, restore every arm, try each, replace the model. Memory is the process's resident set, after a tenth of
the swaps and at the end. Freshness: broker, pipeline and server as real processes, flights and their labels at a steady
rate for ten minutes; the time from the broker taking a label to the first answer of a model that had learned it. The
short form, at most 60 s, makes 150 swaps and measures 20 s of labels.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._ghz import by_ghz, find_ghz, protoset
from benchmarks._report import Row, quiet_log, report
from benchmarks._rows import EXAMPLE, flights
from benchmarks._serve import learned, make_server, pipeline, request_of
from benchmarks.serve import by_grpcio
from consumers._follow import Announced, step_back
from consumers._kafka import create_topics
from consumers._supervise import Supervisor
from consumers.demo.asker import Asker
from consumers.demo.flights import read_flights
from consumers.demo.publish import FlightProducer
from consumers.demo.result import freshness
from consumers.predict import settle
from consumers.settings import Settings
from consumers.status import status
from infra.kafka import LocalBroker, free_port
from schemas import headwater_pb2 as pb
from stream.learn.arms import digest
from stream.learn.warm import warm
from stream.registry import snapshot as snapshots
from stream.spec import Spec
from stream.spec_load import load_spec

ROOT = Path(__file__).resolve().parents[1]
ROWS, RATE = 5_000, 300  # flights learned by the model; calls a second while it is replaced
SLOT_S, ROUND_S = 0.5, 15  # how long one pace holds; of one comparison
PACES = {"no swaps": 0.0, "50 swaps/s": 0.02, "4 swaps/s": 0.25}  # seconds between two swaps
LABELS_A_SECOND = 300


# -- the server: replaces its model while standard input is open, and says how often it has ---------------------------


def pace_at(now_s: float) -> str:
    """The pace that holds at a time, in seconds since the epoch."""
    return list(PACES)[int(now_s / SLOT_S) % len(PACES)]


def serve(folder: Path) -> int:
    """Serve, and replace the model as the clock says, from the first line of standard input to its end."""
    quiet_log()
    spec, rows = pipeline(), flights(ROWS)
    written = []
    for generation, count in enumerate((ROWS // 2, ROWS)):
        states = learned(spec, rows.head(count)).arms.states()
        through = {"label_offset": count - 1, "label_time_ms": 0, "label_published_ms": 0}
        meta = {
            "generation": generation, "spec_hash": spec.hash, "pipeline": spec.name, "training_offset": count,
            "rows": count, "state_hash": digest(states), "through": through, "as_of_ms": 0,
        }  # fmt: skip
        written.append(snapshots.write(folder, states, meta, 3))
    server = make_server(spec, rows)
    port = server.listen("127.0.0.1:0")
    server.server.tell(True)
    settle()
    print(port, flush=True)
    step_back()  # as the follower's thread does
    announced, records = Announced(spec), [_record(spec, found) for found in written]
    over = threading.Event()
    sys.stdin.readline()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    made = 0
    while not over.is_set():
        now_s = time.time()
        pace_s, slot_ends_s = PACES[pace_at(now_s)], (int(now_s / SLOT_S) + 1) * SLOT_S
        if pace_s:
            found = announced.load(records[made % 2])
            server.plane.swap(replace(found, generation=made + 2))
            made += 1
        time.sleep(max(0.0, min(slot_ends_s, now_s + (pace_s or SLOT_S)) - time.time()))
    print(made, flush=True)
    server.close()
    return 0


def _record(spec: Spec, found: snapshots.Snapshot) -> dict[str, Any]:
    """What of a record of the models topic is needed to load what it announces."""
    uri = found.path.resolve().as_uri()
    return {"uri": uri, "sha256": found.sha256, "spec_hash": spec.hash, "pinned": False, "as_of_ms": 0}


# -- swaps ---------------------------------------------------------------------------------------------


def resident_mib(pid: int) -> float:
    """Memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def swaps(short: bool, ghz: str | None, told: Any) -> list[Row]:
    """Memory, p99 and failed calls over all the swaps."""
    total = 150 if short else 10_000
    seconds = 3 if short else ROUND_S
    a_second = sum(SLOT_S // pace_s for pace_s in PACES.values() if pace_s) / (SLOT_S * len(PACES))
    rounds = math.ceil(total / a_second / seconds)
    request = request_of(flights(20))
    with tempfile.TemporaryDirectory() as folder:
        body, schema = Path(folder, "body"), Path(folder, "schema")
        body.write_bytes(request.SerializeToString())
        schema.write_bytes(protoset(pb.DESCRIPTOR))
        load = by_ghz(ghz, "headwater.v1.Predictions.Predict", body, schema) if ghz else by_grpcio(request)
        command = [sys.executable, "-m", "benchmarks.swaps", "--serve", str(Path(folder, "snapshots"))]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            port = int(child.stdout.readline())
            load(port, RATE * seconds, 8, RATE)
            child.stdin.write("begin\n")
            child.stdin.flush()
            p99: list[dict[str, float]] = []
            warm_mib, failed = 0.0, 0
            for number in range(rounds):
                seen = load(port, RATE * seconds, 8, RATE)
                failed += seen.failed
                begun = np.array([pace_at(s) for s in seen.begun_s])
                p99.append({pace: float(np.quantile(seen.took_ms[begun == pace], 0.99)) for pace in PACES})
                if not warm_mib and number + 1 >= rounds / 10:
                    warm_mib = resident_mib(child.pid)
                told(f"{number + 1} of {rounds} rounds, {resident_mib(child.pid):.0f} MiB")
            end_mib = resident_mib(child.pid)
            child.stdin.close()
            done = int(child.stdout.readline())
            child.wait(30)
    first, *paces = PACES
    rows = [
        Row("swaps", done, "", goal=total),
        Row("failed calls", failed, "", goal=0, at_most=True),
        Row("memory after a tenth of the swaps", warm_mib, "MiB"),
        Row("memory, grown from then to the end", 100 * (end_mib / warm_mib - 1), "%", goal=1, at_most=True),
        Row(f"p99 at {RATE} calls/s, {first}", statistics.median(p[first] for p in p99), "ms"),
    ]
    for pace in paces:
        rows.append(Row(f"p99 at {RATE} calls/s, {pace}", statistics.median(p[pace] for p in p99), "ms"))
        changed = statistics.median(p[pace] / p[first] for p in p99)
        rows.append(Row(f"p99, changed by {pace}", 100 * (changed - 1), "%", goal=5, at_most=True))
    return rows


# -- freshness -----------------------------------------------------------------------------------------


def fresh(short: bool, told: Any) -> list[Row]:
    """From a label's arrival at the broker to the first answer that knows it."""
    seconds = 20 if short else 600
    data = read_flights(seconds * LABELS_A_SECOND)
    spec = load_spec(EXAMPLE)
    warm(spec)
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        broker = stack.enter_context(LocalBroker())
        settings = Settings(kafka=broker.address, data=Path(folder), grpc=f"127.0.0.1:{free_port()}")
        create_topics(settings, spec)
        env = dict(os.environ) | {
            "HEADWATER_KAFKA": settings.kafka, "HEADWATER_DATA": folder, "HEADWATER_GRPC": settings.grpc,
        }  # fmt: skip
        keeper = stack.enter_context(Supervisor(Path(folder) / "logs", told=told))
        command = [sys.executable, "-m", "consumers.cli"]
        keeper.start("loop", [*command, "run", str(EXAMPLE), "clean", "encode", "join", "learn"], env)
        keeper.start("serve", [*command, "serve", str(EXAMPLE)], env)
        asker = Asker(settings.grpc)
        _wait(lambda: "join" in status(spec, settings).steps and asker.server_is_up(), keeper)
        asker.start()
        stack.callback(asker.stop)
        told(f"{len(data):,} flights in {seconds} s")
        published = FlightProducer(spec, settings, dirty=False).run(
            data, LABELS_A_SECOND, lambda _: None, asker.ask_about
        )
        last = max(published.label_at)
        _wait(lambda: asker.through >= last, keeper)
        found = freshness(published.label_at, asker.answers)
        assert found is not None
    return [
        Row("labels seen in answers", found.labels, ""),
        Row("freshness, p50", found.p50_ms, "ms"),
        Row("freshness, p90", found.p90_ms, "ms"),
        Row("freshness, p99", found.p99_ms, "ms", goal=1000, at_most=True),
        Row("freshness, longest", max(found.all_ms), "ms"),
        Row("answers that failed", asker.failed, "", goal=0, at_most=True),
    ]


def _wait(done: Any, keeper: Supervisor, seconds: float = 120.0) -> None:
    until_s = time.monotonic() + seconds
    while not done():
        if keeper.failures() or time.monotonic() > until_s:
            raise RuntimeError(f"it never came about: {keeper.failures()}")
        time.sleep(0.1)


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer swaps and labels")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--only", choices=("swaps", "fresh"), help="one of the two measurements")
    parser.add_argument("--ghz", help="the native generator; default: one on PATH, kept, or built by Go")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve is not None:
        return serve(given.serve)
    quiet_log()
    told = lambda line: print(line, file=sys.stderr)  # noqa: E731
    ghz = given.ghz or find_ghz(build=not given.short)
    found: list[Row] = []
    if given.only != "fresh":
        found += swaps(given.short, ghz, told)
    if given.only != "swaps":
        found += fresh(given.short, told)
    generator = "ghz" if ghz else "grpcio"
    return report(
        f"flights; one linear arm (swaps), linear and tree (freshness); load by {generator}", found, given.json
    )


if __name__ == "__main__":
    sys.exit(main())
