"""kill -9 of any process, several times, at random moments: nothing is lost, and the state is the quiet run's.

`python -m tests.broker.soak --seeds 20` does the same for longer.
"""

import pytest
from _harness import FUSED, HALVES, SPLIT, Layout, kill_run, make_plan, quiet_run

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.mark.parametrize(
    ("seed", "layout"),
    [(8, FUSED), (10, SPLIT), (6, HALVES), (19, SPLIT)],
    ids=["8-fused", "10-split", "6-halves", "19-split"],
)
def test_random_kills_change_nothing(kafka_address: str, seed: int, layout: Layout) -> None:
    found = kill_run(kafka_address, seed, layout, quiet_run(kafka_address), make_plan())
    assert found.kills, f"seed {seed} kills nobody; choose another"
    assert not found.violations, f"seed {seed}: {found}"
