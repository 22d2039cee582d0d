"""Columns of events → columns of answers: read, cleaned, encoded and scored as one block.

A Python object a row costs many times what scoring it does. The rules are `cleaner.RULES`, the encoder is the
stream's own; text rules run once a distinct value, which holds for every row that has it. Invariant: every row gets
what the row form gives it. Rows that any check here doubts go through the row form itself, the one authority on what
is wrong with them.
"""

import os
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from stream.arrive.node import Field
from stream.block import I64, Block, Columns, take
from stream.clean.cleaner import ID_CHARS_MAX, RULES
from stream.clean.rules import Findings, Rule
from stream.encode.encoder import Encoder
from stream.encode.ids import Ids
from stream.limits import STRING_CHARS_MAX, TIME_AHEAD_MS_MAX
from stream.predict.answers import REFUSED, Answers, Batch
from stream.predict.given import Mask, Read, absent, read
from stream.predict.plane import Answer, Plane, Request
from stream.predict.refuse import InvalidRequest
from stream.predict.served import Served
from stream.predict.steer import ASKED, HOW, Assigner
from stream.spec import FieldSpec
from stream.spec_load import event_schema

_NOWHERE = -1  # partition and offset of an event that no topic holds


class Columnar:
    """Answers batches with the model, the assignment and the encoder of one plane."""

    def __init__(self, plane: Plane) -> None:
        spec, schema = plane.spec, event_schema(plane.spec)
        self._plane, self._encoder = plane, Encoder(spec)
        self._arms = tuple(spec.arms)
        self._classes = len(spec.classes)
        self._schema: dict[str, Field] = {f.name: f for f in schema.fields}
        self._id, self._time, self._unit = spec.event.id, spec.event.time, spec.experiment.unit
        self._cleaned = [(n, f, RULES[f.type]) for n, f in spec.event.fields.items() if f.type != "ignore"]
        self._used = {n for n, _, _ in self._cleaned} | ({self._unit} if self._unit else set())
        self._ids = {n: Ids(n) for n, f, _ in self._cleaned if f.type == "category"}
        self._id_type = self._schema[self._id].type.bare.type

    def answer(self, batch: Batch, now_ms: int) -> Answers:
        """Answers and refusals, row for row, all of one model. Raises Refused for what is wrong with the whole."""
        served = self._plane.ready(batch.rows)
        self._plane.check(Request(arm=batch.arm, max_staleness_ms=batch.max_staleness_ms), now_ms, served)
        reads = self._reads(batch)
        bad = np.logical_or.reduce([np.zeros(batch.rows, bool), *(r.bad for r in reads.values())])
        batch_id = str(uuid4())
        ids = self._event_ids(batch, reads, batch_id, bad)
        times = self._times(reads, now_ms, bad)
        self._complete(reads, ids, times, bad)
        values, texts = self._clean(reads, bad)
        units = self._units(batch, reads, texts, ids, bad)
        nowhere = np.full(batch.rows, _NOWHERE)
        block = self._encoder.encode(Columns(ids, times, nowhere.astype(np.int32), nowhere, values))
        assignment = self._plane.assignment
        out = Answers(
            batch_id, ids, times, units, self._arms,
            np.full(batch.rows, REFUSED), np.zeros(batch.rows), np.zeros(batch.rows),
            np.zeros((batch.rows, self._classes)), {}, served, now_ms - served.as_of_ms, bool(batch.arm),
            "" if batch.arm or batch.unlogged else self._plane.spec.experiment.name, self._plane.spec_hash,
            np.zeros(batch.rows, np.int64), assignment.seq, self._plane.shadows(block, served),
        )  # fmt: skip
        self._assign(batch, units, bad, assignment, out)
        self._score(block, served, bad, out)
        self._one_by_one(batch, np.flatnonzero(bad).tolist(), now_ms, assignment, out)
        return out

    # -- reading ---------------------------------------------------------------------------------------

    def _reads(self, batch: Batch) -> dict[str, Read]:
        """Every field that is given or used."""
        for name, given in (("event_ids", batch.event_ids), ("units", batch.units)):
            if len(given) not in (0, batch.rows):
                detail = f"{name}: found {len(given)}; none, or one for each of the {batch.rows} rows is wanted"
                raise InvalidRequest("request.wrong", detail)
        for name in batch.fields:
            if name not in self._schema:
                raise self._plane.events.unknown(name)
        out = {name: read(self._schema[name], column, batch.rows) for name, column in batch.fields.items()}
        own = {self._id, self._time}
        return out | {n: absent(self._schema[n], batch.rows) for n in self._used - out.keys() - own}

    def _event_ids(self, batch: Batch, reads: dict[str, Read], batch_id: str, bad: Mask) -> list[str]:
        """The id of each row: its own, or the one given beside it, or a new one."""
        inside = reads.get(self._id)
        if self._id_type == "enum":
            bad[:] = True  # rare, and full of its own rules
            return [""] * batch.rows
        given = list(batch.event_ids) or [""] * batch.rows
        if self._id_type != "string" and batch.event_ids:
            bad |= np.array([text != "" for text in given], bool)  # how a number must be written is for the row form
        if inside is not None:
            own = _texts_of(inside)
            pairs = list(zip(given, own, strict=True))
            bad |= np.array([o == "" or (o is not None and g not in ("", o)) for g, o in pairs], bool)
            given = [g if o is None else o for g, o in pairs]
        if "" in given:
            given = self._made(given, batch_id)
        size = np.fromiter(map(len, given), np.int64, batch.rows)
        bad |= (size == 0) | (size > ID_CHARS_MAX)
        return given

    def _made(self, ids: list[str], batch_id: str) -> list[str]:
        """New ids where there is none; those of text are the batch's own with a number."""
        if self._id_type == "string":
            return [text or f"{batch_id}-{row}" for row, text in enumerate(ids)]
        numbers = np.frombuffer(os.urandom(8 * len(ids)), np.uint64) >> np.uint64(1 if self._id_type == "long" else 33)
        return [text or str(number) for text, number in zip(ids, numbers.tolist(), strict=True)]

    def _times(self, reads: dict[str, Read], now_ms: int, bad: Mask) -> I64:
        given = reads.get(self._time)
        if given is None:
            return np.full(len(bad), now_ms)
        times = np.where(given.missing, now_ms, given.values).astype(np.int64)
        bad |= (times < 0) | (times > now_ms + TIME_AHEAD_MS_MAX)
        return times

    def _complete(self, reads: dict[str, Read], ids: list[str], times: I64, bad: Mask) -> None:
        """Put id and time in place, as the row form has them once the event is complete."""
        none = np.zeros(len(ids), bool)
        reads[self._time] = Read(times, none, none)
        if self._id_type in ("string", "enum"):
            reads[self._id] = Read(np.arange(len(ids)), none, none, ids)
        else:
            numbers = [0 if wrong else int(i) for i, wrong in zip(ids, bad.tolist(), strict=True)]
            reads[self._id] = Read(np.array(numbers, np.int64), none, none)

    # -- cleaning --------------------------------------------------------------------------------------

    def _clean(self, reads: dict[str, Read], bad: Mask) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
        """Columns for the encoder, and the cleaned texts of categories and texts."""
        found, values, texts = Findings(), dict[str, NDArray[Any]](), dict[str, NDArray[Any]]()
        for name, spec, rules in self._cleaned:
            column = reads[name]
            if spec.type not in ("category", "text"):
                numbers = column.numbers()
                bad |= np.isnan(numbers) & ~column.missing
                for rule in rules:
                    numbers = rule(name, spec, numbers, found)
                values[name] = numbers
                continue
            distinct, place = column.distinct()
            cleaned, refused = _judged(name, spec, rules, distinct)
            bad |= refused[place]
            texts[name] = cleaned[place]
            values[name] = self._ids[name].column(cleaned)[place] if spec.type == "category" else texts[name]
        bad[list(found.rejects)] = True
        return values, texts

    def _units(
        self, batch: Batch, reads: dict[str, Read], texts: dict[str, NDArray[Any]], ids: list[str], bad: Mask
    ) -> list[str]:
        """As Plane._unit_of: what was given, else the spec's field (as cleaned, if it is text), else the event's id."""
        units: Sequence[Any] = ids
        if self._unit is not None:
            cleaned = texts.get(self._unit)
            raw = _texts_of(reads[self._unit]) if cleaned is None else cleaned.tolist()
            units = [event_id if unit is None else unit for unit, event_id in zip(raw, ids, strict=True)]
        if batch.units:
            units = [given or own for given, own in zip(batch.units, units, strict=True)]
        bad |= np.fromiter(map(len, units), np.int64, len(ids)) > STRING_CHARS_MAX
        return list(units)

    # -- scoring ---------------------------------------------------------------------------------------

    def _assign(self, batch: Batch, units: list[str], bad: Mask, assignment: Assigner, out: Answers) -> None:
        good = np.flatnonzero(~bad)
        if batch.arm:
            out.arm[good], out.propensity[good], out.how[:] = self._arms.index(batch.arm), 1.0, HOW.index(ASKED)
            return
        whole = len(good) == batch.rows
        found = assignment.many(units if whole else [units[row] for row in good.tolist()])
        out.arm[good], out.propensity[good], out.how[good] = found

    def _score(self, block: Block, served: Served, bad: Mask, out: Answers) -> None:
        """Arm by arm; a score that is no number is doubtful."""
        for number, arm in enumerate(self._arms):
            rows = np.flatnonzero(out.arm == number)
            if not len(rows):
                continue
            found = served.arms.score(arm, block if len(rows) == len(block) else take(block, rows))
            if found.ndim == 2:
                out.scores[rows], found = found, found.max(axis=1)
            out.score[rows] = found
            bad[rows[~np.isfinite(found)]] = True

    def _one_by_one(self, batch: Batch, rows: list[int], now_ms: int, assignment: Assigner, out: Answers) -> None:
        """The doubtful rows, by the row form, with the same model and assignment."""
        found = self._plane.predict_batch([_request(batch, row) for row in rows], now_ms, out.model, assignment)
        for row, each in zip(rows, found, strict=True):
            out.arm[row], out.propensity[row], out.score[row], out.scores[row] = REFUSED, 0.0, 0.0, 0.0
            if isinstance(each, Answer):
                out.event_ids[row], out.time_ms[row], out.units[row] = each.event_id, each.event_time_ms, each.unit
                out.arm[row], out.propensity[row] = self._arms.index(each.arm), each.propensity
                out.score[row], out.how[row] = each.score, HOW.index(each.assigned)
                out.scores[row] = each.scores or 0.0
            else:
                out.refused[row] = each


def _judged(name: str, spec: FieldSpec, rules: Sequence[Rule], distinct: list[Any]) -> tuple[NDArray[Any], Mask]:
    """What the text rules make of each distinct value, and which they refuse; the last is that of a missing value."""
    column, found = np.empty(len(distinct) + 1, object), Findings()
    column[:-1] = distinct
    for rule in rules:
        column = rule(name, spec, column, found)
    refused = np.zeros(len(column), bool)
    refused[list(found.rejects)] = True
    return column, refused


def _texts_of(column: Read) -> list[str | None]:
    """Each value as text, as str() gives it; None where missing."""
    if column.values.dtype == np.float64:  # 0.0 and -0.0 are equal, their texts are not
        pairs = zip(column.values.tolist(), column.missing.tolist(), strict=True)
        return [None if missing else str(value) for value, missing in pairs]
    distinct, place = column.distinct()
    texts = np.array([*map(str, distinct), None], object)
    return list(texts[place].tolist())


def _request(batch: Batch, row: int) -> Request:
    return Request(
        {name: column.at(row) for name, column in batch.fields.items()},
        batch.event_ids[row] if batch.event_ids else "",
        batch.units[row] if batch.units else "",
        batch.arm,
        batch.max_staleness_ms,
    )
