"""Who gets which arm now: overrides, hold-out, namespace, then the experiment's own assignment in its present state.

An `Assigner` is immutable and replaced as a whole, as a model is; so an answer is of one state of the experiment.
Invariant: a unit's answer depends on spec, state and unit alone.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from stream.block import F64, I64
from stream.experiment.bulk import arms_at, bytes_of, points_of, slots_of
from stream.experiment.control import State, begin
from stream.experiment.slots import namespace_seed, seed_of, slot_of
from stream.predict.assign import Assignment
from stream.spec import Spec, control_of

EXPERIMENT, OVERRIDE, HOLDOUT, OUTSIDE, ENDED, ASKED = "experiment", "override", "holdout", "outside", "ended", "asked"
HOW = (EXPERIMENT, OVERRIDE, HOLDOUT, OUTSIDE, ENDED, ASKED)


class Given(NamedTuple):
    """A unit's arm and the probability of it; only with `how` EXPERIMENT it is part of the experiment."""

    arm: str
    propensity: float
    how: str


class Assigner:
    """Assigns units under one state. seq: number of the last control record; propensity: arm → share."""

    def __init__(self, spec: Spec, state: State | None = None) -> None:
        state = state or begin(spec)
        given = spec.experiment
        self.version, self.seq, self.state = given.assignment, state.seq, state
        self.propensity = dict(state.shares)
        self._overrides = {unit: Given(arm, 1.0, OVERRIDE) for unit, arm in given.overrides.items()}
        self._layered = given.namespace is not None or given.holdout > 0
        self._namespace = namespace_seed(given.namespace.name if given.namespace else given.name)
        self._first, self._last = given.namespace.slots if given.namespace else (0, given.held_out_from)
        self._held_from = given.held_out_from
        self._held, self._outside = Given(control_of(spec), 1.0, HOLDOUT), Given(state.rest, 1.0, OUTSIDE)
        self._ended = Given(state.rest, 1.0, ENDED) if state.ended else None
        self._seed, self._by_slot, self._points = seed_of(given.name, given.salt), list[Given](), None
        arms = list(spec.arms)
        if state.table is None:
            self._points = Assignment(given.name, given.salt, state.weights)
            self.propensity = dict(self._points.propensity)
        mine = {arm: Given(arm, self.propensity[arm], EXPERIMENT) for arm in arms}
        self._mine, self._table = mine, state.table
        self._place = {arm: i for i, arm in enumerate(arms)}
        if state.table is not None:
            self._by_slot = [mine[arms[owner]] for owner in state.table.tolist()]

    def given(self, unit: str) -> Given:
        """What this unit gets."""
        if self._overrides and unit in self._overrides:
            return self._overrides[unit]
        if self._layered:
            slot = slot_of(self._namespace, unit)
            if slot >= self._held_from:
                return self._held
            if not self._first <= slot < self._last:
                return self._outside
        if self._ended is not None:
            return self._ended
        if self._points is not None:
            return self._mine[self._points.of(unit)[0]]
        return self._by_slot[slot_of(self._seed, unit)]

    def many(self, units: Sequence[str]) -> tuple[I64, F64, I64]:
        """As `given`, of n units at once: place of the arm in the spec, propensity, place in HOW; each [n]."""
        data, ends = bytes_of(units)
        n, shares = len(units), np.array(list(self.propensity.values()))
        how = np.zeros(n, np.int64)
        if self._ended is not None:
            arm = np.full(n, self._place[self._ended.arm])
            how[:] = HOW.index(ENDED)
        elif self._table is not None:
            arm = self._table[slots_of(data, ends, self._seed)]
        else:
            assert self._points is not None
            arm = arms_at(points_of(data, ends, self._points.seed), self.state.weights)
        if self._layered:
            slot = slots_of(data, ends, self._namespace)
            outside, held = ~((slot >= self._first) & (slot < self._last)), slot >= self._held_from
            for rows, kind in ((outside, self._outside), (held, self._held)):
                arm[rows], how[rows] = self._place[kind.arm], HOW.index(kind.how)
        for row in (i for i, unit in enumerate(units) if unit in self._overrides) if self._overrides else ():
            arm[row], how[row] = self._place[self._overrides[units[row]].arm], HOW.index(OVERRIDE)
        return arm, np.where(how == HOW.index(EXPERIMENT), shares[arm], 1.0), how
