"""Snapshots: whole or not there, whatever is killed, flipped, cut or full; never a silent fresh start."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.errors import SnapshotError, StorageError
from stream.learn.learner import State
from stream.registry import snapshot as snapshots
from stream.registry.snapshot import MANIFEST, SpecMismatch, list_snapshots, load_newest, pack, read, unpack, write

SPEC = "0123456789abcdef"


def _states(seed: int) -> dict[str, State]:
    rng = np.random.default_rng(seed)
    arrays = {"w": rng.normal(size=(3, 4)), "keys": rng.integers(0, 1 << 63, 7, np.uint64), "none": np.zeros((3, 0))}
    return {
        "logistic": State(arrays, {"kind": "linear", "é": [1, None, 0.1]}),
        "tree": State({"n": np.arange(seed, dtype=np.int32)}, {}),
    }


def _write(folder: Path, generation: int, keep: int = 3, **more: Any) -> snapshots.Snapshot:
    meta = {"generation": generation, "spec_hash": SPEC, "training_offset": 10 * generation}
    return write(folder, _states(generation), meta, keep, **more)


def _check(found: snapshots.Snapshot | None, generation: int) -> None:
    assert found is not None
    assert found.meta["generation"] == generation
    assert found.meta["training_offset"] == 10 * generation
    expected = _states(generation)
    assert {n: s.digest() for n, s in found.states.items()} == {n: s.digest() for n, s in expected.items()}


def _listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# -- pack ------------------------------------------------------------------------------------------------


_shapes = st.sampled_from([(), (0,), (3,), (2, 0), (2, 3)])
_dtypes = st.sampled_from(["<f8", "<i8", "<i4", "<u8", "|u1", "|b1"])


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["a", "model.w", "metric.bins", "z"]), st.tuples(_dtypes, _shapes)),
    st.dictionaries(st.text(max_size=5), st.none() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)),
)
def test_unpacking_is_the_inverse_of_packing_and_equal_states_give_equal_bytes(
    arrays: dict[str, Any], meta: dict[str, Any]
) -> None:
    rng = np.random.default_rng(0)
    state = State({k: rng.integers(0, 2, shape).astype(dtype) for k, (dtype, shape) in arrays.items()}, meta)
    body = pack(state)
    found = unpack(body)
    assert found.digest() == state.digest()
    assert {k: (a.dtype, a.shape) for k, a in found.arrays.items()} == {
        k: (a.dtype, a.shape) for k, a in state.arrays.items()
    }
    assert pack(State(dict(reversed(state.arrays.items())), dict(reversed(meta.items())))) == body
    assert pack(found) == body


def test_packing_depends_on_no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    before = pack(_states(1)["tree"])
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2031, 5, 6, 7, 8, 9, 0, 0, 0))
    assert pack(_states(1)["tree"]) == before


# -- writing and reading ---------------------------------------------------------------------------------


def test_what_is_written_is_read_again_with_its_meta_and_sha(tmp_path: Path) -> None:
    written = _write(tmp_path / "deep" / "s", 7)
    found = load_newest(tmp_path / "deep" / "s", SPEC)
    _check(found, 7)
    assert found is not None
    assert (found.path, found.sha256) == (written.path, written.sha256)
    assert found.passed_over == []


def test_a_reader_reads_one_after_the_other_and_what_it_gave_stays(tmp_path: Path) -> None:
    paths = {g: _write(tmp_path, g).path for g in (1, 2, 900)}  # the last is the largest
    reader = snapshots.Reader()
    found = {g: reader.read(paths[g], SPEC) for g in (2, 900, 1, 2)}
    for generation, snapshot in found.items():
        _check(snapshot, generation)


def test_a_reader_takes_no_other_snapshot_than_the_one_announced(tmp_path: Path) -> None:
    one, other = _write(tmp_path, 1), _write(tmp_path, 2)
    _check(snapshots.Reader().read(one.path, SPEC, sha256=one.sha256), 1)
    with pytest.raises(SnapshotError, match=f"sha256 is {one.sha256}; {other.sha256} was announced"):
        snapshots.Reader().read(one.path, SPEC, sha256=other.sha256)
    manifest = one.path / MANIFEST
    manifest.write_bytes(manifest.read_bytes().replace(b'"training_offset": 10', b'"training_offset": 11'))
    with pytest.raises(SnapshotError, match="not what it says itself; the file is damaged"):
        snapshots.Reader().read(one.path, SPEC, sha256=one.sha256)


def test_a_reader_lets_others_on_between_its_steps(tmp_path: Path) -> None:
    pauses: list[None] = []
    arrays = sum(len(state.arrays) for state in _states(1).values())
    snapshots.Reader(lambda: pauses.append(None)).read(_write(tmp_path, 1).path, SPEC)
    assert len(pauses) >= 1 + 2 * len(_states(1)) + arrays


def test_the_newest_of_those_kept_is_loaded_and_no_more_are_kept(tmp_path: Path) -> None:
    for generation in (1, 2, 9, 10, 11, 100):
        _write(tmp_path, generation, keep=3)
    assert [int(p.name) for p in list_snapshots(tmp_path)] == [100, 11, 10]
    _check(load_newest(tmp_path, SPEC), 100)
    _write(tmp_path, 101, keep=1)
    assert [int(p.name) for p in list_snapshots(tmp_path)] == [101]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["000000000101"]


def test_where_there_never_was_one_there_is_none(tmp_path: Path) -> None:
    assert load_newest(tmp_path / "nothing", SPEC) is None
    (tmp_path / ".writing-000000000001").mkdir()
    (tmp_path / ".writing-000000000001" / "half.npz").write_bytes(b"x")
    assert load_newest(tmp_path, SPEC) is None


def test_what_a_person_puts_beside_the_snapshots_is_left_alone(tmp_path: Path) -> None:
    _write(tmp_path, 1, keep=1)
    shutil.copytree(tmp_path / "000000000001", tmp_path / "000000000001.bak")
    (tmp_path / "2024 notes").mkdir()
    (tmp_path / "3").write_text("a file")
    _check(load_newest(tmp_path, SPEC), 1)
    _write(tmp_path, 2, keep=1)
    assert (tmp_path / "000000000001.bak").is_dir()
    assert (tmp_path / "2024 notes").is_dir()


def test_the_same_generation_again_replaces_a_damaged_one(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    damaged = _write(tmp_path, 2)
    (damaged.path / "tree.npz").unlink()
    _check(load_newest(tmp_path, SPEC), 1)
    _write(tmp_path, 2)
    _check(load_newest(tmp_path, SPEC), 2)


# -- kills -----------------------------------------------------------------------------------------------


def _steps(folder: Path) -> list[str]:
    """Names of all steps of a write that also drops an old snapshot."""
    names: list[str] = []
    _write(folder, 1)
    _write(folder, 2, keep=1, step=names.append)
    return names


STEPS = 11


def test_the_steps_are_those_that_the_kills_below_go_through(tmp_path: Path) -> None:
    names = _steps(tmp_path)
    assert len(names) == STEPS
    assert names[:1] == ["mkdir"]
    assert names[-5:] == [f"fsync {MANIFEST}", "fsync folder", "rename", "fsync folder", "remove"]


class _Killed(BaseException):
    pass


def _kill_at(number: int, kill: Callable[[], Any]) -> Callable[[str], None]:
    left = number

    def step(_: str) -> None:
        nonlocal left
        if left == 0:
            kill()
        left -= 1

    return step


def _old_or_new(folder: Path, number: int, names: list[str]) -> None:
    """After a kill before step `number` of writing generation 3."""
    found = load_newest(folder, SPEC)
    assert found is not None
    assert not found.passed_over
    _check(found, 3 if number > names.index("rename") else 2)
    _write(folder, 3, keep=2)  # the next life writes it again, or anew
    _check(load_newest(folder, SPEC), 3)
    assert sorted(p.name for p in folder.iterdir()) == ["000000000002", "000000000003"]


@pytest.mark.parametrize("number", range(STEPS))
def test_an_exception_before_any_step_leaves_the_old_or_the_new_one(tmp_path: Path, number: int) -> None:
    names = _steps(tmp_path / "count")
    for generation in (1, 2):
        _write(tmp_path / "s", generation)

    def kill() -> None:
        raise _Killed

    with pytest.raises(_Killed):
        _write(tmp_path / "s", 3, keep=2, step=_kill_at(number, kill))
    _old_or_new(tmp_path / "s", number, names)


_CHILD = """
import os, signal, sys
from pathlib import Path
from test_snapshot import _kill_at, _write
for number in range(int(sys.argv[2])):
    if os.fork() == 0:
        _write(Path(sys.argv[1]) / str(number), 3, keep=2, step=_kill_at(number, lambda: os.kill(os.getpid(), 9)))
        os._exit(1)
    print(os.wait()[1])
"""


def test_a_sigkill_before_any_step_leaves_the_old_or_the_new_one(tmp_path: Path) -> None:
    names = _steps(tmp_path / "count")
    for number in range(STEPS):
        for generation in (1, 2):
            _write(tmp_path / str(number), generation)
    found = _python(_CHILD, str(tmp_path), str(STEPS))
    assert found.split() == [str(int(signal.SIGKILL))] * STEPS
    for number in range(STEPS):
        _old_or_new(tmp_path / str(number), number, names)


def _python(code: str, *arguments: str) -> str:
    here = Path(__file__)
    env = {**os.environ, "PYTHONPATH": f"{here.parents[2]}:{here.parent}"}
    run = [sys.executable, "-c", code, *arguments]
    return subprocess.run(run, env=env, capture_output=True, text=True, check=True, timeout=120).stdout


# -- damage ----------------------------------------------------------------------------------------------


def _two(folder: Path) -> Path:
    _write(folder, 1)
    return _write(folder, 2).path


FILES = ["logistic.npz", "tree.npz", MANIFEST]


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_anywhere_is_noticed_and_the_one_before_is_loaded(tmp_path: Path, name: str) -> None:
    path = _two(tmp_path) / name
    good = path.read_bytes()
    places = range(len(good)) if name == MANIFEST else [*range(0, len(good), 13), len(good) - 1]
    for place in places:
        for bit in (0, 1, 6):
            bad = bytearray(good)
            bad[place] ^= 1 << bit
            path.write_bytes(bytes(bad))
            found = load_newest(tmp_path, SPEC)
            assert found is not None
            if found.meta["generation"] == 2:  # only where the text changed, and nothing that it says
                _check(found, 2)
                assert json.loads(bad) == json.loads(good)
                continue
            _check(found, 1)
            (said,) = found.passed_over
            assert "000000000002" in said
    path.write_bytes(good)
    _check(load_newest(tmp_path, SPEC), 2)


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_anywhere_lost_or_longer_is_noticed(tmp_path: Path, name: str) -> None:
    path = _two(tmp_path) / name
    good = path.read_bytes()
    for end in [*range(0, len(good), 1 + len(good) // 50), len(good) - 1]:
        path.write_bytes(good[:end])
        _check(load_newest(tmp_path, SPEC), 1)
    path.write_bytes(good + b"\0")
    _check(load_newest(tmp_path, SPEC), 1)
    path.unlink()
    _check(load_newest(tmp_path, SPEC), 1)
    path.mkdir()
    _check(load_newest(tmp_path, SPEC), 1)


@pytest.mark.parametrize("body", [b"[]", b"null", b"3", b'"x"', b"{}", b'{"version": 1}', b"\xff", b"[" * 100_000])
def test_a_manifest_that_is_something_else_is_noticed(tmp_path: Path, body: bytes) -> None:
    (_two(tmp_path) / MANIFEST).write_bytes(body)
    _check(load_newest(tmp_path, SPEC), 1)


def test_files_of_one_snapshot_in_another_are_noticed(tmp_path: Path) -> None:
    newest = _two(tmp_path)
    shutil.copy(tmp_path / "000000000001" / "tree.npz", newest / "tree.npz")
    _check(load_newest(tmp_path, SPEC), 1)


def test_where_all_are_damaged_there_is_no_fresh_start(tmp_path: Path) -> None:
    _two(tmp_path)
    for path in list_snapshots(tmp_path):
        (path / MANIFEST).write_bytes(b"")
    with pytest.raises(SnapshotError, match="no snapshot is whole") as caught:
        load_newest(tmp_path, SPEC)
    assert "000000000001" in str(caught.value)
    assert "000000000002" in str(caught.value)


def test_a_snapshot_of_another_spec_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    _write(tmp_path, 1)
    meta = {"generation": 2, "spec_hash": "another", "training_offset": 0}
    write(tmp_path, _states(2), meta, 3)
    with pytest.raises(SpecMismatch, match=f"made under spec another; this one is {SPEC}"):
        load_newest(tmp_path, SPEC)
    assert read(tmp_path / "000000000002").meta["spec_hash"] == "another"


def test_a_snapshot_of_a_later_program_says_its_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "VERSION", 99)
    _write(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(SnapshotError, match=f"version 99; this program reads {snapshots.VERSION}"):
        load_newest(tmp_path, SPEC)


# -- a disk that refuses ---------------------------------------------------------------------------------


def _refuse(number: int, code: int) -> Callable[[str], None]:
    def fail() -> None:
        raise OSError(code, os.strerror(code))

    return _kill_at(number, fail)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO], ids=["full", "read-only", "input/output"])
def test_a_disk_that_refuses_before_the_rename_leaves_all_as_it_was(tmp_path: Path, code: int) -> None:
    names = _steps(tmp_path / "count")
    _two(tmp_path / "s")
    before = _listing(tmp_path / "s")
    for number in range(names.index("rename") + 1):
        with pytest.raises(StorageError, match="the one before is intact") as caught:
            _write(tmp_path / "s", 3, step=_refuse(number, code))
        assert os.strerror(code) in str(caught.value)
        assert _listing(tmp_path / "s") == before
        assert len(list((tmp_path / "s").iterdir())) == 2
    _write(tmp_path / "s", 3)
    _check(load_newest(tmp_path / "s", SPEC), 3)


_FULL = """
import resource, sys
from pathlib import Path
import numpy as np
from stream.errors import StorageError
from stream.learn.learner import State
from test_snapshot import SPEC, write
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    write(Path(sys.argv[1]), {"a": State({"w": np.ones(10_000)}, {})}, {"generation": 3, "spec_hash": SPEC}, 3)
except StorageError as e:
    print(e.exit_code)
"""


def test_a_write_that_the_system_cuts_short_leaves_all_as_it_was(tmp_path: Path) -> None:
    _two(tmp_path)
    before = _listing(tmp_path)
    assert _python(_FULL, str(tmp_path)).strip() == str(StorageError.exit_code)
    assert _listing(tmp_path) == before
    _check(load_newest(tmp_path, SPEC), 2)


def test_a_file_where_the_folder_should_be_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("in the way")
    with pytest.raises(StorageError, match="can't be written"):
        _write(tmp_path / "s", 1)
