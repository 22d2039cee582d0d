"""Blocks: encode and decode are inverse, take, concat and split agree, damage is a ValueError."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schemas
from stream.block import (
    Block,
    Training,
    concat,
    decode_features,
    decode_training,
    encode_features,
    encode_training,
    split,
    split_training,
    take,
)
from stream.limits import BLOCK_ROWS_MAX

ARRAYS = ("time_ms", "partition", "offset", "numeric", "categories", "tokens", "token_ends")
LABELS = ("label", "label_offset", "label_time_ms", "label_published_ms")


@st.composite
def _blocks(draw: st.DrawFn, rows_max: int = 9) -> Block:
    n = draw(st.integers(0, rows_max))
    rng = np.random.default_rng(draw(st.integers(0, 1 << 20)))
    lengths = rng.integers(0, 4, n) if draw(st.booleans()) else np.zeros(n, np.int64)
    numeric = rng.normal(size=(n, draw(st.integers(0, 3))))
    numeric[rng.random(numeric.shape) < 0.3] = np.nan
    return Block(
        "0123456789abcdef",
        [f"é{i}" for i in rng.integers(0, 99, n)],
        rng.integers(0, 1 << 45, n),
        rng.integers(0, 99, n).astype(np.int32),
        rng.integers(0, 1 << 60, n),
        numeric,
        rng.integers(0, 1 << 64, (n, draw(st.integers(0, 3))), dtype=np.uint64, endpoint=False),
        rng.integers(0, 1 << 64, int(lengths.sum()), dtype=np.uint64, endpoint=False),
        np.cumsum(lengths),
    )


def _training(block: Block) -> Training:
    numbers = np.arange(len(block))
    return Training(block, numbers / 3, numbers + 7, numbers + 8, numbers + 9)


def _same(a: Any, b: Any, names: tuple[str, ...] = ARRAYS) -> None:
    for name in names:
        left, right = getattr(a, name), getattr(b, name)
        assert left.dtype == right.dtype, name
        assert left.tobytes() == right.tobytes(), name
    if names is ARRAYS:
        assert (a.spec_hash, a.ids) == (b.spec_hash, b.ids)
        assert len(a) == len(b)
        if len(a):  # a record of no rows can't say how wide they were
            assert (a.numeric.shape, a.categories.shape) == (b.numeric.shape, b.categories.shape)


def _row_tokens(block: Block) -> list[list[int]]:
    ends = [0, *block.token_ends.tolist()]
    return [block.tokens[a:b].tolist() for a, b in pairwise(ends)]


@settings(max_examples=80, deadline=None)
@given(_blocks())
def test_decoding_is_the_inverse_of_encoding_to_the_last_bit(block: Block) -> None:
    _same(decode_features(encode_features(block)), block)
    rows = decode_training(encode_training(_training(block)))
    _same(rows.block, block)
    _same(rows, _training(block), LABELS)


def test_decoded_arrays_are_plain_writable_ones_for_the_compiled_kernels() -> None:
    block = decode_features(encode_features(_one_row()))
    assert all(getattr(block, n).flags.c_contiguous and getattr(block, n).flags.writeable for n in ARRAYS)


def _one_row() -> Block:
    one = np.ones(1, np.int64)
    ids = np.ones((1, 2), np.uint64)
    return Block("h", ["a"], one, one.astype(np.int32), one, np.ones((1, 3)), ids, ids[0], one * 2)


@settings(max_examples=80, deadline=None)
@given(_blocks(), st.data())
def test_take_gives_these_rows_in_this_order_and_leaves_the_block_alone(block: Block, data: st.DataObject) -> None:
    index = data.draw(st.lists(st.integers(0, len(block) - 1))) if len(block) else []
    before = encode_features(block)
    taken = take(block, index)
    assert encode_features(block) == before
    assert taken.ids == [block.ids[i] for i in index]
    tokens = _row_tokens(block)
    assert _row_tokens(taken) == [tokens[i] for i in index]
    for name in ("time_ms", "partition", "offset", "numeric", "categories"):
        assert getattr(taken, name).tobytes() == getattr(block, name)[index].tobytes()


@settings(max_examples=80, deadline=None)
@given(_blocks(), st.integers(0, 9), st.integers(0, 9))
def test_pieces_put_together_again_are_the_block(block: Block, one: int, two: int) -> None:
    a, b = sorted((min(one, len(block)), min(two, len(block))))
    pieces = [take(block, range(a)), take(block, range(a, b)), take(block, range(b, len(block)))]
    _same(concat(pieces), block)
    _same(concat([block]), block)


@settings(max_examples=60, deadline=None)
@given(_blocks(), st.integers(1, 1000))
def test_split_keeps_all_rows_in_order_and_the_labels_with_them(block: Block, bytes_max: int) -> None:
    pieces = split(block, bytes_max)
    _same(concat(pieces), block)
    assert all(len(p) for p in pieces) or not len(block)
    parts = split_training(_training(block))
    _same(concat([p.block for p in parts]), block)
    assert [x for p in parts for x in p.label.tolist()] == _training(block).label.tolist()


def test_split_bounds_rows_and_bytes() -> None:
    block = take(_one_row(), [0] * (2 * BLOCK_ROWS_MAX + 1))
    assert [len(p) for p in split(block)] == [BLOCK_ROWS_MAX, BLOCK_ROWS_MAX, 1]
    assert [len(p) for p in split_training(_training(block))] == [BLOCK_ROWS_MAX, BLOCK_ROWS_MAX, 1]
    assert max(len(encode_features(p)) for p in split(block, 20_000)) < 25_000
    assert {len(p) for p in split(block, 1)} == {1}


def _record(**changes: Any) -> bytes:
    good = schemas.codec("training").decode(encode_training(_training(_one_row())))
    return schemas.codec("training").encode({**good, **changes})


BAD: list[dict[str, Any]] = [
    {"rows": 2}, {"rows": 0}, {"rows": -1}, {"ids": []}, {"ids": ["a", "b"]},
    {"time_ms": b""}, {"time_ms": b"\0" * 16}, {"time_ms": b"\0" * 7}, {"partition": b"\0" * 8},
    {"offset": b""}, {"numeric": b"\0" * 9}, {"categories": b"\0" * 12}, {"tokens": b"\0" * 3},
    {"token_ends": b""}, {"label": b""}, {"label_offset": b"\0" * 16}, {"label_time_ms": b""},
    {"label_published_ms": b"\0"},
    {"token_ends": np.array([3]).tobytes()}, {"token_ends": np.array([1]).tobytes()},
    {"token_ends": np.array([-1]).tobytes()},
]  # fmt: skip


@pytest.mark.parametrize("change", BAD, ids=lambda c: ",".join(f"{k}={v!r}" for k, v in c.items()))
def test_a_record_whose_columns_disagree_is_refused(change: dict[str, Any]) -> None:
    assert len(decode_training(_record())) == 1
    with pytest.raises(ValueError):
        decode_training(_record(**change))


def test_token_ends_that_go_back_or_end_elsewhere_are_refused() -> None:
    rows = _training(take(_one_row(), [0, 0]))
    good = schemas.codec("training").decode(encode_training(rows))
    for ends in ([4, 4], [2, 4]):
        record = schemas.codec("training").encode({**good, "token_ends": np.array(ends).tobytes()})
        assert decode_training(record).block.token_ends.tolist() == ends
    for ends in ([5, 4], [4, 2], [-1, 4], [4, 5]):
        record = schemas.codec("training").encode({**good, "token_ends": np.array(ends).tobytes()})
        with pytest.raises(ValueError, match="token"):
            decode_training(record)


def test_every_cut_and_every_foreign_record_is_refused() -> None:
    value = encode_training(_training(_one_row()))
    for end in range(len(value)):
        with pytest.raises(ValueError):
            decode_training(value[:end])
    with pytest.raises(ValueError, match="after the end"):
        decode_training(value + b"\0")
    with pytest.raises(ValueError, match="not a Training record"):
        decode_training(encode_features(_one_row()))
    with pytest.raises(ValueError, match="not a Features record"):
        decode_features(value)


@settings(max_examples=300, deadline=None)
@given(st.integers(10, 250), st.integers(1, 255))
def test_no_flipped_byte_raises_anything_but_a_value_error(place: int, flip: int) -> None:
    value = bytearray(encode_training(_training(_one_row())))
    value[place % len(value)] ^= flip
    try:
        rows = decode_training(bytes(value))
    except ValueError:
        return
    assert len(rows.label) == len(rows.block) == len(rows.block.ids)
