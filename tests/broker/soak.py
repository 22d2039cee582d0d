"""The long form of test_kill.py: `python -m tests.broker.soak --seeds 20`, from the repository's root.

For each seed the fused process and the four single ones are killed at random moments; prints a table, and leaves with
1 if a run lost, repeated or changed anything. Its broker is that of HEADWATER_KAFKA, or one of its own.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence

with warnings.catch_warnings():  # kafka-python reads its schemas in a deprecated way when it is imported
    warnings.simplefilter("ignore", DeprecationWarning)
    import kafka  # noqa: F401

from infra.kafka import find_broker
from tests.broker._harness import FUSED, SPLIT, Killed, kill_run, make_plan, quiet_run

ROW = "{:>4}  {:<6}  {:>5}  {:<58}  {:<5}  {:>7}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run all seeds; 1 if any run violated an invariant."""
    parser = argparse.ArgumentParser(prog="python -m tests.broker.soak", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="how many (default: 20)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default: 1)")
    chosen = parser.parse_args(argv)
    found: list[Killed] = []
    with find_broker() as address:
        quiet, plan = quiet_run(address), make_plan()
        print(ROW.format("seed", "layout", "kills", "victims", "equal", "seconds"), flush=True)
        for seed in range(chosen.first, chosen.first + chosen.seeds):
            for name, layout in (("fused", FUSED), ("split", SPLIT)):
                run = kill_run(address, seed, layout, quiet, plan)
                victims = ", ".join(f"{steps} ×{n}" for steps, n in sorted(run.kills.items()))
                equal = "NO" if run.violations else "yes"
                print(ROW.format(seed, name, run.kills.total(), victims, equal, f"{run.seconds:.1f}"), flush=True)
                for line in run.violations:
                    print(f"      {line}", flush=True)
                found.append(run)
    bad, kills = sum(bool(run.violations) for run in found), sum(run.kills.total() for run in found)
    print(f"{len(found)} runs, {kills} kills, {bad} with a violation")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
