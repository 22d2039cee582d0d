"""Strings in a buffer: hashes equal to the package's, strings equal to decoding each."""

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.encode.ids import category_id, field_seed
from stream.encode.spans import hash_spans, spans_to_str

SEEDS = st.integers(0, (1 << 64) - 1)


def laid_out(values: list[bytes]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The values in one buffer, with a byte between them, and where each is."""
    size = np.array([len(v) for v in values], np.int64)
    start = np.cumsum(size + 1) - size
    return np.frombuffer(bytearray(b"\xff" + b"\xff".join(values) + b"\xff"), np.uint8), start, start + size


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.binary(max_size=200), max_size=20), SEEDS)
def test_hashes_are_those_of_xxhash(values: list[bytes], seed: int) -> None:
    assert hash_spans(*laid_out(values), seed).tolist() == [xxhash.xxh64_intdigest(v, seed) for v in values]


@pytest.mark.parametrize("seed", [0, 1, (1 << 63) + 5, (1 << 64) - 1])
def test_hashes_of_every_length(seed: int) -> None:
    values = [bytes((7 * i * k + 130) % 256 for k in range(i)) for i in range(300)]
    assert hash_spans(*laid_out(values), seed).tolist() == [xxhash.xxh64_intdigest(v, seed) for v in values]


def test_hashes_are_the_ids_of_categories() -> None:
    seed, values = field_seed("carrier"), ["UA", "", "Zürich", "a" * 40]
    hashes = hash_spans(*laid_out([v.encode() for v in values]), seed)
    assert [int(h) or 1 for h in hashes] == [category_id(seed, v) for v in values]


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.text(max_size=12), max_size=20))
def test_strings(values: list[str]) -> None:
    assert spans_to_str(*laid_out([v.encode() for v in values])) == values


@pytest.mark.parametrize(
    "values", [[], [""], ["", ""], ["a", "", "b"], ["a\0b", "", "\0"], ["\0"], ["é", "日本", "😀\0"]]
)
def test_strings_that_are_empty_or_hold_the_separator(values: list[str]) -> None:
    assert spans_to_str(*laid_out([v.encode() for v in values])) == values


@pytest.mark.parametrize("values", [[b"\xc3", b"\xa9"], [b"a", b"\xff"], [b"\xe6\x97", b"\0"]])
def test_strings_that_are_no_utf8(values: list[bytes]) -> None:
    with pytest.raises(UnicodeDecodeError):
        spans_to_str(*laid_out(values))


@pytest.mark.parametrize(("start", "end"), [([-1], [2]), ([0], [5]), ([3], [2]), ([0, 1], [2])])
def test_spans_outside_the_buffer(start: list[int], end: list[int]) -> None:
    data = np.zeros(4, np.uint8)
    for call in (lambda *a: hash_spans(*a, 0), spans_to_str):
        with pytest.raises(IndexError, match="4 bytes"):
            call(data, np.array(start, np.int64), np.array(end, np.int64))
