"""Logstash's pipeline: plugins and options are known, and a line ends up where `ship` would bring it.

No Logstash runs here: a reader of ours (`logstash_reader.py`) does the filters on a line of our own logging, and what
comes out is held to the mappings of the data stream that it goes to.
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
from tests.unit.logstash_reader import READ, filtered

ROOT = Path(__file__).parents[2]
OPTIONS = {  # of each plugin, as documented
    "kafka": {"bootstrap_servers", "topics_pattern", "group_id", "client_id", "auto_offset_reset", "isolation_level",
              "decorate_events", "codec"},
    "dissect": {"mapping"},
    "mutate": {"gsub", "add_field", "copy", "remove_field"},
    "elasticsearch": {"hosts", "data_stream", "data_stream_type", "data_stream_dataset", "data_stream_auto_routing"},
}  # fmt: skip


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
