"""Why the last answers are what they are: each by the very model that gave it, or not at all.

The event is looked for by its id among the newest on Kafka, the model by its generation among the snapshots. What comes
out must be the score that was served, to the last digits: then the parts are those of that answer. Where it is not, the
caller asked about other values than the event on Kafka has, and nothing is shown.
"""

import re
import time
from collections.abc import Mapping
from typing import Any

from consumers._follow import load
from consumers.clean import find_writer
from consumers.monitor.state import Part
from consumers.settings import Settings
from stream.arrive.framing import Decoder
from stream.arrive.reject import Reject
from stream.clean.cleaner import Cleaner, Position
from stream.encode.encoder import Encoder
from stream.errors import DataError, SnapshotError
from stream.explain.arm import explained
from stream.explain.explainable import Explainable
from stream.explain.explainable import Part as Weighed
from stream.explain.names import Names
from stream.predict.served import Served
from stream.spec import Spec
from stream.spec_load import event_schema

PARTS_MAX = 12
LIKE = 1e-6  # how far a score may lie from the one that was served
CANDIDATES_MAX = 50
KEPT_MAX, LAST_MAX = 200, 8
REST = 9  # times what a look took of the processor
_Found = tuple[list[Part] | None, str | None]
Place = tuple[int, int]


class Why:
    """`look` now and then, from one thread; `told` from any."""

    def __init__(self, spec: Spec, settings: Settings) -> None:
        self._spec = spec
        self._cleaner, self._encoder, self._names = Cleaner(spec), Encoder(spec), Names(spec)
        self._events = Decoder(event_schema(spec), find_writer(spec, settings))
        self._served: Served | None = None
        self._models: dict[str, Explainable] = {}
        self._found: dict[Place, _Found] = {}
        self._due_s = 0.0
        self.last: list[tuple[Place, dict[str, Any]]] = []  # answers that were explained last, the newest first

    def told(self, place: Place) -> _Found:
        """Parts, or why there are none."""
        return self._found.get(place, (None, "not looked at yet"))

    def lacks(self, place: Place) -> bool:
        """Whether an answer is not explained."""
        return self.told(place)[0] is None

    def look(
        self, answers: list[tuple[Place, dict[str, Any]]], known: Mapping[int, Any], events: Mapping[str, list[bytes]]
    ) -> None:
        """Explain those that aren't yet, if it is due. known: generation → announcement; events: id → values that may
        be the event's."""
        begun_s = time.thread_time()
        new = [(place, p) for place, p in answers if self.lacks(place)]
        if not new or time.monotonic() < self._due_s:
            return
        trouble = self._take_up(new[0][1], known)
        for place, p in new:
            self._found[place] = (None, trouble) if trouble else self._explain(p, events.get(p["id"], []))
        if explained_now := [(place, p) for place, p in answers if not self.lacks(place)]:
            self.last = explained_now[:LAST_MAX]
        for place in list(self._found)[:-KEPT_MAX]:
            del self._found[place]
        self._due_s = time.monotonic() + REST * (time.thread_time() - begun_s)

    def _take_up(self, answer: dict[str, Any], known: Mapping[int, Any]) -> str:
        """Have the model that gave this answer, or say why not."""
        generation, sha = answer["model_generation"], answer["model_sha256"]
        if self._served is not None and (self._served.generation, self._served.sha256) == (generation, sha):
            return ""
        record = known.get(generation)
        if record is None or record["sha256"] != sha:
            return f"generation {generation}, which answered, is not among the newest that were announced"
        try:
            self._served = load(self._spec, {**record, "pinned": True})
        except SnapshotError:
            return f"the snapshot of generation {generation}, which answered, is gone, or not on this machine"
        self._models = {}
        return ""

    def _explain(self, p: dict[str, Any], events: list[bytes]) -> _Found:
        assert self._served is not None
        if self._served.sha256 != p["model_sha256"]:
            return None, f"by generation {p['model_generation']}; looked at was {self._served.generation}"
        event = self._event(p["id"], events)
        if event is None:
            return None, "the event is not among the newest on Kafka"
        try:
            model = self._model(p["arm"])
            cleaned = self._cleaner.clean([event], [Position(0, 0, p["served_ms"])])
            if cleaned.rejects:
                return None, "the event on Kafka is refused by the rules of the spec"
            self._names.learn([event])
            [found] = model.explain(self._served.arms.views[p["arm"]].of(self._encoder.encode(cleaned.columns)))
        except DataError as e:
            return None, str(e)
        which = max(range(len(found.score)), key=found.score.__getitem__) if self._spec.task == "classes" else -1
        if abs(found.score[which] - p["score"]) > LIKE * max(1.0, abs(p["score"])):
            return None, f"the event on Kafka gives {found.score[which]:.4g}: the caller asked about other values"
        parts: list[Part] = [{"feature": self._shown(x), "contribution": x.contribution[which]} for x in found.parts]
        return sorted(parts, key=lambda part: -abs(part["contribution"]))[:PARTS_MAX], None

    def _shown(self, part: Weighed) -> str:
        """The feature; of a private field its name alone, without value or threshold."""
        field = re.split(r"[=.]", part.column or part.feature, maxsplit=1)[0]
        return field if field in self._spec.event.private else part.feature

    def _model(self, arm: str) -> Explainable:
        assert self._served is not None
        if arm not in self._models:
            self._models[arm] = explained(self._spec, self._served.arms, arm, self._names)
        return self._models[arm]

    def _event(self, event_id: str, events: list[bytes]) -> dict[str, Any] | None:
        for value in events[:CANDIDATES_MAX]:
            event = self._events.decode(value)
            if not isinstance(event, Reject) and str(event.get(self._spec.event.id)) == event_id:
                return event
        return None
