"""Tensors of the Open Inference Protocol ↔ columns. Conversion only; what a value may be is for the plane to say.

A tensor holds one field of n events, shape [n] or [n, 1], in `contents` or raw; what is raw is little-endian, and a
BYTES value has its length before it (uint32).
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas import headwater_pb2 as pb
from schemas import inference_pb2 as oip
from stream.arrive.node import Node
from stream.block import F64
from stream.predict.given import Column, Kind, numbered
from stream.predict.refuse import InvalidRequest


class _Type(NamedTuple):
    dtype: str
    contents: str
    kind: Kind


_INT: Kind = "int64"
TYPES: dict[str, _Type] = {
    "FP64": _Type("<f8", "fp64_contents", "double"),
    "FP32": _Type("<f4", "fp32_contents", "double"),
    "INT64": _Type("<i8", "int64_contents", _INT),
    "INT32": _Type("<i4", "int_contents", _INT),
    "INT16": _Type("<i2", "int_contents", _INT),
    "INT8": _Type("i1", "int_contents", _INT),
    "UINT32": _Type("<u4", "uint_contents", _INT),
    "UINT16": _Type("<u2", "uint_contents", _INT),
    "UINT8": _Type("u1", "uint_contents", _INT),
    "BOOL": _Type("?", "bool_contents", "bool"),
    "BYTES": _Type("", "bytes_contents", "string"),
}
"""Datatypes that are read. UINT64 and FP16 have no field that would hold them whole, or need them."""
_OF_AVRO = {"double": "FP64", "float": "FP64", "int": "INT64", "long": "INT64", "boolean": "BOOL"}
_SIZE = struct.Struct("<I")


def datatype_of(node: Node) -> str:
    """The datatype that a field of this Avro type is described with."""
    return _OF_AVRO.get(node.type, "BYTES")


def columns_of(message: oip.ModelInferRequest, nan_is_missing: bool) -> tuple[int, dict[str, Column]]:
    """Rows, and a column for each input. Raises InvalidRequest."""
    raw = message.raw_input_contents
    if not message.inputs:
        raise _wrong("inputs: none; one tensor for each field is wanted")
    if raw and len(raw) != len(message.inputs):
        raise _wrong(
            f"raw_input_contents: found {len(raw)}; one for each of the {len(message.inputs)} inputs is wanted"
        )
    rows, out = -1, dict[str, Column]()
    for number, tensor in enumerate(message.inputs):
        size = _rows(tensor)
        if rows not in (-1, size):
            raise _wrong(
                f"{tensor.name}: found shape {list(tensor.shape)}; {rows} rows are wanted, as the first input has"
            )
        if tensor.name in out:
            raise _wrong(f"{tensor.name}: given twice")
        rows = size
        out[tensor.name] = _column(tensor, raw[number] if raw else None, rows, nan_is_missing)
    return rows, out


def row_of(message: oip.ModelInferRequest, nan_is_missing: bool) -> pb.PredictRequest | None:
    """The one event of a request that is plain: one value a tensor, none of them raw; None for every other."""
    out = pb.PredictRequest()
    if message.raw_input_contents or not message.inputs:
        return None
    for tensor in message.inputs:
        known = TYPES.get(tensor.datatype)
        if known is None or tensor.name in out.fields or list(tensor.shape) not in ([1], [1, 1]):
            return None
        values = getattr(tensor.contents, known.contents)
        if len(values) != 1:
            return None
        value, field = values[0], out.fields[tensor.name]
        if nan_is_missing and value != value:
            continue  # a null
        try:
            setattr(field, f"{known.kind}_value", value)  # from bytes: checked for UTF-8
        except ValueError:
            return None
    return out


def _wrong(detail: str) -> InvalidRequest:
    return InvalidRequest("request.wrong", detail)


def _rows(tensor: oip.ModelInferRequest.InferInputTensor) -> int:
    shape = list(tensor.shape)
    if len(shape) not in (1, 2) or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise _wrong(f"{tensor.name}: found shape {shape}; [n] or [n, 1] is wanted")
    return shape[0]


def _column(
    tensor: oip.ModelInferRequest.InferInputTensor, raw: bytes | None, rows: int, nan_is_missing: bool
) -> Column:
    name, known = tensor.name, TYPES.get(tensor.datatype)
    if known is None:
        raise _wrong(f"{name}: found datatype {tensor.datatype[:20]!r}; one of {', '.join(TYPES)} is wanted")
    if raw is not None and tensor.HasField("contents"):
        raise _wrong(f"{name}: contents and raw_input_contents are both given; one of them is wanted")
    if known.kind == "string":
        values = list(tensor.contents.bytes_contents) if raw is None else _split(name, raw)
        _counted(name, len(values), rows)
        texts, index = numbered([_text(name, row, value) for row, value in enumerate(values)])
        return Column("string", texts, index)
    if raw is None:
        numbers = np.array(getattr(tensor.contents, known.contents))
    else:
        dtype = np.dtype(known.dtype)
        if len(raw) != rows * dtype.itemsize:
            detail = f"{name}: {len(raw)} raw bytes; {rows} values of {dtype.itemsize} bytes are wanted"
            raise _wrong(detail)
        numbers = np.frombuffer(raw, dtype)
    _counted(name, len(numbers), rows)
    numbers = numbers.astype({"double": np.float64, "int64": np.int64, "bool": np.bool_}[known.kind])
    nulls = np.isnan(numbers) if nan_is_missing and known.kind == "double" else None
    return Column(known.kind, numbers, None, nulls)


def _counted(name: str, found: int, rows: int) -> None:
    if found != rows:
        raise _wrong(f"{name}: found {found} values; {rows} are wanted, as the shape says")


def _text(name: str, row: int, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise InvalidRequest("field.wrong_type", f"{name}: row {row}: {len(value)} bytes; UTF-8 is wanted") from None


def _split(name: str, raw: bytes) -> list[bytes]:
    """The values of a raw BYTES tensor."""
    out: list[bytes] = []
    at = 0
    while at < len(raw):
        begin = at + _SIZE.size
        size = _SIZE.unpack_from(raw, at)[0] if begin <= len(raw) else 0
        at = begin + size
        if at > len(raw):
            raise _wrong(f"{name}: value {len(out)} of the raw bytes goes on past their end")
        out.append(raw[begin:at])
    return out


# -- out -----------------------------------------------------------------------------------------------


def add_output(message: oip.ModelInferResponse, name: str, values: F64 | Sequence[str], raw: bool) -> None:
    """Append one output: numbers as FP64, of shape [n] or [n, k]; texts as BYTES, of shape [n]."""
    tensor = message.outputs.add(name=name)
    if isinstance(values, np.ndarray):
        tensor.datatype = "FP64"
        tensor.shape.extend(values.shape)
        if raw:
            message.raw_output_contents.append(_bytes(values))
        else:
            tensor.contents.fp64_contents.extend(values.ravel())
        return
    texts = [text.encode() for text in values]
    tensor.datatype = "BYTES"
    tensor.shape.append(len(texts))
    if raw:
        message.raw_output_contents.append(b"".join(_SIZE.pack(len(t)) + t for t in texts))
    else:
        tensor.contents.bytes_contents.extend(texts)


def _bytes(values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, "<f8").tobytes()
