"""Labels: each task takes its values and refuses others with a code, what was found and what is wanted."""

from typing import Any

import pytest

from stream.arrive.reject import CODES, Reject
from stream.join.labels import Label, LabelReader
from stream.limits import MAGNITUDE_MAX, TIME_AHEAD_MS_MAX
from stream.spec import Spec

NOW_MS = 1_700_000_000_000


def _reader(task: str) -> LabelReader:
    event = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"n": {"type": "numeric"}}}
    raw: dict[str, Any] = {"name": "p", "task": task, "event": event, "arms": {"a": {"model": "m"}}}
    return LabelReader(Spec.model_validate(raw | ({"classes": ["lo", "hi", "1"]} if task == "classes" else {})))


def _read(task: str, value: Any, time_ms: int = NOW_MS) -> Label | Reject:
    return _reader(task).read({"id": "e", "value": value, "time_ms": time_ms}, 5, NOW_MS, "source")


@pytest.mark.parametrize(
    ("task", "value", "number"),
    [
        ("binary", True, 1.0), ("binary", False, 0.0), ("binary", 1, 1.0), ("binary", 0.0, 0.0),
        ("classes", "lo", 0.0), ("classes", "hi", 1.0), ("classes", "1", 2.0),
        ("regression", 3, 3.0), ("regression", -2.5, -2.5), ("regression", MAGNITUDE_MAX, MAGNITUDE_MAX),
        ("regression", -MAGNITUDE_MAX, -MAGNITUDE_MAX),
    ],
)  # fmt: skip
def test_a_value_of_the_task_is_a_number(task: str, value: Any, number: float) -> None:
    label = _read(task, value)
    assert label == Label("e", number, NOW_MS, 5, NOW_MS, "source")
    assert type(label.value) is float


@pytest.mark.parametrize(
    ("task", "value"),
    [
        ("binary", 2), ("binary", 0.5), ("binary", -1), ("binary", "1"), ("binary", "true"), ("binary", float("nan")),
        ("binary", None), ("classes", None), ("classes", ["lo"]), ("regression", None), ("regression", b"3"),
        ("regression", 10**400), ("binary", 10**400),
        ("classes", "LO"), ("classes", ""), ("classes", 1), ("classes", True), ("classes", 0.0),
        ("regression", "3"), ("regression", True), ("regression", float("nan")), ("regression", float("inf")),
        ("regression", -float("inf")), ("regression", 1e300), ("regression", 2 * int(MAGNITUDE_MAX)),
    ],
)  # fmt: skip
def test_a_value_outside_the_task_is_refused_with_what_was_found(task: str, value: Any) -> None:
    found = _read(task, value)
    assert isinstance(found, Reject)
    assert found.code == "label.outside_task"
    assert repr(value) in found.detail
    assert "wanted" in found.detail


@pytest.mark.parametrize(
    ("time_ms", "taken"),
    [(0, True), (NOW_MS + TIME_AHEAD_MS_MAX, True), (-1, False), (NOW_MS + TIME_AHEAD_MS_MAX + 1, False)],
)
def test_the_time_of_a_label_is_held_to_what_kafka_says(time_ms: int, taken: bool) -> None:
    found = _read("binary", 1, time_ms)
    assert isinstance(found, Label) is taken
    if isinstance(found, Reject):
        assert found.code == "label.time_outside"
        assert str(time_ms) in found.detail


def test_every_code_of_labels_is_listed() -> None:
    codes = {"label.outside_task", "label.time_outside", "label.undecodable", "label.late", "label.orphaned"}
    assert codes | {"label.duplicate"} == {c for c in CODES if c.startswith("label.")}
