"""What a panel, a table of documents and a dashboard are, before they are Kibana's JSON.

Invariant: a field named here is a field of the dataset's documents; tests/unit/test_kibana_objects.py holds that.
"""

from dataclasses import dataclass, field
from typing import Literal

Operation = Literal["count", "sum", "average", "max", "min", "median", "percentile", "unique_count"]
Shape = Literal["line", "area_stacked", "bar_stacked", "bar_percentage_stacked", "bar_horizontal", "metric", "table"]
Unit = Literal["number", "whole", "percent", "bytes", "ms"]


@dataclass(frozen=True, slots=True)
class Terms:
    """Buckets: the `size` values of a field for which the panel's first number is largest."""

    field: str
    label: str
    size: int = 10


@dataclass(frozen=True, slots=True)
class Number:
    """One number of each bucket. field: empty for a count; percentile: its percent.

    a_second: of a count its rate, of a counter (with `max`) its growth, which survives a counter that begins anew.
    where: KQL that the documents of this number alone must fit. newest: only of so long before the end, "1m" say.
    """

    operation: Operation
    label: str
    field: str = ""
    unit: Unit = "number"
    percentile: int = 0
    a_second: bool = False
    where: str = ""
    newest: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """A Lens panel over one topic's documents. by_time: a first axis of time; where: KQL; limit: a line to stay below.

    why: one sentence that says what it shows; Kibana shows it beside the title.
    """

    id: str
    title: str
    why: str
    topic: str
    shape: Shape
    numbers: tuple[Number, ...]
    by: tuple[Terms, ...] = ()
    by_time: bool = True
    where: str = ""
    limit: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Documents:
    """A table of documents, newest first: a saved search, which opens in Discover."""

    id: str
    title: str
    why: str
    topic: str
    columns: tuple[str, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Placed:
    """A panel or table on a dashboard; Kibana's grid is 48 wide."""

    what: Panel | Documents
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Board:
    """A dashboard: rows from top to bottom; link: its name in the row of links."""

    id: str
    title: str
    link: str
    why: str
    rows: tuple[tuple[Placed, ...], ...] = field(repr=False)
    since: str = "now-1h"
