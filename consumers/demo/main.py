"""The main job, from one command: broker → topics → steps → server → flights → report → everything stopped."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from consumers._kafka import create_topics
from consumers._supervise import Supervisor
from consumers.demo.asker import Asker
from consumers.demo.flights import Flight, read_flights
from consumers.demo.publish import FlightProducer, Published
from consumers.demo.report import write_report
from consumers.demo.result import Result, by_arm, freshness, metric_records, served_quality, step_rates
from consumers.settings import Settings
from consumers.status import status
from infra.kafka import find_broker, free_port
from stream.errors import HeadwaterError
from stream.learn.models import runs_as
from stream.learn.warm import warm
from stream.spec import Spec
from stream.spec_load import load_spec

RATE = 1000.0
DRAIN_S_MAX = 300.0
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def demo(flights: int | None, rate: float | None, report: Path, dirty: bool, as_json: bool) -> int:
    """Run the main job; returns the exit code: 0 when all ended well and every record is accounted for."""
    console = Console(stderr=as_json)
    begin_s = time.monotonic()
    folder = report.parent / datetime.now(UTC).strftime("flights-%Y%m%d-%H%M%S")
    path = _own_spec(folder)
    spec = load_spec(path)
    with ThreadPoolExecutor(1) as pool, ExitStack() as stack:
        warmed = pool.submit(warm, spec)
        with console.status(
            "finding or starting Kafka, and compiling the kernels (the first time, that takes a minute)"
        ):
            settings = Settings(kafka=stack.enter_context(find_broker()), data=folder, grpc=f"127.0.0.1:{free_port()}")
            data = read_flights(flights)
            warmed.result()
        console.print(f"Kafka at {settings.kafka}; {len(data):,} flights", highlight=False)
        result = _run(data, spec, path, settings, RATE if rate is None else rate, dirty, console)
    write_report(result, report)
    result = replace(result, report=str(report.resolve()))
    (folder / "result.json").write_text(json.dumps(result.to_json(), indent=1))
    if as_json:
        sys.stdout.write(json.dumps(result.to_json()) + "\n")
    else:
        show(result, console)
        console.print(
            f"all stopped after {time.monotonic() - begin_s:.0f} s; report: {report.resolve()}", soft_wrap=True
        )
    return 0 if result.adds_up else 1


def _own_spec(folder: Path) -> Path:
    """The example's spec under a name of this run, so that runs on one broker never meet."""
    raw = yaml.safe_load((EXAMPLES / "flights.yaml").read_text())
    raw["name"] = folder.name
    raw["event"]["schema"] = str(EXAMPLES / raw["event"]["schema"])
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "flights.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def _run(
    data: list[Flight], spec: Spec, path: Path, settings: Settings, rate: float, dirty: bool, console: Console
) -> Result:
    create_topics(settings, spec)
    with _processes(path, settings, console) as supervisor:
        asker = Asker(settings.grpc)
        asker.start()
        begin_s = time.monotonic()
        published = _publish(data, spec, settings, rate, dirty, asker, supervisor, console)
        _drain(spec, settings, published, asker, supervisor, console)
        seconds = time.monotonic() - begin_s
    return _result(spec, settings, data, published, asker, seconds)


@contextmanager
def _processes(path: Path, settings: Settings, console: Console) -> Iterator[Supervisor]:
    """The pipeline's processes, each a child that is started again when it dies; all are stopped at the end."""
    environment = {
        **os.environ,
        "HEADWATER_KAFKA": settings.kafka,
        "HEADWATER_DATA": str(settings.data.resolve()),
        "HEADWATER_GRPC": settings.grpc,
        "HEADWATER_LOG_TOPIC": "1",
    }
    command = [sys.executable, "-m", "consumers.cli"]
    supervisor = Supervisor(settings.data / "logs", told=lambda line: console.print(line, markup=False))
    supervisor.start("loop", [*command, "run", str(path), "clean", "encode", "join", "learn"], environment)
    supervisor.start("evaluate", [*command, "run", str(path), "evaluate"], environment)
    supervisor.start("serve", [*command, "serve", str(path)], environment)
    try:
        yield supervisor
    finally:
        with console.status("stopping"):
            supervisor.stop()


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _publish(
    data: list[Flight],
    spec: Spec,
    settings: Settings,
    rate: float,
    dirty: bool,
    asker: Asker,
    supervisor: Supervisor,
    console: Console,
) -> Published:
    started = {"join", "evaluate"}
    with console.status("waiting for the steps to start"):
        _wait(lambda: started <= set(status(spec, settings).steps), 90, "the steps to start", supervisor)
        _wait(asker.server_is_up, 90, "the server to start", supervisor)
    with _bar(console) as bar:
        task = bar.add_task("flights published", total=len(data))
        producer = FlightProducer(spec, settings, dirty)
        return producer.run(data, rate, lambda n: bar.advance(task, n), asker.ask_about)


def _refuse_dead(supervisor: Supervisor) -> None:
    """A process that was given up will not finish the job."""
    if failures := supervisor.failures():
        raise HeadwaterError("; ".join(f"{name} {why}" for name, why in failures.items()))


def _wait(done: Callable[[], bool], seconds: float, what: str, supervisor: Supervisor) -> None:
    until_s = time.monotonic() + seconds
    while not done():
        _refuse_dead(supervisor)
        if time.monotonic() > until_s:
            raise HeadwaterError(f"waited {seconds:g} s for {what}; see the logs beside the report")
        time.sleep(0.2)


def _drain(
    spec: Spec, settings: Settings, published: Published, asker: Asker, supervisor: Supervisor, console: Console
) -> None:
    """Wait until every label is settled, learned and visible in an answer; then, nobody asking, for the outcomes."""
    with _bar(console) as bar:
        task = bar.add_task("labels settled", total=published.labels)

        def learned() -> bool:
            now = status(spec, settings)
            bar.update(task, completed=now.counts.labels_in - now.counts.waiting_labels)
            if now.model is None or now.counts.events_in < published.events or now.counts.waiting_labels:
                return False
            all_in = now.counts.labels_in == published.labels and now.model["rows"] == now.counts.matched
            return all_in and asker.through >= now.model["label_offset"]

        _wait(learned, DRAIN_S_MAX, "all labels to be learned", supervisor)
    asker.stop()
    with console.status("waiting for the last outcomes"):
        quiet = lambda: not any(s.lag for s in status(spec, settings).steps.values())  # noqa: E731
        _wait(quiet, DRAIN_S_MAX, "the last outcomes", supervisor)


def _result(
    spec: Spec, settings: Settings, data: list[Flight], published: Published, asker: Asker, seconds: float
) -> Result:
    records = metric_records(spec, settings)
    final = status(spec, settings)
    model: dict[str, Any] = final.model or {}
    return Result(
        pipeline=spec.name,
        flights=len(data),
        seconds=seconds,
        published_events=published.events,
        published_labels=published.labels,
        made_bad=dict(published.made_bad),
        status=final.to_json(),
        sums=final.counts.sums(),
        steps=step_rates(records),
        prequential=by_arm(model.get("values", {}), list(spec.arms)),
        served=served_quality(final, list(spec.arms)),
        windows=[m for m in records if m["kind"] in ("prequential", "served")],
        freshness=freshness(published.label_at, asker.answers),
        answers=dict(asker.by_arm),
        failed_answers=asker.failed,
        models={name: arm.model for name, arm in spec.arms.items()},
        runs_as={name: runs_as(arm.model) for name, arm in spec.arms.items()},
        snapshots=model.get("uri", ""),
        state_hash=model.get("state_hash", ""),
    )


MEASURES = (("auc", "AUC"), ("log_loss", "log loss"), ("accuracy", "accuracy"))


def _arms_table(r: Result) -> Table:
    table = Table(
        "",
        *r.models,
        title="the arms",
        caption="progressive: scored when the label comes, then learned; served: asked when scheduled, hours before",
    )
    table.add_row("model", *r.models.values())
    table.add_row("learns", *(r.runs_as[a] for a in r.models))
    for key, name in MEASURES:
        table.add_row(
            f"progressive {name}", *(f"{r.prequential.get(a, {}).get(key, float('nan')):.4f}" for a in r.models)
        )
    table.add_row("answers served", *(f"{r.answers.get(a, 0):,}" for a in r.models))
    table.add_row("… with an outcome", *(f"{r.served.get(a, {}).get('outcomes', 0):,.0f}" for a in r.models))
    for key, name in MEASURES:
        table.add_row(f"served {name}", *(f"{r.served.get(a, {}).get(key, float('nan')):.4f}" for a in r.models))
    return table


def show(r: Result, console: Console) -> None:
    """Print what a person wants to know."""
    counts = r.status["counts"]
    flow = Table("records", "", title=f"{r.flights:,} flights in {r.seconds:.1f} s", show_header=False)
    flow.columns[1].justify = "right"
    for name, value in counts.items():
        if name == "rejected":
            for code, n in sorted(value.items()):
                flow.add_row(f"  rejected: {code}", f"{n:,}")
        else:
            flow.add_row(name.replace("_", " "), f"{value:,}")
    console.print(flow)
    for name, (a, b) in r.sums.items():
        console.print(f"{'✓' if a == b else '✗'} {name}: {a:,} = {b:,}", highlight=False, soft_wrap=True)
    console.print(_arms_table(r))
    steps = Table("step", "rows", "busy s", "rows/s while busy", title="speed")
    for step, v in r.steps.items():
        steps.add_row(step, f"{v['rows']:,.0f}", f"{v['busy_s']:.2f}", f"{v['rows_per_s']:,.0f}")
    steps.add_row("whole loop", f"{r.published_events:,}", f"{r.seconds:.2f}", f"{r.published_events / r.seconds:,.0f}")
    console.print(steps)
    if r.freshness:
        f = r.freshness
        console.print(
            f"freshness, label on Kafka → visible in an answer: p50 {f.p50_ms:.0f} ms, p90 {f.p90_ms:.0f} ms, "
            f"p99 {f.p99_ms:.0f} ms over {f.labels:,} labels", highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"answers that failed: {r.failed_answers}; snapshots: {r.snapshots}", highlight=False, soft_wrap=True)
