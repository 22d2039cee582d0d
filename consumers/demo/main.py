"""The main job, from one command: broker → topics → steps → server → flights → report → everything stopped."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from consumers._kafka import create_topics
from consumers._supervise import Supervisor
from consumers.demo.asker import Asker
from consumers.demo.elk import shipping
from consumers.demo.experiment import Ramp, experiment_of, with_experiment
from consumers.demo.flights import Flight, read_flights
from consumers.demo.publish import FlightProducer, Published
from consumers.demo.report import write_report
from consumers.demo.result import Result, by_arm, freshness, metric_records, served_quality, step_rates
from consumers.demo.show import show
from consumers.guard import Guard
from consumers.settings import Settings
from consumers.status import status
from infra.kafka import find_broker, free_port
from stream.errors import BrokerError, HeadwaterError
from stream.learn.models import runs_as
from stream.learn.warm import warm
from stream.spec import Spec
from stream.spec_load import load_spec

RATE = 1000.0
DRAIN_S_MAX = 300.0
MONITOR_PORT = 8600
COMMAND = [sys.executable, "-m", "consumers.cli"]
EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@dataclass(frozen=True, slots=True)
class _Job:
    """What is to be done, and where it is told. rate: flights/s; page: the experiment's own report."""

    data: list[Flight]
    spec: Spec
    path: Path
    settings: Settings
    rate: float
    dirty: bool
    page: Path
    console: Console
    elk: bool
    monitor: bool


def demo(
    flights: int | None,
    rate: float | None,
    report: Path,
    dirty: bool,
    as_json: bool,
    elk: bool = False,
    monitor: bool = False,
) -> int:
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
        page = report.with_name(f"{report.stem}-experiment.html")
        given = RATE if rate is None else rate
        result = _run(_Job(data, spec, path, settings, given, dirty, page, console, elk, monitor))
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
    raw = with_experiment(raw, EXAMPLES, folder)
    path = folder / "flights.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False))
    return path


def _run(job: _Job) -> Result:
    create_topics(job.settings, job.spec)
    tell: Callable[[str], None] = lambda line: job.console.print(line, markup=False)  # noqa: E731
    with _monitored(job), shipping(job.elk, job.spec, job.path, job.settings, tell) as shipped:
        with _processes(job) as supervisor:
            asker, ramp = Asker(job.settings.grpc), Ramp(job.spec, job.settings, len(job.data))
            asker.start()
            begin_s = time.monotonic()
            published = _publish(job, asker, ramp, supervisor)
            ramp.close()
            _drain(job, published, asker, supervisor)
            seconds = time.monotonic() - begin_s
        sums = shipped()
    return _result(job, published, asker, seconds, sums)


def _environment(settings: Settings) -> dict[str, str]:
    return {
        **os.environ,
        "HEADWATER_KAFKA": settings.kafka,
        "HEADWATER_DATA": str(settings.data.resolve()),
        "HEADWATER_GRPC": settings.grpc,
        "HEADWATER_LOG_TOPIC": "1",
    }


@contextmanager
def _monitored(job: _Job) -> Iterator[None]:
    """While the body runs, its page is there. The job needs it for nothing, so it is supervised apart."""
    if not job.monitor:
        yield
        return
    try:
        port = free_port([MONITOR_PORT])
    except BrokerError:
        port = free_port()
    with Supervisor(job.settings.data / "logs", told=lambda line: job.console.print(line, markup=False)) as supervisor:
        command = [*COMMAND, "monitor", str(job.path), "--bind", f"127.0.0.1:{port}"]
        supervisor.start("monitor", command, _environment(job.settings))
        job.console.print(f"watch it, while it runs: http://127.0.0.1:{port}/", highlight=False, soft_wrap=True)
        yield


@contextmanager
def _processes(job: _Job) -> Iterator[Supervisor]:
    """The pipeline's processes, each a child that is started again when it dies; all are stopped at the end."""
    path, settings, console, command = str(job.path), job.settings, job.console, COMMAND
    environment = _environment(settings)
    supervisor = Supervisor(settings.data / "logs", told=lambda line: console.print(line, markup=False))
    supervisor.start("loop", [*command, "run", path, "clean", "encode", "join", "learn"], environment)
    supervisor.start("evaluate", [*command, "run", path, "evaluate"], environment)
    supervisor.start("serve", [*command, "serve", path], environment)
    supervisor.start("guard", [*command, "experiment", "guard", path, "--every", "1"], environment)
    try:
        yield supervisor
    finally:
        with console.status("stopping"):
            supervisor.stop()


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def _publish(job: _Job, asker: Asker, ramp: Ramp, supervisor: Supervisor) -> Published:
    started = {"join", "evaluate"}
    with job.console.status("waiting for the steps to start"):
        _wait(lambda: started <= set(status(job.spec, job.settings).steps), 90, "the steps to start", supervisor)
        _wait(asker.server_is_up, 90, "the server to start", supervisor)

    def seen(flight: Flight) -> None:
        asker.ask_about(flight)
        ramp.seen()

    with _bar(job.console) as bar:
        task = bar.add_task("flights published", total=len(job.data))
        producer = FlightProducer(job.spec, job.settings, job.dirty)
        return producer.run(job.data, job.rate, lambda n: bar.advance(task, n), seen)


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


def _drain(job: _Job, published: Published, asker: Asker, supervisor: Supervisor) -> None:
    """Wait until every label is settled, learned and visible in an answer; then, nobody asking, for the outcomes."""
    spec, settings = job.spec, job.settings
    with _bar(job.console) as bar:
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
    with job.console.status("waiting for the last outcomes"):
        quiet = lambda: not any(s.lag for n, s in status(spec, settings).steps.items() if n != "ship")  # noqa: E731
        _wait(quiet, DRAIN_S_MAX, "the last outcomes", supervisor)
        guard = Guard(spec, settings)  # to know what the one that runs will find once it looks again
        try:
            _wait(lambda: not any(f.worse for f in guard.judge()), DRAIN_S_MAX, "the guard's last look", supervisor)
        finally:
            guard.close()


def _result(
    job: _Job, published: Published, asker: Asker, seconds: float, shipped: dict[str, tuple[int, int]]
) -> Result:
    spec, settings = job.spec, job.settings
    records = metric_records(spec, settings)
    final = status(spec, settings)
    model: dict[str, Any] = final.model or {}
    return Result(
        pipeline=spec.name,
        flights=len(job.data),
        seconds=seconds,
        published_events=published.events,
        published_labels=published.labels,
        made_bad=dict(published.made_bad),
        status=final.to_json(),
        sums={**final.counts.sums(), **shipped},
        steps=step_rates(records),
        prequential=by_arm(model.get("values", {}), list(spec.arms)),
        served=served_quality(final, list(spec.arms)),
        windows=[m for m in records if m["kind"] in ("prequential", "served")],
        experiment=experiment_of(spec, settings, final.metrics, job.page),
        freshness=freshness(published.label_at, asker.answers),
        answers=dict(asker.by_arm),
        failed_answers=asker.failed,
        models={name: arm.model for name, arm in spec.arms.items()},
        runs_as={name: runs_as(arm.model) for name, arm in spec.arms.items()},
        snapshots=model.get("uri", ""),
        state_hash=model.get("state_hash", ""),
    )
