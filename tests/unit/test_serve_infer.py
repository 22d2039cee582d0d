"""Requests of the Open Inference Protocol read from their bytes: the values that their tensors hold, or nothing."""

import struct
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from consumers._serve_infer import PlainInfer
from consumers._serve_tensors import TYPES, columns_of
from schemas import headwater_pb2 as pb
from schemas import inference_pb2 as oip
from stream.predict.quick.infer import TENSORS_MAX
from stream.predict.quick.plane import varint
from stream.predict.quick.tables import BYTES_MAX
from stream.predict.refuse import InvalidRequest

ARMS = {"visits": "", "calm": "calm", "visits.x": "x"}
PLAIN = PlainInfer(ARMS)
SIZES = {"INT8": 8, "INT16": 16, "INT32": 32, "INT64": 64, "UINT8": 8, "UINT16": 16, "UINT32": 32}


def value_of(datatype: str) -> st.SearchStrategy[Any]:
    """Values that a datatype holds."""
    if datatype == "BYTES":
        return st.one_of(st.text(max_size=6).map(str.encode), st.just(b"x" * 200), st.binary(max_size=3))
    if datatype in ("FP64", "FP32"):
        return st.floats(width=64 if datatype == "FP64" else 32)
    if datatype == "BOOL":
        return st.booleans()
    bits = SIZES[datatype]
    return st.integers(0, (1 << bits) - 1) if datatype[0] == "U" else st.integers(-1 << bits - 1, (1 << bits - 1) - 1)


tensors = st.lists(
    st.tuples(
        st.one_of(st.sampled_from(["amount", "device", "é"]), st.text("ab", min_size=1, max_size=200)),
        st.sampled_from(sorted(TYPES)).flatmap(lambda t: st.tuples(st.just(t), value_of(t))),
        st.sampled_from([[1], [1, 1]]),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda tensor: tensor[0],
)


def message_of(found: Any, model: str = "calm", call: str = "", raw: bool = False) -> oip.ModelInferRequest:
    """A request of one event."""
    message = oip.ModelInferRequest(model_name=model, id=call)
    for name, (datatype, value), shape in found:
        tensor, known = message.inputs.add(name=name, datatype=datatype, shape=shape), TYPES[datatype]
        if not raw:
            getattr(tensor.contents, known.contents).append(value)
        elif datatype == "BYTES":
            message.raw_input_contents.append(struct.pack("<I", len(value)) + value)
        else:
            message.raw_input_contents.append(np.array([value], known.dtype).tobytes())
    return message


def unpacked(message: oip.ModelInferRequest) -> bytes:
    """The message as a library writes it that packs no numbers."""
    out = bytearray()
    for field, value in message.ListFields():
        if field.name != "inputs":
            part = oip.ModelInferRequest()
            if field.name == "raw_input_contents":
                part.raw_input_contents.extend(value)
            else:
                setattr(part, field.name, value)
            out += part.SerializeToString()
            continue
        for tensor in value:
            plain = type(tensor)(name=tensor.name, datatype=tensor.datatype).SerializeToString()
            plain += b"".join(b"\x18" + bytes([size]) for size in tensor.shape)
            if tensor.HasField("contents"):
                held = tensor.contents.SerializeToString()
                begin = 2 if held and held[0] >> 3 != 8 else 0  # without the length that packing writes
                wire = {6: 5, 7: 1}.get(held[0] >> 3, 0) if held else 0
                held = bytes([held[0] & 0xF8 | wire]) + held[begin:] if begin else held
                plain += b"\x2a" + varint(len(held)) + held
            out += b"\x2a" + varint(len(plain)) + plain
    assert oip.ModelInferRequest.FromString(bytes(out)) == message or "nan" in str(message)
    return bytes(out)


def wanted(message: oip.ModelInferRequest) -> pb.PredictRequest:
    """The request that asks the same, by way of columns. Raises InvalidRequest."""
    rows, columns = columns_of(message, False)
    assert rows == 1
    out = pb.PredictRequest(arm=ARMS[message.model_name])
    for name, column in columns.items():
        values: Any = column.values
        value = values[0 if column.index is None else int(column.index[0])]
        kinds: dict[str, Any] = {"double": float, "int64": int, "bool": bool, "string": str}
        setattr(out.fields[name], f"{column.kind}_value", kinds[column.kind](value))
    return out


def exact(message: pb.PredictRequest) -> list[tuple[str, bytes]]:
    """Fields to the bit; NaN equals NaN."""
    return sorted((name, value.SerializeToString(deterministic=True)) for name, value in message.fields.items())


def hold(message: oip.ModelInferRequest, body: bytes) -> bool:
    """Hold what is read from the bytes to what the message says; whether it was read."""
    asked = PLAIN.ask(body)
    if asked is None:
        return False
    try:
        should = wanted(message)
    except InvalidRequest:  # a name given twice, or a text that is no UTF-8: the next kernel doubts both
        names = [tensor.name for tensor in message.inputs]
        if len(set(names)) == len(names):
            with pytest.raises(DecodeError):
                pb.PredictRequest.FromString(asked.request)
        return True
    found = pb.PredictRequest.FromString(asked.request)
    assert exact(found) == exact(should)
    assert (found.arm, found.unit, found.event_id) == (should.arm, "", "")
    assert (asked.model, asked.call.decode()) == (message.model_name, message.id)
    assert asked.raw == bool(message.raw_input_contents)
    return True


def is_tiny(found: Any) -> bool:
    """Whether a value is a float32 that the kernel leaves: infinite, no number, or smaller than usual."""
    return any(t == "FP32" and not (v == 0 or (np.isfinite(v) and abs(v) >= 2.0**-126)) for _, (t, v), _ in found)


@settings(max_examples=150, deadline=None)
@given(tensors, st.sampled_from(sorted(ARMS)), st.sampled_from(["", "c", "ä" * 90]), st.booleans())
def test_one_event_is_read_as_its_tensors_say(found: Any, model: str, call: str, raw: bool) -> None:
    message = message_of(found, model, call, raw)
    for body in (message.SerializeToString(), unpacked(message)):
        assert hold(message, body) == (not is_tiny(found))


@settings(max_examples=250, deadline=None)
@given(tensors, st.booleans(), st.data())
def test_bytes_that_are_cut_changed_or_added_to_are_read_as_protobuf_reads_them_or_not_at_all(
    found: Any, raw: bool, data: st.DataObject
) -> None:
    message = message_of(found, raw=raw)
    body = bytearray(data.draw(st.sampled_from([message.SerializeToString(), unpacked(message)])))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        how = data.draw(st.sampled_from(["set", "cut", "add", "twice"]))
        if how == "set":
            body[at] = data.draw(st.integers(0, 255))
        elif how == "cut":
            del body[max(1, at) :]
        elif how == "add":
            body[at:at] = data.draw(st.binary(max_size=3))
        else:
            body += body[at:]
    try:
        message = oip.ModelInferRequest.FromString(bytes(body))
    except DecodeError:
        asked = PLAIN.ask(bytes(body))  # a name that is no UTF-8 is no field's
        if asked is not None:
            with pytest.raises(DecodeError):
                pb.PredictRequest.FromString(asked.request)
        return
    hold(message, bytes(body))


def doubted(message: oip.ModelInferRequest) -> bool:
    return PLAIN.ask(message.SerializeToString()) is None


def test_what_is_more_than_one_plain_event_is_left_to_the_messages() -> None:
    one = [("amount", ("FP64", 1.0), [1])]
    assert not doubted(message_of(one))
    for change in (
        lambda m: m.parameters["nan_is_missing"].MergeFrom(oip.InferParameter(bool_param=True)),
        lambda m: m.outputs.add(name="score"),
        lambda m: setattr(m, "model_version", "1"),
        lambda m: setattr(m, "model_name", "nobody"),
        lambda m: m.ClearField("model_name"),
        lambda m: m.ClearField("inputs"),
        lambda m: m.inputs[0].contents.fp64_contents.append(2.0),
        lambda m: m.inputs[0].contents.int64_contents.append(2),
        lambda m: m.inputs[0].shape.append(2),
        lambda m: m.inputs[0].ClearField("shape"),
        lambda m: m.inputs[0].ClearField("contents"),
        lambda m: m.inputs[0].parameters["x"].MergeFrom(oip.InferParameter(bool_param=True)),
        lambda m: setattr(m.inputs[0], "datatype", "FP16"),
        lambda m: setattr(m.inputs[0], "datatype", "INT64"),
        lambda m: m.raw_input_contents.append(bytes(8)),
    ):
        message = message_of(one)
        change(message)
        assert doubted(message), message
    raw = message_of([*one, ("vip", ("BOOL", True), [1])], raw=True)
    assert not doubted(raw)
    for at, bad in ((0, b""), (0, bytes(7)), (0, bytes(9)), (1, b"\2"), (1, b"")):
        message = oip.ModelInferRequest.FromString(raw.SerializeToString())
        message.raw_input_contents[at] = bad
        assert doubted(message)
    del raw.raw_input_contents[1:]
    assert doubted(raw)


def test_a_request_of_too_many_tensors_or_bytes_is_left_to_the_messages() -> None:
    assert not doubted(message_of([(f"t{n}", ("FP32", 1.0), [1]) for n in range(TENSORS_MAX)]))
    assert doubted(message_of([(f"t{n}", ("FP32", 1.0), [1]) for n in range(TENSORS_MAX + 1)]))
    for size, left in ((BYTES_MAX - 50, False), (BYTES_MAX, True)):
        assert doubted(message_of([("device", ("BYTES", b"x" * size), [1])])) == left
