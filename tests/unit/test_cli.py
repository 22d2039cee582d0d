"""The command line: what a person sees when all is well, and when it is not. No broker needed."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import fastavro
import pytest
import typer
import yaml

from consumers import _kafka
from consumers import publish as publishing
from consumers.cli import (  # noqa: F401  they register
    commands,
    experiment,
    explain,
    export,
    look,
    main,
    make,
    optimise,
    schema,
)
from consumers.cli.app import app, jsonable
from consumers.cli.look import _decoded, _line
from consumers.publish import Rows, _Typist, field_name, field_value, label_value, to_epoch
from stream.arrive.schema import load_schema
from stream.errors import DataError
from stream.spec import Spec
from stream.spec_load import load_spec

FLIGHTS = Path(__file__).parents[2] / "examples" / "flights.yaml"


class Ran(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def headwater(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """The command, in this process: exit code, stdout, stderr. No HEADWATER_ variable reaches it."""
    for name in [n for n in os.environ if n.startswith("HEADWATER_")]:
        monkeypatch.delenv(name)

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([str(a) for a in arguments])
        got = capsys.readouterr()
        return Ran(int(left.value.code or 0), got.out, got.err)

    return run


@pytest.fixture
def flights(tmp_path: Path) -> Callable[[Callable[[dict[str, Any]], object]], Path]:
    """A copy of the flights' spec, changed by a function."""

    def changed(change: Callable[[dict[str, Any]], object]) -> Path:
        raw = yaml.safe_load(FLIGHTS.read_text())
        raw["event"]["schema"] = str(FLIGHTS.parent / raw["event"]["schema"])
        change(raw)
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(raw))
        return path

    return changed


def all_commands() -> list[list[str]]:
    """Every command and group, as the words that reach it."""

    def walk(command: Any, words: list[str]) -> Iterator[list[str]]:
        yield words
        for name, inner in getattr(command, "commands", {}).items():
            yield from walk(inner, [*words, name])

    return list(walk(typer.main.get_command(app), []))


# -- help ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", all_commands(), ids=lambda w: " ".join(w) or "(top)")
def test_every_help_shows_an_example_of_that_very_command(words: list[str], headwater: Run) -> None:
    ran = headwater(*words, "--help")
    assert ran.code == 0
    assert f"Example: headwater {' '.join(words)}" in " ".join(ran.out.split())


@pytest.mark.parametrize("words", all_commands(), ids=lambda w: " ".join(w) or "(top)")
def test_every_example_is_taken_by_the_command(words: list[str], headwater: Run) -> None:
    import shlex

    text = " ".join(headwater(*words, "--help").out.split()).partition("Example: headwater ")[2]
    example = shlex.split(text.partition("Options:")[0].partition("Arguments:")[0])
    context: Any = None
    command: Any = typer.main.get_command(app)
    while example and example[0] in getattr(command, "commands", {}):
        command = command.commands[example.pop(0)]
    context = command.make_context("x", example)  # raises for what it does not know
    assert context.params is not None


def test_help_loads_neither_kafka_nor_the_models() -> None:
    code = (
        "import sys; from consumers.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print([m for m in ('kafka', 'numba', 'numpy', 'pydantic', 'fastavro', 'grpc') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# -- check ---------------------------------------------------------------------------------------------


def test_a_good_spec_is_summed_up(headwater: Run) -> None:
    ran = headwater("check", FLIGHTS)
    assert (ran.code, ran.err) == (0, "")
    for part in (
        "flights",
        load_spec(FLIGHTS).hash,
        "scheduled.hour",
        "tree.hoeffding",
        "flights.events (2)",
    ):
        assert part in ran.out


def test_check_as_json_is_json_and_says_how_fields_are_encoded(headwater: Run) -> None:
    found = json.loads(headwater("check", FLIGHTS, "--json").out)
    assert found["ok"] is True
    assert found["fields"]["distance"] == {"type": "numeric", "becomes": {"number": ["distance"]}}
    assert found["arms"]["tree"]["share"] == 0.5
    assert found["topics"]["flights.labels"] == 1


def spoil(raw: dict[str, Any]) -> None:
    raw["event"]["id"] = "nobody"
    raw["event"]["fields"]["distance"]["type"] = "boolean"
    raw["event"]["fields"]["distance"].pop("min")
    raw["event"]["fields"]["distance"].pop("max")
    raw["arms"]["tree"]["model"] = "tree.oak"


def test_every_fault_of_a_spec_is_told_with_its_path(headwater: Run, flights: Any) -> None:
    ran = headwater("check", flights(spoil))
    assert ran.code == 2
    assert ran.out == ""
    for part in (
        "event.id: found 'nobody'",
        "event.fields.distance: ",
        "arms.tree.model: found 'tree.oak'; allowed",
    ):
        assert part in ran.err


def test_the_faults_as_json_are_on_stdout_with_the_same_exit_code(headwater: Run, flights: Any) -> None:
    ran = headwater("check", flights(spoil), "--json")
    found = json.loads(ran.out)
    assert (ran.code, ran.err, found["ok"]) == (2, "", False)
    assert [p["path"] for p in found["problems"]] == ["event.id", "event.fields.distance", "arms.tree.model"]


# -- bad input -----------------------------------------------------------------------------------------


def make_inputs(folder: Path) -> None:
    (folder / "text.yaml").write_text("just words")
    (folder / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (folder / "broken.yaml").write_text("a: [1, 2")
    (folder / "broken.avsc").write_text("{")
    (folder / "strange.avsc").write_text('{"type": "string"}')
    (folder / "empty.csv").write_text("")
    (folder / "head.csv").write_text("a,b\n")
    (folder / "short.csv").write_text("a,b\n1,2\n3\n")
    (folder / "twice.csv").write_text("a,a\n1,2\n")
    (folder / "list.jsonl").write_text("[1]\n")
    (folder / "bad.avro").write_bytes(b"Obj\x01 no")
    (folder / "folder.csv").mkdir()


BAD = [
    ("check nope.yaml", 2, "nope.yaml: can't be read: No such file"),
    ("check folder.csv", 2, "Is a directory"),
    ("check text.yaml", 2, "a mapping with name, task, event, arms is wanted"),
    ("check binary.yaml", 2, "not YAML"),
    ("check broken.yaml", 2, "not YAML"),
    ("check", 2, "Missing argument 'SPEC'"),
    ("check FLIGHTS --frob", 2, "No such option: --frob (see: headwater check --help)"),
    ("frob", 2, "No such command 'frob'"),
    ("", 2, "Usage: headwater"),
    ("topics", 2, "Usage: headwater topics"),
    ("run FLIGHTS frob", 4, "steps: found frob"),
    ("run FLIGHTS clean --shard x", 2, "--shard: found 'x'"),
    ("status FLIGHTS --kafka nowhere", 2, "--kafka: found 'nowhere'; host:port is wanted"),
    ("status FLIGHTS --kafka a:99999", 2, "--kafka: found 'a:99999'"),
    ("status FLIGHTS --kafka", 2, "--kafka"),
    ("tail FLIGHTS frob", 4, "topic: found 'frob'; allowed: events, clean"),
    ("tail FLIGHTS events --last many", 2, "--last"),
    ("tail FLIGHTS events --last -1", 2, "--last"),
    ("publish FLIGHTS nope.csv", 4, "nope.csv: can't be read: No such file"),
    ("publish FLIGHTS folder.csv", 4, "folder.csv: can't be read: Is a directory"),
    ("publish FLIGHTS text.yaml", 4, "text.yaml: found .yaml; wanted: .csv"),
    ("publish FLIGHTS empty.csv --rate -1", 4, "--rate: found -1"),
    ("publish FLIGHTS empty.csv --label-time x", 4, "goes with --label"),
    ("init nope.csv", 4, "nope.csv: can't be read: No such file"),
    ("init nope.avsc", 3, "nope.avsc: can't be read"),
    ("init nope.avro", 4, "nope.avro: can't be read: No such file"),
    ("init bad.avro", 4, "bad.avro: no Avro file"),
    ("init folder.csv", 4, "folder.csv: can't be read: Is a directory"),
    ("init text.yaml --out x.yaml", 4, "text.yaml: found .yaml; wanted: .avsc, .csv"),
    ("init strange.avsc", 3, "an event is a record"),
    ("init empty.csv", 4, "empty.csv:1: no header"),
    ("init head.csv", 4, "head.csv: no row"),
    ("init short.csv", 4, "short.csv:3: 1 cells found; 2 are wanted"),
    ("init twice.csv", 4, "twice.csv:1: column 'a' twice"),
    ("init list.jsonl", 4, "list.jsonl:1: found list; one JSON object a line is wanted"),
    ("init short.csv --name Ä", 4, "--name: found 'Ä'"),
    ("schema check FLIGHTS nope.avsc", 3, "nope.avsc: can't be read"),
    ("schema check FLIGHTS broken.avsc", 3, "broken.avsc: not JSON"),
    ("schema check FLIGHTS strange.avsc --mode sideways", 2, "--mode"),
    ("schema register FLIGHTS", 4, "set HEADWATER_REGISTRY"),
    ("schema register FLIGHTS --registry ftp://x", 4, "an address like http://host:8081 is wanted"),
    ("predict nope", 4, "event: not JSON"),
    ("predict [1]", 4, "event: found list"),
    ("predict @nope.json", 4, "nope.json: can't be read"),
    ("replay dead FLIGHTS --code frob", 4, "--code: found frob; allowed: value.empty"),
]


@pytest.mark.parametrize(("line", "code", "said"), BAD, ids=[line or "(nothing)" for line, _, _ in BAD])
def test_bad_input_is_one_clear_message_and_an_exit_code(
    line: str, code: int, said: str, headwater: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_inputs(tmp_path)
    monkeypatch.chdir(tmp_path)
    ran = headwater(*(str(FLIGHTS) if word == "FLIGHTS" else word for word in line.split()))
    assert (ran.code, ran.out) == (code, "")
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert ran.err.startswith("Usage" if said.startswith("Usage") else "headwater: ")
    if not said.startswith("Usage"):
        assert len(ran.err.splitlines()) == 1


def test_a_file_that_may_not_be_read_is_told(headwater: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)  # the tests may run as root, who may read everything
    ran = headwater("check", FLIGHTS)
    assert (ran.code, ran.err) == (2, f"headwater: {FLIGHTS}: can't be read: Permission denied\n")


def test_a_wrong_variable_is_named(headwater: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_DELIVERY_TIMEOUT_MS", "soon")
    ran = headwater("status", FLIGHTS)
    assert ran.code == 2
    assert "HEADWATER_DELIVERY_TIMEOUT_MS: found 'soon'" in ran.err


@pytest.mark.parametrize(
    "words",
    [
        "status FLIGHTS",
        "tail FLIGHTS events",
        "topics create FLIGHTS",
        "publish FLIGHTS rows.csv",
        "replay dead FLIGHTS",
    ],
)
def test_a_broker_out_of_reach_is_told_in_bounded_time(words: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("flight_id\nx\n")
    line = [str(FLIGHTS) if w == "FLIGHTS" else w for w in words.split()] + ["--kafka", "127.0.0.1:1"]
    # In a process of its own: a client of kafka-python that can't connect leaves its sockets open.
    code = f"from consumers import _kafka, cli; _kafka.CONNECT_S = 0.5; cli.main({line!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=60)
    assert (done.returncode, done.stdout) == (5, "")
    assert "headwater: Kafka at 127.0.0.1:1: " in done.stderr
    assert "Traceback" not in done.stderr


def test_the_bound_for_a_broker_out_of_reach_is_15_seconds() -> None:
    assert _kafka.CONNECT_S == 15.0


def test_a_bug_still_crashes_with_its_traceback(headwater: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "spec_of", lambda path: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["check", str(FLIGHTS)])


def test_the_exit_code_of_a_command_is_that_of_the_process() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "consumers.cli", "check", "nope.yaml", "--json"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, "")
    assert json.loads(done.stdout)["problems"][0]["path"] == "can't be read"


# -- schema --------------------------------------------------------------------------------------------


def evolved(tmp_path: Path, change: Callable[[list[dict[str, Any]]], object]) -> Path:
    raw = json.loads((FLIGHTS.parent / "flights" / "flight.avsc").read_text())
    change(raw["fields"])
    path = tmp_path / "new.avsc"
    path.write_text(json.dumps(raw))
    return path


def add_with_default(fields: list[dict[str, Any]]) -> None:
    fields.append({"name": "gate", "type": ["null", "string"], "default": None})


def add_without_default(fields: list[dict[str, Any]]) -> None:
    fields.append({"name": "gate", "type": "string"})


def drop_the_id(fields: list[dict[str, Any]]) -> None:
    fields.pop(0)


@pytest.mark.parametrize(
    ("change", "mode", "code"),
    [
        (add_with_default, "full", 0),
        (add_without_default, "backward", 3),
        (add_without_default, "forward", 0),
        (add_without_default, "full", 3),
        (drop_the_id, "backward", 0),
        (drop_the_id, "forward", 3),
        (drop_the_id, "full", 3),
    ],
)
def test_schemas_are_compared_the_way_round_that_is_asked(
    change: Any, mode: str, code: int, headwater: Run, tmp_path: Path
) -> None:
    new = evolved(tmp_path, change)
    assert headwater("schema", "check", FLIGHTS, new, "--mode", mode).code == code
    ran = headwater("schema", "check", FLIGHTS, new, "--mode", mode, "--json")
    assert (ran.code, ran.err) == (code, "")
    assert json.loads(ran.out)["compatible"] is (code == 0)


def test_an_incompatible_schema_is_told_with_its_path(headwater: Run, tmp_path: Path) -> None:
    new = evolved(tmp_path, add_without_default)
    assert "flights.Flight.gate: the writer has no such field" in headwater("schema", "check", FLIGHTS, new).out
    found = json.loads(headwater("schema", "check", FLIGHTS, new, "--json").out)
    assert found["problems"]["backward"][0]["path"] == "flights.Flight.gate"


@pytest.fixture
def registry() -> Iterator[tuple[str, list[tuple[str, Any]]]]:
    """A registry that takes everything under id 7; its address, and what it was asked."""
    asked: list[tuple[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"id": 7}')

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_schema_is_registered_for_the_events_topic(
    headwater: Run, registry: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    url, asked = registry
    new = evolved(tmp_path, add_with_default)
    ran = headwater("schema", "register", FLIGHTS, new, "--registry", url, "--json")
    assert (ran.code, json.loads(ran.out)["id"]) == (0, 7)
    [(path, body)] = asked
    assert path == "/subjects/flights.events-value/versions"
    assert json.loads(body["schema"])["fields"][-1]["name"] == "gate"


def test_a_schema_that_the_pipeline_could_not_read_is_not_registered(
    headwater: Run, registry: tuple[str, list[tuple[str, Any]]], tmp_path: Path
) -> None:
    url, asked = registry
    ran = headwater("schema", "register", FLIGHTS, evolved(tmp_path, drop_the_id), "--registry", url)
    assert (ran.code, asked) == (3, [])
    assert "flights.Flight.flight_id" in ran.err


# -- showing -------------------------------------------------------------------------------------------


class Record(NamedTuple):
    value: bytes | None
    key: bytes | None = b"k"
    topic: str = "p.events"
    partition: int = 1
    offset: int = 7
    timestamp: int = 0


def test_json_holds_what_json_lacks_as_text() -> None:
    odd = {"nan": float("nan"), "inf": float("-inf"), "bytes": b"\xff", "tuple": (1, True, None)}
    text = json.dumps(jsonable(odd), allow_nan=False)
    assert json.loads(text) == {
        "nan": "NaN",
        "inf": "-Infinity",
        "bytes": {"base64": "/w=="},
        "tuple": [1, True, None],
    }


def test_a_record_that_can_not_be_decoded_is_shown_with_its_place() -> None:
    def refuse(value: bytes) -> Any:
        raise ValueError("not a\nlabel")

    shown = _decoded(Record(b"xyz", b"\xff"), refuse)
    assert (shown["partition"], shown["offset"]) == (1, 7)
    assert shown["undecodable"] == {"code": "ValueError", "detail": "not a label", "bytes": 3}
    assert "1:7" in _line(shown)
    assert "UNDECODABLE (3 bytes): ValueError: not a label" in _line(shown)


def test_a_decoded_record_is_one_line_whatever_it_holds() -> None:
    shown = _decoded(Record(b""), lambda value: {"text": "a\n[red]b\x1b[31m", "n": 1.5})
    assert _line(shown) == "1:7  1970-01-01 00:00:00.000  k  text=a·[red]b·[31m  n=1.5"
    assert "(a tombstone)" in _line(_decoded(Record(None), lambda value: value))


# -- publish: typing (sending is in tests/broker/test_cli_broker.py) -----------------------------------

EVENT = {
    "type": "record",
    "name": "E",
    "fields": [
        {"name": "id", "type": "string"},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "n", "type": ["null", "long"], "default": None},
        {"name": "x", "type": "double", "default": 1.5},
        {"name": "ok", "type": ["null", "boolean"], "default": None},
        {"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["a", "b"]}, "default": "a"},
        {"name": "small", "type": ["null", "int"], "default": None},
        {"name": "tags", "type": ["null", {"type": "array", "items": "string"}], "default": None},
    ],
}
FIELDS = {f.name: f for f in load_schema(EVENT).fields}


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        ("id", "NA", "NA"), ("id", "", ""), ("n", " 12 ", 12), ("n", "12.0", 12), ("n", "NA", None),
        ("n", "", None),
        ("x", "", 1.5), ("x", "1e3", 1000.0), ("ok", "Yes", True), ("ok", "0", False), ("kind", "b", "b"),
        ("kind", "", "a"), ("at", "1970-01-02", 86_400_000), ("at", "1970-01-01T01:00:00.5+01:00", 500),
        ("at", "17", 17), ("tags", '["p", "q"]', ["p", "q"]), ("small", "-2147483648", -(1 << 31)),
    ],
)  # fmt: skip
def test_a_cell_becomes_the_value_of_its_field(name: str, cell: str, value: object) -> None:
    found = field_value(FIELDS[name], cell, text=True)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "cell", "wanted"),
    [
        ("n", "1.5", "a whole number"), ("n", "1_000", "a whole number"),
        ("n", str(1 << 63), "a whole number"),
        ("small", "2147483648", "32 bits"), ("x", "1_0", "a number"), ("x", "ten", "a number"),
        ("ok", "maybe", "true or false"), ("kind", "c", "one of a, b"), ("at", "yesterday", "an ISO time"),
        ("at", "", "may not be missing"), ("tags", '{"p": 1}', "a list"), ("tags", "[1]", "text"),
    ],
)  # fmt: skip
def test_a_cell_that_does_not_fit_says_what_is_wanted(name: str, cell: str, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        field_value(FIELDS[name], cell, text=True)


@pytest.mark.parametrize(("name", "value"), [("id", 1), ("n", "1"), ("n", True), ("n", 1.0), ("ok", 1), ("x", "1")])
def test_json_values_must_have_the_type_itself(name: str, value: object) -> None:
    with pytest.raises(ValueError):
        field_value(FIELDS[name], value, text=False)


def test_names_of_columns_become_names_of_fields() -> None:
    names = {
        "Dep. delay (min)": "Dep_delay_min",
        "1st": "_1st",
        "größe": "große".replace("ß", ""),
        "a b": "a_b",
    }
    assert {column: field_name(column) for column in names} == names
    assert field_name("値") == "u5024"
    assert field_name("")


def test_times_are_exact_in_every_unit() -> None:
    assert to_epoch("2024-02-29T12:00:00.123456Z", "micros") == 1_709_208_000_123_456
    assert to_epoch("1969-12-31T23:59:59.999Z") == -1


@pytest.fixture
def small(tmp_path: Path) -> Spec:
    (tmp_path / "e.avsc").write_text(json.dumps(EVENT))
    (tmp_path / "small.yaml").write_text(
        "name: small\ntask: binary\nevent: {schema: e.avsc, id: id, time: at, fields: {n: {type: numeric}}}\n"
        "arms: {a: {model: linear.logistic}}\n"
    )
    return load_spec(tmp_path / "small.yaml")


def events(spec: Spec, path: Path, label: str | None = None) -> tuple[list[dict[str, Any]], list[Any], _Typist]:
    with Rows(path) as rows:
        typist = _Typist(spec, rows, label, None)
        found = [(e := typist.event(line, row), typist.label(line, row, e)) for line, row in rows]
    return [e for e, _ in found], [label for _, label in found], typist


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_file_is_read_with_the_delimiter_of_its_header(delimiter: str, small: Spec, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    lines = ["\ufefflate,id,at,n,extra", 'yes,"a\nb",5,1,x', ",c,2024-01-01,NA,y", ""]
    path.write_text("\n".join(lines).replace(",", delimiter), encoding="utf-8")
    got, labels, typist = events(small, path, "late")
    assert [(e["id"], e["at"], e["n"]) for e in got] == [("a\nb", 5, 1), ("c", 1_704_067_200_000, None)]
    assert labels == [{"id": "a\nb", "value": True, "time_ms": 5}, None]
    assert list(typist.notes) == ["left out, since the schema has no such field: extra"]


def test_avro_and_json_lines_give_the_same_events(small: Spec, tmp_path: Path) -> None:
    rows = [{"id": "a", "at": 5, "n": None, "x": 2.0, "ok": True, "kind": "b", "small": 3, "tags": ["t"]}]
    with (tmp_path / "rows.avro").open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(EVENT), rows)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    assert events(small, tmp_path / "rows.avro")[0] == events(small, tmp_path / "rows.jsonl")[0] == rows


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "rows.csv",
            "id,at,n\na,5,1\nb,6,one\n",
            "rows.csv:3: column n: found 'one'; wanted: a whole number",
        ),
        ("rows.csv", "id,at\na,5\n\nb,x\n", "rows.csv:4: column at: found 'x'"),
        ("rows.csv", 'id,at\na,5\n"b,6\n', "rows.csv:3: "),
        ("rows.csv", "id,at\na,5\nb,6,7\n", "rows.csv:3: 3 cells found; 2 are wanted"),
        (
            "rows.jsonl",
            '{"id": "a", "at": 5}\n{"id": 1, "at": 6}\n',
            "rows.jsonl:2: column id: found 1; wanted: text",
        ),
        ("rows.jsonl", '{"id": "a", "at": 5}\n{"id"\n', "rows.jsonl:2: not JSON"),
        ("rows.jsonl", '{"id": "a", "at": 5}\n' + "[" * 100_000, "rows.jsonl:2: "),
    ],
)
def test_a_bad_row_is_told_with_file_and_line(name: str, content: str, said: str, small: Spec, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as told:
        events(small, tmp_path / name)
    assert said in str(told.value)


def test_text_that_is_no_utf_8_is_told_with_its_line(small: Spec, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes(b"id,at\na,5\n" + b"\xff,6\n")
    with pytest.raises(DataError, match=r"rows\.csv:3: 'utf-8' codec"):
        events(small, tmp_path / "rows.csv")


def test_a_file_without_id_and_time_gets_both_and_says_so(small: Spec, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("n\n1\n1\n")
    got, _, typist = events(small, tmp_path / "rows.csv")
    again, _, _ = events(small, tmp_path / "rows.csv")
    assert len({e["id"] for e in got}) == 2
    assert [e["id"] for e in got] == [e["id"] for e in again]  # so that publishing twice learns once
    assert all(e["at"] > 1_700_000_000_000 for e in got)
    assert len(typist.notes) == 2


def test_a_field_that_nothing_fills_is_named(small: Spec, tmp_path: Path) -> None:
    raw = {**EVENT, "fields": [*EVENT["fields"], {"name": "must", "type": "long"}]}
    (tmp_path / "e.avsc").write_text(json.dumps(raw))
    (tmp_path / "rows.csv").write_text("id,at\na,5\n")
    with pytest.raises(DataError, match="no column for field must; found id, at"):
        events(load_spec(tmp_path / "small.yaml"), tmp_path / "rows.csv")


@pytest.mark.parametrize(
    ("task", "raw", "value"),
    [("binary", "YES", True), ("binary", 0, False), ("regression", "1.5", 1.5), ("classes", "red", "red")],
)
def test_labels_are_read_by_the_task(task: str, raw: Any, value: object, small: Spec) -> None:
    spec = small.model_copy(update={"task": task, "classes": ("red", "blue")})
    assert label_value(spec, raw) == value


@pytest.mark.parametrize(("task", "raw"), [("binary", "2"), ("regression", "x"), ("classes", "green")])
def test_labels_outside_the_task_are_refused(task: str, raw: Any, small: Spec) -> None:
    spec = small.model_copy(update={"task": task, "classes": ("red", "blue")})
    with pytest.raises(ValueError):
        label_value(spec, raw)


class FakeProducer:
    """Remembers what was sent, in order."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []

    def send(self, topic: str, value: bytes, key: bytes) -> Any:
        self.sent.append((topic.rpartition(".")[2], key))
        return type("Future", (), {"get": lambda self, timeout: None})()

    def flush(self, timeout: float) -> None:
        pass


def sender(spec: Spec, monkeypatch: pytest.MonkeyPatch) -> tuple[Any, FakeProducer]:
    producer = FakeProducer()
    monkeypatch.setattr(publishing, "make_producer", lambda settings: producer)
    return publishing._Sender(spec, None, None), producer  # type: ignore[arg-type]


def row(name: str, at: int, label_at: int | None) -> tuple[dict[str, Any], dict[str, Any] | None, str]:
    event = {"id": name, "at": at, "n": 1, "x": 1.0, "ok": None, "kind": "a", "small": None, "tags": None}
    return event, None if label_at is None else {"id": name, "value": True, "time_ms": label_at}, "f:1"


def test_labels_go_out_when_their_time_comes(small: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    send, producer = sender(small, monkeypatch)
    for each in (row("a", 10, 30), row("b", 20, 20), row("c", 30, 35), row("d", 40, None)):
        send.send(*each)
    send.finish(all_labels=True)
    said = [f"{topic[0]}:{key.decode()}" for topic, key in producer.sent]
    assert said == ["e:a", "e:b", "l:b", "e:c", "l:a", "l:c", "e:d"]
    assert (send.events, send.labels) == (4, 3)


def test_a_label_of_its_events_own_time_goes_right_after_it(small: Spec, monkeypatch: pytest.MonkeyPatch) -> None:
    send, producer = sender(small, monkeypatch)
    for each in (row("a", 10, 10), row("b", 10, 10), row("c", 5, 5)):
        send.send(*each)
    said = [f"{topic[0]}:{key.decode()}" for topic, key in producer.sent]
    assert said == ["e:a", "l:a", "e:b", "l:b", "e:c", "l:c"]


def test_an_event_larger_than_the_pipeline_takes_is_refused_before_it_is_sent(
    small: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, producer = sender(small, monkeypatch)
    with pytest.raises(DataError, match="f:1: an event of 1048605 bytes"):
        send.send(*row("x" * (1 << 20), 1, None))
    with pytest.raises(DataError, match="f:1: can't be written as Avro"):
        send.send(*row("\ud800", 1, None))
    assert producer.sent == []
