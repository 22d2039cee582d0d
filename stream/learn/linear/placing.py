"""Where the keys of a batch of rows lie, found for all of them before the first is learned from.

A place once found stays right as long as no key is evicted, so there must be room for all of the batch's keys; at the
bound on keys each row's are looked for when its turn comes. New keys are entered here with a weight of 0, which is the
score of a key that is not there, in the order in which rows one at a time would enter them.
"""

from stream.jit import compiled, inlined
from stream.learn.linear.table import find
from stream.learn.linear.types import USED, Arrays, Ids, Ints


@compiled
def batch(a: Arrays, width: int, ends: Ints, i: int, rows: int, keys_max: int) -> tuple[int, bool]:
    """How many rows from i on to take at once, of at most `rows`, and whether there is room for all of their keys.

    0: the table must grow first. width: categories of a row.
    """
    begin = ends[i - 1] if i else 0
    room = min(a.keys.size // 2, keys_max) - int(a.scalars[USED])
    while rows * width + ends[i + rows - 1] - begin > room:
        if a.keys.size >= 2 * keys_max:
            return rows, False
        rows >>= 1
        if rows == 0:
            break
    return rows, True


@compiled
def place_rows(ids: Ids, tokens: Ids, ends: Ints, i: int, rows: int, keys: Ids, slots: Ints) -> int:
    """Where each key of rows i.. lies, negative for none; all are entered. Returns how many were new."""
    new = 0
    for r in range(rows):
        new += _place(ids[i + r], keys, slots[r], 0)
        if ends[i + r] > 0:
            new += _place(tokens[(ends[i + r - 1] if i + r else 0) : ends[i + r]], keys, slots[r], ids.shape[1])
    return new


@inlined
def _place(row: Ids, keys: Ids, slots: Ints, first: int) -> int:
    new = 0
    for j in range(row.size):
        slot = find(keys, row[j]) if row[j] != 0 else -1
        if slot < 0 and row[j] != 0:
            slot = -1 - slot
            keys[slot] = row[j]
            new += 1
        slots[first + j] = slot
    return new


@compiled
def look_up(row: Ids, own: Ids, keys: Ids, slots: Ints) -> None:
    """Where each key of a row, and each of its tokens, lies, negative for one that has no place."""
    for j in range(row.size):
        slots[j] = find(keys, row[j]) if row[j] != 0 else -1
    for j in range(own.size):
        slots[row.size + j] = find(keys, own[j]) if own[j] != 0 else -1
