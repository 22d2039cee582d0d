"""Bytes of every message as they went over the wire once: they must be read, and written, the same for ever.

`python tests/unit/test_golden_messages.py` writes the files of messages that have none; one that is there is never
changed, since callers hold its bytes. A field that came later is in none of them.
"""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass

from schemas import headwater_pb2, inference_pb2

FOLDER = Path(__file__).parents[1] / "golden" / "messages"
MODULES: list[Any] = [headwater_pb2, inference_pb2]
_FLOATS = (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT)


def messages() -> Iterator[Descriptor]:
    """Every message that is no entry of a map."""

    def below(found: Descriptor) -> Iterator[Descriptor]:
        if not found.GetOptions().map_entry:
            yield found
            for nested in found.nested_types:
                yield from below(nested)

    for module in MODULES:
        for top in module.DESCRIPTOR.message_types_by_name.values():
            yield from below(top)


def value_of(field: FieldDescriptor, depth: int) -> Any:
    """A value that no other field is likely to have."""
    mark = zlib.crc32(field.full_name.encode()) % 1000 + 1
    if field.message_type is not None:
        return filled(field.message_type, depth + 1)
    if field.cpp_type in _FLOATS:
        return mark / 4
    if field.type == FieldDescriptor.TYPE_BOOL:
        return True
    if field.type == FieldDescriptor.TYPE_BYTES:
        return f"{mark}".encode()
    return f"{field.name} {mark}" if field.type == FieldDescriptor.TYPE_STRING else mark


def filled(kind: Descriptor, depth: int = 0, chosen: str = "") -> Any:
    """A message with a value in every field; of the fields of a oneof in the one that is chosen, else in the first."""
    message = GetMessageClass(kind)()
    for field in kind.fields:
        one_of = field.containing_oneof
        rivals = [f.name for f in one_of.fields] if one_of is not None else []
        if rivals and field.name != (chosen if chosen in rivals else rivals[0]):
            continue
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            key, value = field.message_type.fields_by_name["key"], field.message_type.fields_by_name["value"]
            at = value_of(key, depth)
            if value.message_type is not None:
                getattr(message, field.name)[at].CopyFrom(value_of(value, depth))
            else:
                getattr(message, field.name)[at] = value_of(value, depth)
        elif field.is_repeated:
            getattr(message, field.name).extend([value_of(field, depth)] * 2)
        elif field.message_type is not None:
            getattr(message, field.name).CopyFrom(value_of(field, depth))
        else:
            setattr(message, field.name, value_of(field, depth))
    return message


def cases() -> dict[str, Any]:
    """File → the message that is in it."""
    out: dict[str, Any] = {}
    for kind in messages():
        out[kind.full_name] = filled(kind)
        for one_of in kind.oneofs:
            for field in one_of.fields[1:]:
                out[f"{kind.full_name}.{field.name}"] = filled(kind, chosen=field.name)
    return out


CASES = cases()


def only_of(wanted: Any, read: Any) -> Any:
    """The wanted message without the fields that came after the bytes of `read` were written."""
    out = type(wanted)()
    out.CopyFrom(wanted)
    there = {field.name for field, _ in read.ListFields()}
    for field, value in wanted.ListFields():
        if field.name not in there:
            out.ClearField(field.name)
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry and not field.is_repeated:
            getattr(out, field.name).CopyFrom(only_of(value, getattr(read, field.name)))
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            out.ClearField(field.name)
            pairs = zip(value, getattr(read, field.name), strict=True)
            getattr(out, field.name).extend(only_of(mine, theirs) for mine, theirs in pairs)
        elif field.message_type is not None and field.message_type.fields_by_name["value"].message_type is not None:
            for key in value:
                getattr(out, field.name)[key].CopyFrom(only_of(value[key], getattr(read, field.name)[key]))
    return out


@pytest.mark.parametrize("name", sorted(CASES))
def test_bytes_of_before_say_what_they_said(name: str) -> None:
    body, wanted = (FOLDER / f"{name}.bin").read_bytes(), CASES[name]
    read = type(wanted).FromString(body)
    read.DiscardUnknownFields()
    assert read == only_of(wanted, read)
    assert read.SerializeToString(deterministic=True) == body, "bytes of before have fields that there are no more"


def test_every_file_is_of_a_message_that_there_is() -> None:
    assert {path.stem for path in FOLDER.glob("*.bin")} == set(CASES)


def main() -> None:
    """Write what is missing."""
    for name, message in CASES.items():
        path = FOLDER / f"{name}.bin"
        if not path.exists():
            path.write_bytes(message.SerializeToString(deterministic=True))
            sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
