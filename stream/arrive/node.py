"""The types inside an event's schema, references written out, and what their values may cost.

What: `Node` is one Avro type, `Field` one field of a record, `Cost` the bytes that a value takes on the wire
and in memory. Besides: a default as the Python value that decoding would give, and a `Node` as fastavro's
schema.
Why: fastavro's own form refers to types by name and keeps defaults as JSON (text for bytes, ints for
doubles); the checks of reading and of compatibility are simple on a tree.
Invariant: a Node never contains itself, and takes at least one byte on the wire.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "double", "long", "string", "boolean", "enum", "timestamp", "bytes", "array", "map", "record"
]  # fmt: skip

_TIMESTAMP = re.compile(r"(?:local-)?timestamp-(millis|micros|nanos)")
_KINDS: dict[str, Kind] = {
    "int": "long", "long": "long", "float": "double", "double": "double", "string": "string",
    "boolean": "boolean", "bytes": "bytes", "fixed": "bytes", "enum": "enum", "array": "array",
    "map": "map", "record": "record",
}  # fmt: skip


class Cost(NamedTuple):
    """What a value can cost: `base` bytes of memory for `wire` bytes at least, `rate` for each byte more.

    `leaves` and `depth` count what hangs below, references written out; the node itself is depth 1.
    """

    wire: int
    base: int
    rate: float
    leaves: int = 1
    depth: int = 1


PRIMITIVES = {
    "boolean": Cost(1, 8, 0), "int": Cost(1, 40, 0), "long": Cost(1, 40, 0), "float": Cost(4, 32, 0),
    "double": Cost(8, 32, 0), "bytes": Cost(1, 48, 1), "string": Cost(1, 64, 4),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Node:
    """One type, references written out; `type` is Avro's word, or 'nullable' for the union null | `item`."""

    type: str
    cost: Cost = field(compare=False)
    name: str = ""
    aliases: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    enum_default: str | None = None
    size: int = 0
    fields: tuple[Field, ...] = ()
    item: Node | None = None
    null_first: bool = field(default=True, compare=False)
    logical: str = ""

    @property
    def bare(self) -> Node:
        """The type without null."""
        return self.item if self.type == "nullable" and self.item is not None else self


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a record. `default` is the Python value that decoding would give, if `has_default`."""

    name: str
    type: Node
    aliases: tuple[str, ...] = ()
    has_default: bool = False
    default: Any = None

    @property
    def nullable(self) -> bool:
        """Whether null is allowed."""
        return self.type.type == "nullable"

    @property
    def unit(self) -> str | None:
        """'millis', 'micros' or 'nanos' since 1970 for a timestamp; None for other kinds."""
        found = _TIMESTAMP.fullmatch(self.type.bare.logical)
        return found[1] if found and self.type.bare.type == "long" else None

    @property
    def kind(self) -> Kind:
        """What cleaning and encoding go by. A timestamp decodes to an int, in `unit`."""
        return "timestamp" if self.unit else _KINDS[self.type.bare.type]


def some_value(node: Node) -> Any:
    """A plain value of the type, null only where there is no other."""
    node = node.bare
    match node.type:
        case "record":
            return {each.name: some_value(each.type) for each in node.fields}
        case "array":
            return []
        case "map":
            return {}
        case "enum":
            return node.symbols[0]
        case "string":
            return "a"
        case "bytes" | "fixed":
            return b"\0" * (node.size or 1)
        case "boolean":
            return True
    return 1.0 if node.type in ("float", "double") else 1


def typed_default(node: Node, given: Any) -> Any:
    """The Python value that a JSON default stands for (bytes are written as text, a double as any number).

    Raises ValueError saying which value was given and what the type allows.
    """
    if node.type == "nullable":
        return None if given is None else typed_default(node.bare, given)
    if node.type in ("int", "long"):
        bound = 1 << (31 if node.type == "int" else 63)
        if type(given) is int and -bound <= given < bound:
            return given
    elif node.type in ("float", "double"):
        if type(given) in (int, float) and abs(given) <= 1.7e308:
            return float(given)
    elif node.type == "boolean":
        if type(given) is bool:
            return given
    elif isinstance(given, str):
        return _typed_text(node, given)
    elif node.type == "array" and isinstance(given, list):
        return [typed_default(_item(node), each) for each in given]
    elif node.type == "map" and isinstance(given, dict):
        return {key: typed_default(_item(node), each) for key, each in given.items()}
    elif node.type == "record" and isinstance(given, dict):
        return _typed_record(node, given)
    raise ValueError(f"default {given!r} is no {node.type}")


def _item(node: Node) -> Node:
    assert node.item is not None, f"{node.type} without a type of its items"
    return node.item


def _typed_text(node: Node, given: str) -> str | bytes:
    if node.type == "string" or (node.type == "enum" and given in node.symbols):
        return given
    if node.type in ("bytes", "fixed"):
        value = given.encode("latin-1", errors="replace")
        if value.decode("latin-1") == given and len(value) == (node.size or len(value)):
            return value
    raise ValueError(f"default {given!r} is no {node.type}")


def _typed_record(node: Node, given: dict[str, Any]) -> dict[str, Any]:
    made = {}
    for each in node.fields:
        if each.name in given:
            made[each.name] = typed_default(each.type, given[each.name])
        elif each.has_default:
            made[each.name] = each.default
        else:
            raise ValueError(f"default {given!r} lacks field {each.name} of record {node.name}")
    return made


def plain(node: Node, defined: set[str]) -> Any:
    """The node as an Avro schema without logical types and defaults; names in `defined` become references."""
    if node.type == "nullable":
        item = plain(node.bare, defined)
        return ["null", item] if node.null_first else [item, "null"]
    if node.type in ("array", "map"):
        return {"type": node.type, "items" if node.type == "array" else "values": plain(_item(node), defined)}
    if not node.name:
        return node.type
    if node.name in defined:
        return node.name
    defined.add(node.name)
    # Names are full, so that no name space may be inherited: a name without dots has none.
    made: dict[str, Any] = {
        "type": node.type,
        "name": node.name,
        "namespace": "",
        "aliases": list(node.aliases),
    }
    if node.type == "fixed":
        return made | {"size": node.size}
    if node.type == "enum":
        default = {} if node.enum_default is None else {"default": node.enum_default}
        return made | {"symbols": list(node.symbols)} | default
    fields = [
        {"name": each.name, "aliases": list(each.aliases), "type": plain(each.type, defined)} for each in node.fields
    ]
    return made | {"fields": fields}


def put_defaults(parsed: Any, node: Node) -> None:
    """Write the typed defaults of `node`'s fields into fastavro's parsed form of `plain(node)`, in place."""
    if node.type == "nullable":
        put_defaults(parsed[1 if node.null_first else 0], node.bare)
    elif node.type in ("array", "map"):
        put_defaults(parsed["items" if node.type == "array" else "values"], _item(node))
    elif node.type == "record" and isinstance(parsed, dict):
        for written, each in zip(parsed["fields"], node.fields, strict=True):
            if each.has_default:
                written["default"] = each.default
            put_defaults(written["type"], each.type)
