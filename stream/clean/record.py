"""A cleaned event as an Avro record of the `clean` topic, and back.

The schema follows from the spec. Invariant: columns(record(columns)) == columns, to the last bit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

import schemas
from stream.block import Columns
from stream.spec import Spec

_AVRO = {"numeric": "double", "boolean": "double", "time": "double", "category": "string", "text": "string"}


def clean_schema(spec: Spec) -> dict[str, Any]:
    """The Avro schema of a cleaned event under this spec."""
    own = [
        {"name": name, "type": ["null", _AVRO[field.type]]}
        for name, field in spec.event.fields.items()
        if field.type != "ignore"
    ]
    return {
        "type": "record",
        "name": "Clean",
        "namespace": "headwater",
        "fields": [
            {"name": "id__", "type": "string"},
            {"name": "time_ms__", "type": "long"},
            {"name": "partition__", "type": "int"},
            {"name": "offset__", "type": "long"},
            {"name": "changed__", "type": {"type": "array", "items": "string"}},
            *own,
        ],
    }


class CleanCodec:
    """Reads and writes the clean topic of one spec."""

    def __init__(self, spec: Spec) -> None:
        self._codec = schemas.Codec(clean_schema(spec))
        self._fields = [(n, _AVRO[f.type]) for n, f in spec.event.fields.items() if f.type != "ignore"]

    def encode(self, columns: Columns, changes: dict[int, list[str]]) -> list[bytes]:
        """One record a row."""
        listed = {n: _nulls(columns.values[n].tolist(), kind) for n, kind in self._fields}
        out = []
        for row, event_id in enumerate(columns.ids):
            record: dict[str, Any] = {n: values[row] for n, values in listed.items()}
            record |= {
                "id__": event_id,
                "time_ms__": int(columns.time_ms[row]),
                "partition__": int(columns.partition[row]),
                "offset__": int(columns.offset[row]),
                "changed__": changes.get(row, []),
            }
            out.append(self._codec.encode(record))
        return out

    def decode(self, values: Sequence[bytes]) -> Columns:
        """The columns of these records. Raises ValueError when one is damaged."""
        rows = [self._codec.decode(v) for v in values]
        columns: dict[str, Any] = {}
        for name, kind in self._fields:
            raw = [r[name] for r in rows]
            if kind == "double":
                columns[name] = np.array([np.nan if v is None else v for v in raw], np.float64)
            else:
                columns[name] = np.empty(len(raw), object)
                columns[name][:] = raw
        return Columns(
            [r["id__"] for r in rows],
            np.array([r["time_ms__"] for r in rows], np.int64),
            np.array([r["partition__"] for r in rows], np.int32),
            np.array([r["offset__"] for r in rows], np.int64),
            columns,
        )


def _nulls(values: list[Any], kind: str) -> list[Any]:
    return [None if v != v else v for v in values] if kind == "double" else values
