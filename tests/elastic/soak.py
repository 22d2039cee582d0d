"""The long form: python -m tests.elastic.soak [--kills 20] [--away 600] [--seed 1]

One pipeline on a broker and an Elasticsearch of its own: the shipper is killed so many times at random moments, with a
rollover after every second one; then Elasticsearch is killed in the middle and stays away so many seconds while
predictions go on. After each the two sides are compared; the exit code is 1 when they differ.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from elasticsearch import Elasticsearch

from infra.elastic import USER, Found, LocalElastic
from infra.kafka import LocalBroker
from tests.elastic._harness import Pipeline, kill_run, wait_for
from tests.elastic.conftest import write_key


def away_run(pipeline: Pipeline, server: LocalElastic, seconds: float) -> int:
    """kill -9 of Elasticsearch while it is shipped to; it comes back after `seconds`. The largest spool, in bytes."""
    before = len(pipeline.ids("predictions"))
    pipeline.publish(10_000, 20)
    wait_for(lambda: len(pipeline.ids("predictions")) > before, pipeline.said)
    server.kill()
    largest, until = 0, time.monotonic() + seconds
    while time.monotonic() < until:
        pipeline.publish(500)
        largest = max(largest, pipeline.spool)
        time.sleep(1)
    server.restart()
    pipeline.drain()
    return largest


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--away", type=float, default=600.0, help="seconds")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with (
        LocalBroker() as broker,
        LocalElastic().start(secure=True) as server,
        Elasticsearch(server.url, basic_auth=(USER, server.password), request_timeout=60) as client,
        tempfile.TemporaryDirectory() as folder,
    ):
        found = Found(server.url, server.password, server)
        key = write_key(client, Path(folder) / "key", ["auto_configure", "create_doc", "read", "maintenance"])
        with Pipeline(broker.address, found, client, key, Path(folder)) as pipeline:
            begun = time.monotonic()
            kill_run(pipeline, given.kills, random.Random(given.seed))
            wrong = pipeline.lacks()
            seconds = time.monotonic() - begun
            print(f"{given.kills} kills, {pipeline.published} predictions, {seconds:.0f} s: {wrong or 'equal'}")
            largest = away_run(pipeline, server, given.away)
            differs = pipeline.lacks()
            print(
                f"away {given.away:g} s, {pipeline.published} predictions, largest spool {largest / 1e6:.1f} MB: "
                f"{differs or 'equal'}"
            )
            pipeline.stop()
    return 1 if wrong or differs else 0


if __name__ == "__main__":
    sys.exit(main())
