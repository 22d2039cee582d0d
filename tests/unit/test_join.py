"""The join's plain cases and its arena; tests/sim/test_join_sim.py has the laws under interleavings and crashes."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.block import Block, Layout, Training, take
from stream.join.arena import Arena
from stream.join.join import Join, fresh_features_mark, fresh_labels_mark
from stream.join.labels import Label
from stream.join.ring import Ring

LAYOUT = Layout(("x", "y"), ("c",), ("t",))
HOUR = 3_600_000


def _block(ids: Sequence[str], times: Sequence[int] | None = None, first: int = 0) -> Block:
    n = len(ids)
    numbers = np.arange(first, first + n)
    lengths = numbers % 3
    return Block(
        "h",
        list(ids),
        np.array(times if times is not None else [HOUR] * n, np.int64),
        np.zeros(n, np.int32),
        numbers,
        np.column_stack([numbers * 1.5, np.full(n, np.nan)]),
        (numbers[:, None] + 1).astype(np.uint64),
        np.repeat(numbers, lengths).astype(np.uint64),
        np.cumsum(lengths),
    )


def _same(a: Block, b: Block) -> None:
    assert a.ids == b.ids
    for name in ("time_ms", "partition", "offset", "numeric", "categories", "tokens", "token_ends"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left.dtype, left.shape, left.tobytes()) == (right.dtype, right.shape, right.tobytes()), name


def _join(**changes: Any) -> Join:
    return Join("h", LAYOUT, [0], **{"window_ms": HOUR, **changes})


def _label(event_id: str, time_ms: int = HOUR, offset: int = 0, value: float = 1.0) -> Label:
    return Label(event_id, value, time_ms, offset, 7)


def _trained(join: Join, caught_up: bool = False) -> list[str]:
    training, _ = join.advance(caught_up)
    return training.block.ids if training else []


# -- arena -----------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 100)), max_size=12))
def test_the_arena_gives_back_every_row_as_it_was_put(steps: list[tuple[int, int]]) -> None:
    arena, held, number = Arena("h", LAYOUT), dict[int, Block](), 0
    for put, drop in steps:
        block = _block([f"e{number + i}" for i in range(put)], first=number)
        rows = list(range(0, put, 2))
        for slot, row in zip(arena.put(block, rows), rows, strict=True):
            assert slot not in held
            held[slot] = take(block, [row])
        number += put
        for slot in list(held)[: drop % (len(held) + 1)]:
            _same(arena.gather([slot]), held.pop(slot))
            arena.free([slot])
        assert arena.waiting == len(held)
    if held:
        slots = sorted(held, reverse=True)
        assert arena.gather(slots).ids == [held[s].ids[0] for s in slots]


def test_the_arena_grows_and_uses_slots_again() -> None:
    arena = Arena("h", LAYOUT)
    block = _block([f"e{i}" for i in range(3000)])
    slots = arena.put(block, range(3000))
    _same(arena.gather(slots), block)
    arena.free(slots)
    assert set(arena.put(block, range(3000))) == set(slots)


def test_an_arena_row_is_a_copy() -> None:
    arena, block = Arena("h", LAYOUT), _block(["a", "b", "c"])
    slots = arena.put(block, [2])
    before = arena.gather(slots)
    block.numeric[:] = -1
    block.tokens[:] = 0
    _same(arena.gather(slots), before)


def test_an_arena_without_tokens_gives_none() -> None:
    arena = Arena("h", Layout((), (), ()))
    plain = Block("h", ["a"], *(np.zeros(1, t) for t in (np.int64, np.int32, np.int64)), np.zeros((1, 0)),
                  np.zeros((1, 0), np.uint64), np.zeros(0, np.uint64), np.zeros(1, np.int64))  # fmt: skip
    _same(arena.gather(arena.put(plain, [0])), plain)


# -- join ------------------------------------------------------------------------------------------------


def test_rows_come_in_the_order_of_the_labels_with_their_own_features() -> None:
    join, block = _join(), _block(["a", "b", "c", "d"])
    join.add_features(block, 0, [0, 1, 2, 3])
    join.add_labels([_label("c", offset=4), _label("a", offset=5, value=0.0)])
    training, refused = join.advance()
    assert isinstance(training, Training)
    assert not refused
    _same(training.block, take(block, [2, 0]))
    assert training.label.tolist() == [1.0, 0.0]
    assert training.label_offset.tolist() == [4, 5]
    assert training.label_time_ms.tolist() == [HOUR, HOUR]
    assert training.label_published_ms.tolist() == [7, 7]
    assert join.pending == 2


def test_what_goes_in_is_not_changed() -> None:
    join, block = _join(), _block(["a", "b", "a"])
    join.add_features(block, 0, [0, 1, 2])
    join.add_labels([_label("a"), _label("b")])
    join.advance()
    _same(block, _block(["a", "b", "a"]))


def test_a_label_waits_for_its_event_and_those_behind_it_wait_too() -> None:
    join = _join()
    join.add_features(_block(["b"]), 0, [0])
    join.add_labels([_label("a"), _label("b", offset=1)])
    assert _trained(join) == []
    assert (join.waiting_labels, join.next_label(2)) == (2, 0)
    join.add_features(_block(["a"]), 0, [1])
    assert _trained(join) == ["a", "b"]
    assert join.next_label(2) == 2


def test_the_window_ends_exactly_where_it_says() -> None:
    for after, code in ((HOUR, None), (HOUR + 1, "label.late")):
        join = _join()
        join.add_features(_block(["a"]), 0, [0])
        join.add_labels([_label("a", HOUR + after)])
        _, refused = join.advance()
        assert [r.code for r in refused] == ([code] if code else [])


def test_a_late_label_is_told_from_an_orphan_for_one_window_more() -> None:
    for after, code in ((2 * HOUR, "label.late"), (2 * HOUR + 1, "label.orphaned")):
        join = _join()
        join.add_features(_block(["a", "z"], [HOUR, 9 * HOUR]), 0, [0, 1])
        join.add_labels([_label("a", HOUR + after)])
        _, refused = join.advance()
        assert [r.code for r in refused] == [code]


def test_grace_lets_a_label_be_a_little_older_than_its_event() -> None:
    for early, trained in ((50, ["a"]), (51, [])):
        join = _join(grace_ms=50)
        join.add_features(_block(["a"]), 0, [0])
        join.add_labels([_label("a", HOUR - early)])
        assert _trained(join) == trained


def test_a_timed_out_row_is_a_negative_only_where_the_spec_says() -> None:
    for negative, trained in ((False, []), (True, ["a"])):
        join = _join(negative_on_timeout=negative)
        join.add_features(_block(["a", "b"], [HOUR, 3 * HOUR]), 0, [0, 1])
        join.add_labels([_label("b", 3 * HOUR, 9)])
        training, _ = join.advance()
        assert training is not None
        assert training.block.ids == [*trained, "b"]
        assert training.label.tolist() == [0.0] * len(trained) + [1.0]
        assert set(training.label_offset.tolist()) == {9}
        assert join.counts["timed_out"] == 1


def test_the_clock_of_the_labels_never_goes_back() -> None:
    join = _join()
    join.add_features(_block(["a", "b", "z"], [HOUR, 3 * HOUR, 9 * HOUR]), 0, [0, 1, 2])
    join.add_labels([_label("b", 3 * HOUR), _label("a", HOUR, 1)])
    training, refused = join.advance()
    assert training is not None
    assert training.block.ids == ["b"]
    assert [(r.label.id, r.code) for r in refused] == [("a", "label.late")]


def test_shifting_all_times_by_an_hour_changes_nothing_but_the_times() -> None:
    outcomes = []
    for shift in (-HOUR, 0, HOUR):
        join = _join()
        times = [2 * HOUR + shift + i for i in (0, 5, 3, 2 * HOUR)]
        join.add_features(_block(["a", "b", "c", "d"], times), 0, [0, 1, 2, 3])
        join.add_labels([_label(i, 2 * HOUR + shift + t, o) for o, (i, t) in enumerate([("b", 9), ("c", 2 * HOUR)])])
        training, refused = join.advance()
        outcomes.append((training.block.ids if training else [], [r.code for r in refused], join.counts))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_fresh_join_rebuilds_from_fresh_marks() -> None:
    join = _join()
    join.begin_rebuild({0: fresh_features_mark(5)}, fresh_labels_mark(3))
    join.end_rebuild([], {})
    assert join.features_mark(0) == fresh_features_mark(5) | {"due": join.features_mark(0)["due"]}
    assert join.labels_mark(3)["low"] == 3
    assert set(join.counts.values()) == {0}
    join.add_features(_block(["a"]), 0, [5])
    join.add_labels([_label("a", offset=3)])
    assert _trained(join) == ["a"]


def test_nothing_comes_of_nothing() -> None:
    join = _join()
    join.add_features(_block([]), 0, [])
    join.add_labels([])
    assert join.advance() == (None, [])
    assert join.advance(caught_up=True) == (None, [])


@pytest.mark.parametrize("partition", [1, -1])
def test_a_partition_that_was_not_named_is_a_bug_and_crashes(partition: int) -> None:
    with pytest.raises(KeyError):
        _join().add_features(_block(["a"]), partition, [0])


@pytest.mark.parametrize("negative", [False, True])
def test_a_long_stream_takes_no_more_room_than_its_window(negative: bool) -> None:
    join, n = _join(window_ms=500, negative_on_timeout=negative), 200
    sizes = []
    for start in range(0, 60 * n, n):
        ids = [f"{'long ' * (i % 20)}{i}" for i in range(start, start + n)]
        join.add_features(_block(ids, range(start, start + n), start), 0, range(start, start + n))
        join.add_labels([_label(name, start + i, start + i) for i, name in enumerate(ids) if i % 3])
        join.advance()
        join.features_mark(0)
        join.labels_mark(start + n)
        state = join._state
        arrays = [state.rows, state.ids.cells, state.ids.table, *(r.data for r in state if isinstance(r, Ring))]
        sizes.append(sum(map(len, arrays)))
        assert join.remembered <= 1000 + n + 1
    assert sizes[-1] == sizes[10]
    assert len(join._batches) <= 1
