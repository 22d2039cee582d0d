"""Commands that look: tail shows a topic's records, status the whole pipeline."""

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.app import (
    JsonOpt,
    KafkaOpt,
    SpecArg,
    app,
    give_json,
    jsonable,
    out,
    say,
    settings_of,
    spec_of,
    working,
)
from stream.errors import BrokerError, DataError

if TYPE_CHECKING:
    from consumers.settings import Settings
    from consumers.status import Status
    from stream.spec import Spec

SILENT_S_MAX = 15.0
WATCH_S = 2.0
LEARNING_MS = 10_000  # a learner that has nothing to do says so each second


@app.command()
def tail(
    spec: SpecArg,
    topic: Annotated[str, typer.Argument(help="events, clean, features, labels, training, predictions, …")],
    last: Annotated[int, typer.Option(help="how many of the newest records", min=0, max=1_000_000)] = 10,
    follow: Annotated[bool, typer.Option(help="go on with what comes, until Ctrl-C")] = False,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Show the newest records of one of the pipeline's topics, decoded; oldest first.

    Example: headwater tail examples/flights.yaml dead --last 20
    """
    from consumers._kafka import TOPICS
    from consumers._read import decoder_for
    from consumers.clean import find_writer

    settings, loaded = settings_of(kafka), spec_of(spec)
    suffix = topic.removeprefix(f"{loaded.name}.")
    if suffix not in TOPICS:
        raise DataError(f"topic: found {topic!r}; allowed: {', '.join(TOPICS)}")
    decode = decoder_for(loaded, suffix, find_writer(loaded, settings))
    for record in _records(loaded, settings, suffix, last, follow):
        shown = _decoded(record, decode)
        if as_json:
            give_json(shown, indent=None)
        else:
            say(_line(shown))


def _records(spec: "Spec", settings: "Settings", suffix: str, last: int, follow: bool) -> Iterator[Any]:
    """The `last` newest committed records over all partitions, by time; then, with `follow`, what comes."""
    from consumers._kafka import broker_errors, consuming, partitions_of

    with broker_errors(settings), consuming(settings) as consumer:
        partitions = partitions_of(consumer, [spec.topic(suffix)], settings)
        consumer.assign(partitions)
        ends = consumer.end_offsets(partitions)
        yield from _newest(consumer, ends, last)
        for tp, end in ends.items():
            consumer.seek(tp, end)
        while follow:
            for records in consumer.poll(timeout_ms=200).values():
                yield from records


def _newest(consumer: Any, ends: dict[Any, int], last: int) -> list[Any]:
    """An offset may be Kafka's own marker, so more than `last` are looked at; if too few, the whole topic."""
    first = consumer.beginning_offsets(list(ends))
    found: list[Any] = []
    for back in (2 * last + 10, max(ends.values())) if last else ():
        starts = {tp: max(first[tp], end - back) for tp, end in ends.items()}
        found = _between(consumer, starts, ends)
        if len(found) >= last or starts == first:
            break
    found.sort(key=lambda r: (r.timestamp, r.partition, r.offset))
    return found[-last:] if last else []


def _between(consumer: Any, starts: dict[Any, int], ends: dict[Any, int]) -> list[Any]:
    found: list[Any] = []
    for tp, start in starts.items():
        consumer.seek(tp, start)
    heard_s = time.monotonic()
    while any(consumer.position(tp) < end for tp, end in ends.items()):
        batch = consumer.poll(timeout_ms=200)
        heard_s = time.monotonic() if batch else heard_s
        if time.monotonic() - heard_s > SILENT_S_MAX:
            raise BrokerError(f"the broker gave no record for {SILENT_S_MAX:g} s, though there are some")
        for tp, records in batch.items():
            found += [r for r in records if r.offset < ends[tp]]
    return found


def _decoded(record: Any, decode: Callable[[bytes], Any]) -> dict[str, Any]:
    """A record as JSON: its place, and its value, or why that can't be decoded."""
    shown: dict[str, Any] = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
        "key": _text(record.key),
    }
    if record.value is None:
        return {**shown, "value": None}
    try:
        value = decode(record.value)
    except Exception as e:  # these are the bytes of strangers; whatever is wrong with them is shown
        value = {"rejected": type(e).__name__, "detail": " ".join(str(e).split())}
    if isinstance(value, str):  # a line of log
        try:
            value = json.loads(value)
        except ValueError:
            value = {"message": value}
    if isinstance(value, dict) and value.keys() == {"rejected", "detail"}:
        why = {"code": value["rejected"], "detail": value["detail"], "bytes": len(record.value)}
        return {**shown, "undecodable": jsonable(why)}
    return {**shown, "value": jsonable(value)}


def _text(key: bytes | None) -> Any:
    try:
        return None if key is None else key.decode()
    except UnicodeDecodeError:
        return jsonable(key)


def _line(shown: dict[str, Any]) -> str:
    """One record for a person: partition:offset, Kafka's time, key, fields."""
    head = f"{shown['partition']}:{shown['offset']}  {_iso(shown['timestamp_ms'])}  {_brief(shown['key'])}"
    if "undecodable" in shown:
        why = shown["undecodable"]
        return f"{head}  UNDECODABLE ({why['bytes']} bytes): {why['code']}: {why['detail']}"
    value = shown["value"]
    if not isinstance(value, dict):
        return f"{head}  {'(a tombstone)' if value is None else _brief(value)}"
    return f"{head}  " + "  ".join(f"{k}={_brief(v)}" for k, v in value.items())


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = "".join(c if c.isprintable() else "·" for c in text)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


@app.command()
def status(
    spec: SpecArg,
    watch: Annotated[bool, typer.Option(help="again every two seconds, until Ctrl-C")] = False,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Lag by step, where every event and label went, the newest model, the arms' metrics, freshness.

    Example: headwater status examples/flights.yaml --watch
    """
    from consumers.status import status as read_status

    settings, loaded = settings_of(kafka), spec_of(spec)
    with working("reading", as_json):
        found = read_status(loaded, settings)
    if not watch:
        _give(found, settings, as_json)
        return
    if as_json:
        while True:
            give_json(_status_json(found), indent=None)
            time.sleep(WATCH_S)
            found = read_status(loaded, settings)
    from rich.live import Live

    with Live(_picture(found, settings), console=out, auto_refresh=False) as live:
        while True:
            time.sleep(WATCH_S)
            live.update(_picture(read_status(loaded, settings), settings), refresh=True)


def _give(found: "Status", settings: "Settings", as_json: bool) -> None:
    if as_json:
        give_json(_status_json(found))
    else:
        out.print(_picture(found, settings), soft_wrap=True)


def _status_json(found: "Status") -> dict[str, Any]:
    sums = {name: {"left": a, "right": b, "equal": a == b} for name, (a, b) in found.counts.sums().items()}
    return {**found.to_json(), "sums": sums}


def _picture(found: "Status", settings: "Settings") -> Any:
    """Everything for a person. Names from the spec are Text, so that no markup in them counts."""
    from rich.console import Group
    from rich.text import Text

    head = f"pipeline {found.pipeline}, spec {found.spec_hash}, Kafka {settings.kafka}"
    if not found.steps and found.model is None:
        start = "no step has run yet; start them with: headwater run SPEC clean encode join learn"
        return Group(Text(head), Text(start))
    parts = [Text(head, style="bold"), _steps(found), _counts(found), _model(found)]
    return Group(*parts, _metrics(found))


def _steps(found: "Status") -> Any:
    from rich.table import Table

    table = Table("step", "records to read", "where", title="lag", title_justify="left")
    for name, step in found.steps.items():
        where = ", ".join(f"{tp}: {lag}" for tp, lag in step.by.items() if lag) or "all read"
        if name == "ship" and found.spool and found.spool["batches"]:
            where += f"; in its spool: {found.spool['batches']} batches, {found.spool['bytes']} bytes"
        table.add_row(name, str(step.lag), where)
    return table


def _counts(found: "Status") -> Any:
    from rich.text import Text

    moving = any(step.lag for name, step in found.steps.items() if name != "ship")
    lines = []
    for name, (a, b) in found.counts.sums().items():
        verdict = "adds up" if a == b else "in motion" if moving else f"DIFFERS by {a - b}"
        lines.append(f"{name}: {a} = {b} ({verdict})" if a == b else f"{name}: {a} ≠ {b} ({verdict})")
    kept = {k: v for k, v in _named(found.counts).items() if v}
    lines.append("  ".join(f"{k} {v}" for k, v in kept.items()) or "nothing counted yet")
    return Text("\n".join(lines))


def _named(counts: Any) -> dict[str, Any]:
    """The counts by name, reasons of rejection written out."""
    from dataclasses import asdict

    found = asdict(counts)
    rejected = found.pop("rejected")
    return found | {f"rejected {code}": n for code, n in rejected.items()}


def _model(found: "Status") -> Any:
    from rich.text import Text

    model, age_ms = found.model, found.model_age_ms
    if model is None or age_ms is None:
        return Text("model    none yet: learn has written no snapshot")
    age = f"{max(0, age_ms) / 1000:.1f} s"
    fresh = f"labels read up to {age} ago"
    if age_ms > LEARNING_MS:
        fresh += ": learn is behind, or does not run"
    serves = ""
    if model["refused"]:
        serves += f"\n         REFUSED by its gate: {model['refused']}; generation {model['good_generation']} serves"
    if model["pin_generation"] >= 0:
        serves += f"\n         PINNED: servers stay at generation {model['pin_generation']} (headwater rollback)"
    label = f"last label {_iso(model['label_time_ms'])}, offset {model['label_offset']}"
    return Text(
        f"model    generation {model['generation']}, {model['rows']} rows, {fresh}; {label}\n"
        f"         {model['uri']}\n"
        f"         state {model['state_hash']}, training offset {model['training_offset']}{serves}"
    )


def _metrics(found: "Status") -> Any:
    from rich.table import Table
    from rich.text import Text

    table = Table("metrics", "values", title_justify="left")
    arms: dict[str, dict[str, float]] = {}
    for name, value in (found.model or {}).get("values", {}).items():  # of the newest snapshot, as arm.metric
        arm, _, metric = name.partition(".")
        arms.setdefault(f"learned.{arm}", {})[metric] = value
    for name, values in sorted({**arms, **found.metrics}.items()):
        table.add_row(Text(name), Text("  ".join(f"{k} {v:.6g}" for k, v in sorted(values.items()))))
    return table
