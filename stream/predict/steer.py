"""Who gets which arm now: overrides, hold-out, namespace, then the experiment's own assignment in its present state.

An `Assigner` is immutable and replaced as a whole, as a model is; so an answer is of one state of the experiment.
Invariant: a unit's answer depends on spec, state and unit alone.
"""

from typing import NamedTuple

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
        self.plain = not (self._overrides or self._layered or state.ended)  # all units are in the experiment
        self._seed, self._by_slot, self._points = seed_of(given.name, given.salt), list[Given](), None
        arms = list(spec.arms)
        if state.table is None:
            self._points = Assignment(given.name, given.salt, state.weights)
            self.propensity = dict(self._points.propensity)
        mine = {arm: Given(arm, self.propensity[arm], EXPERIMENT) for arm in arms}
        self._mine = mine
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
