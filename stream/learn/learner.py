"""What every model is to the pipeline: score first, then learn, a block at a time, in order.

Laws that the test suite holds every learner to: `score` never learns; input is never changed; state does not depend
on how the stream is cut into blocks; state() → restore() → go on is bit-identical; state stays finite.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from stream.block import F64, Block


@dataclass(frozen=True, slots=True)
class State:
    """A model at rest: named arrays and JSON. Equal states have equal `digest`s."""

    arrays: dict[str, NDArray[Any]]
    meta: dict[str, Any]

    def digest(self) -> str:
        """sha256 over the canonical form: sorted names, dtypes, shapes, bytes; sorted JSON."""
        h = hashlib.sha256(json.dumps(self.meta, sort_keys=True).encode())
        for name in sorted(self.arrays):
            a = np.ascontiguousarray(self.arrays[name])
            h.update(f"{name}|{a.dtype.str}|{a.shape}|".encode())
            h.update(a.tobytes())
        return h.hexdigest()


class Learner(Protocol):
    """One model. Scores: float64[n] (binary: probability of 1; regression: value) or float64[n, classes]."""

    def score_learn(self, block: Block, label: F64) -> F64:
        """For each row in order: score it, then learn it. Returns the scores."""
        ...

    def score(self, block: Block) -> F64:
        """Scores; nothing is learned."""
        ...

    def state(self) -> State:
        """A copy of the whole state."""
        ...

    def restore(self, state: State) -> None:
        """Go on from a state made under the same parameters and layout."""
        ...

    def finite(self) -> bool:
        """Whether every number in the state is finite."""
        ...
