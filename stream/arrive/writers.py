"""The writers' schemas that a pipeline knows from files, found by fingerprint.

What: `WriterSchemas` reads every .avsc of the given folders and files, and looks again when asked for a
fingerprint that it lacks.
Why: a producer moves to a compatible schema while the stream runs; whoever drops its file beside the others
has its events accepted with no restart. Looking at most once per RESCAN_S keeps garbage from the disk.
Invariant: a schema once known stays known. A file that goes bad later never stops the step: it is told in
`problems`, and read again when it changes (it may have been caught half written).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from stream.arrive.evolve import misread
from stream.arrive.schema import EventSchema, load_schema
from stream.errors import SchemaError

RESCAN_S = 1.0
"""Least seconds between two looks at the disk."""
FILES_MAX = 1000
"""Most files that are read; more are told in `problems`."""


class WriterSchemas:
    """Schemas by fingerprint; call it, or pass it as a Decoder's `find_writer`.

    `clock` gives monotonic seconds. Raises SchemaError at once for a file that is bad from the start.
    """

    def __init__(self, places: Path | str | Sequence[Path | str], clock: Callable[[], float]) -> None:
        self._places = [Path(places)] if isinstance(places, Path | str) else [Path(each) for each in places]
        self._clock = clock
        self._known: dict[bytes, EventSchema] = {}
        self._seen: dict[Path, tuple[int, int]] = {}
        self.problems: dict[Path, str] = {}
        for place in self._places:
            if not place.exists():
                raise SchemaError(f"{place}: no such file or folder of .avsc files")
        self._scan()
        if self.problems:
            raise SchemaError("; ".join(self.problems.values()))

    def __call__(self, key: bytes | int) -> EventSchema | None:
        """The schema of this fingerprint (8 bytes); None if no file has it, and for any registry id."""
        if isinstance(key, int):
            return None
        found = self._known.get(key)
        if found is None and self._clock() - self._scanned_s >= RESCAN_S:
            self._scan()
            found = self._known.get(key)
        return found

    @property
    def known(self) -> tuple[EventSchema, ...]:
        """All schemas found so far, oldest first."""
        return tuple(self._known.values())

    def _scan(self) -> None:
        self._scanned_s = self._clock()
        files = self._files()
        for file in files[:FILES_MAX]:
            self._read(file)
        if len(files) > FILES_MAX:
            self.problems[files[FILES_MAX]] = f"{len(files)} schema files given, at most {FILES_MAX} are read"

    def _files(self) -> list[Path]:
        found: list[Path] = []
        for place in self._places:
            try:
                found += sorted(place.glob("*.avsc")) if place.is_dir() else [place]
            except OSError as error:
                self.problems[place] = f"{place}: {error}"
        return found

    def _read(self, file: Path) -> None:
        try:
            stat = file.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if self._seen.get(file) == mark:
                return
            schema = load_schema(file)
            self._add(file, schema)
        except (SchemaError, OSError) as error:
            self.problems[file] = str(error)
        else:
            self.problems.pop(file, None)
            self._seen[file] = mark

    def _add(self, file: Path, schema: EventSchema) -> None:
        """Equal fingerprints decode alike, but the fingerprint leaves out the units of timestamps."""
        kept = self._known.setdefault(schema.fingerprint, schema)
        clash = misread(schema, kept)
        if clash:
            name = schema.fingerprint.hex()
            raise SchemaError(f"{file}: has the fingerprint {name} of a schema known before, but {'; '.join(clash)}")
