"""Logstash's pipeline, read as Logstash reads it: plugins and options are known, and a line ends up as `ship`'s would.

No Logstash runs here: the file is parsed, its filters are done on lines of our own logging by the meaning that their
documentation gives them, and what comes out is held to the mappings of the data stream that it goes to.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from consumers._kafka import TOPICS
from consumers._log import set_up
from consumers.settings import Settings
from stream.ship.datasets import COMMON, DATASETS
from stream.spec_load import load_spec

ROOT = Path(__file__).parents[2]
CONF = ROOT / "infra" / "logstash" / "headwater.conf"
OPTIONS = {  # of each plugin, as documented
    "kafka": {"bootstrap_servers", "topics_pattern", "group_id", "client_id", "auto_offset_reset", "isolation_level",
              "decorate_events", "codec"},
    "dissect": {"mapping"},
    "mutate": {"gsub", "add_field", "copy", "remove_field"},
    "elasticsearch": {"hosts", "data_stream", "data_stream_type", "data_stream_dataset", "data_stream_auto_routing"},
}  # fmt: skip
Plugin = tuple[str, dict[str, Any]]


class Parser:
    """Sections, plugins, options; values are texts, words, lists and hashes."""

    def __init__(self, text: str) -> None:
        plain = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        self._words = re.findall(r'"(?:[^"])*"|=>|[{}\[\],]|[^\s{}\[\],"]+', plain)

    def read(self) -> dict[str, list[Plugin]]:
        found: dict[str, list[Plugin]] = {}
        while self._words:
            section = self._next()
            self._next("{")
            found[section] = []
            while self._words[0] != "}":
                found[section].append((self._next(), self._options()))
            self._next("}")
        return found

    def _next(self, wanted: str | None = None) -> str:
        word = self._words.pop(0)
        assert wanted in (None, word), f"{word} where {wanted} is wanted"
        return word

    def _options(self) -> dict[str, Any]:
        self._next("{")
        found: dict[str, Any] = {}
        while self._words[0] != "}":
            name = self._next().strip('"')
            assert name not in found, f"{name} twice"
            self._next("=>")
            found[name] = self._value()
        self._next("}")
        return found

    def _value(self) -> Any:
        if self._words[0] == "{":
            return self._options()
        if self._words[0] != "[":
            return self._next().strip('"')
        self._next("[")
        found = []
        while self._words[0] != "]":
            found.append(self._value())
            if self._words[0] == ",":
                self._next(",")
        self._next("]")
        return found


READ = Parser(CONF.read_text()).read()


def path_of(reference: str) -> list[str]:
    """[a][b] → a, b."""
    assert re.fullmatch(r"(\[[^\[\]]+\])+", reference), reference
    return re.findall(r"\[([^\[\]]+)\]", reference)


def look(event: dict[str, Any], reference: str) -> Any:
    for name in path_of(reference):
        event = event[name]
    return event


def put(event: dict[str, Any], reference: str, value: Any) -> None:
    *folders, last = path_of(reference)
    for name in folders:
        event = event.setdefault(name, {})
    event[last] = value


def filtered(event: dict[str, Any]) -> dict[str, Any]:
    """The event after all filters. Within one mutate, copies come after gsub, and what is common to all comes last."""
    for plugin, options in READ["filter"]:
        for source, pattern in options.get("mapping", {}).items():
            names = re.findall(r"%\{([^}]+)\}", pattern)
            shape = "(.*)".join(re.escape(part) for part in re.split(r"%\{[^}]+\}", pattern))
            found = re.fullmatch(shape, look(event, source))
            assert found, f"{plugin}: {look(event, source)} is no {pattern}"
            for name, value in zip(names, found.groups(), strict=True):
                put(event, name, value)
        if gsub := options.get("gsub"):
            put(event, gsub[0], re.sub(gsub[1], gsub[2], look(event, gsub[0])))
        for source, target in options.get("copy", {}).items():
            put(event, target, look(event, source))
        for name, value in options.get("add_field", {}).items():
            put(event, name, value)
        for name in options.get("remove_field", ()):
            *folders, last = path_of(name)
            look(event, "".join(f"[{f}]" for f in folders)).pop(last, None)
    return event


def leaves(value: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, below in value.items():
        if isinstance(below, dict):
            yield from leaves(below, f"{path}{name}.")
        else:
            yield f"{path}{name}", below


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """A line as our processes write it."""
    kept = structlog.get_config()
    try:
        set_up(Settings(log_level="info"), None, "join")
        structlog.get_logger().info("committed", rows=7)
        found: dict[str, Any] = json.loads(capsys.readouterr().err.strip().splitlines()[-1])
    finally:
        structlog.configure(**kept)
    return found


def test_plugins_and_options_are_documented_ones() -> None:
    assert list(READ) == ["input", "filter", "output"]
    for plugins in READ.values():
        for name, options in plugins:
            assert set(options) <= OPTIONS[name], name


def test_it_reads_the_logs_topics_alone() -> None:
    [(_, kafka)] = READ["input"]
    spec, pattern = load_spec(ROOT / "examples" / "flights.yaml"), kafka["topics_pattern"]
    for pipeline in (spec.name, "a-b_c9"):
        topics = {t: spec.model_copy(update={"name": pipeline}).topic(t) for t in TOPICS}
        assert {t for t, name in topics.items() if re.fullmatch(pattern, name)} == {"logs"}
    assert not re.fullmatch(pattern, "flights-logs")
    assert (kafka["codec"], kafka["isolation_level"]) == ("json", "read_committed")


def test_a_line_becomes_what_ship_would_make_of_it(line: dict[str, Any]) -> None:
    metadata = {"kafka": {"topic": "my-shop.logs", "partition": 0, "offset": 41}}
    event = filtered({**line, "event": {"original": json.dumps(line)}, "@metadata": metadata})
    named, [(_, output)] = event["data_stream"], READ["output"]
    stream = f"{named['type']}-{named['dataset']}-{named['namespace']}"
    assert stream == DATASETS["logs"].stream("my-shop")
    assert (output["data_stream_type"], output["data_stream_dataset"]) == (named["type"], named["dataset"])
    assert (
        output["data_stream"] == output["data_stream_auto_routing"] == "true"
    )  # else every pipeline's lines go to one stream

    event.pop("@metadata")  # Logstash sends none of it
    found = dict(leaves(event))
    assert "event.original" not in found
    assert (found["headwater.kafka.topic"], found["headwater.kafka.offset"]) == ("my-shop.logs", 41)
    kinds = {f.name: f.kind for f in (*COMMON, *DATASETS["logs"].fields)}
    fits = {"keyword": str, "text": str, "date": str, "long": int, "double": float}
    for name in ("@timestamp", "message", "log.level", "headwater.step", "event.dataset"):
        assert name in found
    for name, value in found.items():
        assert isinstance(value, fits[kinds[name]]) if name in kinds else True, name
