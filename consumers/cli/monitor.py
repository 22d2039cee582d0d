"""The command monitor: a web page that shows a pipeline as it runs."""

import time
import webbrowser
from typing import Annotated

import typer

from consumers.cli.app import DataOpt, KafkaOpt, SpecArg, app, note, say, settings_of, spec_of
from stream.errors import HeadwaterError


@app.command()
def monitor(
    spec: SpecArg,
    bind: Annotated[str, typer.Option(help="host:port to listen on; port 0 takes a free one")] = "127.0.0.1:8600",
    write: Annotated[bool, typer.Option("--write", help="let the page send dead letters again, and roll back")] = False,
    beyond_loopback: Annotated[
        bool, typer.Option("--beyond-loopback", help="let other machines reach it, who must know the token")
    ] = False,
    name: Annotated[
        list[str] | None, typer.Option(help="a host name by which others reach it; may be repeated")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open", help="open it in a browser")] = False,
    kafka: KafkaOpt = None,
    data: DataOpt = None,
) -> None:
    """Show a running pipeline on a local web page, until Ctrl-C.

    Example: headwater monitor examples/flights.yaml --write
    """
    try:
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError:
        raise HeadwaterError("the monitor needs starlette and uvicorn: pip install 'headwater[monitor]'") from None
    from consumers._log import set_up
    from consumers.monitor.access import access_of
    from consumers.monitor.collect import Monitor
    from consumers.monitor.run import Web
    from consumers.run import until_signalled

    settings = settings_of(kafka, data).model_copy(update={"log_topic": False})
    access, loaded = access_of(bind, write, beyond_loopback, tuple(name or ())), spec_of(spec)
    stop = until_signalled()
    set_up(settings, loaded, "monitor")
    source = Monitor(loaded, settings, write)
    web = Web(source, access)
    url = access.url(web.start())
    source.start()
    try:
        say(url)
        if access.beyond:
            note("other machines reach it, unencrypted: put it behind something that speaks TLS, or ssh -L")
        if open_page:
            webbrowser.open(url)
        while not stop() and source.error is None:
            time.sleep(0.1)
    finally:
        web.stop()
        source.stop()
    if source.error is not None:
        raise source.error
