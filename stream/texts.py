"""Strings as bytes end to end, so that kernels can go through many of them, and as an array of Avro's."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.jit import cached

Bytes = NDArray[np.uint8]
I64 = NDArray[np.int64]
VARINT_BYTES_MAX = 10


class Texts(NamedTuple):
    """n strings as UTF-8: string i is data[start[i]:end[i]]; data uint8, read-only."""

    data: Bytes
    start: I64
    end: I64


def texts_of(given: Sequence[str], errors: str = "surrogatepass") -> Texts:
    """The same strings; a lone surrogate as three bytes, as if it were allowed, or an error if `errors` is strict."""
    joined = "\0".join(given).encode(errors=errors)
    data = np.frombuffer(joined, np.uint8)
    between = np.flatnonzero(data == 0)
    if len(between) != len(given) - 1:  # there is a NUL in some string, or there is none
        lengths = np.array([len(x.encode(errors="surrogatepass")) for x in given], np.int64)
        end = np.cumsum(lengths + 1) - 1
        return Texts(data, end - lengths, end)
    return Texts(data, np.append(0, between + 1), np.append(between, len(data)))


@cached
def _write(data: Bytes, start: I64, end: I64, out: Bytes) -> int:
    """Each string's length as a zigzag varint, and its bytes; how many bytes that is."""
    at = 0
    for i in range(len(start)):
        left = 2 * (end[i] - start[i])
        while left >= 128:
            out[at] = left & 127 | 128
            left >>= 7
            at += 1
        out[at] = left
        at += 1
        for k in range(start[i], end[i]):
            out[at] = data[k]
            at += 1
    return at


def avro_array(given: Sequence[str]) -> bytes:
    """The strings as fastavro writes an array of them: one block and its end. UnicodeEncodeError for a surrogate."""
    if not given:
        return b"\0"
    texts = texts_of(given, "strict")
    out = np.empty(len(texts.data) + VARINT_BYTES_MAX * (len(given) + 1), np.uint8)
    items = _write(texts.data, texts.start, texts.end, out)
    return _varint(2 * len(given)) + out[:items].tobytes() + b"\0"


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])
