"""Random event schemas, records of them, and changes of them, for the property tests of stream/arrive."""

import copy
import io
from typing import Any

import fastavro
from hypothesis import strategies as st

from stream.arrive.node import Node
from stream.arrive.schema import EventSchema

PRIMITIVES = ("boolean", "int", "long", "float", "double", "string", "bytes")
_BITS = {"int": 31, "long": 63}


def encoded(schema: EventSchema, record: Any) -> bytes:
    """The record's bytes, as a producer writes them."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, schema.decoding, record)
    return out.getvalue()


class _Names:
    """Type names, each used once in a schema."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> str:
        self.count += 1
        return f"T{self.count}"


@st.composite
def schemas(draw: st.DrawFn) -> dict[str, Any]:
    """A schema as JSON, of every kind of type that is accepted."""
    return _record(draw, _Names(), 0, "Event")


def _record(draw: st.DrawFn, names: _Names, depth: int, name: str) -> dict[str, Any]:
    count = draw(st.integers(1, 5 if depth == 0 else 2))
    fields = [{"name": f"f{i}", "type": _type(draw, names, depth)} for i in range(count)]
    return {"type": "record", "name": name, "fields": fields}


def _type(draw: st.DrawFn, names: _Names, depth: int, *, bare: bool = False) -> Any:
    kinds = [*PRIMITIVES, "enum", "fixed", "timestamp"]
    kinds += [] if bare else ["nullable"]
    kinds += ["array", "map", "record"] if depth < 2 else []
    match draw(st.sampled_from(kinds)):
        case "nullable":
            pair = ["null", _type(draw, names, depth, bare=True)]
            return pair if draw(st.booleans()) else pair[::-1]
        case "enum":
            count = draw(st.integers(1, 3))
            return {"type": "enum", "name": names(), "symbols": ["A", "B", "C"][:count]}
        case "fixed":
            return {"type": "fixed", "name": names(), "size": draw(st.integers(1, 3))}
        case "timestamp":
            unit = draw(st.sampled_from(["millis", "micros"]))
            return {"type": "long", "logicalType": f"timestamp-{unit}"}
        case "array":
            return {"type": "array", "items": _type(draw, names, depth + 1)}
        case "map":
            return {"type": "map", "values": _type(draw, names, depth + 1)}
        case "record":
            return _record(draw, names, depth + 1, names())
        case primitive:
            return primitive


def values(node: Node) -> st.SearchStrategy[Any]:
    """Every value of the type; text in bytes, so that it may be read as string."""
    match node.type:
        case "nullable":
            return st.none() | values(node.bare)
        case "boolean":
            return st.booleans()
        case "int" | "long":
            bound = 1 << _BITS[node.type]
            return st.integers(-bound, bound - 1)
        case "float" | "double":
            return st.floats(allow_nan=False, width=32 if node.type == "float" else 64)
        case "string":
            return st.text(max_size=5)
        case "bytes":
            return st.text(max_size=5).map(str.encode)
        case "enum":
            return st.sampled_from(node.symbols)
        case "fixed":
            return st.binary(min_size=node.size, max_size=node.size)
        case "array":
            assert node.item is not None
            return st.lists(values(node.item), max_size=3)
        case "map":
            assert node.item is not None
            return st.dictionaries(st.text(max_size=3), values(node.item), max_size=3)
    return st.fixed_dictionaries({each.name: values(each.type) for each in node.fields})


def witnesses(node: Node) -> list[Any]:
    """Few values in which every branch, symbol and item of the type occurs."""
    match node.type:
        case "nullable":
            return [None, *witnesses(node.bare)]
        case "enum":
            return list(node.symbols)
        case "array" | "map":
            assert node.item is not None
            inner = witnesses(node.item)
            return [inner] if node.type == "array" else [{str(i): each for i, each in enumerate(inner)}]
        case "record":
            each = [witnesses(field.type) for field in node.fields]
            rows = range(max(map(len, each)))
            return [
                {field.name: seen[row % len(seen)] for field, seen in zip(node.fields, each, strict=True)}
                for row in rows
            ]
    plain: dict[str, Any] = {
        "boolean": True, "int": 5, "long": 6, "float": 0.5, "double": 0.25, "string": "x", "bytes": b"x",
        "fixed": b"x" * node.size,
    }  # fmt: skip
    return [plain[node.type]]


_DEFAULTS: dict[str, Any] = {
    "boolean": True, "int": 1, "long": 2, "float": 0.5, "double": 3, "string": "s", "bytes": "\u00ff",
}  # fmt: skip


@st.composite
def changed(draw: st.DrawFn, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema after some changes that people make, good ones and bad ones."""
    new = copy.deepcopy(schema)
    for step in range(draw(st.integers(1, 3))):
        fields = new["fields"]
        field = draw(st.sampled_from(fields))
        match draw(st.sampled_from(["drop", "add", "rename", "retype", "null", "reorder", "inner"])):
            case "drop" if len(fields) > 1:
                fields.remove(field)
            case "add":
                kind = draw(st.sampled_from(PRIMITIVES))
                default = {"default": _DEFAULTS[kind]} if draw(st.booleans()) else {}
                fields.append({"name": f"n{step}", "type": kind} | default)
            case "rename":
                aliases = {"aliases": [*field.get("aliases", []), field["name"]]} if draw(st.booleans()) else {}
                field.update(aliases, name=f"r{step}")
            case "retype" if isinstance(field["type"], str):
                field["type"] = draw(st.sampled_from(PRIMITIVES))
                field.pop("default", None)
            case "null":
                other = field["type"]
                bare = [each for each in other if each != "null"] if isinstance(other, list) else []
                field["type"] = bare[0] if bare else ["null", other]
                field.pop("default", None)
            case "reorder":
                new["fields"] = draw(st.permutations(fields))
            case "inner":
                _change_inside(draw, field["type"])
    return new


def _change_inside(draw: st.DrawFn, inside: Any) -> None:
    kind = inside.get("type") if isinstance(inside, dict) else None
    if kind == "enum":
        inside["symbols"] = draw(st.permutations(["A", "B", "D"]))
        if draw(st.booleans()):
            inside["default"] = "D"
    elif kind == "fixed":
        inside["size"] = draw(st.integers(1, 3))
    elif kind in ("array", "map"):
        key = "items" if kind == "array" else "values"
        if isinstance(inside[key], str):
            inside[key] = draw(st.sampled_from(PRIMITIVES))
    elif kind == "record":
        inside.update(draw(changed(inside)))
