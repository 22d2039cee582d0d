"""Avro records → columns, compiled, against fastavro reading them one by one into dicts.

    python -m benchmarks.decode [--short] [--json]

Both get the same flights as bytes, in one run, alternately, in one thread; the median over the rounds of the processor
time counts. fastavro is given what it is fastest with: one schema, parsed, without logical types. Besides: four columns
alone, damaged records, the hashes of a column's strings, and Python's strings of one, each against the plain way.
"""

import argparse
import io
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import xxhash

from benchmarks._report import Row, report
from stream.arrive.columns import ColumnDecoder
from stream.encode.spans import hash_spans, spans_to_str
from stream.spec_load import event_schema, load_spec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights.yaml"
ROUNDS = 7
DAMAGED = 10  # every tenth record, in the second table
Run = Callable[[], Any]


def flights(schema: Any, rows: int) -> list[bytes]:
    """Flight-like records: text of the usual lengths, a twentieth of it missing."""
    rng = np.random.default_rng(5)
    out = []
    for i, (number, miles, tail) in enumerate(rng.integers(0, 5000, (rows, 3)).tolist()):
        minute = i % 1440
        record = {
            "flight_id": f"2013-01-{1 + i % 28:02}-UA-{number}-EWR-{minute:04}",
            "scheduled": 1_357_034_100_000 + i * 1000, "carrier": ("UA", "AA", "B6")[number % 3],
            "flight": number, "tailnum": f"N{tail:05}" if tail % 20 else None,
            "origin": ("EWR", "JFK", "LGA")[number % 3], "dest": ("IAH", "MIA", "BQN", "ATL")[tail % 4],
            "distance": float(miles), "sched_dep_minute": minute, "sched_arr_minute": (minute + miles // 8) % 1440,
        }  # fmt: skip
        raw = io.BytesIO()
        fastavro.schemaless_writer(raw, schema, record)
        out.append(raw.getvalue())
    return out


def timed(contenders: dict[str, Run], rows: int) -> dict[str, list[float]]:
    """Rows/s of each, ROUNDS times, in turn; every contender runs once before."""
    found: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
    for _ in range(ROUNDS):
        for name, run in contenders.items():
            begin = time.process_time()
            run()
            found[name].append(rows / (time.process_time() - begin))
    return found


def one_by_one(schema: Any, values: list[bytes]) -> int:
    """What the step did before: each value a BytesIO, a dict, and a look at what is left over; how many are bad."""
    read, bad = fastavro.schemaless_reader, 0
    for value in values:
        source = io.BytesIO(value)
        try:
            read(source, schema, None)
        except Exception:
            bad += 1
        else:
            bad += source.tell() != len(value)
    return bad


def laid_out(values: list[bytes]) -> tuple[Any, Any, Any]:
    """All values in one buffer, and where each is."""
    size = np.array([len(v) for v in values], np.int64)
    end = np.cumsum(size)
    return np.frombuffer(bytearray(b"".join(values)), np.uint8), end - size, end


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer flights, at most 20 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    spec = load_spec(EXAMPLE)
    schema = event_schema(spec)
    values = flights(schema.decoding, 20_000 if given.short else 100_000)
    cut = [v[:-1] if i % DAMAGED == 0 else v for i, v in enumerate(values)]
    data, start, end = laid_out(values)
    placed_cut = laid_out(cut)
    whole = ColumnDecoder.of(schema)
    some = ColumnDecoder.of(schema, ["flight_id", "scheduled", "carrier", "origin"])
    assert whole is not None
    assert some is not None
    ids = whole.decode(data, start, end).columns["flight_id"]
    texts = spans_to_str(data, ids.start, ids.end)
    assert one_by_one(schema.decoding, cut) == np.count_nonzero(whole.decode(*placed_cut).error)
    found = timed(
        {
            "fastavro": lambda: one_by_one(schema.decoding, values),
            "columns": lambda: whole.decode(data, start, end),
            "four columns": lambda: some.decode(data, start, end),
            "fastavro, cut": lambda: one_by_one(schema.decoding, cut),
            "columns, cut": lambda: whole.decode(*placed_cut),
            "xxhash": lambda: [xxhash.xxh64_intdigest(t.encode(), 5) for t in texts],
            "hashes": lambda: hash_spans(data, ids.start, ids.end, 5),
            "slices": lambda: [data[a:b].tobytes().decode() for a, b in zip(ids.start, ids.end, strict=True)],
            "strings": lambda: spans_to_str(data, ids.start, ids.end),
        },
        len(values),
    )
    rate = {name: statistics.median(rates) for name, rates in found.items()}

    def ratio(one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(found[one], found[other], strict=True))

    rows = [
        Row("columns: all 10 fields", rate["columns"], "rows/s", goal=1_000_000),
        Row("columns: 4 of 10 fields", rate["four columns"], "rows/s"),
        Row("fastavro.schemaless_reader", rate["fastavro"], "rows/s"),
        Row("columns / fastavro", ratio("columns", "fastavro"), "×", goal=10),
        Row("columns / fastavro, every tenth record cut", ratio("columns, cut", "fastavro, cut"), "×"),
        Row("hashes of ids", rate["hashes"], "values/s"),
        Row("hashes / package xxhash on ready strings", ratio("hashes", "xxhash"), "×"),
        Row("Python strings of ids", rate["strings"], "values/s"),
        Row("strings / decoding each", ratio("strings", "slices"), "×"),
    ]
    title = f"{len(values):,} flights, {len(data) / len(values):.0f} bytes each, {ROUNDS} rounds, alternately, medians"
    return report(title, rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
