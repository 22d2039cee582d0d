"""What a model may be given, checked before it learns: a wrong block or label is a ValueError, never a guess.

Messages say what was found and what is allowed. `outside` names the rows whose label is none of the task's, so that a
stream can pass over them alone.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import F64, Block, Layout
from stream.learn.learner import Learner, State
from stream.limits import MAGNITUDE_MAX


def block_problem(block: Block, layout: Layout) -> str | None:
    """What is wrong with a block that ought to have this layout; None if nothing is."""
    n = len(block)
    wanted: dict[str, tuple[Any, tuple[int, ...]]] = {
        "numeric": (np.float64, (n, len(layout.numeric))),
        "categories": (np.uint64, (n, len(layout.categories))),
        "tokens": (np.uint64, (block.tokens.size,)),
        "token_ends": (np.int64, (n,)),
    }
    for name, (dtype, shape) in wanted.items():
        given = getattr(block, name)
        if given.dtype != dtype or given.shape != shape:
            found = f"{given.dtype}{list(given.shape)}"
            return f"block.{name}: found {found}; {np.dtype(dtype)}{list(shape)} is wanted"
    ends = block.token_ends
    if (n and ends[0] < 0) or (ends[1:] < ends[:-1]).any() or (ends[-1] if n else 0) != block.tokens.size:
        return f"block.token_ends: not rising from 0 to {block.tokens.size}, the number of tokens"
    return None


def infinite(block: Block) -> NDArray[np.bool_]:
    """bool[n]: which rows have an infinite number."""
    return np.asarray(np.isinf(block.numeric).any(axis=1))


def outside(label: F64, task: str, classes: int) -> NDArray[np.bool_]:
    """bool[n]: whose label is none of the task's."""
    if task == "regression":
        return ~(np.abs(label) <= MAGNITUDE_MAX)
    top = 2 if task == "binary" else classes
    whole = np.isfinite(label) & (label == np.floor(label))
    return np.asarray(~(whole & (label >= 0) & (label < top)))


def allowed(task: str, classes: tuple[str, ...]) -> str:
    """The task's labels, in words."""
    if task == "regression":
        return f"a number within ±{MAGNITUDE_MAX:g} is wanted"
    if task == "binary":
        return "0 or 1 is wanted"
    return f"0 to {len(classes) - 1} is wanted, a place in {list(classes)}"


class Checked:
    """A model that refuses what it must not be given; `inner` is the model itself."""

    def __init__(self, inner: Learner, layout: Layout, task: str, classes: tuple[str, ...]) -> None:
        self.inner, self._layout, self._task, self._classes = inner, layout, task, classes

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner. Raises ValueError for a wrong block or label; nothing is learned then."""
        return self.allowed(block, label).score_learn(block, label)

    def allowed(self, block: Block, label: F64) -> Learner:
        """The model itself, which may be given these rows in any pieces. Raises ValueError for wrong ones."""
        self._check(block)
        if label.dtype != np.float64 or label.shape != (len(block),):
            raise ValueError(f"label: found {label.dtype}{list(label.shape)}; float64[{len(block)}] is wanted")
        wrong = outside(label, self._task, len(self._classes))
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(f"label: row {row}: found {label[row]:g}; {allowed(self._task, self._classes)}")
        return self.inner

    def score(self, block: Block) -> F64:
        """See Learner. Raises ValueError for a wrong block."""
        self._check(block)
        return self.inner.score(block)

    def state(self) -> State:
        """See Learner."""
        return self.inner.state()

    def restore(self, state: State) -> None:
        """See Learner."""
        self.inner.restore(state)

    def finite(self) -> bool:
        """See Learner."""
        return self.inner.finite()

    def _check(self, block: Block) -> None:
        problem = block_problem(block, self._layout)
        if problem is not None:
            raise ValueError(problem)
        if np.isinf(block.numeric).any():  # a tenth of the time that it takes to say in which rows
            row = int(infinite(block).argmax())
            column = self._layout.numeric[int(np.isinf(block.numeric[row]).argmax())]
            raise ValueError(f"block.numeric: row {row}, {column}: found an infinite number; NaN stands for none")
