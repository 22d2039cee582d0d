"""The registry client against a scripted server: what goes wrong between it and a registry.

The answers are those of Confluent's API documentation; tests/registry holds the client to a real registry.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from consumers import _registry
from consumers._registry import MISSING_S, SchemaRegistry
from stream.arrive.schema import load_schema
from stream.errors import BrokerError, DataError, SchemaError

EVENT = {"type": "record", "name": "E", "fields": [{"name": "a", "type": "long"}]}
SCHEMA = load_schema(EVENT)
NO_SCHEMA = (404, {"error_code": 40403, "message": "Schema 7 not found"})


class Script:
    """A server on this machine that gives the queued answers in turn, the last one again and again."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, Any]] = []
        self.asked: list[tuple[str, str, Any, dict[str, str]]] = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length)) if length else None
                script.asked.append((self.command, self.path, body, dict(self.headers)))
                status, what = script.answers.pop(0) if len(script.answers) > 1 else script.answers[0]
                if status == 0:  # hang up, or wait and hang up
                    time.sleep(what)
                    self.close_connection = True
                    return
                content = what if isinstance(what, bytes) else json.dumps(what).encode()
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


class Ticking:
    """Monotonic seconds that move when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_a_known_schema_is_asked_for_once(script: Script) -> None:
    script.answers = [(200, {"schema": json.dumps(EVENT)})]
    registry = SchemaRegistry(script.url + "/", 5)
    assert registry.schema_by_id(7) == registry.schema_by_id(7) == SCHEMA
    assert [each[:2] for each in script.asked] == [("GET", "/schemas/ids/7")]


def test_an_unknown_schema_is_not_asked_for_again_for_a_short_time(script: Script) -> None:
    script.answers = [NO_SCHEMA, (200, {"schema": json.dumps(EVENT)})]
    clock = Ticking()
    registry = SchemaRegistry(script.url, 5, clock=clock)
    assert registry.schema_by_id(7) is None
    clock.now_s += MISSING_S * 0.99
    assert registry.schema_by_id(7) is None
    assert len(script.asked) == 1
    clock.now_s += MISSING_S * 0.02
    assert registry.schema_by_id(7) == SCHEMA


def test_what_is_remembered_is_bounded(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "CACHE_MAX", 3)
    script.answers = [NO_SCHEMA]
    registry = SchemaRegistry(script.url, 5)
    for schema_id in (1, 2, 3, 4, 4, 3, 2):
        assert registry.schema_by_id(schema_id) is None
    assert len(script.asked) == 4
    registry.schema_by_id(1)
    assert len(script.asked) == 5


def test_an_unacceptable_schema_is_refused_each_time_and_asked_for_once(script: Script) -> None:
    script.answers = [(200, {"schema": '"string"'})]
    registry = SchemaRegistry(script.url, 5)
    for _ in range(2):
        with pytest.raises(SchemaError, match=r"schema id 7: .top.: given .* an event is a record"):
            registry.schema_by_id(7)
    assert len(script.asked) == 1


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"schema": "{}", "schemaType": "PROTOBUF"}, "of type PROTOBUF found, only AVRO"),
        ({"schema": json.dumps(EVENT), "references": [{"name": "x"}]}, "refers to other subjects"),
    ],
)
def test_other_kinds_of_schema_are_refused(script: Script, answer: dict[str, Any], said: str) -> None:
    script.answers = [(200, answer)]
    with pytest.raises(SchemaError, match=said):
        SchemaRegistry(script.url, 5).schema_by_id(7)


@pytest.mark.parametrize("trouble", [(500, {}), (503, b"busy"), (429, {}), (0, 0.0)])
def test_passing_trouble_is_tried_again(script: Script, trouble: tuple[int, Any]) -> None:
    script.answers = [trouble, trouble, (200, {"id": 3})]
    assert SchemaRegistry(script.url, 10).register("s", SCHEMA) == 3
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    ("trouble", "said"),
    [((503, {"error_code": 50001, "message": "no leader"}), "HTTP 503: no leader"), ((0, 30), "timed out")],
)
def test_lasting_trouble_ends_at_the_deadline_naming_the_address(
    script: Script, trouble: tuple[int, Any], said: str
) -> None:
    script.answers = [trouble]
    started = time.monotonic()
    with pytest.raises(BrokerError, match=f"{script.url}: no answer within 0.6 s: .*{said}"):
        SchemaRegistry(script.url, 0.6).schema_by_id(7)
    assert time.monotonic() - started < 1.6


def test_nobody_listening_is_a_broker_error() -> None:
    with pytest.raises(BrokerError, match=r"http://127.0.0.1:9: no answer within 0.3 s: .*refused"):
        SchemaRegistry("http://127.0.0.1:9", 0.3).schema_by_id(1)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (401, {"error_code": 40101, "message": "Unauthorized"}, "HTTP 401: Unauthorized"),
        (302, b"", "HTTP 302"),
        (404, b"<html>no such page</html>", "HTTP 404: Not Found"),
        (404, {"error_code": 404, "message": "HTTP 404 Not Found"}, r"schema id 7: not found \(404\)"),
        (200, b"<html>hello</html>", "not an answer of a schema registry"),
        (200, [1], "not an answer of a schema registry"),
    ],
)
def test_what_trying_again_would_not_mend_is_not_tried_again(script: Script, status: int, body: Any, said: str) -> None:
    script.answers = [(status, body)]
    with pytest.raises(BrokerError, match=said):
        SchemaRegistry(script.url, 5).schema_by_id(7)
    assert len(script.asked) == 1


def test_an_endless_answer_is_cut_off(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_registry, "ANSWER_BYTES_MAX", 1000)
    script.answers = [(200, b"x" * 1001)]
    with pytest.raises(BrokerError, match="longer than 1000 bytes"):
        SchemaRegistry(script.url, 5).schema_by_id(7)


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (409, 409, "subject s: not compatible with the versions before: two lines"),
        (422, 42201, r"subject s: refused as invalid \(42201\): two lines"),
    ],
)
def test_a_refusal_is_one_line_that_names_the_subject(script: Script, status: int, code: int, said: str) -> None:
    script.answers = [(status, {"error_code": code, "message": "two\n lines"})]
    with pytest.raises(SchemaError, match=said) as refused:
        SchemaRegistry(script.url, 5).register("s", SCHEMA)
    assert "\n" not in str(refused.value)


def test_the_registrys_reasons_are_handed_on(script: Script) -> None:
    script.answers = [(200, {"is_compatible": False, "messages": ["no default for b"]})]
    assert SchemaRegistry(script.url, 5).compatible("a/b c", SCHEMA) == (False, ["no default for b"])
    method, path, body, _ = script.asked[0]
    assert (method, path) == ("POST", "/compatibility/subjects/a%2Fb%20c/versions/latest?verbose=true")
    assert body == {"schema": SCHEMA.text}


def test_a_subject_without_versions_takes_anything_and_has_no_latest(script: Script) -> None:
    script.answers = [(404, {"error_code": 40401, "message": "Subject not found."})]
    registry = SchemaRegistry(script.url, 5)
    assert registry.compatible("s", SCHEMA) == (True, [])
    assert registry.latest("s") is None


def test_the_password_is_sent_and_never_told(script: Script) -> None:
    script.answers = [(401, {"error_code": 40101, "message": "no"})]
    with pytest.raises(BrokerError) as refused:
        SchemaRegistry(script.url, 5, auth=("me", "s3cret")).schema_by_id(1)
    assert script.asked[0][3]["Authorization"] == "Basic " + base64.b64encode(b"me:s3cret").decode()
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize("url", ["localhost:8081", "file:///etc/passwd", "http://", "http://me:pw@host:1"])
def test_an_address_that_cant_be_one_is_refused(url: str) -> None:
    with pytest.raises(DataError) as refused:
        SchemaRegistry(url, 5)
    assert "pw" not in str(refused.value).replace("passwd", "")


def test_a_timeout_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="more than 0"):
        SchemaRegistry("http://host:1", 0)
