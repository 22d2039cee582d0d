"""A model as a picture: one self-contained HTML file, by plotly, and a tree as Mermaid text for a page or an issue."""

from typing import Any

from stream.explain.explainable import Explainable
from stream.explain.tree import Node, TreeExplained

NODES_MAX = 2000  # of a tree are drawn, those nearest to the root


def html(explained: Explainable, title: str, top: int) -> str:
    """A tree's nodes as wide as their rows are many; else the largest weights; and below, what matters most."""
    import plotly.graph_objects as go  # a second to import, for those who ask
    from plotly.subplots import make_subplots

    weights, shares = explained.weights()[:top], list(explained.importance().items())[:top]
    tree = isinstance(explained, TreeExplained)
    kinds = [[{"type": "domain" if tree else "xy"}], [{"type": "xy"}]]
    titles = ("splits, by rows" if tree else "weights", "importance")
    figure = make_subplots(2, 1, specs=kinds, subplot_titles=titles, row_heights=[0.65, 0.35])
    if isinstance(explained, TreeExplained):
        figure.add_trace(_icicle(go, explained), 1, 1)
    else:
        for k in range(len(weights[0].weight) if weights else 0):
            sizes = [w.weight[k] for w in weights][::-1]
            figure.add_trace(go.Bar(x=sizes, y=[w.feature for w in weights][::-1], orientation="h"), 1, 1)
    bars = go.Bar(x=[share for _, share in shares][::-1], y=[n for n, _ in shares][::-1], orientation="h")
    figure.add_trace(bars, 2, 1)
    figure.update_layout(title=title, height=1000, showlegend=False)
    return str(figure.to_html(include_plotlyjs=True, full_html=True))


def _icicle(go: Any, explained: TreeExplained) -> Any:
    nodes, parents = _nearest(explained.root)
    return go.Icicle(
        ids=[str(i) for i in range(len(nodes))],
        labels=[node.test or "all rows" for node in nodes],
        parents=["" if p is None else str(p) for p in parents],
        values=[node.weight for node in nodes],
        text=[explained.answer(node) for node in nodes],
        branchvalues="total",
        textinfo="label+text",
    )


def _nearest(root: Node) -> tuple[list[Node], list[int | None]]:
    """Nodes level by level, and the number of each one's parent."""
    nodes: list[Node] = [root]
    parents: list[int | None] = [None]
    at = 0
    while at < len(nodes) and len(nodes) + len(nodes[at].below) <= NODES_MAX:
        nodes += nodes[at].below
        parents += [at] * len(nodes[at].below)
        at += 1
    return nodes, parents


def mermaid(explained: TreeExplained) -> str:
    """The tree as a Mermaid flowchart."""
    nodes, parents = _nearest(explained.root)
    lines = ["flowchart TD"]
    for at, (node, parent) in enumerate(zip(nodes, parents, strict=True)):
        lines.append(f'  n{at}["{_quoted(explained.answer(node))}"]')
        if parent is not None:
            lines.append(f'  n{parent} -->|"{_quoted(node.test)}"| n{at}')
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text that Mermaid shows as it is."""
    return "".join(c if c.isalnum() or c in " .,:=_-()+" else f"#{ord(c)};" for c in text)
