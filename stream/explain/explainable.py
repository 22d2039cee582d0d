"""What every model that can be explained gives, and how to get it for a learner.

Numbers of one output (binary, regression) stand in tuples of one; with classes there is one for each.
"""

from dataclasses import dataclass
from typing import Protocol

from stream.block import F64, Block

Numbers = tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Weight:
    """A feature's weight. scale: what a number goes through before it is weighed; empty for a category."""

    feature: str
    weight: Numbers
    scale: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """What one feature of one event adds to the sum.

    value: the event's, as the model weighs it (1: it is there; NaN: no number); column: a tree's, that was asked.
    """

    feature: str
    value: float
    weight: Numbers
    contribution: Numbers
    column: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One event: base + the parts' contributions = total; score: what the model answers."""

    base: Numbers
    parts: tuple[Part, ...]
    total: Numbers
    score: Numbers


class Explainable(Protocol):
    """See the module."""

    def weights(self) -> list[Weight]:
        """Features by falling weight; none for a tree."""
        ...

    def importance(self) -> dict[str, float]:
        """Share of each feature, falling; they add up to 1, if there is anything to share."""
        ...

    def text(self, top: int) -> str:
        """The model for a person; at most `top` weights."""
        ...

    def explain(self, block: Block) -> list[Explanation]:
        """Each row of a block of this model's columns."""
        ...


def wide(values: F64) -> F64:
    """[n] → [n, 1]; wider ones stay."""
    return values[:, None] if values.ndim == 1 else values


def shares(amounts: dict[str, float]) -> dict[str, float]:
    """The amounts by falling size, as shares of their sum."""
    total = sum(amounts.values())
    ordered = sorted(amounts.items(), key=lambda item: (-item[1], item[0]))
    return {name: amount / total if total > 0 else 0.0 for name, amount in ordered}
