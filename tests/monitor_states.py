"""States of the monitor, one for each face that its page has; made up, but of the shape and size of the demo's."""

import math
from copy import deepcopy

from consumers.monitor.state import (
    POINTS_MAX,
    Arm,
    Change,
    Compared,
    Letter,
    Prediction,
    Snapshot,
    State,
    Step,
    Topic,
)

NOW_MS = 1_790_000_000_000
MARKUP = "<img src=x onerror=\"document.title='taken'\"></script>&amp;\u2028"  # what a stranger may write anywhere
ARMS = {"logistic": "linear.logistic", "tree": "tree.hoeffding", "champion": "onnx:champion.onnx"}
STEPS = {
    "clean": (["events"], ["clean", "dead"]),
    "encode": (["clean"], ["features"]),
    "join": (["features", "labels"], ["training", "dead"]),
    "learn": (["training"], ["models", "metrics"]),
    "serve": (["models", "experiment"], ["predictions", "labels"]),
    "evaluate": (["predictions", "labels"], ["metrics"]),
    "ship": (["predictions", "labels", "metrics", "experiment", "dead", "logs"], []),
}
TOPICS = (
    "events", "clean", "features", "labels", "training", "predictions", "metrics", "models", "experiment", "dead",
    "logs",
)  # fmt: skip


def loading() -> State:
    """The first second: nothing was heard of Kafka yet."""
    return {
        "at_ms": NOW_MS,
        "pipeline": "flights",
        "spec_hash": "0123456789abcdef",
        "task": "binary",
        "metric": "auc",
        "broker": {"state": "waiting", "address": "127.0.0.1:9092", "detail": None, "since_ms": NOW_MS - 500},
        "writable": False,
        "flow": {"topics": [], "steps": [_step(name, None, None, "absent") for name in STEPS]},
        "counts": {"sums": []},
        "freshness": {"now_ms": None, "p50_ms": None, "p99_ms": None, "goal_ms": 1000, "points": []},
        "arms": [_arm(name, 0) for name in ARMS],
        "experiment": None,
        "predictions": [],
        "dead": {"total": 0, "by_code": {}, "latest": []},
        "snapshots": [],
        "notes": [],
    }


def empty() -> State:
    """The topics are there, and nothing is in them."""
    state = loading()
    state["broker"] = {"state": "ok", "address": "127.0.0.1:9092", "detail": None, "since_ms": NOW_MS - 2000}
    state["flow"]["topics"] = [_topic(name, 0, 0.0) for name in TOPICS]
    state["notes"] = ["no step has run yet; `headwater run SPEC clean encode join learn` starts them"]
    return state


def running() -> State:
    """In the middle of the demo, writable; the experiment is undecided."""
    state = empty()
    state["writable"] = True
    state["notes"] = []
    state["flow"] = {
        "topics": [_topic(name, 1000 * (i + 1), 250.0 / (i + 1)) for i, name in enumerate(TOPICS)],
        "steps": [
            _step("clean", 251.5, 12, "running"),
            _step("encode", 250.0, 0, "running"),
            _step("join", 480.0, 431, "running"),
            _step("learn", 230.0, 3, "running"),
            _step("serve", 31.0, None, "running"),
            _step("evaluate", 0.0, 905, "stalled"),
            _step("ship", None, None, "absent"),
        ],
    }
    state["counts"] = {
        "sums": [
            {"what": "events in = cleaned + rejected", "left": 20_000, "right": 20_000},
            {"what": "cleaned = matched + timed out + pending + duplicates", "left": 19_800, "right": 19_801},
        ]
    }
    points = [[float(NOW_MS - 1000 * (60 - i)), 480.0 + 90 * math.sin(i / 4)] for i in range(60)]
    state["freshness"] = {"now_ms": 455.0, "p50_ms": 470.0, "p99_ms": 812.0, "goal_ms": 1000, "points": points}
    state["arms"] = [_arm(name, POINTS_MAX) for name in ARMS]
    state["experiment"] = {
        "name": "first",
        "salt": "2013",
        "control": "logistic",
        "goal_metric": "brier",
        "weights": {"logistic": 0.5, "tree": 0.5, "champion": 0.0},
        "history": [_change(1, "ramp", "tree", "ann", "the tree kept up so far")],
        "comparisons": [_compared("tree", 0.004, 0.03, "undecided")],
        "sample_ratio": {"p": 0.61, "holds": True},
    }
    state["predictions"] = [_prediction(i) for i in range(20)]
    state["dead"] = {
        "total": 63,
        "by_code": {"value.out_of_range": 40, "avro.undecodable": 20, "label.orphaned": 3},
        "latest": [_letter(62 - i) for i in range(50)],
    }
    state["snapshots"] = [_snapshot(44 - i) for i in range(6)]
    return state


def decided() -> State:
    """The experiment is decided: one arm better, one stopped by its guardrail; a snapshot is pinned."""
    state = running()
    experiment = state["experiment"]
    assert experiment is not None
    experiment["comparisons"] = [
        _compared("tree", -0.012, 0.005, "better"),
        _compared("champion", 0.2, 0.05, "worse"),
    ]
    experiment["history"] += [
        _change(2, "guardrail", "champion", "guard", "brier of champion is worse by more than 0.02"),
        _change(3, "promote", "tree", "ann", "decided"),
    ]
    experiment["weights"] = {"logistic": 0.0, "tree": 1.0, "champion": 0.0}
    for s in state["snapshots"]:
        s["pinned"] = s["serving"] = s["generation"] == 41
    state["notes"] = ["generation 41 is pinned: servers stay there until `headwater rollback SPEC --release`"]
    return state


def broken_broker() -> State:
    """What was known when Kafka fell silent stays; the broker's state says so."""
    state = running()
    state["broker"] = {
        "state": "unreachable",
        "address": "127.0.0.1:9092",
        "detail": "Kafka at 127.0.0.1:9092 does not answer; see whether it runs: what is shown below is old",
        "since_ms": NOW_MS - 7000,
    }
    for step in state["flow"]["steps"]:
        step["per_s"] = None
    return state


def topics_missing() -> State:
    """A broker that has never seen this pipeline."""
    state = loading()
    state["broker"] = {
        "state": "topics_missing",
        "address": "127.0.0.1:9092",
        "detail": "no topic flights.events on 127.0.0.1:9092; `headwater topics create SPEC` makes them",
        "since_ms": NOW_MS - 3000,
    }
    return state


def hostile() -> State:
    """Running, and every text that comes from Kafka or from a spec is markup."""
    state = deepcopy(running())
    state["dead"]["by_code"] = {MARKUP: 63}
    for letter in state["dead"]["latest"]:
        letter["detail"] = letter["code"] = letter["step"] = letter["topic"] = MARKUP
    for p in state["predictions"]:
        p["id"] = p["unit"] = p["arm"] = MARKUP
        p["why"] = [{"feature": MARKUP, "contribution": 0.5}]
        p["why_not"] = None
    assert state["experiment"] is not None
    for change in state["experiment"]["history"]:
        change["who"] = change["why"] = MARKUP
    for s in state["snapshots"]:
        s["reason"], s["gate"], s["uri"] = MARKUP, "refused", f"javascript:{MARKUP}"
    state["notes"] = [MARKUP]
    state["pipeline"] = MARKUP
    return state


STATES = {f.__name__: f for f in (loading, empty, running, decided, broken_broker, topics_missing, hostile)}


def _topic(name: str, records: int, per_s: float | None) -> Topic:
    return {"name": name, "records": records, "per_s": per_s}


def _step(name: str, per_s: float | None, lag: int | None, state: str) -> Step:
    from_, to = STEPS[name]
    return {"name": name, "from": from_, "to": to, "per_s": per_s, "lag": lag, "state": state}  # type: ignore[typeddict-item]


def _arm(name: str, points: int) -> Arm:
    shift = 0.02 * list(ARMS).index(name)

    def series(start: float, gain: float) -> list[list[float]]:
        return [[NOW_MS - 1000.0 * (points - i), start + shift + gain * (1 - math.exp(-i / 60))] for i in range(points)]

    metrics = {"auc": 0.71 + shift, "log_loss": 0.44 - shift, "accuracy": 0.8} if points else {}
    return {
        "name": name,
        "model": ARMS[name],
        "runs_as": "scores only" if name == "champion" else "learns each row",
        "weight": 0.0 if name == "champion" else 0.5,
        "shadow": name == "champion",
        "metrics": metrics,
        "served": {"exposures": 800.0, "outcomes": 640.0, "auc": 0.66 + shift} if points else {},
        "series": {"auc": series(0.55, 0.15), "log_loss": series(0.6, -0.15)} if points else {},
    }


def _change(seq: int, action: str, arm: str, who: str, why: str) -> Change:
    weights = {"logistic": 0.5, "tree": 0.5, "champion": 0.0}
    when_ms = NOW_MS - 60_000 + 10_000 * seq
    return {"seq": seq, "when_ms": when_ms, "action": action, "arm": arm, "who": who, "why": why, "weights": weights}


def _compared(arm: str, estimate: float, half: float, verdict: str) -> Compared:
    series = []
    for i in range(60):
        wide = half * math.sqrt(60 / (i + 1))
        series.append([NOW_MS - 1000.0 * (59 - i), estimate, estimate - wide, estimate + wide])
    low, high = estimate - half, estimate + half
    return {"arm": arm, "n": 1280, "estimate": estimate, "low": low, "high": high, "verdict": verdict, "series": series}  # type: ignore[typeddict-item]


def _prediction(i: int) -> Prediction:
    known = i % 3 != 2
    why = [{"feature": "carrier=UA", "contribution": 0.41}, {"feature": "distance", "contribution": -0.2}]
    return {
        "served_ms": NOW_MS - 40 * i,
        "id": f"20130101-UA{1545 + i}-EWR-515",
        "unit": f"N{14228 + i}",
        "arm": ("logistic", "tree")[i % 2],
        "score": 0.2 + 0.03 * i,
        "propensity": 0.5,
        "generation": 44,
        "staleness_ms": 310 + i,
        "latency_ms": 0.4,
        "why": why if known else None,  # type: ignore[typeddict-item]
        "why_not": None if known else "the event is not among the newest on Kafka",
    }


def _letter(offset: int) -> Letter:
    codes = ("value.out_of_range", "value.out_of_range", "avro.undecodable")
    return {
        "partition": 0,
        "offset": offset,
        "at_ms": NOW_MS - 100 * (62 - offset),
        "code": codes[offset % 3],
        "step": "clean",
        "detail": "distance: found -5.0; allowed: 0 to 20000",
        "topic": "flights.events",
        "source_partition": offset % 2,
        "source_offset": 40 * offset,
        "bytes": 120,
    }


def _snapshot(generation: int) -> Snapshot:
    refused = generation == 42
    return {
        "generation": generation,
        "as_of_ms": NOW_MS - 400 * (44 - generation) - 300,
        "rows": 440 * generation,
        "uri": f"file:///var/lib/headwater/flights/{generation:012d}",
        "gate": "refused" if refused else "passed",
        "reason": "logistic: log_loss rose by 0.2" if refused else None,
        "serving": generation == 44,
        "pinned": False,
        "metrics": {"logistic.auc": 0.71, "tree.auc": 0.73},
    }
