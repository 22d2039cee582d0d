"""The table of ids behaves as a dict that knows when an id is no longer used; rings and places keep what they hold."""

from collections import deque

import numba
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.jit import OPTIONS
from stream.join import ids as ids_module
from stream.join.ids import (
    CELL_BYTES,
    HASHED,
    NEWEST,
    QUEUED,
    Ids,
    cells_of,
    handle_of,
    hash_of,
    release,
)
from stream.join.places import places, resized, size_for
from stream.join.ring import BASE, HEAD, MASK, TAIL, held, ring, roomy
from stream.texts import Texts, texts_of

compiled = numba.njit(**OPTIONS)  # not kept on disk, where an edit to ids.py would go unseen
IDS = st.one_of(st.text(max_size=3), st.text("ab\0é", max_size=2 * CELL_BYTES + 2), st.sampled_from(["a", "a\0", ""]))


@compiled
def _ask(of: Ids, texts: Texts, out: np.ndarray) -> None:
    for i in range(len(out)):
        out[i] = handle_of(of, texts.data, texts.start[i], texts.end[i])
        of.cells[out[i], QUEUED] += 1


@compiled
def _drop(of: Ids, handles: np.ndarray) -> None:
    for i in range(len(handles)):
        of.cells[handles[i], QUEUED] -= 1
        release(of, handles[i])


@compiled
def _hash(texts: Texts, key_0: int, key_1: int) -> int:
    return hash_of(key_0, key_1, texts.data, texts.start[0], texts.end[0])


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(IDS, max_size=12), st.integers(0, 30)), max_size=8))
def test_an_id_keeps_its_handle_until_it_is_used_no_more(steps: list[tuple[list[str], int]]) -> None:
    of, known, uses = ids_module.ids(4), dict[str, int](), list[str]()
    for asked, dropped in steps:
        texts = texts_of(asked)
        of = ids_module.roomy_ids(of, cells_of(texts.end - texts.start))
        handles = np.zeros(len(asked), np.int64)
        _ask(of, texts, handles)
        for text, handle in zip(asked, handles.tolist(), strict=True):
            assert known.setdefault(text, handle) == handle
            uses.append(text)
        assert len(set(known.values())) == len(known)
        gone, uses = uses[:dropped], uses[dropped:]
        _drop(of, np.array([known[text] for text in gone], np.int64))
        known = {text: handle for text, handle in known.items() if text in uses}
        assert np.count_nonzero(of.table >= 0) == len(known)
    cells = sum(cells_of(np.array([len(text.encode())])) for text in known)
    assert of.places.top[0] - of.places.top[1] == cells  # all others are given back


def test_ids_of_one_hash_are_still_told_apart() -> None:
    of, texts = ids_module.ids(64), texts_of([f"e{i}" for i in range(40)])
    handles, again = np.zeros(40, np.int64), np.zeros(1, np.int64)
    _ask(of, texts, handles)
    assert len(set(handles.tolist())) == 40
    assert set(of.cells[handles, NEWEST].tolist()) == {-1}
    for i, handle in enumerate(handles.tolist()):
        one = Texts(texts.data, texts.start[i : i + 1], texts.end[i : i + 1])
        of.cells[handles, HASHED] = _hash(one, *of.key.tolist())
        table = np.full_like(of.table, -1)
        ids_module._reindex(of.cells, handles.astype(np.int32), table)
        _ask(of._replace(table=table), one, again)
        assert again[0] == handle


def test_the_hash_is_siphash_1_3() -> None:
    for text in ("a", "abcdefg", "abcdefgh", "2013-01-01-UA-1545-EWR"):
        assert _hash(texts_of([text]), 0, 0) == _siphash(text.encode())


def _siphash(data: bytes) -> int:
    """SipHash-1-3 with a key of zeros, after the paper, as int64."""
    mask = (1 << 64) - 1
    v = [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573]

    def left(x: int, by: int) -> int:
        return ((x << by) | (x >> (64 - by))) & mask

    def one_round() -> None:
        v[0] = (v[0] + v[1]) & mask
        v[1] = left(v[1], 13) ^ v[0]
        v[0] = left(v[0], 32)
        v[2] = (v[2] + v[3]) & mask
        v[3] = left(v[3], 16) ^ v[2]
        v[0] = (v[0] + v[3]) & mask
        v[3] = left(v[3], 21) ^ v[0]
        v[2] = (v[2] + v[1]) & mask
        v[1] = left(v[1], 17) ^ v[2]
        v[2] = left(v[2], 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 0xFF])
    for at in range(0, len(padded), 8):
        m = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= m
        one_round()
        v[0] ^= m
    v[2] ^= 0xFF
    for _ in range(3):
        one_round()
    found = v[0] ^ v[1] ^ v[2] ^ v[3]
    return found - (1 << 64) if found >> 63 else found


@given(st.lists(st.text(), max_size=9))
def test_texts_are_the_strings(given: list[str]) -> None:
    texts = texts_of(given)
    spans = zip(texts.start.tolist(), texts.end.tolist(), strict=True)
    assert [texts.data[a:b].tobytes().decode() for a, b in spans] == given


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 9)), max_size=30))
def test_a_ring_keeps_its_entries_in_order_however_it_grows(steps: list[tuple[int, int, int]]) -> None:
    of, model, number = ring(3, 1, 2), [deque[int]() for _ in range(3)], 0
    for part, pushed, dropped in steps:
        of = roomy(of, part, pushed)
        for _ in range(pushed):
            base, mask, _, tail = of.bounds[part].tolist()
            of.data[base + (tail & mask), 0] = number
            of.bounds[part, TAIL] += 1
            model[part].append(number)
            number += 1
        for _ in range(min(dropped, len(model[part]))):
            of.bounds[part, HEAD] += 1
            model[part].popleft()
    for part, entries in enumerate(model):
        numbers = np.arange(of.bounds[part, HEAD], of.bounds[part, TAIL])
        assert held(of, part) == len(entries)
        assert of.data[of.bounds[part, BASE] + (numbers & of.bounds[part, MASK]), 0].tolist() == list(entries)


def test_places_grow_only_when_they_must() -> None:
    of = places(8)
    of.top[:] = 8, 3
    assert [size_for(of, n) for n in (0, 3, 4, 100)] == [8, 8, 64, 512]
    assert len(resized(of, 16).free) == 16
