"""The two shapes that data has between steps, both frozen: `Columns` before encoding, `Block` after.

Invariant: a step never changes what it was given. Rows keep the position
of their raw event (partition, offset), so every row can be traced to the record it came from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import schemas
from stream.limits import BLOCK_BYTES_MAX, BLOCK_ROWS_MAX
from stream.texts import avro_array

F64 = NDArray[np.float64]
U64 = NDArray[np.uint64]
I64 = NDArray[np.int64]
I32 = NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Layout:
    """Names of the columns of a Block, in order."""

    numeric: tuple[str, ...]
    categories: tuple[str, ...]
    tokens: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Columns:
    """n events, one column a field.

    numeric, boolean, time (ms): float64, NaN is missing; text: object, None is missing; category: the same, or uint64
    where it came as ids already.
    """

    ids: list[str]
    time_ms: I64
    partition: I32
    offset: I64
    values: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Block:
    """n encoded events.

    numeric: float64[n, f], NaN is missing. categories: uint64[n, c], 0 is missing. Tokens of row i:
    tokens[token_ends[i-1]:token_ends[i]], uint64. time_ms int64[n], partition int32[n], offset int64[n].
    """

    spec_hash: str
    ids: list[str]
    time_ms: I64
    partition: I32
    offset: I64
    numeric: F64
    categories: U64
    tokens: U64
    token_ends: I64

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True, slots=True)
class Training:
    """A block with its labels: label float64[n]; label_offset, label_time_ms, label_published_ms int64[n].

    correction bool[n]: the row's event was learned before, with another label; None: no row's was.
    """

    block: Block
    label: F64
    label_offset: I64
    label_time_ms: I64
    label_published_ms: I64
    correction: NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return len(self.block)

    def at(self, rows: slice | I64, block: Block) -> "Training":
        """Rows by slice or number; `block` holds the same."""
        labels = (self.label_offset[rows], self.label_time_ms[rows], self.label_published_ms[rows])
        correction = None if self.correction is None else self.correction[rows]
        return Training(block, self.label[rows], *labels, correction)


_ARRAYS: tuple[tuple[str, str], ...] = (
    ("time_ms", "<i8"),
    ("partition", "<i4"),
    ("offset", "<i8"),
    ("numeric", "<f8"),
    ("categories", "<u8"),
    ("tokens", "<u8"),
    ("token_ends", "<i8"),
)
_LABEL_ARRAYS: tuple[tuple[str, str], ...] = (
    ("label", "<f8"),
    ("label_offset", "<i8"),
    ("label_time_ms", "<i8"),
    ("label_published_ms", "<i8"),
)


def _block_record(block: Block) -> dict[str, Any]:
    record: dict[str, Any] = {"spec_hash": block.spec_hash, "rows": len(block)}
    for name, dtype in _ARRAYS:
        record[name] = np.ascontiguousarray(getattr(block, name), dtype).tobytes()
    return record


def _block_of(record: dict[str, Any]) -> Block:
    rows = record["rows"]
    arrays = {name: np.frombuffer(record[name], dtype).copy() for name, dtype in _ARRAYS}
    for name in ("numeric", "categories"):
        arrays[name] = arrays[name].reshape(rows, -1) if arrays[name].size else arrays[name].reshape(rows, 0)
    if len(record["ids"]) != rows or any(
        len(arrays[n]) != rows for n in ("time_ms", "partition", "offset", "token_ends")
    ):
        raise ValueError(f"block says {rows} rows, but its columns differ")
    ends = arrays["token_ends"]
    if np.any(np.diff(ends, prepend=0) < 0) or (ends[-1] if rows else 0) != arrays["tokens"].size:
        raise ValueError(f"block has {arrays['tokens'].size} tokens, but the ends of its rows' tokens differ")
    return Block(record["spec_hash"], record["ids"], **arrays)


def encode_features(block: Block) -> bytes:
    """A record of the features topic."""
    return schemas.codec("features").encode(_block_record(block), {"ids": avro_array(block.ids)})


def decode_features(value: bytes) -> Block:
    """The inverse of `encode_features`; copies, since kernels want one kind of array. ValueError when damaged."""
    return _block_of(schemas.codec("features").decode(value))


def encode_training(rows: Training) -> bytes:
    """A record of the training topic."""
    record = _block_record(rows.block)
    for name, dtype in _LABEL_ARRAYS:
        record[name] = np.ascontiguousarray(getattr(rows, name), dtype).tobytes()
    record["correction"] = b"" if rows.correction is None else rows.correction.tobytes()
    return schemas.codec("training").encode(record, {"ids": avro_array(rows.block.ids)})


def decode_training(value: bytes) -> Training:
    """The inverse of `encode_training`. Raises ValueError when damaged."""
    record = schemas.codec("training").decode(value)
    labels = {name: np.frombuffer(record[name], dtype).copy() for name, dtype in _LABEL_ARRAYS}
    correction = np.frombuffer(record["correction"], np.bool_).copy() if record["correction"] else None
    columns = [*labels.values(), *([] if correction is None else [correction])]
    if any(len(a) != record["rows"] for a in columns):
        raise ValueError(f"block says {record['rows']} rows, but its labels differ")
    return Training(_block_of(record), **labels, correction=correction)


def take(block: Block, rows: Sequence[int] | I64) -> Block:
    """The rows with these numbers, in this order."""
    index = np.asarray(rows, np.int64)
    starts = np.concatenate(([0], block.token_ends[:-1])) if len(block) else block.token_ends
    pieces = [block.tokens[starts[i] : block.token_ends[i]] for i in index] if block.tokens.size else []
    return Block(
        block.spec_hash,
        [block.ids[i] for i in index],
        block.time_ms[index],
        block.partition[index],
        block.offset[index],
        block.numeric[index],
        block.categories[index],
        np.concatenate(pieces) if pieces else block.tokens[:0],
        np.cumsum([len(p) for p in pieces]) if pieces else np.zeros(len(index), np.int64),
    )


def cut(block: Block, start: int, end: int) -> Block:
    """Rows start..end, as views."""
    first, last = (int(block.token_ends[i - 1]) if i else 0 for i in (start, end))
    return Block(
        block.spec_hash,
        block.ids[start:end],
        block.time_ms[start:end],
        block.partition[start:end],
        block.offset[start:end],
        block.numeric[start:end],
        block.categories[start:end],
        block.tokens[first:last],
        block.token_ends[start:end] - first,
    )


def split(block: Block, bytes_max: int = BLOCK_BYTES_MAX) -> list[Block]:
    """The block in pieces of at most BLOCK_ROWS_MAX rows and about `bytes_max` bytes each; order is kept."""
    width = 64 + 8 * (block.numeric.shape[1] + block.categories.shape[1]) + 8 * block.tokens.size // max(1, len(block))
    rows = max(1, min(BLOCK_ROWS_MAX, bytes_max // width))
    if len(block) <= rows:
        return [block]
    return [cut(block, i, min(i + rows, len(block))) for i in range(0, len(block), rows)]


def split_training(rows: Training) -> list[Training]:
    """As `split`, with the labels."""
    out, start = [], 0
    for block in split(rows.block):
        end = start + len(block)
        out.append(rows.at(slice(start, end), block))
        start = end
    return out


def concat(blocks: Sequence[Block]) -> Block:
    """Blocks of one spec, end to end; at least one."""
    if len(blocks) == 1:
        return blocks[0]
    bases = np.cumsum([0, *(b.tokens.size for b in blocks[:-1])])
    return Block(
        blocks[0].spec_hash,
        [i for b in blocks for i in b.ids],
        np.concatenate([b.time_ms for b in blocks]),
        np.concatenate([b.partition for b in blocks]),
        np.concatenate([b.offset for b in blocks]),
        np.concatenate([b.numeric for b in blocks]),
        np.concatenate([b.categories for b in blocks]),
        np.concatenate([b.tokens for b in blocks]),
        np.concatenate([b.token_ends + base for b, base in zip(blocks, bases, strict=True)]),
    )
