"""The spec: every fault is reported at once, with its path, what was found and what is allowed; the hash names it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stream.errors import SpecError
from stream.spec import Spec, duration_ms
from stream.spec_load import event_schema, load_spec, parse_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "flights.yaml"
REMOVE = object()


def _raw() -> dict[str, Any]:
    raw: dict[str, Any] = yaml.safe_load(EXAMPLE.read_text())
    return raw


def _with(changes: dict[str, Any]) -> dict[str, Any]:
    """The example with values put at dotted paths ('/' where a key has dots)."""
    raw = copy.deepcopy(_raw())
    for path, value in changes.items():
        *way, last = path.split(".")
        part = raw
        for step in way:
            part = part.setdefault(step, {})
        if value is REMOVE:
            del part[last]
        else:
            part[last] = value
    return raw


def _parse(changes: dict[str, Any]) -> Spec:
    return parse_spec(_with(changes), EXAMPLE.parent)


def _problems(changes: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as caught:
        _parse(changes)
    return caught.value.problems


BROKEN: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": REMOVE}, ["name: missing; it is required"]),
    ({"name": "Flights!"}, ["name: found 'Flights!'; string should match pattern"]),
    ({"task": "guess"}, ["task: found 'guess'; input should be 'binary', 'regression' or 'classes'"]),
    ({"colour": "red"}, ["colour: found 'red'; there is no such setting here"]),
    ({"event.fields.origin.tpye": "text"}, ["event.fields.origin.tpye: found 'text'; there is no such setting"]),
    ({"event.fields.origin.type": "number"}, ["event.fields.origin.type: found 'number'; input should be 'numeric'"]),
    ({"event.fields.origin.min": 3}, ["event.fields.origin: min and max go with type numeric, not category"]),
    ({"event.fields.distance.min": 10_001}, ["event.fields.distance: min 10001.0 is above max 10000.0"]),
    ({"event.fields.distance.impute": "far"}, ["event.fields.distance: impute 'far' is not a numeric value"]),
    ({"event.fields.carrier.impute": "UA"}, ["event.fields.carrier: a required field is rejected when missing"]),
    ({"event.fields.scheduled.parts": ["year"]}, ["event.fields.scheduled.parts.0: found 'year'; input should be"]),
    ({"event.fields.scheduled.as": ["word"]}, ["event.fields.scheduled.as.0: found 'word'; input should be"]),
    ({"event.id": "nobody"}, ["event.id: found 'nobody'; the schema has flight_id, scheduled"]),
    ({"event.id": "distance"}, ["event.id: the schema's distance is a double; wanted here: string or long or enum"]),
    ({"event.time": "carrier"}, ["event.time: the schema's carrier is a string; wanted here: timestamp or long"]),
    ({"event.fields.wings": {"type": "numeric"}}, ["event.fields.wings: found 'wings'; the schema has"]),
    ({"event.fields.dest.type": "numeric"}, ["event.fields.dest: the schema's dest is a string; wanted here: double"]),
    ({"event.fields": {"dest": {"type": "ignore"}}, "arms": {"a": {"model": "linear.logistic"}}},
     ["event.fields: no field is used"]),
    ({"event.schema": "nothing.avsc"}, ["event.schema: "]),
    ({"event.writers": "nowhere"}, ["event.writers: found 'nowhere'; there is no such file or folder"]),
    ({"label.window": "soon"}, ["label.window: found 'soon'; a duration such as 500ms, 5s, 10m, 36h or 2d is wanted"]),
    ({"label.window": 0}, ["label.window: found 0; input should be greater than 0"]),
    ({"label.timeout": "never"}, ["label.timeout: found 'never'; input should be 'drop', 'negative' or 'importance'"]),
    ({"arms": {}}, ["arms: dictionary should have at least 1 item"]),
    ({"arms.Big": {"model": "linear.logistic"}}, ["arms.Big.[key]: found 'Big'; string should match pattern"]),
    ({"arms.logistic.model": "linear.magic"}, ["arms.logistic.model: found 'linear.magic'; allowed: linear.logistic"]),
    ({"arms.logistic.model": "linear.regression"}, ["arms.logistic.model: linear.regression is for regression"]),
    ({"arms.logistic.params.lr": -1}, ["arms.logistic.params.lr: found -1; Input should be greater than 0"]),
    ({"arms.logistic.params.speed": 1}, ["arms.logistic.params.speed: found 1; Extra inputs are not permitted"]),
    ({"arms.tree.params.delta": 2}, ["arms.tree.params.delta: found 2; Input should be less than 1"]),
    ({"arms.tree.without": ["wheels"]}, ["arms.tree.without: found 'wheels'; one of ['carrier', 'dest'"]),
    ({"arms.tree.fields": ["wheels"]}, ["arms.tree.fields: found 'wheels'; one of ['carrier', 'dest'"]),
    ({"arms.logistic.weight": 0, "arms.tree.weight": 0}, ["(top): the arms' weights add up to 0"]),
    ({"arms.logistic.weight": -1}, ["arms.logistic.weight: found -1; input should be greater than or equal to 0"]),
    ({"task": "classes"}, ["(top): classes are named when the task is 'classes', and only then"]),
    ({"classes": ["a", "b"]}, ["(top): classes are named when the task is 'classes', and only then"]),
    ({"task": "classes", "classes": ["a", "a"]}, ["(top): classes has a name twice: ['a', 'a']"]),
    ({"experiment.unit": "pilot"}, ["experiment.unit: found 'pilot'; one of ['carrier', 'origin'"]),
    ({"experiment.salt": ""}, ["experiment.salt: found ''; string should have at least 1 character"]),
    ({"snapshot.keep": 0}, ["snapshot.keep: found 0; input should be greater than or equal to 1"]),
    ({"metrics.window_rows": 1}, ["metrics.window_rows: found 1; input should be greater than or equal to 10"]),
    ({"topics.events": 0}, ["topics.events: found 0; input should be greater than or equal to 1"]),
    # several at once, of the same stage: all are listed
    ({"name": 1, "label.grace": -1, "topics.events": "x", "arms.tree.modle": "y"},
     ["name: found 1", "arms.tree.modle: found 'y'", "label.grace: found -1", "topics.events: found 'x'"]),
    ({"event.id": "nobody", "event.fields.wings": {"type": "text"}, "arms.tree.model": "oak",
      "arms.logistic.params": {"lr": 0, "l2": -1}, "experiment.unit": "pilot"},
     ["event.id: found 'nobody'", "event.fields.wings: found 'wings'", "arms.tree.model: found 'oak'",
      "arms.logistic.params.lr: found 0", "arms.logistic.params.l2: found -1", "experiment.unit: found 'pilot'"]),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), BROKEN, ids=lambda x: ",".join(x) if isinstance(x, dict) else "")
def test_every_fault_is_named_with_its_path_and_what_is_allowed(changes: dict[str, Any], expected: list[str]) -> None:
    found = _problems(changes)
    assert len(found) == len(expected), found
    for start in expected:
        assert any(problem.startswith(start) for problem in found), (start, found)


def test_the_example_is_a_spec() -> None:
    spec = load_spec(EXAMPLE)
    assert spec.topic("events") == "flights.events"
    assert spec.label.window == 36 * 3_600_000
    assert event_schema(spec).field_names[0] == "flight_id"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1, 2", "not YAML"),
        ("- a\n- b", "found list; a mapping"),
        ("", "found NoneType; a mapping"),
        (None, "can't be read"),
    ],
)
def test_a_file_that_is_no_spec_says_so(tmp_path: Path, text: str | None, expected: str) -> None:
    path = tmp_path / "spec.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SpecError, match=expected) as caught:
        load_spec(path)
    assert str(path) in str(caught.value)
    assert caught.value.exit_code == 2


def test_bytes_that_are_no_text_are_not_yaml(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(SpecError, match="not YAML"):
        load_spec(path)


def test_a_schema_in_microseconds_is_refused_since_times_are_milliseconds(tmp_path: Path) -> None:
    text = (EXAMPLE.parent / "flights" / "flight.avsc").read_text()
    (tmp_path / "s.avsc").write_text(text.replace("timestamp-millis", "timestamp-micros"))
    with pytest.raises(SpecError) as caught:
        parse_spec(_with({"event.schema": "s.avsc"}), tmp_path)
    assert [p for p in caught.value.problems if "is in micros; wanted here: timestamp-millis" in p]


@pytest.mark.parametrize(
    ("given", "ms"),
    [("500ms", 500), ("5s", 5000), ("1.5h", 5_400_000), ("2d", 172_800_000), (7, 7), (" 3 m ", 180_000)],
)
def test_durations_are_milliseconds(given: Any, ms: int) -> None:
    assert duration_ms(given) == ms


SHAPING: list[dict[str, Any]] = [
    {"name": "other"},
    {"event.fields.distance.max": 9000},
    {"event.fields.carrier.case": "lower"},
    {"event.fields.dest.type": "text"},
    {"label.window": "35h"},
    {"label.grace": "1s"},
    {"label.timeout": "negative"},
    {"arms.logistic.params.lr": 0.03},
    {"arms.tree.without": ["flight"]},
    {"metrics.window_rows": 999},
]
NOT_SHAPING: list[dict[str, Any]] = [
    {"arms.logistic.weight": 0.9},
    {"topics.events": 7},
    {"topics.predictions": 7},
    {"snapshot.every": "9s"},
    {"snapshot.keep": 9},
    {"experiment.name": "another"},
    {"experiment.salt": "another"},
    {"event.writers": "flights"},
]


def test_the_hash_is_the_same_anywhere_and_each_time(tmp_path: Path) -> None:
    first = _parse({}).hash
    assert first == load_spec(EXAMPLE).hash
    assert len(first) == 16
    (tmp_path / "moved").mkdir()
    schema = (EXAMPLE.parent / "flights" / "flight.avsc").read_text()
    (tmp_path / "moved" / "other.avsc").write_text(schema + "\n\n")
    assert parse_spec(_with({"event.schema": "moved/other.avsc"}), tmp_path).hash == first
    fields = _raw()["event"]["fields"]
    assert _parse({"arms": dict(reversed(_raw()["arms"].items()))}).hash == first
    assert list(fields) == list(_parse({}).event.fields)


@pytest.mark.parametrize("change", SHAPING, ids=lambda c: ",".join(c))
def test_the_hash_changes_with_what_shapes_data_or_models(change: dict[str, Any]) -> None:
    assert _parse(change).hash != _parse({}).hash


@pytest.mark.parametrize("change", NOT_SHAPING, ids=lambda c: ",".join(c))
def test_the_hash_does_not_change_with_what_only_moves_traffic_or_files(change: dict[str, Any]) -> None:
    assert _parse(change).hash == _parse({}).hash


def test_the_hash_changes_with_the_order_of_the_fields_since_they_are_the_columns() -> None:
    fields = dict(reversed(_raw()["event"]["fields"].items()))
    assert _parse({"event.fields": fields}).hash != _parse({}).hash


def test_the_hash_changes_with_the_content_of_the_schema(tmp_path: Path) -> None:
    schema = (EXAMPLE.parent / "flights" / "flight.avsc").read_text()
    (tmp_path / "s.avsc").write_text(schema.replace('"miles"', '"kilometres"'))
    assert parse_spec(_with({"event.schema": "s.avsc"}), tmp_path).hash != _parse({}).hash


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        _parse({}).name = "other"
