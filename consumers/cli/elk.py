"""Commands about Elasticsearch's and Kibana's side: put the assets, compare them, take them away."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from consumers.cli.app import JsonOpt, app, give_json, say, settings_of, working
from stream.errors import DataError

elk = typer.Typer(
    help="What Elasticsearch must know before documents are shipped; dashboards and alert rules in Kibana.\n\n"
    "Example: headwater elk up",
    no_args_is_help=True,
)
app.add_typer(elk, name="elk")
ElasticOpt = Annotated[
    str | None, typer.Option(help="address; default: HEADWATER_ELASTICSEARCH, else http://127.0.0.1:9200")
]
KibanaOpt = Annotated[
    str | None, typer.Option(help="Kibana's address; default: HEADWATER_KIBANA, else nothing is done about Kibana")
]
SpaceOpt = Annotated[str, typer.Option(help="space of Kibana; default: its default one")]


def _kibana(address: str | None, space: str) -> Any:
    """The Kibana to work on, None where there is none."""
    settings = settings_of(kibana=address)
    if settings.kibana is None:
        if space:
            raise DataError(f"--space: found {space!r}, but no Kibana; --kibana or HEADWATER_KIBANA names one")
        return None
    from consumers._kibana import Kibana

    return Kibana(settings, space)


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
def elk_up(
    elasticsearch: ElasticOpt = None, kibana: KibanaOpt = None, space: SpaceOpt = "", as_json: JsonOpt = False
) -> None:
    """Put the ingest pipeline, the templates, and into Kibana the dashboards and rules, that are absent or different.

    A second time does nothing.

    Example: headwater elk up --elasticsearch http://127.0.0.1:9200 --kibana http://127.0.0.1:5601
    """
    from consumers._ship_assets import put

    to = _kibana(kibana, space)
    with _client(elasticsearch) as client, working("putting templates", as_json):
        before = put(client)
    did = {"as wanted": "as wanted", "absent": "made", "different": "changed"}
    found = {"assets": [{"kind": s.asset.kind, "name": s.asset.name, "done": did[s.state]} for s in before]}
    if to is not None:
        from consumers import _kibana_assets

        with working("putting dashboards and rules", as_json):
            stood = _kibana_assets.put(to)
        found["kibana"] = [{"kind": s.kind, "name": s.name, "done": did[s.state]} for s in stood]
    if as_json:
        give_json(found)
        return
    for each in (each for part in found.values() for each in part):
        say(f"{each['kind']} {each['name']}: {each['done']}")


@elk.command("diff")
def elk_diff(
    elasticsearch: ElasticOpt = None, kibana: KibanaOpt = None, space: SpaceOpt = "", as_json: JsonOpt = False
) -> None:
    """What `elk up` would change. Exit code 1 when there is something.

    Example: headwater elk diff --json
    """
    from consumers._ship_assets import states

    to = _kibana(kibana, space)
    with _client(elasticsearch) as client, working("comparing templates", as_json):
        found = {"assets": [_row(s.asset.kind, s.asset.name, s.state, s.differences) for s in states(client)]}
    if to is not None:
        from consumers import _kibana_assets

        with working("comparing dashboards and rules", as_json):
            found["kibana"] = [_row(s.kind, s.name, s.state, s.differences) for s in _kibana_assets.states(to)]
    rows = [row for part in found.values() for row in part]
    if as_json:
        give_json(found)
    else:
        for row in rows:
            say(f"{row['kind']} {row['name']}: {row['state']}")
            for line in row["differences"]:
                say(f"  {line}")
    if any(row["state"] != "as wanted" for row in rows):
        raise typer.Exit(1)


def _row(kind: str, name: str, state: str, differences: tuple[str, ...]) -> dict[str, Any]:
    return {"kind": kind, "name": name, "state": state, "differences": list(differences)}


@elk.command("down")
def elk_down(
    data: Annotated[bool, typer.Option("--data", help="also delete every shipped document, of all pipelines")] = False,
    elasticsearch: ElasticOpt = None,
    kibana: KibanaOpt = None,
    space: SpaceOpt = "",
    as_json: JsonOpt = False,
) -> None:
    """Take the templates, the ingest pipeline, and Kibana's dashboards and rules away.

    Refused (11) while there are documents; then nothing is taken away.

    Example: headwater elk down --data
    """
    from consumers._ship_assets import take_away

    to = _kibana(kibana, space)
    if to is not None:
        to.check()  # before anything is gone
    with _client(elasticsearch) as client, working("taking templates away", as_json):
        gone, streams = take_away(client, data)
    found: dict[str, Any] = {"assets": [{"kind": a.kind, "name": a.name} for a in gone], "data_streams": streams}
    if to is not None:
        from consumers import _kibana_assets

        with working("taking dashboards and rules away", as_json):
            found["kibana"] = [{"kind": s.kind, "name": s.name} for s in _kibana_assets.take_away(to)]
    if as_json:
        give_json(found)
        return
    for name in streams:
        say(f"data stream {name}: deleted")
    for each in [*found["assets"], *found.get("kibana", ())]:
        say(f"{each['kind']} {each['name']}: deleted")
    if not gone and not streams and not found.get("kibana"):
        say("nothing was there")
