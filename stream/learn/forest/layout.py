"""What a forest keeps for each of its trees besides the tree: counts, classes met, detectors, a background tree."""

import math
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from stream.learn.adaptive.detect import ADWIN_INTS, ADWIN_REALS
from stream.learn.tree.layout import Ints, Reals

# Member.counts: how many votes of the tree were right, of how many (both since it took its place); warnings and
# drifts so far; whether a background tree grows
RIGHT, JUDGED, WARNINGS, DRIFTS, GROWING = range(5)
FRONT, BACK = (
    cast(int, np.int64(0)),
    cast(int, np.int64(1)),
)  # rows of Member.met, for the tree and for its background tree
WARN, DRIFT = FRONT, BACK  # rows of Member.window and Member.buckets
# Arguments of kernels are numpy scalars: numba would compile them afresh for each Python literal.
# Progress through a block: the row; how often it is still to be learned (-1: not begun) and how often in all; whether
# the vote was wrong; leaves that wait for a split attempt, or -1; the next step of judging; what is short of room;
# whether the tree has come to err more often
ROW, LEFT, DRAWN, WRONG, DUE_FRONT, DUE_BACK, STEP, SHORT_TREE, SHORT_BRANCHES, SHORT_ENTRIES, CHANGED = range(11)
TO_WARN, TO_DRIFT, TO_END = range(3)  # values of STEP
DONE, ROOM, WARNED, DRIFTED = range(4)  # why a kernel comes back
CHANCE_SMALLEST = 2.0**-54


class Member(NamedTuple):
    """One tree's own record; k classes."""

    counts: Ints  # [5]
    met: Ints  # [2, k] 1 where the tree has learned the class
    window: Reals  # [2, ADWIN_REALS]
    buckets: Ints  # [2, ADWIN_INTS]


class Habits(NamedTuple):
    """How the forest treats its trees."""

    chances: Reals  # chance of at most 0, 1, .. draws
    repeats: bool  # learn a row as often as drawn (bagging), or once with that weight
    warning_delta: float  # 0: no warnings, and so no background trees
    drift_delta: float  # 0: no drifts
    change_delta: float = 0.0  # of the detectors by which the worst tree is replaced; 0: none is


def new_member(classes: int) -> Member:
    """The record of a tree that has learned nothing."""
    return Member(
        counts=np.zeros(5, np.int64),
        met=np.zeros((2, classes), np.int64),
        window=np.zeros((2, ADWIN_REALS)),
        buckets=np.zeros((2, ADWIN_INTS), np.int64),
    )


def new_progress() -> Ints:
    """At the start of a block."""
    progress = np.zeros(CHANGED + 1, np.int64)
    progress[[LEFT, DUE_FRONT, DUE_BACK]] = -1
    return progress


def poisson_chances(rate: float) -> NDArray[np.float64]:
    """Chance of at most 0, 1, 2, .. events, up to where a uniform draw of 53 bits can't tell it from 1."""
    chance, events, below = math.exp(-rate), 0, 0.0
    chances = []
    while events <= rate or chance > CHANCE_SMALLEST:
        below += chance
        chances.append(below)
        events += 1
        chance *= rate / events
    return np.array(chances)


def tree_seed(seed: int, tree: int) -> int:
    """The seed of one tree's draws: SplitMix64's finisher over both numbers, 63 bits."""
    mixed = (seed * 0x9E3779B97F4A7C15 + (tree + 1) * 0xD1B54A32D192ED03) % 2**64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    return (mixed ^ (mixed >> 31)) >> 1
