"""clean: raw events → clean columns. What is refused goes to `dead`, whole, with the reason.

Counts per events partition live in the commit's metadata, so they are exact over any crash:
in = clean + the sum of dead.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

from fastavro import schemaless_writer

import schemas
from consumers._kafka import Out
from consumers._registry import SchemaRegistry
from consumers.settings import Settings
from stream.arrive.framing import Decoder, frame_single_object
from stream.arrive.node import some_value
from stream.arrive.records import Record, Records, records_of
from stream.arrive.reject import Reject
from stream.arrive.schema import EventSchema
from stream.arrive.writers import WriterSchemas
from stream.block import Columns
from stream.clean.cleaner import ID_CHARS_MAX, Cleaned, Cleaner, Position
from stream.clock import SystemClock
from stream.intake.intake import Intake
from stream.spec import Spec
from stream.spec_load import event_schema


def find_writer(spec: Spec, settings: Settings) -> Any:
    """Who knows writers' schemas: the spec's files by fingerprint, the registry (if any) by id."""
    places = [spec.schema_path] + ([spec.folder / spec.event.writers] if spec.event.writers else [])
    files = WriterSchemas(places, SystemClock().monotonic_s)
    registry = SchemaRegistry(settings.registry, timeout_s=5.0) if settings.registry else None

    def find(key: bytes | int) -> EventSchema | None:
        if isinstance(key, int):
            return registry.schema_by_id(key) if registry else None
        return files(key)

    return find


@dataclass(slots=True)
class CleanCounts:
    """Of one events partition, since the beginning."""

    read: int = 0
    clean: int = 0
    dead: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, Any]:
        """For the commit's metadata."""
        return {"in": self.read, "clean": self.clean, "dead": dict(self.dead)}

    @classmethod
    def of(cls, given: dict[str, Any]) -> "CleanCounts":
        """The inverse of `to_json`; {} is a fresh start."""
        return cls(given.get("in", 0), given.get("clean", 0), Counter(given.get("dead", {})))


class CleanStep:
    """Cleans the records of one poll."""

    def __init__(self, spec: Spec, settings: Settings) -> None:
        self._spec = spec
        discreet = bool(spec.event.private)
        self._decoder = Decoder(event_schema(spec), find_writer(spec, settings), discreet=discreet)
        self._cleaner = Cleaner(spec)
        self._intake = Intake(spec, self._decoder)
        self.counts: dict[int, CleanCounts] = {}

    def warm(self) -> None:
        """Compile, or load from numba's cache, what `columns` runs, before the first real poll comes."""
        schema = self._decoder.reader
        out = BytesIO()
        schemaless_writer(out, schema.decoding, some_value(schema.root))
        value = frame_single_object(schema, out.getvalue())
        self.columns(0, records_of("", 0, [Record("", 0, 0, 0, None, value)]), replay=True)

    def clean(self, partition: int, records: Sequence[Any], replay: bool) -> tuple[Cleaned, list[Out]]:
        """Records of one events partition → what passed, and the dead letters. A replay counts and tells nothing."""
        events: list[dict[str, Any]] = []
        where: list[Position] = []
        kept: list[Any] = []
        dead: list[Out] = []
        counts = CleanCounts() if replay else self.counts.setdefault(partition, CleanCounts())
        decode = self._decoder.decode
        for r in records:
            event = decode(r.value)
            if isinstance(event, Reject):
                dead.append(dead_letter(self._spec, r, "clean", event.code, event.detail))
                counts.dead[event.code] += 1
            else:
                events.append(event)
                where.append(Position(partition, r.offset, r.timestamp))
                kept.append(r)
        cleaned = self._cleaner.clean(events, where)
        for row, (code, detail) in cleaned.rejects.items():
            dead.append(dead_letter(self._spec, kept[row], "clean", code, detail, self._id_of(events[row])))
            counts.dead[code] += 1
        counts.read += len(records)
        counts.clean += len(cleaned.columns)
        return cleaned, [] if replay else dead

    def columns(self, partition: int, records: Records, replay: bool) -> tuple[list[Columns], list[Out]]:
        """As `clean`, for those who need no texts: columns in one piece or a few, each in the order of the records.

        Categories are ids already where a compiled decoder and the rules for columns could be used.
        """
        runs, rest = self._intake.read(records)
        pieces, dead = [run.columns for run in runs], []
        counts = CleanCounts() if replay else self.counts.setdefault(partition, CleanCounts())
        for run in runs:
            for row, (code, detail) in run.rejects.items():
                record = records[row]
                event_id = self._id_of(self._decoder.decode(record.value))
                dead.append(dead_letter(self._spec, record, "clean", code, detail, event_id))
                counts.dead[code] += 1
            counts.read += len(run.columns) + len(run.rejects)
            counts.clean += len(run.columns)
        if len(rest):
            cleaned, others = self.clean(partition, [records[row] for row in rest.tolist()], replay)
            pieces.append(cleaned.columns)
            dead += others
        return [p for p in pieces if len(p)], [] if replay else dead

    def _id_of(self, event: dict[str, Any] | Reject) -> str:
        """The id of a refused event, where it has a fit one."""
        given = None if isinstance(event, Reject) else event.get(self._spec.event.id)
        text = "" if given is None else str(given)
        return text if len(text) <= ID_CHARS_MAX else ""


def dead_letter(spec: Spec, record: Any, step: str, code: str, detail: str, event_id: str = "") -> Out:
    """The record of the dead topic for a consumed record; event_id: of the event that it is about, where known."""
    value = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp,
        "key": record.key,
        "value": record.value or b"",
        "step": step,
        "code": code,
        "detail": detail,
        "spec_hash": spec.hash,
        "event_id": event_id,
    }
    return Out(spec.topic("dead"), schemas.codec("dead").encode(value), record.key)
