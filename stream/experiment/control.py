"""An experiment's control records → its state: who gets what share now, and since which record.

A pure fold: the spec gives the beginning, each record that counts the next state. A record counts if it names this
experiment and salt, and its number is the next one: of two that were written at the same time the later lost, and
everybody who reads the topic sees it so. Invariant: equal records give equal states, whatever the spec's weights
became meanwhile, since record 1 says what it began from.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from stream.block import I64
from stream.errors import DataError
from stream.experiment.slots import SLOTS, fresh, quotas, ramped, shares_of
from stream.spec import Spec, control_of

Action = Literal["ramp", "stop", "promote", "guardrail"]
ENDING = ("stop", "promote")


@dataclass(frozen=True, slots=True)
class Control:
    """One record, as schemas/control.avsc has it."""

    experiment: str
    salt: str
    seq: int
    action: str
    arm: str
    before: Mapping[str, float]
    weights: Mapping[str, float]
    who: str
    when_ms: int
    why: str


@dataclass(frozen=True, slots=True)
class State:
    """weights: as they were given; shares: arm → share, in the spec's order; epochs: the shares by number of record.

    table: owners of slots, int64[SLOTS], without version 2 None. ended: nobody is in the experiment any more, and all
    but held-out units get the arm `rest`; the table stays, so that who goes on finds it.
    """

    seq: int
    weights: Mapping[str, float]
    shares: Mapping[str, float]
    table: I64 | None
    ended: bool
    rest: str
    epochs: tuple[Mapping[str, float], ...]
    records: tuple[Control, ...] = ()


def present_shares(state: State) -> dict[str, float]:
    """Arm → the share of units that it answers now: once the experiment has ended, `rest` answers all."""
    return {arm: float(arm == state.rest) for arm in state.shares} if state.ended else dict(state.shares)


def running_shares(state: State) -> Mapping[str, float]:
    """The shares under which the experiment runs, or ran last."""
    ended = [False, *(r.action in ENDING for r in state.records)]
    return next(s for s, over in zip(reversed(state.epochs), reversed(ended), strict=True) if not over)


def compared(state: State, seq: I64, arm: str, control: str, since: int = 0) -> NDArray[np.bool_]:
    """Which exposures of these record numbers let two arms be compared: either could have been given; bool[n].

    Without records all do: then the logged propensities are all that is known.
    """
    if not state.records:
        return np.ones(len(seq), bool)
    both = np.array([e[arm] > 0 and e[control] > 0 for e in state.epochs])
    both[:since] = False
    known = (seq >= 0) & (seq < len(both))
    return np.asarray(known & both[np.where(known, seq, 0)], bool)


def begin(spec: Spec, weights: Mapping[str, float] | None = None) -> State:
    """The state without any record: the spec's weights, or those that record 1 began from."""
    given = dict(weights) if weights is not None else {arm: a.weight for arm, a in spec.arms.items()}
    rest = control_of(spec)
    shares, table = shares_of(given, list(spec.arms), rest), None
    if spec.experiment.assignment == 2:
        counts = quotas(list(shares.values()))
        table = fresh(counts)
        shares = _exact(spec, counts)
    fitted = given if set(given) == set(spec.arms) else shares
    return State(0, {arm: fitted[arm] for arm in spec.arms}, shares, table, False, rest, (shares,))


def after(spec: Spec, state: State, record: Control) -> tuple[State, str]:
    """The next state and "", or the same one and why the record does not count."""
    if (record.experiment, record.salt) != (spec.experiment.name, spec.experiment.salt):
        return state, f"it is of experiment {record.experiment}, salt {record.salt}"
    if record.seq != state.seq + 1:
        return state, f"its number is {record.seq}, the next one is {state.seq + 1}"
    try:
        if state.seq == 0 and record.before:
            state = begin(spec, record.before)
        weights = shares_of(record.weights, list(spec.arms), state.rest)
        return _next(spec, state, record, weights), ""
    except DataError as e:
        return state, str(e)


def _next(spec: Spec, state: State, record: Control, weights: Mapping[str, float]) -> State:
    ended, table, shares = record.action in ENDING, state.table, dict(weights)
    rest = record.arm if record.action == "promote" and record.arm in spec.arms else control_of(spec)
    if table is not None and not ended:
        counts = quotas(list(weights.values()))
        table, shares = ramped(table, counts), _exact(spec, counts)
    return State(record.seq, weights, shares, table, ended, rest, (*state.epochs, shares), (*state.records, record))


def _exact(spec: Spec, counts: list[int]) -> dict[str, float]:
    """What version 2 really gives."""
    return {arm: count / SLOTS for arm, count in zip(spec.arms, counts, strict=True)}


def moved(spec: Spec, old: State, new: State) -> float:
    """The share of the experiment's units that get another arm; held-out ones and overrides aside."""
    if old.ended or new.ended:
        stay = new.shares[old.rest] if old.ended else old.shares[new.rest]
        return float(old.rest != new.rest) if old.ended and new.ended else 1.0 - stay
    if old.table is not None and new.table is not None:
        return float((old.table != new.table).mean())
    ends = [
        np.array([e / total[-1] for e in total]) for s in (old, new) if (total := list(accumulate(s.shares.values())))
    ]
    cuts = np.unique(np.concatenate([[0.0], *ends]))
    middle = (cuts[:-1] + cuts[1:]) / 2
    first, second = (np.searchsorted(e, middle, side="right") for e in ends)
    return float(np.diff(cuts)[first != second].sum())


def least_moved(old: State, new: State) -> float:
    """The share of units that must move for these shares: half the sum of what they differ by."""
    return sum(abs(new.shares[arm] - share) for arm, share in old.shares.items()) / 2


# -- what a person or a guardrail wants → the next record --------------------------------------------------


def ramp(spec: Spec, state: State, named: Mapping[str, float], who: str, when_ms: int, why: str) -> Control:
    """Named arms get these shares; what is left goes to the others as they share it now, else to the control.

    Raises DataError for what can't be.
    """
    _known(spec, named)
    for arm, share in named.items():
        if not (math.isfinite(share) and 0 <= share <= 1):
            raise DataError(f"{arm}: found {share:g}; a share from 0 to 1 is wanted")
    left, others = 1 - sum(named.values()), {a: s for a, s in state.shares.items() if a not in named}
    if not named or left < -1e-9:
        raise DataError(f"shares: found {dict(named)}, together {sum(named.values()):g}; at most 1 is wanted")
    left = 0.0 if abs(left) < 1e-9 else left
    if left and not others:
        raise DataError(f"shares: found {dict(named)}, together {1 - left:g}; all arms are named, so 1 is wanted")
    if left and not sum(others.values()):
        others = {arm: float(arm == control_of(spec)) for arm in others}
        if not sum(others.values()):
            raise DataError(
                f"shares: found {dict(named)}, together {1 - left:g}; no other arm has a share to grow, so 1 is wanted"
            )
    held = sum(others.values())
    weights = {a: named[a] if a in named else left * others[a] / held if left else 0.0 for a in spec.arms}
    return _checked(spec, state, Control(*_of(spec, state, "ramp", ""), _rounded(weights), who, when_ms, why))


def end(spec: Spec, state: State, arm: str | None, who: str, when_ms: int, why: str) -> Control:
    """Everybody gets this arm: promoted; or, with None, the control: stopped. Raises DataError for no such arm."""
    target, action = arm or control_of(spec), "promote" if arm else "stop"
    _known(spec, [target])
    weights = {a: float(a == target) for a in spec.arms}
    return _checked(spec, state, Control(*_of(spec, state, action, arm or ""), weights, who, when_ms, why))


def drain(spec: Spec, state: State, arm: str, who: str, when_ms: int, why: str) -> Control:
    """The arm's share goes to the control."""
    control = control_of(spec)
    weights = {**state.shares, arm: 0.0}
    weights[control] += state.shares[arm]
    return _checked(spec, state, Control(*_of(spec, state, "guardrail", arm), _rounded(weights), who, when_ms, why))


def _of(spec: Spec, state: State, action: str, arm: str) -> tuple[str, str, int, str, str, Mapping[str, float]]:
    return spec.experiment.name, spec.experiment.salt, state.seq + 1, action, arm, dict(state.weights)


def _rounded(weights: Mapping[str, float]) -> dict[str, float]:
    """Without the dust of sums: 0.8, not 0.7999999999999999."""
    return {arm: round(weight, 12) for arm, weight in weights.items()}


def _known(spec: Spec, arms: Any) -> None:
    for arm in arms:
        if arm not in spec.arms:
            raise DataError(f"arm: found {arm!r}; the arms are {', '.join(spec.arms)}")


def _checked(spec: Spec, state: State, record: Control) -> Control:
    """Raises DataError with the reason why the record would not count, or serves a shadow arm."""
    for arm, weight in record.weights.items():
        if weight > 0 and spec.arms[arm].shadow:
            raise DataError(
                f"{arm}: found share {weight:g}; a shadow arm is never served: take `shadow` off in the spec"
            )
    if spec.experiment.assignment == 2 and record.action not in ENDING:
        quotas(list(record.weights.values()))
    _, why_not = after(spec, state, record)
    if why_not:
        raise DataError(why_not)
    return record
