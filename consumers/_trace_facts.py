"""What the topics hold about one event: the records that name it, and the few others that tell when a model knew it.

Only facts are collected here, each with its place and Kafka's time; `_trace_way` makes a way of them. Decoded values
stay behind but for those that say what happened: nothing of an event's own fields is taken.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

import numpy as np
from kafka import TopicPartition

import schemas
from consumers._read import decoder_for
from consumers._trace_scan import Scan, rows_with
from stream.arrive.columns import ColumnDecoder
from stream.arrive.records import Record, Records
from stream.arrive.schema import load_schema
from stream.block import I64, decode_features, decode_training
from stream.join.labels import decode_label
from stream.spec import Spec

SUFFIXES = ("events", "clean", "features", "labels", "training", "dead", "models", "predictions")
_PREDICTION = schemas.codec("prediction")
_BLOCKS = b"block."  # begins the codes of letters about whole blocks


Known = Callable[[int], Record | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """A record about the event. at_ms: Kafka's time of it, or what `about` knows better."""

    topic: str
    partition: int
    offset: int
    at_ms: int
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def place(self) -> tuple[str, int, int]:
        """Topic, partition, offset."""
        return self.topic, self.partition, self.offset


@dataclass(slots=True)
class Facts:
    """All that was found about one event id."""

    event_id: str
    events: list[Seen] = field(default_factory=list)
    clean: list[Seen] = field(default_factory=list)
    features: list[Seen] = field(default_factory=list)
    labels: list[Seen] = field(default_factory=list)
    training: list[Seen] = field(default_factory=list)
    dead: list[Seen] = field(default_factory=list)
    predictions: list[Seen] = field(default_factory=list)
    learned: list[Seen] = field(default_factory=list)  # for each row of `training`: the first snapshot that has it
    answer: Seen | None = None  # the first answer of a model that has the first row

    @property
    def known(self) -> bool:
        """Whether any record is about this id."""
        return any((self.events, self.clean, self.features, self.labels, self.training, self.dead, self.predictions))


class Collector:
    """Reads one topic after the other; the order is that of SUFFIXES, since what was joined says what to look for."""

    def __init__(self, spec: Spec, find_writer: Any, id_is_text: bool) -> None:
        self._spec, self._id_is_text = spec, id_is_text
        self._event = decoder_for(spec, "events", find_writer)
        self._clean = decoder_for(spec, "clean")
        self._answers = _Answers()

    def collect(self, scan: Scan, facts: Facts, more: Mapping[str, Sequence[Record]], known: Known | None) -> Facts:
        """Fill the facts. more: by topic, records that are known already, and may be among what is scanned too; known:
        gives the first answer of a model that has learned up to a label, as far as it is known elsewhere."""
        needle = [facts.event_id.encode(errors="surrogatepass")]
        for suffix in ("events", "clean", "features", "labels", "training"):
            needles = [b""] if suffix == "events" and not self._id_is_text else needle
            take = getattr(self, f"_take_{suffix}")
            for r in _both(more.get(suffix, ()), scan.with_text(suffix, needles)):
                if r.value is not None:
                    take(r, facts)
        for r in _both(more.get("dead", ()), scan.with_text("dead", [*needle, _BLOCKS])):
            self._take_dead(r, facts)
        self._take_models(scan, facts)
        given = more.get("predictions", ())
        if known is not None and facts.training and (first := known(_first_label(facts))) is not None:
            facts.answer = answer_seen(first, _PREDICTION.decode(first.value or b""))
        for r in _both(given, self._looked_at(scan, facts, needle)):
            self._take_prediction(r, facts)
        return facts

    def _looked_at(self, scan: Scan, facts: Facts, needle: Sequence[bytes]) -> Iterator[Record]:
        for records in scan.records("predictions"):
            self._answers.look(records, facts)
            yield from (records[row] for row in rows_with(records, needle))

    def _take_events(self, r: Record, facts: Facts) -> None:
        event = self._event(r.value or b"")
        by_key = r.key == facts.event_id.encode(errors="surrogatepass")
        if event.keys() == {"rejected", "detail"}:
            if by_key:
                facts.events.append(_seen(r, bytes=len(r.value or b""), id_from="key"))
        elif str(event.get(self._spec.event.id)) == facts.event_id:
            facts.events.append(_seen(r, bytes=len(r.value or b""), event_time_ms=event.get(self._spec.event.time)))

    def _take_clean(self, r: Record, facts: Facts) -> None:
        try:
            row = self._clean(r.value or b"")
        except ValueError:
            return
        if row["id__"] == facts.event_id:
            facts.clean.append(_seen(r, source=[row["partition__"], row["offset__"]], changed=row["changed__"]))

    def _take_features(self, r: Record, facts: Facts) -> None:
        try:
            block = decode_features(r.value or b"")
        except ValueError:
            return
        for row in (i for i, name in enumerate(block.ids) if name == facts.event_id):
            source = [int(block.partition[row]), int(block.offset[row])]
            facts.features.append(_seen(r, row=row, rows=len(block), source=source))

    def _take_labels(self, r: Record, facts: Facts) -> None:
        try:
            event_id, value, time_ms = decode_label(r.value or b"")
        except ValueError:
            return
        if event_id == facts.event_id:
            facts.labels.append(_seen(r, value=value, time_ms=time_ms))

    def _take_training(self, r: Record, facts: Facts) -> None:
        try:
            rows = decode_training(r.value or b"")
        except ValueError:
            return
        for row in (i for i, name in enumerate(rows.block.ids) if name == facts.event_id):
            source = [int(rows.block.partition[row]), int(rows.block.offset[row])]
            again = rows.correction is not None and bool(rows.correction[row])
            about = {"label": float(rows.label[row]), "label_offset": int(rows.label_offset[row]), "correction": again}
            facts.training.append(_seen(r, row=row, rows=len(rows), source=source, **about))

    def _take_dead(self, r: Record, facts: Facts) -> None:
        try:
            letter = schemas.codec("dead").decode(r.value or b"")
        except ValueError:
            return
        place = letter["topic"], letter["partition"], letter["offset"]
        own = {s.place for s in (*facts.events, *facts.labels, *facts.training)}
        named = letter["event_id"] == facts.event_id
        if named or (place in own and not letter["event_id"]):
            about = {k: letter[k] for k in ("step", "code", "detail")}
            facts.dead.append(_seen(r, **about, refused=list(place)))

    def _take_models(self, scan: Scan, facts: Facts) -> None:
        """The first snapshot beyond each row. The topic is compacted: an earlier one may be gone."""
        decode = schemas.codec("model").decode
        waiting, earlier = list(facts.training), False
        for r in (r for records in scan.records("models") for r in records if r.value is not None):
            try:
                model = decode(r.value or b"")
            except ValueError:
                continue
            if model["pinned"]:
                continue
            for row in [w for w in waiting if model["training_offset"] > w.offset]:
                about = {n: model[n] for n in ("generation", "training_offset", "refused")}
                facts.learned.append(_seen(r, **about, surely_first=earlier))
                waiting.remove(row)
            earlier = True

    def _take_prediction(self, r: Record, facts: Facts) -> None:
        try:
            p = _PREDICTION.decode(r.value or b"")
        except ValueError:
            return
        if p["id"] == facts.event_id:
            facts.predictions.append(answer_seen(r, p))


def _first_label(facts: Facts) -> int:
    return min(int(row.about["label_offset"]) for row in facts.training)


def answer_seen(r: Record, p: Mapping[str, Any]) -> Seen:
    """An answer that was served; its time is the server's."""
    names = ("prediction_id", "arm", "score", "scores", "propensity", "assigned", "model_generation",
             "trained_label_offset", "staleness_ms", "latency_us", "shadows")  # fmt: skip
    return Seen(r.topic, r.partition, r.offset, p["served_ms"], {n: p[n] for n in names})


class _Answers:
    """Finds the first answer of a model that knows a label, by columns: each answer of a topic is looked at."""

    def __init__(self) -> None:
        schema = json.loads((resources.files("schemas") / "prediction.avsc").read_text())
        self._decoder = ColumnDecoder.of(load_schema(schema), ["served_ms", "trained_label_offset"])

    def look(self, records: Records, facts: Facts) -> None:
        """Replace the answer by an earlier one of these records, if there is one."""
        if not facts.training or self._decoder is None:
            return
        wanted = _first_label(facts)
        rows = _of_this_schema(records)
        start = records.value_start[rows] + len(_PREDICTION.prefix)
        found = self._decoder.decode(records.data, start, records.value_end[rows])
        served, through = (found.columns[n].values for n in ("served_ms", "trained_label_offset"))
        good = np.flatnonzero((found.error == 0) & (through >= wanted))
        for at in good[np.argsort(served[good], kind="stable")][:1].tolist():
            if facts.answer is None or int(served[at]) < facts.answer.at_ms:
                r = records[int(rows[at])]
                facts.answer = answer_seen(r, _PREDICTION.decode(r.value or b""))


def _of_this_schema(records: Records) -> I64:
    """The records that are written by today's schema of predictions."""
    head = np.frombuffer(_PREDICTION.prefix, np.uint8)
    rows = np.flatnonzero((records.value_start >= 0) & (records.value_end - records.value_start >= len(head)))
    begin = records.data[records.value_start[rows, None] + np.arange(len(head))]
    good: I64 = rows[(begin == head).all(axis=1)]
    return good


def _both(known: Sequence[Record], scanned: Iterator[Record]) -> Iterator[Record]:
    """Those that are known, then those that are scanned and were not known."""
    yield from known
    places = {(r.partition, r.offset) for r in known}
    yield from (r for r in scanned if (r.partition, r.offset) not in places)


def _seen(r: Any, **about: Any) -> Seen:
    return Seen(r.topic, r.partition, r.offset, r.timestamp, about)


def place_of(seen: Seen) -> tuple[TopicPartition, int]:
    """As Kafka's clients name it."""
    return TopicPartition(seen.topic, seen.partition), seen.offset
