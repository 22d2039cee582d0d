"""The fault matrix of docs/decisions/kafka-loop.md, one test a row, with real processes on a real broker.

L: every input position exactly once in output ∪ dead. M: the quiet run's state hash. H: within 30 s of the fault
clearing, offsets advance or the process has exited non-zero. Rows 22 and 23 are in test_evolution.py; random kills
in test_kill.py; and the last two tests here take a safeguard away and show that its row fails then.
"""

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from _harness import (
    FUSED,
    HALVES,
    NO_FUTURE_CHECK,
    NO_WATCHDOG,
    Result,
    Run,
    finish,
    make_plan,
    quiet_run,
    topic_partition,
    wait_for,
)

from consumers._kafka import TopicPartition, end_offsets, group_offsets, make_admin
from consumers._read import read_topic
from infra.kafka import LocalBroker

pytestmark = [pytest.mark.broker, pytest.mark.slow]
KILLED = -signal.SIGKILL
CLEAN = (("clean",),)


@pytest.fixture(scope="module")
def quiet(kafka_address: str) -> Result:
    """The same input without any fault."""
    return quiet_run(kafka_address)


@pytest.fixture(scope="module")
def pure(kafka_address: str) -> Result:
    """The same input without any dirt."""
    return quiet_run(kafka_address, dirt=False)


# -- killed processes -------------------------------------------------------------------------------------


def test_row_1_clean_killed_between_send_and_commit(kafka_address: str, prefix: str) -> None:
    crashes = {"clean": ["commit.before_commit:1", "commit.before_offsets:1"]}
    with Run(kafka_address, make_plan(), CLEAN, crashes, name=f"{prefix}row1") as run:
        finish(run.start())
        assert run.worker("clean").exits == [KILLED] * 2


def test_row_2_encode_killed_after_commit_before_return(kafka_address: str, prefix: str) -> None:
    crashes = {"encode": ["commit.after_commit:1", "commit.after_commit:2"]}
    with Run(kafka_address, make_plan(), (("clean",), ("encode",)), crashes, name=f"{prefix}row2") as run:
        finish(run.start_in_turn(), last="encode")
        assert run.worker("encode").exits == [KILLED, KILLED]


def test_row_3_learn_killed_in_the_middle_of_an_update(kafka_address: str, prefix: str, quiet: Result) -> None:
    crashes = {"clean+encode+join+learn": ["learn.mid_update:2", "learn.after_update:2", "learn.mid_update:1"]}
    with Run(kafka_address, make_plan(), FUSED, crashes, name=f"{prefix}row3") as run:
        finish(run.start(), quiet)
        assert run.workers[0].exits == [KILLED] * 3


def test_row_3_learn_in_a_process_of_its_own(kafka_address: str, prefix: str, quiet: Result) -> None:
    layout = (("clean", "encode", "join"), ("learn",))
    crashes = {"learn": ["learn.mid_update:2", "learn.after_update:1", "commit.before_commit:2"]}
    with Run(kafka_address, make_plan(), layout, crashes, name=f"{prefix}row3s") as run:
        finish(run.start_in_turn(), quiet, last="learn")
        assert run.worker("learn").exits == [KILLED] * 3


SNAPSHOT_CALLS = [
    "mkdir", "open logistic.npz", "fsync logistic.npz", "open tree.npz", "fsync tree.npz", "open manifest.json",
    "fsync manifest.json", "fsync folder", "rename", "remove",
]  # fmt: skip
LEARNER = """
import json, os, sys
from pathlib import Path
from consumers import _crash
from consumers.learn import LearnStep
from consumers.settings import Settings
from stream.block import decode_training
from stream.clock import FakeClock
from stream.learn.warm import warm
from stream.spec_load import load_spec

spec = load_spec(sys.argv[1])
blocks = [decode_training(p.read_bytes()) for p in sorted(Path(sys.argv[2]).glob("*.block"))]
warm(spec)

def learn(data, point):
    _crash._wanted, _crash._left = point
    step = LearnStep(spec, Settings(data=data), FakeClock())
    assert step.begin() == []
    for offset in range(step.next_offset, len(blocks)):
        step.learn(blocks[offset], offset)
        step.maybe_snapshot(False, force=True)
    print(json.dumps([point[0], step.state_hash()]), flush=True)

for number, point in enumerate(json.loads(sys.argv[3])):
    for wanted in (point, ["", 0]):  # killed there, then once more without a fault
        child = os.fork()
        if child == 0:
            learn(Path(sys.argv[2]) / str(number), wanted)
            os._exit(0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert code == (-9 if wanted[0] else 0), (point, wanted, code)
"""


def test_row_4_learn_killed_while_it_writes_a_snapshot(
    kafka_address: str, prefix: str, quiet: Result, tmp_path: Path
) -> None:
    """In the running pipeline; then, over the same rows, at each call of each of some snapshots."""
    crashes = {"clean+encode+join+learn": ["snapshot.open manifest.json:1", "snapshot.rename:2", "snapshot.remove:1"]}
    often = {"snapshot": {"every": "20ms", "keep": 2}}
    points = [(f"snapshot.{call}", nth) for call in SNAPSHOT_CALLS for nth in (1, 5)]
    points += [("snapshot.fsync folder", nth) for nth in (2, 3, 4)]
    with Run(kafka_address, make_plan(waves=16), FUSED, crashes, name=f"{prefix}row4", spec=often) as run:
        finish(run.start(), quiet)
        assert run.workers[0].exits == [KILLED] * 3
        for i, record in enumerate(read_topic(run.loaded, run.settings, "training")):
            (tmp_path / f"{i:05d}.block").write_bytes(record.value)
        line = [sys.executable, "-c", LEARNER, str(run.spec_path), str(tmp_path), json.dumps(points)]
        done = subprocess.run(line, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = [json.loads(said) for said in done.stdout.splitlines()]
    assert told == [["", quiet.hash]] * len(points)


def test_row_5_join_killed(kafka_address: str, prefix: str, quiet: Result) -> None:
    points = ["commit.before_commit:1", "commit.after_commit:1", "commit.before_offsets:2"]
    with Run(kafka_address, make_plan(), HALVES, {"join+learn": points}, name=f"{prefix}row5") as run:
        finish(run.start_in_turn(), quiet, last="join")
        assert run.worker("join").exits == [KILLED] * 3


# -- broker faults ----------------------------------------------------------------------------------------


def test_row_7_broker_killed_five_times_in_a_transaction(fresh_broker: LocalBroker, quiet: Result) -> None:
    crashes = {"clean+encode+join+learn": ["commit.before_commit:1:stop"] * 30}
    with Run(fresh_broker.address, make_plan(), FUSED, crashes, {"HEADWATER_COMMIT_TIMEOUT_S": "5"}) as run:
        worker = run.start().workers[0]
        for _ in range(5):
            run.wave()
            wait_for(lambda: run.supervise() or worker.stopped_anew(), 120, "a transaction is open")
            before = run.commits()
            fresh_broker.kill()
            worker.go_on()
            fresh_broker.restart()
            run.answers(before)
        finish(run, quiet)


@dataclass(frozen=True)
class Outcome:
    """What came of a fault: when and how the process ended (None: it did not), and what was violated later."""

    code: int | None
    violations: list[str]


def broker_dies_at_commit(broker: LocalBroker, patch: str = "") -> Outcome:
    """Row 8. The broker stays dead for longer than a commit may take."""
    commit_s, more_s = 2.0, 5.0
    env = {"HEADWATER_COMMIT_TIMEOUT_S": str(commit_s)}
    crashes = {"clean": ["commit.before_commit:1:stop"]}
    with Run(broker.address, make_plan(events=300, waves=3), CLEAN, crashes, env, patch) as run:
        worker = run.start().worker("clean")
        run.wave()
        worker.step_to("commit.before_commit")
        broker.kill()
        worker.go_on()
        until = time.monotonic() + commit_s + more_s
        while worker.exited() is None and time.monotonic() < until:
            time.sleep(0.05)
        code = worker.exited()
        worker.end()
        broker.restart()
        run.feed().drain().stop()
        return Outcome(code, run.result().violations(run.plan))


def test_row_8_broker_killed_exactly_at_commit(fresh_broker: LocalBroker) -> None:
    assert broker_dies_at_commit(fresh_broker) == Outcome(75, [])


# Once the test says `armed`, the sender thread holds back the records of the next large commit until `go`, when they
# all belong to its transaction; the main thread comes to `flush` once the fault is `over`. In between lie the delivery
# time-out and whatever the test does.
HOLD_SENDER = """
import os, pathlib, time
import consumers._checkpoint as c
from kafka.producer.sender import Sender
folder = pathlib.Path(os.environ["HOLD"])
drain, commit, state = Sender._send_producer_data, c.commit, {"held": False, "sent": False}
def there(name):
    return (folder / name).exists()
def held(self, now=None):
    if not state["held"]:
        return drain(self)
    if there("go"):
        try:
            return drain(self)
        finally:
            if not self._accumulator.has_incomplete:
                (folder / "expired").touch()
    if state["sent"]:
        (folder / "holding").touch()
    return 10
def point(name):
    if name == "commit.sent" and state["held"]:
        state["sent"] = True
        while not there("over"):
            time.sleep(0.01)
def large(producer, consumer, outs, *rest):
    state["held"] = len(outs) > 20 and there("armed") and not there("go")
    return commit(producer, consumer, outs, *rest)
Sender._send_producer_data, c.crash_point, c.commit = held, point, large
"""


def broker_away_too_long(broker: LocalBroker, clear: Callable[[LocalBroker], None], patch: str = "") -> Outcome:
    """Row 9. The broker is paused when records are about to be sent, and back when they have timed out."""
    env = {"HEADWATER_DELIVERY_TIMEOUT_MS": "2000", "HEADWATER_COMMIT_TIMEOUT_S": "60"}
    with Run(broker.address, make_plan(events=300, waves=3), CLEAN, {}, env, HOLD_SENDER + patch) as run:
        run.env["HOLD"] = str(run.folder)
        worker = run.start().worker("clean")
        run.wave()
        wait_for(run.commits, 120, "a first commit")
        (run.folder / "armed").touch()
        run.wave()
        wait_for((run.folder / "holding").exists, 60, "a commit is about to be sent")
        before = run.commits()
        broker.pause()
        (run.folder / "go").touch()
        wait_for((run.folder / "expired").exists, 60, "the records have timed out")
        clear(broker)
        (run.folder / "over").touch()
        run.answers(before)
        code = worker.exited()
        run.feed().drain().stop()
        return Outcome(code, run.result().violations(run.plan))


def resumes(broker: LocalBroker) -> None:
    """The pause ends."""
    broker.resume()


def dies(broker: LocalBroker) -> None:
    """The pause ends in a crash, and with it goes what lay unread in the broker's sockets."""
    broker.kill()
    broker.restart()


@pytest.mark.parametrize("clear", [resumes, dies])
def test_row_9_broker_paused_longer_than_the_delivery_time_out(
    fresh_broker: LocalBroker, clear: Callable[[LocalBroker], None]
) -> None:
    assert broker_away_too_long(fresh_broker, clear) == Outcome(5, [])


# -- offsets ----------------------------------------------------------------------------------------------


def test_row_16_offset_out_of_range_while_running_and_at_start(kafka_address: str, prefix: str) -> None:
    with Run(kafka_address, make_plan(events=600, waves=4), CLEAN, name=f"{prefix}row16") as run:
        worker = run.start().worker("clean")
        run.feed(until=2).drain()
        worker.signal(signal.SIGSTOP)
        time.sleep(0.5)  # a fetch may be under way, and must come back empty
        run.wave()
        lost = topic_partition(run, "events", 0)
        needed, end = group_offsets(run.settings, f"{run.name}.clean")[lost].offset, delete_all(run, lost)
        assert needed < end
        worker.signal(signal.SIGCONT)
        for _ in ("while running", "at start"):
            assert wait_for(worker.exited, 120, "clean to end") == 7
            refused(worker.said(), lost, needed, end)
            assert group_offsets(run.settings, f"{run.name}.clean")[lost].offset == needed
            worker.start()


def test_row_16_training_log_cut_off_before_the_learner(kafka_address: str, prefix: str) -> None:
    """The learner's position is in its snapshot, not in a group."""
    crashes = {"clean+encode+join+learn": ["learn.mid_update:3"]}
    with Run(kafka_address, make_plan(events=600, waves=4), FUSED, crashes, name=f"{prefix}row16l") as run:
        worker = run.start().workers[0]
        for _ in range(4):
            run.wave()
            wait_for(lambda: worker.exited() is not None or run.lag() == 0, 120, "the wave to be learned, or the crash")
        assert worker.exited() == KILLED
        lost = topic_partition(run, "training")
        snapshots = sorted((run.settings.data / run.name / "snapshots").glob("[0-9]*/manifest.json"))
        needed = json.loads(snapshots[-1].read_text())["training_offset"] if snapshots else 0
        end = delete_all(run, lost)
        worker.start()
        assert wait_for(worker.exited, 120, "learn to end") == 7
        refused(worker.said(), lost, needed, end)


def delete_all(run: Run, partition: TopicPartition) -> int:
    """What retention does, at once: nothing is left of the partition. Gives its end."""
    end = end_offsets(run.settings, [partition])[partition]
    admin = make_admin(run.settings)
    try:
        admin.delete_records({partition: end})
    finally:
        admin.close()
    return end


def refused(said: str, partition: TopicPartition, needed: int, end: int) -> None:
    """The last line names the place, what is needed and what is there."""
    last = said.splitlines()[-1]
    assert last.startswith("headwater: ")
    assert f"{partition.topic} partition {partition.partition}" in last
    assert f"offset {needed} is needed" in last
    assert f"{end} to {end}" in last


# -- bad input --------------------------------------------------------------------------------------------


def test_row_17_duplicate_events_update_once(quiet: Result, pure: Result) -> None:
    events = [m for messages in make_plan().messages("events") for m in messages if m.code is None]
    again = len(events) - len({m.id for m in events})
    assert again > 30
    assert quiet.counts.duplicate_events == again
    assert quiet.counts.duplicate_labels == sum(c == "label.duplicate" for *_, c in quiet.dead.elements()) > 30
    assert len({name for name, *_ in quiet.rows}) == len(quiet.rows)
    assert quiet.hash == pure.hash


def test_row_18_late_and_unordered_labels(quiet: Result, pure: Result) -> None:
    """Within the window: joined once, in the order of their topic. Outside: counted, and in `dead`."""
    plan = make_plan()
    assert quiet.rows == plan.rows()
    assert [name for name, *_ in quiet.rows] != sorted((name for name, *_ in quiet.rows), key=lambda n: int(n[1:]))
    assert quiet.counts.late == sum(code == "label.late" for *_, code in plan.dead().elements()) > 30
    assert quiet.counts.orphaned == sum(code == "label.orphaned" for *_, code in plan.dead().elements()) > 5
    assert quiet.counts.timed_out > 100
    assert not quiet.violations(plan)
    assert quiet.hash == pure.hash


def test_row_20_not_a_number_infinite_and_huge(quiet: Result, pure: Result) -> None:
    """In `dead` with a reason, and the models never hear of it."""
    codes = Counter(code for *_, code in quiet.dead.elements())
    assert codes["value.not_finite"] > 10
    assert codes["value.too_large_number"] > 5
    assert not quiet.violations(make_plan())
    assert not pure.violations(make_plan(dirt=False))
    assert quiet.hash == pure.hash
    assert [row[:2] for row in quiet.rows] == [row[:2] for row in pure.rows]


def test_row_21_undecodable_and_trailing_bytes(quiet: Result) -> None:
    """Each lies in `dead` at its own position, and the record behind it was processed."""
    plan = make_plan()
    events, unread = plan.messages("events"), {"avro.undecodable", "avro.trailing", "framing.unknown", "value.empty"}
    met = {code for *_, code in quiet.dead.elements()} & unread
    assert met == unread
    wanted, learned = plan.rows(), set(quiet.sources)
    labelled = {name for name, *_ in wanted}
    behind = [
        (p, offset + 1)
        for topic, p, offset, code in quiet.dead.elements()
        if topic == "events" and code in unread and events[p][offset + 1].id in labelled
    ]
    assert len(behind) > 10
    assert learned.issuperset(behind)


# -- checks of the checks ---------------------------------------------------------------------------------


def test_without_the_watchdog_row_8_fails(fresh_broker: LocalBroker) -> None:
    """kafka-python waits for a dead broker for as long as it takes."""
    assert broker_dies_at_commit(fresh_broker, NO_WATCHDOG).code is None


def test_without_the_future_check_row_9_fails(fresh_broker: LocalBroker) -> None:
    """The commit reports success, although not one record of it was taken."""
    found = broker_away_too_long(fresh_broker, dies, NO_FUTURE_CHECK)
    assert found.code is None
    assert any("lost" in line for line in found.violations), found
