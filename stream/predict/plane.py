"""The dataplane: requests → answers, whatever the transport. Cleaned and encoded by the stream's own classes.

One reference to an immutable `Served` is read once for each call and replaced as a whole, so an answer is of
one model, whenever a swap happens, and calls need no lock. Invariant: to predict never learns and never
changes input.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

from stream.arrive.reject import Reject
from stream.block import Block, take
from stream.clean.cleaner import Cleaned, Cleaner, Position
from stream.encode.encoder import Encoder
from stream.limits import BLOCK_ROWS_MAX, STRING_CHARS_MAX
from stream.predict.events import EventReader, Scalar
from stream.predict.refuse import BadScore, InvalidRequest, NoModel, Refused, TooStale, UnknownArm
from stream.predict.served import Served
from stream.predict.shadow import NO_SHADOWS, Shadows
from stream.predict.steer import ASKED, EXPERIMENT, Assigner, Given
from stream.spec import Spec
from stream.spec_load import event_schema

_NOWHERE = -1  # partition and offset of an event that no topic holds


@dataclass(frozen=True, slots=True)
class Request:
    """One event to score: fields by name, or `avro`, one framed event. Empty event_id, unit, arm: absent."""

    fields: Mapping[str, Scalar] = field(default_factory=dict)
    event_id: str = ""
    unit: str = ""
    arm: str = ""
    max_staleness_ms: int | None = None
    avro: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """One prediction. score: probability of true, the value, or the likeliest class's probability.

    scores and label: for classes only. propensity: the arm's probability; 1 when it did not come by chance. assigned:
    how it came (steer.HOW); `experiment` is empty unless by the experiment. control_seq: of the state of the experiment
    that assigned. shadows: scored by who logs, at place `row`. staleness_ms: now less the model's
    as_of_ms; below 0 where the learner's clock is ahead.
    """

    prediction_id: str
    event_id: str
    event_time_ms: int
    unit: str
    arm: str
    arm_requested: bool
    propensity: float
    score: float
    scores: tuple[float, ...]
    label: str
    model: Served
    staleness_ms: int
    experiment: str
    spec_hash: str
    assigned: str = EXPERIMENT
    control_seq: int = 0
    shadows: Shadows = NO_SHADOWS
    row: int = 0


def event_id_of(prediction_id: str) -> str:
    """The event's id inside a prediction's ('<uuid>/<event id>'). Raises InvalidRequest when it is none."""
    made, slash, event_id = prediction_id.partition("/")
    if len(made) != 36 or not slash or not event_id:
        raise InvalidRequest(
            "request.wrong",
            f"prediction_id: found {prediction_id[:80]!r}; one that an answer carried is wanted",
        )
    return event_id


Decode = Callable[[bytes], dict[str, Any] | Reject]


class Plane:
    """Answers under one spec. `decode` reads framed Avro events (arrive.framing); without it: refused."""

    def __init__(self, spec: Spec, decode: Decode | None = None) -> None:
        schema = event_schema(spec)
        self.spec, self.spec_hash = spec, spec.hash
        self._discreet = bool(spec.event.private)
        self.events = EventReader(spec, schema)
        self._assignment = Assigner(spec)
        self._assignment.many([""])  # so that no caller waits for the compiler
        self._shadowing = tuple(name for name, arm in spec.arms.items() if arm.shadow)
        self._decode = decode
        self._cleaner, self._encoder = Cleaner(spec), Encoder(spec)
        self._unit = spec.experiment.unit
        used = spec.event.fields.get(self._unit) if self._unit else None
        self._unit_is_clean = used is not None and used.type in ("category", "text")
        self._served: Served | None = None
        self._readied: list[Callable[[Served], None]] = []

    @property
    def served(self) -> Served | None:
        """The model that answers now."""
        return self._served

    @property
    def assignment(self) -> Assigner:
        """Who gets which arm now. Read it once for a call, so that all its answers are of one state."""
        return self._assignment

    def steer(self, assignment: Assigner) -> None:
        """From the next call on, this assigns."""
        self._assignment = assignment

    def shadows(self, block: Block, served: Served) -> Shadows:
        """What shadow arms say of a block, once somebody asks."""
        return Shadows(block, served, self._shadowing, self._discreet) if self._shadowing else NO_SHADOWS

    def before_swap(self, ready: Callable[[Served], None]) -> None:
        """From now on, `ready` is told of each model before it answers, by the thread that swaps."""
        self._readied.append(ready)

    def swap(self, served: Served) -> None:
        """From the next call on, this model answers."""
        for ready in self._readied:
            ready(served)
        self._served = served

    def as_of(self, as_of_ms: int) -> None:
        """The model is known to be this fresh, though it learned nothing new. For the thread that swaps."""
        if self._served is not None and as_of_ms > self._served.as_of_ms:
            self.swap(replace(self._served, as_of_ms=as_of_ms))

    def predict(
        self,
        fields: Mapping[str, Scalar],
        event_id: str = "",
        unit: str | None = None,
        arm: str | None = None,
        *,
        now_ms: int,
        max_staleness_ms: int | None = None,
    ) -> Answer:
        """One answer. Raises Refused."""
        return self.answer(Request(fields, event_id, unit or "", arm or "", max_staleness_ms), now_ms)

    def answer(self, request: Request, now_ms: int) -> Answer:
        """One answer. Raises Refused."""
        (found,) = self.predict_batch((request,), now_ms)
        if isinstance(found, Refused):
            raise found
        return found

    def ready(self, rows: int) -> Served:
        """The model that answers a batch of so many rows. Raises InvalidRequest for too many, NoModel."""
        served = self._served
        if not 0 <= rows <= BLOCK_ROWS_MAX:
            detail = f"{rows} requests; at most {BLOCK_ROWS_MAX} in one batch"
            raise InvalidRequest("request.too_many" if rows > 0 else "request.wrong", detail)
        if served is None:
            raise NoModel("model.none", f"{self.spec.name}: no model is loaded yet; try again later")
        return served

    def predict_batch(
        self,
        requests: Sequence[Request],
        now_ms: int,
        served: Served | None = None,
        assignment: Assigner | None = None,
    ) -> list[Answer | Refused]:
        """An answer or its refusal for each request, in order, all of one model and one assignment: those in place.

        Raises NoModel, and InvalidRequest for more than BLOCK_ROWS_MAX requests.
        """
        served = served or self.ready(len(requests))
        out: dict[int, Answer | Refused] = {}
        events: list[dict[str, Any]] = []
        rows: list[int] = []
        for row, request in enumerate(requests):
            try:
                self.check(request, now_ms, served)
                events.append(self._event(request, now_ms))
                rows.append(row)
            except Refused as e:
                out[row] = e
        cleaned = self._cleaner.clean(events, [Position(_NOWHERE, _NOWHERE, now_ms)] * len(events))
        for i, (code, detail) in cleaned.rejects.items():
            out[rows[i]] = InvalidRequest(code, detail)
        if cleaned.rows:
            kept = [(rows[i], requests[rows[i]], events[i]) for i in cleaned.rows]
            self._score(kept, cleaned, (served, assignment or self._assignment), now_ms, out)
        return [out[row] for row in range(len(requests))]

    def check(self, request: Request, now_ms: int, served: Served) -> None:
        """What can be said before looking at the event. Raises Refused."""
        limit_ms, staleness_ms = request.max_staleness_ms, now_ms - served.as_of_ms
        if limit_ms is not None and limit_ms < 0:
            raise InvalidRequest("request.wrong", f"max_staleness_ms: found {limit_ms}; 0 or more is wanted")
        if request.arm and request.arm not in self.spec.arms:
            raise UnknownArm(
                "arm.unknown", f"arm: found {request.arm[:80]!r}; the arms are {', '.join(self.spec.arms)}"
            )
        if limit_ms is not None and staleness_ms > limit_ms:
            raise TooStale(
                "model.stale",
                f"the model is {staleness_ms} ms stale; at most {limit_ms} ms is tolerated (generation "
                f"{served.generation}, all known until {served.as_of_ms} ms)",
            )

    def _event(self, request: Request, now_ms: int) -> dict[str, Any]:
        if not request.avro:
            return self.events.read(request.fields, request.event_id, now_ms)
        if request.fields:
            raise InvalidRequest("request.wrong", "fields and avro are both given; one of them is wanted")
        if self._decode is None:
            raise InvalidRequest("request.wrong", "avro: not read here; fields are wanted")
        event = self._decode(request.avro)
        if isinstance(event, Reject):
            raise InvalidRequest(event.code, f"avro: {event.detail}")
        return self.events.complete(event, request.event_id, now_ms)

    def _unit_of(self, request: Request, event: dict[str, Any], cleaned: Cleaned, i: int) -> str:
        """The unit that was given, else the spec's field as cleaned, else the event's id."""
        value: Any = request.unit or None
        if value is None and self._unit is not None:
            value = cleaned.columns.values[self._unit][i] if self._unit_is_clean else event.get(self._unit)
        unit = cleaned.columns.ids[i] if value is None else str(value)
        if len(unit) > STRING_CHARS_MAX:
            raise InvalidRequest("value.too_long", f"unit: {len(unit)} characters; at most {STRING_CHARS_MAX}")
        return unit

    def _score(
        self,
        kept: list[tuple[int, Request, dict[str, Any]]],
        cleaned: Cleaned,
        by: tuple[Served, Assigner],
        now_ms: int,
        out: dict[int, Answer | Refused],
    ) -> None:
        """Assign and score the rows that passed, arm by arm."""
        block, (served, assignment) = self._encoder.encode(cleaned.columns), by
        shadows = self.shadows(block, served)
        groups: dict[str, list[tuple[int, str, Given]]] = {}  # arm → (row of the block, unit, how it was assigned)
        for i, (row, request, event) in enumerate(kept):
            try:
                unit = self._unit_of(request, event, cleaned, i)
            except InvalidRequest as e:
                out[row] = e
                continue
            given = Given(request.arm, 1.0, ASKED) if request.arm else assignment.given(unit)
            groups.setdefault(given.arm, []).append((i, unit, given))
        for arm, members in groups.items():
            part = block if len(members) == len(block) else take(block, [i for i, _, _ in members])
            scores = served.arms.score(arm, part).tolist()
            for (i, unit, given), score in zip(members, scores, strict=True):
                state = (unit, given, assignment.seq, shadows)
                out[kept[i][0]] = self._answer(block, i, state, score, served, now_ms)

    def _answer(
        self,
        block: Block,
        i: int,
        state: tuple[str, Given, int, Shadows],
        score: Any,
        served: Served,
        now_ms: int,
    ) -> Answer | Refused:
        unit, (arm, propensity, how), seq, shadows = state
        scores, label = (), ""
        if isinstance(score, list):
            scores, score = tuple(score), max(score)
            label = self.spec.classes[scores.index(score)]
        if not math.isfinite(score):
            return BadScore("model.not_finite", f"arm {arm}, generation {served.generation}: the score is {score}")
        event_id = block.ids[i]
        return Answer(
            f"{uuid4()}/{event_id}",
            event_id,
            int(block.time_ms[i]),
            unit,
            arm,
            how == ASKED,
            propensity,
            score,
            scores,
            label,
            served,
            now_ms - served.as_of_ms,
            self.spec.experiment.name if how == EXPERIMENT else "",
            self.spec_hash,
            how,
            seq,
            shadows,
            i,
        )
