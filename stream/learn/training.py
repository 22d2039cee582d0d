"""Training policies: which arm learns which row. Every arm scores every row, so that metrics compare.

- `shared`: every arm learns every row.
- `own`: an arm learns the rows of the units that it serves (stream/encode/owner.py).
- `equal`: an arm learns a share of its own, as large as that of any other arm that learns, by the event's id.

Invariant: who learns a row is a function of that row and the spec; and a row is scored by what was learned before it,
however the log was cut into blocks. docs/decisions/training-policy.md tells why.
"""

from collections.abc import Iterator

import numpy as np
import xxhash
from numpy.typing import NDArray

from stream.block import F64, I64, Block
from stream.encode.encoder import layout_of
from stream.encode.owner import ARM
from stream.errors import DataError
from stream.learn.check import Checked
from stream.learn.learner import Learner
from stream.spec import Spec

SEED = int(xxhash.xxh64_intdigest(b"headwater:equal:1"))  # another way of sharing out is another number
Mask = NDArray[np.bool_]


def learns(spec: Spec, arm: str) -> bool:
    """Whether the arm's model learns at all."""
    return not spec.arms[arm].model.startswith("onnx:")


def training_problems(spec: Spec) -> list[str]:
    """Why the policy can't be had; each line starts with its path in the spec."""
    if spec.experiment.training != "own":
        return []
    problems, unit = [], spec.experiment.unit
    field = spec.event.fields.get(unit) if unit else None
    if field is not None and field.type not in ("category", "text"):
        problems.append(
            f"experiment.unit: {unit} is {field.type}; with training: own a category or text is wanted, whose cleaned "
            "text is the same in the log and in a request"
        )
    problems += [
        f"arms.{name}.weight: found 0; with training: own the arm would never learn (shared and equal teach it)"
        for name, arm in spec.arms.items()
        if arm.weight == 0 and learns(spec, name)
    ]
    return problems


def refuse_other_weights(spec: Spec) -> None:
    """For whoever is about to change who serves what while the pipeline runs. Raises DataError under `own`."""
    if spec.experiment.training == "own":
        raise DataError(
            "experiment.training: found own, under which the spec's weights decide which arm learns what; allowed "
            "with shared or equal; or change the weights in the spec and start a pipeline of another name"
        )


class Policy:
    """The policy of one spec."""

    def __init__(self, spec: Spec) -> None:
        self.name = spec.experiment.training
        self._arms = list(spec.arms)
        self._learning = [i for i, name in enumerate(self._arms) if learns(spec, name)]
        self._column = layout_of(spec).numeric.index(ARM) if self.name == "own" else -1

    def learners(self, block: Block) -> I64 | None:
        """int64[n]: the number of the one arm that learns each row; None: all arms learn all rows."""
        if self.name == "shared":
            return None
        if self.name == "own":
            number = block.numeric[:, self._column]
            wrong = ~((number >= 0) & (number < len(self._arms)))
            if wrong.any():
                row = int(wrong.argmax())
                found = f"row {row}, id {block.ids[row]}: found {number[row]}"
                raise ValueError(f"{ARM}: {found}; an arm's number is wanted")
            return number.astype(np.int64)
        of, count = xxhash.xxh64_intdigest, max(1, len(self._learning))
        places = np.array([of(i.encode(), SEED) % count for i in block.ids], np.int64)
        return np.array(self._learning or [-1], np.int64)[places]

    def score_learn(self, model: Checked, arm: str, block: Block, label: F64, learners: I64 | None) -> tuple[F64, int]:
        """Score each row in order, and learn it if it is this arm's; the scores, and how many rows were learned."""
        number = self._arms.index(arm)
        if learners is None or number not in self._learning:
            return model.score_learn(block, label), len(block)
        return score_learn_some(model.allowed(block, label), block, label, learners == number)


def score_learn_some(model: Learner, block: Block, label: F64, mine: Mask) -> tuple[F64, int]:
    """Score each row in order, and learn those that are `mine`; the scores, and how many were learned."""
    if mine.all():
        return model.score_learn(block, label), len(block)
    scores = [
        model.score_learn(part, label[start : start + len(part)]) if mine[start] else model.score(part)
        for start, part in _runs(block, mine)
    ]
    return np.concatenate(scores), int(np.count_nonzero(mine))


def _runs(block: Block, mine: Mask) -> Iterator[tuple[int, Block]]:
    """Longest stretches of rows of one kind: where each begins, and its rows, which share memory with the block."""
    ends = [*(np.flatnonzero(np.diff(mine)) + 1).tolist(), len(block)]
    for start, end in zip([0, *ends], ends, strict=False):
        first = int(block.token_ends[start - 1]) if start else 0
        rows = slice(start, end)
        yield (
            start,
            Block(
                block.spec_hash,
                block.ids[rows],
                block.time_ms[rows],
                block.partition[rows],
                block.offset[rows],
                block.numeric[rows],
                block.categories[rows],
                block.tokens[first : int(block.token_ends[end - 1])],
                block.token_ends[rows] - first,
            ),
        )
