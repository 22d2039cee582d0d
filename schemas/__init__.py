"""The contracts: one .avsc for each of our topics, one .proto for each service; nothing else lives here.

`codec(name)` reads and writes the records of one topic in Avro single-object encoding (magic C3 01, the
CRC-64-AVRO fingerprint of the schema, the payload), so a reader needs no registry to know what it holds.
Invariant: decode(encode(record)) == record, and bytes of another schema are refused, never guessed at.
"""

import functools
import io
import json
from importlib import resources
from typing import Any

import fastavro
from fastavro.schema import fingerprint, to_parsing_canonical_form

TOPIC_SCHEMAS = ("label", "features", "training", "prediction", "metric", "model", "dead")
MAGIC = b"\xc3\x01"


class Codec:
    """Encodes and decodes the records of one schema; stateless after construction, safe to share."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.name = str(schema["name"])
        self.schema = fastavro.parse_schema(schema)
        self.prefix = MAGIC + bytes.fromhex(fingerprint(to_parsing_canonical_form(schema), "CRC-64-AVRO"))

    def encode(self, record: dict[str, Any]) -> bytes:
        """One framed record. Raises ValueError when it does not fit the schema."""
        out = io.BytesIO()
        out.write(self.prefix)
        fastavro.schemaless_writer(out, self.schema, record)
        return out.getvalue()

    def decode(self, value: bytes) -> dict[str, Any]:
        """The record in `value`. Raises ValueError for other schemas, damaged or trailing bytes."""
        if value[:10] != self.prefix:
            raise ValueError(f"not a {self.name} record: starts with {value[:10].hex()}, not {self.prefix.hex()}")
        source = io.BytesIO(value)
        source.seek(10)
        try:
            record = fastavro.schemaless_reader(source, self.schema, None)
        except (EOFError, IndexError, UnicodeDecodeError, OverflowError, MemoryError) as e:
            raise ValueError(f"damaged {self.name} record: {type(e).__name__} {e}") from e
        if source.tell() != len(value):
            raise ValueError(f"{len(value) - source.tell()} bytes after the end of a {self.name} record")
        return record  # type: ignore[return-value]


@functools.cache
def codec(name: str) -> Codec:
    """The codec of one of our own topics; `name` is one of TOPIC_SCHEMAS."""
    return Codec(json.loads((resources.files(__name__) / f"{name}.avsc").read_text()))
