"""Features wait for labels; out comes the training log, in the order of the labels topic.

Invariant (exactness): what is joined, and in which order, follows from the contents of the topics alone,
never from which consumer ran ahead. Two rules give that:

- Each features partition has a monotone event clock, `seen_ms` = the largest event time so far. A row's *rank
  time* is that clock when the row came. Labels have one too: `clock_ms` = the largest label time so far.
- A label is matched with the row of its id whose rank time is at most label time + grace. If there is none
  yet, the label waits (and those behind it) until every partition's clock is past that point; then it is an
  orphan.

A row waits until clock_ms passes its rank time + window (timed out), and counts for one window more, so that
a second label of its id is told apart (duplicate, late). An event is a duplicate if the one before it with
its id came at most two windows and the grace earlier, in rank time; later it is a new row, and a label means
the newest row that it can. So what is a duplicate follows from the features alone, and what a label does from
rank times alone: neither depends on how far the other side has been read.

With `corrections`, a label of a row that has one, with another value, is learned as a row of its own, flagged, for as
long as the row is remembered; so is one that comes after a time-out was taken for a negative. With `fake_after_ms`
every row is a negative first, after so long or when its label comes, and a true label in the window makes a second
row. Rows are held until they are forgotten then. docs/decisions/late-labels.md has the reasons.

Precondition: events of one id lie in one partition (a producer gives them one key). Otherwise an id still
trains at most once, but which of its events does may depend on the order of arrival.

After a crash all this is built again: features from a mark's `low`, then the labels settled since, in
silence. Three things do not follow from contents, so the marks hold them: which labels are orphans by
`caught_up` alone (`forced`), up to which row rows have timed out (`due`), and the counts.

Counts add up: events = matched + timed_out + pending + duplicate_events;
labels read = matched + late + orphaned + duplicate_labels + corrected + waiting.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stream.block import F64, I64, Block, Layout, Training
from stream.errors import LimitReached
from stream.join import kernel, marks
from stream.join.arena import Arena
from stream.join.columns import Labels, labels_of
from stream.join.ids import Ids, cells_of, roomy_ids
from stream.join.labels import Label
from stream.join.layout import (
    CLOCK,
    DUE_POSITION,
    DUE_RANK,
    HAS_LABEL,
    NEVER,
    NEXT,
    NO_EVENT,
    PENDING,
    SEEN,
    SLOT,
    Outcomes,
    State,
    outcomes,
    rules_of,
    state,
    with_rows,
)
from stream.join.ring import HEAD, held, roomy
from stream.limits import PENDING_ROWS_MAX
from stream.texts import Texts, texts_of

FORCED_MAX = 100
COUNTS = ("events", "matched", "timed_out", "duplicate_events", "late", "orphaned", "duplicate_labels", "corrected")


@dataclass(frozen=True, slots=True)
class Refused:
    """A label that can't be learned from, with the reason."""

    label: Label
    code: str
    detail: str


def fresh_features_mark(position: int) -> dict[str, Any]:
    """The mark of a features partition of which nothing was read; it begins at `position`."""
    return {"low": position, "seen": NEVER, "due": (NEVER, -1)}


def fresh_labels_mark(offset: int) -> dict[str, Any]:
    """The mark of a labels partition of which nothing was read; it begins at `offset`."""
    return {"low": offset, "clock": NEVER, "forced": [], "counts": {}, "rejected": 0}


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
        corrections: bool = False,
        fake_after_ms: int | None = None,
    ) -> None:
        self._window_ms = window_ms
        self._rules = rules_of(window_ms, grace_ms, negative_on_timeout, corrections, fake_after_ms)
        self._arena = Arena(spec_hash, layout)
        self._part = {p: i for i, p in enumerate(sorted(set(partitions)))}
        self._state = state(len(self._part))
        self._batches: deque[tuple[int, Labels]] = deque()  # labels that wait, from this number on
        self._first = ", this very one" if corrections else "; the first counts"
        self._rebuilding = False
        self._forced: list[int] = []  # offsets of labels settled by `caught_up` alone
        self.counts: dict[str, int] = dict.fromkeys(COUNTS, 0)

    # -- what goes in ----------------------------------------------------------------------------------

    def add_features(self, block: Block, partition: int, positions: Sequence[int] | I64) -> None:
        """Rows of one features partition, in order; reading from positions[i] on shows row i again."""
        part, n = self._part[partition], len(block)
        where = np.array(positions, np.int64)  # a copy: kernels are compiled for writable arrays alone
        if len(where) != n or len(block.time_ms) != n:
            given = f"{n} ids, {len(block.time_ms)} times and {len(where)} positions"
            raise ValueError(f"{given}; as many of each are wanted")
        ids, s = texts_of(block.ids), with_rows(self._state, n)
        self._state = s = s._replace(
            ids=_room_for(s, ids),
            events=roomy(s.events, part, n),
            repeats=roomy(s.repeats, part, n),
            seen_before=roomy(s.seen_before, part, n),
        )
        fresh, rows = np.empty(n, np.int64), np.empty(n, np.int64)
        times = np.array(block.time_ms, np.int64)
        more = kernel.add_events(s, self._rules, part, ids, times, where, fresh, rows)
        self._count()
        if self._arena.waiting + more > PENDING_ROWS_MAX and not self._rebuilding:
            given = f"shorten label.window ({self._window_ms} ms)"
            raise LimitReached(f"{PENDING_ROWS_MAX} events wait for labels; {given}")
        s.rows[rows[:more], SLOT] = self._arena.put(block, fresh[:more])

    def add_labels(self, labels: Sequence[Label]) -> None:
        """Labels in the order of their topic; `Labels` at best."""
        given = labels_of(labels)
        if not len(given):
            return
        self._batches.append((int(self._state.labels.bounds[0, HEAD]) + self.waiting_labels, given))
        s = self._state
        self._state = s = s._replace(
            ids=_room_for(s, given.ids),
            labels=roomy(s.labels, 0, len(given)),
            clock_before=roomy(s.clock_before, 0, held(s.labels) + len(given)),
        )
        columns = np.stack([given.time_ms, given.offset, given.published_ms, given.value.view(np.int64)])
        kernel.queue(s, given.ids, columns)

    # -- what comes out --------------------------------------------------------------------------------

    def advance(self, caught_up: bool = False) -> tuple[Training | None, list[Refused]]:
        """Join as far as certain. `caught_up`: no event that was published before now is still on its way,
        so a label without a row is an orphan although the clocks have not passed it."""
        room = max(0, FORCED_MAX - len(self._forced))
        out = outcomes(self.waiting_labels, self.pending, self._arena.waiting, self._rules, room)
        trained, freed, refused, forced = kernel.join(self._state, self._rules, out, caught_up)
        self._forced += out.forced[:forced].tolist()
        training = self._training(out, trained) if trained else None
        refusals = [self._refusal(*found) for found in out.refused[:refused].tolist()]
        self._clear(out.freed[:freed])
        return training, refusals

    def _training(self, out: Outcomes, n: int) -> Training:
        value: F64 = out.value[:n].view(np.float64)
        block = self._arena.gather(out.slot[:n])
        offset, time_ms, published_ms = (c[:n].copy() for c in (out.offset, out.time_ms, out.published_ms))
        again = out.correction[:n] > 0 if self._rules.corrections or self._rules.fake else None
        return Training(block, value.copy(), offset, time_ms, published_ms, again)

    def _refusal(self, number: int, why: int, after_ms: int) -> Refused:
        """The refusal of a label by its number since the beginning; refusals come in that order."""
        while number >= self._batches[0][0] + len(self._batches[0][1]):
            self._batches.popleft()
        first, labels = self._batches[0]
        label = labels[number - first]
        if why == NO_EVENT:
            return Refused(label, "label.orphaned", f"no event {label.id!r} up to label time {label.time_ms} ms")
        if why == HAS_LABEL:
            return Refused(label, "label.duplicate", f"event {label.id!r} has its label already{self._first}")
        return Refused(label, "label.late", f"{after_ms} ms after the event; the window is {self._window_ms} ms")

    def _clear(self, slots: I64) -> None:
        """After a kernel: take up its counts, and let go of what it has no more use for."""
        self._count()
        self._arena.free(slots)
        head = int(self._state.labels.bounds[0, HEAD])
        while self._batches and self._batches[0][0] + len(self._batches[0][1]) <= head:
            self._batches.popleft()

    def _count(self) -> None:
        for name, more in zip(COUNTS, self._state.counts.tolist(), strict=True):
            self.counts[name] += more
        self._state.counts[:] = 0

    # -- what survives a crash -------------------------------------------------------------------------

    @property
    def pending(self) -> int:
        """Rows without a label yet."""
        return int(self._state.scalars[PENDING])

    @property
    def remembered(self) -> int:
        """Events remembered, be they settled, duplicates or pending."""
        return sum(held(self._state.events, part) for part in self._part.values())

    @property
    def waiting_labels(self) -> int:
        """Labels read whose row may still come."""
        return held(self._state.labels)

    def next_label(self, end: int) -> int:
        """Offset of the first label that is not settled, where labels were read up to `end`."""
        if not self.waiting_labels:
            return end
        first, labels = self._batches[0]
        return int(labels.offset[int(self._state.labels.bounds[0, HEAD]) - first])

    def features_mark(self, partition: int) -> dict[str, Any]:
        """For one features partition: where a rebuild begins to read, the event clock before it, and `due`:
        rows before this rank time and position have timed out."""
        low, seen, *due = marks.features_mark(self._state, self._part[partition])
        return {"low": low, "seen": seen, "due": tuple(due)}

    def labels_mark(self, end: int) -> dict[str, Any]:
        """For the labels partition: where a rebuild begins, the label clock before it, and the counts."""
        needed, low, clock = marks.labels_mark(self._state, self._rules)
        if not needed:
            low, clock = self.next_label(end), int(self._state.scalars[CLOCK])
        self._forced = [o for o in self._forced if o >= low]
        return {"low": low, "clock": clock, "forced": list(self._forced), "counts": dict(self.counts)}

    def begin_rebuild(self, features: dict[int, dict[str, Any]], labels: dict[str, Any]) -> None:
        """Take up marks; then feed the features from each `low` to the commit, and call `end_rebuild`."""
        for number, mark in features.items():
            at = [SEEN, NEXT, DUE_RANK, DUE_POSITION]
            self._state.parts[self._part[number], at] = mark["seen"], mark["low"], *mark["due"]
        self._state.scalars[CLOCK] = labels["clock"]
        self._forced = list(labels["forced"])
        self._rebuilding = True

    def end_rebuild(self, settled: Sequence[Label], counts: dict[str, int]) -> None:
        """Replay the labels from the mark's `low` that were settled before, in silence. No others wait yet."""
        self.add_labels(settled)
        out = outcomes(0, 0, self._arena.waiting, self._rules, 0)
        freed = kernel.replay(self._state, self._rules, out, np.array(self._forced, np.int64))
        self._clear(out.freed[:freed])
        self._state.parts[:, [DUE_RANK, DUE_POSITION]] = NEVER, -1
        self._rebuilding = False
        self.counts = {**dict.fromkeys(COUNTS, 0), **counts}


def _room_for(s: State, given: Texts) -> Ids:
    return roomy_ids(s.ids, cells_of(given.end - given.start))
