"""Records that travel together, and the documents that they make: as many as one request takes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kafka import TopicPartition

from stream.arrive.records import Record, Records
from stream.errors import DataError
from stream.ship.datasets import DATASETS, Dataset
from stream.ship.documents import Document, Unreadable, maker, withheld_of
from stream.spec import Spec

PORTION_BYTES_MAX = 2 << 20  # of values; a document is up to five times as long


@dataclass(frozen=True, slots=True)
class Portion:
    """Records that go together, and what they make."""

    records: list[Record]
    documents: list[Document]
    unreadable: list[Unreadable]


class Press:
    """Makes the documents of a pipeline's topics. Raises DataError for a topic that is not shipped."""

    def __init__(self, spec: Spec, topics: Sequence[str]) -> None:
        if unknown := [t for t in topics if t not in DATASETS]:
            raise DataError(f"topics to ship: found {', '.join(unknown)}; allowed: {', '.join(DATASETS)}")
        self.datasets: dict[str, Dataset] = {spec.topic(t): DATASETS[t] for t in topics or DATASETS}
        self.streams = [d.stream(spec.name) for d in self.datasets.values()]
        self._makers = {topic: maker(d, spec.name, withheld_of(spec)) for topic, d in self.datasets.items()}

    def portion(self, records: list[Record]) -> Portion:
        """What these records make."""
        made = [self._makers[r.topic](r) for r in records]
        good = [m for m in made if isinstance(m, Document)]
        return Portion(records, good, [m for m in made if isinstance(m, Unreadable)])


def portions(batch: Mapping[TopicPartition, Records], most: int) -> Iterator[list[Record]]:
    """The records of a poll, as many together as one request takes; each partition's in order.

    The first are fewer, so that Elasticsearch begins while the next are made.
    """
    portion: list[Record] = []
    size, enough = 0, max(1, most // 4)
    for records in batch.values():
        for r in records:
            portion.append(r)
            size += len(r.value or b"")
            if len(portion) >= enough or size >= PORTION_BYTES_MAX:
                yield portion
                portion, size, enough = [], 0, most
    if portion:
        yield portion
