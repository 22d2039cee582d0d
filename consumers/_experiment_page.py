"""An experiment's report as one self-contained HTML file; plots by plotly, readable in light and dark."""

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from stream.errors import DataError
from stream.experiment.offpolicy import PolicyValue
from stream.experiment.report import Comparison, MetricReport, Report, Track
from stream.experiment.sequence import Interval

SHARED = " (every arm learns from all labels)"
COLOURS = ("#2a78d6", "#d9622b", "#2f9e5b", "#8e5bc0", "#b08a1e", "#1e9db0")
_STYLE = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1c2330;--soft:#5b6472;--line:#dfe4ec;--good:#1f7a45;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--bg:#12161d;--ink:#e8ecf3;--soft:#9aa5b5;--line:#2a313c;--good:#5fd38d;
--bad:#ff8a80}}
body{margin:0;background:var(--bg);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:20px 16px 60px}h1{font-size:1.6rem;margin:.3em 0}h2{margin:1.8em 0 .3em}
p{max-width:75ch;margin:.5em 0}.soft{color:var(--soft)}.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
th,td{text-align:right;white-space:nowrap;padding:5px 10px;border-bottom:1px solid var(--line);
font-variant-numeric:tabular-nums}
th:first-child,td:first-child{text-align:left}.wide+.wide{margin-top:16px}.good{color:var(--good)}
.bad{color:var(--bad)}.plot{height:340px}
"""
_SCRIPT = """
const style=()=>getComputedStyle(document.documentElement),v=n=>style().getPropertyValue(n).trim();
const ink=()=>({paper_bgcolor:'rgba(0,0,0,0)',plot_bgcolor:'rgba(0,0,0,0)','font.color':v('--ink'),
'xaxis.gridcolor':v('--line'),'yaxis.gridcolor':v('--line'),'yaxis.zerolinecolor':v('--soft')});
for(const [id,f] of Object.entries(FIGURES))Plotly.newPlot(id,f.data,f.layout,{responsive:true,displayModeBar:false})
.then(()=>Plotly.relayout(id,ink()));
matchMedia('(prefers-color-scheme:dark)').addEventListener('change',
()=>Object.keys(FIGURES).forEach(id=>Plotly.relayout(id,ink())));
"""


def write_page(report: Report, path: Path) -> None:
    """Write the page. Raises DataError when the file can't be written."""
    figures: dict[str, go.Figure] = {}
    body = [_head(report)]
    for metric in report.metrics:
        body.append(_metric(report, metric, figures))
    body += [_ratio(report, figures), _accounts(report)]
    drawn = ",".join(f"{json.dumps(name)}:{figure.to_json()}" for name, figure in figures.items())
    drawn = drawn.replace("</", "<\\/")  # no text of a name ends the script
    text = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{html.escape(report.experiment)}</title><style>{_STYLE}</style></head><body><main>{''.join(body)}"
        f"</main><script>{get_plotlyjs()}</script><script>const FIGURES={{{drawn}}};{_SCRIPT}"
        "</script></body></html>"
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as e:
        raise DataError(f"{path}: can't be written: {e.strerror}") from e


def shown(value: float) -> str:
    """A figure for people."""
    if math.isnan(value):
        return "–"
    return f"{value:.4g}" if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def ends(interval: Interval | PolicyValue) -> str:
    """An interval for people."""
    return f"{shown(interval.low)} to {shown(interval.high)}"


def _head(r: Report) -> str:
    broken = [line.dimension for line in r.ratio if line.broken]
    alarm = ""
    if broken:
        named = html.escape(", ".join(broken))
        alarm = f'<p class="bad"><b>The sample ratio is broken ({named}): trust no other figure.</b></p>'
    notes = "".join(f"<p>Note: {html.escape(note)}.</p>" for note in r.notes)
    return (
        f"<h1>Experiment {html.escape(r.experiment)} of {html.escape(r.pipeline)}</h1>{alarm}"
        f"<p>Control: <b>{html.escape(r.control)}</b>. Unit: {html.escape(r.unit)}. Training of arms: "
        f"<b>{html.escape(r.training)}</b>{SHARED if r.training == 'shared' else ''}.</p>"
        f'<p class="soft">Intervals hold at every look at once: the chance that any of them ever misses is at most '
        f"{r.alpha:g}, for differences {r.alpha_each:g} each. So look, and stop, when you like.</p>{notes}"
    )


def _metric(r: Report, m: MetricReport, figures: dict[str, go.Figure]) -> str:
    name = m.metric.name.replace("_", " ")
    better = "lower" if m.metric.less else "higher"
    kind = "nothing is assumed" if m.metric.bounded else "asymptotic: for many outcomes"
    parts = [f'<h2>{html.escape(name.capitalize())}</h2><p class="soft">{better} is better; {kind}.</p>']
    rows = [[html.escape(t.arm), f"{t.now.n:,}", shown(t.now.estimate), ends(t.now)] for t in m.arms]
    parts.append(_table(("arm", "outcomes", "mean", "interval"), rows))
    if m.comparisons:
        lines = [
            [html.escape(f"{c.arm} − {r.control}"), shown(c.now.estimate), ends(c.now), f"{c.p_value:.3g}", _verdict(c)]
            for c in m.comparisons
        ]
        parts.append(_table(("difference", "estimate", "interval", "p at every look", "verdict"), lines))
    titles = {"arms": f"{name} by arm", "gaps": f"{name}: difference to {r.control}"}
    drawn: dict[str, Sequence[Track | Comparison]] = {"arms": m.arms, "gaps": m.comparisons}
    span = m.metric.high - m.metric.low
    bounds = {"arms": (m.metric.low, m.metric.high), "gaps": (-span, span)}
    for kind, lines_ in drawn.items():
        if any(math.isfinite(p.high - p.low) for line in lines_ for p in line.points):
            figures[f"{m.metric.name}_{kind}"] = _bands(lines_, list(r.planned), titles[kind], bounds[kind])
            parts.append(f'<div class="plot" id="{m.metric.name}_{kind}"></div>')
    if m.policies:
        rows = [
            [
                html.escape(arm),
                p.estimator,
                shown(p.estimate),
                ends(p),
                f"{p.effective:,.0f}",
            ]
            for arm, found in m.policies.items()
            for p in found
        ]
        parts.append('<p class="soft">If this arm alone had served, from the logged propensities:</p>')
        parts.append(_table(("arm", "estimator", "estimate", "interval", "effective outcomes"), rows))
    return "".join(parts)


def _verdict(c: Comparison) -> str:
    colour = {"better": "good", "worse": "bad"}.get(c.verdict, "soft")
    return f'<span class="{colour}">{c.verdict}</span>'


def _bands(
    lines: Sequence[Track | Comparison], arms: Sequence[str], title: str, bounds: tuple[float, float]
) -> go.Figure:
    """Estimates over outcomes, each with its narrowing interval; an arm has one colour on the whole page."""
    figure, reach = go.Figure(), 0.0
    for line in lines:
        kept = [(n, p) for n, p in zip(line.at, line.points, strict=True) if math.isfinite(p.high - p.low)]
        if not kept:
            continue
        colour, x = COLOURS[arms.index(line.arm) % len(COLOURS)], [n for n, _ in kept]
        both = [p.high for _, p in kept] + [p.low for _, p in reversed(kept)]
        figure.add_scatter(
            x=x + x[::-1], y=both, fill="toself", fillcolor=colour, opacity=0.18, line={"width": 0}, hoverinfo="skip",
            showlegend=False,
        )  # fmt: skip
        figure.add_scatter(x=x, y=[p.estimate for _, p in kept], name=line.arm, line={"color": colour, "width": 2.2})
        late = kept[len(kept) // 8 :]
        reach = max(reach, *(abs(end - late[-1][1].estimate) for _, p in late for end in (p.low, p.high)))
    last = [line.now.estimate for line in lines if math.isfinite(line.now.estimate)]
    figure.update_yaxes(range=[max(min(last) - 1.1 * reach, bounds[0]), min(max(last) + 1.1 * reach, bounds[1])])
    if bounds[0] < 0:
        figure.add_hline(y=0, line={"dash": "dot", "width": 1})
    return _laid_out(figure, "outcomes known", title)


def _laid_out(figure: go.Figure, x: str, y: str) -> go.Figure:
    figure.update_layout(
        template="none", margin={"l": 64, "r": 16, "t": 32, "b": 48}, legend={"orientation": "h", "y": 1.14},
        showlegend=True, xaxis={"title": {"text": x, "standoff": 8}, "automargin": True},
        yaxis={"title": {"text": y, "standoff": 12}, "automargin": True},
    )  # fmt: skip
    return figure


def _ratio(r: Report, figures: dict[str, go.Figure]) -> str:
    rows = [
        [html.escape(x.dimension), f"{x.levels:,}", f"{x.exposures:,}", f"{x.corrected:.3g}", f"{x.chi_squared:.1f}",
         f"{x.chi_squared_corrected:.3g}", '<span class="bad">broken</span>' if x.broken else "kept"]
        for x in r.ratio
    ]  # fmt: skip
    if not rows:
        return ""
    figure = go.Figure()
    for i, (arm, share) in enumerate(r.shares.items()):
        colour = COLOURS[i % len(COLOURS)]
        figure.add_scatter(x=r.shares_at, y=share, name=arm, line={"color": colour})
        figure.add_hline(y=r.planned[arm], line={"dash": "dot", "color": colour, "width": 1})
    figures["ratio"] = _laid_out(figure, "exposures", "share of exposures")
    head = ("dimension", "levels", "exposures", "p at every look", "χ²", "p of χ², one look", "")
    text = "Does each arm get its share? p-values are corrected for the number of dimensions (Holm). Dotted: the plan."
    return f'<h2>Sample ratio</h2><p class="soft">{text}</p>{_table(head, rows)}<div class="plot" id="ratio"></div>'


def _accounts(r: Report) -> str:
    arms = [[html.escape(a), f"{r.planned[a]:.3f}", f"{n:,}", f"{r.outcomes[a]:,}"] for a, n in r.exposures.items()]
    counts = [[html.escape(k), f"{v:,}"] for k, v in r.counts.items()]
    return (
        "<h2>What was counted</h2>" + _table(("arm", "planned share", "exposures", "outcomes"), arms)
        + "<p></p>" + _table(("", "records"), counts)
    )  # fmt: skip


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = ["".join(f"<th>{h}</th>" for h in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return '<div class="wide"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"
