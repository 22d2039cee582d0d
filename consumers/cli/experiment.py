"""The commands about experiments: how the arms compare, who gets which, and what was changed about it."""

import getpass
import socket
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from consumers.cli.app import (
    JsonOpt,
    KafkaOpt,
    SpecArg,
    app,
    give_json,
    note,
    out,
    progress,
    say,
    settings_of,
    spec_of,
    working,
)
from stream.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from consumers._control import Make
    from consumers.guard import Look
    from consumers.settings import Settings
    from stream.experiment.report import Report
    from stream.spec import Spec

experiments = typer.Typer(
    help="Experiments: how the arms compare, and who gets which.\n\n"
    "Example: headwater experiment report examples/flights.yaml",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(experiments, name="experiment")


@experiments.callback()
def _group() -> None:
    """Experiments: how the arms compare, who gets which.

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


WhyOpt = Annotated[str, typer.Option(help="the reason; it is recorded")]
WhoOpt = Annotated[str | None, typer.Option(help="who changes it; default: user@host")]


@experiments.command()
def ramp(
    spec: SpecArg,
    shares: Annotated[list[str], typer.Argument(help="ARM=SHARE, from 0 to 1; the others share what is left")],
    why: WhyOpt,
    who: WhoOpt = None,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Give arms other shares, in all servers at once.

    Example: headwater experiment ramp examples/flights.yaml tree=0.2 --why "first look was good"
    """
    from stream.experiment.control import ramp as record

    loaded, named = spec_of(spec), _shares(shares)
    _change(loaded, settings_of(kafka), lambda state: record(loaded, state, named, *_by(who, why)), as_json)


@experiments.command()
def stop(spec: SpecArg, why: WhyOpt, who: WhoOpt = None, kafka: KafkaOpt = None, as_json: JsonOpt = False) -> None:
    """End the experiment: everybody gets the control. `ramp` goes on with it.

    Example: headwater experiment stop examples/flights.yaml --why "the tree is too slow"
    """
    from stream.experiment.control import end

    loaded = spec_of(spec)
    _change(loaded, settings_of(kafka), lambda state: end(loaded, state, None, *_by(who, why)), as_json)


@experiments.command()
def promote(
    spec: SpecArg,
    arm: Annotated[str, typer.Argument(help="the arm that wins")],
    why: WhyOpt,
    who: WhoOpt = None,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """End the experiment: everybody but a hold-out gets this arm.

    Example: headwater experiment promote examples/flights.yaml tree --why "better by 0.01 in Brier"
    """
    from stream.experiment.control import end

    loaded = spec_of(spec)
    _change(loaded, settings_of(kafka), lambda state: end(loaded, state, arm, *_by(who, why)), as_json)


@experiments.command()
def history(spec: SpecArg, kafka: KafkaOpt = None, as_json: JsonOpt = False) -> None:
    """What was changed, when, by whom and why; and what holds now.

    Example: headwater experiment history examples/flights.yaml
    """
    from consumers._control import state_of

    loaded = spec_of(spec)
    state = state_of(loaded, settings_of(kafka))
    if as_json:
        now = {"seq": state.seq, "shares": dict(state.shares), "ended": state.ended}
        give_json({"experiment": loaded.experiment.name, "now": now, "records": [asdict(r) for r in state.records]})
        return
    from rich.table import Table

    table = Table("seq", "when", "action", "shares", "who", "why", title=f"{loaded.name}, {loaded.experiment.name}")
    table.add_row("0", "", "spec", _shown(state.epochs[0]), "", "")
    for r, shares in zip(state.records, state.epochs[1:], strict=True):
        when = f"{datetime.fromtimestamp(r.when_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(str(r.seq), when, f"{r.action} {r.arm}".strip(), _shown(shares), escape(r.who), escape(r.why))
    out.print(table)
    say(f"now: {_shown(state.shares)}{', ended' if state.ended else ''}")


@experiments.command()
def guard(
    spec: SpecArg,
    once: Annotated[bool, typer.Option("--once", help="look once, and end")] = False,
    every: Annotated[float, typer.Option(help="seconds between looks", min=0.1)] = 5.0,
    supervise: Annotated[bool, typer.Option(help="start it again whenever it ends by a fault")] = False,
    kafka: KafkaOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Watch the spec's guardrails, and drain an arm that is shown to be worse, until Ctrl-C or SIGTERM.

    Example: headwater experiment guard examples/flights.yaml --once
    """
    if supervise:
        from consumers._supervise import supervise as keep

        own = [word for word in sys.argv[1:] if word != "--supervise"]
        sys.exit(keep([sys.executable, "-m", "consumers.cli", *own]))
    from consumers.guard import watch
    from consumers.run import until_signalled
    from stream.spec import control_of

    loaded, settings, left = spec_of(spec), settings_of(kafka), until_signalled()
    looks: list[Look] = []
    said: dict[tuple[str, str], str] = {}

    def told(look: "Look") -> None:
        looks[:] = [look]
        for f in look.findings:
            text = f"{f.why(control_of(loaded))}: {'WORSE' if f.worse else 'not shown to be worse'}"
            if said.get((f.arm, f.metric)) != text and not as_json:
                say(text)
            said[f.arm, f.metric] = text
        for r in look.drained:
            if not as_json:
                say(f"change {r.seq}, guardrail {r.arm}: {_shown(r.weights)}")
            elif not once:
                give_json(asdict(r), None)

    watch(loaded, settings, lambda: left() or (once and bool(looks)), every, told)
    if once and as_json:
        give_json(asdict(looks[0]))
    elif once and not looks[0].findings:
        say("nothing to judge: no arm beside the control has a share, or no outcome is known yet")


def _by(who: str | None, why: str) -> tuple[str, int, str]:
    """Who, when and why. Raises DataError for an empty reason."""
    if not why.strip():
        raise DataError("--why: found nothing; a reason is wanted, for those who read the history")
    return who or f"{getpass.getuser()}@{socket.gethostname()}", time.time_ns() // 1_000_000, why.strip()


def _shares(given: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for word in given:
        arm, _, share = word.partition("=")
        try:
            value = float(share)
        except ValueError:
            raise DataError(f"share: found {word!r}; ARM=SHARE is wanted, tree=0.2 say") from None
        if arm in found:
            raise DataError(f"share: found {arm} twice, {found[arm]:g} and {value:g}; once is wanted")
        found[arm] = value
    return found


def _shown(shares: "Mapping[str, float]") -> str:
    return ", ".join(f"{arm} {share:.4g}" for arm, share in shares.items())


def _change(spec: "Spec", settings: "Settings", make: "Make", as_json: bool) -> None:
    """Write it, and tell what it changed."""
    from consumers._control import change
    from stream.experiment.control import least_moved, moved

    with working("writing", as_json):
        done = change(spec, settings, make)
    share, least = moved(spec, done.before, done.after), least_moved(done.before, done.after)
    if as_json:
        give_json({"record": asdict(done.record), "shares": dict(done.after.shares), "moved": share})
        return
    say(f"change {done.record.seq}, {done.record.action}: {_shown(done.after.shares)}")
    say(f"{share:.2%} of the experiment's units get another arm")
    if share > least + 1e-6 and not done.after.ended:
        note(f"note: {least:.2%} would do; `assignment: 2` in a new experiment's spec moves no more than that")


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
