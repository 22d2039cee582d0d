"""From the bytes of a Kafka record to one decoded event, or the reason why not.

What: the two framings (Avro's single-object encoding: C3 01 + 8 bytes of fingerprint; Confluent's: 00 + 4
bytes of registry id, big-endian), and `Decoder`, which finds the writer's schema and resolves to ours.
Why: this is the hot path and the wall: what a stranger may send is met here.
Invariant: `Decoder.decode` gives a whole record of the reader's schema or a Reject, never an exception that
the event caused; each byte of the value was used; work and memory are bounded by the value's length.

fastavro is not trusted with skipping: where the writer has a field that the reader lacks, it steps over the
bytes without looking for their end: a cut value passes, and an array that claims 2^62 doubles never ends.
So a record is always read whole by the writer's schema first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Literal, NamedTuple

from fastavro import schemaless_reader

from stream.arrive.evolve import misread
from stream.arrive.node import Field
from stream.arrive.reject import Reject
from stream.arrive.schema import FINGERPRINT_BYTES, EventSchema
from stream.errors import SchemaError
from stream.limits import EVENT_BYTES_MAX

SINGLE_OBJECT_MARK = b"\xc3\x01"
CONFLUENT_MAGIC = b"\x00"
SINGLE_OBJECT_HEAD_BYTES = len(SINGLE_OBJECT_MARK) + FINGERPRINT_BYTES
CONFLUENT_HEAD_BYTES = 5
MEMORY_BYTES_MAX = 64 << 20
"""Most memory that one value may decode into; schemas of many tiny items lower the size limit to hold it."""
WRITERS_MAX = 1024
"""Most writers' schemas that a Decoder remembers; past it the oldest is looked up again."""

_ADDRESS = re.compile(r" from <_io\.BytesIO object at 0x[0-9a-f]+>")
Framing = Literal["single_object", "confluent"]
_read: Callable[..., Any] = schemaless_reader


@dataclass(frozen=True, slots=True)
class Framed:
    """A value taken apart: `key` is the fingerprint (bytes) or registry id (int); `payload` is no copy."""

    kind: Framing
    key: bytes | int
    payload: memoryview


def frame_single_object(schema: EventSchema, payload: bytes) -> bytes:
    """The payload in Avro's single-object encoding, named by the fingerprint of the schema that wrote it."""
    return SINGLE_OBJECT_MARK + schema.fingerprint + payload


def frame_confluent(schema_id: int, payload: bytes) -> bytes:
    """The payload in Confluent's framing, named by the registry's id: 0 to 2^32 - 1, else OverflowError."""
    return CONFLUENT_MAGIC + schema_id.to_bytes(4, "big") + payload


def unframe(value: bytes) -> Framed | Reject:
    """Take a value apart, without looking at the payload."""
    if not value:
        return Reject("value.empty", "a value of 0 bytes, at least 5 needed")
    if value[:2] == SINGLE_OBJECT_MARK and len(value) >= SINGLE_OBJECT_HEAD_BYTES:
        view = memoryview(value)[SINGLE_OBJECT_HEAD_BYTES:]
        return Framed("single_object", value[2:SINGLE_OBJECT_HEAD_BYTES], view)
    if value[:1] == CONFLUENT_MAGIC and len(value) >= CONFLUENT_HEAD_BYTES:
        view = memoryview(value)[CONFLUENT_HEAD_BYTES:]
        return Framed("confluent", int.from_bytes(value[1:CONFLUENT_HEAD_BYTES], "big"), view)
    return Reject(
        "framing.unknown",
        f"{len(value)} bytes starting {value[:10].hex(' ')}; allowed: c3 01 + 8 bytes of fingerprint, "
        "or 00 + 4 bytes of registry id",
    )


def shown_key(key: bytes | int) -> str:
    """A writer's key for people: the fingerprint in hex, in the order of the bytes, or the registry id."""
    return f"registry id {key}" if isinstance(key, int) else f"fingerprint {key.hex()}"


_Moves = tuple[tuple[tuple[str, str], ...], dict[str, Any]]


class Plan(NamedTuple):
    """How to read what one writer writes. `head` bytes are the framing's.

    With a `reader`, fastavro resolves; else with `pairs` (reader's name, writer's name) fields move, and `defaults` are
    the reader's other fields; else the record is the reader's as it is. size_max: bytes of a value, head included.
    """

    head: int
    size_max: int
    schema: EventSchema
    writer: dict[str, Any]
    reader: dict[str, Any] | None
    pairs: tuple[tuple[str, str], ...] | None
    defaults: dict[str, Any]


class Decoder:
    """Decode values into records of `reader`, whichever known schema wrote them.

    `find_writer` gets a fingerprint (8 bytes) or a registry id (int) and gives the schema or None; it may
    raise what stops the step (a BrokerError), or SchemaError for one that is known but refused. Schemas are
    kept, refusals and unknowns are not. `size_max` is in bytes, head included. A timestamp decodes to an int.
    discreet: refusals say what kind of fault it is, and cite nothing of the bytes.
    """

    def __init__(
        self,
        reader: EventSchema,
        find_writer: Callable[[bytes | int], EventSchema | None],
        size_max: int = EVENT_BYTES_MAX,
        discreet: bool = False,
    ) -> None:
        self.reader = reader
        self._discreet = discreet
        self._find_writer = find_writer
        self._size_max = size_max
        self._plans: dict[bytes, Plan] = {}

    def decode(self, value: bytes | None) -> dict[str, Any] | Reject:
        """One value → one record with all fields of the reader's schema, or a Reject."""
        if not value:
            return Reject("value.empty", "a value of 0 bytes (a tombstone), at least 5 needed")
        plan = self.plan(value)
        if isinstance(plan, Reject):
            return plan
        size = len(value)
        if size > plan.size_max:
            return Reject("value.too_large", f"a value of {size} bytes, at most {plan.size_max} allowed")
        source = BytesIO(value)  # shares the bytes, no copy
        source.seek(plan.head)
        try:
            record: dict[str, Any] = _read(source, plan.writer, None)
            if source.tell() != size:
                return _trailing(source.tell(), size)
            if plan.pairs is not None:
                return {mine: record[its] for mine, its in plan.pairs} | plan.defaults
            if plan.reader is not None:
                source.seek(plan.head)
                record = _read(source, plan.writer, plan.reader)
        except MemoryError:
            raise
        except Exception as error:  # whatever fastavro meets in the bytes is the event's fault
            return _undecodable(error, source, size, self._discreet)
        return record

    def plan(self, value: bytes) -> Plan | Reject:
        """How a value is read, by the schema that it names; the payload isn't looked at."""
        plans = self._plans
        known = plans.get(value[:SINGLE_OBJECT_HEAD_BYTES]) or plans.get(value[:CONFLUENT_HEAD_BYTES])
        return known or self._find_plan(value)

    def _find_plan(self, value: bytes) -> Plan | Reject:
        """The slow path: the first value of a writer, or one to reject."""
        if len(value) > self._size_max:
            return Reject("value.too_large", f"a value of {len(value)} bytes, at most {self._size_max} allowed")
        framed = unframe(value)
        if isinstance(framed, Reject):
            return Reject(framed.code, f"{len(value)} bytes of no known framing") if self._discreet else framed
        try:
            writer = self._find_writer(framed.key)
        except SchemaError as error:
            return Reject("schema.refused", f"{shown_key(framed.key)}: {error}")
        if writer is None:
            return Reject("schema.unknown", f"no schema is known here under {shown_key(framed.key)}")
        problems = misread(writer, self.reader)
        if problems:
            return Reject("schema.refused", f"{shown_key(framed.key)}: {'; '.join(problems)}")
        head = len(value) - len(framed.payload)
        if len(self._plans) >= WRITERS_MAX:
            del self._plans[next(iter(self._plans))]
        plan = self._plans[value[:head]] = _plan(writer, self.reader, head, self._size_max)
        return plan


def _trailing(used: int, size: int) -> Reject:
    return Reject("avro.trailing", f"{size - used} bytes left over after a record that ends at byte {used} of {size}")


def _undecodable(error: Exception, source: BytesIO, size: int, discreet: bool) -> Reject:
    place = f"at byte {source.tell()} of {size}"
    if discreet:
        return Reject("avro.undecodable", f"{type(error).__name__} {place}")
    said = _ADDRESS.sub("", str(error))[:500]  # equal bytes are to have equal words
    return Reject("avro.undecodable", f"{type(error).__name__} {place}: {said or 'the value ends too early'}")


def _plan(writer: EventSchema, reader: EventSchema, head: int, size_max: int) -> Plan:
    """Choose how to resolve: not at all, by moving whole fields, or by fastavro in a second pass.

    A second pass costs twice the first and more, so it's kept for what needs it: a field whose type changed.
    """
    limit = min(size_max, head + writer.size_max(MEMORY_BYTES_MAX))
    if writer.canonical == reader.canonical:
        return Plan(head, limit, writer, writer.decoding, None, None, {})
    moves = _moves(writer, reader)
    if moves is None:
        return Plan(head, limit, writer, writer.decoding, reader.decoding, None, {})
    return Plan(head, limit, writer, writer.decoding, None, *moves)


def _moves(writer: EventSchema, reader: EventSchema) -> _Moves | None:
    """Pairs (reader's name, writer's name) of fields of equal type, and the defaults of the other fields.

    None if that does not cover the reader, and where the writer has two fields for one of the reader's.
    """
    if writer.name.rpartition(".")[2] != reader.name.rpartition(".")[2]:
        return None
    theirs: Mapping[str, Field] = {each.name: each for each in writer.fields}
    pairs: list[tuple[str, str]] = []
    defaults: dict[str, Any] = {}
    for mine in reader.fields:
        names = [name for name in (mine.name, *mine.aliases) if name in theirs]
        if len(set(names)) > 1:
            return None
        if names:
            if theirs[names[0]].type != mine.type:
                return None
            pairs.append((mine.name, names[0]))
        elif mine.has_default:
            defaults[mine.name] = mine.default
        else:
            return None
    taken = [its for _, its in pairs]
    return (tuple(pairs), defaults) if len(set(taken)) == len(taken) else None
