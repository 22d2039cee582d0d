"""What sends to Kafka, and the bounds of a record: apart from `_kafka`, so that who only sends loads no kernels.

Pitfalls that are measured in docs/decisions/kafka-loop.md decide each setting here.
"""

from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer

from consumers.settings import Settings

MESSAGE_BYTES_MAX = 8 << 20
DEAD_BYTES_MAX = 2 * MESSAGE_BYTES_MAX + (64 << 10)  # a letter repeats the record, its key twice, and says why
CONNECT_S = 15.0


@dataclass(frozen=True, slots=True)
class Out:
    """One record to send. topic: full name."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None


def common(settings: Settings) -> dict[str, Any]:
    """What every client is given."""
    return {"bootstrap_servers": settings.kafka.split(","), "client_id": "headwater"}


def make_producer(settings: Settings, transactional_id: str | None = None) -> KafkaProducer:
    """An idempotent producer; transactional when it has an id, by which a newer one fences this one out."""
    return KafkaProducer(
        **common(settings),
        transactional_id=transactional_id,
        transaction_timeout_ms=settings.transaction_timeout_ms,
        delivery_timeout_ms=settings.delivery_timeout_ms,
        request_timeout_ms=max(1000, settings.delivery_timeout_ms // 2),
        enable_idempotence=True,
        acks="all",
        linger_ms=2,
        retry_backoff_ms=10,  # a commit soon after another is asked to wait; with 100 that costs 0.1 s each time
        batch_size=256 * 1024,
        max_request_size=DEAD_BYTES_MAX,  # each topic has its own bound
        max_block_ms=round(CONNECT_S * 1000),
        allow_auto_create_topics=False,
        bootstrap_timeout_ms=round(CONNECT_S * 1000),
        metrics_enabled=False,
    )
