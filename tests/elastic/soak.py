"""The long form: python -m tests.elastic.soak [--only NAME…] [--short] [--first | --mixed]

On a broker and an Elasticsearch of its own, one after the other:

    replay   all again from offset 0 after a rollover, poison among it
    kills    kill -9 of the shipper at 20 random moments, a rollover after every second one
    elastic  kill -9 of Elasticsearch in the middle of a backlog, 5 times
    full     Elasticsearch away until the spool has no room left
    away     Elasticsearch away for ten minutes, while a prediction server answers at a steady rate
    turns    the same, but only the way to Elasticsearch is shut, again and again, so that noise can be told from effect

After each, what is on Kafka and what is in Elasticsearch are compared, document by document; the exit code is 1 when
they differ, when a call fails, or when the spool is larger than it may be. `away` and `turns` tell how long answers
took with Elasticsearch up, away and coming back; look at the noise between equal pieces of time first. The server and
its asker have a core of their own, as if the rest ran on another machine, and with `--first` they go before whatever
else this one does. With `--mixed` all share all cores, and then the largest difference is what Elasticsearch takes.
Short: the same in some minutes.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from elasticsearch import Elasticsearch

from infra.elastic import USER, Found, LocalElastic
from infra.kafka import LocalBroker
from tests.elastic import _faults as faults
from tests.elastic._harness import Pipeline
from tests.elastic.conftest import write_key

PIECE_S = 15.0
SPOOL_BYTES_MAX, SMALL_SPOOL = 256 << 20, 150_000


class Soak:
    """One run: its servers, what was asked for, and whether all was well."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.chance = given, random.Random(given.seed)
        self.bad, self.core = 0, None if given.mixed else min(os.sched_getaffinity(0))

    @contextmanager
    def pipeline(self, name: str, spool: int = SPOOL_BYTES_MAX) -> Iterator[Pipeline]:
        """A new one; at its end both sides are compared, and told by topic."""
        begun = time.monotonic()
        with Pipeline(self.broker.address, self.found, self.client, self.key, self.folder) as made:
            made.settings = made.settings.model_copy(update={"ship_spool_bytes_max": spool})
            yield made
            wrong = made.lacks()
            self.bad += bool(wrong)
            sums = "; ".join(f"{t} {r:,} = {d:,} + {x}" for t, (r, d, x) in made.sums().items())
            print(f"{name}: {time.monotonic() - begun:.0f} s: {wrong or 'equal'}", flush=True)
            print(f"  on Kafka = documents + refused: {sums}", flush=True)
            if made.process is not None:
                made.stop()

    def replay(self) -> None:
        """See the module."""
        with self.pipeline("replay from offset 0") as made:
            faults.replay_run(made, 1_600 if self.given.short else 20_000)

    def kills(self) -> None:
        """See the module."""
        count = 3 if self.given.short else self.given.kills
        with self.pipeline(f"{count} kills of the shipper") as made:
            faults.kill_run(made, count, self.chance)

    def elastic(self) -> None:
        """See the module."""
        count = 1 if self.given.short else 5
        with self.pipeline(f"{count} kills of Elasticsearch in the middle") as made:
            made.start()
            faults.elastic_kill_run(made, self.server, count, self.chance)

    def full(self) -> None:
        """See the module."""
        with self.pipeline("a full spool", SMALL_SPOOL) as made:
            made.publish(1000, 20)
            made.start().drain()
            self.server.kill()
            made.poison()
            faults.fill_spool(made)
            self.server.restart()
            made.drain()

    def away(self) -> None:
        """See the module."""
        given = self.given
        up_s, away_s = (10.0, 30.0) if given.short else (given.up, given.away)
        with self.pipeline(f"away for {away_s:g} s") as made:
            made.start()
            found = faults.away_run(made, self.server, given.rate, up_s, away_s, core=self.core, first=given.first)
        self._tell(found, given.rate)

    def turns(self) -> None:
        """See the module."""
        given = self.given
        window_s, turns = (5.0, 2) if given.short else (given.window, given.turns)
        with self.pipeline(f"the way to Elasticsearch shut {turns} times, {window_s:g} s each") as made:
            found = faults.turns_run(made, given.rate, window_s, turns, self.core, given.first)
        self._tell(found, given.rate)
        for share in (0.5, 0.99):
            up, away = (found.took_ms(share, windows, window_s) for windows in (found.up, found.away))
            moved = [100 * (2 * b / (a + c) - 1) for a, b, c in zip(up, away, up[1:], strict=False)]
            equal = [100 * (b / a - 1) for a, b in pairwise(up)]
            print(
                f"  p{100 * share:g} away against both neighbours, %: {_spread(moved)}; up against up: {_spread(equal)}"
            )

    def _tell(self, found: faults.Away, rate: float) -> None:
        answers = found.answers
        assert answers is not None
        failed, answered = int((~answers.answered).sum()), int(answers.answered.sum())
        self.bad += not found.all_well() or found.spool_bytes > SPOOL_BYTES_MAX
        asked = f"{answered:,} answers at {rate:g} a second, {failed} failed"
        print(f"  {asked}; {len(found.logged):,} of them on Kafka, {len(set(found.logged)):,} different ones")
        spool = f"largest spool {found.spool_bytes / 1e6:.1f} of {SPOOL_BYTES_MAX / 1e6:.0f} MB"
        back = ", ".join(f"{b - a:.0f} s" for a, b in found.back)
        print(f"  {spool}, {found.spool_files:,} files; all delivered {back} after its start")
        if found.said:
            print(f"  {found.said}")
        medians = {}
        for name, windows in (("up", found.up), ("away", found.away), ("coming back", found.back)):
            for share in (0.5, 0.99):
                took = found.took_ms(share, windows, PIECE_S)
                medians[name, share] = statistics.median(took)
                print(f"  p{100 * share:g}, {name}: {medians[name, share]:.2f} ms ({_shown(took)})")
        for share in (0.5, 0.99):
            moved = 100 * (medians["away", share] / medians["up", share] - 1)
            print(f"  p{100 * share:g} moved by {moved:+.1f} % while it was away")

    def run(self) -> int:
        """All that was asked for; the exit code."""
        if self.core is not None:
            others = os.sched_getaffinity(0) - {self.core}
            os.sched_setaffinity(0, others or {self.core})
        with (
            LocalBroker() as self.broker,
            LocalElastic().start(secure=True) as self.server,
            Elasticsearch(self.server.url, basic_auth=(USER, self.server.password), request_timeout=60) as self.client,
            tempfile.TemporaryDirectory() as folder,
        ):
            self.folder = Path(folder)
            self.found = Found(self.server.url, self.server.password, self.server)
            privileges = ["auto_configure", "create_doc", "read", "maintenance"]
            self.key = write_key(self.client, self.folder / "key", privileges)
            for name in self.given.only or RUNS:
                RUNS[name](self)
        return 1 if self.bad else 0


RUNS: dict[str, Callable[[Soak], None]] = {
    "replay": Soak.replay, "kills": Soak.kills, "elastic": Soak.elastic, "full": Soak.full, "away": Soak.away,
    "turns": Soak.turns,
}  # fmt: skip


def _spread(found: list[float]) -> str:
    return f"median {statistics.median(found):+.1f} of {', '.join(f'{x:+.0f}' for x in sorted(found))}"


def _shown(took: list[float]) -> str:
    low, high = min(took), max(took)
    return f"median of {len(took)} pieces, {low:.2f} to {high:.2f}"


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=RUNS, metavar="NAME", help="these parts alone")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=600.0, help="seconds")
    parser.add_argument("--up", type=float, default=60.0, help="seconds before and after")
    parser.add_argument("--turns", type=int, default=8, help="how often the way is shut")
    parser.add_argument("--window", type=float, default=10.0, help="seconds of each turn")
    parser.add_argument("--rate", type=float, default=100.0, help="questions a second")
    parser.add_argument("--first", action="store_true", help="server and asker before all other work; needs root")
    parser.add_argument("--mixed", action="store_true", help="the server shares its core with all the others")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--short", action="store_true")
    return Soak(parser.parse_args()).run()


if __name__ == "__main__":
    sys.exit(main())
