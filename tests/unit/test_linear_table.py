"""The table of hashed keys at its bound: who goes is deterministic, counted, and never one that keeps coming."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.block import U64, Block, take
from stream.learn.linear.kernel import LOG
from stream.learn.linear.model import Hashed, Linear
from stream.learn.linear.params import LogisticParams
from stream.learn.linear.passive import Passive, PassiveParams
from stream.learn.linear.softmax import Softmax, SoftmaxParams
from stream.learn.linear.table import find
from stream.learn.linear.types import HAND
from stream.registry.snapshot import pack, unpack

SPREAD = np.uint64(0x9E3779B97F4A7C15)
MAKERS: dict[str, Any] = {
    "fast": lambda **g: Linear(0, LOG, LogisticParams(**g)),
    "adam": lambda **g: Linear(0, LOG, LogisticParams(**g, optimizer="adam")),
    "softmax": lambda **g: Softmax(0, 2, SoftmaxParams(**g, optimizer="adam")),
    "passive": lambda **g: Passive(0, "binary", PassiveParams(**g)),
}
EVERY = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


def _block(keys: Any) -> Block:
    ids = np.ascontiguousarray(np.asarray(keys, np.uint64).reshape(len(keys), -1))
    n, zeros = len(ids), np.zeros(len(ids), np.int64)
    none = np.zeros(0, np.uint64)
    return Block("h", [""] * n, zeros, zeros.astype(np.int32), zeros, np.zeros((n, 0)), ids, none, zeros)


def _learn(model: Hashed, keys: Any) -> None:
    block = _block(keys)
    model.score_learn(block, np.arange(len(block)) % 2.0)


def _keys(model: Hashed) -> U64:
    keys = model.state().arrays["keys"]
    return np.sort(keys[keys != 0])


@EVERY
@pytest.mark.parametrize("evict", ["oldest", "rare"])
def test_a_million_ids_fit_a_bound_of_16384_and_those_that_keep_coming_stay(make: Any, evict: str) -> None:
    model = make(categories_max=1 << 14, evict=evict)
    rows, bound = 1_000_000 if make is MAKERS["fast"] else 150_000, 1 << 14
    cold = np.arange(1, rows + 1, dtype=np.uint64) * SPREAD
    hot = (np.random.default_rng(3).integers(0, 500, rows).astype(np.uint64) + np.uint64(10**9)) * SPREAD
    _learn(model, np.stack([cold, hot], axis=1))
    arrays = model.state().arrays
    assert model.counts() == {"held": bound, "evicted": rows + 500 - bound, "refused": 0}
    assert np.isin(np.unique(hot), arrays["keys"]).all()
    assert arrays["keys"].size == 2 * bound
    free = arrays["keys"] == 0
    for name in ("table", "table_memory", "marks"):
        assert len(arrays.get(name, free)) == 2 * bound
        assert not arrays.get(name, np.zeros(2 * bound))[free].any(), f"{name} of an id that is gone"
    assert all(find.py_func(arrays["keys"], key) >= 0 for key in arrays["keys"][~free][::97]), "lost in its own table"


@EVERY
@pytest.mark.parametrize("evict", ["oldest", "rare"])
def test_neither_blocks_nor_a_snapshot_change_who_goes(make: Any, evict: str) -> None:
    rng = np.random.default_rng(5)
    keys = (rng.zipf(1.3, (6000, 2)) % 4000 + 1).astype(np.uint64) * SPREAD
    block, label = _block(keys), rng.integers(0, 2, 6000).astype(np.float64)
    whole, cut = (make(categories_max=600, evict=evict) for _ in range(2))
    whole.score_learn(block, label)
    for at in range(0, 6000, 150):
        for rows in (range(at, at + 7), range(at + 7, at + 150)):
            cut.score_learn(take(block, rows), label[rows.start : rows.stop])
        state, cut = unpack(pack(cut.state())), make(categories_max=600, evict=evict)
        cut.restore(state)
    assert cut.state().digest() == whole.state().digest()
    assert whole.counts()["evicted"] > 1000
    assert cut.counts() == whole.counts()


@pytest.mark.parametrize("evict", ["oldest", "rare"])
def test_an_id_that_comes_back_starts_anew_with_what_its_optimiser_remembers(evict: str) -> None:
    model, fresh = (MAKERS["adam"](categories_max=1, evict=evict) for _ in range(2))
    _learn(model, [5] * 40)
    _learn(model, [6, 7])
    assert _keys(model).tolist() == [7]
    _learn(model, [5])
    _learn(fresh, [5])
    at = find.py_func(model.state().arrays["keys"], np.uint64(5))
    assert model.state().arrays["table_memory"][at, 1] > 0
    assert model.state().arrays["table_memory"][at, 1] < 1e-3, "one step's, not forty steps'"


def test_rare_keeps_what_is_frequent_where_oldest_keeps_what_is_recent() -> None:
    """100 ids seen a hundred times each, then 400 new ones: only `rare` remembers the former."""
    kept = {}
    for evict in ("rare", "oldest"):
        model = MAKERS["fast"](categories_max=200, evict=evict)
        frequent = np.tile(np.arange(1, 101, dtype=np.uint64) * SPREAD, 100)
        _learn(model, frequent)
        _learn(model, np.arange(1000, 1400, dtype=np.uint64) * SPREAD)
        kept[evict] = np.isin(np.unique(frequent), _keys(model)).sum()
    assert kept["rare"] == 100
    assert kept["oldest"] < 10


def test_frequency_ages_so_that_yesterdays_favourites_go() -> None:
    model = MAKERS["fast"](categories_max=100, evict="rare")
    _learn(model, np.tile(np.arange(1, 101, dtype=np.uint64) * SPREAD, 300))
    _learn(model, np.tile(np.arange(1000, 1100, dtype=np.uint64) * SPREAD, 30))
    assert np.isin(np.arange(1000, 1100, dtype=np.uint64) * SPREAD, _keys(model)).mean() > 0.9


def test_none_refuses_new_ids_and_counts_them() -> None:
    model = MAKERS["fast"](categories_max=3, evict="none")
    _learn(model, [1, 2, 3, 4, 5, 1])
    assert model.counts() == {"held": 3, "evicted": 0, "refused": 2}
    assert "marks" not in model.state().arrays


def test_a_state_from_before_there_were_marks_is_taken() -> None:
    old, new = MAKERS["fast"](categories_max=3, evict="none"), MAKERS["fast"](categories_max=3)
    _learn(old, [1, 2, 3])
    new.restore(old.state())
    _learn(new, [1, 1, 2, 9])
    assert _keys(new).tolist() == [1, 2, 9]
    assert new.counts() == {"held": 3, "evicted": 1, "refused": 0}


@settings(deadline=None, max_examples=200)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=300), st.integers(1, 20), st.sampled_from(["oldest", "rare"]))
def test_whatever_comes_every_key_is_found_in_the_place_where_a_search_ends(
    keys: list[int], bound: int, evict: str
) -> None:
    model = MAKERS["fast"](categories_max=bound, evict=evict)
    spread = np.array(keys, np.uint64)
    crowded = spread * np.uint64(1024) + np.uint64(1020) + spread % np.uint64(4)  # all want the table's last places
    _learn(model, crowded)
    arrays, counts = model.state().arrays, model.counts()
    held = np.flatnonzero(arrays["keys"])
    assert len(held) == counts["held"] == min(bound, len(set(keys)))
    assert counts["held"] + counts["evicted"] >= len(set(keys))
    assert [find.py_func(arrays["keys"], arrays["keys"][slot]) for slot in held] == held.tolist()
    assert (arrays["marks"][held] <= 255).all()
    assert not arrays["table"][arrays["keys"] == 0].any()
    assert np.uint64(crowded[-1]) in arrays["keys"], "the newest is always held"
    assert 0 <= arrays["clock"][HAND] < arrays["keys"].size
