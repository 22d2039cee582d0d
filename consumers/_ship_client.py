"""The adapter to Elasticsearch: a client made the one safe way, documents sent, errors turned into ours.

A document is *taken* (created, or there already), *refused* (the document is at fault: sending it again is in vain), or
*not delivered* (`NotDelivered`: anything else; it may or may not be there). Elasticsearch refuses a second document of
an id only within one backing index, so what may have been sent before is looked for in all of them first.
"""

import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from elasticsearch import ApiError, Elasticsearch, TransportError
from elasticsearch.helpers import streaming_bulk
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from consumers._otel import Spans
from consumers.settings import Settings
from stream.errors import DataError, ElasticError
from stream.ship.documents import Document

log = structlog.get_logger()
BULK_DOCUMENTS = 2_000
BULK_BYTES_MAX = 5 << 20
REQUEST_S_MAX = 15.0
ATTEMPTS = 2  # of a batch, before it goes to the spool
BACKOFF_S = 0.2
LOOK_UP_MAX = 5_000  # ids in one search
_BUSY = (429, 502, 503, 504)
_FIELD = re.compile(r"failed to parse field \[([^\]]+)\] of type \[([^\]]+)\]")


class NotDelivered(Exception):
    """Elasticsearch can't be reached, is too busy, or is not set up; no fault of any document."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A document that Elasticsearch will never take, and its reason."""

    document: Document
    why: str


def make_client(settings: Settings, request_s: float = REQUEST_S_MAX) -> Elasticsearch:
    """A client of the Elasticsearch in the settings; nothing is asked yet. It retries nothing by itself."""
    options: dict[str, Any] = {"request_timeout": request_s, "max_retries": 0, "retry_on_timeout": False}
    if settings.elasticsearch_key is not None:
        try:
            options["api_key"] = settings.elasticsearch_key.read_text().strip()
        except OSError as error:
            raise DataError(f"{settings.elasticsearch_key}: can't be read: {error.strerror}") from None
    if settings.elasticsearch_ca is not None:
        options["ca_certs"] = str(settings.elasticsearch_ca)
    try:
        return Elasticsearch(settings.elasticsearch, **options)
    except ValueError as error:
        found = f"found {settings.elasticsearch!r}; http://host:port is wanted"
        raise DataError(f"HEADWATER_ELASTICSEARCH: {found} ({error})") from None


def elastic_error(settings: Settings, error: Exception) -> ElasticError:
    """One line for a person."""
    return ElasticError(f"Elasticsearch at {settings.elasticsearch}: {told(error)}")


def told(error: Exception) -> str:
    """What went wrong, short."""
    if isinstance(error, ApiError):
        cause = error.body.get("error") if isinstance(error.body, dict) else None
        reason = cause.get("reason") if isinstance(cause, dict) else None
        return " ".join(f"{error.status_code} {error.message}: {reason or ''}".split())[:500]
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]


class Sender:
    """Sends documents; one thread at a time."""

    def __init__(self, client: Elasticsearch, spans: Spans | None = None) -> None:
        self._client, self._spans = client, spans
        self._blind = False

    def send(self, documents: Sequence[Document], doubtful: bool, attempts: int = ATTEMPTS) -> list[Refusal]:
        """All are there when this returns, but for those that are refused. Raises NotDelivered.

        `doubtful`: they may have been sent before. After a failure they always may.
        """
        left, refusals, begun_ns = list(documents), list[Refusal](), time.time_ns()
        for attempt in Retrying(
            retry=retry_if_exception_type(NotDelivered),
            wait=wait_random_exponential(0.2, max=2.0),
            stop=stop_after_attempt(attempts),
            reraise=True,
        ):
            with attempt:
                try:
                    if doubtful or attempt.retry_state.attempt_number > 1:
                        left = self._missing(left)
                    left = self._create(left, refusals)
                except (ApiError, TransportError) as error:
                    raise NotDelivered(told(error)) from error
        if self._spans is not None:
            self._spans.block("ship", begun_ns, (), {"documents": len(documents), "refused": len(refusals)})
        return refusals

    def _create(self, documents: list[Document], refusals: list[Refusal]) -> list[Document]:
        """What is left; raises NotDelivered when something is."""
        by_id = {d.id: d for d in documents}
        actions: Any = documents
        why = ""
        for taken, answer in streaming_bulk(
            self._client,
            actions,
            chunk_size=BULK_DOCUMENTS,
            max_chunk_bytes=BULK_BYTES_MAX,
            expand_action_callback=_action,
            raise_on_error=False,
            max_retries=2,
            initial_backoff=BACKOFF_S,
            max_backoff=1.0,
            retry_on_status=_BUSY,
            require_data_stream=True,
        ):
            found = answer["create"]
            if taken or found["status"] == 409:
                continue
            if reason := _fault(found):
                refusals.append(Refusal(by_id[found["_id"]], reason))
            else:
                why = _why(found)
        if why:
            refusals.clear()  # they are sent again with the others, and refused again
            raise NotDelivered(why)
        return []

    def _missing(self, documents: list[Document]) -> list[Document]:
        """Those that are in no backing index. A key that may not look leaves all; then only the newest index counts."""
        if self._blind:
            return documents
        there: set[str] = set()
        by_stream: dict[str, list[str]] = {}
        for d in documents:
            by_stream.setdefault(d.stream, []).append(d.id)
        try:
            for stream, ids in by_stream.items():
                self._client.indices.refresh(index=stream, ignore_unavailable=True)
                for start in range(0, len(ids), LOOK_UP_MAX):
                    there |= self._look_up(stream, ids[start : start + LOOK_UP_MAX])
        except ApiError as error:
            if error.status_code != 403:
                raise
            self._blind = True
            log.warning("documents sent again are not looked for: the key may not read", error=told(error))
        return [d for d in documents if d.id not in there]

    def _look_up(self, stream: str, ids: Sequence[str]) -> set[str]:
        found = self._client.search(
            index=stream,
            query={"ids": {"values": ids}},
            size=len(ids),
            source=False,
            ignore_unavailable=True,
            filter_path="hits.hits._id",
        )
        return {hit["_id"] for hit in found.get("hits", {}).get("hits", ())}


def _action(document: Any) -> Any:
    """Already JSON, so it is not encoded again."""
    return {"create": {"_index": document.stream, "_id": document.id}}, document.body


def _fault(answer: Any) -> str | None:
    """The reason when the document itself is at fault, else None."""
    error = answer.get("error") or {}
    if answer["status"] not in (400, 413) or "pipeline with id" in str(error.get("reason", "")):
        return None
    text = _why(answer)
    if named := _FIELD.search(text):
        return f"field {named[1]} is mapped as {named[2]}: {text}"
    return text


def _why(answer: Any) -> str:
    """Elasticsearch's reason with all its causes."""
    error, parts = answer.get("error") or {}, list[str]()
    if isinstance(error, str):
        return f"{answer['status']} {error}"
    while isinstance(error, dict) and error:
        parts.append(f"{error.get('type')}: {error.get('reason')}")
        error = error.get("caused_by")
    return " ".join(f"{answer['status']} {'; '.join(parts)}".split())


def highest(client: Elasticsearch, streams: Iterable[str], pipeline: str) -> dict[str, dict[int, int]]:
    """Topic → partition → highest offset with a document in these data streams. Raises ApiError, TransportError."""
    by = {"partition": {"terms": {"field": "headwater.kafka.partition", "size": 1000},
                        "aggs": {"offset": {"max": {"field": "headwater.kafka.offset"}}}}}  # fmt: skip
    index = ",".join(streams)
    client.indices.refresh(index=index, ignore_unavailable=True)
    found = client.search(
        index=index,
        size=0,
        query={"term": {"headwater.pipeline": pipeline}},
        aggs={"topic": {"terms": {"field": "headwater.kafka.topic", "size": 100}, "aggs": by}},
        ignore_unavailable=True,
    )
    topics = found.get("aggregations", {}).get("topic", {}).get("buckets", ())
    return {
        t["key"]: {int(p["key"]): int(p["offset"]["value"]) for p in t["partition"]["buckets"]} for t in topics
    }  # fmt: skip
