"""Whether data written with one schema can be read with another, before any is.

What: `check_compatible` follows the schema resolution of the Avro specification and names every fault with
its place; `check_evolution` asks it the ways round that BACKWARD, FORWARD and FULL stand for.
Why: fastavro finds out one event at a time; a schema must be refused when it is registered.
Invariant: no problem reported → every record of the writer resolves (a `bytes` value that is read as `string`
must still be UTF-8). Stricter than the specification in one point: timestamps of different units don't match,
since their numbers would be taken 1,000 times too large or small.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple

from stream.arrive.node import Field, Node
from stream.arrive.schema import EventSchema

Mode = Literal["BACKWARD", "FORWARD", "FULL"]

_PROMOTIONS = {
    "int": ("long", "float", "double"), "long": ("float", "double"), "float": ("double",),
    "string": ("bytes",), "bytes": ("string",),
}  # fmt: skip


class _Problem(NamedTuple):
    path: str
    text: str
    misread: bool = False

    def __str__(self) -> str:
        return f"{self.path}: {self.text}"


def check_compatible(writer: EventSchema, reader: EventSchema) -> list[str]:
    """What keeps `reader` from reading what `writer` wrote, one line each with its path; empty if nothing."""
    return [str(each) for each in _types(writer.root, reader.root, reader.name)]


def misread(writer: EventSchema, reader: EventSchema) -> list[str]:
    """Those problems that resolution would not notice: values that arrive, but mean something else."""
    return [str(each) for each in _types(writer.root, reader.root, reader.name) if each.misread]


def check_evolution(old: EventSchema, new: EventSchema, mode: Mode) -> list[str]:
    """What keeps `new` from following `old`. BACKWARD: new reads old; FORWARD: old reads new; FULL: both."""
    found: list[str] = []
    if mode in ("BACKWARD", "FULL"):
        found += [f"new reading old: {each}" for each in check_compatible(old, new)]
    if mode in ("FORWARD", "FULL"):
        found += [f"old reading new: {each}" for each in check_compatible(new, old)]
    return found


def _types(writer: Node, reader: Node, path: str) -> Iterator[_Problem]:
    """Problems of reading one type as another."""
    if writer.type == "nullable" and reader.type != "nullable":
        yield _Problem(path, f"the writer may send null, the reader takes only {_shown(reader)}")
    writer, reader = writer.bare, reader.bare
    if writer.type != reader.type:
        if reader.type not in _PROMOTIONS.get(writer.type, ()):
            yield _Problem(path, f"the writer's {_shown(writer)} can't be read as {_shown(reader)}")
    elif not _same_name(writer, reader):
        yield _Problem(path, f"the writer's {_shown(writer)} has another name than {_shown(reader)} and its aliases")
    elif writer.type == "record":
        yield from _records(writer, reader, path)
    elif writer.type == "enum":
        yield from _enums(writer, reader, path)
    elif writer.type == "fixed" and writer.size != reader.size:
        yield _Problem(path, f"the writer's {writer.size} bytes can't be read as {reader.size}")
    elif writer.item is not None and reader.item is not None:
        yield from _types(writer.item, reader.item, path + ("[]" if writer.type == "array" else "{}"))


def _same_name(writer: Node, reader: Node) -> bool:
    """By the specification the unqualified names are compared, and the reader's aliases with the full one."""
    return writer.name.rpartition(".")[2] == reader.name.rpartition(".")[2] or writer.name in reader.aliases


def _enums(writer: Node, reader: Node, path: str) -> Iterator[_Problem]:
    missing = [symbol for symbol in writer.symbols if symbol not in reader.symbols]
    if missing and reader.enum_default is None:
        yield _Problem(path, f"the reader's enum lacks {', '.join(missing)} and has no default symbol")


def _records(writer: Node, reader: Node, path: str) -> Iterator[_Problem]:
    theirs = {each.name: each for each in writer.fields}
    taken: dict[str, str] = {}
    for mine in reader.fields:
        place = f"{path}.{mine.name}"
        names = [name for name in dict.fromkeys((mine.name, *mine.aliases)) if name in theirs]
        if len(names) > 1:
            yield _Problem(place, f"the writer has several fields for it: {', '.join(names)}")
        if names and taken.setdefault(names[0], mine.name) != mine.name:
            yield _Problem(place, f"the writer's {names[0]} is taken by {taken[names[0]]} already")
        if names:
            yield from _fields(theirs[names[0]], mine, place)
        elif not mine.has_default:
            yield _Problem(place, "the writer has no such field, and the reader gives no default")


def _fields(writer: Field, reader: Field, path: str) -> Iterator[_Problem]:
    if writer.unit and reader.unit and writer.unit != reader.unit:
        yield _Problem(path, f"the writer's timestamp in {writer.unit} would be misread as {reader.unit}", True)
    yield from _types(writer.type, reader.type, path)


def _shown(node: Node) -> str:
    return f"{node.type} {node.name}" if node.name else node.type
