"""What the page is told each second, as JSON; the one source of its shape.

All times are milliseconds since the epoch, of the wall clock. None: not known (yet). Every list has a bound, so the
whole stays small however long a pipeline runs. Texts are what others wrote: the page never takes them for markup.
"""

from typing import Any, Literal, TypedDict

POINTS_MAX = 300  # of a series
PREDICTIONS_MAX, DEAD_MAX, SNAPSHOTS_MAX, HISTORY_MAX = 20, 50, 20, 50

Figures = dict[str, float]
Point = list[float]  # [time, value]


class Broker(TypedDict):
    """waiting: no contact yet. detail: what is wrong, and what to do. since_ms: of this state."""

    state: Literal["ok", "waiting", "unreachable", "topics_missing"]
    address: str
    detail: str | None
    since_ms: int | None


class Topic(TypedDict):
    """records: offsets between the topic's beginning and end; of transactions each has one more, Kafka's marker."""

    name: str
    records: int
    per_s: float | None


# `from` is a word of Python's, so this one is written as a call. lag: records still to read. absent: never ran, or has
# left no trace; stalled: records wait and it does not go on.
Step = TypedDict(
    "Step",
    {
        "name": str,
        "from": list[str],
        "to": list[str],
        "per_s": float | None,
        "lag": int | None,
        "state": Literal["running", "stalled", "absent"],
    },
)


class Flow(TypedDict):
    """The picture: topics, and the steps between them, in data order."""

    topics: list[Topic]
    steps: list[Step]


class Sum(TypedDict):
    """An equation that must hold: of everything that came, where it went."""

    what: str
    left: int
    right: int


class Counts(TypedDict):
    """See Sum."""

    sums: list[Sum]


class Freshness(TypedDict):
    """From a label's time stamp on Kafka to a snapshot that servers answer with, of the newest labels."""

    now_ms: float | None
    p50_ms: float | None
    p99_ms: float | None
    goal_ms: int
    points: list[Point]


class Arm(TypedDict):
    """metrics: progressive, since the beginning; served: of answers that met their outcome; series: by window."""

    name: str
    model: str
    runs_as: str
    weight: float | None
    shadow: bool
    metrics: Figures
    served: Figures
    series: dict[str, list[Point]]


class Change(TypedDict):
    """A record of the experiment topic that counts."""

    seq: int
    when_ms: int
    action: str
    arm: str
    who: str
    why: str
    weights: Figures


class Compared(TypedDict):
    """An arm's difference to the control in the goal metric; the interval holds at every look.

    series: [time, estimate, low, high].
    """

    arm: str
    n: int
    estimate: float | None
    low: float | None
    high: float | None
    verdict: Literal["better", "worse", "undecided"]
    series: list[list[float]]


class SampleRatio(TypedDict):
    """Whether each arm gets its share; p holds at every look."""

    p: float | None
    holds: bool | None


class Experiment(TypedDict):
    """weights: shares now, by arm."""

    name: str
    salt: str
    control: str
    goal_metric: str
    weights: Figures
    history: list[Change]
    comparisons: list[Compared]
    sample_ratio: SampleRatio


class Part(TypedDict):
    """What one feature adds to the score, before the link."""

    feature: str
    contribution: float


class Prediction(TypedDict):
    """An answer that was served. why_not: why there is no `why`."""

    served_ms: int
    id: str
    unit: str
    arm: str
    score: float
    propensity: float
    generation: int
    staleness_ms: int
    latency_ms: float
    why: list[Part] | None
    why_not: str | None


class Letter(TypedDict):
    """A dead letter: its own place, then why, then where the record came from. bytes: of that record."""

    partition: int
    offset: int
    at_ms: int
    code: str
    step: str
    detail: str
    topic: str
    source_partition: int
    source_offset: int
    bytes: int


class Dead(TypedDict):
    """total: all that lie in the topic; latest: newest first."""

    total: int
    by_code: dict[str, int]
    latest: list[Letter]


class Snapshot(TypedDict):
    """gate: None where the spec has none. reason: why its gate refused it."""

    generation: int
    as_of_ms: int
    rows: int
    uri: str
    gate: Literal["passed", "refused"] | None
    reason: str | None
    serving: bool
    pinned: bool
    metrics: Figures


class State(TypedDict):
    """See the module. metric: the one that is drawn first; notes: warnings for the reader."""

    at_ms: int
    pipeline: str
    spec_hash: str
    task: str
    metric: str
    broker: Broker
    writable: bool
    flow: Flow
    counts: Counts
    freshness: Freshness
    arms: list[Arm]
    experiment: Experiment | None
    predictions: list[Prediction]
    dead: Dead
    snapshots: list[Snapshot]
    notes: list[str]


def plain(value: Any) -> Any:
    """The same with None for numbers that JSON lacks."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    return None if isinstance(value, float) and value - value != 0 else value
