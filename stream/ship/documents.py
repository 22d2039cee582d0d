"""A record and its place → a document of Elasticsearch: which data stream, which id, which JSON.

The id is the place (topic-partition-offset), so a record that is sent again is the same document again.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from stream.arrive.records import Record
from stream.ship.datasets import COMMON, Dataset, namespace
from stream.spec import Spec


class Document(NamedTuple):
    """One document. body: JSON. at: the record that it was made of."""

    stream: str
    id: str
    body: bytes
    at: Record


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that makes no document, and why."""

    at: Record
    why: str


def withheld_of(spec: Spec) -> frozenset[str]:
    """Fields that no document of this pipeline has, since they would hold the values of a private field."""
    return frozenset({"headwater.unit"}) if spec.experiment.unit in spec.event.private else frozenset()


def document_id(topic: str, partition: int, offset: int) -> str:
    """Of the document of a record."""
    return f"{topic}-{partition}-{offset}"


def maker(
    dataset: Dataset, pipeline: str, withheld: frozenset[str] = frozenset()
) -> Callable[[Record], Document | Unreadable]:
    """What makes the documents of one topic of one pipeline. withheld: fields that are left out."""
    stream = dataset.stream(pipeline)
    told = {
        "event.dataset": dataset.name,
        "data_stream.type": dataset.type,
        "data_stream.dataset": dataset.name,
        "data_stream.namespace": namespace(pipeline),
        "headwater.pipeline": pipeline,
    }
    fixed = [(name.split("."), value) for name, value in told.items()]
    fields = [field for field in (*COMMON, *dataset.fields) if field.name not in withheld]
    taken = [(field.name.split("."), field.take) for field in fields]
    dumps = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode

    def put(document: dict[str, Any], path: list[str], value: Any) -> None:
        for folder in path[:-1]:
            document = document.setdefault(folder, {})
        document[path[-1]] = value

    def make(at: Record) -> Document | Unreadable:
        if at.value is None:
            return Unreadable(at, f"{at.topic}: a record without a value")
        try:
            record: Mapping[str, Any] = dataset.decode(at.value)
        except ValueError as error:
            return Unreadable(at, f"{at.topic}: {' '.join(str(error).split())}")
        document: dict[str, Any] = {}
        for path, value in fixed:
            put(document, path, value)
        for path, take in taken:
            if (value := take(record, at)) is not None and value != "":
                put(document, path, value)
        body = dumps(document).encode()
        return Document(stream, document_id(at.topic, at.partition, at.offset), body, at)

    return make
