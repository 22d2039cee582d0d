"""What the quick way's kernels work on: a spec as tables, room for one row, and the numbers that stand for kinds."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

ABSENT, NULL, DOUBLE, INT, STRING, BOOL, FIXED = range(7)
"""What a request says of a field; FIXED: it is absent, and the default's outcome is known."""
(A_DOUBLE, A_FLOAT, A_INT, A_LONG, A_BOOL, A_STRING, A_ENUM, A_OTHER) = range(8)
(IGNORED, NUMBER, CATEGORY, TIME) = range(4)
(R_NONE, R_ID, R_TIME) = range(3)
(KEEP, LOWER, UPPER) = range(3)
(
    NAME, NAME_END, AVRO, NULLABLE, ROLE, CLEAN, REQUIRED, HAS_MIN, HAS_MAX, CLIPPED, IMPUTED, COLUMN, STRIP, CASE,
    UNIFY, UNIFY_END, NEEDED, DEFAULT, SYMBOLS, SYMBOLS_END, PARTS, PARTS_END, IS_UNIT, WIDTH,
) = range(24)  # fmt: skip
"""Columns of Tables.fields."""
P_KIND, P_NUMBER, P_CYCLE, P_CATEGORY, P_IDS, P_WIDTH = range(6)
HOUR, WEEKDAY, MONTH, DAY = range(4)
ID, ID_END, UNIT, UNIT_END, ARM, TIME_MS, STALE_MAX, PLACES = range(8)
"""Places in Row.found; ends are -1 for what was not given."""
TIME_MAX = 1 << 52  # a larger time is doubted


class Tables(NamedTuple):
    """A spec, as the kernel reads it.

    fields: int64[f, WIDTH]; reals: float64[f, 4], least, most, imputed, default; ids: uint64[f, 3], seed, imputed,
    default; pool: uint8, all texts; places: int64[slots], fields by the hash of their names; words: int64[w, 3], spans
    of unified texts and symbols, and whether they stand for a text; word_ids: uint64[w]; arms: int64[a, 2], spans;
    parts: int64[p, P_WIDTH]; part_ids: uint64; cycles: float64[p, 2, 32], sine and cosine.
    """

    fields: NDArray[np.int64]
    reals: NDArray[np.float64]
    ids: NDArray[np.uint64]
    pool: NDArray[np.uint8]
    places: NDArray[np.int64]
    words: NDArray[np.int64]
    word_ids: NDArray[np.uint64]
    arms: NDArray[np.int64]
    parts: NDArray[np.int64]
    part_ids: NDArray[np.uint64]
    cycles: NDArray[np.float64]


class Row(NamedTuple):
    """Room for one row, a thread's own. text: uint8, the request and what was made of it; given: int64[f, 3], kind and
    value or span; bits, real: one memory, uint64[f] and float64[f]; numeric: float64[1, n]; categories: uint64[1, c];
    found: int64[PLACES].
    """

    text: NDArray[np.uint8]
    given: NDArray[np.int64]
    bits: NDArray[np.uint64]
    real: NDArray[np.float64]
    numeric: NDArray[np.float64]
    categories: NDArray[np.uint64]
    found: NDArray[np.int64]
