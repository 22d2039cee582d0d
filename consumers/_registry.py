"""The seam to a Schema Registry that speaks Confluent's HTTP API (Confluent's, Apicurio, Karapace, Redpanda).

What: look a writer's schema up by the id in front of an event; register, read and check those of a subject.
Why of our own: four requests, on the standard library; a client package would bring its own Avro parser.
Invariant: a call ends within about `timeout_s`, retries included (twice that, where a server drips bytes).
What can't be decided now (no answer, 5xx, 429, no permission) is a BrokerError naming the address and stops
the step; it never makes an event a Reject. What the registry says no to is a SchemaError of one line.

The bodies asked for and given are those of Confluent's documentation; `tests/unit/test_registry.py` holds
this client to a real registry.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import OpenerDirector, Request, build_opener

import tenacity

from consumers._http import NoRedirect
from stream.arrive.schema import EventSchema, schema_from_text
from stream.errors import BrokerError, DataError, SchemaError

MISSING_S = 2.0
"""How long an id that the registry does not know is not asked for again."""
CACHE_MAX = 4096
"""Most ids remembered, known and unknown each; past it the oldest is forgotten."""
ANSWER_BYTES_MAX = 4 << 20
"""Longest answer that is read."""
_AGAIN = {429, 500, 502, 503, 504}
_MEDIA = "application/vnd.schemaregistry.v1+json"


class Version(NamedTuple):
    """One version of a subject."""

    id: int
    version: int
    schema: EventSchema


class _Refused(Exception):
    """An answer of 4xx that a caller translates: status, the registry's error code, its message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.code, self.message = status, code, message
        super().__init__(message)


class _Again(Exception):
    """No answer, or one that may be different soon."""


class SchemaRegistry:
    """One registry. `url` is the API's root with its path, for Apicurio http://host:8080/apis/ccompat/v7.

    `timeout_s` bounds a call with its retries; `auth` is (user, password); `clock` gives monotonic seconds.
    Nothing is connected on creation. Raises DataError for an address that can't be one.
    """

    def __init__(
        self,
        url: str,
        timeout_s: float,
        auth: tuple[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"schema registry {url!r}: an address like http://host:8081 is wanted")
        if parts.username or parts.password:
            raise DataError(f"schema registry at {parts.hostname}: give user and password apart from the address")
        if timeout_s <= 0:
            raise DataError(f"schema registry {url}: a time-out of {timeout_s} s given, more than 0 wanted")
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._clock = clock
        self._opener: OpenerDirector = build_opener(NoRedirect())
        self._headers = {"Content-Type": _MEDIA, "Accept": f"{_MEDIA}, application/json"}
        if auth is not None:
            self._headers["Authorization"] = "Basic " + base64.b64encode(":".join(auth).encode()).decode()
        self._known: dict[int, EventSchema | SchemaError] = {}
        self._missing_until: dict[int, float] = {}

    def schema_by_id(self, schema_id: int) -> EventSchema | None:
        """The schema of this id, None if the registry has none; both remembered, None for MISSING_S.

        Raises SchemaError for a schema that's not acceptable (remembered too), BrokerError without an answer.
        """
        found = self._known.get(schema_id)
        if found is None and self._clock() >= self._missing_until.get(schema_id, 0.0):
            found = self._fetch(schema_id)
        if isinstance(found, SchemaError):
            raise found
        return found

    def register(self, subject: str, schema: EventSchema) -> int:
        """Register under the subject; gives the id, always the same for a schema. SchemaError if refused."""
        try:
            answer = self._ask("POST", f"/subjects/{quote(subject, safe='')}/versions", {"schema": schema.text})
        except _Refused as refused:
            raise self._translate(refused, f"subject {subject}") from None
        return self._number(answer, "id")

    def latest(self, subject: str) -> Version | None:
        """The subject's latest version; None if there is no such subject."""
        try:
            answer = self._ask("GET", f"/subjects/{quote(subject, safe='')}/versions/latest")
        except _Refused as refused:
            if refused.status == 404 and refused.code in (40401, 40402):
                return None
            raise self._translate(refused, f"subject {subject}") from None
        schema = self._schema(answer, f"subject {subject}")
        return Version(self._number(answer, "id"), self._number(answer, "version"), schema)

    def compatible(self, subject: str, schema: EventSchema) -> tuple[bool, list[str]]:
        """Whether the subject's rule allows this schema next, and the registry's reasons why not, if any.

        A subject without a version allows anything.
        """
        path = f"/compatibility/subjects/{quote(subject, safe='')}/versions/latest?verbose=true"
        try:
            answer = self._ask("POST", path, {"schema": schema.text})
        except _Refused as refused:
            if refused.status == 404 and refused.code in (40401, 40402):
                return True, []
            raise self._translate(refused, f"subject {subject}") from None
        if not isinstance(answer.get("is_compatible"), bool):
            raise self._strange(answer)
        return answer["is_compatible"], [str(each) for each in answer.get("messages") or []]

    def _fetch(self, schema_id: int) -> EventSchema | SchemaError | None:
        try:
            answer = self._ask("GET", f"/schemas/ids/{schema_id}")
        except _Refused as refused:
            if refused.status != 404 or refused.code != 40403:
                raise self._translate(refused, f"schema id {schema_id}") from None
            self._missing_until.pop(schema_id, None)
            _bound(self._missing_until)
            self._missing_until[schema_id] = self._clock() + MISSING_S
            return None
        _bound(self._known)
        try:
            self._known[schema_id] = self._schema(answer, f"schema id {schema_id}")
        except SchemaError as error:
            self._known[schema_id] = error
        return self._known[schema_id]

    def _schema(self, answer: dict[str, Any], what: str) -> EventSchema:
        source = f"schema registry {self.url}: {what}"
        kind, text = answer.get("schemaType", "AVRO"), answer.get("schema")
        if kind != "AVRO" or not isinstance(text, str):
            raise SchemaError(f"{source}: a schema of type {kind} found, only AVRO is read")
        if answer.get("references"):
            raise SchemaError(f"{source}: refers to other subjects, only schemas complete in themselves are read")
        return schema_from_text(text, source)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """One request, again while that may help and the deadline allows. Raises _Refused, BrokerError."""
        deadline_s = self._clock() + self._timeout_s
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Again),
            wait=tenacity.wait_random_exponential(multiplier=0.05, max=2.0),
            stop=tenacity.stop_before_delay(self._timeout_s),
            reraise=True,
        )
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers, method=method)
        try:
            return retrying(self._once, request, deadline_s)
        except _Again as error:
            raise BrokerError(f"schema registry {self.url}: no answer within {self._timeout_s} s: {error}") from None

    def _once(self, request: Request, deadline_s: float) -> dict[str, Any]:
        left_s = deadline_s - self._clock()
        if left_s <= 0:
            raise _Again("the time is used up")
        try:
            try:
                with self._opener.open(request, timeout=left_s) as response:
                    return self._json(self._read(response, deadline_s))
            except HTTPError as error:
                with error:
                    raise self._sorted(error, self._read(error, deadline_s)) from None
        except (OSError, HTTPException) as error:  # URLError is an OSError
            reason = str(getattr(error, "reason", error))
            raise _Again(reason or type(error).__name__) from None

    def _read(self, response: Any, deadline_s: float) -> bytes:
        content = b""
        while chunk := response.read1(65536):
            content += chunk
            if len(content) > ANSWER_BYTES_MAX:
                raise BrokerError(f"schema registry {self.url}: an answer longer than {ANSWER_BYTES_MAX} bytes")
            if self._clock() > deadline_s:
                raise _Again("the answer did not end in time")
        return content

    def _json(self, content: bytes) -> dict[str, Any]:
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            raise self._strange(content[:100]) from None
        if not isinstance(answer, dict):
            raise self._strange(answer)
        return answer

    def _sorted(self, error: HTTPError, content: bytes) -> Exception:
        """What an answer other than 2xx means: try again, the caller's to translate, or the end."""
        try:
            answer = json.loads(content)
            code, message = int(answer["error_code"]), str(answer["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            code, message = 0, str(error.reason)
        if error.code in _AGAIN:
            return _Again(f"HTTP {error.code}: {message}")
        if code and error.code in (404, 409, 422):
            return _Refused(error.code, code, " ".join(message.split())[:500])
        return BrokerError(f"schema registry {self.url}: HTTP {error.code}: {message[:500]}")

    def _translate(self, refused: _Refused, what: str) -> Exception:
        place = f"schema registry {self.url}: {what}"
        if refused.status == 409:
            return SchemaError(f"{place}: not compatible with the versions before: {refused.message}")
        if refused.status == 422:
            return SchemaError(f"{place}: refused as invalid ({refused.code}): {refused.message}")
        return BrokerError(f"{place}: not found ({refused.code}): {refused.message}")

    def _number(self, answer: dict[str, Any], key: str) -> int:
        value = answer.get(key)
        if type(value) is not int:
            raise self._strange(answer)
        return value

    def _strange(self, answer: object) -> BrokerError:
        return BrokerError(f"schema registry {self.url}: not an answer of a schema registry: {str(answer)[:200]}")


def _bound(cache: dict[int, Any]) -> None:
    if len(cache) >= CACHE_MAX:
        del cache[next(iter(cache))]
