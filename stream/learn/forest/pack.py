"""The arrays of many trees end to end, and back: a forest's snapshot is as many arrays as one tree's."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.errors import SnapshotError
from stream.learn.tree.layout import ROWS_OF

Arrays = dict[str, NDArray[Any]]


def joined(trees: list[Arrays]) -> Arrays:
    """Each array of all trees end to end; `counters`, which say where each begins, one row a tree."""
    out = {name: np.concatenate([tree[name] for tree in trees]) for name in trees[0] if name != "counters"}
    return {"counters": np.stack([tree["counters"] for tree in trees])} | out


def parted(arrays: Arrays) -> list[Arrays]:
    """The inverse of `joined`, as views. SnapshotError when an array is longer or shorter than the counters say."""
    counters = arrays["counters"]
    trees: list[Arrays] = [{"counters": row} for row in counters]
    for name, whole in arrays.items():
        if name == "counters":
            continue
        counts = counters[:, ROWS_OF[name.split("_")[0]]]
        ends = np.cumsum(counts)
        if (counts < 0).any() or ends[-1] != len(whole):
            raise SnapshotError(f"forest snapshot: array {name} has {len(whole)} rows, wanted {ends[-1]}")
        for tree, part in zip(trees, np.split(whole, ends[:-1]), strict=True):
            tree[name] = part
    return trees
