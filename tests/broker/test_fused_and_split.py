"""However the steps are cut into processes, the same rows are learned in the same order, to the same bit."""

import time

import pytest
from _harness import FUSED, HALVES, SPLIT, Layout, Result, Run, finish, make_plan, quiet_run, wait_for

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture(scope="module")
def fused(kafka_address: str) -> Result:
    """What the fused process made of the input."""
    return quiet_run(kafka_address)


@pytest.mark.parametrize("layout", [HALVES, SPLIT], ids=["halves", "split"])
def test_processes_learn_what_one_process_learns(
    kafka_address: str, prefix: str, fused: Result, layout: Layout
) -> None:
    with Run(kafka_address, make_plan(), layout, name=f"{prefix}cut") as run:
        result = finish(run.start(), fused)
    assert result.rows == fused.rows
    assert result.sources == fused.sources
    assert result.dead == fused.dead
    assert result.counts == fused.counts
    assert result.hash == fused.hash


@pytest.mark.parametrize("late", ["clean", "encode"])
def test_a_step_that_starts_late_makes_no_orphans(kafka_address: str, prefix: str, fused: Result, late: str) -> None:
    """Patience with labels must not run out while events wait before a step that does not run yet."""
    with Run(kafka_address, make_plan(), SPLIT, name=f"{prefix}late") as run:
        for worker in run.workers:
            if late not in worker.steps:
                worker.start()
        while run.published < len(run.plan.waves):
            run.wave()
        join = run.worker("join")
        wait_for(join.commits, 120, "the join has read all labels")
        time.sleep(3 * run.loaded.label.orphan_wait / 1000)  # only so that a join without the check would fail here
        run.worker(late).start()
        finish(run, fused)
    assert join.exits == []


def test_another_cut_is_refused_in_one_line(kafka_address: str, prefix: str) -> None:
    """Positions in `events` mean nothing to a join that reads `features`."""
    with Run(kafka_address, make_plan(events=24, waves=1), FUSED, name=f"{prefix}recut") as run:
        before = finish(run.start())
        run.recut(HALVES)
        other = run.worker("join")
        other.start()
        assert wait_for(lambda: other.exited(), 120, "the other cut to be refused") == 1
        said = [line for line in other.said().splitlines() if not line.startswith("{")]
        assert len(said) == 1, said
        assert said[0].startswith("headwater: group ")
        assert run.loaded.topic("events") in said[0]
        assert run.loaded.topic("features") in said[0]
        run.recut(FUSED)
        assert run.result() == before
