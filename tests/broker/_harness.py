"""A small pipeline on a real broker, run by real processes that a test may kill, stop and start again.

`make_plan` is the input: seeded, with dirty, duplicate, late and orphaned records, and it knows what must become of
each. `Run` is one pipeline: topics, input in waves, processes that are started again when they end by a fault.
`Result` is what came out; `violations` compares it with the plan: L (every input position exactly once in output ∪
dead) and M (the state hash of the quiet run). Nothing waits by sleeping: each wait has a condition and a deadline.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from subprocess import Popen
from threading import Thread
from typing import Any, Self
from zlib import crc32

import fastavro
import yaml

import schemas
from consumers._kafka import TopicPartition, create_topics, end_offsets, group_offsets, make_producer
from consumers._read import read_topic
from consumers.settings import Settings
from consumers.status import Counts, status
from infra._proxy import spawn
from stream.arrive.framing import frame_single_object
from stream.arrive.schema import EventSchema, load_schema
from stream.block import decode_features, decode_training
from stream.clean.record import CleanCodec
from stream.learn.arms import digest
from stream.registry import snapshot as snapshots
from stream.spec import Spec
from stream.spec_load import load_spec

Layout = tuple[tuple[str, ...], ...]
FUSED: Layout = (("clean", "encode", "join", "learn"),)
HALVES: Layout = (("clean", "encode"), ("join", "learn"))
SPLIT: Layout = (("clean",), ("encode",), ("join",), ("learn",))

START_S, DRAIN_S, STOP_S = 180.0, 180.0, 60.0  # generous: two cores are shared, and kernels may compile first
RESTARTABLE = (-signal.SIGKILL, 75, 5)  # killed, watchdog, BrokerError: what a supervisor starts again
LAUNCHES_MAX = 40
PARTITIONS = 2

# What the checks of the checks take away from a child before it starts.
NO_FUTURE_CHECK = "import consumers._checkpoint as c\nc.wait = lambda future, settings: 0\n"
NO_WATCHDOG = "import contextlib, consumers._watchdog as w\nw.Watchdog.guard = lambda *_: contextlib.nullcontext()\n"

# -- the input --------------------------------------------------------------------------------------------

T0_MS, STEP_MS, WINDOW_MS = 1_700_000_000_000, 100, 30_000
EVENT = {
    "type": "record",
    "name": "Click",
    "namespace": "test",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "price", "type": "double"},
        {"name": "weight", "type": ["null", "double"], "default": None},
        {"name": "shop", "type": ["null", "string"], "default": None},
        {"name": "member", "type": "boolean"},
    ],
}
SPEC = {
    "task": "binary",
    "event": {
        "schema": "click.avsc",
        "writers": "writers",
        "id": "id",
        "time": "at",
        "fields": {
            "price": {"type": "numeric", "min": -1000, "max": 1000},
            "weight": {"type": "numeric", "impute": 0.0},
            "shop": {"type": "category"},
            "member": {"type": "boolean"},
        },
    },
    "label": {"window": f"{WINDOW_MS}ms", "orphan_wait": "400ms"},
    "arms": {
        "logistic": {"model": "linear.logistic", "params": {"lr": 0.05}},
        "tree": {"model": "tree.hoeffding", "params": {"grace_period": 50, "delta": 0.01}},
    },
    "snapshot": {"every": "200ms", "keep": 3},
    "metrics": {"window_rows": 100},
    "topics": {"events": PARTITIONS},
}


@dataclass(frozen=True, slots=True)
class Message:
    """One record to publish. code: why it must be refused, if it must; id: of the event or label."""

    topic: str
    partition: int
    id: str
    value: bytes | None
    code: str | None = None
    label: float | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """Waves of input, each published after the one before; within one, events go before labels."""

    waves: tuple[tuple[Message, ...], ...]

    def messages(self, topic: str) -> list[list[Message]]:
        """By partition, in order of offset."""
        out: list[list[Message]] = [[] for _ in range(PARTITIONS if topic == "events" else 1)]
        for wave in self.waves:
            for m in wave:
                if m.topic == topic:
                    out[m.partition].append(m)
        return out

    def dead(self, topics: Iterable[str] = ("events", "labels")) -> Counter[tuple[str, int, int, str]]:
        """(topic, partition, offset, code) of everything that must be refused."""
        return Counter(
            (topic, p, offset, m.code)
            for topic in topics
            for p, messages in enumerate(self.messages(topic))
            for offset, m in enumerate(messages)
            if m.code is not None
        )

    def rows(self) -> list[tuple[str, float, int]]:
        """(id, label, offset of the label) of the training log, in its order."""
        return [
            (m.id, m.label, offset)
            for offset, m in enumerate(self.messages("labels")[0])
            if m.code is None and m.label is not None
        ]


def event_value(schema: EventSchema, record: Mapping[str, Any]) -> bytes:
    """A framed event."""
    out = BytesIO()
    fastavro.schemaless_writer(out, schema.parsed, record)
    return frame_single_object(schema, out.getvalue())


def make_plan(seed: int = 1, events: int = 1200, waves: int = 8, dirt: bool = True) -> Plan:
    """The same events, labels and order of learning with or without dirt between them."""
    return _Planner(seed, events).plan(waves, dirt)


class _Planner:
    """Draws once what is good, then strews dirt between; the dirt has a generator of its own."""

    def __init__(self, seed: int, events: int) -> None:
        self.schema = load_schema(EVENT)
        self.good, self.dirty = random.Random(seed), random.Random(seed + 1)
        self.count = events
        self.timed: list[tuple[float, int, Message, bool]] = []  # when, tie-break, message, whether it is dirt

    def add(self, when_ms: float, message: Message, dirt: bool = False) -> None:
        self.timed.append((when_ms, len(self.timed), message, dirt))

    def plan(self, waves: int, dirt: bool) -> Plan:
        for i in range(self.count):
            self.event(i)
        for i in range(0, self.count, 12):
            self.strew(i)
        self.timed.sort(key=lambda t: t[:2])
        kept = [(when, m) for when, _, m, is_dirt in self.timed if dirt or not is_dirt]
        span_ms = (self.count * STEP_MS + WINDOW_MS) / waves
        cut: list[list[Message]] = [[] for _ in range(waves)]
        for when, m in kept:
            cut[min(waves - 1, int((when - T0_MS) / span_ms))].append(m)
        cut[-1] += [self.click(f"close-{p}", 10**7, p) for p in range(PARTITIONS)]  # every label is certain now
        if dirt:  # but this one, which only patience can settle
            cut[-1].append(self.label("ghost-last", T0_MS + 2 * 10**7, 1.0, "label.orphaned"))
        return Plan(tuple(tuple(sorted(w, key=lambda m: m.topic)) for w in cut))

    def record(self, name: str, at_ms: int) -> dict[str, Any]:
        g = self.good
        return {
            "id": name,
            "at": at_ms,
            "price": round(g.gauss(0, 1), 3),
            "weight": None if g.random() < 0.2 else round(g.uniform(0, 5), 2),
            "shop": None if g.random() < 0.1 else f"shop{g.randrange(8)}",
            "member": g.random() < 0.4,
        }

    def click(self, name: str, after_ms: int, partition: int) -> Message:
        return Message("events", partition, name, event_value(self.schema, self.record(name, T0_MS + after_ms)))

    def label(self, name: str, at_ms: int, value: float | str, code: str | None = None) -> Message:
        given: Any = bool(value) if isinstance(value, float) else value
        body = schemas.codec("label").encode({"id": name, "value": given, "time_ms": at_ms})
        return Message("labels", 0, name, body, code, value if isinstance(value, float) else None)

    def event(self, i: int) -> None:
        """A good event and, mostly, its label: in time, out of order, or too late."""
        g, name = self.good, f"e{i}"
        at = T0_MS + i * STEP_MS
        partition = crc32(name.encode()) % PARTITIONS
        record = self.record(name, at - g.randrange(300))
        value = event_value(self.schema, record)
        self.add(at, Message("events", partition, name, value))
        truth = record["price"] + (1.5 if record["member"] else -0.5) + g.gauss(0, 0.5) > 0
        chance, after = g.random(), g.randrange(1000, 20_000)
        if chance < 0.85:
            self.add(at + after - g.randrange(900), self.label(name, at + after, float(truth)))
        late = self.dirty.random() < 0.3
        if chance >= 0.85 and late:
            when = at + WINDOW_MS + 2000 + self.dirty.randrange(10_000)
            self.add(when, self.label(name, when, float(truth), "label.late"), dirt=True)
        if chance < 0.85 and self.dirty.random() < 0.04:
            self.add(at + after + 500, self.label(name, at + after + 500, 0.0, "label.duplicate"), dirt=True)
        if self.dirty.random() < 0.05:  # the same event again: counted by the join, refused by nobody
            self.add(at + self.dirty.randrange(5000), Message("events", partition, name, value), dirt=True)

    def strew(self, i: int) -> None:
        """Around event i: what must be refused."""
        d, at, name = self.dirty, T0_MS + i * STEP_MS, f"x{i}"
        good = {"id": name, "at": at, "price": 1.0, "weight": 1.0, "shop": "s", "member": True}
        whole = event_value(self.schema, good)

        def bad(value: bytes | None, code: str) -> Message:
            return Message("events", d.randrange(PARTITIONS), name, value, code)

        def number(value: float, code: str, column: str = "price") -> Message:
            return bad(event_value(self.schema, {**good, column: value}), code)

        kinds = [
            lambda: number(float("nan"), "value.not_finite"),
            lambda: number(float("inf"), "value.not_finite", "weight"),
            lambda: number(1e300, "value.too_large_number", "weight"),
            lambda: number(5000.0, "value.out_of_range"),
            lambda: bad(whole + b"\x00\x01", "avro.trailing"),
            lambda: bad(whole[:-3], "avro.undecodable"),
            lambda: bad(d.randbytes(30), "framing.unknown"),
            lambda: bad(None, "value.empty"),
            lambda: bad(whole[:2] + b"nosuchfp" + whole[10:], "schema.unknown"),
            lambda: self.label(f"ghost{i}", at, 1.0, "label.orphaned"),
            lambda: self.label(f"e{i}", at, "maybe", "label.outside_task"),
            lambda: Message("labels", 0, name, d.randbytes(20), "label.undecodable"),
            lambda: self.label(f"e{i}", -5, 1.0, "label.time_outside"),
        ]
        self.add(at, kinds[(i // 12) % len(kinds)](), dirt=True)


# -- what came out ----------------------------------------------------------------------------------------

Position = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Result:
    """All that a drained run left behind, read with read_committed."""

    rows: list[tuple[str, float, int]]  # of the training log, in order: id, label, the label's offset
    sources: list[Position]  # of the same rows: partition, offset of the raw event
    dead: Counter[tuple[str, int, int, str]]
    cleaned: list[Position] | None  # what lies in the topic clean; None when it is not written
    encoded: list[Position] | None
    hash: str | None
    rows_learned: int
    counts: Counts

    def violations(self, plan: Plan, quiet: "Result | None" = None) -> list[str]:
        """Which of L and M do not hold; empty when all is well."""
        found: list[str] = []
        events, labels = plan.messages("events"), plan.messages("labels")[0]
        read = ("events",) if self.hash is None else ("events", "labels")
        found += _differ("dead records", self.dead, plan.dead(read))
        refused = [(p, o) for t, p, o, _ in self.dead.elements() if t == "events"]
        everything = Counter((p, o) for p, messages in enumerate(events) for o in range(len(messages)))
        if self.cleaned is not None:
            found += _differ("events in clean ∪ dead", Counter(self.cleaned + refused), everything)
        if self.encoded is not None:
            good = Counter(p for p in everything if p not in set(refused))
            found += _differ("cleaned events in features", Counter(self.encoded), good)
        if self.hash is not None:
            out = [offset for *_, offset in self.rows] + [o for t, _, o, _ in self.dead.elements() if t == "labels"]
            found += _differ("labels in training ∪ dead", Counter(out), Counter(range(len(labels))))
            found += [] if self.rows == plan.rows() else ["training log: not the rows expected, in order"]
            found += _differ("events learned from", Counter(self.sources), Counter(set(self.sources)))
            for equation, (one, other) in self.counts.sums().items():
                found += [] if one == other else [f"counts: {equation}: {one} ≠ {other}"]
            if self.rows_learned != len(self.rows):
                found.append(f"rows: {self.rows_learned} learned, {len(self.rows)} in the log")
        if quiet is not None and self.hash != quiet.hash:
            found.append(f"M: state hash {self.hash}; the quiet run's is {quiet.hash}")
        return found


def _differ(what: str, found: Counter[Any], wanted: Counter[Any]) -> list[str]:
    lost, extra = wanted - found, found - wanted
    if not lost and not extra:
        return []
    return [f"L: {what}: {lost.total()} lost {list(lost)[:3]}, {extra.total()} too many {list(extra)[:3]}"]


# -- processes --------------------------------------------------------------------------------------------


class Worker:
    """One process of a layout, through all its launches."""

    def __init__(self, run: "Run", steps: Sequence[str], crashes: Iterable[str], patch: str) -> None:
        self.steps, self._run, self._patch = tuple(steps), run, patch
        self._crashes = list(crashes)  # one for each launch; none when they are used up
        self.exits: list[int] = []
        self.launches = 0
        self._continued, self._standing = 0, False  # stops that it went on from; whether it stands where we want it
        self._process: Popen[bytes] | None = None
        self._keeper: Thread | None = None

    @property
    def name(self) -> str:
        """Its steps."""
        return "+".join(self.steps)

    @property
    def pid(self) -> int:
        """Of the present launch."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> Path:
        """stderr of the present launch."""
        return self._run.folder / f"{self.name}-{self.launches}.log"

    def said(self) -> str:
        """What the present launch wrote."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def start(self) -> None:
        """Launch it (again)."""
        assert self.launches < LAUNCHES_MAX, f"{self.name}: started {self.launches} times: {self.said()[-2000:]}"
        self.launches += 1
        self._continued, self._standing = 0, False
        env = dict(self._run.env)
        if self._crashes:
            env["HEADWATER_CRASH"] = self._crashes.pop(0)
        spec, settings = self._run.spec_path, self._run.settings
        what = ["run", str(spec), *self.steps, "--kafka", settings.kafka, "--data", str(settings.data)]
        entry = ["-m", "consumers.cli"]
        if self._patch:
            entry = ["-c", f"{self._patch}from consumers.cli import main\nmain()"]
        line = ["/usr/bin/env", *(f"{k}={v}" for k, v in env.items()), sys.executable, *entry, *what]
        self._process, self._keeper = spawn(line, self.log)

    def exited(self) -> int | None:
        """Exit code, or None while it runs."""
        return None if self._process is None else self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it still runs."""
        if self._process is not None and self.exited() is None:
            os.kill(self.pid, number)

    def end(self) -> None:
        """SIGKILL, if need be, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        if self._keeper is not None:
            self._keeper.join(STOP_S)

    def commits(self) -> int:
        """Commits of all launches."""
        logs = self._run.folder.glob(f"{self.name}-*.log")
        return sum(log.read_bytes().count(b'"message":"committed"') for log in logs)

    # -- points at which it stands still (HEADWATER_CRASH=…:stop) ------------------------------------------

    def stops(self) -> list[str]:
        """Points at which this launch has stopped so far."""
        return [line.rpartition(" ")[2] for line in self.said().splitlines() if "headwater: stopped at" in line]

    def is_stopped(self) -> bool:
        """Whether it stands still now."""
        if self._process is None or self.exited() is not None:
            return False
        try:
            return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        except OSError:
            return False

    def step_to(self, point: str) -> None:
        """Let it run on until it stops at `point`."""
        if self._standing:
            self.go_on()
        while True:
            wait_for(lambda: self.stopped_anew() or self.exited() is not None, START_S, f"{self.name} at {point}")
            assert self.exited() is None, f"{self.name}: exit {self.exited()}: {self.said()[-3000:]}"
            if self.stops()[-1] == point:
                self._standing = True
                return
            self.go_on()

    def stopped_anew(self) -> bool:
        """Whether it stands still at a point from which nobody has let it go on yet."""
        return self.is_stopped() and len(self.stops()) > self._continued

    def go_on(self) -> None:
        """SIGCONT."""
        self._continued, self._standing = len(self.stops()), False
        self.signal(signal.SIGCONT)


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """What `condition` gives once it is true; fails after `seconds`."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, f"not within {seconds:g} s: {what}"
        time.sleep(0.03)
    return found


@dataclass
class Run:
    """One pipeline on one broker. A context manager: at the end none of its processes is left.

    crashes: steps joined by + → HEADWATER_CRASH of one launch after the other.
    """

    address: str
    plan: Plan
    layout: Layout
    crashes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    patch: str = ""
    name: str = ""
    spec: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.name = self.name or f"t{uuid.uuid4().hex[:10]}"
        self.folder = Path(tempfile.mkdtemp(prefix=f"headwater-{self.name}-"))
        (self.folder / "writers").mkdir()
        (self.folder / "click.avsc").write_text(json.dumps(EVENT))
        self.spec_path = self.folder / "spec.yaml"
        self.spec_path.write_text(yaml.safe_dump({"name": self.name, **SPEC, **self.spec}))
        self.loaded: Spec = load_spec(self.spec_path)
        self.settings = Settings(kafka=self.address, data=self.folder / "data")
        self.env = {"HEADWATER_LOG_LEVEL": "debug", "HEADWATER_LINGER_MS": "20", **self.env}
        self.recut(self.layout)
        self.published = 0
        create_topics(self.settings, self.loaded)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        for worker in self.workers:
            worker.end()
        if kind is None:  # else its logs are wanted
            shutil.rmtree(self.folder)

    def recut(self, layout: Layout) -> None:
        """From now on, run it by processes of this layout."""
        self.layout = layout
        self.workers = [Worker(self, s, self.crashes.get("+".join(s), ()), self.patch) for s in layout]

    def worker(self, step: str) -> Worker:
        """The process that runs a step."""
        return next(w for w in self.workers if step in w.steps)

    def start(self) -> Self:
        """Launch all processes."""
        for worker in self.workers:
            worker.start()
        return self

    def start_in_turn(self) -> Self:
        """Launch one after the other, each once the one before has written something, so that each one's first commit
        has records."""
        self.wave()
        for worker in self.workers:
            worker.start()
            if worker is not self.workers[-1]:
                self.await_more(worker.commits, 0)
        return self

    def tend(self) -> None:
        """Let go on what stands still at a point, and start again what ended by a fault."""
        for worker in self.workers:
            if worker.stopped_anew():
                worker.go_on()
        self.supervise()

    def supervise(self) -> None:
        """Start again what ended by a fault. Anything else that ended is a failure."""
        for worker in self.workers:
            code = worker.exited()
            if code is None or worker.launches == 0:
                continue
            assert code in RESTARTABLE, f"{worker.name}: exit {code}: {worker.said()[-3000:]}"
            worker.exits.append(code)
            worker.start()

    # -- input ---------------------------------------------------------------------------------------------

    def send(self, messages: Iterable[Message]) -> None:
        """Publish, and wait until all of it is taken."""
        producer = make_producer(self.settings)
        try:
            for topic in ("events", "labels"):
                futures = [
                    producer.send(self.loaded.topic(topic), value=m.value, key=m.id.encode(), partition=m.partition)
                    for m in messages
                    if m.topic == topic
                ]
                producer.flush(30)
                for future in futures:
                    future.get(30)
        finally:
            producer.close(5)

    def wave(self) -> None:
        """Publish the next wave."""
        self.send(self.plan.waves[self.published])
        self.published += 1

    def commits(self) -> int:
        """Commits of all processes together."""
        return sum(w.commits() for w in self.workers)

    def feed(self, last: str = "", between: Callable[[int], None] = lambda _: None, until: int | None = None) -> Self:
        """Publish what is left (or, of all waves, the first `until`), each wave once the process of step `last` (else:
        any) has committed after the one before; `between` is called after each."""
        counted = self.worker(last).commits if last else self.commits
        while self.published < (until or len(self.plan.waves)):
            before = counted()
            self.wave()
            self.await_more(counted, before)
            between(self.published)
        return self

    def await_more(self, counted: Callable[[], int], before: int) -> None:
        """Wait until there are more commits than `before`, starting again what ends meanwhile."""

        def more() -> bool:
            self.tend()
            return counted() > before

        wait_for(more, START_S, f"{self.name}: a commit after {before}")

    def await_restart(self) -> None:
        """Wait until all that was killed is gone and started again."""

        def again() -> bool:
            self.supervise()
            return all(w.exited() is None for w in self.workers)

        wait_for(again, STOP_S, f"{self.name}: every process to run")

    def answers(self, before: int, seconds: float = 30.0) -> None:
        """H: within `seconds` there are more commits than `before`, or a process has exited non-zero."""

        def moved() -> bool:
            for worker in self.workers:
                if worker.stopped_anew():
                    worker.go_on()
            return self.commits() > before or any(w.exited() for w in self.workers)

        wait_for(moved, seconds, f"{self.name}: H: neither a commit nor an exit")

    # -- the end -------------------------------------------------------------------------------------------

    def lag(self) -> int | None:
        """Records that the processes have still to read, all in all; None while one has never committed."""
        groups = [group_offsets(self.settings, f"{self.name}.{group_of(w.steps)}") for w in self.workers]
        if any(len(g) < partitions_of(w.steps) for g, w in zip(groups, self.workers, strict=True)):
            return None
        ends = end_offsets(self.settings, {tp for g in groups for tp in g})
        return sum(max(0, ends[tp] - mark.offset) for g in groups for tp, mark in g.items())

    def drain(self, seconds: float = DRAIN_S) -> Self:
        """Wait until every process has read all there is, starting again what ends meanwhile."""

        def drained() -> bool:
            self.tend()
            return self.lag() == 0

        wait_for(drained, seconds, f"{self.name} to drain")
        return self

    def stop(self) -> Self:
        """SIGTERM; every process must leave in good order."""
        for worker in self.workers:
            worker.signal(signal.SIGTERM)

        def gone() -> bool:
            for worker in self.workers:
                if worker.stopped_anew():
                    worker.go_on()
            return all(w.exited() is not None for w in self.workers)

        wait_for(gone, STOP_S, f"{self.name} to leave after SIGTERM")
        for worker in self.workers:
            assert worker.exited() == 0, f"{worker.name}: exit {worker.exited()}: {worker.said()[-3000:]}"
        return self

    def result(self) -> Result:
        """Read everything back."""
        written = {topic for w in self.workers for topic in writes(w.steps)}
        rows: list[tuple[str, float, int]] = []
        sources: list[Position] = []
        for record in read_topic(self.loaded, self.settings, "training"):
            t = decode_training(record.value)
            rows += zip(t.block.ids, t.label.tolist(), t.label_offset.tolist(), strict=True)
            sources += zip(t.block.partition.tolist(), t.block.offset.tolist(), strict=True)
        newest = snapshots.load_newest(self.settings.data / self.name / "snapshots", self.loaded.hash)
        if newest is not None:
            assert newest.meta["state_hash"] == digest(newest.states), "a snapshot's hash is not its state's"
        return Result(
            rows,
            sources,
            self.dead(),
            self._cleaned() if "clean" in written else None,
            self._encoded() if "features" in written else None,
            newest.meta["state_hash"] if newest else None,
            newest.meta["rows"] if newest else 0,
            status(self.loaded, self.settings).counts,
        )

    def dead(self) -> Counter[tuple[str, int, int, str]]:
        """(topic, partition, offset, code) of each record in `dead`."""
        found = (schemas.codec("dead").decode(r.value) for r in read_topic(self.loaded, self.settings, "dead"))
        return Counter((d["topic"].rpartition(".")[2], d["partition"], d["offset"], d["code"]) for d in found)

    def _cleaned(self) -> list[Position]:
        values = [r.value for r in read_topic(self.loaded, self.settings, "clean")]
        columns = CleanCodec(self.loaded).decode(values)
        return list(zip(columns.partition.tolist(), columns.offset.tolist(), strict=True))

    def _encoded(self) -> list[Position]:
        blocks = [decode_features(r.value) for r in read_topic(self.loaded, self.settings, "features")]
        return [at for b in blocks for at in zip(b.partition.tolist(), b.offset.tolist(), strict=True)]


def group_of(steps: Sequence[str]) -> str:
    """Name of the group of a process with these steps, after the pipeline's."""
    front = [s for s in steps if s != "learn"]
    return front[-1] if front else "learn"


def partitions_of(steps: Sequence[str]) -> int:
    """How many partitions a process with these steps commits positions of."""
    return (1 if steps[0] == "learn" else PARTITIONS) + ("join" in steps)


def writes(steps: Sequence[str]) -> list[str]:
    """Topics between steps that a process with these steps writes."""
    last = group_of(steps)
    return {"clean": ["clean"], "encode": ["features"]}.get(last, [])


def finish(run: Run, quiet: Result | None = None, last: str = "") -> Result:
    """Feed what is left, drain, stop, and hold L and M; the common end of most tests."""
    result = run.feed(last).drain().stop().result()
    found = result.violations(run.plan, quiet)
    assert not found, "\n".join([f"{run.name} {run.layout} in {run.folder}:", *found])
    return result


_quiet: dict[tuple[int, bool], Result] = {}


def quiet_run(address: str, seed: int = 1, dirt: bool = True) -> Result:
    """The fault-free run of the plan of this seed, fused; run once a session."""
    if (seed, dirt) not in _quiet:
        with Run(address, make_plan(seed, dirt=dirt), FUSED) as run:
            _quiet[seed, dirt] = finish(run.start())
    return _quiet[seed, dirt]


def topic_partition(run: Run, topic: str, partition: int = 0) -> TopicPartition:
    """A partition of one of a run's topics."""
    return TopicPartition(run.loaded.topic(topic), partition)


# -- random kills -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Killed:
    """One run in which processes were killed at random moments."""

    seed: int
    layout: Layout
    kills: Counter[str]  # steps → how often
    violations: list[str]
    seconds: float


def kill_run(address: str, seed: int, layout: Layout, quiet: Result, plan: Plan) -> Killed:
    """kill -9 random processes, several times, at random moments of their work, of their start, or both at once."""
    chance, begun = random.Random(seed), time.monotonic()
    kills: Counter[str] = Counter()
    with Run(address, plan, layout) as run:

        def maybe_kill(_: int) -> None:
            if chance.random() < 0.4:
                time.sleep(chance.uniform(0, 0.15))  # which moment: of no importance to the outcome
                for worker in chance.sample(run.workers, chance.randint(1, min(2, len(run.workers)))):
                    worker.signal(signal.SIGKILL)
                    kills[worker.name] += 1
                if chance.random() < 0.3:  # and again while it starts
                    run.await_restart()
                    time.sleep(chance.uniform(0, 3))
                    worker = chance.choice(run.workers)
                    worker.signal(signal.SIGKILL)
                    kills[worker.name] += 1

        run.start().feed(between=maybe_kill)
        violations = run.drain().stop().result().violations(plan, quiet)
    return Killed(seed, layout, kills, violations, time.monotonic() - begun)
