"""The join as plain Python: what stream/join must equal, row for row, refusal for refusal, mark for mark.

It is the one that ran before the compiled one (docs/decisions/compiled-join.md), kept as it was: slow, and simple to
read against the docstring of stream/join/join.py. tests/sim/test_join_same.py holds the two together, and
benchmarks/join.py compares their pace.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.block import U64, Block, Layout, Training
from stream.errors import LimitReached
from stream.join.join import COUNTS, FORCED_MAX, Refused
from stream.join.labels import Label
from stream.limits import PENDING_ROWS_MAX

_START = 1024
_NEVER, _FOREVER = -(1 << 62), 1 << 62


class _Arena:
    """Feature rows by slot number."""

    def __init__(self, spec_hash: str, layout: Layout) -> None:
        self._spec_hash = spec_hash
        self._ids: list[str] = [""] * _START
        self._tokens: list[U64 | None] = [None] * _START
        self._has_tokens = bool(layout.tokens)
        self._columns: dict[str, NDArray[Any]] = {
            "time_ms": np.zeros(_START, np.int64),
            "partition": np.zeros(_START, np.int32),
            "offset": np.zeros(_START, np.int64),
            "numeric": np.zeros((_START, len(layout.numeric))),
            "categories": np.zeros((_START, len(layout.categories)), np.uint64),
        }
        self._free = list(range(_START - 1, -1, -1))

    @property
    def waiting(self) -> int:
        """Rows held now."""
        return len(self._ids) - len(self._free)

    def put(self, block: Block, rows: Sequence[int]) -> list[int]:
        """Copy these rows of a block in; returns their slots."""
        while len(self._free) < len(rows):
            self._grow()
        slots = [self._free.pop() for _ in rows]
        for name, column in self._columns.items():
            column[slots] = getattr(block, name)[rows]
        for slot, row in zip(slots, rows, strict=True):
            self._ids[slot] = block.ids[row]
        if self._has_tokens:
            for slot, row in zip(slots, rows, strict=True):
                start = block.token_ends[row - 1] if row else 0
                self._tokens[slot] = block.tokens[start : block.token_ends[row]].copy()
        return slots

    def gather(self, slots: Sequence[int]) -> Block:
        """A block of the rows in these slots, in this order."""
        index = np.array(slots, np.int64)
        tokens = [t for s in slots if (t := self._tokens[s]) is not None] if self._has_tokens else []
        return Block(
            self._spec_hash,
            [self._ids[s] for s in slots],
            tokens=np.concatenate(tokens) if tokens else np.zeros(0, np.uint64),
            token_ends=np.cumsum([len(t) for t in tokens]) if tokens else np.zeros(len(slots), np.int64),
            **{name: column[index] for name, column in self._columns.items()},
        )

    def free(self, slots: Sequence[int]) -> None:
        """Give slots back."""
        for slot in slots:
            self._ids[slot], self._tokens[slot] = "", None
        self._free += slots

    def _grow(self) -> None:
        size = len(self._ids)
        self._ids += [""] * size
        self._tokens += [None] * size
        self._columns = {n: np.concatenate([c, np.zeros_like(c)]) for n, c in self._columns.items()}
        self._free = list(range(2 * size - 1, size - 1, -1)) + self._free


@dataclass(slots=True)
class _Row:
    """An event that is no duplicate, with what came of it. It has a slot for as long as it waits."""

    id: str
    rank_ms: int
    time_ms: int
    last: tuple[int, int, int]  # its newest event's rank time, partition, position; duplicates included
    older: "_Row | None"  # the row of the same id before it, while that is remembered
    slot: int = -1
    matched: bool = False
    mentions: int = 1  # events remembered that are this one or its duplicates


_Entry = tuple[int, int, _Row]  # rank time, position, row


@dataclass(slots=True)
class _Partition:
    """One features partition: its event clock and its rows, oldest first."""

    seen_ms: int = _NEVER
    next_position: int = 0
    due: tuple[int, int] = (_NEVER, -1)  # in a rebuild: rows before this rank time, position have timed out
    waiting: deque[_Entry] = field(default_factory=deque)
    remembered: deque[_Entry] = field(default_factory=deque)
    repeats: deque[tuple[int, int]] = field(default_factory=deque)  # duplicate, event before it: positions
    seen_before: deque[tuple[int, int]] = field(default_factory=deque)  # position, clock before it

    def repeat(self, position: int, before: int) -> None:
        """Keep what a rebuild must begin with to know this duplicate; the smallest `before` stays first."""
        while self.repeats and self.repeats[-1][1] >= before:
            self.repeats.pop()
        self.repeats.append((position, before))

    def oldest(self) -> int:
        """Position from which on all that is remembered can be read again."""
        oldest = self.remembered[0][1] if self.remembered else self.next_position
        while self.repeats and self.repeats[0][0] < oldest:
            self.repeats.popleft()
        return min(oldest, self.repeats[0][1]) if self.repeats else oldest


class Join:
    """The join of one pipeline. `partitions` are the features partitions that will be fed, all of them."""

    def __init__(
        self,
        spec_hash: str,
        layout: Layout,
        partitions: Sequence[int],
        window_ms: int,
        grace_ms: int = 0,
        negative_on_timeout: bool = False,
    ) -> None:
        self._window_ms, self._grace_ms, self._negative = window_ms, grace_ms, negative_on_timeout
        self._apart_ms = 2 * window_ms + grace_ms  # events of an id further apart are no duplicates
        self._arena = _Arena(spec_hash, layout)
        self._parts = {p: _Partition() for p in partitions}
        self._rows: dict[str, _Row] = {}
        self._labels: deque[Label] = deque()
        self._clock_ms = _NEVER
        self._clock_before: deque[tuple[int, int]] = deque()  # label offset, clock before it
        self._due_ms = _FOREVER  # no row times out before the clock is past this
        self._rebuilding = False
        self._forced: list[int] = []  # offsets of labels settled by `caught_up` alone
        self.counts: dict[str, int] = dict.fromkeys(COUNTS, 0)

    # -- what goes in ----------------------------------------------------------------------------------

    def add_features(self, block: Block, partition: int, positions: Sequence[int]) -> None:
        """Rows of one features partition, in order; reading from positions[i] on shows row i again."""
        part = self._parts[partition]
        fresh: list[int] = []
        rows: list[_Row] = []
        times = block.time_ms.tolist()
        self.counts["events"] += len(block)
        for i, event_id in enumerate(block.ids):
            if not part.seen_before or part.seen_before[-1][0] != positions[i]:
                part.seen_before.append((positions[i], part.seen_ms))
            part.seen_ms = max(part.seen_ms, times[i])
            part.next_position = positions[i] + 1
            row, is_fresh = self._row_of(event_id, times[i], part, partition, positions[i])
            entry = (part.seen_ms, positions[i], row)
            part.remembered.append(entry)
            if is_fresh and entry[:2] >= part.due:
                part.waiting.append(entry)
                fresh.append(i)
                rows.append(row)
        if self._arena.waiting + len(fresh) > PENDING_ROWS_MAX and not self._rebuilding:
            given = f"shorten label.window ({self._window_ms} ms)"
            raise LimitReached(f"{PENDING_ROWS_MAX} events wait for labels; {given}")
        for slot, row in zip(self._arena.put(block, fresh), rows, strict=True):
            row.slot = slot
        self._due_ms = self._next_due()

    def _row_of(self, event_id: str, time_ms: int, part: _Partition, number: int, position: int) -> tuple[_Row, bool]:
        """The row that an event is, or is a duplicate of; and whether it is new."""
        newest, here = self._rows.get(event_id), (part.seen_ms, number, position)
        if newest is not None and abs(part.seen_ms - newest.last[0]) <= self._apart_ms:
            if newest.last[1] == number:
                part.repeat(position, newest.last[2])
            newest.mentions += 1
            newest.last = here
            self.counts["duplicate_events"] += 1
            return newest, False
        row = self._rows[event_id] = _Row(event_id, part.seen_ms, time_ms, here, newest)
        return row, True

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Labels in the order of their topic."""
        self._labels.extend(labels)

    # -- what comes out --------------------------------------------------------------------------------

    def advance(self, caught_up: bool = False) -> tuple[Training | None, list[Refused]]:
        """Join as far as certain. `caught_up`: no event that was published before now is still on its way,
        so a label without a row is an orphan although the clocks have not passed it."""
        slots: list[int] = []
        used: list[Label] = []
        refused: list[Refused] = []
        while self._labels:
            label = self._labels[0]
            row = self._row_for(label)
            if not self._certain(label, row):
                if not caught_up or (row is None and len(self._forced) >= FORCED_MAX):
                    break
                if row is None:
                    self._forced.append(label.offset)
            self._labels.popleft()
            self._move_clock(label)
            if self._negative and self._clock_ms > self._due_ms:
                self._expire(label, slots, used)
            if outcome := self._settle(label, row, slots, used):
                refused.append(outcome)
        if not self._negative and self._clock_ms > self._due_ms:
            self._expire(None, slots, used)
        self._forget()
        return self._training(slots, used), refused

    def _certain(self, label: Label, row: _Row | None) -> bool:
        """Nothing that may still come could change what this label does."""
        if row is None and not self._passed(label.time_ms + self._grace_ms):
            return False
        return not self._negative or self._passed(max(self._clock_ms, label.time_ms) - self._window_ms)

    def _row_for(self, label: Label) -> _Row | None:
        """The newest row of the label's id that came in time for it, unless that is two windows back."""
        row = self._rows.get(label.id)
        while row is not None and row.rank_ms > label.time_ms + self._grace_ms:
            row = row.older
        if row is None or row.rank_ms < max(self._clock_ms, label.time_ms) - 2 * self._window_ms:
            return None
        return row

    def _move_clock(self, label: Label) -> None:
        if label.time_ms > self._clock_ms:
            self._clock_before.append((label.offset, self._clock_ms))
            self._clock_ms = label.time_ms

    def _passed(self, time_ms: int) -> bool:
        return all(part.seen_ms > time_ms for part in self._parts.values())

    def _settle(self, label: Label, row: _Row | None, slots: list[int], used: list[Label]) -> Refused | None:
        """Give one label its outcome."""
        if row is None:
            self.counts["orphaned"] += 1
            detail = f"no event {label.id!r} up to label time {label.time_ms} ms"
            return Refused(label, "label.orphaned", detail)
        if row.matched:
            self.counts["duplicate_labels"] += 1
            detail = f"event {label.id!r} has its label already; the first counts"
            return Refused(label, "label.duplicate", detail)
        if row.rank_ms < self._clock_ms - self._window_ms or label.time_ms > row.time_ms + self._window_ms:
            self.counts["late"] += 1
            after = label.time_ms - row.time_ms
            detail = f"{after} ms after the event; the window is {self._window_ms} ms"
            return Refused(label, "label.late", detail)
        self.counts["matched"] += 1
        slots.append(row.slot)
        used.append(label)
        row.matched, row.slot = True, -1
        return None

    def _expire(self, label: Label | None, slots: list[int], used: list[Label]) -> None:
        """Time rows out, in order of rank time; with the `label` that moved the clock, as negatives."""
        due = self._clock_ms - self._window_ms
        timed_out: list[tuple[int, int, int, _Row]] = []
        for number, part in self._parts.items():
            while part.waiting and part.waiting[0][0] < due:
                rank_ms, position, row = part.waiting.popleft()
                if row.slot >= 0:
                    timed_out.append((rank_ms, number, position, row))
        timed_out.sort(key=lambda x: x[:3])
        for *_, row in timed_out:
            self.counts["timed_out"] += 1
            if label is not None:
                slots.append(row.slot)
                used.append(Label("", 0.0, label.time_ms, label.offset, label.published_ms))
            else:
                self._arena.free([row.slot])
            row.slot = -1
        self._due_ms = self._next_due()

    def _next_due(self) -> int:
        """The largest clock at which no row has to time out yet."""
        oldest = (part.waiting[0][0] for part in self._parts.values() if part.waiting)
        return min(oldest, default=_FOREVER) + self._window_ms

    def _forget(self) -> None:
        """Drop events on which nothing depends any more: no label's outcome, nor what is a duplicate."""
        for part in self._parts.values():
            until = min(self._clock_ms - 2 * self._window_ms, part.seen_ms - self._apart_ms)
            if part.waiting:
                until = min(until, part.waiting[0][0])
            while part.remembered and part.remembered[0][0] < until:
                row = part.remembered.popleft()[2]
                row.mentions -= 1
                if not row.mentions:
                    self._unlink(row)

    def _unlink(self, row: _Row) -> None:
        newer = self._rows[row.id]
        if newer is row:
            if row.older is None:
                del self._rows[row.id]
            else:
                self._rows[row.id] = row.older
            return
        while newer.older is not row:
            assert newer.older is not None
            newer = newer.older
        newer.older = row.older

    def _training(self, slots: list[int], used: list[Label]) -> Training | None:
        if not slots:
            return None
        block = self._arena.gather(slots)
        self._arena.free(slots)
        return Training(
            block,
            np.array([u.value for u in used], np.float64),
            np.array([u.offset for u in used], np.int64),
            np.array([u.time_ms for u in used], np.int64),
            np.array([u.published_ms for u in used], np.int64),
        )

    # -- what survives a crash -------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Rows without a label yet."""
        return self._arena.waiting

    @property
    def remembered(self) -> int:
        """Events remembered, be they settled, duplicates or pending."""
        return sum(len(part.remembered) for part in self._parts.values())

    @property
    def waiting_labels(self) -> int:
        """Labels read whose row may still come."""
        return len(self._labels)

    def next_label(self, end: int) -> int:
        """Offset of the first label that is not settled, where labels were read up to `end`."""
        return self._labels[0].offset if self._labels else end

    def features_mark(self, partition: int) -> dict[str, Any]:
        """For one features partition: where a rebuild begins to read, the event clock before it, and `due`:
        rows before this rank time and position have timed out."""
        part = self._parts[partition]
        low = part.oldest()
        while len(part.seen_before) > 1 and part.seen_before[1][0] <= low:
            part.seen_before.popleft()
        fits = part.seen_before and part.seen_before[0][0] <= low < part.next_position
        due = part.waiting[0][:2] if part.waiting else (part.seen_ms, part.next_position)
        return {"low": low, "seen": part.seen_before[0][1] if fits else part.seen_ms, "due": due}

    def labels_mark(self, end: int) -> dict[str, Any]:
        """For the labels partition: where a rebuild begins, the label clock before it, and the counts."""
        oldest_ms = min((p.remembered[0][0] for p in self._parts.values() if p.remembered), default=_FOREVER)
        first_ms = max(oldest_ms, self._clock_ms - 2 * self._window_ms) - self._grace_ms
        while self._clock_before and self._clock_after_first() < first_ms:
            self._clock_before.popleft()
        first = self._clock_before[0] if self._clock_before else (self.next_label(end), self._clock_ms)
        self._forced = [o for o in self._forced if o >= first[0]]
        return {"low": first[0], "clock": first[1], "forced": self._forced, "counts": self.counts}

    def _clock_after_first(self) -> int:
        return self._clock_before[1][1] if len(self._clock_before) > 1 else self._clock_ms

    def begin_rebuild(self, features: dict[int, dict[str, Any]], labels: dict[str, Any]) -> None:
        """Take up marks; then feed the features from each `low` to the commit, and call `end_rebuild`."""
        for number, mark in features.items():
            part = self._parts[number]
            part.seen_ms, part.next_position, part.due = mark["seen"], mark["low"], tuple(mark["due"])
        self._clock_ms = labels["clock"]
        self._forced = list(labels["forced"])
        self._rebuilding = True

    def end_rebuild(self, settled: Sequence[Label], counts: dict[str, int]) -> None:
        """Replay the labels from the mark's `low` that were settled before, in silence."""
        forced = set(self._forced)
        for label in settled:
            row = None if label.offset in forced else self._row_for(label)
            self._move_clock(label)
            waited = -1 if row is None else row.slot
            self._settle(label, row, [], [])
            if row is not None and waited >= 0 > row.slot:
                self._arena.free([waited])
        for part in self._parts.values():
            part.due = (_NEVER, -1)
        self._forget()
        self._rebuilding = False
        self.counts = {**dict.fromkeys(COUNTS, 0), **counts}
