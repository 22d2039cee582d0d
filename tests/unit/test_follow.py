"""Which announcement a server puts in place, without Kafka: the newest, the pinned, the last good one."""

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import schemas
from consumers import _follow
from consumers._follow import Follower
from consumers._pin import pin_key
from consumers.settings import Settings
from stream.spec import Spec

EVENT = {"schema": "none.avsc", "id": "id", "time": "time", "fields": {"x": {"type": "numeric"}}}
SPEC = Spec.model_validate(
    {"name": "p", "task": "binary", "event": EVENT, "arms": {"a": {"model": "linear.logistic"}}}
)  # fmt: skip
Given = tuple[str, dict[str, Any] | None]


class _Plane:
    """What a follower does to a plane."""

    def __init__(self) -> None:
        self.served: Any = None

    def swap(self, served: Any) -> None:
        self.served = served

    def as_of(self, as_of_ms: int) -> None:
        self.served.as_of_ms = max(self.served.as_of_ms, as_of_ms)


def _record(generation: int, **more: Any) -> dict[str, Any]:
    return {
        "pipeline": "p", "generation": generation, "uri": f"file:///{generation}", "sha256": f"s{generation}",
        "state_hash": "", "spec_hash": SPEC.hash, "training_offset": 0, "rows": 0, "label_offset": 0,
        "label_time_ms": 0, "label_published_ms": 0, "as_of_ms": 100 * generation, "arms": ["a"], "values": {}, **more,
    }  # fmt: skip


def _refused(generation: int, good: int) -> dict[str, Any]:
    place = {"good_generation": good, "good_uri": f"file:///{good}", "good_sha256": f"s{good}"} if good >= 0 else {}
    return _record(generation, refused="too bad", **place)


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Give records of the models topic to one follower, at once; what serves then, and how fresh it says it is."""

    def load(_: Any, record: dict[str, Any]) -> Any:
        own_ms = 100 * record["generation"]  # the manifest says it too
        found = {n: record[n] for n in ("generation", "sha256", "label_offset")}
        return SimpleNamespace(**found, as_of_ms=max(own_ms, record["as_of_ms"]))

    monkeypatch.setattr(_follow.Announced, "load", load)
    follower = Follower(SPEC, Settings(data=tmp_path), _Plane())  # type: ignore[arg-type]

    def give(*given: Given) -> Any:
        records = [
            SimpleNamespace(
                key=pin_key(SPEC) if kind == "pin" else b"p",
                value=None if value is None else schemas.codec("model").encode(value),
                offset=0,
            )
            for kind, value in given
        ]
        follower._take({None: records})  # type: ignore[dict-item]
        if follower._pending is not None:
            follower._place(follower._pending)
        served = follower._plane.served
        return None if served is None else (served.generation, served.as_of_ms)

    give.follower = follower  # type: ignore[attr-defined]
    return give


def test_the_newest_serves_and_a_repeat_tells_only_how_fresh_it_is(follow: Any) -> None:
    assert follow(("model", _record(1)), ("model", _record(2))) == (2, 200)
    assert follow(("model", _record(2, as_of_ms=900))) == (2, 900)


def test_a_pinned_one_stays_whatever_comes_until_it_is_released(follow: Any) -> None:
    pin = _record(1, pinned=True, why="so")
    assert follow(("model", _record(3)), ("pin", pin)) == (1, 100)
    assert follow.follower.pinned == 1
    assert follow(("model", _record(4)), ("model", _record(5))) == (1, 100)
    assert follow(("pin", _record(3, pinned=True))) == (3, 300)
    assert follow(("pin", None)) == (5, 500)
    assert follow.follower.pinned is None
    assert follow(("pin", None), ("model", _record(6))) == (6, 600)


def test_a_server_that_starts_finds_the_pin_before_or_behind_the_newest(follow: Any) -> None:
    pin = _record(1, pinned=True)
    assert follow(("pin", pin), ("model", _record(7))) == (1, 100)


def test_what_the_gate_refused_never_serves_the_last_good_one_does(follow: Any) -> None:
    assert follow(("model", _refused(3, good=2))) == (2, 200)
    assert follow(("model", _refused(4, good=2)), ("model", _refused(4, good=2))) == (2, 200)
    assert follow.follower.refused_count == 2
    assert follow(("model", _record(5))) == (5, 500)
    assert follow(("model", _refused(6, good=5))) == (5, 500)


def test_where_there_never_was_a_good_one_nothing_serves(follow: Any) -> None:
    assert follow(("model", _refused(1, good=-1))) is None
    assert follow(("model", _record(2))) == (2, 200)


def test_a_person_may_pin_what_the_gate_refused(follow: Any) -> None:
    assert follow(("model", _record(1)), ("pin", {**_refused(3, good=2), "pinned": True})) == (3, 300)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere threads have no niceness of their own")
def test_the_thread_that_loads_gives_way_to_those_that_answer() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, seen = niceness(), []
    thread = threading.Thread(target=lambda: (_follow.step_back(), seen.append(niceness())))
    thread.start()
    thread.join()
    assert seen == [min(19, before + 10)]
    assert niceness() == before
