"""Which arm serves an event, by the spec's weights: what the training policy `own` needs to know of a row.

The arm's number travels as one more column of the block, `experiment.arm`, which no arm sees. It is there only when
the policy asks for it, so it is as old as its pipeline. Invariant: it is a function of the event alone, and that of
`stream/predict/plane.py`: the unit is the spec's field as cleaned, else the event's id. Why so:
docs/decisions/training-policy.md.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from stream.block import F64, U64, Columns
from stream.predict.steer import Assigner
from stream.spec import Spec

ARM = "experiment.arm"  # no field of an Avro record can have a dot in its name
MISSING = 0
_MEMORY_MAX = 1 << 17


class Owners:
    """The arms of one spec's units. Arms are counted from 1 here, so that 0 stands for a missing unit, as in `Ids`."""

    def __init__(self, spec: Spec) -> None:
        self.unit = spec.experiment.unit
        self._given = Assigner(spec).given  # in the state that the spec describes, which nobody may change
        self._numbers = {arm: i for i, arm in enumerate(spec.arms, 1)}
        self._known: dict[str | None, int] = {None: MISSING}

    def of(self, unit: str) -> int:
        """The arm of one unit, from 1."""
        known = self._known.get(unit)
        if known is None:
            if len(self._known) >= _MEMORY_MAX:
                self._known = {None: MISSING}
            known = self._known[unit] = self._numbers[self._given(unit).arm]
        return known

    def column(self, units: Iterable[Any]) -> U64:
        """The arms of a column of units; None gives 0."""
        get, of = self._known.get, self.of
        return np.array([i if (i := get(u)) is not None else of(str(u)) for u in units], np.uint64)

    def filled(self, found: U64, ids: list[str]) -> F64:
        """Numbers from 0 for the block; where the unit is missing, the event's id is the unit."""
        numbers = found.astype(np.float64) - 1
        for row in np.flatnonzero(found == MISSING).tolist():
            numbers[row] = self.of(ids[row]) - 1
        return numbers

    def numbers(self, columns: Columns) -> F64:
        """The block's column: as intake found it, else by the unit's texts.

        NaN where these are gone, as in a server's columns: good enough to score, and refused by whoever learns.
        """
        known = columns.values.get(ARM)
        if known is not None:
            return np.asarray(known, np.float64)
        if self.unit is None:
            return self.filled(np.zeros(len(columns), np.uint64), columns.ids)
        units = columns.values[self.unit]
        if units.dtype != object:
            return np.full(len(columns), np.nan)
        return self.filled(self.column(units), columns.ids)


def owners_of(spec: Spec) -> Owners | None:
    """Who serves what, if the spec's training policy asks for it."""
    return Owners(spec) if spec.experiment.training == "own" else None
