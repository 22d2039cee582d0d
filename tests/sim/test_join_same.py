"""The compiled join is the plain one of join_reference.py: same rows, refusals, marks and counts, whatever comes when.

Both get the same topics; the plain one an event at a time, the compiled one in blocks of any size. Ids collide, also
between partitions, positions have gaps, labels are late, early, twice or of nobody, and the process dies at any point.
"""

import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from join_reference import Join as Plain

from stream.block import Block, Layout, Training, take
from stream.join.columns import Labels, labels_of
from stream.join.join import COUNTS, Join, fresh_features_mark, fresh_labels_mark
from stream.join.labels import Label

LAYOUT = Layout(("x", "y"), ("c",), ("t",))
WINDOW_MS = 10
SIMULATED = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)


class _Event(NamedTuple):
    id: str
    time_ms: int
    position: int
    number: int  # of all events: what its features are made of


class _Setup(NamedTuple):
    partitions: tuple[int, ...]
    grace_ms: int
    negative: bool


def _block(events: Sequence[_Event], partition: int) -> Block:
    numbers = np.array([e.number for e in events], np.int64)
    lengths = numbers % 4
    return Block(
        "h",
        [e.id for e in events],
        np.array([e.time_ms for e in events], np.int64),
        np.full(len(events), partition, np.int32),
        numbers * 3,
        np.column_stack([numbers + 0.25, np.where(numbers % 5, numbers * 1.0, np.nan)]),
        (numbers[:, None] + 1).astype(np.uint64),
        np.repeat(numbers, lengths).astype(np.uint64),
        np.cumsum(lengths),
    )


def _training(rows: Training | None) -> Any:
    """All that training rows are, to the last bit."""
    if rows is None:
        return None
    arrays = [a for f in fields(Training) if isinstance(a := getattr(rows, f.name), np.ndarray)]
    arrays += [a for f in fields(Block) if isinstance(a := getattr(rows.block, f.name), np.ndarray)]
    return rows.block.spec_hash, rows.block.ids, [(a.dtype.str, a.shape, a.tobytes()) for a in arrays]


class _Both:
    """The two joins side by side; `events` and `labels` are the topics, `at` and `read` up to where they were read."""

    def __init__(self, setup: _Setup) -> None:
        self.setup = setup
        self.events: dict[int, list[_Event]] = {p: [] for p in setup.partitions}
        self.labels: list[Label] = []
        self.seen: Counter[str] = Counter()
        features = {p: json.dumps(fresh_features_mark(0)) for p in setup.partitions}
        self.committed = (dict.fromkeys(setup.partitions, 0), 0, features, json.dumps(fresh_labels_mark(0)))
        self.start(1)

    def start(self, cut: int) -> None:
        """As after a crash: whatever was not committed is gone, and comes again later."""
        at, read, features, labels = self.committed
        made = (self.setup.partitions, WINDOW_MS, self.setup.grace_ms, self.setup.negative)
        self.plain, self.fast = Plain("h", LAYOUT, *made), Join("h", LAYOUT, *made)
        marks, mark = {p: json.loads(m) for p, m in features.items()}, json.loads(labels)
        self.at, self.read = dict(at), read
        for join in (self.plain, self.fast):
            join.begin_rebuild(marks, mark)
        for p in self.setup.partitions:
            before = [e for e in self.events[p][: at[p]] if e.position >= marks[p]["low"]]
            self.feed(p, before, cut)
        settled = [x for x in self.labels if mark["low"] <= x.offset < read]
        self.plain.end_rebuild(settled, mark["counts"])
        self.fast.end_rebuild(labels_of(settled) if cut % 2 else settled, mark["counts"])
        self.agree()

    def feed(self, p: int, events: Sequence[_Event], cut: int) -> None:
        for event in events:
            self.plain.add_features(_block([event], p), p, [event.position])
        for i in range(0, len(events), cut):
            piece = events[i : i + cut]
            positions = [e.position for e in piece]
            self.fast.add_features(_block(piece, p), p, np.array(positions) if cut % 2 else positions)

    def features(self, p: int, count: int, cut: int) -> None:
        events = self.events[p][self.at[p] : self.at[p] + count]
        while len(events) and len(self.events[p]) > self.at[p] + len(events):
            more = self.events[p][self.at[p] + len(events)]
            if more.position != events[-1].position:  # a record is read whole
                break
            events = [*events, more]
        self.feed(p, events, cut)
        self.at[p] += len(events)

    def more_labels(self, count: int, cut: int) -> None:
        start, self.read = self.read, min(self._after(count), self.next_offset())
        new = [x for x in self.labels if start <= x.offset < self.read]
        self.plain.add_labels(new)
        for i in range(0, len(new), cut):
            self.fast.add_labels(new[i : i + cut] if cut % 2 else labels_of(new[i : i + cut]))

    def _after(self, count: int) -> int:
        left = [x.offset for x in self.labels if x.offset >= self.read]
        return left[count] if count < len(left) else self.next_offset()

    def next_offset(self) -> int:
        return self.labels[-1].offset + 1 if self.labels else 0

    def advance(self, caught_up: bool) -> None:
        rows, refused = self.plain.advance(caught_up)
        ours, ours_refused = self.fast.advance(caught_up)
        assert _training(ours) == _training(rows)
        assert repr(ours_refused) == repr(refused)
        self.seen["rows"] += len(rows) if rows else 0
        self.agree()

    def agree(self) -> None:
        for name in ("counts", "pending", "remembered", "waiting_labels"):
            assert repr(getattr(self.fast, name)) == repr(getattr(self.plain, name)), name
        assert self.fast.next_label(self.read) == self.plain.next_label(self.read)

    def marks(self) -> tuple[dict[int, str], str]:
        features = {p: json.dumps(self.fast.features_mark(p)) for p in self.setup.partitions}
        labels = json.dumps(self.fast.labels_mark(self.read))
        assert features == {p: json.dumps(self.plain.features_mark(p)) for p in self.setup.partitions}
        assert labels == json.dumps(self.plain.labels_mark(self.read))
        return features, labels

    def commit(self) -> None:
        self.committed = (dict(self.at), self.fast.next_label(self.read), *self.marks())

    def do(self, action: str, a: int, b: int) -> None:
        cut = 1 + b % 7
        if action == "features":
            self.features(self.setup.partitions[a % len(self.setup.partitions)], 1 + b, cut)
        elif action == "labels":
            self.more_labels(1 + a, cut)
        elif action in ("advance", "force"):
            self.advance(action == "force")
        elif action == "marks":
            self.marks()
        elif action == "commit":
            self.commit()
        elif action == "crash":
            self.start(cut)
        self.agree()

    def finish(self) -> None:
        for p in self.setup.partitions:
            self.features(p, len(self.events[p]), 5)
        self.more_labels(len(self.labels), 5)
        for caught_up in (False, True):
            self.advance(caught_up)
            self.marks()
        self.seen += Counter(self.plain.counts)


def _fill(both: _Both, rng: random.Random, events: int, labels: int, ids: int) -> None:
    """Topics in which everything happens."""
    number, start = 0, 50
    for p in both.setup.partitions:
        now, position = start, rng.randint(0, 3)
        for _ in range(rng.randint(events // 3, events)):
            now += rng.choice([0, 0, 1, 1, 2, 3, 7, 25])
            name = f"{p if rng.random() < 0.9 else 'x'}-{rng.randint(0, ids)}"
            both.events[p].append(_Event(name, now - rng.choice([0, 0, 0, 1, 4, 12]), position, number))
            number += 1
            position += rng.choice([0, 1, 1, 1, 3])
    times = [(e.id, e.time_ms) for p in both.events for e in both.events[p]] or [("nobody", start)]
    drawn = [rng.choice(times) for _ in range(labels)]
    due = sorted((t + rng.choice([-3, 0, 1, 4, 9, 10, 11, 15, 19, 21, 40]), i) for i, t in drawn)
    offset = 0
    for time_ms, event_id in due:
        given = event_id if rng.random() < 0.93 else "ghost"
        time = time_ms - rng.choice([0, 0, 0, 3])
        both.labels.append(Label(given, rng.choice([0.0, 1.0, -2.5]), time, offset, 7 * offset, f"record {offset}"))
        offset += rng.choice([1, 1, 1, 2])


_SETUPS = st.builds(_Setup, st.sampled_from([(0,), (2, 0), (5, 1, 3)]), st.sampled_from([0, 0, 3, 25]), st.booleans())
_KINDS = ["features"] * 4 + ["labels"] * 2 + ["advance"] * 3 + ["force", "marks", "commit", "commit", "crash"]
_ACTIONS = st.lists(st.tuples(st.sampled_from(_KINDS), st.integers(0, 11), st.integers(0, 11)), max_size=40)


@SIMULATED
@given(_SETUPS, st.integers(0, 1 << 32), st.integers(0, 8), _ACTIONS)
def test_the_compiled_join_does_at_every_step_what_the_plain_one_does(
    setup: _Setup, seed: int, ids: int, actions: list[tuple[str, int, int]]
) -> None:
    both = _Both(setup)
    _fill(both, random.Random(seed), 24, 24, ids)
    for action in actions:
        both.do(*action)
    both.finish()


@pytest.mark.parametrize("negative", [False, True])
def test_larger_topics_take_the_same_way_over_growing_rings_and_crashes(negative: bool) -> None:
    seen: Counter[str] = Counter()
    for seed in range(5):
        rng = random.Random(seed)
        both = _Both(_Setup(rng.choice([(0,), (3, 1), (0, 1, 2, 9)]), rng.choice([0, 4]), negative))
        _fill(both, rng, 600, 900, 300)
        for _ in range(150):
            both.do(rng.choice(_KINDS), rng.choice([1, 11, 200]), rng.choice([3, 60, 250]))
        both.finish()
        seen += both.seen
    assert all(seen[name] > 20 for name in COUNTS if name != "corrected"), seen  # the plain one corrects nothing


def test_columns_of_labels_are_the_labels() -> None:
    single = [Label(f"e{i}", i / 2, 10 + i, 3 * i, 7, f"r{i}") for i in range(6)]
    columns = labels_of(single)
    assert isinstance(columns, Labels)
    assert repr(list(columns)) == repr(single)
    assert repr(list(columns[1:4])) == repr(single[1:4])
    assert labels_of(columns) is columns


def test_a_block_and_its_positions_that_differ_in_length_are_a_bug_and_crash() -> None:
    join, block = Join("h", LAYOUT, [0], WINDOW_MS), _block([_Event("a", 1, 0, 0), _Event("b", 1, 1, 1)], 0)
    for positions in ([0], [0, 1, 2]):
        with pytest.raises(ValueError, match="2 ids, 2 times"):
            join.add_features(block, 0, positions)
    join.add_features(take(block, [0]), 0, [0])
    assert join.pending == 1
