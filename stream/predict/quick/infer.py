"""A `ModelInferRequest` of one event, made into the `PredictRequest` that asks the same: bytes to bytes, in one call.

So the Open Inference Protocol has the quick way of `Predict`, and nothing of it is decided twice. It reads what clients
of the protocol write (values in `contents` or raw) and doubts all else: parameters, chosen outputs, a version, more
than one row. Invariant: where nothing is doubted, the request holds the very values that the tensors do.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.jit import brief, compiled, digest_of
from stream.predict.quick.tables import BYTES_MAX
from stream.predict.quick.texts import is_utf8
from stream.predict.quick.wire import same, span_of, varint_of

TENSORS_MAX = 256
F64, F32, SIGNED, UNSIGNED, FLAG, TEXT = range(6)
WIRE = (1, 5, 0, 0, 0, 2)  # how protobuf writes each of them
_TYPES = (
    ("FP64", 7, F64, 8), ("FP32", 6, F32, 4), ("INT64", 3, SIGNED, 8), ("INT32", 2, SIGNED, 4), ("INT16", 2, SIGNED, 2),
    ("INT8", 2, SIGNED, 1), ("UINT32", 4, UNSIGNED, 4), ("UINT16", 4, UNSIGNED, 2), ("UINT8", 4, UNSIGNED, 1),
    ("BOOL", 1, FLAG, 1), ("BYTES", 8, TEXT, 0),
)  # fmt: skip
"""Name, its number in InferTensorContents, how it is written, bytes of a raw value."""
NAME, NAME_END, TYPE, GIVEN, GIVEN_END, VALUE, VALUE_END, TENSOR = range(8)
MODEL, CALL, CALL_END, RAW, TOLD = range(5)


class Names(NamedTuple):
    """pool: uint8, all texts; models: int64[m, 4], spans of a model's name and of its arm's; types: int64[t, 5], span
    of the name, number, form and width.
    """

    pool: NDArray[np.uint8]
    models: NDArray[np.int64]
    types: NDArray[np.int64]


class Room(NamedTuple):
    """A thread's own. tensors: int64[TENSORS_MAX, TENSOR]; out: uint8, the request that is made; told: int64[TOLD]."""

    tensors: NDArray[np.int64]
    out: NDArray[np.uint8]
    told: NDArray[np.int64]


def names_of(models: Mapping[str, str]) -> Names:
    """What a request may name; models: a model's name → its arm, '' where one is assigned."""
    pool = bytearray()

    def text(given: str) -> tuple[int, int]:
        begin = len(pool)
        pool.extend(given.encode())
        return begin, len(pool)

    named = [(*text(name), *text(arm)) for name, arm in models.items()]
    types = [(*text(name), *rest) for name, *rest in _TYPES]
    return Names(np.frombuffer(pool, np.uint8), np.array(named, np.int64), np.array(types, np.int64))


def new_room() -> Room:
    """Room for one request of at most BYTES_MAX bytes."""
    return Room(
        np.zeros((TENSORS_MAX, TENSOR), np.int64), np.zeros(2 * BYTES_MAX + 64, np.uint8), np.zeros(TOLD, np.int64)
    )


@compiled
def _is_tensor(names: Any, body: Any, at: Any, end: Any, tensor: Any) -> Any:
    """Read one input; whether it is plain, and of one value."""
    tensor[:] = -1
    dims = 0
    while at < end:
        tag = body[at]
        if tag == 0x18 and at + 1 < end and body[at + 1] == 1:  # of the shape, not packed
            dims += 1
            at += 2
            continue
        begin, at = span_of(body, at + 1, end)
        if at < 0:
            return False
        if tag == 0x0A and tensor[NAME_END] < 0:
            tensor[NAME], tensor[NAME_END] = begin, at
        elif tag == 0x12 and tensor[TYPE] < 0:
            for number in range(len(names.types)):
                if same(body, begin, at, names.pool, names.types[number, 0], names.types[number, 1]):
                    tensor[TYPE] = number
            if tensor[TYPE] < 0:
                return False
        elif tag == 0x1A:
            for i in range(begin, at):
                if body[i] != 1:
                    return False
            dims += at - begin
        elif tag == 0x2A and tensor[GIVEN_END] < 0:
            tensor[GIVEN], tensor[GIVEN_END] = begin, at
        else:
            return False
    return 1 <= dims <= 2 and tensor[NAME_END] >= 0 and tensor[TYPE] >= 0


@compiled
def _little(body: Any, begin: Any, end: Any) -> Any:
    """A little-endian number of at most 8 bytes."""
    value = np.uint64(0)
    for i in range(end - begin):
        value |= np.uint64(body[begin + i]) << np.uint64(8 * i)
    return value


@compiled
def _widened(bits: Any) -> Any:
    """(the bits of a float32 as those of the same float64, whether it is a usual number)."""
    exponent = (bits >> np.uint64(23)) & np.uint64(0xFF)
    sign = (bits >> np.uint64(31)) << np.uint64(63)
    if bits & np.uint64(0x7FFFFFFF) == 0:
        return sign, True
    if exponent == 0 or exponent == 0xFF:
        return sign, False
    return sign | (exponent + np.uint64(896)) << np.uint64(52) | (bits & np.uint64(0x7FFFFF)) << np.uint64(29), True


@compiled
def _number(form: Any, width: Any, body: Any, begin: Any, end: Any, raw: Any) -> Any:
    """(64 bits of a value that is no text, whether it is plain)."""
    size = end - begin
    if form in (F64, F32):
        if size != width:
            return np.uint64(0), False
        bits = _little(body, begin, end)
        return (bits, True) if form == F64 else _widened(bits)
    if raw:
        if size != width:
            return np.uint64(0), False
        value = _little(body, begin, end)
        if form == SIGNED and width < 8:
            spare = np.int64(64 - 8 * width)
            value = np.uint64(np.int64(value << np.uint64(spare)) >> spare)
        return value, form != FLAG or value <= 1
    value, to = varint_of(body, begin, end)
    if form == FLAG:
        return value, to == end and value <= 1
    if form == UNSIGNED:
        return value, to == end and value < np.uint64(1 << 32)
    whole = np.int64(value)
    return value, to == end and (width == 8 or -(1 << 31) <= whole < (1 << 31))


@compiled
def _size_of(value: Any) -> Any:
    """Bytes that a number takes."""
    size = 1
    while value >= np.uint64(128):
        value >>= np.uint64(7)
        size += 1
    return size


@compiled
def _put(out: Any, at: Any, value: Any) -> Any:
    """Write a number; where it ends."""
    while value >= np.uint64(128):
        out[at] = np.uint8(value & np.uint64(0x7F) | np.uint64(0x80))
        value >>= np.uint64(7)
        at += 1
    out[at] = np.uint8(value)
    return at + 1


@compiled
def _put_text(out: Any, at: Any, tag: Any, text: Any, begin: Any, end: Any) -> Any:
    """Write a text with its tag and length; where it ends."""
    out[at] = tag
    at = _put(out, at + 1, np.uint64(end - begin))
    for i in range(begin, end):
        out[at] = text[i]
        at += 1
    return at


@compiled
def _entry(names: Any, body: Any, tensor: Any, out: Any, at: Any) -> Any:
    """Write one field of the request; where it ends, -1 where its value is doubted."""
    type_, raw = names.types[tensor[TYPE]], tensor[VALUE_END] >= 0
    form, begin, end, bits = type_[3], tensor[VALUE], tensor[VALUE_END], np.uint64(0)
    if not raw:
        begin, end = tensor[GIVEN], tensor[GIVEN_END]
        if end <= begin or body[begin] >> 3 != type_[2]:
            return -1
        wire = body[begin] & 7
        begin += 1
        if wire == 2:
            begin, to = span_of(body, begin, end)
            if to != end:
                return -1
        elif wire != WIRE[form]:  # a number that is not packed
            return -1
    if form == TEXT:
        if raw:
            if end - begin < 4 or _little(body, begin, begin + 4) != np.uint64(end - begin - 4):
                return -1
            begin += 4
        value = 1 + _size_of(np.uint64(end - begin)) + end - begin
    else:
        bits, plain = _number(form, type_[4], body, begin, end, raw)
        if not plain:
            return -1
        value = 9 if form in (F64, F32) else 1 + _size_of(bits)
    name = tensor[NAME_END] - tensor[NAME]
    out[at] = 0x0A
    at = _put(out, at + 1, np.uint64(2 + _size_of(np.uint64(name)) + name + _size_of(np.uint64(value)) + value))
    at = _put_text(out, at, 0x0A, body, tensor[NAME], tensor[NAME_END])
    out[at] = 0x12
    at = _put(out, at + 1, np.uint64(value))
    if form == TEXT:
        return _put_text(out, at, 0x1A, body, begin, end)
    if form in (F64, F32):
        out[at] = 0x09
        for i in range(8):
            out[at + 1 + i] = np.uint8(bits >> np.uint64(8 * i) & np.uint64(0xFF))
        return at + 9
    out[at] = 0x20 if form == FLAG else 0x10
    return _put(out, at + 1, bits)


@compiled
def _read(names: Any, body: Any, tensors: Any, told: Any) -> Any:
    """Read the whole request; how many inputs it has, 0 where it is doubted."""
    at, size, count, raw = np.int64(0), len(body), 0, 0
    while at < size:
        tag = body[at]
        begin, at = span_of(body, at + 1, size)
        if at < 0:
            return 0
        if tag == 0x0A and told[MODEL] < 0:
            for model in range(len(names.models)):
                if same(body, begin, at, names.pool, names.models[model, 0], names.models[model, 1]):
                    told[MODEL] = model
            if told[MODEL] < 0:
                return 0
        elif tag == 0x1A and told[CALL_END] < 0:
            told[CALL], told[CALL_END] = begin, at
            if not is_utf8(body, begin, at):
                return 0
        elif tag == 0x2A and raw == 0 and count < len(tensors):
            if not _is_tensor(names, body, begin, at, tensors[count]):
                return 0
            count += 1
        elif tag == 0x3A and raw < count and tensors[raw, GIVEN_END] < 0:
            tensors[raw, VALUE], tensors[raw, VALUE_END] = begin, at
            raw += 1
        else:
            return 0
    told[RAW] = raw
    return count if told[MODEL] >= 0 and (raw == 0 or raw == count) else 0


Ask = Callable[[bytes, Names, Room], int]


def _entry_point(sources: int) -> Ask:
    @brief
    def as_predict(body: bytes, names: Names, room: Room) -> Any:
        """Fill `room` from a request of at most BYTES_MAX bytes; the size of what `out` holds, -1 if it is doubted."""
        _ = sources
        room.told[:] = -1
        at, count = np.int64(0), _read(names, body, room.tensors, room.told)
        for number in range(count):
            at = _entry(names, body, room.tensors[number], room.out, at)
            if at < 0:
                return -1
        model = names.models[room.told[MODEL]]
        if count and model[3] > model[2]:
            at = _put_text(room.out, at, 0x22, names.pool, model[2], model[3])
        return at if count else -1

    found: Ask = as_predict
    return found


as_predict = _entry_point(digest_of(*Path(__file__).parent.glob("*.py")))
