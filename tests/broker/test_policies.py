"""Training policies and corrected labels in real processes: fused and quiet, or split and killed, the same model."""

import signal

import pytest
from _harness import FUSED, SPLIT, Layout, Result, Run, make_plan

from consumers._read import read_topic
from stream.block import decode_training

pytestmark = [pytest.mark.broker, pytest.mark.slow]
POLICY = {
    "experiment": {"name": "e", "training": "own", "unit": "shop"},
    "label": {"window": "30000ms", "orphan_wait": "400ms", "timeout": "negative", "corrections": "learn"},
}


def _play(address: str, name: str, layout: Layout, kill: bool) -> tuple[Result, int]:
    """What came of the plan, and how many rows of the training log are corrections."""
    with Run(address, make_plan(events=400, waves=3), layout, name=name, spec=POLICY) as run:
        run.start()
        if kill:
            run.feed(until=2)
            for step in ("join", "learn"):
                run.worker(step).signal(signal.SIGKILL)
            run.await_restart()
        result = run.feed().drain().stop().result()
        rows = [decode_training(r.value) for r in read_topic(run.loaded, run.settings, "training")]
        assert all(one == other for one, other in result.counts.sums().values()), result.counts.sums()
        return result, sum(int(t.correction.sum()) for t in rows if t.correction is not None)


def test_own_rows_and_corrections_make_one_model_however_it_runs(kafka_address: str, prefix: str) -> None:
    quiet, corrections = _play(kafka_address, f"{prefix}same", FUSED, kill=False)
    killed, again = _play(kafka_address, f"{prefix}killed", SPLIT, kill=True)
    assert quiet.counts.corrected == corrections == again > 5
    assert quiet.counts.timed_out > 5
    assert killed.hash == quiet.hash is not None
    assert killed.rows == quiet.rows
    assert killed.counts == quiet.counts
