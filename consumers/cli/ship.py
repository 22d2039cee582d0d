"""The command that ships records to Elasticsearch."""

import sys
from typing import Annotated

import typer

from consumers.cli.app import DataOpt, KafkaOpt, SpecArg, app, settings_of, spec_of
from consumers.cli.elk import ElasticOpt


@app.command()
def ship(
    spec: SpecArg,
    only: Annotated[
        list[str] | None,
        typer.Option(help="this topic alone; may be repeated: predictions, labels, metrics, experiment, dead, logs"),
    ] = None,
    elasticsearch: ElasticOpt = None,
    kafka: KafkaOpt = None,
    data: DataOpt = None,
    supervise: Annotated[bool, typer.Option(help="start it again whenever it ends by a fault")] = False,
) -> None:
    """Ship what is on Kafka to Elasticsearch, each record once, until Ctrl-C or SIGTERM.

    Example: headwater ship examples/flights.yaml --elasticsearch http://127.0.0.1:9200
    """
    settings = settings_of(kafka, data, elasticsearch=elasticsearch)
    if supervise:
        from consumers._supervise import supervise as keep

        arguments = [a for a in sys.argv[1:] if a != "--supervise"]
        sys.exit(keep([sys.executable, "-m", "consumers.cli", *arguments]))
    from consumers.run import until_signalled
    from consumers.ship import ship as ship_topics

    stop = until_signalled()
    ship_topics(spec_of(spec), settings, only or (), stop)
