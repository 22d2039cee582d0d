"""Linear models with online scaling and hashed one-hot categories: one output, any loss.

Source of the algorithm: River's `preprocessing` scalers, `linear_model.LogisticRegression` and
`linear_model.LinearRegression` with `optim`; categories as `OneHotEncoder` would give them.
"""

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import F64, I64, Block
from stream.learn.learner import State
from stream.learn.linear import general, kernel, lanes
from stream.learn.linear.params import LinearParams
from stream.learn.linear.scaling import rows_of, scale_rows
from stream.learn.linear.table import rehash
from stream.learn.linear.types import EVICTED, OVERFLOWED, USED, Arrays, Rules

_TABLE_START = 1024
_VERSION = 1


class Hashed:
    """What all linear models share: the arrays of types.Arrays, of which the table grows as keys come."""

    _kind = "linear"

    def __init__(self, features: int, outputs: tuple[int, ...], memory: int, scalars: int, rules: Rules) -> None:
        self._outputs, self._rules, self._z = outputs, rules, np.empty(features)
        self._a = Arrays(
            stats=np.zeros((rows_of(rules.scale), features)),
            weights=np.zeros((features, *outputs)),
            memory=np.zeros((features, *outputs, memory)),
            keys=np.zeros(_TABLE_START, np.uint64),
            table=np.zeros((_TABLE_START, *outputs)),
            table_memory=np.zeros((_TABLE_START, *outputs, memory)),
            scalars=np.zeros(scalars),
            marks=np.zeros(_TABLE_START if rules.marks_max else 0, np.uint8),
            clock=np.zeros(2, np.int64),
        )

    def score_learn(self, block: Block, label: F64) -> F64:
        """See Learner. label: float64[n]."""
        out = np.empty((len(block), *self._outputs))
        done = 0
        while True:
            done = self._learn(block, label, done, out)
            if done == len(block):
                return out
            self._grow()

    def score(self, block: Block) -> F64:
        """See Learner."""
        out = np.empty((len(block), *self._outputs))
        self._score(block, out)
        return out

    def _learn(self, block: Block, label: F64, done: int, out: F64) -> int:
        raise NotImplementedError

    def _score(self, block: Block, out: F64) -> None:
        raise NotImplementedError

    def _grow(self) -> None:
        """Twice the table, every key with its weight and what is remembered of it."""
        old, places = self._a, len(self._a.keys)
        names = ("keys", "table", "table_memory", "marks")
        held = [getattr(old, name) for name in names]
        wide = [np.zeros((2 * places if len(rows) else 0, *rows.shape[1:]), rows.dtype) for rows in held]
        rehash(*(_flat(rows) for rows in (*held, *wide)))
        self._a = old._replace(**dict(zip(names, wide, strict=True)))

    @property
    def rules(self) -> Rules:
        """The parameters as the kernels read them."""
        return self._rules

    def scaled(self, block: Block) -> F64:
        """The block's numbers as they are weighed, float64[n, f]; NaN where there is none."""
        out = np.empty_like(block.numeric)
        scale_rows(self._rules, self._a.stats, block.numeric, out)
        return out

    def counts(self) -> dict[str, int]:
        """Keys held, keys evicted for others, and times that a key was refused a place."""
        scalars, clock = self._a.scalars, self._a.clock
        return {"held": int(scalars[USED]), "evicted": int(clock[EVICTED]), "refused": int(scalars[OVERFLOWED])}

    def _arrays(self) -> dict[str, NDArray[Any]]:
        """What there is to keep of the arrays."""
        idle = set() if self._a.memory.shape[-1] else {"memory", "table_memory"}
        idle |= set() if self._rules.marks_max else {"marks", "clock"}
        return {n: a for n, a in self._a._asdict().items() if n not in idle}

    def _meta(self) -> dict[str, Any]:
        raise NotImplementedError

    def state(self) -> State:
        """See Learner."""
        arrays = {name: array.copy() for name, array in self._arrays().items()}
        return State(arrays, {"kind": self._kind, "version": _VERSION, **self._meta()})

    def restore(self, state: State) -> None:
        """See Learner. Raises ValueError for a state of another kind, version or shape."""
        found, own = (state.meta["kind"], state.meta["version"]), (self._kind, _VERSION)
        if found != own:
            raise ValueError(f"state: found {found}; this model reads {own}")
        given = {**self._unmarked(state), **state.arrays}
        shapes, wanted = _shapes(given), _shapes(self._arrays())
        if shapes != wanted:
            raise ValueError(f"state: found arrays {shapes}; this model has {wanted}, keys aside")
        copies = {name: array.copy() for name, array in given.items()}
        copies.setdefault("table_memory", np.zeros((*copies["table"].shape, 0)))
        self._a = self._a._replace(**copies)

    def _unmarked(self, state: State) -> dict[str, NDArray[Any]]:
        """Marks for a state that was made before keys had them: nothing was seen since."""
        if not self._rules.marks_max:
            return {}
        return {"marks": np.zeros(state.arrays["keys"].size, np.uint8), "clock": np.zeros(2, np.int64)}

    def finite(self) -> bool:
        """See Learner."""
        return all(bool(np.isfinite(a).all()) for n, a in self._arrays().items() if n != "keys")


def _flat(rows: NDArray[Any]) -> NDArray[Any]:
    """Weights, or what is remembered of them, as one row of numbers for each key; keys and marks as they are."""
    return rows if rows.dtype.kind == "u" else rows.reshape(len(rows), math.prod(rows.shape[1:]))


def _shapes(arrays: dict[str, NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    """Shapes of a state's arrays, the table's length aside."""
    return {n: a.shape[n.startswith(("keys", "table", "marks")) :] for n, a in arrays.items()}


def _keys_max(block: Block) -> int:
    """The most keys that a row of the block has."""
    most = int(np.diff(block.token_ends, prepend=0).max()) if block.tokens.size else 0
    return int(block.categories.shape[1]) + most


class Linear(Hashed):
    """One output; `loss` is one of losses.py. SGD with constant rates has a kernel of its own."""

    def __init__(self, features: int, loss: int, params: LinearParams) -> None:
        self._loss, self._params = loss, params
        self._plain, memory, rules = _read(params, loss)
        super().__init__(features, (), memory, 4 if self._plain else 5, rules)
        self._rates = np.array([rules.rate[1], rules.intercept_rate[1], rules.l2, rules.clip])
        self._slots: I64 = np.empty((0, 0), np.int64)
        self._work = self._deviations = np.empty((0, 0))  # made when first learned with: one that serves needs none

    def _learn(self, block: Block, label: F64, done: int, out: F64) -> int:
        a, rows = self._a, (block.numeric, block.categories, block.tokens, block.token_ends)
        if not self._plain:
            return general.learn_rows(*rows, label, done, a, self._rules, self._z, out)
        if not self._work.size:
            self._work, self._deviations = lanes.scratch(a.stats.shape[1])
        bounds = self._rules.keys_max, self._rules.marks_max
        wanted = (self._deviations.shape[1], _keys_max(block))
        if self._slots.shape != wanted:
            self._slots = np.empty(wanted, np.int64)
        how = self._loss, self._rates
        return kernel.learn_rows(*rows, label, done, a, *how, *bounds, self._slots, self._work, self._deviations, out)

    def _score(self, block: Block, out: F64) -> None:
        # scratch of its own: predictions may run beside one another
        a, rows = self._a, (block.numeric, block.categories, block.tokens, block.token_ends)
        if self._plain:
            kernel.score_rows(*rows, a, self._loss, np.empty_like(self._z), out)
        else:
            general.score_rows(*rows, a, self._rules, np.empty_like(self._z), out)

    def plain_arrays(self) -> tuple[Arrays, int] | None:
        """What `kernel.score_rows` reads, not a copy, and the loss; None where another kernel scores."""
        return (self._a, self._loss) if self._plain else None

    def _meta(self) -> dict[str, Any]:
        return {**self._params.model_dump(), "loss": self._loss}


@lru_cache
def _read(params: LinearParams, loss: int) -> tuple[bool, int, Rules]:
    """Whether the fast kernel does all that is asked, numbers remembered of each weight, and all as kernels read it.

    Kept, since a server makes a model of the same parameters at each swap.
    """
    return params.plain() and loss in (kernel.LOG, kernel.SQUARED), params.memory(), params.rules(loss)


__all__ = ["Hashed", "Linear", "LinearParams"]
