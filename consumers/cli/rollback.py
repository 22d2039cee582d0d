"""The command rollback: servers go back to an older snapshot, and stay until they are released."""

from typing import Annotated, Any

import typer

from consumers.cli.app import JsonOpt, KafkaOpt, SpecArg, app, give_json, out, say, settings_of, spec_of, working
from stream.errors import DataError


@app.command()
def rollback(
    spec: SpecArg,
    generation: Annotated[
        int | None, typer.Argument(help="of the snapshot; default: the last good one that is kept", min=0)
    ] = None,
    why: Annotated[str, typer.Option(help="for whoever looks later: on the topic, and in servers' logs")] = "",
    release: Annotated[bool, typer.Option("--release", help="let servers follow the learner again")] = False,
    listed: Annotated[bool, typer.Option("--list", help="only show what there is")] = False,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Send every server back to an older snapshot; learning goes on.

    Example: headwater rollback examples/flights.yaml --why "labels of this morning were wrong"
    """
    from consumers.rollback import Rollback

    if sum((generation is not None, release, listed)) > 1:
        raise DataError("found two of GENERATION, --release and --list; one of them is wanted")
    settings, loaded = settings_of(kafka), spec_of(spec)
    with working("reading", as_json):
        found = Rollback(loaded, settings)
    if listed:
        _show([c.to_json() for c in found.choices()], as_json)
        return
    if release:
        found.release()
        done: dict[str, Any] = {"pinned": None}
    else:
        record = found.pin(found.default() if generation is None else generation, why)
        done = {"pinned": record["generation"], "rows": record["rows"], "refused": record["refused"]}
    if as_json:
        give_json(done)
    elif release:
        say("released; servers follow the learner again")
    else:
        say(f"servers go to generation {done['pinned']}, {done['rows']} rows learned, and stay; --release ends it")
        if done["refused"]:
            say(f"its gate refused it: {done['refused']}")


def _show(choices: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        give_json({"snapshots": choices})
        return
    from rich.table import Table

    table = Table("generation", "rows", "gate", "")
    for c in choices:
        marks = [name for name in ("newest", "pinned") if c[name]]
        table.add_row(str(c["generation"]), str(c["rows"]), c["refused"] or "good", ", ".join(marks))
    out.print(table)
