"""Snapshots: folders of arrays + JSON that are either whole or not there.

Order of writing: files → fsync → manifest (with every file's sha256, and its own) → fsync → fsync folder → rename →
fsync parent.
A kill at any of these leaves the old or the new snapshot loadable, never an error. Never a pickle of ours.
Loading goes from the newest to the oldest: a damaged one is passed over, and said; one of another spec is refused.
"""

import hashlib
import io
import json
import os
import shutil
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from stream.errors import SnapshotError, StorageError
from stream.learn.learner import State
from stream.registry.npz import arrays_of

VERSION = 2
MANIFEST = "manifest.json"
PINNED, HISTORY = "pinned", "history"  # empty files inside a snapshot by which it is kept


@dataclass(frozen=True, slots=True)
class Snapshot:
    """states by arm; meta: generation, spec_hash, training_offset and what else the learner keeps."""

    states: dict[str, State]
    meta: dict[str, Any]
    path: Path
    sha256: str
    passed_over: list[str] = field(default_factory=list)


def _nothing(_: str) -> None:
    return None


def pack(state: State) -> bytes:
    """One state as an uncompressed .npz with its JSON inside; equal states give equal bytes."""
    out = io.BytesIO()
    meta = np.frombuffer(json.dumps(state.meta, sort_keys=True).encode(), np.uint8)
    np.savez(out, allow_pickle=False, **{k: state.arrays[k] for k in sorted(state.arrays)}, meta=meta)
    return out.getvalue()


def unpack(body: bytes | memoryview, part: str = "", pause: Callable[[], None] = lambda: None) -> State:
    """The inverse of `pack`, of the arrays whose names begin with `part`; nothing in it is ever executed."""
    arrays = arrays_of(body, (part, "meta"), pause)
    return State(arrays, json.loads(arrays.pop("meta").tobytes()))


def write(
    folder: Path,
    states: dict[str, State],
    meta: dict[str, Any],
    keep: int,
    step: Callable[[str], None] = _nothing,
    history: int = 0,
    needed: Container[int] = (),
) -> Snapshot:
    """Write a snapshot and drop all but the newest `keep`, the newest `history` of those marked so, the pinned, and
    generations that are `needed`. `step` is told of each system call before it is made.

    Raises StorageError when the disk refuses; what was there before is untouched then.
    """
    final = folder / f"{meta['generation']:012d}"
    scratch = folder / f".writing-{meta['generation']:012d}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(scratch, ignore_errors=True)
        step("mkdir")
        scratch.mkdir()
        files = {}
        for name, state in states.items():
            body = pack(state)
            _write_file(scratch / f"{name}.npz", body, step)
            files[f"{name}.npz"] = hashlib.sha256(body).hexdigest()
        manifest = json.loads(json.dumps({**meta, "version": VERSION, "files": files}))
        body = json.dumps({**manifest, "sha256": _sha256(manifest)}, sort_keys=True).encode()
        _write_file(scratch / MANIFEST, body, step)
        _sync(scratch, step)
        if final.exists():  # the same generation, written before a crash and not announced
            shutil.rmtree(final)
        step("rename")
        scratch.rename(final)
        _sync(folder, step)
        for old in _expendable(folder, keep, history, needed):
            step("remove")
            shutil.rmtree(old, ignore_errors=True)
    except OSError as e:
        shutil.rmtree(scratch, ignore_errors=True)
        raise StorageError(f"snapshot {final} can't be written: {e.strerror or e}; the one before is intact") from e
    return Snapshot(states, meta, final, hashlib.sha256(body).hexdigest())


def _sha256(manifest: dict[str, Any]) -> str:
    """What a manifest says of itself, so that a flipped digit in it is noticed too."""
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()


def _write_file(path: Path, body: bytes, step: Callable[[str], None]) -> None:
    step(f"open {path.name}")
    with path.open("wb") as f:
        f.write(body)
        f.flush()
        step(f"fsync {path.name}")
        os.fsync(f.fileno())


def _sync(folder: Path, step: Callable[[str], None]) -> None:
    step("fsync folder")
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def list_snapshots(folder: Path) -> list[Path]:
    """Finished snapshots, the newest first."""
    found = [p for p in folder.glob("[0-9]*") if p.name.isdecimal() and p.is_dir()] if folder.is_dir() else []
    return sorted(found, key=lambda p: int(p.name), reverse=True)


def _expendable(folder: Path, keep: int, history: int, needed: Container[int]) -> list[Path]:
    older = list_snapshots(folder)[keep:]
    kept = {p for p in older if (p / PINNED).exists() or int(p.name) in needed}
    kept |= set([p for p in older if (p / HISTORY).exists()][:history])
    return [p for p in older if p not in kept]


def mark(path: Path, mark: str, on: bool = True) -> None:
    """Put a mark on a snapshot, or take it off. Raises StorageError when the disk refuses."""
    try:
        if on:
            (path / mark).touch()
        else:
            (path / mark).unlink(missing_ok=True)
    except OSError as e:
        raise StorageError(f"{path / mark}: {e.strerror or e}") from e


def pinned(folder: Path) -> int:
    """The newest generation that is marked as pinned; -1 for none."""
    return next((int(p.name) for p in list_snapshots(folder) if (p / PINNED).exists()), -1)


class Reader:
    """Reads snapshots one after the other, as a server does at each swap of models, through memory of its own.

    `pause` is called between the steps, none of which keeps the interpreter for long: a thread that reads while others
    answer lets them go on there. For one thread at a time.
    """

    def __init__(self, pause: Callable[[], None] = lambda: None) -> None:
        self._pause = pause
        self._kept = bytearray()  # fresh memory for each file costs more than to read it

    def read(self, path: Path, spec_hash: str | None = None, part: str = "", sha256: str | None = None) -> Snapshot:
        """One snapshot, verified byte for byte; of its arrays those whose names begin with `part`.

        Raises SnapshotError with the file and what is wrong with it; also where its own sha256 is not the one given.
        """
        try:
            body = bytes(self._file(f"{path}/{MANIFEST}"))
            self._pause()
            found = hashlib.sha256(body).hexdigest()
            manifest = json.loads(body)
            if manifest["version"] != VERSION:
                raise SnapshotError(f"{path}: version {manifest['version']}; this program reads {VERSION}")
            said = manifest.pop("sha256")
            if found != sha256 and said != _sha256(manifest):
                raise SnapshotError(f"{path / MANIFEST}: its sha256 is not what it says itself; the file is damaged")
            if sha256 not in (None, found):
                raise SnapshotError(f"{path}: sha256 is {found}; {sha256} was announced")
            if spec_hash is not None and manifest["spec_hash"] != spec_hash:
                raise SpecMismatch(f"{path}: made under spec {manifest['spec_hash']}; this one is {spec_hash}")
            states = {}
            for name, sha in manifest["files"].items():
                self._pause()
                whole = self._file(f"{path}/{name}")
                if hashlib.sha256(whole).hexdigest() != sha:
                    raise SnapshotError(f"{path / name}: its sha256 is not the manifest's; the file is damaged")
                self._pause()
                states[name.removesuffix(".npz")] = unpack(whole, part, self._pause)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise SnapshotError(f"{path}: {type(e).__name__} {e}") from e
        return Snapshot(states, manifest, path, found)

    def _file(self, name: str) -> memoryview:
        """What a file holds; only until the next is read."""
        with open(name, "rb", buffering=0) as f:  # noqa: PTH123 - a Path is a tenth of the time that reading takes
            size = os.fstat(f.fileno()).st_size
            if size > len(self._kept):
                self._kept = bytearray(size)
            held, done = memoryview(self._kept), 0
            while done < size and (more := f.readinto(held[done:size])):
                done += more
        return held[:done].toreadonly()


def read(path: Path, spec_hash: str | None = None, part: str = "") -> Snapshot:
    """One snapshot, verified byte for byte; of its arrays those whose names begin with `part`.

    Raises SnapshotError with the file and what is wrong with it.
    """
    return Reader().read(path, spec_hash, part)


class SpecMismatch(SnapshotError):
    """The snapshot is whole, but of another spec."""


def load_newest(folder: Path, spec_hash: str) -> Snapshot | None:
    """The newest snapshot that is whole; None where there never was one.

    Raises SnapshotError when snapshots are there but none is whole (never a silent fresh start), or when the
    newest whole one is of another spec.
    """
    passed_over: list[str] = []
    for path in list_snapshots(folder):
        try:
            found = read(path, spec_hash)
        except SpecMismatch:
            raise
        except SnapshotError as e:
            passed_over.append(str(e))
            continue
        return Snapshot(found.states, found.meta, found.path, found.sha256, passed_over)
    if passed_over:
        raise SnapshotError(f"{folder}: no snapshot is whole: " + "; ".join(passed_over))
    return None
