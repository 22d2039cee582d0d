"""How the join's arrays grow: seldom, and without touching memory that nobody uses."""

import resource

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.join.places import MAPPED_BYTES, longer, roomy_size, untouched


@given(st.integers(1, 2**40))
def test_a_size_is_a_power_of_two_that_is_enough(needed: int) -> None:
    size = roomy_size(needed)
    assert size >= needed
    assert size & (size - 1) == 0
    assert size < (16 * needed if size <= 2**18 else 2 * needed)


@pytest.mark.parametrize("shape", [(3,), (MAPPED_BYTES // 8 - 1,), (MAPPED_BYTES // 8,), (MAPPED_BYTES, 3), (0, 5)])
def test_untouched_is_zeros_that_can_be_written(shape: tuple[int, ...]) -> None:
    found = untouched(shape, np.int64)
    assert found.shape == shape
    assert found.flags.c_contiguous
    assert found.flags.writeable
    assert found.flags.aligned
    assert not found.any()
    found[...] = 7
    assert (found == 7).all()


def test_objects_begin_as_none() -> None:
    assert untouched((3,), object).tolist() == [None] * 3
    assert longer(np.array(["a"], object), 2).tolist() == ["a", None]


def test_what_is_not_used_takes_no_memory() -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = untouched((1 << 30,), np.int64)  # 8 GiB
    found[:: 1 << 27] = 1
    assert longer(found[:1000], 1 << 30)[:1000].sum() == 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000
