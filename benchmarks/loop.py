"""The whole loop, raw event on Kafka → cleaned, encoded, joined, learned, committed, against what it replaces.

    python -m benchmarks.loop [--short] [--json]

On one broker, in one run, alternately, on the same flights and labels:
- headwater: `run clean encode join learn` in one process, two arms, transactions, snapshots, metrics;
- plain: kafka-python + fastavro + River doing the same job (decode, wait for the label, score, learn, two arms),
  without transactions, snapshots, cleaning or dead letters;
- bare: kafka-python's consumer handing over the same records and nothing else.
Each is timed from its first record to its last; the median of the rounds counts.
"""

import argparse
import io
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
from river import linear_model, metrics, optim, preprocessing, tree

import schemas
from benchmarks._report import Row, quiet_log, report
from consumers._chain import Pipeline
from consumers._kafka import create_topics, make_consumer, partitions_of
from consumers._loop import Loop
from consumers.demo.flights import Flight, read_flights
from consumers.demo.publish import FlightProducer
from consumers.settings import Settings
from infra.kafka import LocalBroker
from stream.clock import SystemClock
from stream.learn.warm import warm
from stream.spec import Spec
from stream.spec_load import event_schema, load_spec

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "flights.yaml"
ROUNDS = 5


class TimedPipeline(Pipeline):
    """A pipeline that knows when it took its first record and when its last row was learned."""

    begin_s = end_s = 0.0
    learned = 0

    def feed(self, batch: Any, idle_s: float) -> None:
        """See Pipeline."""
        if batch and not self.begin_s:
            self.begin_s = time.perf_counter()
        super().feed(batch, idle_s)

    def written(self, outs: Any, offsets: Any) -> None:
        """See Pipeline."""
        super().written(outs, offsets)
        assert self._learn is not None
        if self._learn.rows != self.learned:
            self.learned, self.end_s = self._learn.rows, time.perf_counter()


def ours(spec: Spec, settings: Settings, rows: int) -> tuple[float, dict[str, dict[str, float]]]:
    """Seconds for the whole loop to learn `rows` labels, and what each step was busy with."""
    chain = TimedPipeline(spec, settings, ["clean", "encode", "join", "learn"], SystemClock())
    Loop(chain, settings).run(lambda: chain.learned >= rows)
    return chain.end_s - chain.begin_s, chain._busy.totals()


def bare(spec: Spec, settings: Settings, records: int) -> float:
    """Seconds for kafka-python to hand over all records of both topics."""
    consumer, begin_s, seen = _reader(spec, settings), 0.0, 0
    while seen < records:
        for batch in consumer.poll(timeout_ms=200).values():
            begin_s = begin_s or time.perf_counter()
            seen += len(batch)
    seconds = time.perf_counter() - begin_s
    consumer.close(autocommit=False)
    return seconds


def _reader(spec: Spec, settings: Settings) -> Any:
    consumer = make_consumer(settings, None)
    partitions = partitions_of(consumer, [spec.topic("events"), spec.topic("labels")], settings)
    consumer.assign(partitions)
    consumer.seek_to_beginning(*partitions)
    return consumer


def plain(spec: Spec, settings: Settings, rows: int) -> float:
    """Seconds for the plain loop to learn `rows` labels."""
    schema, label_codec = event_schema(spec).decoding, schemas.codec("label")
    logistic = Logistic()
    hoeffding = tree.HoeffdingTreeClassifier(grace_period=200)
    losses = [metrics.LogLoss(), metrics.LogLoss()]
    waiting: dict[str, dict[str, Any]] = {}
    labels: dict[str, bool] = {}
    consumer, begin_s, learned = _reader(spec, settings), 0.0, 0

    def learn(event: dict[str, Any], late: bool) -> None:
        x = _features(event)
        small = {k: v for k, v in x.items() if k not in ("flight", "tailnum")}
        for model, features, loss in ((logistic, x, losses[0]), (hoeffding, small, losses[1])):
            loss.update(late, model.predict_proba_one(features).get(True, 0.0))
            model.learn_one(features, late)

    while learned < rows:
        for tp, batch in consumer.poll(timeout_ms=200).items():
            begin_s = begin_s or time.perf_counter()
            for r in batch:
                if tp.topic.endswith(".labels"):
                    label = label_codec.decode(r.value)
                    event, late = waiting.pop(label["id"], None), label["value"]
                    labels.setdefault(label["id"], late) if event is None else None
                else:
                    event = fastavro.schemaless_reader(io.BytesIO(r.value[10:]), schema, None)
                    late = labels.pop(event["flight_id"], None)
                    if late is None:
                        waiting[event["flight_id"]] = event
                        event = None
                if event is not None:
                    learn(event, late)
                    learned += 1
    seconds = time.perf_counter() - begin_s
    consumer.close(autocommit=False)
    return seconds


class Logistic:
    """River's scaler for numbers and `name=value` features for categories: sparse, as River is fastest."""

    def __init__(self) -> None:
        self._scaler = preprocessing.StandardScaler()
        self._model = linear_model.LogisticRegression(optim.SGD(0.02))

    def predict_proba_one(self, x: dict[str, Any]) -> dict[bool, float]:
        """Probabilities."""
        numbers, names = _split(x)
        found: dict[bool, float] = self._model.predict_proba_one({**self._scaler.transform_one(numbers), **names})
        return found

    def learn_one(self, x: dict[str, Any], y: bool) -> None:
        """One row."""
        numbers, names = _split(x)
        self._scaler.learn_one(numbers)
        self._model.learn_one({**self._scaler.transform_one(numbers), **names}, y)


def _split(x: dict[str, Any]) -> tuple[dict[str, float], dict[str, float]]:
    numbers = {k: v for k, v in x.items() if isinstance(v, float)}
    return numbers, {f"{k}={v}": 1.0 for k, v in x.items() if isinstance(v, str)}


def _features(event: dict[str, Any]) -> dict[str, Any]:
    """The same columns as the spec's, as a dict: numbers as float, categories as text."""
    at = time.gmtime(event["scheduled"] / 1000)
    x: dict[str, Any] = {k: event[k] for k in ("carrier", "origin", "dest", "tailnum") if event[k] is not None}
    x |= {"flight": str(event["flight"]), "distance": event["distance"]}
    x |= {k: float(event[k]) for k in ("sched_dep_minute", "sched_arr_minute") if event[k] is not None}
    for name, value in (("hour", at.tm_hour), ("weekday", at.tm_wday), ("month", at.tm_mon)):
        x |= {name: float(value), f"{name}_is": str(value)}
    return x


def rounds(flights: list[Flight], settings: Settings, told: Callable[[str], None]) -> dict[str, list[Any]]:
    """Every contender once a round, on topics of that round."""
    out: dict[str, list[Any]] = {"ours": [], "plain": [], "bare": [], "steps": []}
    example = load_spec(EXAMPLE)
    warm(example)
    for number in range(ROUNDS):
        spec = example.model_copy(update={"name": f"bench{number}"})
        create_topics(settings, spec)
        published = FlightProducer(spec, settings, dirty=False).run(flights, 0, lambda _: None, lambda _: None)
        records = published.events + published.labels
        contenders: list[tuple[str, Callable[[], Any]]] = [
            ("bare", lambda s=spec, n=records: bare(s, settings, n)),
            ("ours", lambda s=spec, n=published.labels: ours(s, settings, n)),
            ("plain", lambda s=spec, n=published.labels: plain(s, settings, n)),
        ]
        for name, run in contenders[number % 3 :] + contenders[: number % 3]:
            found = run()
            if name == "ours":
                found, steps = found
                out["steps"].append(steps)
            out[name].append(published.events / found)
            told(f"round {number + 1}: {name} {out[name][-1]:,.0f} events/s")
    return out


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer flights, at most 60 s")
    parser.add_argument("--json", action="store_true", help="print JSON")
    given = parser.parse_args()
    quiet_log()
    flights = read_flights(8_000 if given.short else 120_000)
    with LocalBroker() as broker, tempfile.TemporaryDirectory() as data:
        settings = Settings(kafka=broker.address, data=Path(data))
        found = rounds(flights, settings, lambda line: print(line, file=sys.stderr))
    loop, plain_rate, bare_rate = (statistics.median(found[k]) for k in ("ours", "plain", "bare"))
    ratios = [a / b for a, b in zip(found["ours"], found["plain"], strict=True)]
    rows = [
        Row("whole loop", loop, "events/s"),
        Row("plain kafka-python + fastavro + River loop", plain_rate, "events/s"),
        Row("bare kafka-python consume", bare_rate, "events/s"),
        Row("whole loop / plain loop", statistics.median(ratios), "×", goal=20.0),
        Row("whole loop / bare consume", loop / bare_rate, "×", goal=1.0),
    ]
    for step in found["steps"][0]:
        rates = [s[step]["rows"] / s[step]["busy_s"] for s in found["steps"]]
        rows.append(Row(f"step {step}, while busy", statistics.median(rates), "rows/s"))
        rows.append(Row(f"step {step} / plain loop", statistics.median(rates) / plain_rate, "×"))
    return report(f"{len(flights):,} flights, {ROUNDS} rounds, alternately, medians", rows, given.json)


if __name__ == "__main__":
    sys.exit(main())
