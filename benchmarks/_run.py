"""What a contender is: something that is built for rows and then runs over them, timed, giving its scores."""

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks._rows import Rows
from stream.block import F64
from stream.learn.learner import Learner
from stream.learn.models import MODELS, build
from stream.spec import Spec

REPEAT_S = 0.2  # a run of ours that is shorter is repeated, with new models, so that a clock can tell
Run = Callable[[], tuple[float, F64 | None]]  # seconds a row; scores (binary: of 1), or None where they cost time


def now() -> tuple[float, float]:
    """A moment, by the wall and by the CPU time of all this process's threads."""
    return time.perf_counter(), time.process_time()


def since(begin: tuple[float, float]) -> float:
    """Seconds since, by whichever clock says less.

    On a quiet machine that is the wall, to the favour of those with a second thread; on a busy one it is the CPU time.
    """
    wall, busy = now()
    return min(wall - begin[0], busy - begin[1])


@dataclass(frozen=True, slots=True)
class Contender:
    """prepare: everything that is not timed; raises ImportError where the contender is not installed.

    rows_max: slow ones run over the first rows only.
    """

    name: str
    prepare: Callable[[Rows], Run]
    rows_max: int


@dataclass(slots=True)
class Outcome:
    """rates: events/s, one a round. score: quality over the contender's rows; None: not known."""

    name: str
    rows: int
    rates: list[float]
    scores: F64 | None = None
    missing: str = ""

    @property
    def rate(self) -> float:
        """The median."""
        return statistics.median(self.rates)

    def over(self, other: "Outcome") -> float:
        """Median of the rounds' ratios."""
        return statistics.median(a / b for a, b in zip(self.rates, other.rates, strict=True))


def compete(contenders: Sequence[Contender], rows: Rows, rounds: int, told: Callable[[str], Any]) -> list[Outcome]:
    """Every contender once a round, the order turning; those that are not installed are named."""
    runs: list[tuple[Outcome, Run]] = []
    outcomes = []
    for c in contenders:
        outcome = Outcome(c.name, min(len(rows), c.rows_max), [])
        outcomes.append(outcome)
        try:
            runs.append((outcome, c.prepare(rows.head(c.rows_max))))
        except ImportError as e:
            outcome.missing = str(e)
    gc.collect()
    gc.freeze()  # what is held for all rounds is nobody's garbage to look through
    for number in range(rounds):
        for outcome, run in runs[number % len(runs) :] + runs[: number % len(runs)]:
            seconds, scores = run()
            outcome.rates.append(1.0 / seconds)
            outcome.scores = outcome.scores if scores is None else scores
            told(f"{rows.name}, round {number + 1}: {outcome.name} {outcome.rates[-1]:,.0f} events/s")
    return outcomes


def model_of(name: str, rows: Rows, **params: Any) -> Learner:
    """One of ours, new."""
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "bench", "task": rows.task, "event": event}
    if rows.task == "classes":
        raw["classes"] = [str(i) for i in range(rows.classes)]
    return build(Spec.model_validate({**raw, "arms": {"a": {"model": name, "params": params}}}), "a", rows.layout)


def ours(name: str, **params: Any) -> Callable[[Rows], Run]:
    """A compiled learner over blocks; what it compiles is compiled before."""

    def prepare(rows: Rows) -> Run:
        if name not in MODELS:
            raise ImportError(f"{name} is not there yet")
        blocks = rows.blocks()
        model_of(name, rows, **params).score_learn(*blocks[0])

        def run() -> tuple[float, F64]:
            busy_s, turns = 0.0, 0
            while busy_s < REPEAT_S:
                model = model_of(name, rows, **params)
                begin = now()
                scores = [model.score_learn(block, label) for block, label in blocks]
                busy_s += since(begin)
                turns += 1
            return busy_s / turns / len(rows), np.concatenate(scores)

        return run

    return prepare


def accuracy(scores: F64, label: F64) -> float:
    """Share of rows whose likeliest class is the label, in percent. scores: float64[n] (of 1) or [n, classes]."""
    guess = scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0.5).astype(np.float64)
    return 100.0 * float((guess == label[: len(guess)]).mean())
