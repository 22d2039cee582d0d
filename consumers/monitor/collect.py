"""The monitor's source: what was seen of a pipeline, put together when somebody looks, and what it does when asked to.

Two threads: `tail` follows the topics always, so that a page which opens has something to show; the experiment's
analysis and the explanations, which cost more, are only made while somebody watches. One lock guards what was seen.
"""

import threading
from dataclasses import asdict
from typing import Any

import structlog

from consumers._control import Fold
from consumers._replay import replay_picked
from consumers._watchdog import Watchdog
from consumers.monitor.compare import Compare
from consumers.monitor.flow import Look, Steps
from consumers.monitor.fresh import Fresh
from consumers.monitor.seen import Events, Letters, Metrics, Models, Predictions
from consumers.monitor.shelf import Shelf
from consumers.monitor.state import PREDICTIONS_MAX, Arm, Counts, Prediction, State
from consumers.monitor.tail import Tail
from consumers.monitor.why import Why
from consumers.rollback import Rollback
from consumers.settings import Settings
from consumers.status import counts_of
from stream.clock import Clock, SystemClock
from stream.errors import BrokerError, DataError
from stream.experiment.control import present_shares
from stream.learn.models import runs_as
from stream.spec import Spec

log = structlog.get_logger()
FIRST = {"binary": "auc", "classes": "accuracy", "regression": "rmse"}
DRAWN = {
    "binary": ("auc", "log_loss", "accuracy", "brier"),
    "classes": ("accuracy", "log_loss", "brier", "f1"),
    "regression": ("rmse", "mae", "r2"),
}
AGAIN_S = 0.5  # several pages share one state
WATCHED_S = 5.0
SLOW_EVERY_S = 0.5
WHY = "from the monitor"


class Monitor:
    """Implements Source. Raises nothing when it starts: what is wrong with the broker is part of the state."""

    def __init__(self, spec: Spec, settings: Settings, writable: bool, clock: Clock | None = None) -> None:
        self._spec, self._settings, self._writable = spec, settings, writable
        self._hash = spec.hash
        self._clock = clock or SystemClock()
        self._lock, self._building, self._acting = threading.Lock(), threading.Lock(), threading.Lock()
        self._metrics, self._models, self._predictions = Metrics(spec), Models(spec), Predictions()
        self._letters, self._events, self._fresh, self._fold = Letters(), Events(), Fresh(), Fold(spec)
        self._steps, self._shelf = Steps(), Shelf(spec)
        self._seen: Look | None = None
        self._tail = Tail(spec, settings, self._take, self._looked, self._clock)
        self._compare, self._why = Compare(spec, settings), Why(spec, settings)
        self._stopping = threading.Event()
        self._asked_s = -WATCHED_S
        self._slow = threading.Thread(target=self._run_slow, name="monitor-slow", daemon=True)
        self._slow_error: BaseException | None = None
        self._watchdog: Watchdog | None = None
        self._kept: tuple[float, State] | None = None

    def start(self) -> None:
        """Begin to follow."""
        self._tail.start()
        self._slow.start()

    def stop(self) -> None:
        """Leave; bounded."""
        self._stopping.set()
        self._tail.stop()
        self._slow.join(5.0)

    @property
    def error(self) -> BaseException | None:
        """A bug that ended one of its threads: the process must not go on as if nothing were."""
        return self._tail.error or self._slow_error

    # -- what comes --------------------------------------------------------------------------------------

    def _take(self, topic: str, record: Any) -> None:
        with self._lock:
            if topic == "metrics":
                self._metrics.take(record)
            elif topic == "models":
                through = self._models.take(record)
                if through is not None:
                    self._fresh.announcement(record.timestamp, through)
            elif topic == "predictions":
                if (p := self._predictions.take(record)) is not None:
                    self._fresh.answer(p["served_ms"], p["trained_label_offset"])
            elif topic == "labels":
                self._fresh.label(record.offset, record.timestamp)
            elif topic == "dead":
                self._letters.take(record)
            elif topic == "experiment":
                self._fold.take([record])
            elif topic == "events":
                self._events.take(record)

    def _looked(self, look: Look) -> None:
        with self._lock:
            if self._seen is None or look.now_s - self._seen.now_s > WATCHED_S:
                self._steps.forget()
            self._steps.add(look, self._metrics)
            self._fresh.settle(look.now_ms)
            self._seen = look

    def _run_slow(self) -> None:
        try:
            while not self._stopping.wait(SLOW_EVERY_S):
                if self._clock.monotonic_s() - self._asked_s < WATCHED_S and self._tail.told.contact == "ok":
                    self._look_slowly()
        except BaseException as e:
            self._slow_error = e
            log.error("monitor's analysis ended", error=f"{type(e).__name__} {e}")
        finally:
            self._compare.close()

    def _look_slowly(self) -> None:
        with self._lock:
            answers, known = self._predictions.newest, dict(self._models.known)
            events = {p["id"]: self._events.holding(p["id"]) for place, p in answers if self._why.lacks(place)}
            state = self._fold.state
        self._why.look(answers, known, events)
        try:
            self._compare.look(state)
        except BrokerError as e:
            log.debug("experiment not read", error=str(e))

    # -- what is told ------------------------------------------------------------------------------------

    def state(self) -> State:
        """See Source."""
        self._asked_s = self._clock.monotonic_s()
        with self._building:
            if self._kept is None or self._asked_s - self._kept[0] > AGAIN_S:
                with self._lock:
                    self._kept = self._asked_s, self._build()
            return self._kept[1]

    def _build(self) -> State:
        spec, told, look = self._spec, self._tail.told, self._seen
        now_ms = self._clock.wall_ms()
        state: State = {
            "at_ms": now_ms,
            "pipeline": spec.name,
            "spec_hash": self._hash,
            "task": spec.task,
            "metric": FIRST[spec.task],
            "broker": {
                "state": told.contact,
                "address": self._settings.kafka,
                "detail": told.detail,
                "since_ms": told.since_ms,
            },
            "writable": self._writable,
            "flow": {"topics": [], "steps": []},
            "counts": {"sums": []},
            "freshness": self._fresh.told(),
            "arms": [self._arm(name) for name in spec.arms],
            "experiment": self._compare.told(self._fold.state) if look is not None else None,
            "predictions": [self._prediction(place, p) for place, p in self._answers()],
            "dead": {
                "total": self._letters.total,
                "by_code": dict(self._letters.by_code.most_common()),
                "latest": list(reversed(self._letters.latest)),
            },
            "snapshots": self._shelf.told(self._models),
            "notes": self._notes(),
        }
        if look is not None:
            picture = self._steps.picture(look, self._metrics, self._models, self._predictions)
            state["flow"], state["counts"] = picture.flow, _counts(look)
            if told.contact == "ok":
                state["notes"] = picture.notes + state["notes"]
            else:
                for thing in (*picture.flow["steps"], *picture.flow["topics"]):
                    thing["per_s"] = None  # it is not known now
        return state

    def _arm(self, name: str) -> Arm:
        arm, state, models = self._spec.arms[name], self._fold.state, self._models.newest
        values = {} if models is None else models["values"]
        served = self._metrics.totals.get(("shadow_total" if arm.shadow else "served_total", name), {})
        return {
            "name": name,
            "model": arm.model,
            "runs_as": runs_as(arm.model),
            "weight": present_shares(state)[name],
            "shadow": arm.shadow,
            "metrics": {k.removeprefix(f"{name}."): v for k, v in values.items() if k.startswith(f"{name}.")},
            "served": served,
            "series": self._metrics.series(name, DRAWN[self._spec.task]),
        }

    def _answers(self) -> list[tuple[tuple[int, int], dict[str, Any]]]:
        """The newest, and among them still those that were explained last: answers come faster than they are."""
        newest, explained = self._predictions.newest, self._why.last
        there = {place for place, _ in newest[: PREDICTIONS_MAX - len(explained)]}
        older = [(place, p) for place, p in explained if place not in there]
        shown = newest[: PREDICTIONS_MAX - len(older)]
        return shown + [(place, p) for place, p in older if place not in {at for at, _ in shown}]

    def _prediction(self, place: tuple[int, int], p: dict[str, Any]) -> Prediction:
        why, why_not = self._why.told(place)
        return {
            "served_ms": p["served_ms"],
            "id": p["id"],
            "unit": "(private)" if self._spec.experiment.unit in self._spec.event.private else p["unit"],
            "arm": p["arm"],
            "score": p["score"],
            "propensity": p["propensity"],
            "generation": p["model_generation"],
            "staleness_ms": p["staleness_ms"],
            "latency_ms": p["latency_us"] / 1000,
            "why": why,
            "why_not": why_not,
        }

    def _notes(self) -> list[str]:
        notes, models = list[str](), self._models
        if models.pin is not None:
            notes.append(f"generation {models.pin} is pinned: servers stay there; `headwater rollback SPEC --release`")
        elif models.newest is not None and models.newest["refused"]:
            at = "none serves" if models.serving is None else f"servers stay at {models.serving}"
            notes.append(f"the gate refuses generation {models.newest['generation']}; {at}: {models.newest['refused']}")
        if "dead" in self._tail.leapt:
            notes.append("dead letters are counted from the newest 20,000 on; `headwater tail SPEC dead` has all")
        return notes + ([self._compare.note] if self._compare.note else [])

    # -- what is done ------------------------------------------------------------------------------------

    def replay(self, offsets: tuple[int, ...], code: str) -> str:
        """See Source."""
        with self._acting:
            self._watchdog = self._watchdog or Watchdog()
            done = replay_picked(self._spec, self._settings, offsets, code, self._watchdog)
        log.info("replayed", **asdict(done))
        if not any(asdict(done).values()):
            raise DataError(f"code: found {code!r}; no letter in {self._spec.topic('dead')} has it")
        said = [f"{sum(done.counts.values())} sent again"] if done.counts else []
        said += [f"{done.before} were before"] if done.before else []
        said += [f"{done.stays} can't be: they carry nothing that goes back"] if done.stays else []
        said += [f"{done.missing} are not in the topic"] if done.missing else []
        return "; ".join(said)

    def rollback(self, generation: int | None) -> str:
        """See Source."""
        with self._acting:
            found = Rollback(self._spec, self._settings)
            if generation is None:
                found.release()
                log.info("released")
                return "released; servers follow the learner again"
            record = found.pin(generation, WHY)
        log.info("rolled back", generation=generation)
        refused = f"; its gate refused it: {record['refused']}" if record["refused"] else ""
        return f"servers go to generation {generation}, {record['rows']} rows learned, and stay{refused}"


def _counts(look: Look) -> Counts:
    sums = counts_of({group: dict(marks) for group, marks in look.marks.items() if group != "ship"}).sums()
    return {"sums": [{"what": what, "left": a, "right": b} for what, (a, b) in sums.items()]}
