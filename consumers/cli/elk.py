"""Commands about Elasticsearch's side: put the assets, compare them, take them away."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from consumers.cli.app import JsonOpt, app, give_json, say, settings_of, working

elk = typer.Typer(
    help="What Elasticsearch must know before documents are shipped.\n\nExample: headwater elk up",
    no_args_is_help=True,
)
app.add_typer(elk, name="elk")
ElasticOpt = Annotated[
    str | None, typer.Option(help="address; default: HEADWATER_ELASTICSEARCH, else http://127.0.0.1:9200")
]


@contextmanager
def _client(address: str | None) -> Iterator[Any]:
    from elasticsearch import ApiError, TransportError

    from consumers._ship_client import elastic_error, make_client

    settings = settings_of(elasticsearch=address)
    client = make_client(settings)
    try:
        yield client
    except (ApiError, TransportError) as error:
        raise elastic_error(settings, error) from error
    finally:
        client.close()


@elk.command("up")
def elk_up(elasticsearch: ElasticOpt = None, as_json: JsonOpt = False) -> None:
    """Put the ingest pipeline and the templates that are absent or different; a second time does nothing.

    Example: headwater elk up --elasticsearch http://127.0.0.1:9200
    """
    from consumers._ship_assets import put

    with _client(elasticsearch) as client, working("putting templates", as_json):
        before = put(client)
    did = {"as wanted": "as wanted", "absent": "made", "different": "changed"}
    found = [{"kind": s.asset.kind, "name": s.asset.name, "done": did[s.state]} for s in before]
    if as_json:
        give_json({"assets": found})
        return
    for each in found:
        say(f"{each['kind']} {each['name']}: {each['done']}")


@elk.command("diff")
def elk_diff(elasticsearch: ElasticOpt = None, as_json: JsonOpt = False) -> None:
    """What `elk up` would change. Exit code 1 when there is something.

    Example: headwater elk diff --json
    """
    from consumers._ship_assets import states

    with _client(elasticsearch) as client, working("comparing templates", as_json):
        found = states(client)
    if as_json:
        rows = [{"kind": s.asset.kind, "name": s.asset.name, "state": s.state, "differences": list(s.differences)}
                for s in found]  # fmt: skip
        give_json({"assets": rows})
    else:
        for s in found:
            say(f"{s.asset.kind} {s.asset.name}: {s.state}")
            for line in s.differences:
                say(f"  {line}")
    if any(s.state != "as wanted" for s in found):
        raise typer.Exit(1)


@elk.command("down")
def elk_down(
    data: Annotated[bool, typer.Option("--data", help="also delete every shipped document, of all pipelines")] = False,
    elasticsearch: ElasticOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Take the templates and the ingest pipeline away; refused (11) while there are documents.

    Example: headwater elk down --data
    """
    from consumers._ship_assets import take_away

    with _client(elasticsearch) as client, working("taking templates away", as_json):
        gone, streams = take_away(client, data)
    if as_json:
        give_json({"assets": [{"kind": a.kind, "name": a.name} for a in gone], "data_streams": streams})
        return
    for name in streams:
        say(f"data stream {name}: deleted")
    for asset in gone:
        say(f"{asset.kind} {asset.name}: deleted")
    if not gone and not streams:
        say("nothing was there")
