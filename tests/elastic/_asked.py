"""A real prediction server for a pipeline, and somebody who asks it at a steady rate: what do its callers notice?

    python -m tests.elastic._asked ADDRESS RATE FILE

is the asker, a process of its own, so that nothing the tests do delays its questions. It asks question n when it is due
(start + n / RATE) and writes a line an answer: the monotonic clock when it was due, milliseconds from then to the
answer, 1 or 0 for answered or not. A server that stalls is so charged for the questions that had to wait.
"""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen

import numpy as np

import schemas
from consumers._kafka import make_producer
from consumers._read import read_topic
from consumers.client import PredictionClient
from consumers.demo.flights import read_flights
from infra._proxy import spawn
from infra.kafka import free_port
from stream.block import Training
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.errors import HeadwaterError
from stream.learn.arms import Arms, digest
from stream.registry import snapshot as snapshots
from tests.elastic._harness import WAIT_S, Pipeline, wait_for

FLIGHTS, LEARNED = 400, 2_000
ASKED = "asked-"  # begins the ids of the asker's events


@dataclass(frozen=True, slots=True)
class Answers:
    """due_s: monotonic clock; took_ms: from then on. Both float64[n]; answered: bool[n]."""

    due_s: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    took_ms: "np.ndarray[tuple[int], np.dtype[np.float64]]"
    answered: "np.ndarray[tuple[int], np.dtype[np.bool_]]"

    @classmethod
    def of(cls, path: Path) -> "Answers":
        """What an asker wrote."""
        rows = np.loadtxt(path, np.float64, ndmin=2)
        return cls(rows[:, 0], rows[:, 1], rows[:, 2] > 0)

    def between(self, begun_s: float, ended_s: float) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        """Milliseconds of the answers to what was due in this time."""
        return self.took_ms[self.answered & (self.due_s >= begun_s) & (self.due_s < ended_s)]


def ask(address: str, rate: float, path: Path) -> None:
    """Until SIGTERM."""
    left: list[int] = []
    signal.signal(signal.SIGTERM, lambda *_: left.append(1))
    fields = [{k: v for k, v in f.event.items() if v is not None and k != "flight_id"} for f in read_flights(FLIGHTS)]
    with PredictionClient(address, timeout_s=30.0) as client, path.open("w", 1 << 16) as out:
        begun_s, n = time.monotonic(), 0
        while not left:
            due_s = begun_s + n / rate
            time.sleep(max(0.0, due_s - time.monotonic()))
            try:
                client.predict(fields[n % FLIGHTS], event_id=f"{ASKED}{n}")
                answered = 1
            except HeadwaterError as error:
                answered = 0
                print(error, flush=True)
            out.write(f"{due_s:.6f} {1000 * (time.monotonic() - due_s):.4f} {answered}\n")
            n += 1


def logged(pipeline: Pipeline) -> list[int]:
    """The numbers of the questions whose answers are in the log of predictions, as often as they are."""
    found = []
    for record in read_topic(pipeline.spec, pipeline.settings, "predictions"):
        with contextlib.suppress(ValueError):  # poison
            name = schemas.codec("prediction").decode(record.value)["id"]
            found += [int(name.removeprefix(ASKED))] if name.startswith(ASKED) else []
    return found


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """What is started meanwhile runs on this core alone; None: wherever it likes."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def go_first(process: Popen[bytes]) -> None:
    """All threads of a process go before whatever else wants the core. Raises PermissionError where that is not given.

    A priority alone would not do: each session gets the same share, whatever the priorities within.
    """
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


class Asked:
    """A server that follows a model of the flights, and its asker. As a context manager it leaves no process behind."""

    def __init__(self, pipeline: Pipeline, rate: float, core: int | None = None, first: bool = False) -> None:
        self._pipeline, self._rate, self._core, self._first = pipeline, rate, core, first
        self._address = f"127.0.0.1:{free_port()}"
        self._file = pipeline.folder / "answers"
        self._open: list[Popen[bytes]] = []

    def __enter__(self) -> "Asked":
        try:
            with on_core(self._core):
                self._start()
            for process in self._open if self._first else ():
                go_first(process)
        except BaseException:
            self.__exit__()
            raise
        return self

    def _start(self) -> None:
        self._announce()
        settings = self._pipeline.settings
        given = {
            **{k: v for k, v in os.environ.items() if not k.startswith("HEADWATER_")},
            "HEADWATER_KAFKA": settings.kafka,
            "HEADWATER_GRPC": self._address,
            "HEADWATER_DATA": str(settings.data),
        }
        words = ["/usr/bin/env", "-i", *(f"{k}={v}" for k, v in given.items()), sys.executable, "-m"]
        log = self._pipeline.folder / "server.log"
        server, _ = spawn([*words, "consumers.cli", "serve", str(self._pipeline.folder / "spec.yaml")], log)
        self._open.append(server)
        with PredictionClient(self._address, timeout_s=5.0) as client:
            wait_for(lambda: self._answers(client), lambda: log.read_text(errors="replace")[-3000:])
        where = self._pipeline.folder / "asker.log"
        asker, _ = spawn([*words, "tests.elastic._asked", self._address, str(self._rate), str(self._file)], where)
        self._open.append(asker)
        wait_for(self._file.exists, lambda: where.read_text(errors="replace")[-3000:])

    def __exit__(self, *_: object) -> None:
        for process in self._open:
            process.kill()
            process.wait(30)

    def said(self) -> str:
        """What went wrong, by the asker's own words; the end of it."""
        return (self._pipeline.folder / "asker.log").read_text(errors="replace")[-2000:]

    def end(self) -> Answers:
        """The asker ends, then the server, in good order, with all it has answered on Kafka."""
        for process in reversed(self._open):
            process.send_signal(signal.SIGTERM)
            code = process.wait(WAIT_S)
            assert code == 0, (self._pipeline.folder / "server.log").read_text(errors="replace")[-3000:]
        return Answers.of(self._file)

    @staticmethod
    def _answers(client: PredictionClient) -> bool:
        try:
            client.predict({"carrier": "UA", "scheduled": 1_357_034_400_000, "distance": 1400.0}, arm="logistic")
        except HeadwaterError:
            return False
        return True

    def _announce(self) -> None:
        """Learn some flights, write a snapshot, and name it on the models topic, as the step `learn` does."""
        spec, settings = self._pipeline.spec, self._pipeline.settings
        flights = [f for f in read_flights(LEARNED) if f.late is not None]
        cleaned = Cleaner(spec).clean([f.event for f in flights], [Position(0, n, 0) for n in range(len(flights))])
        late = {str(f.event["flight_id"]): float(bool(f.late)) for f in flights}
        block = Encoder(spec).encode(cleaned.columns)
        zeros, arms = np.zeros(len(block), np.int64), Arms(spec)
        arms.learn(Training(block, np.array([late[i] for i in block.ids]), zeros, zeros, zeros))
        states, now_ms = arms.states(), time.time_ns() // 1_000_000
        through = {"label_offset": len(block) - 1, "label_time_ms": now_ms, "label_published_ms": now_ms}
        meta = {
            "generation": 1, "spec_hash": spec.hash, "pipeline": spec.name, "training_offset": len(block),
            "rows": arms.rows, "state_hash": digest(states), "as_of_ms": now_ms,
        }  # fmt: skip
        written = snapshots.write(settings.data / spec.name / "snapshots", states, {**meta, "through": through}, 3)
        record = {**meta, **through, "uri": written.path.resolve().as_uri(), "sha256": written.sha256,
                  "arms": list(spec.arms), "values": {}}  # fmt: skip
        producer = make_producer(settings)
        try:
            value = schemas.codec("model").encode(record)
            producer.send(spec.topic("models"), value=value, key=spec.name.encode(), partition=0).get(30)
        finally:
            producer.close(5)


if __name__ == "__main__":
    ask(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]))
