"""The open-addressing table of hashed keys: finding one, entering one, and making room where the bound is met.

Linear probing over a power of two of places, at most half of them held. A key's place gives its weights (`table`), what
an optimiser remembers of them (`table_memory`), and, where keys are evicted, its mark.

Eviction is a clock (Corbató 1968; GCLOCK, Smith 1978). A key's mark is 1 when it is entered and counts up each time
that it is learned from, to at most `marks_max`: 3 says little more than that it was seen again since the hand passed
(`oldest`), 255 how often (`rare`). A new key at the bound moves the hand on, which halves each mark that it passes, to
the first mark of 0, or to the least of the next LOOKS keys. So an entry costs a bounded number of looks, a key that is
held one byte, and all of it is a function of the rows alone.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.jit import cached, compiled
from stream.learn.linear.sources import SOURCES
from stream.learn.linear.types import EVICTED, HAND, OVERFLOWED, USED, Arrays, Ids, Marks, Reals

EVICT: Mapping[str, int] = {"none": 0, "oldest": 3, "rare": 255}  # name → marks_max
LOOKS = 64


@compiled
def find(keys: Ids, key: Any) -> Any:
    """Slot of `key`, or -1 - (the empty slot where it would go)."""
    mask = np.uint64(keys.size) - np.uint64(1)
    slot = key & mask
    while True:
        held = keys[slot]
        if held == key:
            return np.int64(slot)
        if held == 0:
            return -1 - np.int64(slot)
        slot = (slot + np.uint64(1)) & mask


@compiled
def slot_for(a: Arrays, key: Any, keys_max: int, marks_max: int) -> Any:
    """Slot of `key`, taken if new; -1 where the bound on keys is met and none is evicted."""
    slot = find(a.keys, key)
    if slot < 0:
        return take_slot(a, key, keys_max, marks_max)
    if marks_max > 0 and a.marks[slot] < marks_max:
        a.marks[slot] += 1
    return slot


@compiled
def take_slot(a: Arrays, key: Any, keys_max: int, marks_max: int) -> Any:
    """A slot for a key that has none; -1 where the bound on keys is met and none is evicted."""
    if a.scalars[USED] >= keys_max:
        if marks_max == 0:
            a.scalars[OVERFLOWED] += 1.0
            return -1
        remove(a, pick(a))
    slot = -1 - find(a.keys, key)
    a.keys[slot] = key
    a.scalars[USED] += 1.0
    if marks_max > 0:
        a.marks[slot] = 1
    return slot


@compiled
def pick(a: Arrays) -> int:
    """The slot of the key that has to go; the hand moves up to it, or past the keys that were looked at."""
    mask, hand = a.keys.size - 1, int(a.clock[HAND])
    best, least, looked = -1, 256, 0
    while looked < LOOKS and least > 0:
        if a.keys[hand] != 0:
            mark = int(a.marks[hand])
            looked += 1
            if mark < least:
                best, least = hand, mark
            a.marks[hand] = mark >> 1
        hand = (hand + 1) & mask
    a.clock[HAND] = hand
    return int(best)


@compiled
def remove(a: Arrays, slot: int) -> None:
    """Drop the key in the slot and all that belongs to it; keys behind it move up, so that each is still found."""
    mask, hole, at = a.keys.size - 1, slot, slot
    while True:
        at = (at + 1) & mask
        if a.keys[at] == 0:
            break
        home = np.int64(a.keys[at] & np.uint64(mask))
        if (at - home) & mask >= (at - hole) & mask:
            move(a, at, hole)
            hole = at
    a.keys[hole], a.marks[hole] = 0, 0
    clear(a.table, hole, a.keys.size)
    clear(a.table_memory, hole, a.keys.size)
    a.scalars[USED] -= 1.0
    a.clock[EVICTED] += 1


@compiled
def move(a: Arrays, source: int, to: int) -> None:
    """A key and all that belongs to it from one slot to another."""
    a.keys[to], a.marks[to] = a.keys[source], a.marks[source]
    copy(a.table, source, to, a.keys.size)
    copy(a.table_memory, source, to, a.keys.size)


@compiled
def copy(rows: Reals, source: int, to: int, size: int) -> None:
    """One of `size` rows over another; number by number, since numba would allocate for a whole row."""
    width = rows.size // size
    for i in range(width):
        rows.flat[to * width + i] = rows.flat[source * width + i]


@compiled
def clear(rows: Reals, at: int, size: int) -> None:
    """One of `size` rows to 0."""
    width = rows.size // size
    for i in range(width):
        rows.flat[at * width + i] = 0.0


@compiled
def short(a: Arrays, keys: int, keys_max: int) -> bool:
    """Whether the table must grow before a row that may bring so many new keys."""
    return bool((a.scalars[USED] + keys) * 2 > a.keys.size and a.keys.size < 2 * keys_max)


@compiled
def enter(a: Arrays, keys: Ids, keys_max: int, marks_max: int) -> None:
    """Give new keys a place, as far as the bound allows."""
    for key in keys:
        if key != 0:
            slot_for(a, key, keys_max, marks_max)


Matrix = NDArray[Any]  # [slots, what there is of each]


def _entry_point(sources: int) -> Callable[[Ids, Matrix, Matrix, Marks, Ids, Matrix, Matrix, Marks], None]:
    @cached
    def rehash(
        keys: Ids, table: Matrix, memory: Matrix, marks: Marks,
        keys_new: Ids, table_new: Matrix, memory_new: Matrix, marks_new: Marks,
    ) -> None:  # fmt: skip
        """All keys, in the order of their slots, and all that belongs to them into a larger, empty table."""
        _ = sources
        for slot in range(keys.size):
            if keys[slot] != 0:
                to = -1 - find(keys_new, keys[slot])
                keys_new[to] = keys[slot]
                for i in range(table.shape[1]):
                    table_new[to, i] = table[slot, i]
                for i in range(memory.shape[1]):
                    memory_new[to, i] = memory[slot, i]
                if marks.size > 0:
                    marks_new[to] = marks[slot]

    return rehash


rehash = _entry_point(SOURCES)
