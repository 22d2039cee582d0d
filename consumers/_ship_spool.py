"""What could not be delivered yet, on disk, in order: records as they came, one Avro file a batch, under a cap.

Records are kept, not documents: they are a fifth of the size, and a document is a function of its record.
Invariants: a file is whole or not there (tmp → fsync → rename → fsync folder); all files together never exceed the cap.
"""

import contextlib
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import fastavro

from stream.arrive.records import Record
from stream.errors import StorageError

_RECORD = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Spooled",
        "fields": [
            {"name": "topic", "type": "string"},
            {"name": "partition", "type": "int"},
            {"name": "offset", "type": "long"},
            {"name": "timestamp", "type": "long"},
            {"name": "key", "type": ["null", "bytes"]},
            {"name": "value", "type": ["null", "bytes"]},
        ],
    }
)
_SUFFIX = ".avro"


@dataclass(frozen=True, slots=True)
class Spooled:
    """One batch. number: grows by one with each."""

    number: int
    records: list[Record]


class Spool:
    """The batches of one shipper; one process at a time works on a folder."""

    def __init__(self, folder: Path, bytes_max: int) -> None:
        self._folder, self._bytes_max = folder, bytes_max
        self._sizes: OrderedDict[int, int] = OrderedDict()
        self.bytes = 0  # of all files
        with _disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for torn in folder.glob("*.part"):
                torn.unlink()
            for path in sorted(folder.glob(f"*{_SUFFIX}")):
                self._sizes[int(path.stem)] = path.stat().st_size
        self.bytes = sum(self._sizes.values())
        self._next = max(self._sizes, default=0) + 1

    def __len__(self) -> int:
        return len(self._sizes)

    @property
    def numbers(self) -> list[int]:
        """Of the batches, oldest first."""
        return list(self._sizes)

    @property
    def newest(self) -> int:
        """Number of the newest batch; 0 where there is none."""
        return next(reversed(self._sizes), 0)

    def beyond(self, number: int) -> tuple[int, int]:
        """How many batches have a higher number, and their bytes."""
        sizes = [size for n, size in self._sizes.items() if n > number]
        return len(sizes), sum(sizes)

    def start_after(self, number: int) -> None:
        """Batches up to this number are done with, and none will have one of their numbers again."""
        if old := [n for n in self._sizes if n <= number]:
            self.drop(*old)
        self._next = max(self._next, number + 1)

    def put(self, records: Sequence[Record]) -> bool:
        """Keep a batch; on disk when this returns. False, and nothing is kept, where the cap leaves no room."""
        out = BytesIO()
        fastavro.writer(out, _RECORD, (r._asdict() for r in records), "deflate")
        data = out.getvalue()
        if self.bytes + len(data) > self._bytes_max:
            return False
        path = self._path(self._next)
        part = path.with_suffix(".part")
        with _disk(path):
            with part.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            part.rename(path)
            self._sync_folder()
        self._sizes[self._next] = len(data)
        self.bytes += len(data)
        self._next += 1
        return True

    def read(self, number: int) -> Spooled:
        """One batch."""
        path = self._path(number)
        with _disk(path), path.open("rb") as file:
            try:
                found = [Record(**r) for r in fastavro.reader(file)]  # type: ignore[arg-type]
            except (ValueError, EOFError, TypeError, KeyError, zlib.error) as error:
                raise StorageError(f"{path}: damaged: {error}; move it away to go on without its records") from error
        return Spooled(number, found)

    def drop(self, *numbers: int) -> None:
        """These batches are delivered."""
        for number in numbers:
            path = self._path(number)
            with _disk(path):
                path.unlink(missing_ok=True)
            self.bytes -= self._sizes.pop(number, 0)
        with _disk(self._folder):
            self._sync_folder()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:020d}{_SUFFIX}"

    def _sync_folder(self) -> None:
        handle = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror or error}") from error
