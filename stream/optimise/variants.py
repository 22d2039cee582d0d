"""The forms of one ONNX file: as it is, fused, in float16, in int8 with ranges found on the way or beforehand.

Only matrix products and convolutions become int8. A link or a sum in 256 steps would cost quality and save nothing. A
form that can't be made is told with the reason, and nothing stands in for it.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from stream.learn.onnx_model import Level
from stream.optimise.shapes import ready

Feeds = Mapping[str, NDArray[Any]]
ORIGINAL = "fp32"
NAMES = (ORIGINAL, "fused", "float16", "int8-dynamic", "int8-static")


@dataclass(frozen=True, slots=True)
class Variant:
    """One form. level: of onnxruntime's graph optimisation when it is opened; refused: why there is no body."""

    name: str
    body: bytes
    level: Level = "all"
    refused: str = ""


def variants(body: bytes, output: str, calibration: Sequence[Feeds], folder: Path) -> Iterator[Variant]:
    """All forms, the original first; output: the one that is read, and kept; calibration: rows for the ranges of int8;
    folder: for what is written on the way.

    `fp32` is opened without graph optimisation, all others with all of it.
    """
    yield Variant(ORIGINAL, body, "none")
    try:
        prepared = ready(body, output, calibration[0], folder)
    except Exception as e:  # whatever onnx and onnxruntime find in a person's file
        why = f"the file can't be prepared: {_line(e)}"
        yield Variant("fused", body)
        yield from (Variant(name, b"", refused=why) for name in NAMES[2:])
        return
    yield Variant("fused", prepared.SerializeToString())
    makers: dict[str, Callable[[Any], Any]] = {
        "float16": _half,
        "int8-dynamic": lambda model: _dynamic(model, folder),
        "int8-static": lambda model: _static(model, calibration, folder),
    }
    for name, make in makers.items():
        copy = type(prepared)()
        copy.CopyFrom(prepared)
        try:
            made = make(copy)
        except Exception as e:
            yield Variant(name, b"", refused=_line(e))
            continue
        smaller = _has_small_weights(made)
        why = "" if smaller else "nothing became smaller: it has no float32 matrix product with weights of its own"
        yield Variant(name, made.SerializeToString() if smaller else b"", refused=why)


def _line(e: Exception) -> str:
    return (str(e).strip().splitlines() or [""])[0][:200] or type(e).__name__


def _has_small_weights(model: Any) -> bool:
    """Whether a matrix in it is of int8, uint8 or float16."""
    onnx: Any = importlib.import_module("onnx")
    small = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8, onnx.TensorProto.FLOAT16}
    return any(t.data_type in small and len(t.dims) > 1 for t in model.graph.initializer)


def _half(model: Any) -> Any:
    float16: Any = importlib.import_module("onnxruntime.transformers.float16")
    return float16.convert_float_to_float16(model, keep_io_types=True)


def _read(path: Path) -> Any:
    onnx: Any = importlib.import_module("onnx")
    return onnx.load_model_from_string(path.read_bytes())


def _dynamic(model: Any, folder: Path) -> Any:
    q: Any = importlib.import_module("onnxruntime.quantization")
    to = folder / "dynamic.onnx"
    q.quantize_dynamic(model, to, op_types_to_quantize=["MatMul"], weight_type=q.QuantType.QInt8, per_channel=True)
    return _read(to)


def _static(model: Any, calibration: Sequence[Feeds], folder: Path) -> Any:
    q: Any = importlib.import_module("onnxruntime.quantization")
    to, rest = folder / "static.onnx", iter(calibration)

    class Reader(q.CalibrationDataReader):  # type: ignore[misc]
        def get_next(self) -> Feeds | None:
            return next(rest, None)

    q.quantize_static(
        model, to, Reader(), quant_format=q.QuantFormat.QDQ, op_types_to_quantize=["MatMul", "Conv"],
        activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    return _read(to)
