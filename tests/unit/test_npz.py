"""Arrays read where they lie in a file: those that numpy reads, or left to numpy."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as of_numpy

from stream.learn.learner import State
from stream.registry import npz
from stream.registry.snapshot import pack, unpack

dtypes = st.sampled_from([np.float64, np.float32, np.int64, np.int32, np.uint64, np.uint8, np.bool_])
arrays = st.dictionaries(
    st.text("abc.é_", min_size=1, max_size=8),
    dtypes.flatmap(lambda dtype: of_numpy.arrays(dtype, of_numpy.array_shapes(min_dims=0, min_side=0, max_side=5))),
    max_size=5,
)


def by_numpy(body: bytes) -> dict[str, Any]:
    with np.load(io.BytesIO(body), allow_pickle=False) as z:
        return {name: z[name] for name in z.files}


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, array in found.items():
        other = wanted[name]
        assert (array.dtype, array.shape, array.tobytes()) == (other.dtype, other.shape, other.tobytes())
        assert array.flags.writeable
        assert array.flags.owndata
        assert array.flags.aligned


@settings(max_examples=80, deadline=None)
@given(arrays)
def test_what_we_pack_is_plain_and_read_as_numpy_reads_it(given_: dict[str, Any]) -> None:
    body = pack(State(given_, {"rows": 3}))
    plain = npz._plain(body)
    assert plain is not None
    same(plain, by_numpy(body))
    back = unpack(body)
    assert back.meta == {"rows": 3}
    same(back.arrays, {name: given_[name] for name in sorted(given_)})
    some = unpack(body, "a")
    assert (list(some.arrays), some.meta) == ([name for name in sorted(given_) if name.startswith("a")], {"rows": 3})


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_file_that_is_cut_or_changed_gives_what_was_packed_or_is_left_to_numpy(data: st.DataObject) -> None:
    whole = pack(State({"a": np.arange(6.0), "b": np.ones((2, 3), np.uint64)}, {}))
    body = bytearray(whole)
    if data.draw(st.booleans()):
        body = body[: data.draw(st.integers(0, len(body)))]
    for _ in range(data.draw(st.integers(0, 3)) if body else 0):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    plain = npz._plain(bytes(body))
    if plain is not None:
        same(plain, by_numpy(whole))


def saved(save: Any, **given_: Any) -> bytes:
    out = io.BytesIO()
    save(out, **given_)
    return out.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        saved(np.savez_compressed, a=np.arange(5)),
        saved(np.savez, a=np.asfortranarray(np.ones((2, 3)))),
        saved(np.savez, a=np.array(["text"])),
        saved(np.savez, a=np.arange(3, dtype=">i8")),
        saved(np.savez, a=np.zeros(2, [("x", "<f8")])),
    ],
)
def test_what_is_not_plain_is_left_to_numpy(body: bytes) -> None:
    assert npz._plain(body) is None
    found = npz.arrays_of(body)
    assert np.array_equal(found["a"], by_numpy(body)["a"])
    assert npz.arrays_of(body, ("b",)) == {}


def test_objects_and_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        npz.arrays_of(saved(np.savez, a=np.array([{}], object)))
    with zipfile.ZipFile(tmp_path / "z", "w") as z:
        z.writestr("a.npy", b"no array")
    assert npz._plain((tmp_path / "z").read_bytes()) is None
