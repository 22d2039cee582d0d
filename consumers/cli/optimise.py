"""The command optimise: what quicker and smaller forms of an ONNX file cost and lose, and the promotion of one."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from consumers.cli.app import JsonOpt, SpecArg, app, give_json, note, out, progress, say, spec_of
from stream.errors import DataError

if TYPE_CHECKING:
    from consumers._optimise import Optimised

BATCH_MAX, ROUNDS_MAX = 4096, 1000
MEMORY_MAX = 3  # rounds in which memory is measured too: each takes a new process for each form


@app.command()
def optimise(
    model: Annotated[Path, typer.Argument(help="the ONNX file", metavar="MODEL")],
    spec: SpecArg,
    data: Annotated[Path, typer.Argument(help="events (.csv, .jsonl, .avro), labels too if there are", metavar="DATA")],
    label: Annotated[str | None, typer.Option(help="the column of the label; default: label, if there is one")] = None,
    arm: Annotated[str | None, typer.Option(help="whose inputs and parameters; default: the only ONNX arm")] = None,
    output: Annotated[Path | None, typer.Option(help="folder to write every form to")] = None,
    promote: Annotated[str | None, typer.Option(help="the form to write where the arm reads")] = None,
    max_loss: Annotated[str, typer.Option(help="a form that loses more is not promoted")] = "0.5%",
    batch: Annotated[int, typer.Option(min=2, max=BATCH_MAX, help="rows of a call, besides 1")] = 64,
    rounds: Annotated[int, typer.Option(min=1, max=ROUNDS_MAX, help="in which all forms are timed in turn")] = 7,
    rows: Annotated[int, typer.Option(min=1, help="of DATA, at most")] = 20_000,
    as_json: JsonOpt = False,
) -> None:
    """Compare forms of an ONNX file: fused, float16, int8; latency, memory, size, quality. Promote one.

    Example: headwater optimise late.onnx late.yaml flights.csv --label late --promote int8-dynamic
    """
    from consumers._optimise import Effort, arm_of, optimised, params_of, promoted, rows_of, written
    from stream.learn.view import view_of

    most = _percent(max_loss)
    loaded = spec_of(spec)
    name = arm_of(loaded, arm)
    params, layout = params_of(loaded, name), view_of(loaded, name).layout
    read = rows_of(loaded, name, data, label, rows)
    with progress("measuring", as_json) as told:
        found = optimised(model, loaded, layout, params, read, Effort(batch, rounds, min(rounds, MEMORY_MAX)), told)
    paths = written(found, model, output) if output is not None else []
    if as_json and promote is None:
        give_json(_told(found, paths, None))
    elif not as_json:
        _show(found, loaded.folder / params.name)
        for path in paths:
            say(f"wrote {path}")
    if promote is None:
        return
    to = loaded.folder / params.name
    kept = promoted(found, promote, most, to)
    if as_json:
        give_json(_told(found, paths, to))
        return
    say(f"{promote} is now {to}" + (f"; the file before it is {kept}" if kept else ""))
    note("note: snapshots made with another file are refused; a new file name in the spec starts a new pipeline")


def _percent(text: str) -> float:
    """'0.5%' or '0.5' → 0.5. Raises DataError."""
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise DataError(f"--max-loss: found {text!r}; a share such as 0.5% is wanted, 0% to 100%")
    return value


def _told(found: "Optimised", paths: list[Path], promoted_to: Path | None) -> dict[str, Any]:
    """All figures for a script."""
    forms = [
        {
            "form": f.variant.name,
            "level": f.variant.level,
            "calls": [{"rows": n, "p50_us": p.p50_us, "p99_us": p.p99_us} for n, p in f.paces.items()],
            "memory_mib": f.memory_mib,
            "file_kb": f.file_kb,
            "quality": f.values,
            "lost_percent": {x.measure: x.percent for x in f.lost},
        }
        for f in found.forms
    ]
    rows = {"judged": found.judged, "calibrated": found.calibrated, "labelled": found.labelled}
    refused = {v.name: v.refused for v in found.refused}
    named = {"written": [str(p) for p in paths], "promoted_to": str(promoted_to) if promoted_to else None}
    return {"forms": forms, "refused": refused, "rows": rows, **named}


def _show(found: "Optimised", target: Path) -> None:
    """The table that a person decides from."""
    from rich.table import Table

    first = found.forms[0]
    title = f"{found.judged:,} rows judged, {found.calibrated:,} others calibrated; times are microseconds a row"
    table = Table(title=title, title_justify="left", caption=f"the arm reads {target}", caption_justify="left")
    table.add_column("form")
    heads = [f"{'one row' if n == 1 else f'{n} rows'} a call\np50 / p99" for n in first.paces]
    for head in [*heads, "memory\nMiB", "file\nkB", *first.values, "worst\nloss"]:
        table.add_column(head, justify="right")
    for form in found.forms:
        times = [
            f"{p.p50_us:.1f} / {p.p99_us:.1f}{_change(p.p50_us, first.paces[n].p50_us)}" for n, p in form.paces.items()
        ]
        memory = f"{form.memory_mib:.2f}{_change(form.memory_mib, first.memory_mib)}"
        size = f"{form.file_kb:,.0f}{_change(form.file_kb, first.file_kb)}"
        worst = f"{form.lost[0].percent:+.3f} %" if form.lost else ""
        table.add_row(form.variant.name, *times, memory, size, *(f"{v:.4f}" for v in form.values.values()), worst)
    out.print(table)
    for variant in found.refused:
        say(f"{variant.name}: not made: {variant.refused}")
    if not found.labelled:
        say("no labels, so forms are judged by how they agree with the original; --label COLUMN names the labels")


def _change(now: float, before: float) -> str:
    """Against the original, in percent; nothing for the original itself."""
    return "" if now == before or before <= 0 else f"\n{100 * (now / before - 1):+.0f} %"
