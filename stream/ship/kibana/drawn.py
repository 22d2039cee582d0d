"""Which fields panels and rules name, so that the templates can map those of a map of numbers before there are any.

Without, Kibana would call a panel broken, not empty, until its first document came: RMSE where no arm is a
regression, say.
"""

import re
from collections.abc import Iterator

from stream.ship.datasets import DATASETS
from stream.ship.kibana.boards import BOARDS
from stream.ship.kibana.model import Panel
from stream.ship.kibana.rules import rules


def drawn(topic: str) -> list[str]:
    """Fields of the topic's documents, sorted."""
    return sorted({name for where, name in _named() if where == topic})


def _named() -> Iterator[tuple[str, str]]:
    for placed in (placed for board in BOARDS for row in board.rows for placed in row):
        if isinstance(placed.what, Panel):
            yield from ((placed.what.topic, n.field) for n in placed.what.numbers if n.field)
    by_pattern = {dataset.pattern: topic for topic, dataset in DATASETS.items()}
    for params in (rule.body["params"] for rule in rules()):
        fields = [*re.findall(r'"(headwater\.[\w.]+)"', params["esQuery"]), params.get("aggField")]
        yield from ((by_pattern[params["index"][0]], field) for field in fields if field)
