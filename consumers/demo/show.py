"""What a run of the demo prints."""

from rich.console import Console
from rich.table import Table

from consumers.demo.experiment import METRIC, Experiment
from consumers.demo.result import Result

MEASURES = (("auc", "AUC"), ("log_loss", "log loss"), ("accuracy", "accuracy"))


def _arms_table(r: Result) -> Table:
    table = Table(
        "",
        *r.models,
        title="the arms",
        caption="progressive: scored when the label comes, then learned; served: asked when scheduled, hours before",
    )
    table.add_row("model", *r.models.values())
    table.add_row("learns", *(r.runs_as[a] for a in r.models))
    for key, name in MEASURES:
        table.add_row(f"progressive {name}", *(_figure(r.prequential.get(a, {}), key) for a in r.models))
    table.add_row("answers served", *(f"{r.answers.get(a, 0):,}" for a in r.models))
    table.add_row("… with an outcome", *(f"{r.served.get(a, {}).get('outcomes', 0):,.0f}" for a in r.models))
    for key, name in MEASURES:
        table.add_row(f"served {name}", *(_figure(r.served.get(a, {}), key) for a in r.models))
    return table


def _figure(found: dict[str, float], key: str) -> str:
    return f"{found[key]:.4f}" if key in found else "–"


def _show_experiment(e: Experiment, console: Console) -> None:
    changes = Table("change", "by", "shares since then", "why", title="the experiment")
    for c in e.changes:
        shares = ", ".join(f"{arm} {share:.2f}" for arm, share in c["weights"].items() if share)
        changes.add_row(f"{c['action']} {c['arm']}".strip(), c["who"], shares, c["why"])
    console.print(changes)
    for arm, c in e.compared.items():
        console.print(
            f"{METRIC} of {arm} less {e.control}: {c['difference']:+.4f}, between {c['low']:+.4f} and {c['high']:+.4f} "
            f"at every look, over {c['outcomes']:,} outcomes: {c['verdict']}", highlight=False, soft_wrap=True,
        )  # fmt: skip
    for arm, m in e.shadows.items():
        console.print(
            f"in the shadow: {arm}, scored beside {m.get('exposures', 0):,.0f} answers, {m.get('outcomes', 0):,.0f} "
            f"with an outcome, AUC {m.get('auc', float('nan')):.4f}", highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"the experiment's report: {e.page}", soft_wrap=True)


def show(r: Result, console: Console) -> None:
    """Print what a person wants to know."""
    counts = r.status["counts"]
    flow = Table("records", "", title=f"{r.flights:,} flights in {r.seconds:.1f} s", show_header=False)
    flow.columns[1].justify = "right"
    for name, value in counts.items():
        if name == "rejected":
            for code, n in sorted(value.items()):
                flow.add_row(f"  rejected: {code}", f"{n:,}")
        else:
            flow.add_row(name.replace("_", " "), f"{value:,}")
    console.print(flow)
    for name, (a, b) in r.sums.items():
        console.print(f"{'✓' if a == b else '✗'} {name}: {a:,} = {b:,}", highlight=False, soft_wrap=True)
    console.print(_arms_table(r))
    _show_experiment(r.experiment, console)
    steps = Table("step", "rows", "busy s", "rows/s while busy", title="speed")
    for step, v in r.steps.items():
        steps.add_row(step, f"{v['rows']:,.0f}", f"{v['busy_s']:.2f}", f"{v['rows_per_s']:,.0f}")
    steps.add_row("whole loop", f"{r.published_events:,}", f"{r.seconds:.2f}", f"{r.published_events / r.seconds:,.0f}")
    console.print(steps)
    if r.freshness:
        f = r.freshness
        console.print(
            f"freshness, label on Kafka → visible in an answer: p50 {f.p50_ms:.0f} ms, p90 {f.p90_ms:.0f} ms, "
            f"p99 {f.p99_ms:.0f} ms over {f.labels:,} labels", highlight=False, soft_wrap=True,
        )  # fmt: skip
    console.print(f"answers that failed: {r.failed_answers}; snapshots: {r.snapshots}", highlight=False, soft_wrap=True)
