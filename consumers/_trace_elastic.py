"""What Elasticsearch knows of an event: its documents, and so where its records lie on Kafka.

What was shipped need not be scanned: documents carry trace id, event id and place, and all records of a partition
before the highest shipped one are documents too, or were refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from elasticsearch import ApiError, Elasticsearch, TransportError
from kafka import TopicPartition

from consumers._ship_client import highest, make_client, told
from consumers.settings import Settings
from stream.ship.datasets import DATASETS
from stream.ship.documents import document_id
from stream.spec import Spec

ASKED_S = 5.0
DOCUMENTS_MAX = 1_000
ABOUT_EVENTS = ("predictions", "labels", "dead")
_SOURCE = ["headwater.kafka.*", "headwater.event.id", "event.ingested", "trace.id"]


@dataclass(frozen=True, slots=True)
class Shipped:
    """One document, and the record that it was made of."""

    index: str
    id: str
    topic: str
    partition: int
    offset: int
    ingested: str
    event_id: str


@dataclass(slots=True)
class Elastic:
    """One Elasticsearch, asked about one pipeline. fault: why it does not answer; then nothing is known."""

    spec: Spec
    client: Elasticsearch | None
    fault: str = ""
    after: dict[TopicPartition, int] = field(default_factory=dict)  # where what is not shipped yet begins

    @classmethod
    def of(cls, spec: Spec, settings: Settings) -> "Elastic":
        """The one that is named, by option or environment; otherwise none is asked."""
        if "elasticsearch" not in settings.model_fields_set:
            return cls(spec, None)
        found = cls(spec, make_client(settings, ASKED_S))
        streams = [DATASETS[t].stream(spec.name) for t in ("predictions", "labels")]
        try:
            shipped = highest(found._asked, streams, spec.name)
        except (ApiError, TransportError) as error:
            return cls(spec, None, f"Elasticsearch at {settings.elasticsearch}: {told(error)}")
        found.after = {TopicPartition(t, p): at + 1 for t, by in shipped.items() for p, at in by.items()}
        return found

    @property
    def _asked(self) -> Elasticsearch:
        assert self.client is not None
        return self.client

    def about(self, trace: str, event_id: str | None) -> list[Shipped]:
        """Documents with this trace id, or of this event; the oldest first."""
        either: list[Any] = [{"term": {"trace.id": trace}}]
        either += [{"term": {"headwater.event.id": event_id}}] if event_id else []
        return self._found({"bool": {"should": either, "minimum_should_match": 1}}, ABOUT_EVENTS, DOCUMENTS_MAX)

    def of_places(self, places: list[tuple[str, int, int]]) -> list[Shipped]:
        """Documents of these records."""
        ids = [document_id(*place) for place in places][:DOCUMENTS_MAX]
        return self._found({"ids": {"values": ids}}, ABOUT_EVENTS, DOCUMENTS_MAX) if ids else []

    def first_answer(self, label_offset: int) -> Shipped | None:
        """The first answer of a model that has learned up to this label."""
        wanted = {"range": {"headwater.model.label_offset": {"gte": label_offset}}}
        return next(iter(self._found(wanted, ("predictions",), 1)), None)

    def _found(self, query: Mapping[str, Any], topics: tuple[str, ...], most: int) -> list[Shipped]:
        if self.client is None:
            return []
        mine = {"term": {"headwater.pipeline": self.spec.name}}
        try:
            answer = self.client.search(
                index=",".join(DATASETS[t].stream(self.spec.name) for t in topics),
                query={"bool": {"filter": [mine, dict(query)]}},
                sort=[{"@timestamp": "asc"}],
                size=most,
                source_includes=_SOURCE,
                ignore_unavailable=True,
            )
        except (ApiError, TransportError) as error:
            self.fault, self.after = told(error), {}
            return []
        return [_shipped(hit) for hit in answer["hits"]["hits"]]

    def close(self) -> None:
        """Let go of the connection."""
        if self.client is not None:
            self.client.close()


def _shipped(hit: Mapping[str, Any]) -> Shipped:
    ours, event = hit["_source"]["headwater"], hit["_source"].get("event", {})
    at = ours["kafka"]
    event_id = ours.get("event", {}).get("id", "")
    place = at["topic"], at["partition"], at["offset"]
    return Shipped(hit["_index"], hit["_id"], *place, event.get("ingested", ""), event_id)
