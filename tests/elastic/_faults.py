"""What is done to a shipper and its Elasticsearch; afterwards both sides must be equal (`Pipeline.lacks`).

Each run leaves the shipper at work with all delivered. The short forms are tests, the long ones `tests.elastic.soak`.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from infra.elastic import LocalElastic
from tests.elastic._asked import Answers, Asked, logged
from tests.elastic._gate import gate
from tests.elastic._harness import Pipeline, wait_for

SETTLE_S = 4.0  # between a change and what is measured
LOOK_S = 5.0  # between two looks at the spool's folder, which may hold thousands of files


def replay_run(pipeline: Pipeline, predictions: int) -> None:
    """Good records and poison; then a rollover, and all of it once more from offset 0."""
    pipeline.publish(predictions, 30)
    pipeline.poison()
    pipeline.start().drain().stop()
    pipeline.roll_over()
    pipeline.forget()
    pipeline.publish(predictions // 8, 5)
    pipeline.start().drain()


def kill_run(pipeline: Pipeline, kills: int, chance: random.Random, wave: int = 1500) -> None:
    """kill -9 of the shipper at random moments of its work, with a rollover among them; then let it drain."""
    pipeline.publish(wave, 20)
    pipeline.start()
    wait_for(lambda: pipeline.count("predictions"), pipeline.said)
    for n in range(kills):
        pipeline.publish(wave, 20)
        moved = min(pipeline.count("predictions") + chance.randrange(1, wave), pipeline.published)
        # A moment by progress, or by time alone: while it starts, say.
        if chance.random() < 0.7:
            wait_for(lambda moved=moved: pipeline.count("predictions") >= moved, pipeline.said)
        else:
            time.sleep(chance.uniform(0, 3))
        pipeline.kill()
        if n % 2 == 0:
            pipeline.roll_over()
        pipeline.start()
    pipeline.drain()


def elastic_kill_run(pipeline: Pipeline, server: LocalElastic, kills: int, chance: random.Random) -> None:
    """kill -9 of Elasticsearch while it takes a backlog, at once started again; poison in each backlog."""
    for _ in range(kills):
        before = pipeline.count("predictions")
        pipeline.publish(6_000, 20)
        pipeline.poison()
        wait_for(lambda before=before: pipeline.count("predictions") > before, pipeline.said)
        time.sleep(chance.uniform(0, 0.5))
        server.kill()
        server.restart()
        pipeline.drain()


def fill_spool(pipeline: Pipeline) -> None:
    """While Elasticsearch is away: publish until there is no room left on disk."""
    cap, sent = pipeline.settings.ship_spool_bytes_max, 0
    while "spool full" not in pipeline.said():
        pipeline.publish(1000)
        sent += 1000
        assert sent < 60_000, pipeline.said()
        assert pipeline.spool <= cap
    assert pipeline.spool > 0


@dataclass(slots=True)
class Away:
    """What was seen while Elasticsearch was away and came back. Windows: (begun, ended), of the monotonic clock."""

    up: list[tuple[float, float]] = field(default_factory=list)
    away: list[tuple[float, float]] = field(default_factory=list)
    back: list[tuple[float, float]] = field(default_factory=list)  # from its start to the last spooled record there
    spool_bytes: int = 0
    spool_files: int = 0
    answers: Answers | None = None
    logged: list[int] = field(default_factory=list)  # numbers of the questions whose answers are on Kafka, sorted

    said: str = ""  # by the asker, of what failed

    def all_well(self) -> bool:
        """Every question was answered, and each answer logged once."""
        assert self.answers is not None
        asked = len(self.answers.answered)
        return 0 < asked == int(self.answers.answered.sum()) and self.logged == list(range(asked))

    def took_ms(self, share: float, windows: list[tuple[float, float]], piece_s: float) -> list[float]:
        """This quantile of the answers of each piece of the windows; a burst of other work then spoils few of them."""
        assert self.answers is not None
        found = []
        for begun_s, ended_s in windows:
            count = max(1, round((ended_s - begun_s) / piece_s))
            cuts = np.linspace(begun_s, ended_s, count + 1)
            took = [self.answers.between(*cut) for cut in pairwise(cuts)]
            found += [float(np.quantile(t, share)) for t in took if len(t)]
        return found


def away_run(
    pipeline: Pipeline,
    server: LocalElastic,
    rate: float,
    up_s: float,
    away_s: float,
    once_away: Callable[[Pipeline], None] = lambda _: None,
    core: int | None = None,
    first: bool = False,
) -> Away:
    """Questions at a steady rate; kill -9 of Elasticsearch, away, back, with it up before and after.

    core: where the server and its asker run; first: before all other work.
    """
    found = Away()
    with Asked(pipeline, rate, core, first) as asked:
        _window(found, pipeline, found.up, up_s)
        pipeline.publish(2_000, 20)  # so that it is killed while it takes something
        server.kill()
        pipeline.publish(100, 5)
        pipeline.poison()
        begun_s = time.monotonic()
        once_away(pipeline)
        _window(found, pipeline, found.away, max(5.0, away_s - (time.monotonic() - begun_s)))
        found.spool_files = max(found.spool_files, pipeline.spool_files)
        begun_s = time.monotonic()
        server.restart()
        wait_for(lambda: not pipeline.spool, pipeline.said, 600)
        found.back.append((begun_s, time.monotonic()))
        _window(found, pipeline, found.up, up_s)
        found.answers, found.said = asked.end(), asked.said()
    pipeline.drain()
    found.logged = sorted(logged(pipeline))
    return found


def turns_run(
    pipeline: Pipeline, rate: float, window_s: float, turns: int, core: int | None = None, first: bool = False
) -> Away:
    """Questions at a steady rate, while the way to Elasticsearch is shut and opened in turn, so many times.

    Elasticsearch itself runs on, so that nothing but the outage differs; windows that are compared are near in time.
    """
    found = Away()
    with gate(pipeline.settings.elasticsearch) as way:
        pipeline.settings = pipeline.settings.model_copy(update={"elasticsearch": way.url})
        pipeline.start()
        with Asked(pipeline, rate, core, first) as asked:
            _window(found, pipeline, found.up, window_s)
            for _ in range(turns):
                way.shut()
                _window(found, pipeline, found.away, window_s)
                begun_s = time.monotonic()
                way.open()
                wait_for(lambda: not pipeline.spool, pipeline.said)
                found.back.append((begun_s, time.monotonic()))
                _window(found, pipeline, found.up, window_s)
            found.answers, found.said = asked.end(), asked.said()
        pipeline.drain()
        found.logged = sorted(logged(pipeline))
        pipeline.stop()
    return found


def _window(found: Away, pipeline: Pipeline, windows: list[tuple[float, float]], seconds: float) -> None:
    """Nothing but questions, once what was before has settled; none for no time."""
    if seconds <= 0:
        return
    time.sleep(SETTLE_S)
    begun_s = time.monotonic()
    while (left_s := begun_s + seconds - time.monotonic()) > 0:
        time.sleep(min(left_s, LOOK_S))
        found.spool_bytes = max(found.spool_bytes, pipeline.spool)
    windows.append((begun_s, time.monotonic()))
