"""One `Predict`, from the request's bytes to the answer's bytes: the quick way for what most callers ask.

The request is read, checked, cleaned and encoded by one compiled call (`row`), a plain linear arm scores it in
another, and what does not change from answer to answer (arm, model, experiment) is serialised once for each model: a
protobuf message is the sum of its parts. Invariant: the answer is the row form's, or None, where the row form shall
say. What is doubted is handed over, never refused here.
"""

import math
import os
import struct
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from schemas import headwater_pb2 as pb
from stream.block import Block
from stream.learn.linear.model import Linear
from stream.predict import wire
from stream.predict.plane import Answer, Plane
from stream.predict.quick.row import read_row
from stream.predict.quick.score import score_row, warm
from stream.predict.quick.tables import BYTES_MAX, row_of, tables_of
from stream.predict.quick.types import Row
from stream.predict.served import Served
from stream.predict.shadow import NO_SHADOWS, Shadows
from stream.predict.steer import ASKED, EXPERIMENT
from stream.spec_load import event_schema

_IDS_AHEAD = 256
_PROMPT = ("linear.", "tree.")  # models that score a row in some ten microseconds, whatever they have learned
_VARIANT = {c: "89ab"[int(c, 16) & 3] for c in "0123456789abcdef"}
_SCORE = struct.Struct("<Bd")
_SCORE_TAG = 0x29
Score = Callable[[Row], Any]
"""A row's score: a number, or a list of them."""


class Quick(NamedTuple):
    """The answer's bytes, and what its log entry is made of."""

    body: bytes
    prediction_id: str
    event_id: str
    time_ms: int
    unit: str
    arm: str
    asked: bool
    propensity: float
    score: float
    scores: tuple[float, ...]
    model: Served
    staleness_ms: int
    how: str
    control_seq: int
    plane: Plane
    shadows: Shadows


def new_ids(count: int) -> list[str]:
    """Random UUIDs of version 4, as `str(uuid4())` gives them; one call to the system for all."""
    texts = os.urandom(16 * count).hex()
    out = []
    for at in range(0, len(texts), 32):
        t = texts[at : at + 32]
        out.append(f"{t[:8]}-{t[8:12]}-4{t[13:16]}-{_VARIANT[t[16]]}{t[17:20]}-{t[20:]}")
    return out


def varint(value: int) -> bytes:
    """A whole number as protobuf writes it."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


SIZES = [varint(size) for size in range(4096)]


class _Model:
    """One model, ready to score rows: a function for each arm, and what its answers have in common."""

    def __init__(self, plane: Plane, served: Served) -> None:
        self.served = served
        self._plane = plane
        self._message = wire.model_message(served)
        self.heads: dict[tuple[str, float, str, int], bytes] = {}
        self.scores: dict[str, Score] = {arm: self._score_of(arm) for arm in plane.spec.arms}

    def _score_of(self, arm: str) -> Score:
        arms = self.served.arms
        model = getattr(arms, "models", {}).get(arm)
        inner = getattr(model, "inner", None)
        plain = inner.plain_arrays() if isinstance(inner, Linear) else None
        if plain is None:
            spec_hash = self._plane.spec_hash

            def score(row: Row) -> Any:
                block = Block(
                    spec_hash, _NO_ID, _ZERO, _ZERO_32, _ZERO, row.numeric, row.categories, _NO_TOKENS, _ZERO
                )  # fmt: skip
                return arms.score(arm, block)[0].tolist()

            return score
        arrays, loss = plain
        view = arms.views[arm]
        numeric = np.array(range(len(view.layout.numeric)) if view.numeric is None else view.numeric, np.int64)
        held = np.array(range(len(view.layout.categories)) if view.categories is None else view.categories, np.int64)
        parts = arrays.stats, arrays.weights, arrays.keys, arrays.table, arrays.scalars

        def score_plain(row: Row) -> Any:
            return score_row(row.numeric, row.categories, numeric, held, *parts, loss)

        return score_plain

    def head(self, arm: str, propensity: float, how: str, seq: int) -> bytes:
        """The part of an answer that all with these have in common."""
        key = (arm, propensity, how, seq)
        found = self.heads.get(key)
        if found is None:
            if len(self.heads) > 1000:
                self.heads.clear()
            experiment = self._plane.spec.experiment.name if how == EXPERIMENT else ""
            answer = Answer(
                "", "", 0, "", arm, how == ASKED, propensity, 0.0, (), "", self.served, 0, experiment,
                self._plane.spec_hash, how, seq,
            )  # fmt: skip
            found = self.heads[key] = wire.answer_message(answer, self._message).SerializeToString()
        return found


_NO_ID = [""]
_NOWHERE, _NOWHERE_32 = np.full(1, -1), np.full(1, -1, np.int32)
_ZERO, _ZERO_32, _NO_TOKENS = np.zeros(1, np.int64), np.zeros(1, np.int32), np.zeros(0, np.uint64)


class _Room(threading.local):
    row: Row | None = None


class QuickPlane:
    """Answers single requests for one plane; safe to share between threads."""

    def __init__(self, plane: Plane) -> None:
        spec = plane.spec
        self._plane, self._classes = plane, spec.classes
        self._shadowed = any(arm.shadow for arm in spec.arms.values())
        self._tables = tables_of(spec, event_schema(spec))
        self._arms = tuple(spec.arms)
        self._prompt = frozenset(name for name, arm in spec.arms.items() if arm.model.startswith(_PROMPT))
        self._room = _Room()
        self._ids: list[str] = []
        self._model: _Model | None = None
        self._next: _Model | None = None
        self._last: _Model | None = None
        if self._tables is not None:  # no caller waits for a compiler, nor for what a model's answers have in common
            read_row(b"", self._tables, row_of(self._tables, spec), 0)
            warm()
            plane.before_swap(self._ready)
            if plane.served is not None:
                self._ready(plane.served)

    @property
    def able(self) -> bool:
        """Whether it answers anything at all."""
        return self._tables is not None

    def _ready(self, served: Served) -> None:
        """Make all that the answers of a new model have in common, as those of the one before had: no caller waits."""
        made, seq = _Model(self._plane, served), self._plane.assignment.seq
        for key in list(self._model.heads if self._model else ()):
            if key[-1] == seq:
                made.head(*key)
        self._last = self._model  # its memory is given back by this thread, at the next swap, not by a caller's
        self._next = made

    def answer(self, body: bytes, now_ms: int, at_once: bool = False) -> Quick | None:
        """The answer to a serialised PredictRequest; None where the row form is to answer.

        at_once: others wait meanwhile, so None too where the arm takes longer than `_PROMPT` do.
        """
        served, tables = self._plane.served, self._tables
        if served is None or tables is None or len(body) > BYTES_MAX or (at_once and not self._prompt):
            return None
        row = self._room.row
        if row is None:
            row = self._room.row = row_of(tables, self._plane.spec)
        if read_row(body, tables, row, now_ms):
            return None
        model = self._model
        if model is None or model.served is not served:
            model = self._next
            if model is None or model.served is not served:
                model = _Model(self._plane, served)
            self._model = model
        begin, end, unit_begin, unit_end, asked, time_ms, stale_max_ms = row.found.tolist()
        staleness_ms = now_ms - served.as_of_ms
        if 0 <= stale_max_ms < staleness_ms:
            return None
        made = self._id()
        event_id = self._id() if end < 0 else _text(body, row, begin, end)
        unit = event_id if unit_end < 0 else _text(body, row, unit_begin, unit_end)
        assignment = self._plane.assignment
        seq = assignment.seq
        arm, propensity, how = (self._arms[asked], 1.0, ASKED) if asked >= 0 else assignment.given(unit)
        if at_once and arm not in self._prompt:
            return None
        scores: tuple[float, ...] = ()
        score = model.scores[arm](row)
        if isinstance(score, list):
            scores, score = tuple(score), max(score)
        if not math.isfinite(score):
            return None
        prediction_id = f"{made}/{event_id}"
        named, own, whose = prediction_id.encode(), event_id.encode(), unit.encode()
        answer = b"".join((
            b"\x0a", SIZES[len(named)], named, b"\x12", SIZES[len(own)], own, b"\x62", SIZES[len(whose)], whose,
            b"\x48", varint(staleness_ms), _SCORE.pack(_SCORE_TAG, score),
            self._of_classes(scores, score) if scores else b"", model.head(arm, propensity, how, seq),
        ))  # fmt: skip
        return Quick(
            answer, prediction_id, event_id, time_ms, unit, arm, asked >= 0, propensity, score, scores, served,
            staleness_ms, how, seq, self._plane,
            self._shadows(row, event_id, time_ms, served) if self._shadowed else NO_SHADOWS,
        )  # fmt: skip

    def _shadows(self, row: Row, event_id: str, time_ms: int, served: Served) -> Shadows:
        """What shadow arms say, once the log asks; of a copy, since the row's room is used again."""
        block = Block(
            self._plane.spec_hash, [event_id], np.array([time_ms]), _NOWHERE_32, _NOWHERE, row.numeric.copy(),
            row.categories.copy(), _NO_TOKENS, _ZERO,
        )  # fmt: skip
        return self._plane.shadows(block, served)

    def _of_classes(self, scores: tuple[float, ...], score: float) -> bytes:
        message = pb.PredictResponse(scores=scores, label=self._classes[scores.index(score)])
        return bytes(message.SerializeToString())

    def _id(self) -> str:
        try:
            return self._ids.pop()
        except IndexError:
            self._ids = new_ids(_IDS_AHEAD)
            return self._ids.pop()


def _text(body: bytes, row: Row, begin: int, end: int) -> str:
    """A span of the request, or of what was made of it."""
    if end <= len(body):
        return body[begin:end].decode()
    return row.text[begin:end].tobytes().decode()


def answer_of(quick: Quick) -> Answer:
    """The answer as the log takes it."""
    plane = quick.plane
    label = plane.spec.classes[quick.scores.index(quick.score)] if quick.scores else ""
    experiment = plane.spec.experiment.name if quick.how == EXPERIMENT else ""
    return Answer(
        quick.prediction_id, quick.event_id, quick.time_ms, quick.unit, quick.arm, quick.asked, quick.propensity,
        quick.score, quick.scores, label, quick.model, quick.staleness_ms, experiment, plane.spec_hash, quick.how,
        quick.control_seq, quick.shadows,
    )  # fmt: skip
