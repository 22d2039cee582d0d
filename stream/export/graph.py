"""A thin builder of ONNX graphs in float64: names are made here, types follow from what goes in.

Operators of `ai.onnx.ml` 4: in its version 5 the tree ensemble that onnxruntime runs in float64 is gone.
"""

import importlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.errors import DataError

OPSETS = {"": 23, "ai.onnx.ml": 4}
IR_VERSION = 11
ML = {"LabelEncoder", "TreeEnsembleRegressor"}
OUTPUT = "score"


def onnx() -> Any:
    """The package onnx. Raises DataError where it is missing."""
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise DataError("models are written with the package onnx; `pip install headwater[onnx]` brings it") from None


class Graph:
    """Collects constants and operators; each returns the name of what it gives."""

    def __init__(self) -> None:
        self._onnx = onnx()
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []
        self._inputs: list[Any] = []
        self.double, self.int64 = self._onnx.TensorProto.DOUBLE, self._onnx.TensorProto.INT64

    def input(self, name: str, values: NDArray[Any] | type, width: int) -> str:
        """An input [n, width] of this array type; `object` means strings."""
        kind = self._onnx.TensorProto.STRING if values is object else self._type(np.dtype(values))
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, ["n", width]))
        return name

    def _type(self, dtype: Any) -> Any:
        return self._onnx.helper.np_dtype_to_tensor_dtype(dtype)

    def constant(self, values: Any, name: str = "") -> str:
        """A tensor of the model."""
        array = np.asarray(values)
        name = name or f"c{len(self._tensors)}"
        self._tensors.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def default(self, name: str, values: NDArray[Any]) -> str:
        """An input of this fixed shape that a caller may leave out: these values stand in then."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, self._type(values.dtype), values.shape))
        return self.constant(values, name)

    def op(self, kind: str, *inputs: str, unused: int = 0, **attributes: Any) -> str:
        """The first output of an operator that has `unused` more."""
        name = f"t{len(self._nodes)}"
        outputs = [name, *(f"{name}-{i}" for i in range(unused))]
        domain = "ai.onnx.ml" if kind in ML else ""
        self._nodes.append(self._onnx.helper.make_node(kind, list(inputs), outputs, domain=domain, **attributes))
        return name

    def tensor(self, values: Any) -> Any:
        """A float64 tensor as an attribute."""
        return self._onnx.numpy_helper.from_array(np.asarray(values, np.float64), "")

    def total(self, values: str, axis: int) -> str:
        """Sum over an axis, which goes."""
        return self.op("ReduceSum", values, self.constant(np.array([axis])), keepdims=0)

    def pick(self, values: str, place: int, axis: int) -> str:
        """One place of an axis, which goes."""
        return self.op("Gather", values, self.constant(np.array(place)), axis=axis)

    def model(self, result: str, classes: int, name: str, metadata: Mapping[str, str]) -> bytes:
        """The finished model. Its output is called `score`, float64[n], or [n, classes] where there are some."""
        h = self._onnx.helper
        self._nodes.append(h.make_node("Identity", [result], [OUTPUT]))
        shape = ["n", classes] if classes else ["n"]
        out = h.make_tensor_value_info(OUTPUT, self._onnx.TensorProto.DOUBLE, shape)
        graph = h.make_graph(self._nodes, name, self._inputs, [out], self._tensors)
        opsets = [h.make_opsetid(domain, version) for domain, version in OPSETS.items()]
        made = h.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="headwater")
        h.set_model_props(made, dict(metadata))
        self._onnx.checker.check_model(made)
        return bytes(made.SerializeToString())
