"""A quick answer → its record of the predictions topic, at a third of what encoding all of its fields costs.

What answers of one model and arm have in common is encoded once, by the codec's own library; the rest is put between.
Invariant: the bytes are those that the codec makes of the same record.
"""

import io
import struct
from collections.abc import Sequence
from typing import Any

import fastavro

import schemas
from stream.predict.quick.plane import Quick
from stream.predict.served import Served
from stream.predict.steer import EXPERIMENT

_BEFORE, _MIDDLE, _AFTER, _LAST = (
    ("arm", "propensity"),
    ("model_generation", "model_sha256", "trained_label_offset"),
    ("experiment", "spec_hash"),
    ("assigned", "control_seq", "shadows"),
)
ORDER = (
    "prediction_id", "id", "unit", *_BEFORE, "score", "scores", "event_time_ms", "served_ms", "latency_us", *_MIDDLE,
    "staleness_ms", *_AFTER, "dropped_before", *_LAST,
)  # fmt: skip
"""The fields as `QuickLog` writes them, which is the schema's order."""
_DOUBLE = struct.Struct("<d")
_KEYS_MAX = 1000


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


_SMALL = [_varint(value) for value in range(1 << 13)]


def long(value: int) -> bytes:
    """A whole number of 64 bits as Avro writes it."""
    folded = (value << 1) ^ (value >> 63)
    return _SMALL[folded] if folded < 1 << 13 else _varint(folded)


class QuickLog:
    """Encodes quick answers; for one thread."""

    def __init__(self) -> None:
        codec = schemas.codec("prediction")
        parsed: Any = codec.schema
        fields = {field["name"]: field for field in parsed["fields"]}
        if tuple(fields) != ORDER:
            raise AssertionError(f"prediction.avsc has fields {tuple(fields)}; this writes {ORDER}")
        self._prefix = codec.prefix
        self._groups: list[Any] = [
            {"type": "record", "name": "Group", "fields": [fields[name] for name in names]}
            for names in (_BEFORE, _MIDDLE, _AFTER, _LAST)
        ]
        self._model: Served | None = None
        self._known: dict[tuple[str, float, str, int], Sequence[bytes]] = {}

    def encode(self, quick: Quick, served_ms: int, latency_us: int, dropped_before: int) -> bytes:
        """The record."""
        if quick.model is not self._model or len(self._known) > _KEYS_MAX:
            self._model, self._known = quick.model, {}
        key = (quick.arm, quick.propensity, quick.how, quick.control_seq)
        fixed = self._known.get(key)
        if fixed is None:
            fixed = self._known[key] = self._fixed(quick)
        named, own, whose = quick.prediction_id.encode(), quick.event_id.encode(), quick.unit.encode()
        scores = quick.scores
        listed = long(len(scores)) + struct.pack(f"<{len(scores)}d", *scores) + b"\0" if scores else b"\0"
        return b"".join((
            self._prefix, long(len(named)), named, long(len(own)), own, long(len(whose)), whose, fixed[0],
            _DOUBLE.pack(quick.score), listed, long(quick.time_ms), long(served_ms), long(latency_us), fixed[1],
            long(quick.staleness_ms), fixed[2], long(dropped_before), fixed[3],
        ))  # fmt: skip

    def _fixed(self, quick: Quick) -> list[bytes]:
        spec = quick.plane.spec
        values: dict[str, Any] = {
            "arm": quick.arm, "propensity": quick.propensity, "model_generation": quick.model.generation,
            "model_sha256": quick.model.sha256, "trained_label_offset": quick.model.label_offset,
            "experiment": spec.experiment.name if quick.how == EXPERIMENT else "",
            "spec_hash": quick.plane.spec_hash, "assigned": quick.how, "control_seq": quick.control_seq, "shadows": [],
        }  # fmt: skip
        out = []
        for group in self._groups:
            body = io.BytesIO()
            fastavro.schemaless_writer(body, group, {f["name"]: values[f["name"]] for f in group["fields"]})
            out.append(body.getvalue())
        return out
