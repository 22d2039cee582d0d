"""A batch of columns and its answers, as columns too: what `batch` takes and gives, whatever the transport."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from stream.block import F64, I64
from stream.predict.given import Column
from stream.predict.plane import Answer
from stream.predict.refuse import Refused
from stream.predict.served import Served
from stream.predict.shadow import NO_SHADOWS, Shadows
from stream.predict.steer import ASKED, EXPERIMENT, HOW

REFUSED = -1


@dataclass(frozen=True, slots=True)
class Batch:
    """`rows` events to score: a column a field. event_ids and units: none, or one a row, where '' is absent.

    unlogged: the answers are not logged, and so no part of the experiment.
    """

    rows: int
    fields: Mapping[str, Column] = field(default_factory=dict)
    event_ids: Sequence[str] = ()
    units: Sequence[str] = ()
    arm: str = ""
    max_staleness_ms: int | None = None
    unlogged: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """n answers of one model, as `plane.Answer` has them.

    arm: int64[n], a place in `arms`, REFUSED where `refused` (by row) says why; propensity, score: float64[n], zeros
    there; scores: float64[n, classes], without columns unless the task is classes; how: int64[n], a place in steer.HOW.
    The prediction id of row i is batch_id/event_ids[i].
    """

    batch_id: str
    event_ids: list[str]
    time_ms: I64
    units: list[str]
    arms: tuple[str, ...]
    arm: I64
    propensity: F64
    score: F64
    scores: F64
    refused: dict[int, Refused]
    model: Served
    staleness_ms: int
    asked: bool
    experiment: str
    spec_hash: str
    how: I64
    control_seq: int = 0
    shadows: Shadows = NO_SHADOWS

    def __len__(self) -> int:
        return len(self.event_ids)

    def prediction_ids(self) -> list[str]:
        """The prediction id of each row."""
        return [f"{self.batch_id}/{event_id}" for event_id in self.event_ids]

    def left_out(self) -> list[int]:
        """Answered rows that are no part of the experiment, though nobody asked for an arm."""
        outside = (self.how != HOW.index(EXPERIMENT)) & (self.how != HOW.index(ASKED)) & (self.arm != REFUSED)
        return list(np.flatnonzero(outside).tolist())

    def at(self, row: int) -> Answer:
        """The answer of one row that is not refused; `label` is left to who knows the classes."""
        scores, how = tuple(self.scores[row].tolist()), HOW[self.how[row]]
        return Answer(
            f"{self.batch_id}/{self.event_ids[row]}",
            self.event_ids[row],
            int(self.time_ms[row]),
            self.units[row],
            self.arms[self.arm[row]],
            self.asked,
            float(self.propensity[row]),
            float(self.score[row]),
            scores,
            "",
            self.model,
            self.staleness_ms,
            self.experiment if how == EXPERIMENT else "",
            self.spec_hash,
            how,
            self.control_seq,
            self.shadows,
            row,
        )
