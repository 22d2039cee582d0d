"""The strings that an ONNX model holds, and whether it does no more with its string inputs than compare them.

Only then are two strings that it doesn't hold the same to it, so that a category whose name is not known may go in as
any such string. The package onnx is needed: onnxruntime tells nothing of a model's inside.
"""

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

from stream.errors import DataError

MOVES = {
    "ArrayFeatureExtractor", "Concat", "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where",
}  # fmt: skip
COMPARES = {"CategoryMapper", "Equal", "LabelEncoder", "OneHotEncoder", "Shape", "Size"}


def words_of(body: bytes, inputs: Iterable[str]) -> tuple[str, ...]:
    """All strings in the model, sorted. inputs: names of those that take strings.

    Raises DataError where onnx is missing, or where a string goes into an operator that looks inside of it.
    """
    try:
        onnx = importlib.import_module("onnx")
    except ImportError:
        raise DataError(
            "it takes strings, which needs the package onnx; `pip install headwater[onnx]` brings it"
        ) from None
    graph = onnx.load_model_from_string(body).graph
    held = set(inputs)
    for node in graph.node:
        touched = held.intersection(node.input)
        if touched and node.op_type in MOVES:
            held.update(node.output)
        elif touched and node.op_type not in COMPARES:
            raise DataError(
                f"its operator {node.op_type} is given the string {min(touched)!r}; "
                f"strings may be compared only ({', '.join(sorted(COMPARES))}), since the arm knows categories by hash"
            )
    return tuple(sorted(set(_strings(graph, onnx))))


def _strings(graph: Any, onnx: Any) -> Iterator[str]:
    tensors = list(graph.initializer)
    for node in graph.node:
        for attribute in node.attribute:
            yield from (s.decode() for s in attribute.strings)
            if attribute.s:
                yield attribute.s.decode(errors="replace")
            tensors += [attribute.t] if attribute.HasField("t") else []
            for inner in [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]:
                yield from _strings(inner, onnx)
    for tensor in tensors:
        if tensor.data_type == onnx.TensorProto.STRING:
            yield from (s.decode() for s in tensor.string_data)
