"""Avro schemas of events, held on reading to what a stream can carry safely.

What: `load_schema` turns a file, a mapping or JSON text into an `EventSchema`: fields with their kinds, the
canonical form and its fingerprint, and the schema that fastavro decodes with.
Why: fastavro takes schemas that hurt later: a recursive one ends the process, an array of nulls turns 5 bytes
into 20 million items, 32 nested one-field records turn 1 byte into 8 KB. So they are refused here, once,
with the place inside the schema, and not met on the hot path.
Invariant: in an accepted schema every value takes at least one byte, nesting ends at DEPTH_MAX and a record
has at most LEAVES_MAX leaves. So decoding n bytes ends in O(n) steps, and `EventSchema.size_max` says how
many bytes fit into a given memory.

Decisions: a union is null + one type, at every depth. Nested records, arrays and maps are allowed, as kinds
of their own. Logical types other than timestamps count as the type beneath them, as the specification allows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

from stream.arrive.node import PRIMITIVES, Cost, Field, Kind, Node, plain, put_defaults, typed_default
from stream.errors import SchemaError

__all__ = ["EventSchema", "Field", "Kind", "Node", "load_schema", "schema_from_text"]

DEPTH_MAX = 16
"""Deepest nesting of types; the event record itself is at depth 1."""
LEAVES_MAX = 10_000
"""Most leaves after every reference to a named type is written out."""
TEXT_CHARS_MAX = 1_000_000
"""Longest schema text that is read."""
FIXED_BYTES_MAX = 65_536
"""Largest `fixed`."""
FINGERPRINT_BYTES = 8

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class EventSchema:
    """A schema that was accepted. Equal where the text is equal; immutable, so safe to share.

    `parsed` is fastavro's form, to write with. `decoding` is the same without logical types, to read with: a
    timestamp stays an exact int (a datetime costs time, and fails outside the years 1 to 9999).
    """

    name: str
    text: str
    canonical: str = field(repr=False, compare=False)
    fingerprint: bytes = field(compare=False)
    root: Node = field(repr=False, compare=False)
    parsed: dict[str, Any] = field(repr=False, compare=False)
    decoding: dict[str, Any] = field(repr=False, compare=False)

    @property
    def fields(self) -> tuple[Field, ...]:
        """The event's fields, in the order of the schema."""
        return self.root.fields

    @property
    def field_names(self) -> tuple[str, ...]:
        """The names of `fields`."""
        return tuple(each.name for each in self.root.fields)

    def size_max(self, memory_bytes_max: int) -> int:
        """The most bytes of payload that can't decode into more than `memory_bytes_max` of Python objects."""
        cost = self.root.cost
        return cost.wire + int((memory_bytes_max - cost.base) / max(cost.rate, 1e-9))


def load_schema(given: Path | str | Mapping[str, Any]) -> EventSchema:
    """Read and check a schema: a path (`str` or `Path`) of a JSON file, or the schema itself as a mapping.

    Raises SchemaError naming what was given, what is allowed and the place inside the schema.
    """
    if isinstance(given, Mapping):
        return schema_from_text(json.dumps(given), "schema")
    try:
        text = Path(given).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError(f"{given}: can't be read as a schema: {error}") from None
    return schema_from_text(text, str(given))


def schema_from_text(text: str, source: str = "schema") -> EventSchema:
    """As `load_schema`, from JSON text; `source` begins every message."""
    if len(text) > TEXT_CHARS_MAX:
        raise SchemaError(f"{source}: {len(text)} characters given, at most {TEXT_CHARS_MAX} allowed")
    try:
        given = json.loads(text, parse_constant=lambda word: _no_constant(source, word))
    except (ValueError, RecursionError) as error:
        raise SchemaError(f"{source}: not JSON: {error}") from None
    reader = _Reader(source)
    if not isinstance(given, dict) or given.get("type") != "record":
        reader.refuse("(top)", given, 'an event is a record: {"type": "record", "name": …, "fields": […]}')
    root = reader.node(given, "", "", 0)
    try:
        parsed: Any = fastavro.parse_schema(given)
        decoding: Any = fastavro.parse_schema(plain(root, set()))
        canonical = to_parsing_canonical_form(parsed)
    except Exception as error:
        raise SchemaError(f"{source}: fastavro refuses it: {error}") from None
    put_defaults(decoding, root)
    mark = bytes.fromhex(fingerprint(canonical, "CRC-64-AVRO"))
    return EventSchema(root.name, json.dumps(given), canonical, mark, root, parsed, decoding)


def _no_constant(source: str, word: str) -> NoReturn:
    raise SchemaError(f"{source}: {word} given, JSON allows only finite numbers")


class _Reader:
    """One reading of one schema: named types seen so far, None while still open."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.named: dict[str, Node | None] = {}

    def refuse(self, path: str, given: object, allowed: str) -> NoReturn:
        shown = json.dumps(given, default=str)
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        raise SchemaError(f"{self.source}: {path}: given {shown}, allowed: {allowed}")

    def node(self, given: Any, path: str, space: str, depth: int) -> Node:
        if depth >= DEPTH_MAX:
            self.refuse(path, given, f"at most {DEPTH_MAX} types inside one another")
        if isinstance(given, list):
            return self.union(given, path, space, depth)
        word = given.get("type") if isinstance(given, dict) else given
        body = given if isinstance(given, dict) else {}
        if not isinstance(word, str):
            self.refuse(path, given, "a type's name, a union of null and one type, or an object with a type")
        if word in PRIMITIVES:
            logical = body.get("logicalType", "")
            return Node(word, PRIMITIVES[word], logical=logical if isinstance(logical, str) else "")
        if word in ("array", "map"):
            return self.many(word, body, path, space, depth)
        if word in ("record", "enum", "fixed"):
            return self.define(word, body, path, space, depth)
        return self.refer(word, given, path, space, depth)

    def refer(self, word: str, given: Any, path: str, space: str, depth: int) -> Node:
        full = word if "." in word or not space else f"{space}.{word}"
        if full not in self.named:
            known = ", ".join([*PRIMITIVES, "record, enum, fixed, array, map", *self.named])
            self.refuse(path, given, f"{known} (null only in a union with one type)")
        found = self.named[full]
        if found is None:
            self.refuse(path, given, f"a type that does not contain itself ({full} is recursive)")
        if depth + found.cost.depth > DEPTH_MAX:
            self.refuse(path, given, f"at most {DEPTH_MAX} types inside one another")
        return found

    def union(self, given: list[Any], path: str, space: str, depth: int) -> Node:
        others = [each for each in given if each != "null" and each != {"type": "null"}]
        if len(given) != 2 or len(others) != 1:
            self.refuse(path, given, "a union of null and exactly one type")
        item = self.node(others[0], path, space, depth + 1)
        if item.type == "nullable":
            self.refuse(path, given, "no union directly inside a union")
        wire, base, rate, leaves, deep = item.cost
        cost = Cost(1, 8, max(rate, base / wire), leaves, deep + 1)
        return Node("nullable", cost, item=item, null_first=given[1] == others[0])

    def many(self, word: str, body: dict[str, Any], path: str, space: str, depth: int) -> Node:
        key, mark = ("items", "[]") if word == "array" else ("values", "{}")
        if key not in body:
            self.refuse(path, body, f'"{key}" beside "type": "{word}"')
        item = self.node(body[key], path + mark, space, depth + 1)
        wire, base, rate, leaves, deep = item.cost
        # A list's slot has 9 bytes; a map's entry has a key (≥ 1 byte, 64 in memory) and 150 bytes of slots.
        each = (base + 9) / wire if word == "array" else (base + 214) / (wire + 1)
        return Node(word, Cost(1, 72, max(rate, each, 4), leaves, deep + 1), item=item)

    def define(self, word: str, body: dict[str, Any], path: str, space: str, depth: int) -> Node:
        name, inner = self.full_name(body, path, space)
        if name in self.named or name in PRIMITIVES:
            self.refuse(path or name, name, "a name that is defined once")
        self.named[name] = None
        aliases = tuple(
            alias if "." in alias or not inner else f"{inner}.{alias}" for alias in self.aliases(body, path)
        )
        if word == "record":
            found = self.record(body, path or name, name, inner, aliases, depth)
        elif word == "enum":
            found = self.enum(body, path, name, aliases)
        else:
            size = body.get("size")
            if type(size) is not int or not 1 <= size <= FIXED_BYTES_MAX:
                self.refuse(path, size, f'a "size" of 1 to {FIXED_BYTES_MAX} bytes')
            found = Node("fixed", Cost(size, 41 + size, 0), name, aliases, size=size)
        self.named[name] = found
        return found

    def full_name(self, body: dict[str, Any], path: str, space: str) -> tuple[str, str]:
        """The full name, and the name space that holds inside."""
        name, named_space = body.get("name"), body.get("namespace", space)
        if not isinstance(name, str) or not isinstance(named_space, str):
            self.refuse(path or "(top)", body, 'a "name" that is a string (and a "namespace", if any)')
        full = name if "." in name or not named_space else f"{named_space}.{name}"
        if not all(_NAME.fullmatch(part) for part in full.split(".")):
            self.refuse(path or "(top)", full, "names of letters, digits and _, not starting with a digit")
        return full, full.rpartition(".")[0]

    def aliases(self, body: dict[str, Any], path: str) -> tuple[str, ...]:
        given = body.get("aliases", [])
        if not isinstance(given, list) or not all(isinstance(each, str) for each in given):
            self.refuse(path, given, '"aliases" that are a list of names')
        return tuple(given)

    def enum(self, body: dict[str, Any], path: str, name: str, aliases: tuple[str, ...]) -> Node:
        symbols, default = body.get("symbols"), body.get("default")
        if not isinstance(symbols, list) or not symbols or len(set(map(str, symbols))) != len(symbols):
            self.refuse(path, symbols, 'at least one symbol in "symbols", each once')
        if not all(isinstance(each, str) and _NAME.fullmatch(each) for each in symbols):
            self.refuse(path, symbols, "symbols of letters, digits and _, not starting with a digit")
        if default is not None and default not in symbols:
            self.refuse(path, default, f"a default that is one of {symbols}")
        return Node("enum", Cost(1, 8, 0), name, aliases, tuple(symbols), default)

    def record(
        self, body: dict[str, Any], path: str, name: str, inner: str, aliases: tuple[str, ...], depth: int
    ) -> Node:
        given = body.get("fields")
        if not isinstance(given, list) or not given:
            self.refuse(path, given, 'at least one field in "fields" (a record without any takes no bytes)')
        fields = tuple(self.field(each, path, inner, depth) for each in given)
        names = [each.name for each in fields]
        if len(set(names)) != len(names):
            self.refuse(path, sorted({each for each in names if names.count(each) > 1}), "each field name once")
        costs = [each.type.cost for each in fields]
        leaves = sum(cost.leaves for cost in costs)
        if leaves > LEAVES_MAX:
            self.refuse(path, f"{leaves} leaves", f"at most {LEAVES_MAX} leaves")
        deep = 1 + max(cost.depth for cost in costs)
        base = 184 + 72 * len(fields) + sum(cost.base for cost in costs)
        cost = Cost(sum(each.wire for each in costs), base, max(each.rate for each in costs), leaves, deep)
        return Node("record", cost, name, aliases, fields=fields)

    def field(self, given: Any, path: str, inner: str, depth: int) -> Field:
        if not isinstance(given, dict) or not isinstance(given.get("name"), str) or "type" not in given:
            self.refuse(path, given, 'a field is an object with "name" and "type"')
        name = given["name"]
        if not _NAME.fullmatch(name):
            self.refuse(path, name, "names of letters, digits and _, not starting with a digit")
        place = f"{path}.{name}"
        node = self.node(given["type"], place, inner, depth + 1)
        aliases = self.aliases(given, place)
        if "default" not in given:
            return Field(name, node, aliases)
        return Field(name, node, aliases, True, self.default(node, given["default"], place))

    def default(self, node: Node, given: Any, path: str) -> Any:
        try:
            return typed_default(node, given)
        except ValueError as error:
            self.refuse(path, given, f"a default that fits the type ({error})")
