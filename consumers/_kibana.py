"""The seam to Kibana's HTTP API: one request at a time, on the standard library, errors as one line.

Kibana wants the header `kbn-xsrf` with whatever changes something, and another space's paths begin with `/s/<space>`.
Requests are those of Elastic's documentation; tests/unit/test_kibana_client.py holds them to it.
"""

import json
import re
import ssl
import uuid
from http.client import HTTPException
from typing import Any, NamedTuple
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, Request, build_opener

from consumers._http import NoRedirect
from consumers.settings import Settings
from stream.errors import DataError, ElasticError

REQUEST_S_MAX = 60.0  # an import of all objects takes seconds on a cold Kibana
ANSWER_BYTES_MAX = 64 << 20
VERSION_MIN = (9, 1)  # rules name their dashboards and guide since then


class Answer(NamedTuple):
    """body: what the JSON says; of NDJSON a list of its lines."""

    status: int
    body: Any


class Kibana:
    """One Kibana and one space of it ('' is the default one). Nothing is connected on creation."""

    def __init__(self, settings: Settings, space: str = "") -> None:
        url = settings.kibana or ""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise DataError(f"HEADWATER_KIBANA: found {url!r}; http://host:port is wanted")
        if space and not re.fullmatch(r"[a-z0-9_-]+", space):
            raise DataError(f"--space: found {space!r}; small letters, digits, _ and - are allowed")
        self.url = url.rstrip("/")
        self._base = self.url + (f"/s/{quote(space)}" if space else "")
        self._headers = {"kbn-xsrf": "headwater", "Accept": "application/json"}
        if settings.kibana_key is not None:
            self._headers["Authorization"] = f"ApiKey {_read(settings.kibana_key)}"
        self._opener: OpenerDirector = build_opener(NoRedirect(), *_https(settings))

    def check(self) -> None:
        """Raise ElasticError unless this is a Kibana that is new enough."""
        answer = self.ask("GET", "/api/status")
        version = answer.body.get("version", {}).get("number", "") if isinstance(answer.body, dict) else None
        if version is None:
            raise self.wrong(answer, "GET", "/api/status")
        found = re.match(r"(\d+)\.(\d+)", version)
        if found and (int(found[1]), int(found[2])) < VERSION_MIN:
            raise ElasticError(f"Kibana at {self.url}: it is {version}; {VERSION_MIN[0]}.{VERSION_MIN[1]} is wanted")

    def ask(self, method: str, path: str, body: Any = None, allowed: tuple[int, ...] = ()) -> Answer:
        """Ask, with JSON. Raises ElasticError for anything but 2xx and `allowed`."""
        data = None if body is None else json.dumps(body).encode()
        return self._send(method, path, data, "application/json", allowed)

    def upload(self, path: str, name: str, text: str) -> Answer:
        """Send a file as a form does."""
        boundary = uuid.uuid4().hex
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
        data = f"{head}Content-Type: application/ndjson\r\n\r\n{text}\r\n--{boundary}--\r\n".encode()
        return self._send("POST", path, data, f"multipart/form-data; boundary={boundary}", ())

    def _send(self, method: str, path: str, data: bytes | None, content: str, allowed: tuple[int, ...]) -> Answer:
        headers = {**self._headers, **({"Content-Type": content} if data is not None else {})}
        request = Request(self._base + path, data, headers, method=method)
        try:
            try:
                with self._opener.open(request, timeout=REQUEST_S_MAX) as response:
                    answer = Answer(response.status, _parsed(response.read(ANSWER_BYTES_MAX)))
            except HTTPError as error:
                with error:
                    answer = Answer(error.code, _parsed(error.read(ANSWER_BYTES_MAX)))
        except (OSError, HTTPException) as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
            raise ElasticError(f"Kibana at {self.url}: {' '.join(reason.split())}") from None
        if not (200 <= answer.status < 300 or answer.status in allowed):
            raise self.wrong(answer, method, path)
        return answer

    def wrong(self, answer: Answer, method: str, path: str) -> ElasticError:
        """An answer that can't be used, in one line."""
        said = answer.body.get("message") if isinstance(answer.body, dict) else None
        text = " ".join(str(said or "no answer of a Kibana").split())[:500]
        return ElasticError(f"Kibana at {self.url}: {answer.status} to {method} {path}: {text}")


def _read(path: Any) -> str:
    try:
        return str(path.read_text().strip())
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None


def _https(settings: Settings) -> list[HTTPSHandler]:
    if settings.kibana_ca is None:
        return []
    try:
        return [HTTPSHandler(context=ssl.create_default_context(cafile=str(settings.kibana_ca)))]
    except (OSError, ssl.SSLError) as error:
        raise DataError(f"{settings.kibana_ca}: no certificates can be read: {error}") from None


def _parsed(content: bytes) -> Any:
    """JSON, or NDJSON as a list; None for anything else."""
    text = content.decode("utf-8", "replace").strip()
    for read in (json.loads, lambda all_: [json.loads(line) for line in all_.splitlines()]):
        try:
            return read(text) if text else {}
        except ValueError:
            continue
    return None
