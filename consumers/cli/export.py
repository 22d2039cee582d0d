"""The command export: an arm's model as a snapshot has it, written as an ONNX file."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from consumers.cli.app import DataOpt, JsonOpt, SpecArg, app, give_json, note, say, settings_of, spec_of, working

if TYPE_CHECKING:
    from stream.registry.snapshot import Snapshot
    from stream.spec import Spec

ROWS_AT_ONCE = 1000


@app.command()
def export(
    spec: SpecArg,
    arm: Annotated[str, typer.Argument(help="whose model", metavar="ARM")],
    output: Annotated[Path, typer.Option(help="the file to write")],
    snapshot: Annotated[Path | None, typer.Option(help="folder of one snapshot; default: the newest")] = None,
    names: Annotated[
        Path | None, typer.Option(help="events (.csv, .jsonl, .avro): the names of categories are taken from there")
    ] = None,
    by: Annotated[
        Literal["name", "id"], typer.Option(help="categories go in as strings, or as our 64-bit ids")
    ] = "name",
    drop_unnamed: Annotated[bool, typer.Option(help="leave out values whose name is not in --names")] = False,
    swappable: Annotated[
        bool, typer.Option(help="a linear model's weights become inputs, today's the defaults")
    ] = False,
    data: DataOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Write an arm's model as an ONNX file that answers as the arm does.

    Example: headwater export examples/flights.yaml logistic --names flights.csv --output late.onnx
    """
    from stream.errors import DataError
    from stream.explain.names import Names
    from stream.export import export_arm
    from stream.predict.served import served_of

    loaded = spec_of(spec)
    with working("exporting", as_json):
        found = _snapshot(loaded, snapshot, data)
        known = Names(loaded)
        for rows in _events(loaded, names) if names else ():
            known.learn(rows)
        made = export_arm(loaded, served_of(loaded, found).arms, arm, known, by, swappable)
    if made.unnamed and not drop_unnamed:
        raise DataError(
            f"arm {arm}: {made.unnamed} values of categories have no name in {names or 'any file'}; --names gives "
            "events that have them, --drop-unnamed leaves them out, --by id needs no names"
        )
    _write(output, made.body)
    for line in found.passed_over:
        note(f"note: passed over {line}")
    told = {"output": str(output), "bytes": len(made.body), "left_out": made.unnamed}
    told |= {"arm": arm, "model": loaded.arms[arm].model, "rows": found.meta["rows"]}
    if as_json:
        give_json({**told, "generation": found.meta["generation"]})
        return
    say(f"{output}: {told['model']} after {told['rows']} rows, {told['bytes']:,} bytes, {made.unnamed} values left out")


def _snapshot(spec: "Spec", folder: Path | None, data: Path | None) -> "Snapshot":
    """The one in this folder, or the pipeline's newest."""
    from consumers.learn import snapshot_folder
    from stream.errors import SnapshotError
    from stream.registry.snapshot import load_newest, read

    if folder is not None:
        return read(folder, spec.hash)
    own = snapshot_folder(settings_of(data=data), spec)
    found = load_newest(own, spec.hash)
    if found is None:
        raise SnapshotError(f"{own}: no snapshot yet; `headwater run SPEC … learn` writes them, --data says where")
    return found


def _events(spec: "Spec", file: Path) -> Iterator[list[dict[str, Any]]]:
    """A file's events, as publishing them would send them."""
    from consumers.publish import typed_events

    events = typed_events(spec, file)
    while rows := list(islice(events, ROWS_AT_ONCE)):
        yield rows


def _write(path: Path, body: bytes) -> None:
    from stream.errors import StorageError

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    except OSError as e:
        raise StorageError(f"{path}: can't be written: {e.strerror}") from e
