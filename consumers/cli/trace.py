"""The command that tells the way of one event."""

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.app import JsonOpt, KafkaOpt, SpecArg, app, give_json, note, out, progress, say, settings_of, spec_of
from stream.errors import DataError

if TYPE_CHECKING:
    from consumers._trace_way import Step
    from consumers.trace import Way

_SHOWN = {
    "publish": ("bytes", "id_from", "event_time_ms", "caller_trace_id"),
    "label": ("value", "caller_trace_id"),
    "predict": ("arm", "score", "model_generation", "staleness_ms", "latency_us"),
    "join": ("label", "row", "rows"),
    "clean": ("changed",),
    "learn": ("training_offset",),
}


@app.command()
def trace(
    spec: SpecArg,
    id: Annotated[str, typer.Argument(help="of an event or a prediction, or a trace id", metavar="ID")],
    since: Annotated[
        str | None, typer.Option(help="read only records that are no older than this: 90s, 10m, 36h, 2d")
    ] = None,
    elasticsearch: Annotated[
        str | None, typer.Option(help="address; default: HEADWATER_ELASTICSEARCH, else none is asked")
    ] = None,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """The way of one event, with times: published, predicted, labelled, learned, answered from, shipped.

    Ends with 4 when no record is about it. With an Elasticsearch its documents are told too, and spare much reading.

    Example: headwater trace examples/flights.yaml 3f1c9e8a-1 --since 1h
    """
    from consumers.trace import trace as way_of

    settings, loaded = settings_of(kafka, elasticsearch=elasticsearch), spec_of(spec)
    since_ms = _since(since)
    with progress("reading topics", as_json) as told:
        way = way_of(loaded, settings, id, since_ms, told)
    if way.fault:
        note(f"note: documents are not told: {way.fault}")
    if as_json:
        give_json(way.to_json())
    elif way.found:
        _show(way)
    if not way.found:
        read = ", ".join(f"{topic} ({n})" for topic, n in way.searched.items()) or "no topic"
        back = f" of the last {since}" if since else ""
        raise DataError(f"id: found {id!r}; no record{back} is about such an event or prediction. Records read: {read}")


def _since(given: str | None) -> int | None:
    from stream.spec import duration_ms

    if given is None:
        return None
    try:
        back = duration_ms(given)
    except ValueError as e:
        raise DataError(f"--since: found {given!r}; {e}") from None
    return int(time.time() * 1000 - back)


def _show(way: "Way") -> None:
    from rich.table import Table
    from rich.text import Text

    from consumers.trace import with_deltas

    say(f"event {way.event_id}, pipeline {way.pipeline}")
    say(f"trace {way.trace_id}")
    table = Table("time (UTC)", "Δt", "step", "what", "where")
    for step, delta in with_deltas(way.steps):
        when = "" if step.at_ms is None else _time(step.at_ms)
        where = ""
        if step.seen is not None:
            where = f"{step.seen.topic.rpartition('.')[2]} {step.seen.partition}:{step.seen.offset}"
        table.add_row(when, _delta(delta), step.step, Text(_what(step)), where)
    out.print(table)
    for d in way.documents:
        say(f"document {d.index}/_doc/{d.id}")


def _what(step: "Step") -> str:
    about: dict[str, Any] = dict(step.about)
    if "detail" in about:
        return f"{step.state}: {about['detail']}"
    if "follows_from" in about:
        return f"{step.state} ({about['follows_from']})"
    shown = [
        f"{n.removesuffix('_ms')} {_value(n, about[n])}"
        for n in _SHOWN.get(step.step, ())
        if n in about and about[n] not in (None, [], "")
    ]
    return f"{step.state}{': ' if shown else ''}{', '.join(shown)}"


def _value(name: str, value: Any) -> str:
    if name == "event_time_ms":
        return _time(value)
    if name.endswith("_ms"):
        return f"{value} ms"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "milliseconds").removesuffix("+00:00")


def _delta(delta_ms: int | None) -> str:
    if delta_ms is None:
        return ""
    return f"{delta_ms} ms" if abs(delta_ms) < 10_000 else f"{delta_ms / 1000:.1f} s"
