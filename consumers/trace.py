"""trace: the way of one event, from publish to the documents in Elasticsearch, read from what is on Kafka.

Nothing carries a trace id through the pipeline: it follows from the event's id (stream/trace.py), and so the way can be
told afterwards, of any event whose records are still there. Invariant: only reads; groups and offsets stay as they are.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from kafka import TopicPartition

import schemas
from consumers._kafka import broker_errors, groups_offsets
from consumers._read import decoder_for
from consumers._trace_elastic import Elastic, Shipped
from consumers._trace_facts import SUFFIXES, Collector, Facts, Seen, place_of
from consumers._trace_scan import Scan, Told, one
from consumers._trace_way import Step, in_time, way_of
from consumers.clean import find_writer
from consumers.settings import Settings
from stream.arrive.records import Record
from stream.join.labels import decode_label
from stream.spec import Spec
from stream.spec_load import event_schema
from stream.trace import caller_of, is_trace_id, key_of_trace, trace_id

GROUPS = ("clean", "encode", "join", "evaluate")
HEADERS_MAX = 20  # records whose headers are looked at for a caller's trace
_UUID_CHARS = 36


@dataclass(frozen=True, slots=True)
class Way:
    """What became of an event. searched: topic → records read; fault: why Elasticsearch told nothing, if asked."""

    pipeline: str
    event_id: str
    trace_id: str
    steps: list[Step]
    documents: list[Shipped]
    searched: dict[str, int]
    fault: str = ""

    @property
    def found(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self.steps)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON."""
        return {
            "pipeline": self.pipeline,
            "event_id": self.event_id,
            "trace_id": self.trace_id,
            "found": self.found,
            "steps": [_step_json(step, delta) for step, delta in with_deltas(self.steps)],
            "documents": [{"index": d.index, "id": d.id, "ingested": d.ingested} for d in self.documents],
            "searched": self.searched,
            "elasticsearch_fault": self.fault or None,
        }


def with_deltas(steps: Sequence[Step]) -> Iterator[tuple[Step, int | None]]:
    """Each step with the milliseconds since the one before that has a time."""
    last: int | None = None
    for step in steps:
        yield step, None if last is None or step.at_ms is None else step.at_ms - last
        last = step.at_ms if step.at_ms is not None else last


def _step_json(step: Step, delta_ms: int | None) -> dict[str, Any]:
    place = None
    if step.seen is not None:
        place = {"topic": step.seen.topic, "partition": step.seen.partition, "offset": step.seen.offset}
    told = {"step": step.step, "state": step.state, "at_ms": step.at_ms, "delta_ms": delta_ms, "place": place}
    return {**told, "about": dict(step.about)}


def trace(spec: Spec, settings: Settings, given: str, since_ms: int | None, told: Told) -> Way:
    """The way of the event that an event's id, a prediction's or a trace id names. Raises BrokerError, TopicMissing."""
    elastic = Elastic.of(spec, settings)
    try:
        with broker_errors(settings), Scan(spec, settings, since_ms, told) as scan:
            return _Tracer(spec, settings, scan, elastic).trace(given)
    finally:
        elastic.close()


@dataclass
class _Tracer:
    spec: Spec
    settings: Settings
    scan: Scan
    elastic: Elastic
    searched: dict[str, int] = field(default_factory=dict)

    def trace(self, given: str) -> Way:
        """Try what the text can mean, the likeliest first; the last is that it is an event's id."""
        asked = given.lower() if is_trace_id(given.lower()) else ""
        shipped = self._shipped(asked, given)
        self.scan.bound(SUFFIXES, self.elastic.after)
        for event_id in self._meanings(given, asked, shipped):
            facts = self._facts(event_id)
            if facts.known:
                return self._way(facts)
        return Way(self.spec.name, given, trace_id(self.spec.name, given), [], [], self.searched, self.elastic.fault)

    def _shipped(self, asked: str, given: str) -> list[Shipped]:
        return self.elastic.about(asked, None) if asked else []

    def _meanings(self, given: str, asked: str, shipped: list[Shipped]) -> Iterator[str]:
        made, slash, inner = given.partition("/")
        if slash and inner and len(made) == _UUID_CHARS:  # '<uuid>/<event id>', as answers carry
            yield inner
        if asked:
            named = [d.event_id for d in shipped if d.event_id] or self._resolved(asked)
            yield from named[:1]
        yield given

    # -- a trace id → the event's id -------------------------------------------------------------------

    def _resolved(self, asked: str) -> list[str]:
        """By keys first, which are ids by our contract and need no decoding; then by what is in the records."""
        for suffix in ("predictions", "labels", "events"):
            for records in self.scan.records(suffix):
                data, spans = (
                    records.data.tobytes(),
                    zip(records.key_start.tolist(), records.key_end.tolist(), strict=True),
                )
                found = key_of_trace(self.spec.name, asked, (data[a:b] for a, b in spans if a >= 0))
                if found is not None:
                    return [found]
        by_value = [("labels", _label_id), ("predictions", _prediction_id), ("events", self._event_id())]
        for suffix, id_of in by_value:
            for records in self.scan.records(suffix):
                for r in records:
                    event_id = id_of(r)
                    if event_id and trace_id(self.spec.name, event_id) == asked:
                        return [event_id]
        return []

    def _event_id(self) -> Callable[[Record], str]:
        decode, name = decoder_for(self.spec, "events", find_writer(self.spec, self.settings)), self.spec.event.id

        def event_id(r: Record) -> str:
            given = decode(r.value or b"").get(name)
            return "" if given is None else str(given)

        return event_id

    # -- an event's id → what is known of it -----------------------------------------------------------

    def _facts(self, event_id: str) -> Facts:
        self.scan.again()
        known = self.elastic.about(trace_id(self.spec.name, event_id), event_id)
        more: dict[str, list[Record]] = {}
        for r in self._records(known):
            more.setdefault(r.topic.rpartition(".")[2], []).append(r)
        id_field = next(f for f in event_schema(self.spec).fields if f.name == self.spec.event.id)
        collector = Collector(self.spec, find_writer(self.spec, self.settings), id_field.type.bare.type == "string")
        first = self._first_answer if self.elastic.client is not None else None
        facts = collector.collect(self.scan, Facts(event_id), more, first)
        self.searched = dict(self.scan.searched)
        return facts

    def _records(self, shipped: Sequence[Shipped]) -> list[Record]:
        places = [(TopicPartition(d.topic, d.partition), d.offset) for d in shipped]
        return [Record(r.topic, r.partition, r.offset, r.timestamp, r.key, r.value)
                for _, r in one(self.settings, places)]  # fmt: skip

    def _first_answer(self, label_offset: int) -> Record | None:
        found = self.elastic.first_answer(label_offset)
        return next(iter(self._records([found])), None) if found is not None else None

    # -- what is known of it → its way -----------------------------------------------------------------

    def _way(self, facts: Facts) -> Way:
        facts.events, facts.labels = self._with_callers(facts.events), self._with_callers(facts.labels)
        groups = groups_offsets(self.settings, [f"{self.spec.name}.{g}" for g in GROUPS])
        own, trace = way_of(self.spec, facts, groups), trace_id(self.spec.name, facts.event_id)
        places = [s.place for s in (*facts.predictions, *facts.labels, *facts.dead)]
        found = {d.id: d for d in (*self.elastic.about(trace, facts.event_id), *self.elastic.of_places(places))}
        documents = list(found.values())
        steps = in_time([*own, *map(_shipped, documents)])
        return Way(self.spec.name, facts.event_id, trace, steps, documents, self.searched, self.elastic.fault)

    def _with_callers(self, given: list[Seen]) -> list[Seen]:
        """With the trace of whoever published, where a record's header `traceparent` says it."""
        out = list(given)
        for number, record in one(self.settings, [place_of(seen) for seen in given[:HEADERS_MAX]]):
            headers = dict(getattr(record, "headers", None) or ())
            value = headers.get("traceparent")
            caller = caller_of(value.decode("ascii", "replace")) if isinstance(value, bytes) else None
            if caller is not None:
                seen = out[number]
                out[number] = replace(seen, about={**seen.about, "caller_trace_id": caller[0]})
        return out


def _shipped(document: Shipped) -> Step:
    at_ms = None
    if document.ingested:
        at_ms = round(datetime.fromisoformat(document.ingested).timestamp() * 1000)
    place = f"{document.topic.rpartition('.')[2]} {document.partition}:{document.offset}"
    return Step("ship", f"document of {place}", at_ms, about={"index": document.index, "id": document.id})


def _label_id(r: Record) -> str:
    try:
        return decode_label(r.value or b"")[0]
    except ValueError:
        return ""


def _prediction_id(r: Record) -> str:
    try:
        return str(schemas.codec("prediction").decode(r.value or b"")["id"])
    except ValueError:
        return ""
