"""ModelInfer of one event from bytes to bytes: what most callers of the protocol ask, with no message made of it.

The request becomes the `PredictRequest` that asks the same, in one compiled call; the answer is put together from bytes
that all answers of a model have in common. Invariant: it is the answer that `Inference` gives by messages, or None.
"""

import struct
import threading
from collections.abc import Mapping
from typing import NamedTuple

from stream.predict.quick.infer import CALL, CALL_END, MODEL, RAW, Room, as_predict, names_of, new_room
from stream.predict.quick.plane import SIZES, Quick, varint
from stream.predict.quick.tables import BYTES_MAX
from stream.predict.served import Served

_DOUBLE, _SIZE = struct.Struct("<d"), struct.Struct("<I")
_OUTPUTS = {"score": "FP64", "prediction_id": "BYTES", "arm": "BYTES", "propensity": "FP64"}


class Asked(NamedTuple):
    """request: a serialised PredictRequest; model: whom it is for; call: the caller's own id for it."""

    request: bytes
    model: str
    call: bytes
    raw: bool


def _sized(tag: bytes, body: bytes) -> bytes:
    return tag + varint(len(body)) + body


def _tensor(name: str, datatype: str) -> bytes:
    """An output of one value, without it."""
    return _sized(b"\x0a", name.encode()) + _sized(b"\x12", datatype.encode()) + b"\x1a\x01\x01"


def _raw(output: tuple[str, float | str]) -> bytes:
    """An output's value in `raw_output_contents`."""
    value = output[1]
    if isinstance(value, str):
        body = value.encode()
        return _sized(b"\x32", _SIZE.pack(len(body)) + body)
    return b"\x32\x08" + _DOUBLE.pack(value)


class _Room(threading.local):
    room: Room | None = None


class PlainInfer:
    """Reads plain requests, writes plain answers; for tasks without classes, whose answer is one number."""

    def __init__(self, models: Mapping[str, str]) -> None:
        self._models, self._names = tuple(models), names_of(models)
        self._room = _Room()
        self._heads: dict[str, bytes] = {}
        self._served: Served | None = None
        heads = {name: _tensor(name, type_) for name, type_ in _OUTPUTS.items()}
        self._bare = {name: _sized(b"\x2a", head) for name, head in heads.items()}
        self._shapes = heads
        self._numbers = {
            name: _sized(b"\x2a", head + b"\x2a\x0a\x3a\x08" + bytes(8))[:-8] for name, head in heads.items()
        }
        as_predict(b"", self._names, new_room())  # no caller waits for a compiler

    def ask(self, body: bytes) -> Asked | None:
        """What a request asks; None where it is not plain."""
        if len(body) > BYTES_MAX:
            return None
        room = self._room.room
        if room is None:
            room = self._room.room = new_room()
        size = as_predict(body, self._names, room)
        if size < 0:
            return None
        told = room.told
        call = body[told[CALL] : told[CALL_END]] if told[CALL_END] >= 0 else b""
        return Asked(room.out[:size].tobytes(), self._models[told[MODEL]], call, bool(told[RAW] > 0))

    def answer(self, asked: Asked, quick: Quick) -> bytes:
        """The serialised ModelInferResponse."""
        stale = b"\x10" + varint(quick.staleness_ms)
        outputs: list[tuple[str, float | str]] = [("score", quick.score), ("prediction_id", quick.prediction_id)]
        if not quick.asked:
            outputs += [("arm", quick.arm), ("propensity", quick.propensity)]
        return b"".join((
            self._head(asked.model, quick.model), _sized(b"\x1a", asked.call) if asked.call else b"",
            b"\x22", SIZES[16 + len(stale)], b"\x0a\x0cstaleness_ms\x12", SIZES[len(stale)], stale,
            *(map(self._bare.__getitem__, dict(outputs)) if asked.raw else ()),
            *(map(_raw if asked.raw else self._whole, outputs)),
        ))  # fmt: skip

    def _whole(self, output: tuple[str, float | str]) -> bytes:
        """An output with its value in `contents`."""
        name, value = output
        if isinstance(value, str):
            return _sized(b"\x2a", self._shapes[name] + _sized(b"\x2a", _sized(b"\x42", value.encode())))
        return self._numbers[name] + _DOUBLE.pack(value)

    def _head(self, model: str, served: Served) -> bytes:
        if served is not self._served:
            self._served, self._heads = served, {}
        found = self._heads.get(model)
        if found is None:
            version = str(served.generation).encode()
            found = self._heads[model] = _sized(b"\x0a", model.encode()) + _sized(b"\x12", version)
        return found
