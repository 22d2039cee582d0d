"""Compile (or load from numba's cache) every kernel that a spec's arms use, before the first real block comes."""

import numpy as np

from stream.block import Block
from stream.encode.encoder import layout_of
from stream.evaluate.measures import terms
from stream.learn.arms import Arms
from stream.learn.drift.watch import watch_of
from stream.spec import Spec


def warm(spec: Spec) -> None:
    """Learn and score a few made-up rows with new models of the spec's arms; nothing of it is kept."""
    rows, layout = 8, layout_of(spec)
    numbers = np.arange(rows * len(layout.numeric), dtype=np.float64).reshape(rows, -1)
    ids = np.arange(1, rows * len(layout.categories) + 1, dtype=np.uint64).reshape(rows, -1)
    zeros = np.zeros(rows, np.int64)
    block = Block(
        spec.hash, [str(i) for i in range(rows)], zeros, np.zeros(rows, np.int32), zeros, numbers, ids,
        np.zeros(0, np.uint64), zeros,
    )  # fmt: skip
    arms = Arms(spec)
    label = np.arange(rows, dtype=np.float64) % 2
    for arm, model in arms.models.items():  # all of them learn, whatever the training policy
        scores = model.score_learn(arms.views[arm].of(block), label)
        arms.metrics[arm].update(scores, label, zeros)
        arms.score(arm, block)
        arms.metrics[arm].totals()
    ones = np.ones(rows)
    watch_of(spec).update(terms(spec.task, np.ones((rows, len(spec.classes))) if spec.classes else ones, ones))
