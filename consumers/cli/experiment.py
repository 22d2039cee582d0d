"""The commands about experiments: report says how the arms compare, at any time, as often as one likes."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from consumers.cli.app import JsonOpt, KafkaOpt, SpecArg, app, give_json, note, out, progress, settings_of, spec_of

if TYPE_CHECKING:
    from stream.experiment.report import Report

experiments = typer.Typer(
    help="Experiments: how the arms compare.\n\nExample: headwater experiment report examples/flights.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(experiments, name="experiment")


@experiments.callback()
def _group() -> None:
    """Experiments: how the arms compare.

    Example: headwater experiment report examples/flights.yaml
    """


@experiments.command()
def report(
    spec: SpecArg,
    control: Annotated[str | None, typer.Option(help="compare with this arm; default: the first")] = None,
    alpha: Annotated[float, typer.Option(help="error rate, over all looks together")] = 0.05,
    covariate: Annotated[
        str | None, typer.Option(help="a numeric field of the event that explains outcomes (CUPED): narrower intervals")
    ] = None,
    by: Annotated[list[str] | None, typer.Option(help="check the sample ratio by this field too; repeatable")] = None,
    each_event: Annotated[bool, typer.Option("--each-event", help="count all events of a unit, not the first")] = False,
    html: Annotated[Path | None, typer.Option(help="write a page with plots to this file")] = None,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """How the arms compare on what was served, up to now; valid however often it is asked.

    Example: headwater experiment report examples/flights.yaml --by carrier --html runs/report.html
    """
    from consumers._experiment import report_of

    settings, loaded = settings_of(kafka), spec_of(spec)
    with progress("reading exposures and labels", as_json) as told:
        found = report_of(loaded, settings, control, alpha, covariate, by or [], each_event, told)
    if as_json:
        give_json(found.to_json())
    else:
        show(found)
    if html is not None:
        from consumers._experiment_page import write_page

        write_page(found, html)
        note(f"report: {html}")


def show(r: "Report") -> None:
    """The report as tables."""
    from rich.table import Table

    from consumers._experiment_page import SHARED, ends, shown

    policy = SHARED if r.training == "shared" else ""
    out.print(f"{r.pipeline}, experiment {r.experiment}: control {r.control}, unit {r.unit}", markup=False)
    out.print(f"training of arms: {r.training}{policy}", markup=False)
    arms = Table("arm", "planned share", "exposures", "outcomes", title="what was served")
    for arm, n in r.exposures.items():
        arms.add_row(arm, f"{r.planned[arm]:.3f}", f"{n:,}", f"{r.outcomes[arm]:,}")
    out.print(arms)
    title = f"intervals hold at every look: {1 - r.alpha:.3g} for means, {1 - r.alpha_each:.3g} for differences"
    means = Table("metric", "arm", "outcomes", "estimate", "interval", "p", "verdict", title=title)
    for m in r.metrics:
        name = f"{m.metric.name} ({'less' if m.metric.less else 'more'} is better)"
        for t in m.arms:
            means.add_row(name, t.arm, f"{t.now.n:,}", shown(t.now.estimate), ends(t.now), "", "")
        for c in m.comparisons:
            label = f"{c.arm} − {r.control}"
            means.add_row("", label, f"{c.now.n:,}", shown(c.now.estimate), ends(c.now), f"{c.p_value:.3g}", c.verdict)
        means.add_section()
    out.print(means)
    ratio = Table("dimension", "levels", "exposures", "p at every look", "p of χ²", "", title="sample ratio")
    for x in r.ratio:
        p, chi = f"{x.corrected:.3g}", f"{x.chi_squared_corrected:.3g}"
        ratio.add_row(x.dimension, f"{x.levels:,}", f"{x.exposures:,}", p, chi, "BROKEN" if x.broken else "kept")
    out.print(ratio)
    for line in r.notes:
        note(f"note: {line}")
