"""The arrays in an uncompressed .npz, at a twentieth of what numpy takes for it.

numpy reads such a file through `zipfile` and parses each array's header as Python. A server does that at each swap of
models, in the interpreter that answers; here a plain file is read where it lies. Whatever is not plain (compressed, of
another version or order, damaged) is left to numpy, which reads it or says what is wrong. Invariant: the arrays are
those that numpy gives.
"""

import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

_END = struct.Struct("<4s4H2IH")  # the zip's last record, without a comment
_ENTRY = struct.Struct("<4s6H3I5H2I")  # one of its list of files
_LOCAL = struct.Struct("<4s22x2H")  # before each file's bytes: ends with the lengths of its name and of what is extra
_NPY = struct.Struct("<8sH")
_MAGIC = b"\x93NUMPY\x01\x00"
_HEADER = re.compile(
    rb"\{'descr': '([<|][biuf][1248])', 'fortran_order': False, 'shape': \(((?:\d+, ?)*\d*)\), \} *\n"
)  # fmt: skip


def arrays_of(
    body: bytes | memoryview, wanted: tuple[str, ...] = ("",), pause: Callable[[], None] = lambda: None
) -> dict[str, NDArray[np.generic]]:
    """The arrays whose names begin as one of `wanted`, by name, each with memory of its own. `pause` is called after
    each.

    Raises what `numpy.load` raises.
    """
    found = _plain(body, wanted, pause)
    if found is not None:
        return found
    with np.load(io.BytesIO(body), allow_pickle=False) as z:
        return {k: z[k] for k in z.files if k.startswith(wanted)}


def _plain(
    body: bytes | memoryview, wanted: tuple[str, ...] = ("",), pause: Callable[[], None] = lambda: None
) -> dict[str, NDArray[np.generic]] | None:
    """The arrays of a file that is plain throughout; None for every other."""
    try:
        mark, disk, first, count, total, size, at, comment = _END.unpack_from(body, len(body) - _END.size)
        if (
            (mark, disk, first, comment) != (b"PK\x05\x06", 0, 0, 0)
            or count != total
            or at + size + _END.size != len(body)
        ):
            return None
        out: dict[str, NDArray[np.generic]] = {}
        for _ in range(count):
            entry = _ENTRY.unpack_from(body, at)
            at += _ENTRY.size
            name = bytes(body[at : at + entry[10]])
            at += sum(entry[10:13])
            key = name.decode().removesuffix(".npy")
            if not key.startswith(wanted):
                continue
            array = _array(body, entry, name)
            if array is None or not name.endswith(b".npy") or key in out:
                return None
            out[key] = array
            pause()
    except (struct.error, ValueError):
        return None
    return out if at + _END.size == len(body) else None


def _array(body: bytes | memoryview, entry: tuple[Any, ...], name: bytes) -> NDArray[np.generic] | None:
    mark, method, sum_, packed, size, local = entry[0], entry[4], *entry[7:10], entry[16]
    before, named, extra = _LOCAL.unpack_from(body, local)
    begin = local + _LOCAL.size + named + extra
    if before != b"PK\x03\x04" or body[local + _LOCAL.size : begin - extra] != name:
        return None
    part = memoryview(body)[begin : begin + size]
    magic, head = _NPY.unpack_from(part)
    header = _HEADER.fullmatch(part[_NPY.size : _NPY.size + head])
    if (mark, method, packed, magic) != (b"PK\x01\x02", 0, size, _MAGIC) or header is None or zlib.crc32(part) != sum_:
        return None
    dtype, shape = np.dtype(header[1].decode()), tuple(int(n) for n in header[2].split(b",") if n.strip())
    values = np.frombuffer(part[_NPY.size + head :], dtype)
    return values.reshape(shape).copy()
