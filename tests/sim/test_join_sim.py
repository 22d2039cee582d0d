"""The join under any interleaving and any crash, against a slow model of what its docstring says.

`_World` plays Kafka and the process around the join: topics, positions, one commit of output + marks,
crashes that throw away all that was not committed. `_oracle` never sees an order of arrival: it looks at
whole topics.
Precondition, as on Kafka: the events of one id lie in one partition (they have one key).
"""

import json
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stream.block import Block, Layout, Training
from stream.errors import LimitReached
from stream.join import join as join_module
from stream.join.join import FORCED_MAX, Join, Refused, fresh_features_mark, fresh_labels_mark
from stream.join.labels import Label
from stream.join.layout import NEVER
from stream.limits import COMMIT_METADATA_BYTES_MAX

WINDOW_MS = 10
LAYOUT = Layout(("x",), ("c",), ("t",))
SIMULATED = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True)


class _Event(NamedTuple):
    id: str
    time_ms: int


@dataclass(frozen=True)
class _Topics:
    """features[p]: records of partition p, each a list of events that share a position; labels in order."""

    features: list[list[list[_Event]]]
    labels: list[Label]
    grace_ms: int
    negative: bool
    corrections: bool = False
    fake_ms: int | None = None

    @property
    def wait_ms(self) -> int:
        """After which a row times out."""
        return WINDOW_MS if self.fake_ms is None else self.fake_ms

    @property
    def counted_negative(self) -> bool:
        """Whether a time-out is learned."""
        return self.negative or self.fake_ms is not None


# -- the model -------------------------------------------------------------------------------------------


@dataclass
class _ModelRow:
    rank_ms: int
    time_ms: int
    source: tuple[int, int]
    state: str = "pending"
    value: float = 0.0


@dataclass
class _Outcome:
    """training: (partition, raw offset, label value, label offset), "again" for a correction; refused: (label offset,
    code)."""

    training: list[tuple[Any, ...]] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    waiting: int = 0


def _oracle(topics: _Topics) -> _Outcome:
    out, rows = _Outcome(), list[tuple[str, _ModelRow]]()
    clocks = []
    for p, records in enumerate(topics.features):
        seen, last = NEVER, dict[str, int]()
        for offset, event in enumerate(e for record in records for e in record):
            seen = max(seen, event.time_ms)
            out.counts["events"] += 1
            if event.id in last and seen - last[event.id] <= 2 * WINDOW_MS + topics.grace_ms:
                out.counts["duplicate_events"] += 1
            else:
                rows.append((event.id, _ModelRow(seen, event.time_ms, (p, offset))))
            last[event.id] = seen
        clocks.append(seen)
    rows.sort(key=lambda x: (x[1].rank_ms, x[1].source))
    clock = NEVER
    for number, label in enumerate(topics.labels):
        now = max(clock, label.time_ms)
        until = label.time_ms + topics.grace_ms
        mine = [r for i, r in rows if i == label.id and now - 2 * WINDOW_MS <= r.rank_ms <= until]
        assert len(mine) <= 1
        if (not mine and min(clocks) <= until) or (topics.counted_negative and min(clocks) <= now - topics.wait_ms):
            out.waiting = len(topics.labels) - number
            break
        clock = now
        _expire(topics, rows, clock, label, out)
        _settle(topics, label, mine[0] if mine else None, clock, out)
    if not topics.counted_negative:
        _expire(topics, rows, clock, None, out)
    out.pending = sum(r.state == "pending" for _, r in rows)
    return out


def _expire(topics: _Topics, rows: list[Any], clock: int, label: Label | None, out: _Outcome) -> None:
    for _, row in rows:
        if row.state == "pending" and row.rank_ms < clock - topics.wait_ms:
            row.state = "timed_out"
            out.counts["timed_out"] += 1
            if topics.counted_negative and label is not None:
                out.training.append((*row.source, 0.0, label.offset))


def _settle(topics: _Topics, label: Label, row: _ModelRow | None, clock: int, out: _Outcome) -> None:
    code = "orphaned" if row is None else _outcome(topics, label, row, clock)
    if row is not None and code in ("matched", "corrected"):
        out.counts[code] += 1
        fake = code == "matched" and topics.fake_ms is not None and label.value != 0
        out.training += [(*row.source, 0.0, label.offset)] if fake else []
        again = ("again",) if fake or code == "corrected" else ()
        out.training.append((*row.source, label.value, label.offset, *again))
        row.state, row.value = "matched", label.value
        return
    out.counts["duplicate_labels" if code == "duplicate" else code] += 1
    out.refused.append((label.offset, f"label.{code}"))


def _outcome(topics: _Topics, label: Label, row: _ModelRow, clock: int) -> str:
    late = row.rank_ms < clock - WINDOW_MS or label.time_ms > row.time_ms + WINDOW_MS
    differs, negative = label.value != row.value, row.state == "timed_out" and topics.counted_negative
    if row.state == "matched":
        return "corrected" if topics.corrections and differs else "duplicate"
    if negative and differs and (topics.corrections if late else topics.fake_ms is not None):
        return "corrected"
    if late:
        return "late"
    return "duplicate" if negative else "matched"


# -- the world around the join ---------------------------------------------------------------------------


class _World:
    """Committed: positions, marks, output. Volatile: the join, what it read, what it put out since."""

    def __init__(self, topics: _Topics) -> None:
        self.topics = topics
        self.blocks = [_blocks(p, records) for p, records in enumerate(topics.features)]
        parts = range(len(topics.features))
        self.committed: tuple[list[int], int, list[str], str] = (
            [0 for _ in parts],
            0,
            [json.dumps(fresh_features_mark(0)) for _ in parts],
            json.dumps(fresh_labels_mark(0)),
        )
        self.done = _Outcome()
        self.start()

    def start(self) -> None:
        """As consumers/_front.py does: marks, features from `low` to the commit, labels from `low` to it."""
        at, next_label, features, labels = self.committed
        self.at, self.read = list(at), next_label
        self.training: list[tuple[Any, ...]] = []
        self.refused: list[tuple[int, str]] = []
        marks, mark = {p: json.loads(m) for p, m in enumerate(features)}, json.loads(labels)
        topics = self.topics
        policy = (topics.negative, topics.corrections, topics.fake_ms)
        self.join = Join("h", LAYOUT, list(marks), WINDOW_MS, topics.grace_ms, *policy)
        self.join.begin_rebuild(marks, mark)
        for p, m in marks.items():
            for position in range(m["low"], at[p]):
                self._feed(p, position)
        self.join.end_rebuild(topics.labels[mark["low"] : next_label], mark["counts"])
        if mark["counts"]:
            assert self.join.counts == mark["counts"]
        self.check_sums()

    def _feed(self, p: int, position: int) -> None:
        block = self.blocks[p][position]
        self.join.add_features(block, p, [position] * len(block))

    def features(self, p: int, count: int) -> None:
        for position in range(self.at[p], min(self.at[p] + count, len(self.blocks[p]))):
            self._feed(p, position)
            self.at[p] = position + 1

    def labels(self, count: int) -> None:
        more = self.topics.labels[self.read : self.read + count]
        self.join.add_labels(more)
        self.read += len(more)

    def advance(self, caught_up: bool = False) -> tuple[list[Any], list[Any]]:
        training, refused = self.join.advance(caught_up)
        rows, codes = _rows(training), [(r.label.offset, r.code) for r in refused]
        self.training += rows
        self.refused += codes
        self.check_sums()
        return rows, codes

    def commit(self) -> None:
        self.done.training += self.training
        self.done.refused += self.refused
        self.training, self.refused = [], []
        features = [json.dumps(self.join.features_mark(p)) for p in range(len(self.at))]
        labels = json.dumps(self.join.labels_mark(self.read))
        assert max(map(len, [*features, labels])) < COMMIT_METADATA_BYTES_MAX / 2
        self.committed = (list(self.at), self.join.next_label(self.read), features, labels)

    def finish(self) -> None:
        for p in range(len(self.at)):
            self.features(p, len(self.blocks[p]))
        self.labels(len(self.topics.labels))
        self.advance()
        self.commit()

    def check_sums(self) -> None:
        """Counts add up, whatever happened."""
        n, join = self.join.counts, self.join
        assert n["events"] == n["matched"] + n["timed_out"] + join.pending + n["duplicate_events"]
        settled = n["matched"] + n["late"] + n["orphaned"] + n["duplicate_labels"] + n["corrected"]
        assert self.join.next_label(self.read) == settled

    def result(self) -> _Outcome:
        counts = Counter({k: v for k, v in self.join.counts.items() if v})
        return _Outcome(self.done.training, self.done.refused, counts, self.join.pending, self.join.waiting_labels)


def _blocks(p: int, records: list[list[_Event]]) -> list[Block]:
    out, offset = [], 0
    for record in records:
        n = len(record)
        offsets = np.arange(offset, offset + n)
        lengths = offsets % 3  # rows have 0 to 2 tokens
        tokens = np.concatenate([np.full(k, 1000 * p + o) for k, o in zip(lengths, offsets, strict=True)])
        out.append(
            Block(
                "h",
                [e.id for e in record],
                np.array([e.time_ms for e in record], np.int64),
                np.full(n, p, np.int32),
                offsets,
                offsets[:, None] + 0.5,
                (offsets[:, None] + 1).astype(np.uint64),
                tokens.astype(np.uint64),
                np.cumsum(lengths),
            )
        )
        offset += n
    return out


def _rows(training: Training | None) -> list[tuple[Any, ...]]:
    """Rows by their source; besides, every row's features must be its own."""
    if training is None:
        return []
    b = training.block
    start = 0
    for i, offset in enumerate(b.offset.tolist()):
        assert b.numeric[i, 0] == offset + 0.5
        assert b.categories[i, 0] == offset + 1
        tokens = b.tokens[start : b.token_ends[i]].tolist()
        assert tokens == [1000 * int(b.partition[i]) + offset] * (offset % 3)
        start = int(b.token_ends[i])
    sources = zip(b.partition.tolist(), b.offset.tolist(), strict=True)
    labels = zip(training.label.tolist(), training.label_offset.tolist(), strict=True)
    again = [False] * len(training) if training.correction is None else training.correction.tolist()
    return [(*s, *v, *(["again"] if a else [])) for s, v, a in zip(sources, labels, again, strict=True)]


# -- what is delivered, and how --------------------------------------------------------------------------


@st.composite
def _topics(draw: st.DrawFn) -> _Topics:
    """Small topics in which everything collides: few ids, times that mostly grow, jumps past the window."""
    steps = st.sampled_from([0, 0, 1, 1, 2, 3, 7, 15, 30])
    back = st.sampled_from([0, 0, 0, 1, 4, 12])
    parts = draw(st.integers(1, 3))
    features = []
    for p in range(parts):
        now, records = 100, []
        for sizes in draw(st.lists(st.integers(1, 3), max_size=9)):
            record = []
            for _ in range(sizes):
                now += draw(steps)
                record.append(_Event(f"{p}-{draw(st.integers(0, 3))}", now - draw(back)))
            records.append(record)
        features.append(records)
    now, labels = 100, []
    for offset in range(draw(st.integers(0, 16))):
        now += draw(steps)
        event_id = f"{draw(st.integers(0, parts - 1))}-{draw(st.integers(0, 4))}"
        labels.append(Label(event_id, float(offset % 2), now - draw(back), offset, 7 * offset))
    policy = (draw(st.booleans()), draw(st.booleans()), draw(st.sampled_from([None, None, 0, 4, WINDOW_MS])))
    return _Topics(features, labels, draw(st.sampled_from([0, 0, 3])), *policy)


_ACTIONS = st.lists(
    st.tuples(st.sampled_from(["features", "features", "labels", "advance", "commit", "crash"]), st.integers(0, 11)),
    max_size=40,
)


def _play(world: _World, actions: list[tuple[str, int]]) -> None:
    for action, number in actions:
        if action == "features":
            world.features(number % len(world.at), 1 + number // 3)
        elif action == "labels":
            world.labels(1 + number)
        elif action == "advance":
            world.advance()
        elif action == "commit":
            world.advance()
            world.commit()
        else:
            world.start()
    world.finish()


@SIMULATED
@given(_topics())
def test_a_quiet_run_with_the_features_first_does_what_the_docstring_says(topics: _Topics) -> None:
    world = _World(topics)
    world.finish()
    assert world.result() == _oracle(topics)


@SIMULATED
@given(_topics(), _ACTIONS)
def test_no_interleaving_and_no_crash_changes_what_is_joined_or_refused_or_counted(
    topics: _Topics, actions: list[tuple[str, int]]
) -> None:
    world = _World(topics)
    _play(world, actions)
    assert world.result() == _oracle(topics)


def _large(seed: int, *policy: Any) -> tuple[_Topics, random.Random]:
    """A few hundred events and labels: most labels fit, some are of every wrong kind."""
    rng = random.Random(seed)
    parts = rng.randint(1, 3)
    features: list[list[list[_Event]]] = []
    events: list[_Event] = []
    for p in range(parts):
        now, flat, ids = 1000, list[_Event](), list[str]()
        for number in range(rng.randint(100, 250)):
            now += rng.choice([0, 0, 1, 1, 2])
            ids.append(rng.choice(ids[-40:]) if ids and rng.random() < 0.15 else f"{p}-{number}")
            flat.append(_Event(ids[-1], now - rng.choice([0, 0, 0, 1, 5])))
        events += flat
        records = []
        while flat:
            size = rng.randint(1, 8)
            records.append(flat[:size])
            flat = flat[size:]
        features.append(records)
    given = [(e.time_ms + rng.choice([1, 3, 6, 9, 10, 11, 25, 45]), e.id) for e in events if rng.random() < 0.9]
    given += [(rng.randint(1000, 1200), rng.choice(["ghost", given[0][1]])) for _ in range(20)]
    given.sort(key=lambda x: x[0] + rng.randint(0, 4))
    labels = [Label(i, float(o % 2), t, o, 0) for o, (t, i) in enumerate(given)]
    return _Topics(features, labels, rng.choice([0, 4]), *policy), rng


POLICIES = [(False, False, None), (True, False, None), (False, True, None), (True, True, None), (False, False, 3)]


@pytest.mark.parametrize("policy", POLICIES, ids=["drop", "negative", "corrections", "both", "fake"])
def test_larger_topics_join_the_same_under_random_deliveries_and_crashes(policy: Any) -> None:
    seen: Counter[str] = Counter()
    for seed in range(12):
        topics, rng = _large(seed, *policy)
        world = _World(topics)
        kinds = ["features"] * 4 + ["labels"] * 2 + ["advance", "commit", "commit", "crash"]
        _play(world, [(rng.choice(kinds), rng.randint(0, 20)) for _ in range(rng.randint(20, 200))])
        expected = _oracle(topics)
        assert world.result() == expected, f"seed {seed}"
        seen += expected.counts
    expected_counts = set(join_module.COUNTS) - (set() if policy[1:] != (False, None) else {"corrected"})
    assert {k for k, n in seen.items() if n > 50} == expected_counts, seen


# -- orphans by force ------------------------------------------------------------------------------------


class _Twins:
    """A join that crashes right after each of its commits, and its twin that never does: they agree."""

    def __init__(self, topics: _Topics) -> None:
        self.one, self.two = _World(topics), _World(topics)

    def do(self, action: str, number: int) -> None:
        for world in (self.one, self.two):
            if action == "features":
                world.features(number % len(world.at), 1 + number // 3)
            elif action == "labels":
                world.labels(1 + number)
        if action in ("advance", "forced"):
            assert self.one.advance(action == "forced") == self.two.advance(action == "forced")
        elif action == "crash":
            read = self.one.read
            self.one.commit()
            self.two.commit()
            self.one.start()
            self.one.labels(read - self.one.read)
        self.agree()

    def agree(self) -> None:
        one, two = self.one.join, self.two.join
        assert (one.counts, one.pending, one.waiting_labels) == (two.counts, two.pending, two.waiting_labels)

    def finish(self) -> None:
        for world in (self.one, self.two):
            world.finish()
        assert self.one.result() == self.two.result()


_FORCING = st.lists(
    st.tuples(st.sampled_from(["features", "features", "labels", "advance", "forced", "crash"]), st.integers(0, 11)),
    max_size=40,
)


@SIMULATED
@given(_topics(), _FORCING)
def test_orphans_by_caught_up_stay_what_they_are_over_a_rebuild(
    topics: _Topics, actions: list[tuple[str, int]]
) -> None:
    twins = _Twins(topics)
    for action, number in actions:
        twins.do(action, number)
    twins.finish()
    done = twins.one.done
    labels = [row[3] for row in done.training]
    rows = [row[:2] for row in done.training if "again" not in row]
    assert len(set(rows)) == len(rows), "a row was trained twice"
    if not topics.counted_negative:
        settled = sorted(labels + [offset for offset, _ in done.refused])
        assert settled == list(range(len(settled))), "a label was settled twice, or skipped"


def _plain(ids: list[tuple[str, int]], labels: list[tuple[str, int]], parts: int = 1, negative: bool = False) -> _World:
    features: list[list[list[_Event]]] = [[[_Event(*i)] for i in ids]] + [[] for _ in range(parts - 1)]
    return _World(_Topics(features, [Label(i, 1.0, t, o, 0) for o, (i, t) in enumerate(labels)], 0, negative))


def test_an_orphan_by_caught_up_is_not_matched_by_the_event_that_comes_after_all() -> None:
    world = _plain([("a", 100)], [("a", 101), ("a", 102)])
    world.labels(1)
    assert world.advance() == ([], [])
    assert world.advance(caught_up=True) == ([], [(0, "label.orphaned")])
    world.features(0, 1)
    world.commit()
    world.start()
    world.labels(1)
    assert world.advance() == ([(0, 0, 1.0, 1)], [])


def test_the_clock_of_the_labels_survives_a_crash_before_any_event_came() -> None:
    world = _plain([("a", 135)], [("ghost", 150), ("a", 136)])
    world.labels(1)
    assert world.advance(caught_up=True) == ([], [(0, "label.orphaned")])
    world.commit()
    world.start()
    world.finish()
    assert world.done.refused == [(0, "label.orphaned"), (1, "label.late")]
    assert world.join.counts["timed_out"] == 1


def test_at_most_a_bounded_number_of_orphans_is_forced_so_that_the_marks_fit() -> None:
    world = _plain([("a", 100)], [(f"ghost{i}", 100) for i in range(2 * FORCED_MAX)])
    world.features(0, 1)
    world.labels(2 * FORCED_MAX)
    _, refused = world.advance(caught_up=True)
    assert len(refused) == FORCED_MAX
    world.commit()
    world.start()
    world.labels(2 * FORCED_MAX)
    assert world.advance(caught_up=True) == ([], [])
    assert world.join.waiting_labels == FORCED_MAX


def test_a_negative_by_timeout_that_comes_after_a_forced_label_is_trained_once_over_a_crash() -> None:
    world = _plain([("a", 100)], [("ghost", 150), ("ghost", 151)], negative=True)
    world.labels(1)
    world.advance(caught_up=True)
    world.features(0, 1)
    world.advance()
    world.commit()
    world.start()
    assert world.join.pending == 1
    world.labels(1)
    assert world.advance(caught_up=True)[0] == [(0, 0, 0.0, 1)]


# -- what is remembered ----------------------------------------------------------------------------------


def _stream(world: _World, events: int) -> list[int]:
    """Feed one event and its label at a time; what was remembered after each."""
    remembered = []
    for _ in range(events):
        world.features(0, 1)
        world.labels(1)
        world.advance()
        remembered.append(world.join.remembered)
    return remembered


def test_no_more_is_remembered_than_two_windows_and_the_rebuild_reads_no_more() -> None:
    n = 300
    world = _plain([(f"e{i}", 100 + i) for i in range(n)], [(f"e{i}", 100 + i) for i in range(n)])
    assert max(_stream(world, n)) <= 2 * WINDOW_MS + 2
    world.commit()
    low = json.loads(world.committed[2][0])["low"]
    assert n - low <= 2 * WINDOW_MS + 2
    assert world.committed[1] - json.loads(world.committed[3])["low"] <= 2 * WINDOW_MS + 2
    assert world.join.pending == 0


def test_labels_that_run_far_ahead_forget_no_more_and_no_less_than_the_events_clock_allows() -> None:
    n = 200
    ids = [(f"e{i}", 100 + i) for i in range(n)]
    world = _plain(ids, [("e0", 100), ("ghost", 10_000)])
    world.features(0, 1)
    world.labels(2)
    world.advance(caught_up=True)
    for _ in range(n - 1):
        world.features(0, 1)
        world.advance()
        assert world.join.remembered <= 2 * WINDOW_MS + 1
        assert world.join.pending == 0
    assert world.join.counts["timed_out"] == n - 1


def test_an_id_that_repeats_for_ever_holds_the_rebuild_back_by_two_windows_at_most() -> None:
    n = 300
    ids = [("same" if i % 5 == 0 else f"e{i}", 100 + i) for i in range(n)]
    world = _plain(ids, [(f"e{i}", 100 + i) for i in range(n)])
    assert max(_stream(world, n)) <= 2 * WINDOW_MS + 2
    world.commit()
    assert n - json.loads(world.committed[2][0])["low"] <= 4 * WINDOW_MS + 4
    world.start()
    assert world.join.counts["duplicate_events"] == n // 5 - 1


def test_an_id_that_comes_again_after_two_windows_is_a_new_event() -> None:
    far = 100 + 2 * WINDOW_MS
    for again, codes in ((far, ["label.duplicate"]), (far + 1, [])):
        world = _plain([("a", 100), ("a", again)], [("a", 101), ("a", again + 1)])
        world.features(0, 2)
        world.labels(2)
        world.advance()
        world.finish()
        assert world.join.counts["duplicate_events"] == len(codes)
        assert len(world.done.training) == 2 - len(codes)


def test_a_duplicate_is_one_though_labels_ran_two_windows_ahead_of_it() -> None:
    ids = [("a", 100), ("b", 101), ("a", 102)]
    labels = [("b", 101 + 2 * WINDOW_MS), ("a", 102)]
    ahead, quiet = _plain(ids, labels), _plain(ids, labels)
    ahead.features(0, 2)
    ahead.labels(1)
    assert ahead.advance() == ([], [(0, "label.late")])
    for world in (ahead, quiet):
        world.finish()
        assert world.result() == _oracle(world.topics)
        assert world.join.counts["duplicate_events"] == 1


def test_events_of_one_id_in_two_partitions_train_once_whatever_comes_first() -> None:
    for first in (0, 1):
        features = [[[_Event("a", 100)], [_Event("z", 150)]], [[_Event("a", 101)], [_Event("y", 150)]]]
        world = _World(_Topics(features, [Label("a", 1.0, 105, 0, 0), Label("a", 1.0, 106, 1, 0)], 0, False))
        world.features(first, 1)
        world.labels(1)
        world.advance()
        world.commit()
        world.start()
        world.finish()
        assert [r[2:] for r in world.done.training] == [(1.0, 0)]
        assert world.done.refused == [(1, "label.duplicate")]


def test_events_of_one_id_in_two_partitions_are_forgotten_in_whatever_order() -> None:
    features = [[[_Event("a", 100)], [_Event("z", 400)]], [[_Event("a", 200)], [_Event("y", 300)], [_Event("x", 400)]]]
    world = _World(_Topics(features, [Label("ghost", 1.0, 350, 0, 0)], 0, False))
    world.features(0, 1)
    world.features(1, 2)
    world.labels(1)
    world.advance(caught_up=True)
    assert world.join.remembered == 2  # the newer row of the id is gone, the older not
    world.finish()
    assert world.join.counts["timed_out"] == 3
    assert world.join.remembered == 2


def test_too_many_pending_rows_stop_the_join_but_never_keep_it_from_starting_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(join_module, "PENDING_ROWS_MAX", 5)
    world = _plain([(f"e{i}", 100) for i in range(11)], [(f"e{i}", 100) for i in range(11)])
    for _ in range(11):
        world.features(0, 1)
        world.labels(1)
        world.advance()
    world.commit()
    world.start()
    assert world.join.pending == 0
    crowded = _plain([(f"e{i}", 100) for i in range(6)], [])
    with pytest.raises(LimitReached, match="5 events wait for labels"):
        crowded.features(0, 6)


def test_a_refusal_names_the_label_the_limit_and_the_distance() -> None:
    world = _plain([("a", 100), ("b", 200)], [("a", 111), ("c", 120)])
    world.features(0, 2)
    world.join.add_labels(world.topics.labels)
    _, refused = world.join.advance()
    assert [r.detail for r in refused] == [
        "11 ms after the event; the window is 10 ms",
        "no event 'c' up to label time 120 ms",
    ]
    assert isinstance(refused[0], Refused)


@pytest.mark.parametrize("fake_ms", [None, 3])
def test_rows_that_may_be_taught_again_are_held_no_longer_than_they_are_remembered(fake_ms: int | None) -> None:
    n = 300
    features: list[list[list[_Event]]] = [[[_Event(f"e{i}", 100 + i)] for i in range(n)]]
    labels = [Label(f"e{i}", 1.0, 101 + i, i, 0) for i in range(n)]
    world = _World(_Topics(features, labels, 0, True, fake_ms is None, fake_ms))
    for _ in range(n):
        world.features(0, 1)
        world.labels(1)
        world.advance()
        assert world.join._arena.waiting == world.join.remembered <= 2 * WINDOW_MS + 3
    world.commit()
    world.start()
    assert world.join._arena.waiting == world.join.remembered
