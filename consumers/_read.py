"""Reading topics for people and tests: committed records, decoded, without joining any group."""

from collections.abc import Callable, Iterator
from typing import Any

from kafka import KafkaConsumer

import schemas
from consumers._kafka import broker_errors, consuming, partitions_of
from consumers.settings import Settings
from stream.arrive.framing import Decoder
from stream.arrive.reject import Reject
from stream.block import decode_features, decode_training
from stream.clean.record import clean_schema
from stream.spec import Spec
from stream.spec_load import event_schema

_CODECS = {
    "labels": "label", "predictions": "prediction", "metrics": "metric", "models": "model", "experiment": "control",
    "dead": "dead",
}  # fmt: skip


def read_topic(
    spec: Spec, settings: Settings, suffix: str, follow: Callable[[], bool] | None = None, last: int | None = None
) -> Iterator[Any]:
    """Raw consumed records of one of the pipeline's topics, from its beginning (or its last n) to its present end.

    With `follow`, go on for as long as it returns true.
    """
    with broker_errors(settings), consuming(settings) as consumer:
        yield from read_with(consumer, spec.topic(suffix), settings, follow, last)


def read_with(
    consumer: KafkaConsumer,
    topic: str,
    settings: Settings,
    follow: Callable[[], bool] | None = None,
    last: int | None = None,
) -> Iterator[Any]:
    """As `read_topic`, with a consumer that is there already; it is assigned anew."""
    partitions = partitions_of(consumer, [topic], settings)
    consumer.assign(partitions)
    ends = consumer.end_offsets(partitions)
    starts = consumer.beginning_offsets(partitions)
    for tp in partitions:
        consumer.seek(tp, max(starts[tp], ends[tp] - last) if last is not None else starts[tp])
    while (follow and follow()) or any(consumer.position(tp) < ends[tp] for tp in partitions):
        for records in consumer.poll(timeout_ms=200).values():
            yield from records


def decoder_for(
    spec: Spec, suffix: str, find_writer: Callable[[bytes | int], Any] | None = None
) -> Callable[[bytes], Any]:
    """Value bytes of a topic → something that prints as JSON. Raises ValueError for what can't be decoded."""
    if suffix == "events":
        schema = event_schema(spec)
        events = Decoder(schema, find_writer or (lambda key: schema if key == schema.fingerprint else None))

        def event(value: bytes) -> Any:
            found = events.decode(value)
            return {"rejected": found.code, "detail": found.detail} if isinstance(found, Reject) else found

        return event
    if suffix == "clean":
        return schemas.Codec(clean_schema(spec)).decode
    if suffix in ("features", "training"):
        return _block_summary(suffix)
    if suffix == "logs":
        return lambda value: value.decode("utf-8", "replace")
    return schemas.codec(_CODECS[suffix]).decode


def _block_summary(suffix: str) -> Callable[[bytes], Any]:
    def features(value: bytes) -> Any:
        block = decode_features(value)
        return {"rows": len(block), "numeric": block.numeric.shape[1], "categories": block.categories.shape[1],
                "first": block.ids[:1], "spec_hash": block.spec_hash}  # fmt: skip

    def training(value: bytes) -> Any:
        t = decode_training(value)
        return {"rows": len(t), "first": t.block.ids[:1], "labels": t.label[:8].tolist(),
                "label_offsets": [int(t.label_offset[0]), int(t.label_offset[-1])]}  # fmt: skip

    return features if suffix == "features" else training
