"""While a commit is under way the next records are worked through: killed at any moment of that, nothing changes.

Commits overlap only where there is a backlog, so here a backlog of few records is made to count as one.
"""

import signal

import pytest
from _harness import FUSED, Run, finish, make_plan, quiet_run

pytestmark = [pytest.mark.broker, pytest.mark.slow]
KILLED = -signal.SIGKILL
OVERLAP = """
import os, time
import consumers._checkpoint as c, consumers._kafka as k, consumers._loop as l
from pathlib import Path
l.BACKLOG_ROWS, l.BACKLOG_LINGER, k.BATCHED_POLL_RECORDS = 1, 0, 40
commit, feed = c.commit, l.Loop._feed
def slow(*parts):
    time.sleep(0.05)  # as a busy broker is
    return commit(*parts)
def noted(self, batch):
    feed(self, batch)
    if batch and self._under_way is not None and not self._under_way.result.done():
        (Path(os.environ["OVERLAPPED"]) / "overlapped").touch()
c.commit, l.Loop._feed = slow, noted
"""
POINTS = [
    ["commit.begun:3", "commit.sent:2", "commit.before_offsets:3", "commit.before_commit:2", "commit.after_commit:2"],
    ["learn.mid_update:3", "learn.after_update:2", "snapshot.rename:1", "learn.mid_update:1"],
]


@pytest.mark.parametrize("points", POINTS, ids=["in-commits", "in-learning"])
def test_kills_while_commits_overlap_change_nothing(kafka_address: str, points: list[str]) -> None:
    quiet = quiet_run(kafka_address)
    with Run(kafka_address, make_plan(), FUSED, {"clean+encode+join+learn": points}, patch=OVERLAP) as run:
        run.env["OVERLAPPED"] = str(run.folder)
        while run.published < len(run.plan.waves):
            run.wave()  # all at once: a backlog
        finish(run.start(), quiet)
        assert run.workers[0].exits == [KILLED] * len(points)
        assert (run.folder / "overlapped").exists()
