"""The contracts: one .avsc for each of our topics, one .proto for each service; nothing else lives here.

`codec(name)` reads and writes the records of one topic in Avro single-object encoding (magic C3 01, the
CRC-64-AVRO fingerprint of the schema, the payload), so a reader needs no registry to know what it holds.
A schema that grew leaves its former forms in `older/<name>-<n>.avsc`: records of them are read still, what they lack
by its default. Invariant: decode(encode(record)) == record, and bytes of another schema are refused, never guessed at.
"""

import functools
import io
import itertools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from types import MappingProxyType
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

TOPIC_SCHEMAS = ("label", "features", "training", "prediction", "metric", "model", "dead", "control")
MAGIC = b"\xc3\x01"


class Codec:
    """Encodes and decodes the records of one schema; stateless after construction, safe to share."""

    def __init__(self, schema: dict[str, Any], older: Sequence[dict[str, Any]] = ()) -> None:
        self.name = str(schema["name"])
        self.schema = fastavro.parse_schema(schema)
        self.prefix = _prefix(schema)
        self._cut: dict[frozenset[str], list[Any]] = {frozenset(): [self.schema]}
        self.older = {_prefix(s): fastavro.parse_schema(s) for s in older}

    def encode(self, record: dict[str, Any], encoded: Mapping[str, bytes] = MappingProxyType({})) -> bytes:
        """One framed record; `encoded`: fields that are Avro already. Raises ValueError when it does not fit."""
        out = io.BytesIO()
        out.write(self.prefix)
        for part in self._parts(frozenset(encoded)):
            if isinstance(part, str):
                out.write(encoded[part])
            else:
                fastavro.schemaless_writer(out, part, record)
        return out.getvalue()

    def _parts(self, encoded: frozenset[str]) -> list[Any]:
        """The schema, cut at these fields: records of what is between them, and their names."""
        if encoded not in self._cut:
            parts: list[Any] = []
            whole: Any = self.schema
            if unknown := encoded - {f["name"] for f in whole["fields"]}:
                raise ValueError(f"a {self.name} record has no field {', '.join(sorted(unknown))}")
            for is_name, fields in itertools.groupby(whole["fields"], lambda f: f["name"] in encoded):
                if is_name:
                    parts += [f["name"] for f in fields]
                else:
                    part = {"type": "record", "name": f"{self.name}Part{len(parts)}", "fields": list(fields)}
                    parts.append(fastavro.parse_schema(part))
            self._cut[encoded] = parts
        return self._cut[encoded]

    def decode(self, value: bytes) -> dict[str, Any]:
        """The record in `value`. Raises ValueError for other schemas, damaged or trailing bytes."""
        writer: Any = self.schema
        reader: Any = None
        if value[:10] != self.prefix:
            writer, reader = self.older.get(value[:10]), self.schema
        if writer is None:
            raise ValueError(f"not a {self.name} record: starts with {value[:10].hex()}, not {self.prefix.hex()}")
        source = io.BytesIO(value)
        source.seek(10)
        try:
            record = fastavro.schemaless_reader(source, writer, reader)
        except (EOFError, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as e:
            raise ValueError(f"damaged {self.name} record: {type(e).__name__} {e}") from e
        if source.tell() != len(value):
            raise ValueError(f"{len(value) - source.tell()} bytes after the end of a {self.name} record")
        return record  # type: ignore[return-value]


def _prefix(schema: dict[str, Any]) -> bytes:
    return MAGIC + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))


@functools.cache
def codec(name: str) -> Codec:
    """The codec of one of our own topics; `name` is one of TOPIC_SCHEMAS."""
    folder = resources.files(__name__)
    older = sorted(p.name for p in (folder / "older").iterdir() if p.name.rpartition("-")[0] == name)
    return Codec(
        json.loads((folder / f"{name}.avsc").read_text()),
        [json.loads((folder / "older" / file).read_text()) for file in older],
    )
