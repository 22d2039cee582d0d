"""The columns that one arm sees of a pipeline's blocks, by its `fields` and `without`."""

from dataclasses import dataclass

import numpy as np

from stream.block import Block, Layout
from stream.encode.encoder import layout_of
from stream.encode.owner import ARM
from stream.spec import Spec


@dataclass(frozen=True, slots=True)
class View:
    """The columns that one arm sees."""

    layout: Layout
    numeric: tuple[int, ...] | None
    categories: tuple[int, ...] | None
    tokens: bool

    def of(self, block: Block) -> Block:
        """The block with this arm's columns only."""
        if self.numeric is None and self.categories is None and self.tokens:
            return block
        n = block.numeric if self.numeric is None else np.ascontiguousarray(block.numeric[:, self.numeric])
        c = block.categories if self.categories is None else np.ascontiguousarray(block.categories[:, self.categories])
        tokens = block.tokens if self.tokens else block.tokens[:0]
        ends = block.token_ends if self.tokens else np.zeros_like(block.token_ends)
        return Block(block.spec_hash, block.ids, block.time_ms, block.partition, block.offset, n, c, tokens, ends)


def view_of(spec: Spec, arm: str) -> View:
    """The view that a spec gives to an arm by `fields` and `without` (names of fields, or of single columns)."""
    layout, given = layout_of(spec), spec.arms[arm]

    def seen(column: str) -> bool:
        names = {column, column.partition(".")[0]}
        return (given.fields is None or bool(names & set(given.fields))) and not names & set(given.without)

    numeric = tuple(i for i, n in enumerate(layout.numeric) if n != ARM and seen(n))
    categories = tuple(i for i, n in enumerate(layout.categories) if seen(n))
    tokens = tuple(n for n in layout.tokens if seen(n))
    own = Layout(tuple(layout.numeric[i] for i in numeric), tuple(layout.categories[i] for i in categories), tokens)
    return View(
        own,
        None if own.numeric == layout.numeric else numeric,
        None if own.categories == layout.categories else categories,
        tokens == layout.tokens,
    )
