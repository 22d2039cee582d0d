"""Labels as columns: records of the labels topic → `Labels` and the rejections, without a Python object for each.

Clean records are read by the kernel of stream/join/decode.py. Whatever it finds irregular is read by LabelReader, which
alone decides what is wrong with a record, and says it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

import schemas
from stream.arrive.records import Records, records_of
from stream.arrive.reject import Reject
from stream.block import F64, I64
from stream.join.decode import (
    ASCII,
    BINARY,
    CLASSES,
    ID_END,
    ID_START,
    KIND,
    ODD,
    REGRESSION,
    TIME,
    VALUE_END,
    VALUE_START,
    WIDE,
    read,
)
from stream.join.labels import Label, LabelReader
from stream.limits import TIME_AHEAD_MS_MAX
from stream.spec import Spec
from stream.texts import Bytes, Texts, texts_of

_TASKS = {"binary": BINARY, "regression": REGRESSION, "classes": CLASSES}
_PREFIX = np.frombuffer(schemas.codec("label").prefix, np.uint8)
_LATEST_MS = np.iinfo(np.int64).max - TIME_AHEAD_MS_MAX


@dataclass(frozen=True, slots=True)
class Labels(Sequence[Label]):
    """n labels. value float64[n]; time_ms, offset, published_ms int64[n]; label i came with source[row[i]]."""

    ids: Texts
    value: F64
    time_ms: I64
    offset: I64
    published_ms: I64
    source: Sequence[Any]
    row: I64

    def __len__(self) -> int:
        return len(self.row)

    @overload
    def __getitem__(self, index: int) -> Label: ...

    @overload
    def __getitem__(self, index: slice) -> "Labels": ...

    def __getitem__(self, index: int | slice) -> "Label | Labels":
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return Label(
            self.ids.data[self.ids.start[index] : self.ids.end[index]].tobytes().decode(errors="surrogatepass"),
            float(self.value[index]),
            int(self.time_ms[index]),
            int(self.offset[index]),
            int(self.published_ms[index]),
            self.source[int(self.row[index])],
        )

    def __iter__(self) -> Iterator[Label]:
        return (self[i] for i in range(len(self)))

    def take(self, index: I64) -> "Labels":
        """The labels with these numbers, in this order."""
        ids = Texts(self.ids.data, self.ids.start[index], self.ids.end[index])
        times = self.time_ms[index], self.offset[index], self.published_ms[index]
        return Labels(ids, self.value[index], *times, self.source, self.row[index])


def labels_of(given: Sequence[Label]) -> Labels:
    """The columns of single labels; columns are handed back as they are."""
    if isinstance(given, Labels):
        return given
    integers = np.array([(x.time_ms, x.offset, x.published_ms) for x in given], np.int64).reshape(-1, 3)
    time_ms, offset, published_ms = np.ascontiguousarray(integers.T)
    value, source = np.array([x.value for x in given], np.float64), [x.source for x in given]
    ids = texts_of([x.id for x in given])
    return Labels(ids, value, time_ms, offset, published_ms, source, np.arange(len(given)))


class LabelColumns:
    """Reads many records of the labels topic under one spec."""

    def __init__(self, spec: Spec) -> None:
        self._one = LabelReader(spec)
        self._task = _TASKS[spec.task]
        self._classes = {name.encode(): float(i) for i, name in enumerate(spec.classes)}

    def read(self, records: Sequence[Any]) -> tuple[Labels, list[tuple[int, Reject]]]:
        """Records (with .value .offset .timestamp) → the labels in them, and which of the records are none, and why."""
        given = records if isinstance(records, Records) else records_of("", 0, records)
        n, published, data = len(given), np.array(given.timestamp), _read_only(given.data)
        found, value = np.empty((KIND + 1, n), np.int64), np.zeros(n)
        latest = np.minimum(published, _LATEST_MS) + TIME_AHEAD_MS_MAX
        starts, ends = np.array(given.value_start), np.array(given.value_end)
        odd = read(data, _PREFIX, starts, ends, latest, self._task, found, value, value.view(np.int64))
        if self._task == CLASSES or odd < np.count_nonzero(found[KIND] != ASCII):
            self._look_closer(data, found, value)
        ids, rejects = Texts(data, found[ID_START], found[ID_END]), list[tuple[int, Reject]]()
        if np.any(found[KIND] == ODD):
            ids, rejects = self._one_by_one(records, ids, found, value)
        labels = Labels(ids, value, found[TIME], np.array(given.offset), published, records, np.arange(n))
        if rejects:
            labels = labels.take(np.delete(np.arange(n), [row for row, _ in rejects]))
        return labels, rejects

    def _look_closer(self, data: Bytes, found: I64, value: F64) -> None:
        """What kernels leave to Python: is an id UTF-8, and of which class is a name. Rows that fail become ODD."""
        kind = found[KIND]
        for row in np.flatnonzero(kind == WIDE).tolist():
            try:
                data[found[ID_START, row] : found[ID_END, row]].tobytes().decode()
            except UnicodeDecodeError:
                kind[row] = ODD
        clean = np.flatnonzero(kind != ODD)
        if self._task == CLASSES and len(clean):
            first, last = int(found[VALUE_START, clean].min()), int(found[VALUE_END, clean].max())
            starts, ends = (found[VALUE_START, clean] - first).tolist(), (found[VALUE_END, clean] - first).tolist()
            raw, known = data[first:last].tobytes(), self._classes.get
            value[clean] = [known(raw[a:b], np.nan) for a, b in zip(starts, ends, strict=True)]
            kind[clean[np.isnan(value[clean])]] = ODD

    def _one_by_one(
        self, records: Sequence[Any], ids: Texts, found: I64, value: F64
    ) -> tuple[Texts, list[tuple[int, Reject]]]:
        """Read the ODD rows as LabelReader does. Their ids come behind the data."""
        rejects: list[tuple[int, Reject]] = []
        good: list[tuple[int, str]] = []
        for row in np.flatnonzero(found[KIND] == ODD).tolist():
            record = records[row]
            label = self._one.read_bytes(record.value or b"", record.offset, record.timestamp)
            if isinstance(label, Reject):
                rejects.append((row, label))
            else:
                value[row], found[TIME, row] = label.value, label.time_ms
                good.append((row, label.id))
        if good:
            more = texts_of([text for _, text in good])
            rows = [row for row, _ in good]
            ids.start[rows], ids.end[rows] = more.start + len(ids.data), more.end + len(ids.data)
            ids = Texts(_read_only(np.concatenate([ids.data, more.data])), ids.start, ids.end)
        return ids, rejects


def _read_only(data: Any) -> Any:
    """A contiguous read-only view: the one array type that kernels are compiled for."""
    view = np.ascontiguousarray(data).view()
    view.flags.writeable = False
    return view
