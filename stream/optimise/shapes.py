"""A model made ready for quantisation: what isn't read cut off, constants folded, types and ranks of tensors told.

Why: onnx's own inference gives up at operators of `ai.onnx.ml`, so behind a one-hot encoder or a scaler nothing would
be fused or quantised. onnxruntime knows the types, and a few rows show the ranks; sizes are left free.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

READY = {"onnx.quant.pre_process": "onnxruntime.quant"}  # onnxruntime's mark for a model that was prepared


def ready(body: bytes, output: str, feeds: Mapping[str, NDArray[Any]], folder: Path) -> Any:
    """The ModelProto, prepared; output: the one that is read; feeds: a few rows. Raises whatever they raise."""
    onnx: Any = importlib.import_module("onnx")
    quantizer: Any = importlib.import_module("onnxruntime.quantization.onnx_model")
    model = onnx.load_model_from_string(_folded(body, folder))
    _cut(model, output)
    for number, node in enumerate(model.graph.node):
        node.name = node.name or f"node-{number}"
    quantizer.ONNXModel(model).replace_gemm_with_matmul()  # what is left of it is fused again when it is opened
    _tell_types(model, onnx, feeds)
    onnx.helper.set_model_props(model, {p.key: p.value for p in model.metadata_props} | READY)
    return model


def _session(body: bytes, level: str, to: Path | None = None) -> Any:
    ort: Any = importlib.import_module("onnxruntime")
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, f"ORT_{level}")
    options.log_severity_level = 4
    if to is not None:
        options.optimized_model_filepath = str(to)
    return ort.InferenceSession(body, options, providers=["CPUExecutionProvider"])


def _folded(body: bytes, folder: Path) -> bytes:
    to = folder / "folded.onnx"
    _session(body, "ENABLE_BASIC", to)  # higher levels write operators that are onnxruntime's alone
    return to.read_bytes()


def _cut(model: Any, output: str) -> None:
    """Leave out other outputs and what they alone need; onnxruntime computes all that there is, asked for or not.

    A model with graphs inside of graphs stays whole: what those read from outside isn't followed.
    """
    if any(a.HasField("g") or a.graphs for node in model.graph.node for a in node.attribute):
        return
    kept = [o for o in model.graph.output if o.name == output]
    needed, nodes = {output}, []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    tensors = [t for t in model.graph.initializer if t.name in needed]
    for repeated, items in (
        (model.graph.output, kept), (model.graph.node, nodes[::-1]), (model.graph.initializer, tensors),
    ):  # fmt: skip
        copies = [type(item).FromString(item.SerializeToString()) for item in items]
        del repeated[:]
        repeated.extend(copies)


def _tell_types(model: Any, onnx: Any, feeds: Mapping[str, NDArray[Any]]) -> None:
    """Write type and rank of every tensor into the model, as a run over `feeds` shows them."""
    shown, known = type(model)(), {o.name for o in model.graph.output}
    shown.CopyFrom(model)
    inner = [name for node in model.graph.node for name in node.output if name and name not in known]
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inner)
    session = _session(shown.SerializeToString(), "DISABLE_ALL")
    del model.graph.value_info[:]
    for name, array in zip([o.name for o in session.get_outputs()], session.run(None, dict(feeds)), strict=True):
        if name not in known and hasattr(array, "dtype"):
            kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype) if array.dtype != object else 8
            model.graph.value_info.append(onnx.helper.make_tensor_value_info(name, kind, [None] * array.ndim))
