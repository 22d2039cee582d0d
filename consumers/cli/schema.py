"""Commands about event schemas: check a new one against the pipeline's, register one."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from consumers.cli.app import JsonOpt, SpecArg, app, give_json, note, say, settings_of, spec_of, working
from stream.errors import DataError, SchemaError

schema = typer.Typer(
    help="Avro schemas of events.\n\nExample: headwater schema check examples/flights.yaml new.avsc",
    no_args_is_help=True,
)
app.add_typer(schema, name="schema")


class Mode(StrEnum):
    """Which way round two schemas must fit."""

    backward = "backward"
    forward = "forward"
    full = "full"


_MEANS = {
    "backward": "the new schema reads what was written with the old one: the pipeline may move to it",
    "forward": "the old schema reads what is written with the new one: producers may move to it now",
}


@schema.command("check")
def schema_check(
    spec: SpecArg,
    new: Annotated[Path, typer.Argument(help="the new schema", metavar="NEW.avsc")],
    mode: Annotated[
        Mode, typer.Option(help="backward: new reads old; forward: old reads new; full: both")
    ] = Mode.backward,
    as_json: JsonOpt = False,
) -> None:
    """Whether a new event schema fits the pipeline's. Exit code 3 and every problem with its path when not.

    Example: headwater schema check examples/flights.yaml new.avsc --mode full
    """
    from stream.arrive.evolve import check_compatible
    from stream.arrive.schema import load_schema
    from stream.spec_load import event_schema

    old, given = event_schema(spec_of(spec)), load_schema(new)
    found = {"backward": check_compatible(old, given), "forward": check_compatible(given, old)}
    wanted = ("backward", "forward") if mode is Mode.full else (mode.value,)
    fits = not any(found[way] for way in wanted)
    if as_json:
        ways = {way: [_split(line) for line in lines] for way, lines in found.items()}
        give_json({"compatible": fits, "mode": mode.value, "problems": ways})
    else:
        for way, lines in found.items():
            asked = "" if way in wanted else " (not asked for)"
            say(f"{way}{asked}: {'no' if lines else 'yes'}: {_MEANS[way]}")
            for line in lines:
                say(f"  {line}")
    if not fits:
        raise typer.Exit(SchemaError.exit_code)


def _split(line: str) -> dict[str, str]:
    path, _, text = line.partition(": ")
    return {"path": path, "problem": text}


@schema.command("register")
def schema_register(
    spec: SpecArg,
    new: Annotated[Path | None, typer.Argument(help="default: the pipeline's own schema", metavar="[NEW.avsc]")] = None,
    registry: Annotated[str | None, typer.Option(help="address; default: HEADWATER_REGISTRY")] = None,
    as_json: JsonOpt = False,
) -> None:
    """Register an event schema for the events topic; refused (3) when the pipeline could not read its events.

    Example: headwater schema register examples/flights.yaml --registry http://127.0.0.1:8081
    """
    from consumers._registry import SchemaRegistry
    from stream.arrive.evolve import check_compatible
    from stream.arrive.schema import load_schema
    from stream.spec_load import event_schema

    loaded, settings = spec_of(spec), settings_of(registry=registry)
    if settings.registry is None:
        raise DataError("no schema registry: set HEADWATER_REGISTRY, or give --registry http://host:8081")
    own = event_schema(loaded)
    given = own if new is None else load_schema(new)
    problems = check_compatible(given, own)
    if problems:
        raise SchemaError(f"{new}: the pipeline could not read its events: {'; '.join(problems)}")
    subject = f"{loaded.topic('events')}-value"
    with working(f"registering {subject}", as_json):
        number = SchemaRegistry(settings.registry, timeout_s=10.0).register(subject, given)
    result: dict[str, Any] = {"subject": subject, "id": number, "fingerprint": given.fingerprint.hex()}
    if as_json:
        give_json(result)
        return
    say(f"{subject}: id {number}")
    note(f"publish with it: headwater publish {spec} FILE --registry-id {number}")
