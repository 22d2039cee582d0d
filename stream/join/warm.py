"""Compile the join's kernels, or load them from numba's cache, before the first real block comes."""

import numpy as np

from stream.block import Block, Layout
from stream.join.columns import LabelColumns
from stream.join.join import Join
from stream.join.labels import Label
from stream.spec import Spec


def warm(spec: Spec) -> None:
    """Read no labels, and join one made-up event with its label; nothing of it is kept."""
    LabelColumns(spec).read([])
    none, one = np.zeros(0, np.uint64), np.zeros(1, np.int64)
    block = Block("", ["a"], one, np.zeros(1, np.int32), one, np.zeros((1, 0)), none.reshape(1, 0), none, one)
    join = Join("", Layout((), (), ()), [0], 1)
    join.end_rebuild([], {})
    join.add_features(block, 0, one)
    join.add_labels([Label("a", 1.0, 0, 0, 0)])
    join.advance()
    join.features_mark(0)
    join.labels_mark(1)
