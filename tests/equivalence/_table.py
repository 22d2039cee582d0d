"""One line of the table: a model and River's, over the rows of one stream."""

from collections.abc import Iterable
from dataclasses import dataclass

_HEAD = ("stream", "model", "rows", "predictions", "weights", "River s", "ours s", "times")


@dataclass(frozen=True, slots=True)
class Equal:
    """Largest difference, relative or absolute, whichever is less, of predictions and (None: it has none) of weights.

    For a tree the weights are its splits: 0 when attribute, event and threshold are the same ones. river_s and ours_s
    are seconds for all rows, of River's predict and learn, and of ours from encoded blocks.
    """

    stream: str
    model: str
    rows: int
    difference: float
    weights_difference: float | None
    river_s: float
    ours_s: float


def difference(ours: Iterable[float], theirs: Iterable[float]) -> float:
    """The largest |a - b| / max(1, |b|); NaN counts as infinite. Raises ValueError when one side has more."""
    worst = 0.0
    for a, b in zip(ours, theirs, strict=True):
        apart = abs(a - b) / max(1.0, abs(b))
        worst = max(worst, apart if apart == apart else float("inf"))
    return worst


def table(lines: Iterable[Equal]) -> str:
    """The lines as a Markdown table."""
    rows = [_cells(line) for line in lines]
    widths = [max(len(row[i]) for row in [_HEAD, *rows]) for i in range(len(_HEAD))]
    shown = [_HEAD, tuple("-" * w for w in widths), *rows]
    return "\n".join("| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in shown)


def _cells(line: Equal) -> tuple[str, ...]:
    weights = "" if line.weights_difference is None else f"{line.weights_difference:.1e}"
    times = f"{line.river_s / line.ours_s:.0f}" if line.ours_s > 0 else ""
    numbers = (f"{line.difference:.1e}", weights, f"{line.river_s:.2f}", f"{line.ours_s:.4f}", times)
    return (line.stream, line.model, str(line.rows), *numbers)
