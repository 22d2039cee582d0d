"""Who is at fault when a document is not taken: asked of a server that gives the answers of a real one."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tenacity import wait_none

from consumers import _ship_client
from consumers._ship_client import NotDelivered, Sender, make_client
from consumers.settings import Settings
from stream.arrive.records import Record
from stream.errors import DataError
from stream.ship.documents import Document

PARSING = {
    "type": "document_parsing_exception",
    "reason": "[1:9] failed to parse field [headwater.unit] of type [long] in document with id 'a'",
    "caused_by": {"type": "illegal_argument_exception", "reason": 'For input string: "u1"'},
}
Answer = Callable[[str], dict[str, Any]]


class Fake:
    """id → how its creation is answered (default: 201); `there`: ids that a search finds."""

    def __init__(self) -> None:
        self.answers: dict[str, list[dict[str, Any]]] = {}
        self.whole: list[int] = []  # statuses of the next bulk requests as a whole
        self.there: set[str] = set()
        self.forbidden: set[str] = set()
        self.asked: list[str] = []
        self.created: list[list[str]] = []
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status, answer = fake.answer(self.path, body)
                data = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("X-Elastic-Product", "Elasticsearch")
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_PUT = do_GET = do_POST

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        what = next(w for w in ("_bulk", "_search", "_refresh") if w in path)
        self.asked.append(what)
        if what in self.forbidden:
            return 403, {"error": {"type": "security_exception", "reason": "no"}, "status": 403}
        if what == "_refresh":
            return 200, {}
        if what == "_search":
            ids = json.loads(body)["query"]["ids"]["values"]
            return 200, {"hits": {"hits": [{"_id": i} for i in ids if i in self.there]}}
        assert "require_data_stream=true" in path
        if self.whole and (status := self.whole.pop(0)) != 200:
            return status, {"error": {"type": "some_exception", "reason": "why"}, "status": status}
        ids = [json.loads(line)["create"]["_id"] for line in body.splitlines()[::2]]
        self.created.append(ids)
        return 200, {"errors": True, "items": [{"create": self.item(i)} for i in ids]}

    def item(self, name: str) -> dict[str, Any]:
        given = self.answers.get(name)
        found = {"status": 201} if not given else given.pop(0) if len(given) > 1 else given[0]
        return {"_id": name, "_index": "i", **found}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fake]:
    monkeypatch.setattr(_ship_client, "wait_random_exponential", lambda *_, **__: wait_none())
    monkeypatch.setattr(_ship_client, "BACKOFF_S", 0.01)
    made = Fake()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture
def sender(fake: Fake) -> Iterator[Sender]:
    client = make_client(Settings(elasticsearch=fake.url))
    yield Sender(client)
    client.close()


def documents(*names: str) -> list[Document]:
    return [Document("logs-a-b", n, b'{"@timestamp":1}', Record("t", 0, i, 0, None, None)) for i, n in enumerate(names)]


def test_taken_and_there_already_are_both_delivered(fake: Fake, sender: Sender) -> None:
    fake.answers["b"] = [{"status": 409, "error": {"type": "version_conflict_engine_exception", "reason": "there"}}]
    assert sender.send(documents("a", "b", "c"), doubtful=False) == []
    assert fake.asked == ["_bulk"]


def test_a_document_at_fault_is_refused_with_field_type_and_all_causes(fake: Fake, sender: Sender) -> None:
    fake.answers["b"] = [{"status": 400, "error": PARSING}]
    [refusal] = sender.send(documents("a", "b", "c"), doubtful=False)
    assert refusal.document.id == "b"
    assert refusal.why.startswith("field headwater.unit is mapped as long: 400 document_parsing_exception: ")
    assert refusal.why.endswith('illegal_argument_exception: For input string: "u1"')


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (429, "rejected execution"),
        (503, "no primary"),
        (403, "index [x] blocked by: [FORBIDDEN/8/index write (api)]"),
        (404, "no such index [x] and [require_data_stream] request flag is [true]"),
        (400, "pipeline with id [headwater] does not exist"),
        (500, "broken"),
    ],
)
def test_anything_else_is_no_fault_of_the_document(fake: Fake, sender: Sender, status: int, reason: str) -> None:
    fake.answers["b"] = [{"status": status, "error": {"type": "x_exception", "reason": reason}}]
    with pytest.raises(NotDelivered) as raised:
        sender.send(documents("a", "b"), doubtful=False)
    assert f"{status} x_exception: {reason}" in str(raised.value)


def test_a_busy_server_is_asked_again_for_what_it_did_not_take(fake: Fake, sender: Sender) -> None:
    fake.answers["b"] = [{"status": 429, "error": {"type": "busy", "reason": ""}}, {"status": 201}]
    assert sender.send(documents("a", "b"), doubtful=False) == []
    assert fake.created == [["a", "b"], ["b"]]


def test_a_second_try_looks_for_what_the_first_may_have_left(fake: Fake, sender: Sender) -> None:
    fake.whole = [500]
    fake.there = {"a", "c"}
    fake.answers["d"] = [{"status": 400, "error": PARSING}]
    refusals = sender.send(documents("a", "b", "c", "d"), doubtful=False)
    assert [r.document.id for r in refusals] == ["d"]
    assert fake.created == [["b", "d"]]
    assert fake.asked == ["_bulk", "_refresh", "_search", "_bulk"]


def test_a_refusal_is_told_once_though_its_batch_was_sent_twice(fake: Fake, sender: Sender) -> None:
    fake.answers["a"] = [{"status": 400, "error": PARSING}]
    fake.answers["b"] = [{"status": 500, "error": {"type": "x", "reason": ""}}, {"status": 201}]
    assert [r.document.id for r in sender.send(documents("a", "b"), doubtful=False)] == ["a"]


def test_doubtful_documents_that_are_all_there_are_not_sent(fake: Fake, sender: Sender) -> None:
    fake.there = {"a", "b"}
    assert sender.send(documents("a", "b"), doubtful=True) == []
    assert fake.created == []


@pytest.mark.parametrize("what", ["_search", "_refresh"])
def test_a_key_that_may_not_look_sends_all_and_asks_no_more(fake: Fake, sender: Sender, what: str) -> None:
    fake.forbidden, fake.there = {what}, {"a"}
    assert sender.send(documents("a"), doubtful=True) == []
    assert sender.send(documents("b"), doubtful=True) == []
    assert fake.created == [["a"], ["b"]]
    assert fake.asked.count("_refresh") == 1


@pytest.mark.parametrize("status", [401, 403, 413, 500, 502])
def test_a_request_refused_as_a_whole_is_not_delivered_after_so_many_tries(
    fake: Fake, sender: Sender, status: int
) -> None:
    fake.whole = [status] * 20
    with pytest.raises(NotDelivered, match=str(status)):
        sender.send(documents("a"), doubtful=False)
    assert fake.created == []


def test_nobody_there_is_not_delivered_and_says_where_it_was_looked_for(fake: Fake) -> None:
    client = make_client(Settings(elasticsearch="http://127.0.0.1:9"))
    with pytest.raises(NotDelivered, match="ConnectionError"):
        Sender(client).send(documents("a"), doubtful=False)
    client.close()


def test_a_key_s_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nokey: can't be read: No such file"):
        make_client(Settings(elasticsearch_key=tmp_path / "nokey"))
