"""A caller's columns → the message of a batch, and its answers as arrays.

Strings are sent once a distinct value where they repeat, which is what makes both sides fast.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from consumers._client_values import CallFailed, Model, model_of, row_error
from schemas import headwater_pb2 as pb
from stream.block import F64, I64
from stream.errors import DataError
from stream.predict.given import numbered

Values = Sequence[Any] | NDArray[Any]
_REPEATS = 2  # times that a string must come on average to be sent by number
_KINDS = {float: "doubles", int: "int64s", bool: "bools", str: "strings"}
_OF_NUMPY = {"f": "doubles", "i": "int64s", "u": "int64s", "b": "bools", "U": "strings"}


def request_of(
    fields: Mapping[str, Values],
    event_ids: Sequence[str],
    units: Sequence[str],
    arm: str | None,
    max_staleness_ms: int | None,
    unlogged: bool,
) -> pb.PredictBatchRequest:
    """The message. Raises DataError for columns of several lengths, or with values that no message can carry."""
    sizes = {name: len(values) for name, values in fields.items()}
    sizes |= {n: len(v) for n, v in (("event_ids", event_ids), ("units", units)) if v}
    if len(set(sizes.values())) > 1:
        raise DataError(f"columns: found lengths {sizes}; one and the same is wanted")
    columns = pb.EventColumns(
        rows=next(iter(sizes.values()), 0),
        event_ids=event_ids,
        units=units,
        arm=arm or "",
        max_staleness_ms=max_staleness_ms,
        unlogged=unlogged,
    )
    for name, values in fields.items():
        try:
            _fill(columns.fields[name], values)
        except (TypeError, ValueError) as e:
            raise DataError(f"{name}: {e}") from e
    return pb.PredictBatchRequest(columns=columns)


def _fill(message: pb.FieldColumn, values: Values) -> None:
    if isinstance(values, np.ndarray) and values.dtype.kind in _OF_NUMPY:
        kind, listed = _OF_NUMPY[values.dtype.kind], values.tolist()
    else:
        listed = values.tolist() if isinstance(values, np.ndarray) else list(values)
        nulls = np.array([v is None for v in listed], bool)
        kind = _kind_of(listed)
        if nulls.any():
            empty = {"doubles": 0.0, "int64s": 0, "bools": False, "strings": ""}[kind]
            listed = [empty if v is None else v for v in listed]
            message.nulls = np.packbits(nulls, bitorder="little").tobytes()
    if kind != "strings":
        getattr(message, kind).values.extend(listed)
        getattr(message, kind).SetInParent()  # it has values, though there be none
        return
    distinct, index = numbered(listed)
    if len(distinct) * _REPEATS > len(listed):
        message.strings.values.extend(listed)
    else:
        message.strings.values.extend(distinct)
        message.strings.index.extend(index.tolist())
    message.strings.SetInParent()


def _kind_of(values: list[Any]) -> str:
    """What all values are; whole numbers among others are numbers. Raises TypeError for a mixture."""
    types = {type(v) for v in values if v is not None}
    if types == {int, float}:
        return "doubles"
    if len(types) > 1 or not types <= set(_KINDS):
        found = ", ".join(sorted(t.__name__ for t in types))
        raise TypeError(
            f"found {found}; numbers, strings or booleans are wanted, and only one kind, with None for nulls"
        )
    return _KINDS[types.pop()] if types else "strings"


@dataclass(frozen=True, slots=True)
class ColumnAnswers:
    """n answers of one model, as columns.

    arm: a place in `arms`, -1 where `errors` says why there is no answer; score and propensity are 0 there. scores:
    float64[n, classes], without columns unless the task is classes; label: the place of the likeliest in `classes`;
    left_out: rows that are no part of the experiment.
    """

    batch_id: str
    event_ids: tuple[str, ...]
    units: tuple[str, ...]
    arms: tuple[str, ...]
    arm: I64
    propensity: F64
    score: F64
    classes: tuple[str, ...]
    scores: F64
    label: I64
    errors: Mapping[int, CallFailed]
    model: Model
    arm_requested: bool
    staleness_ms: int
    experiment: str
    spec_hash: str
    control_seq: int = 0
    left_out: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.event_ids)

    def prediction_id(self, row: int) -> str:
        """What Feedback takes for this row."""
        return f"{self.batch_id}/{self.event_ids[row]}"


def answers_of(m: pb.AnswerColumns) -> ColumnAnswers:
    """The answers in a message."""
    event_ids = tuple(m.event_ids)
    return ColumnAnswers(
        m.batch_id,
        event_ids,
        tuple(m.units) or event_ids,
        tuple(m.arms),
        np.array(m.arm, np.int64),
        np.array(m.propensity, np.float64),
        np.array(m.score, np.float64),
        tuple(m.classes),
        np.array(m.scores, np.float64).reshape(len(event_ids), len(m.classes)),
        np.array(m.label, np.int64),
        {row: row_error(error) for row, error in m.errors.items()},
        model_of(m.model),
        m.arm_requested,
        m.staleness_ms,
        m.experiment,
        m.spec_hash,
        m.control_seq,
        tuple(m.left_out),
    )
