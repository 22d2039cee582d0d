"""All arms of a pipeline learning from one training log, with their progressive metrics.

`Arms` is the whole state of the learner: models, metrics, position. Its `digest` is what the exactness tests
compare; `Models` is the part of it that answers. Which arm learns which row: `training.py`. Invariant: it is a pure
function of the training rows, however they were cut into blocks.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from stream.block import F64, Block, Training
from stream.evaluate.prequential import Prequential, Window
from stream.learn.check import Checked
from stream.learn.drift.watch import watch_of
from stream.learn.learner import State
from stream.learn.models import build
from stream.learn.training import Policy
from stream.learn.view import View, view_of
from stream.spec import Spec


class Models:
    """Every arm's model, as it scores. views: what each arm sees; rows: learned by now."""

    def __init__(self, views: Mapping[str, View], models: dict[str, Checked], rows: int) -> None:
        self.views, self.models, self.rows = views, models, rows

    def score(self, arm: str, block: Block) -> F64:
        """One arm's scores; nothing is learned."""
        return self.models[arm].score(self.views[arm].of(block))

    def finite(self) -> bool:
        """Whether all models can be trusted to compute with."""
        return all(model.finite() for model in self.models.values())


class Arms(Models):
    """Every arm's model and metrics."""

    def __init__(self, spec: Spec) -> None:
        views = {name: view_of(spec, name) for name in spec.arms}
        super().__init__(views, {n: build(spec, n, v.layout) for n, v in views.items()}, 0)
        self.policy = Policy(spec)
        self.learned = dict.fromkeys(spec.arms, 0)  # rows, by arm
        size, fading = spec.metrics.window_rows, spec.metrics.fading
        classes = len(spec.classes)
        self.metrics = {n: Prequential(spec.task, classes, size, fading, watch_of(spec)) for n in spec.arms}

    def learn(self, rows: Training) -> list[tuple[str, Window]]:
        """Score each row in order with every arm, and learn it with those that the policy says; returns the metric
        windows that were completed. A correction counts in no metric: its event was scored before it was first learned.
        """
        done: list[tuple[str, Window]] = []
        learners = self.policy.learners(rows.block)
        first: Any = slice(None) if rows.correction is None else ~rows.correction
        for name, model in self.models.items():
            seen = self.views[name].of(rows.block)
            scores, learned = self.policy.score_learn(model, name, seen, rows.label, learners)
            self.learned[name] += learned
            windows = self.metrics[name].update(scores[first], rows.label[first], rows.label_time_ms[first])
            done += [(name, w) for w in windows]
        self.rows += len(rows)
        return done

    def states(self) -> dict[str, State]:
        """A copy of all state, by arm."""
        out = {}
        for name, model in self.models.items():
            own, metric = model.state(), self.metrics[name].state()
            arrays: dict[str, Any] = {f"model.{k}": v for k, v in own.arrays.items()}
            arrays |= {f"metric.{k}": v for k, v in metric.arrays.items()}
            learned = {} if self.policy.name == "shared" else {"learned": self.learned[name]}
            out[name] = State(arrays, {"model": own.meta, "metric": metric.meta, "rows": self.rows, **learned})
        return out

    def restore(self, states: dict[str, State]) -> None:
        """Go on from `states()` of the same spec."""
        for name, state in states.items():
            self.models[name].restore(_part(state, "model"))
            self.metrics[name].restore(_part(state, "metric"))
            self.rows = state.meta["rows"]
            self.learned[name] = state.meta.get("learned", self.rows)


def _part(state: State, part: str) -> State:
    arrays = {k.removeprefix(f"{part}."): v for k, v in state.arrays.items() if k.startswith(f"{part}.")}
    return State(arrays, state.meta[part])


def digest(states: dict[str, State]) -> str:
    """One sha256 for the state of all arms."""
    return hashlib.sha256("".join(f"{n}={states[n].digest()};" for n in sorted(states)).encode()).hexdigest()
