"""Commands that do the work: run, serve, publish, predict, replay, topics, demo."""

import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from consumers.cli.app import (
    DataOpt,
    JsonOpt,
    KafkaOpt,
    SpecArg,
    app,
    give_json,
    note,
    out,
    progress,
    say,
    settings_of,
    spec_of,
    working,
)
from stream.errors import DataError

topics = typer.Typer(
    help="The pipeline's Kafka topics.\n\nExample: headwater topics create examples/flights.yaml",
    no_args_is_help=True,
)
replay = typer.Typer(
    help="Send refused records again.\n\nExample: headwater replay dead examples/flights.yaml --dry-run",
    no_args_is_help=True,
)
app.add_typer(topics, name="topics")
app.add_typer(replay, name="replay")


@topics.command("create")
def topics_create(spec: SpecArg, kafka: KafkaOpt = None, as_json: JsonOpt = False) -> None:
    """Make the pipeline's topics; those that exist are left alone.

    Example: headwater topics create examples/flights.yaml
    """
    from consumers._kafka import create_topics

    settings, loaded = settings_of(kafka), spec_of(spec)
    with working("making topics", as_json):
        made = create_topics(settings, loaded)
    if as_json:
        give_json({"topics": made})
        return
    for name, new in made.items():
        say(f"{name}: {'made' if new else 'was there'}")


@app.command()
def run(
    spec: SpecArg,
    steps: Annotated[list[str], typer.Argument(help="clean, encode, join, learn (neighbours), or evaluate")],
    kafka: KafkaOpt = None,
    data: DataOpt = None,
    shard: Annotated[str | None, typer.Option(help="i/n: take partitions p with p mod n = i (clean, encode)")] = None,
    supervise: Annotated[bool, typer.Option(help="start the steps again whenever they end by a fault")] = False,
) -> None:
    """Run one step, or several in one process, until Ctrl-C or SIGTERM.

    Example: headwater run examples/flights.yaml clean encode join learn
    """
    settings = settings_of(kafka, data, shard=shard)
    if supervise:
        from consumers._supervise import supervise as keep

        sys.exit(keep([sys.executable, "-m", "consumers.cli", *_without(sys.argv[1:], "--supervise")]))
    from consumers.run import run as run_steps
    from consumers.run import until_signalled

    stop = until_signalled()
    run_steps(spec_of(spec), settings, steps, stop)


def _without(arguments: list[str], word: str) -> list[str]:
    return [a for a in arguments if a != word]


@app.command()
def publish(
    spec: SpecArg,
    file: Annotated[Path, typer.Argument(help=".csv, .jsonl or .avro with one event a row")],
    label: Annotated[str | None, typer.Option(help="column that holds the label; sent to the labels topic")] = None,
    label_time: Annotated[
        str | None, typer.Option(help="column with the label's time (ms or ISO); default: event's")
    ] = None,
    rate: Annotated[float, typer.Option(help="events a second; 0: as fast as the broker takes them")] = 0,
    registry_id: Annotated[int | None, typer.Option(help="Confluent framing with this schema id")] = None,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Publish a file's events (and labels) to the pipeline.

    Example: headwater publish my.yaml my.csv --label clicked --rate 1000
    """
    from consumers.publish import publish_file

    settings, loaded = settings_of(kafka), spec_of(spec)
    with progress(f"publishing {file.name}", as_json) as told:
        done = publish_file(loaded, settings, file, label, label_time, rate, registry_id, told)
    if as_json:
        give_json(done)
        return
    for line in done["notes"]:
        note(f"note: {line}")
    say(f"{done['events']} events, {done['labels']} labels in {done['seconds']:.1f} s")


@replay.command("dead")
def replay_dead(
    spec: SpecArg,
    code: Annotated[
        list[str] | None, typer.Option(help="only records refused for this reason; may be repeated")
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="only count")] = False,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Send dead events and labels again, each once.

    Example: headwater replay dead examples/flights.yaml --code schema.unknown
    """
    from consumers._replay import replay_dead as send
    from stream.arrive.reject import CODES

    wrong = [c for c in code or () if c not in CODES]
    if wrong:
        raise DataError(f"--code: found {', '.join(wrong)}; allowed: {', '.join(CODES)}")
    settings, loaded = settings_of(kafka), spec_of(spec)
    seen = itertools.count(1)
    with progress("replaying", as_json) as told:
        counts = send(loaded, settings, frozenset(code or ()), dry_run, lambda n: told(next(seen), None))
    if as_json:
        give_json({"replayed": counts, "dry_run": dry_run})
        return
    if not counts:
        say("nothing to send again")
        return
    from rich.table import Table

    table = Table("reason", "records", title="would be sent again" if dry_run else "sent again")
    for name, n in sorted(counts.items()):
        table.add_row(name, str(n))
    out.print(table)


@app.command()
def predict(
    event: Annotated[str, typer.Argument(help="one event as JSON, or @file, or - for standard input")],
    address: Annotated[str | None, typer.Option(help="server; default: HEADWATER_GRPC, else 127.0.0.1:50051")] = None,
    event_id: Annotated[str, typer.Option(help="the event's id; made up if absent")] = "",
    arm: Annotated[str | None, typer.Option(help="ask this arm instead of the assigned one")] = None,
    timeout_s: Annotated[float, typer.Option(help="seconds to wait at the most")] = 5.0,
    as_json: JsonOpt = False,
) -> None:
    """Ask the server about one event.

    Example: headwater predict '{"carrier": "UA", "origin": "EWR", "dest": "IAH", "distance": 1400}'
    """
    from consumers.client import PredictionClient, Security

    settings = settings_of()
    with PredictionClient(address or settings.grpc, timeout_s, Security.of(settings)) as client:
        answer = client.predict(given_event(event), event_id=event_id or None, arm=arm)
    shown = asdict(answer)
    if as_json:
        give_json(shown)
        return
    for name, value in shown.items():
        say(f"{name}: {value}")


def given_event(text: str) -> dict[str, Any]:
    """The fields in an argument: JSON, @file, or - for standard input. Raises DataError."""
    if text == "-":
        text = sys.stdin.read()
    elif text.startswith("@"):
        try:
            text = Path(text[1:]).read_text()
        except OSError as e:
            raise DataError(f"{text[1:]}: can't be read: {e.strerror}") from e
    try:
        found = json.loads(text)
    except ValueError as e:
        raise DataError(f"event: not JSON: {e}") from e
    if not isinstance(found, dict):
        raise DataError(f"event: found {type(found).__name__}; a JSON object of fields is wanted")
    return found


@app.command()
def serve(
    spec: SpecArg,
    address: Annotated[
        str | None, typer.Option(help="listen here; default: HEADWATER_GRPC, else 127.0.0.1:50051")
    ] = None,
    reflection: Annotated[bool, typer.Option(help="answer questions about the service itself")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="processes at the one port, supervised")] = 1,
    kafka: KafkaOpt = None,
    shared_port: Annotated[bool, typer.Option("--shared-port", hidden=True)] = False,
) -> None:
    """Answer predictions over gRPC, following the newest snapshot.

    Example: headwater serve examples/flights.yaml --reflection
    """
    from consumers._grpc import ServerOptions
    from consumers.predict import serve as serve_spec
    from consumers.run import until_signalled

    settings = settings_of(kafka, grpc=address)
    loaded = spec_of(spec)
    stop = until_signalled()
    if workers > 1:
        from consumers._serve_workers import serve_workers

        own = [sys.executable, "-m", "consumers.cli", "serve", str(spec), "--shared-port"]
        raise typer.Exit(serve_workers(own + ["--reflection"] * reflection, settings, workers, stop))
    options = ServerOptions(
        message_bytes_max=settings.grpc_message_bytes_max, reflection=reflection, shared_port=shared_port
    )
    serve_spec(loaded, settings, stop, options)


@app.command()
def demo(
    flights: Annotated[int, typer.Option(help="how many flights")] = 20_000,
    everything: Annotated[bool, typer.Option("--all", help="the whole year: 336,776 flights")] = False,
    rate: Annotated[float | None, typer.Option(help="flights a second; 0: as fast as the broker takes them")] = None,
    report: Annotated[Path, typer.Option(help="where to write the report")] = Path("runs/flights.html"),
    dirty: Annotated[bool, typer.Option(help="make a small share of the records bad on purpose")] = True,
    elk: Annotated[bool, typer.Option("--elk", help="also ship all to Elasticsearch, found or local")] = False,
    monitor: Annotated[bool, typer.Option(help="show it on a local page while it runs; never with --json")] = True,
    as_json: JsonOpt = False,
) -> None:
    """Stream the New York flights of 2013 through the whole loop and report.

    Example: headwater demo --flights 5000
    """
    from consumers.demo.main import demo as run_demo

    code = run_demo(None if everything else flights, rate, report, dirty, as_json, elk, monitor and not as_json)
    raise typer.Exit(code)
