"""A writer's schema → the program that `kernel.read` runs: one operation a leaf, in the order of the bytes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from stream.arrive.columnar import kernel
from stream.arrive.node import Field, Node
from stream.block import I64

_OPS: Mapping[str, int] = {
    "boolean": kernel.BOOLEAN, "int": kernel.INT, "long": kernel.LONG, "float": kernel.FLOAT, "double": kernel.DOUBLE,
    "bytes": kernel.BYTES, "string": kernel.STRING, "enum": kernel.ENUM, "fixed": kernel.FIXED,
}  # fmt: skip
_SPANS = frozenset({"string", "bytes", "fixed"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """One column: its type, and the first row of the kernel's output that holds it."""

    node: Node
    slot: int


@dataclass(frozen=True, slots=True)
class Program:
    """steps int64[m, 5] as the kernel has it; `leaves` by dotted name; `slots` rows of output; deepest nesting."""

    steps: I64
    leaves: dict[str, Leaf]
    slots: int
    depth: int


class Compiler:
    """Writes one program. `wanted`: dotted names of the leaves to keep, None for all."""

    def __init__(self, wanted: frozenset[str] | None) -> None:
        self._wanted = wanted
        self._steps: list[list[int]] = []
        self._leaves: dict[str, Leaf] = {}
        self._slots = 0
        self._depth = 0

    def program(self, root: Node) -> Program | None:
        """None where a wanted name is no leaf, or stands inside an array or map, or all are wanted and one does."""
        whole = self._fields(root.fields, "", 0)
        missing = not whole if self._wanted is None else self._wanted - self._leaves.keys()
        if missing:
            return None
        return Program(np.array(self._steps, np.int64), self._leaves, self._slots, self._depth)

    def _fields(self, fields: tuple[Field, ...], prefix: str, depth: int) -> bool:
        """Whether every field below could be a column."""
        could = [self._node(each.type, f"{prefix}{each.name}", depth) for each in fields]
        return all(could)

    def _node(self, node: Node, name: str, depth: int) -> bool:
        null = -1 if node.type != "nullable" else 0 if node.null_first else 1
        node = node.bare
        if node.type == "record":
            return self._record(node, null, name, depth)
        if node.type in ("array", "map"):
            self._repeated(node, null, depth)
            return False
        keep = depth == 0 and (self._wanted is None or name in self._wanted)
        if keep:
            self._leaves[name] = Leaf(node, self._slots)
        size = len(node.symbols) if node.type == "enum" else node.size
        self._step(_OPS[node.type], null, self._slots if keep else -1, size, len(self._steps) + 1)
        self._slots += (1 + (node.type in _SPANS)) * keep
        return True

    def _record(self, node: Node, null: int, name: str, depth: int) -> bool:
        begin = self._step(kernel.RECORD, null)
        whole = self._fields(node.fields, f"{name}.", depth)
        begin[kernel.JUMP] = len(self._steps)
        return whole

    def _repeated(self, node: Node, null: int, depth: int) -> None:
        assert node.item is not None, f"{node.type} without a type of its items"
        self._depth = max(self._depth, depth + 1)
        begin = self._step(kernel.ARRAY if node.type == "array" else kernel.MAP, null)
        first = len(self._steps)
        self._node(node.item, "", depth + 1)
        begin[kernel.SIZE] = len(self._steps)
        self._step(kernel.ITEMS if node.type == "array" else kernel.ENTRIES, jump=first)
        begin[kernel.JUMP] = len(self._steps)

    def _step(self, op: int, null: int = -1, slot: int = -1, size: int = 0, jump: int = 0) -> list[int]:
        self._steps.append([op, null, slot, size, jump])
        return self._steps[-1]
