"""The models topic → the model that answers. A thread of its own; no call ever waits for it.

The topic is compacted, and read from its beginning at each (re)connect: only the newest record of this
pipeline counts, unless a person has pinned one: a record of its own (`pin_key`), until its tombstone. One that its gate
refused never serves; the last good one, which its record names, does.
Invariant: the model in place is replaced by a whole one or not at all. A damaged or
unreachable snapshot is said once and tried again; meanwhile the old one answers and its staleness grows.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import structlog
from kafka import KafkaConsumer
from kafka.errors import KafkaError

import schemas
from consumers._kafka import make_consumer, partitions_of
from consumers._listen import POLL_MS, Batch, Listener, close
from consumers._pin import pin_key
from consumers.settings import Settings
from stream.errors import SnapshotError
from stream.predict.plane import Plane
from stream.predict.served import MODEL, Loader, Served
from stream.registry import snapshot as snapshots
from stream.spec import Spec

log = structlog.get_logger()
_BACK = 10  # of niceness: a tenth of the weight of the threads that answer; loading needs a thousandth of a second
RETRY_S = 1.0  # between two tries of a snapshot that can't be read


def folder_of(uri: str) -> Path:
    """The folder that a snapshot's uri names. Raises SnapshotError for anything but file://."""
    parts = urlsplit(uri)
    if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
        raise SnapshotError(f"snapshot {uri}: found {parts.scheme}://{parts.netloc}; file:/// is read")
    return Path(url2pathname(parts.path))


def step_back() -> None:
    """Leave a core to the process's other threads, those that answer, where they want it as well. On Linux only."""
    if sys.platform == "linux":  # elsewhere the whole process has one priority
        me = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, me, min(19, os.getpriority(os.PRIO_PROCESS, me) + _BACK))


def _give_way() -> None:
    """Let a thread that waits for the interpreter have it."""
    time.sleep(0)


class Announced:
    """The models that records of the models topic announce."""

    def __init__(self, spec: Spec) -> None:
        self._reader, self._loader = snapshots.Reader(_give_way), Loader(spec, _give_way)

    def load(self, record: dict[str, Any]) -> Served:
        """The model that a record announces, verified. Raises SnapshotError."""
        folder = folder_of(record["uri"])
        _give_way()
        found = self._reader.read(folder, record["spec_hash"], MODEL, record["sha256"])
        if found.meta.get("refused") and not record["pinned"]:
            raise SnapshotError(f"{found.path}: refused by its gate: {found.meta['refused']}")
        return self._loader.served(found, record["as_of_ms"])


def load(spec: Spec, record: dict[str, Any]) -> Served:
    """The model that one record announces, verified. Raises SnapshotError."""
    return Announced(spec).load(record)


class Follower(Listener):
    """Keeps `plane` at the newest model. `loaded` is called after each swap."""

    def __init__(self, spec: Spec, settings: Settings, plane: Plane, loaded: Callable[[], None] = lambda: None) -> None:
        super().__init__(settings, "follow")
        self._spec, self._plane, self._loaded = spec, plane, loaded
        self._hash, self._announced = spec.hash, Announced(spec)
        self._topic = spec.topic("models")
        self._pending: dict[str, Any] | None = None  # to be put in place
        self._newest: dict[str, Any] | None = None  # announced by the learner
        self._pin: dict[str, Any] | None = None  # chosen by a person
        self._read_to = 0  # where the topic ended when we connected: until there, nothing is put in place
        self._refused = -1  # newest generation, if its gate refused it
        self.refused_count = 0
        self._try_s = 0.0

    def _run(self) -> None:
        step_back()
        super()._run()

    def _connect(self) -> KafkaConsumer:
        consumer = make_consumer(self._settings, None)
        try:
            partitions = partitions_of(consumer, [self._topic], self._settings)
            consumer.assign(partitions)
            for tp, first in consumer.beginning_offsets(partitions).items():
                consumer.seek(tp, first)
            self._read_to = max(consumer.end_offsets(partitions).values())
            self._pin = None  # it is read again
        except BaseException:
            close(consumer)
            raise
        return consumer

    def _away(self, error: Exception) -> None:
        self._complain("models topic not read; the model in place stays", error, topic=self._topic)

    def _turn(self, batch: Batch | None) -> None:
        """Take what is new, then bring the newest into place."""
        if batch:
            self._take(batch)
        if self._pending is not None and not self._behind() and (batch or time.monotonic() >= self._try_s):
            self._place(self._pending)

    def _behind(self) -> bool:
        """Whether what lay in the topic when we connected is still to be read, a pin perhaps."""
        consumer = self._consumer
        return consumer is None or any(consumer.position(tp) < self._read_to for tp in consumer.assignment())

    @property
    def pinned(self) -> int | None:
        """The generation that a person has pinned."""
        return None if self._pin is None else int(self._pin["generation"])

    def _take(self, batch: Batch) -> None:
        """Remember the newest announcement; one of the model in place only tells its freshness."""
        for records in batch.values():
            for r in records:
                if r.key == pin_key(self._spec) and r.value is None:
                    if self._pin is not None:
                        log.info("released", generation=self._pin["generation"])
                    self._pin, self._pending = None, self._newest
                    continue
                try:
                    record = schemas.codec("model").decode(r.value or b"")
                except ValueError as e:
                    self._complain(f"{self._topic} offset {r.offset} passed over", e, topic=self._topic)
                    continue
                if record["pipeline"] != self._spec.name:
                    continue
                if record["spec_hash"] != self._hash:
                    found = f"made under spec {record['spec_hash']}; this one is {self._hash}"
                    self._complain(
                        f"generation {record['generation']} passed over", ValueError(found), topic=self._topic
                    )
                    continue
                if record["pinned"]:
                    self._pin = record
                    log.warning("pinned", generation=record["generation"], why=record["why"])
                else:
                    self._newest = record
                    self._note_refusal(record)
                self._pending = self._pin or self._newest

    def _note_refusal(self, record: dict[str, Any]) -> None:
        """Count each generation that may not serve; say the first of a series."""
        if not record["refused"]:
            self._refused = -1
        elif record["generation"] != self._refused:
            if self._refused < 0:
                what, good = f"generation {record['generation']} refused by its gate", record["good_generation"]
                log.warning(what, reason=record["refused"], stays_at=None if good < 0 else good)
            self._refused = record["generation"]
            self.refused_count += 1

    def _place(self, record: dict[str, Any]) -> None:
        served = self._plane.served
        if record["refused"] and not record["pinned"]:
            if record["good_generation"] < 0:
                self._pending = None
                return
            good = {n: record[f"good_{n}"] for n in ("generation", "uri", "sha256")}
            record = {**record, **good, "refused": "", "as_of_ms": 0}  # how fresh it is, it says itself
        if served is None or (served.generation, served.sha256) != (record["generation"], record["sha256"]):
            try:
                served = self._announced.load(record)
            except SnapshotError as e:
                self._try_s = time.monotonic() + RETRY_S
                if not self._newer_follows():
                    self._complain(
                        f"generation {record['generation']} not loaded; the model in place stays", e, topic=self._topic
                    )
                return
            self._plane.swap(served)
            self._loaded()
            log.debug("model in place", generation=served.generation, label_offset=served.label_offset)
        else:
            self._plane.as_of(record["as_of_ms"])
        self._pending, self._told = None, ""

    def _newer_follows(self) -> bool:
        """Look once more before complaining: the snapshot may be gone since a newer one took its place."""
        before = self._pending
        if self._consumer is not None:
            try:
                self._take(self._consumer.poll(timeout_ms=POLL_MS))
            except KafkaError as e:
                log.debug("models topic not read", error=str(e))
        self._try_s = 0.0 if self._pending is not before else self._try_s
        return self._pending is not before
