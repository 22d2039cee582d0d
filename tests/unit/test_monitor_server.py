"""The monitor's server, asked over a real socket: who may look, who may act, and what leaves it."""

import contextlib
import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from monitor_states import MARKUP, STATES

from consumers.monitor.access import Access, access_of
from consumers.monitor.run import Web
from consumers.monitor.server import BODY_BYTES_MAX, STREAMS_MAX, to_json
from consumers.monitor.state import State
from stream.errors import DataError, SnapshotError

TOKEN = "correct-horse"


class Fixed:
    """A source that tells one state and remembers what it was asked to do."""

    def __init__(self, name: str = "running") -> None:
        self.name, self.done = name, list[Any]()

    def state(self) -> State:
        return STATES[self.name]()

    def replay(self, offsets: tuple[int, ...], code: str) -> str:
        self.done.append((offsets, code))
        return "sent"

    def rollback(self, generation: int | None) -> str:
        if generation == 13:
            raise SnapshotError("no generation 13")
        self.done.append(generation)
        return "rolled"


class Asked:
    """A server of its own, and questions to it."""

    def __init__(self, source: Fixed, access: Access, static: Path) -> None:
        (static / "index.html").write_text("<!doctype html>")
        (static / "app.js").write_text("1")
        self.source, self.web = source, Web(source, access, static, every_s=0.01)
        self.port = self.web.start()

    def __call__(
        self, method: str, path: str, body: Any = None, **headers: str | None
    ) -> tuple[int, Any, dict[str, str]]:
        host = f"127.0.0.1:{self.port}"
        given = {"Host": host, "Origin": f"http://{host}", "X-Headwater-Token": TOKEN}
        given |= {"Content-Type": "application/json"} if body is not None else {}
        given |= {k.replace("_", "-"): v for k, v in headers.items()}  # None: without it
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
            for name, value in {**given, "Content-Length": str(len(sent))}.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(sent)
            answer = connection.getresponse()
            raw = answer.read()
            kind = answer.headers.get("content-type", "")
            found = json.loads(raw) if kind.startswith("application/json") else raw
            return answer.status, found, {k.lower(): v for k, v in answer.headers.items()}


@contextlib.contextmanager
def asked(static: Path, access: Access | None = None, state: str = "running") -> Iterator[Asked]:
    one = Asked(Fixed(state), access or Access("127.0.0.1", 0, True, (), TOKEN), static)
    try:
        yield one
    finally:
        one.web.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    with asked(tmp_path_factory.mktemp("static")) as one:
        yield one


@pytest.fixture
def ask(shared: Asked) -> Asked:
    """The module's server; nothing was asked of it yet."""
    shared.source.name, shared.source.done = "running", []
    return shared


# -- looking ---------------------------------------------------------------------------------------------


def test_the_page_its_files_and_its_state_are_there(ask: Asked) -> None:
    assert ask("GET", "/")[:2] == (200, b"<!doctype html>")
    assert ask("GET", "/static/app.js")[:2] == (200, b"1")
    status, found, headers = ask("GET", "/api/state")
    assert (status, found) == (200, STATES["running"]())
    assert headers["content-type"] == "application/json"
    assert ask("GET", "/nothing")[0] == 404
    assert ask("GET", "/static/../server.py")[0] == 404


def test_every_answer_says_that_nothing_from_elsewhere_may_run_or_frame_it(ask: Asked) -> None:
    for path in ("/", "/static/app.js", "/api/state", "/nothing"):
        headers = ask("GET", path)[2]
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers


def test_the_stream_tells_the_state_again_and_again(ask: Asked) -> None:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", ask.port, timeout=30)) as connection:
        connection.request("GET", "/api/stream")
        answer = connection.getresponse()
        assert answer.headers["content-type"].startswith("text/event-stream")
        told = []
        for name in ("running", "broken_broker"):
            ask.source.name = name
            while True:
                assert answer.readline() == b"event: state\n"
                told.append(json.loads(answer.readline().removeprefix(b"data: ")))
                assert answer.readline() == b"\n"
                if told[-1]["broker"]["state"] == STATES[name]()["broker"]["state"]:
                    break
    assert told[-1] == STATES["broken_broker"]()


def test_so_many_pages_may_watch_and_no_more_and_a_closed_one_makes_room(ask: Asked) -> None:
    with contextlib.ExitStack() as open_:
        for _ in range(STREAMS_MAX):
            connection = open_.enter_context(
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", ask.port, timeout=30))
            )
            connection.request("GET", "/api/stream")
            answer = open_.enter_context(connection.getresponse())
            assert answer.readline() == b"event: state\n"
        status, found, _ = ask("GET", "/api/stream")
        assert status == 503
        assert "close one" in found["error"]
    told = threading.Event()
    for _ in range(3000):
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", ask.port, timeout=30)) as connection:
            connection.request("GET", "/api/stream")
            with connection.getresponse() as answer:
                if answer.status == 200:
                    break
        told.wait(0.01)
    assert answer.status == 200


# -- strangers -------------------------------------------------------------------------------------------


PAGES = (("GET", "/"), ("GET", "/api/state"), ("GET", "/static/app.js"))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8600", "127.0.0.1.evil.example", "10.0.0.1", "", "[::1", "localhost@evil"]
)
def test_a_host_that_is_none_of_ours_sees_nothing(ask: Asked, host: str) -> None:
    for method, path in (*PAGES, ("POST", "/api/replay")):
        status, found, _ = ask(method, path, {"code": "a.b"}, Host=host)
        assert status == 421
        assert found["error"].startswith("Host:")
    assert ask.source.done == []


def test_a_request_that_names_no_host_sees_nothing(ask: Asked) -> None:
    """Without a body: the server hangs up on it before it reads one, and what it left unread would reset the line."""
    for method, path in (*PAGES, ("POST", "/api/replay")):
        assert ask(method, path, Host=None)[0] == 400
    assert ask.source.done == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.2:80", "[::1]:8600"])
def test_names_of_this_machine_may_look_whatever_the_port(ask: Asked, host: str) -> None:
    assert ask("GET", "/api/state", Host=host)[0] == 200


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"Origin": "http://evil.example"}, "Origin"),
        ({"Origin": "null"}, "Origin"),
        ({"Origin": None}, "Origin"),
        ({"Origin": "http://127.0.0.1:1"}, "Origin"),
        ({"X_Headwater_Token": None}, "X-Headwater-Token"),
        ({"X_Headwater_Token": "wrong"}, "X-Headwater-Token"),
        ({"X_Headwater_Token": ""}, "X-Headwater-Token"),
        ({"X_Headwater_Token": TOKEN.upper()}, "X-Headwater-Token"),
    ],
)
def test_without_our_origin_and_the_token_nothing_is_done(ask: Asked, headers: dict[str, Any], said: str) -> None:
    for path, body in (("/api/replay", {"code": "a.b"}), ("/api/rollback", {"generation": 1})):
        status, found, _ = ask("POST", path, body, **headers)
        assert status == 403
        assert said in found["error"]
    assert ask.source.done == []


def test_a_form_of_another_site_is_no_request(ask: Asked) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", None):
        assert ask("POST", "/api/replay", {"code": "a.b"}, Content_Type=kind)[0] == 415
    assert ask("GET", "/api/replay")[0] == 405
    assert ask.source.done == []


def test_read_only_refuses_whoever_asks(tmp_path: Path) -> None:
    with asked(tmp_path, access_of("127.0.0.1:0", write=False, beyond_loopback=False)) as ask:
        assert ask("GET", "/api/state")[0] == 200
        for token in (TOKEN, "", None):
            status, found, _ = ask("POST", "/api/rollback", {"generation": 1}, X_Headwater_Token=token)
            assert status == 403
            assert "--write" in found["error"]
        assert ask.source.done == []


# -- acting ----------------------------------------------------------------------------------------------


def test_letters_are_sent_again_by_place_or_by_code_and_servers_go_back(ask: Asked) -> None:
    places = [{"partition": 0, "offset": n} for n in (7, 3, 7)]
    assert ask("POST", "/api/replay", {"positions": places})[:2] == (200, {"ok": True, "said": "sent"})
    assert ask("POST", "/api/replay", {"code": "avro.trailing"})[0] == 200
    assert ask("POST", "/api/rollback", {"generation": 4})[:2] == (200, {"ok": True, "said": "rolled"})
    assert ask("POST", "/api/rollback", {"generation": None})[0] == 200
    assert ask.source.done == [((3, 7), ""), ((), "avro.trailing"), 4, None]


def test_what_a_person_can_mend_is_said(ask: Asked) -> None:
    assert ask("POST", "/api/rollback", {"generation": 13})[:2] == (409, {"error": "no generation 13"})


BIG = json.dumps({"positions": [{"partition": 0, "offset": 10**9 + i} for i in range(4000)]}).encode()


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/api/replay", {}, 400),
        ("/api/replay", {"code": "a", "positions": []}, 400),
        ("/api/replay", {"code": 7}, 400),
        ("/api/replay", {"code": ""}, 400),
        ("/api/replay", {"positions": []}, 400),
        ("/api/replay", {"positions": {"partition": 0}}, 400),
        ("/api/replay", {"positions": [{"partition": 1, "offset": 0}]}, 400),
        ("/api/replay", {"positions": [{"partition": 0, "offset": -1}]}, 400),
        ("/api/replay", {"positions": [{"partition": False, "offset": 1}]}, 400),
        ("/api/replay", {"positions": [{"partition": 0, "offset": 1 << 63}]}, 400),
        ("/api/replay", {"positions": [3]}, 400),
        ("/api/replay", BIG, 413),
        ("/api/rollback", {}, 400),
        ("/api/rollback", {"generation": "1"}, 400),
        ("/api/rollback", {"generation": True}, 400),
        ("/api/rollback", {"generation": -1}, 400),
        ("/api/rollback", {"generation": 1.5}, 400),
        ("/api/rollback", [], 400),
        ("/api/rollback", b"{", 400),
        ("/api/rollback", b"[" * 60_000, 400),
    ],
)
def test_requests_that_can_not_be_are_refused(ask: Asked, path: str, body: Any, status: int) -> None:
    assert len(BIG) > BODY_BYTES_MAX
    found = ask("POST", path, body)
    assert found[0] == status
    assert len(found[1]["error"]) < 300
    assert ask.source.done == []


# -- texts of strangers ----------------------------------------------------------------------------------


def test_no_text_of_a_stranger_leaves_as_markup(tmp_path: Path) -> None:
    raw = to_json(STATES["hostile"]())
    assert json.loads(raw)["notes"] == [MARKUP]
    assert not set(b"<>&") & set(raw)
    assert raw.isascii()
    with asked(tmp_path, state="hostile") as ask:
        assert ask("GET", "/api/state")[1] == STATES["hostile"]()


def test_numbers_that_json_lacks_become_null() -> None:
    assert to_json({"a": [float("nan"), float("inf"), 1.5]}) == b'{"a":[null,null,1.5]}'


# -- beyond loopback -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bind", ["0.0.0.0:0", "[::]:0", "10.1.2.3:8600", "example.org:80"])
def test_an_address_that_others_reach_needs_a_word_and_then_a_token(bind: str) -> None:
    with pytest.raises(DataError, match="--beyond-loopback allows it"):
        access_of(bind, write=False, beyond_loopback=False)
    access = access_of(bind, write=False, beyond_loopback=True)
    assert access.beyond
    assert len(access.token) >= 32
    assert access.token != access_of(bind, write=False, beyond_loopback=True).token
    assert access.token not in repr(access)
    assert f"?token={access.token}" in access.url(1)


@pytest.mark.parametrize("bind", ["", "127.0.0.1", ":8600", "127.0.0.1:x", "127.0.0.1:70000"])
def test_what_is_no_address_is_said(bind: str) -> None:
    with pytest.raises(DataError, match="host:port is wanted"):
        access_of(bind, write=False, beyond_loopback=False)


def test_where_others_reach_it_nothing_is_shown_without_the_token(tmp_path: Path) -> None:
    access = Access("0.0.0.0", 0, False, ("watch.example",), TOKEN)
    with asked(tmp_path, access) as ask:
        for path in ("/", "/static/app.js", "/api/state", "/api/stream", "/?token=wrong", "/api/state?token=" + TOKEN):
            for token in (None, "wrong"):
                assert ask("GET", path, X_Headwater_Token=token)[0] == 401
        assert ask("GET", "/api/state")[0] == 200  # with the header
        status, _, headers = ask("GET", f"/?token={TOKEN}", X_Headwater_Token=None)
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        kept = cookie.partition(";")[0]
        assert ask("GET", "/api/state", X_Headwater_Token=None, Cookie=kept)[0] == 200
        assert ask("GET", "/api/state", Host="watch.example")[0] == 200
        assert ask("GET", "/api/state", Host="10.0.0.1:80")[0] == 200  # an address can't be rebound
        assert ask("GET", "/api/state", Host="evil.example")[0] == 421
        assert ask("POST", "/api/rollback", {"generation": 1}, Cookie=kept)[0] == 403  # still read-only


def test_without_a_token_no_empty_one_is_taken_for_it() -> None:
    assert not access_of("127.0.0.1:0", write=False, beyond_loopback=False).knows("")


def test_a_token_is_in_the_address_only_where_one_is_asked_for() -> None:
    assert access_of("127.0.0.1:0", write=False, beyond_loopback=False).url(9) == "http://127.0.0.1:9/"
    access = access_of("[::1]:0", write=True, beyond_loopback=False)
    assert access.url(9) == f"http://[::1]:9/#token={access.token}"


def test_a_page_that_is_open_does_not_disturb_the_end(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with asked(tmp_path) as ask, contextlib.closing(http.client.HTTPConnection("127.0.0.1", ask.port)) as open_page:
        open_page.request("GET", "/api/stream", headers={"Host": f"127.0.0.1:{ask.port}"})
        stream = open_page.getresponse()
        assert stream.readline() == b"event: state\n"
        ask.web.stop()
        assert stream.read().endswith(b"\n\n")  # ended whole: a stream that was cut raises IncompleteRead
    assert not [r for r in caplog.records if r.levelname == "ERROR"]
