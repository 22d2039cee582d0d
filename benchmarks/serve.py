"""The prediction server: calls a second against a bare echo server, latency at a fixed rate, rows a second of a batch.

    python -m benchmarks.serve [--short] [--json] [--ghz PATH] [--mlserver FOLDER]

Echo and ours get the same request and give the same answer, in processes of their own, alternately in one run; the
ratio of a round is what the server itself costs. Ours logs each answer to a real Kafka on the same cores. The load is
made by ghz, a Go program, which the full form builds where there is Go; else by grpcio, which takes as much of the
processor as the server. A batch is 4,096 flights as columns for a linear arm: from the message's bytes to the answer's
bytes, processor time of one thread, and over the wire. The short form, at most 60 s, makes fewer calls.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks._ghz import Load, Seen, by_ghz, find_ghz, protoset
from benchmarks._mlserver import mlserver
from benchmarks._mlserver import request_of as mlserver_request
from benchmarks._report import Row, quiet_log, report
from benchmarks._rows import Rows, flights
from benchmarks._serve import fields_of, infer_of, make_server, pipeline, request_of
from consumers._client_columns import request_of as columns_request
from consumers._kafka import create_topics
from consumers.client import PredictionClient
from consumers.settings import Settings
from infra.kafka import LocalBroker
from schemas import headwater_pb2 as pb
from schemas import headwater_pb2_grpc as pb_grpc
from schemas import inference_pb2
from stream.predict import wire
from stream.predict.batch import Columnar

ROOT = Path(__file__).resolve().parents[1]
FLIGHTS, BATCH = 20_000, 4096
RATE = 300  # calls a second, at which latency is told


@contextlib.contextmanager
def served(kind: str, kafka: str | None) -> Iterator[int]:
    """One of the servers; its port. kafka: where answers are logged; None for nowhere."""
    command = [sys.executable, "-m", "benchmarks._serve", kind, str(FLIGHTS), *([kafka] if kafka else [])]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        port = 0
        while not port:
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(f"server {kind} ended with {child.wait()}")
            port = int(line) if line.strip().isdigit() else 0
        threading.Thread(target=child.stdout.read, daemon=True).start()
        yield port
    finally:
        child.stdin.close()
        child.wait(30)


def by_grpcio(request: pb.PredictRequest) -> Load:
    """The generator for where there is no native one."""

    def load(port: int, calls: int, flying: int, rate: int) -> Seen:
        room, took = threading.Semaphore(flying), []
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub: Any = pb_grpc.PredictionsStub(channel)
            stub.Predict(request, timeout=30)
            begun_s = time.perf_counter()
            pending = []
            for number in range(calls):
                if rate:
                    time.sleep(max(0.0, begun_s + number / rate - time.perf_counter()))
                room.acquire()
                asked_s, at_s = time.perf_counter(), time.time()
                call = stub.Predict.future(request, timeout=60)

                def done(_: Any, asked_s: float = asked_s, at_s: float = at_s) -> None:
                    took.append((at_s, (time.perf_counter() - asked_s) * 1e3))
                    room.release()

                call.add_done_callback(done)
                pending.append(call)
            failed = sum(call.exception() is not None for call in pending)
            spent_s = time.perf_counter() - begun_s
        return Seen(calls / spent_s, failed, *np.array(sorted(took)).T)

    return load


def lost(port: int, within_s: float = 30.0) -> int:
    """How many answers of a server are not on Kafka, once it had time to send all."""
    until_s = time.monotonic() + within_s
    with PredictionClient(f"127.0.0.1:{port}") as client:
        while (counts := client.describe().exposures).waiting and time.monotonic() < until_s:
            time.sleep(0.1)
    return int(counts.dropped + counts.waiting)


def calls(load: Load, short: bool, kafka: str) -> list[Row]:
    """Calls a second of both, alternately, and latency of ours at a fixed rate; every call must succeed."""
    rounds, count, out = (2, 300, []) if short else (5, 4000, [])
    with served("ours", kafka) as ours, served("echo", None) as echo:
        for flying in (1, 32, 128):
            rates: dict[str, list[float]] = {"ours": [], "echo": []}
            for port in (ours, echo):
                load(port, 200, flying, 0)
            lost(ours)  # until the log's process is up as well
            for number in range(rounds):
                for name, port in (("ours", ours), ("echo", echo))[:: 1 if number % 2 else -1]:
                    rates[name].append(_whole(load(port, count, flying, 0)).rate)
                print(
                    f"{flying} in flight, round {number + 1}: {rates['ours'][-1]:.0f} {rates['echo'][-1]:.0f}",
                    file=sys.stderr,
                )
            out += [Row(f"{name}, {flying} in flight", statistics.median(r), "calls/s") for name, r in rates.items()]
            ratios = [a / b for a, b in zip(rates["ours"], rates["echo"], strict=True)]
            out.append(Row(f"ours / bare echo, {flying} in flight", statistics.median(ratios), "×", goal=0.85))
        for name, port in (("ours", ours), ("bare echo", echo)):
            found = [_whole(load(port, 150 if short else 1500, 32, RATE)) for _ in range(1 if short else 5)]
            for share in (50, 99):
                took = statistics.median(f.took(share / 100) for f in found)
                out.append(Row(f"{name}, p{share} at {RATE} calls/s", took, "ms"))
        out.append(Row("answers that are not on Kafka", lost(ours), "", goal=0, at_most=True))
    return out


def beside_mlserver(ghz: str, venv: Path, rows: Rows, short: bool, kafka: str) -> list[Row]:
    """ModelInfer of one flight, ours and MLServer's, alternately; ours also as it is run, each answer on Kafka."""
    rounds, count = (2, 300) if short else (5, 2000)
    method = "inference.GRPCInferenceService.ModelInfer"
    logged = "ours, each answer on Kafka"
    with (
        tempfile.TemporaryDirectory() as folder,
        served("ours", None) as ours,
        served("ours", kafka) as ours_logged,
        mlserver(venv, rows) as theirs,
    ):
        ports = {"ours": ours, logged: ours_logged, "MLServer": theirs}
        rates: dict[str, list[float]] = {name: [] for name in ports}
        schema = Path(folder, "schema")
        schema.write_bytes(protoset(inference_pb2.DESCRIPTOR))
        loads = {}
        for name in ports:
            body = Path(folder, name)
            message = mlserver_request(rows) if name == "MLServer" else infer_of(rows)
            body.write_bytes(message.SerializeToString())
            loads[name] = by_ghz(ghz, method, body, schema)
            loads[name](ports[name], 200, 32, 0)
        lost(ours_logged)  # until the log's process is up as well
        for number in range(rounds):
            for name in list(loads)[:: 1 if number % 2 else -1]:
                rates[name].append(_whole(loads[name](ports[name], count, 32, 0)).rate)
            print(
                f"ModelInfer, round {number + 1}: {' '.join(f'{r[-1]:.0f}' for r in rates.values())}", file=sys.stderr
            )
    out = [
        Row(f"ModelInfer of one row, {name}, 32 in flight", statistics.median(r), "calls/s")
        for name, r in rates.items()
    ]
    for name in ("ours", logged):
        ratios = [a / b for a, b in zip(rates[name], rates["MLServer"], strict=True)]
        goal = 3.0 if name == "ours" else None  # MLServer logs no answer
        out.append(Row(f"ModelInfer, {name} / MLServer", statistics.median(ratios), "×", goal=goal))
    return out


def _whole(found: Seen) -> Seen:
    """What was measured, if no call failed."""
    if found.failed:
        raise RuntimeError(f"{found.failed} calls failed")
    return found


def columns_of(rows: Rows, count: int, **more: Any) -> pb.PredictBatchRequest:
    """The first flights, as columns."""
    events = [fields_of(e) for e in rows.events[:count]]
    fields = {name: [e.get(name) for e in events] for name in dict.fromkeys(n for e in events for n in e)}
    given: dict[str, Any] = {"event_ids": (), "units": (), "arm": None, "max_staleness_ms": None, "unlogged": True}
    return columns_request(fields, **{**given, **more})


def batches(rows: Rows, short: bool) -> list[Row]:
    """Rows a second of batches."""
    spec = pipeline()
    server = make_server(spec, rows)
    columnar, out, times = Columnar(server.plane), [], 3 if short else 15
    now_ms = int(time.time() * 1000)

    def answer(body: bytes) -> bytes:
        message = pb.PredictBatchRequest.FromString(body)
        found = columnar.answer(wire.batch_of(message.columns), now_ms)
        assert not found.refused
        return wire.answers_message(found, (), wire.model_message(found.model), lambda _: 0).SerializeToString()

    for what, arm in (("arm asked for", "linear"), ("arm assigned", None)):
        body = columns_of(rows, BATCH, arm=arm).SerializeToString()
        answer(body)
        spent = []
        for _ in range(times):
            begun_s = time.process_time()
            answer(body)
            spent.append(time.process_time() - begun_s)
        goal = 200_000 if arm else None
        out.append(
            Row(f"columns, {what}: bytes in to bytes out, one core", BATCH / statistics.median(spent), "rows/s", goal)
        )
    port = server.listen("127.0.0.1:0")
    with PredictionClient(f"127.0.0.1:{port}", 60) as client:
        asked = [
            ("columns, over the wire, unlogged", columns_of(rows, BATCH)),
            ("columns, over the wire, logged", columns_of(rows, BATCH, unlogged=False)),
            ("rows, over the wire", pb.PredictBatchRequest(requests=[request_of(rows)] * BATCH)),
        ]
        for what, message in asked:
            spent = []
            for _ in range(times):
                begun_s = time.perf_counter()
                client._stub.PredictBatch(message, timeout=60)
                spent.append(time.perf_counter() - begun_s)
            out.append(Row(what, BATCH / statistics.median(spent), "rows/s"))
    server.close()
    return out


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer calls")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--ghz", help="the native generator; default: one on PATH, kept, or built by Go")
    parser.add_argument("--mlserver", type=Path, help="also MLServer, in this environment; made where it is not")
    given = parser.parse_args()
    quiet_log()
    rows = flights(FLIGHTS)
    request = request_of(rows)
    ghz = given.ghz or find_ghz(build=not given.short)
    with tempfile.TemporaryDirectory() as folder, LocalBroker() as broker:
        create_topics(Settings(kafka=broker.address), pipeline())
        body, schema = Path(folder, "body"), Path(folder, "schema")
        body.write_bytes(request.SerializeToString())
        schema.write_bytes(protoset(pb.DESCRIPTOR))
        load = by_ghz(ghz, "headwater.v1.Predictions.Predict", body, schema) if ghz else by_grpcio(request)
        found = batches(rows, given.short) + calls(load, given.short, broker.address)
        if given.mlserver is not None and ghz:
            found += beside_mlserver(ghz, given.mlserver, rows, given.short, broker.address)
        elif given.mlserver is not None:
            print("MLServer is measured by ghz alone, and there is none", file=sys.stderr)
    generator = "ghz" if ghz else "grpcio"
    return report(f"flights, one linear arm; load by {generator}", found, given.json)


if __name__ == "__main__":
    sys.exit(main())
