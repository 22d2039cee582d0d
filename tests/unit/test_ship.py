"""The shipper's bookkeeping, against an Elasticsearch that can be away, forgetful of answers, or hard to please."""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import TopicPartition
from kafka.structs import OffsetAndMetadata

import schemas
from consumers import ship as module
from consumers._ship_client import NotDelivered, Refusal
from consumers.settings import Settings
from consumers.ship import Ship
from stream.arrive.records import Record, Records, records_of
from stream.clock import FakeClock
from stream.errors import DataError
from stream.ship.documents import Document
from stream.spec_load import load_spec

SPEC = load_spec(Path(__file__).parents[2] / "examples" / "flights.yaml")
LABELS, DEAD = TopicPartition("flights.labels", 0), TopicPartition("flights.dead", 0)


class Elastic:
    """Takes the place of the sender: what is there, who asks to look first, and what goes wrong."""

    def __init__(self) -> None:
        self.there: dict[str, Document] = {}
        self.twice: list[str] = []
        self.doubtful: list[bool] = []
        self.away = False
        self.deaf = False  # takes, but its answer is lost
        self.hated: set[int] = set()

    def send(self, documents: Sequence[Document], doubtful: bool, attempts: int = 1) -> list[Refusal]:
        self.doubtful.append(doubtful)
        if self.away:
            raise NotDelivered("nobody there")
        for d in documents:
            if d.at.offset in self.hated:
                continue
            if d.id in self.there and not doubtful:
                self.twice.append(d.id)
            self.there[d.id] = d
        if self.deaf:
            raise NotDelivered("no answer")
        return [Refusal(d, "400 it is ugly") for d in documents if d.at.offset in self.hated]


class Consumer:
    """One partition of labels and one of dead."""

    def __init__(self) -> None:
        self.positions = {LABELS: 0, DEAD: 0}

    def assignment(self) -> set[TopicPartition]:
        return set(self.positions)

    def position(self, tp: TopicPartition) -> int:
        return self.positions[tp]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.positions[tp] = offset


class World:
    """A shipper and what is around it; `turn` is a turn of the loop with a commit at its end."""

    def __init__(self, folder: Path, cap: int = 1 << 20) -> None:
        self.settings = Settings(data=folder, ship_spool_bytes_max=cap)
        self.elastic, self.clock = Elastic(), FakeClock()
        self.sent: dict[str, dict[int, int]] = {}
        self.committed: dict[TopicPartition, OffsetAndMetadata | None] = {LABELS: None, DEAD: None}
        self.dead: list[dict[str, Any]] = []
        self.told: list[dict[str, Any]] = []
        self.start()

    def start(self) -> None:
        self.consumer = Consumer()
        for tp, mark in self.committed.items():
            self.consumer.positions[tp] = mark.offset if mark else 0
        self.ship = Ship(SPEC, self.settings, ("labels", "dead"), self.clock)
        self.ship._sender = self.elastic  # type: ignore[assignment]
        self.ship.begin(self.consumer, dict(self.committed))

    def feed(self, topic: TopicPartition = LABELS, upto: int = 0, bad: Sequence[int] = ()) -> None:
        """Read on to offset `upto`, unless paused, as the loop would."""
        batch: dict[TopicPartition, Records] = {}
        begin = self.consumer.positions[topic]
        if topic not in self.ship.paused() and upto > begin:
            given = [record(topic, i, b"bad" if i in bad else None) for i in range(begin, upto)]
            self.consumer.positions[topic] = upto
            batch[topic] = records_of(topic.topic, 0, given)
        self.ship.feed(batch, 0.0)

    def commit(self) -> None:
        outs = self.ship.take()
        marks = self.ship.marks()
        self.committed.update(marks)
        for kind, found in (("dead", self.dead), ("metric", self.told)):
            topic = SPEC.topic("metrics" if kind == "metric" else kind)
            found += [schemas.codec(kind).decode(o.value or b"") for o in outs if o.topic == topic]
        self.ship.written(outs, list(range(len(outs))))

    def turn(self, **given: Any) -> None:
        self.feed(**given)
        self.commit()

    def later(self) -> None:
        self.clock.sleep(module.PAUSE_S_MAX + 1)

    @property
    def offset(self) -> int:
        mark = self.committed[LABELS]
        return mark.offset if mark else 0


def label(offset: int) -> bytes:
    return schemas.codec("label").encode({"id": f"e{offset}", "value": True, "time_ms": 5})


def record(tp: TopicPartition, offset: int, value: bytes | None = None) -> Record:
    body: Mapping[str, Any] = {"id": f"e{offset}", "value": True, "time_ms": 5}
    kind = "label"
    if tp == DEAD:
        kind, body = "dead", {"topic": "t", "partition": 0, "offset": 1, "timestamp_ms": 1, "key": None, "value": b"",
                              "step": "clean", "code": "value.empty", "detail": "", "spec_hash": ""}  # fmt: skip
    return Record(tp.topic, 0, offset, 1_000, b"k", value or schemas.codec(kind).encode(dict(body)))


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(module, "highest", lambda *_: made.sent)
    made = World.__new__(World)
    made.__init__(tmp_path)  # type: ignore[misc]
    return made


def test_offsets_move_once_documents_are_there(world: World) -> None:
    world.turn(upto=5)
    assert (world.offset, len(world.elastic.there)) == (5, 5)
    assert world.elastic.doubtful == [False]
    assert world.ship.waiting == 0


def test_a_poll_larger_than_a_request_goes_in_several_in_order(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BULK_DOCUMENTS", 4)
    world.turn(upto=10)
    assert len(world.elastic.doubtful) == 4  # 1, 4, 4, 1
    assert [d.at.offset for d in world.elastic.there.values()] == list(range(10))


def test_while_elasticsearch_is_away_records_go_to_the_spool_and_count_as_read(world: World) -> None:
    world.elastic.away = True
    world.turn(upto=5)
    world.turn(upto=9)
    assert (world.offset, world.ship.waiting, world.elastic.there) == (9, 2, {})
    world.elastic.away = False
    world.turn(upto=12)  # too early to try again: behind the others
    assert world.ship.waiting == 3
    world.later()
    world.turn(upto=12)
    assert (world.offset, world.ship.waiting, len(world.elastic.there)) == (12, 0, 12)
    assert [d.at.offset for d in world.elastic.there.values()] == list(range(12))


def test_pauses_grow_to_a_bound_and_are_over_after_a_success(world: World) -> None:
    world.elastic.away = True
    world.turn(upto=1)
    pauses = []
    for _ in range(8):
        pauses.append(world.ship._pause_s)
        world.later()
        world.turn()
    assert pauses == sorted(pauses)
    assert pauses[-1] == module.PAUSE_S_MAX
    world.elastic.away = False
    world.later()
    world.turn()
    assert world.ship._pause_s == 0.0


def test_a_full_spool_pauses_kafka_and_nothing_is_skipped(tmp_path: Path, world: World) -> None:
    small = World(tmp_path / "small", cap=1 << 12)
    small.elastic.away = True
    for upto in range(50, 5001, 50):
        small.turn(upto=upto)
        assert small.ship._spool.bytes <= 1 << 12
    assert small.ship.paused() == {LABELS, DEAD}
    held = small.offset
    assert 0 < held < 5000
    assert small.consumer.positions[LABELS] == held
    small.elastic.away = False
    for _ in range(60):
        small.later()
        small.turn(upto=5000)
    assert small.ship.paused() == set()
    assert sorted(d.at.offset for d in small.elastic.there.values()) == list(range(5000))
    assert small.offset == 5000


def test_once_a_batch_found_no_room_a_smaller_one_after_it_is_not_kept_either(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BULK_DOCUMENTS", 2)
    small = World(tmp_path / "small", cap=1 << 12)
    small.elastic.away = True
    small.turn(upto=1)
    large = [Record(LABELS.topic, 0, i, 1_000, os.urandom(9_000 if i < 3 else 1), label(i)) for i in range(1, 6)]
    small.consumer.positions[LABELS] = 6
    small.ship.feed({LABELS: records_of(LABELS.topic, 0, large)}, 0.0)
    small.commit()
    assert (small.offset, small.consumer.positions[LABELS]) == (1, 1)


def test_what_came_while_the_spool_was_delivered_waits_for_its_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_S", -1.0)  # one request a turn
    monkeypatch.setattr(module, "BULK_DOCUMENTS", 3)
    world.elastic.away = True
    for upto in (2, 4, 6):
        world.turn(upto=upto)
    world.elastic.away = False
    world.later()
    for upto in (8, 10, *[10] * 8):
        world.turn(upto=upto)
    assert [d.at.offset for d in world.elastic.there.values()] == list(range(10))
    assert world.ship.waiting == 0


def test_a_spool_too_small_for_anything_only_slows_down(
    tmp_path: Path, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Spool, "put", lambda *_: False)
    world.elastic.away = True
    world.turn(upto=5)
    assert (world.offset, world.ship.paused()) == (0, {LABELS, DEAD})
    world.elastic.away = False
    world.later()
    world.turn()
    world.turn(upto=5)
    assert (world.offset, len(world.elastic.there)) == (5, 5)


def test_what_may_have_been_sent_is_looked_for_before_it_is_sent_again(world: World) -> None:
    world.elastic.deaf = True
    world.turn(upto=5)
    world.elastic.deaf = False
    world.later()
    world.turn(upto=8)
    assert world.elastic.doubtful[:2] == [False, True]
    assert (len(world.elastic.there), world.elastic.twice) == (8, [])


def test_given_back_after_a_lost_answer_it_is_looked_for_too(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(module.Spool, "put", lambda *_: False)
        world.elastic.deaf = True
        world.turn(upto=5)
    world.elastic.deaf = False
    world.later()
    world.turn()
    world.turn(upto=5)
    assert (world.offset, world.elastic.twice) == (5, [])


def test_a_new_process_looks_for_what_a_former_one_may_have_sent_and_no_further(world: World) -> None:
    world.feed(upto=5)  # killed before its commit
    world.sent = {"flights.labels": {0: 4}}
    world.start()
    world.turn(upto=5)
    world.turn(upto=9)
    assert world.elastic.doubtful == [False, True, False]
    assert (len(world.elastic.there), world.elastic.twice, world.offset) == (9, [], 9)


def test_where_it_is_not_known_what_was_sent_all_is_looked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*_: Any) -> None:
        raise module.TransportError("refused")

    monkeypatch.setattr(module, "highest", gone)
    world.start()
    world.turn(upto=5)
    assert world.elastic.doubtful == [True]


def test_a_new_process_delivers_the_spool_of_the_one_before_first(world: World) -> None:
    world.elastic.away = True
    world.turn(upto=5)
    world.elastic.away = False
    world.start()
    world.turn(upto=7)
    assert [d.at.offset for d in world.elastic.there.values()] == list(range(7))
    assert (world.offset, world.ship.waiting) == (7, 0)


def test_spooled_batches_travel_together_up_to_the_size_of_a_request(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.elastic.away = True
    for upto in range(2, 21, 2):
        world.turn(upto=upto)
    world.elastic.away = False
    asked = len(world.elastic.doubtful)
    monkeypatch.setattr(module, "BULK_DOCUMENTS", 8)
    world.later()
    world.turn()
    assert world.elastic.doubtful[asked:] == [True, True, True]  # of 8, 8 and 4
    assert [d.at.offset for d in world.elastic.there.values()] == list(range(20))
    assert (world.ship.waiting, list((world.settings.data / "flights" / "spool").iterdir())) == (0, [])


def test_what_waits_is_told_while_it_waits_and_once_more_when_it_is_delivered(world: World) -> None:
    world.turn(upto=5)
    assert world.told == []  # else each would beget the next
    world.elastic.away = True
    world.turn(upto=6)
    world.turn(upto=7)
    world.later()
    world.turn(upto=8)
    kept = [(t["kind"], t["values"]["spool_batches"], t["values"]["delivered"]) for t in world.told]
    assert kept == [("ship", 1.0, 5.0), ("ship", 3.0, 5.0)]
    size = sum(p.stat().st_size for p in (world.settings.data / "flights" / "spool").iterdir())
    assert world.told[-1]["values"]["spool_bytes"] == size
    world.elastic.away = False
    world.later()
    for upto in (9, 10, 11):
        world.turn(upto=upto)
        world.later()
    assert [t["values"] for t in world.told[2:]] == [
        {"spool_batches": 0.0, "spool_bytes": 0.0, "spool_full": 0.0, "delivered": 8.0, "refused": 0.0}
    ]
    assert len(world.elastic.there) == 11


def test_the_last_batch_stays_on_disk_until_it_is_committed_that_it_is_delivered(world: World) -> None:
    world.elastic.away = True
    world.turn(upto=3)
    world.elastic.away = False
    world.later()
    world.feed(upto=5)
    assert (len(world.elastic.there), world.ship.waiting) == (5, 1)
    marks = [json.loads(m.metadata) for m in world.ship.marks().values()]
    assert marks[0] == {"spool": 1, "spool_batches": 0, "spool_bytes": 0}
    world.commit()
    assert (world.offset, world.ship.waiting) == (5, 0)


# -- refused ---------------------------------------------------------------------------------------------


def test_a_refused_document_and_an_unreadable_record_go_to_dead_with_the_reason(world: World) -> None:
    world.elastic.hated = {2}
    world.turn(upto=5, bad=[3])
    found = {d["offset"]: (d["topic"], d["step"], d["code"]) for d in world.dead}
    assert found == {
        2: ("flights.labels", "ship", "ship.refused"),
        3: ("flights.labels", "ship", "ship.unreadable"),
    }
    assert "it is ugly" in next(d["detail"] for d in world.dead if d["offset"] == 2)
    assert (world.offset, len(world.elastic.there)) == (5, 3)


def test_a_dead_letter_that_is_refused_makes_no_new_one(world: World) -> None:
    world.elastic.hated = {0, 1}
    world.turn(topic=DEAD, upto=3, bad=[2])
    assert world.dead == []
    mark = world.committed[DEAD]
    assert mark is not None
    assert mark.offset == 3


def test_dead_letters_out_of_the_spool_are_committed_once_whenever_it_is_killed(world: World) -> None:
    world.elastic.away, world.elastic.hated = True, {1}
    world.turn(upto=3)
    world.elastic.away = False
    world.later()
    world.feed()  # delivered; killed before the commit
    world.start()
    world.later()
    world.feed()
    outs, marks = world.ship.take(), world.ship.marks()
    world.committed.update(marks or {})
    world.start()  # committed; killed before the batch was taken off the disk
    world.later()
    world.turn()
    assert [o.topic for o in outs] == ["flights.dead", "flights.metrics"]
    assert (world.dead, len(world.told), world.ship.waiting) == ([], 1, 0)


def test_a_number_of_the_spool_that_was_committed_is_not_given_again(world: World) -> None:
    world.elastic.away, world.elastic.hated = True, {1}
    world.turn(upto=3)
    world.elastic.away = False
    world.later()
    world.turn()
    assert (len(world.dead), world.ship.waiting) == (1, 0)
    world.start()
    world.elastic.away = True
    world.turn(upto=6)
    world.elastic.away = False
    world.later()
    world.turn()
    assert {d.at.offset for d in world.elastic.there.values()} == {0, 2, 3, 4, 5}


def test_an_unknown_topic_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found models; allowed: predictions, labels"):
        Ship(SPEC, Settings(data=tmp_path), ("models",))
