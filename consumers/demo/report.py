"""The demo's report: one self-contained HTML file, plots by plotly, readable in light and dark, on a phone too."""

import html
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from consumers.demo.experiment import METRIC
from consumers.demo.result import Result

COLOURS = ("#2a78d6", "#d9622b", "#2f9e5b", "#8e5bc0")
_STYLE = """
:root{--bg:#fff;--ink:#1c2330;--soft:#5b6472;--line:#e3e7ee;--card:#f7f9fc;--good:#1f7a45;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#12161d;--ink:#e8ecf3;--soft:#9aa5b5;--line:#2a313c;--card:#1a2029;
--good:#5fd38d;--bad:#ff8a80}}
*{box-sizing:border-box}body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:24px 16px 64px}h1{font-size:1.7rem;margin:.2em 0}h2{margin:2em 0 .3em}
p{max-width:70ch}.soft{color:var(--soft)}.cards{display:grid;gap:12px;margin:16px 0;
grid-template-columns:repeat(auto-fit,minmax(165px,1fr))}.card{background:var(--card);border:1px solid var(--line);
border-radius:10px;padding:12px 14px}.card b{display:block;font-size:1.5rem}.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;margin:8px 0}th,td{text-align:left;padding:6px 10px;
border-bottom:1px solid var(--line)}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
a{color:inherit}.good{color:var(--good)}.bad{color:var(--bad)}code{background:var(--card);padding:1px 5px;
border-radius:4px;overflow-wrap:anywhere}.plot{height:380px;margin:8px 0;max-width:100%}
"""
_SCRIPT = """
const dark=matchMedia('(prefers-color-scheme:dark)');
function ink(){const s=getComputedStyle(document.documentElement);const c=n=>s.getPropertyValue(n).trim();
return {'paper_bgcolor':'rgba(0,0,0,0)','plot_bgcolor':'rgba(0,0,0,0)','font.color':c('--ink'),
'xaxis.gridcolor':c('--line'),'yaxis.gridcolor':c('--line'),'xaxis.zerolinecolor':c('--line'),
'yaxis.zerolinecolor':c('--line'),'modebar.bgcolor':'rgba(0,0,0,0)',
'modebar.color':c('--soft'),'modebar.activecolor':c('--ink'),'hoverlabel.bgcolor':c('--card'),
'hoverlabel.font.color':c('--ink')}}
for(const [id,fig] of Object.entries(FIGURES)){Plotly.newPlot(id,fig.data,fig.layout,
{responsive:true,displaylogo:false,displayModeBar:'hover'}).then(()=>Plotly.relayout(id,ink()))}
dark.addEventListener('change',()=>Object.keys(FIGURES).forEach(id=>Plotly.relayout(id,ink())));
"""


def write_report(result: Result, path: Path) -> None:
    """Write the report of a run."""
    plots = _plots(result)
    figures = "{" + ",".join(f'"{name}":{figure.to_json()}' for name, (figure, _, _) in plots.items()) + "}"
    body = [_head(result), _cards(result)]
    for name, (_, title, text) in plots.items():
        body.append(f'<h2>{title}</h2><p class="soft">{text}</p><div class="plot" id="{name}"></div>')
    body += [_arms(result), _experiment(result, path), _accounts(result), _steps(result)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Headwater: {result.flights:,} flights</title><style>{_STYLE}</style></head><body><main>"
        f"{''.join(body)}</main><script>{get_plotlyjs()}</script>"
        f"<script>const FIGURES={figures};{_SCRIPT}</script></body></html>",
        encoding="utf-8",
    )


def _head(r: Result) -> str:
    models = "; ".join(
        f"<b>{html.escape(a)}</b> is <code>{html.escape(m)}</code> ({r.runs_as[a]})" for a, m in r.models.items()
    )
    return (
        "<h1>Will a flight from New York be late?</h1>"
        f"<p>{r.flights:,} flights of 2013 went through Kafka in the order in which they were scheduled; each label, "
        "more than 15 minutes late or not, followed when the flight had arrived. Every model scored each flight before "
        f"it learned from it. Answers were given over gRPC meanwhile, each by one of the arms: {models}.</p>"
    )


def _cards(r: Result) -> str:
    best = max(r.prequential, key=lambda a: r.prequential[a].get("auc", 0.0))
    cards = [
        (f"{r.published_events:,}", "events published"),
        (f"{r.status['counts']['matched']:,}", "labels learned from"),
        (f"{r.seconds:,.0f} s", "from the first event published to all learned"),
        (f"{r.prequential[best].get('auc', float('nan')):.3f}", f"progressive AUC ({html.escape(best)})"),
        (f"{sum(r.answers.values()):,}", "answers over gRPC"),
    ]
    if r.freshness:
        cards.append((f"{r.freshness.p99_ms / 1000:.2f} s", "freshness, p99"))
    return '<div class="cards">' + "".join(f'<div class="card"><b>{v}</b>{t}</div>' for v, t in cards) + "</div>"


def _lines(windows: Sequence[dict[str, Any]], kind: str, arms: Sequence[str], metric: str, title: str) -> go.Figure:
    figure = go.Figure()
    for i, arm in enumerate(arms):
        mine = [w for w in windows if w["kind"] == kind and w["arm"] == arm and metric in w["values"]]
        colour, x = COLOURS[i % len(COLOURS)], [w["rows"] for w in mine]
        figure.add_scatter(
            x=x, y=[w["values"][metric] for w in mine], name=f"{arm}, window", mode="lines", opacity=0.45,
            line={"color": colour, "width": 1.2},
        )  # fmt: skip
        figure.add_scatter(
            x=x, y=[w["values"].get(f"{metric}_all") for w in mine], name=f"{arm}, so far", mode="lines",
            line={"color": colour, "width": 2.6},
        )  # fmt: skip
    return _laid_out(figure, "outcomes", title)


def _laid_out(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(
        template="none", margin={"l": 60, "r": 16, "t": 16, "b": 48}, legend={"orientation": "h", "y": 1.12},
        xaxis={"title": x}, yaxis={"title": y}, hovermode="x unified",
    )  # fmt: skip
    return figure


def _plots(r: Result) -> dict[str, tuple[go.Figure, str, str]]:
    arms = list(r.models)
    plots = {
        f"pre_{metric}": (_lines(r.windows, "prequential", arms, metric, label), f"{label}, progressive", text)
        for metric, label, text in (
            ("auc", "AUC", "How well late flights are ranked above the others; 0.5 is chance. Thin: each window of "
             "rows by itself. Thick: all rows so far."),
            ("log_loss", "Log loss", "How much the probabilities are off; lower is better."),
            ("accuracy", "Accuracy", "Share of right yes-or-no answers at 0.5."),
        )
    }  # fmt: skip
    if any(w["kind"] == "served" for w in r.windows):
        served = _lines(r.windows, "served", arms, "auc", "AUC")
        text = (
            "Only answers that were really served over gRPC, joined with the outcomes of the same flights. They were "
            "given when a flight was scheduled, hours before its label; a progressive score is given when the label "
            "comes, by a model that has learned how that very day goes. So this figure is lower, and the one to trust."
        )
        plots["served_auc"] = (served, "AUC of served predictions", text)
    if r.freshness:
        figure = go.Figure(go.Histogram(x=r.freshness.all_ms, nbinsx=80, marker={"color": COLOURS[0]}))
        for name, at in (("p50", r.freshness.p50_ms), ("p99", r.freshness.p99_ms)):
            figure.add_vline(
                x=at, line={"dash": "dot", "color": COLOURS[1]}, annotation={"text": f"{name} {at:.0f} ms"}
            )
        text = (
            "From the broker taking a label to the first gRPC answer of a model that had learned it. Labels behind one "
            "of no flight wait until the stream's clocks pass it; at the very end of a stream that takes 5 s."
        )
        plots["freshness"] = (_laid_out(figure, "milliseconds", "labels"), "Freshness", text)
    return plots


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], words: bool = False) -> str:
    """Rows under a head; all columns but the first hold numbers, unless they are words."""

    def cell(tag: str, i: int, text: str) -> str:
        return f'<{tag} class="n">{text}</{tag}>' if i and not words else f"<{tag}>{text}</{tag}>"

    lines = ["".join(cell("th", i, h) for i, h in enumerate(head))]
    lines += ["".join(cell("td", i, c) for i, c in enumerate(row)) for row in rows]
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _accounts(r: Result) -> str:
    counts = r.status["counts"]
    rows = [(html.escape(k.replace("_", " ")), f"{v:,}") for k, v in counts.items() if isinstance(v, int)]
    rejected = [(html.escape(code), f"{n:,}") for code, n in sorted(counts["rejected"].items())]
    sums = "".join(
        f'<p class="{"good" if a == b else "bad"}">{html.escape(name)}: {a:,} = {b:,}</p>'
        for name, (a, b) in r.sums.items()
    )
    return (
        "<h2>Where every record went</h2>" + _table(("", "records"), rows) + sums
        + "<h2>Refused events</h2><p class='soft'>A small share was made bad on purpose. Each lies whole in the topic "
        "<code>dead</code>, and can be replayed.</p>" + _table(("reason", "events"), rejected or [("none", "0")])
    )  # fmt: skip


def _arms(r: Result) -> str:
    def figures(found: dict[str, float]) -> list[str]:
        return [f"{found[k]:.4f}" if k in found else "–" for k in ("auc", "log_loss", "accuracy")]

    rows = []
    for arm in r.models:
        p, s = r.prequential.get(arm, {}), r.served.get(arm, {})
        rows.append([html.escape(arm), *figures(p), f"{s.get('outcomes', 0):,.0f}", *figures(s)])
    head = ("arm", "AUC", "log loss", "accuracy", "served, with outcome", "AUC", "log loss", "accuracy")
    where = f"<p>Snapshots: <code>{html.escape(r.snapshots)}</code>. State: <code>{r.state_hash}</code>.</p>"
    return "<h2>The arms</h2>" + _table(head, rows) + where


def _experiment(r: Result, path: Path) -> str:
    e = r.experiment
    changes = [
        (html.escape(f"{c['action']} {c['arm']}".strip()), html.escape(c["who"]),
         ", ".join(f"{html.escape(a)} {share:.2f}" for a, share in c["weights"].items() if share),
         html.escape(c["why"]))
        for c in e.changes
    ]  # fmt: skip
    compared = [
        (f"{html.escape(arm)} less {html.escape(e.control)}", f"{c['difference']:+.4f}",
         f"{c['low']:+.4f} to {c['high']:+.4f}", f"{c['outcomes']:,}", html.escape(c["verdict"]))
        for arm, c in e.compared.items()
    ]  # fmt: skip
    shadows = "".join(
        f"<p><b>{html.escape(arm)}</b> was in the shadow: it scored {m.get('exposures', 0):,.0f} answers beside "
        f"the arm that was served, and nobody got its score. AUC {m.get('auc', float('nan')):.4f} over "
        f"{m.get('outcomes', 0):,.0f} outcomes. It was trained beforehand, on December.</p>"
        for arm, m in e.shadows.items()
    )
    page = Path(e.page)
    where = page.name if page.parent == path.resolve().parent else str(page)
    return (
        "<h2>The experiment</h2><p>One arm, <b>reckless</b>, is bad on purpose. A guardrail watches the Brier score: "
        "an arm that is shown to be worse than the control, at whatever moment one looks, loses its share to it.</p>"
        + _table(("change", "by", "shares since then", "why"), changes or [("none", "", "", "")], words=True)
        + f"<p class='soft'>{METRIC}, over the answers that could have been either arm's; less is better. Intervals "
        "hold at every look.</p>"
        + _table(("", "difference", "between", "outcomes", "verdict"), compared)
        + shadows
        + f'<p><a href="{html.escape(where)}">The experiment\'s own report</a>, with plots of how it came to this.</p>'
    )


def _steps(r: Result) -> str:
    rows = [(s, f"{v['rows']:,.0f}", f"{v['busy_s']:.2f}", f"{v['rows_per_s']:,.0f}") for s, v in r.steps.items()]
    return "<h2>Speed of each step</h2>" + _table(("step", "rows", "busy seconds", "rows/s while busy"), rows)
