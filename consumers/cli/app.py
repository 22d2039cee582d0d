"""The command line's frame: options, output, errors.

Errors that a person can mend are one line on stderr and an exit code (stream/errors.py), never a traceback.
With `--json`, stdout holds JSON and nothing else. `--help` imports neither Kafka nor the models.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from stream.errors import HeadwaterError, SpecError

if TYPE_CHECKING:
    from consumers.settings import Settings
    from stream.spec import Spec

app = typer.Typer(
    name="headwater",
    help="Streaming online learning: events on Kafka in, fresh predictions over gRPC out.\n\n"
    "Example: headwater demo --flights 5000",
    epilog="Exit codes: 0 well; 1 anything else, or a bug; 2 usage, settings or spec; 3 schema; 4 data; "
    "5 broker; 6 no topic; 7 offset lost; 8 snapshot; 9 disk; 10 limit; 11 Elasticsearch; 75 a step hung, "
    "start it again; 130 Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
_piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
out = Console(highlight=False, width=120 if _piped else None)
err = Console(stderr=True, highlight=False)

SpecArg = Annotated[Path, typer.Argument(help="the pipeline's YAML file", metavar="SPEC")]
KafkaOpt = Annotated[str | None, typer.Option(help="broker address; default: HEADWATER_KAFKA, else 127.0.0.1:9092")]
DataOpt = Annotated[Path | None, typer.Option(help="folder for snapshots; default: HEADWATER_DATA, else per user")]
JsonOpt = Annotated[bool, typer.Option("--json", help="print JSON for scripts")]

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^\s:,\[\]]+):(\d{1,5})")


def settings_of(kafka: str | None = None, data: Path | None = None, **more: Any) -> "Settings":
    """Settings from the environment, with options on top. Raises SpecError for values that can't be."""
    from pydantic import ValidationError

    from consumers.settings import Settings

    given = {k: v for k, v in {"kafka": kafka, "data": data, **more}.items() if v is not None}
    try:
        settings = Settings(**given)
    except ValidationError as e:
        problems = [f"{_named(str(x['loc'][0]), given)}: found {x['input']!r}; {x['msg']}" for x in e.errors()]
        raise SpecError(problems, "settings") from None
    for address in settings.kafka.split(","):
        found = _ADDRESS.fullmatch(address.strip())
        if found is None or not 0 < int(found[2]) < 65536:
            wanted = "host:port is wanted, several with commas between"
            raise SpecError([f"{_named('kafka', given)}: found {settings.kafka!r}; {wanted}"], "settings")
    return settings


def _named(name: str, options: dict[str, Any]) -> str:
    """How the person gave a setting."""
    return f"--{name}" if name in options else f"HEADWATER_{name.upper()}"


def spec_of(path: Path) -> "Spec":
    """Read and check a spec."""
    from stream.spec_load import load_spec  # compiled models load with it; `--help` need not wait for them

    return load_spec(path)


def say(line: str) -> None:
    """One line for a person, as it is."""
    out.print(line, markup=False, soft_wrap=True)


def note(line: str) -> None:
    """One line beside the result: on stderr."""
    err.print(line, markup=False, soft_wrap=True)


def give_json(data: Any, indent: int | None = 2) -> None:
    """One JSON value on stdout; numbers that JSON lacks become text, as bytes and others do."""
    print(json.dumps(jsonable(data), indent=indent), flush=True)


def jsonable(value: Any) -> Any:
    """The value with only what JSON has: NaN and infinity as text, bytes as {"base64": …}."""
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(v) for v in value]
    if isinstance(value, float) and value - value != 0:
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}[str(value)]
    if isinstance(value, bytes):
        import base64

        return {"base64": base64.b64encode(value).decode()}
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


@contextmanager
def progress(what: str, as_json: bool) -> Iterator[Callable[[int, int | None], None]]:
    """A bar on stderr, if that is a terminal; call what you get with (done, total or None)."""
    if as_json or not err.is_terminal:
        yield lambda done, total: None
        return
    from rich.progress import Progress

    with Progress(console=err, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def working(what: str, as_json: bool) -> Iterator[None]:
    """A spinner on stderr, if that is a terminal, for what may take seconds."""
    if as_json or not err.is_terminal:
        yield
        return
    with err.status(what):
        yield


def main(argv: Sequence[str] | None = None) -> None:
    """Entry point; leaves by SystemExit."""
    from consumers.cli import (  # noqa: F401  they register
        commands,
        elk,
        experiment,
        explain,
        export,
        look,
        make,
        monitor,
        optimise,
        rollback,
        schema,
        ship,
        trace,
    )

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(argv, prog_name="headwater", standalone_mode=False)  # gives the code of typer.Exit
    except HeadwaterError as e:
        alone = isinstance(e, SpecError) and len(e.problems) == 1
        note(f"headwater: {e.source}: {e.problems[0]}" if alone else f"headwater: {e}")  # type: ignore[attr-defined]
        sys.exit(e.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as e:
        if not hasattr(e, "format_message"):
            raise
        sys.exit(_usage(e))
    sys.exit(code if isinstance(code, int) else 0)


def _usage(error: Any) -> int:
    """Say what typer found wrong with the arguments."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError" and context is not None:
        note(context.get_help())
        return 2
    text = " ".join(error.format_message().split())
    hint = f" (see: {context.command_path} --help)" if context is not None else ""
    note(f"headwater: {text}{hint}")
    return int(getattr(error, "exit_code", 2))
