"""What a guard finds becomes metric records: finite, told apart by guardrail, and sent only when something is new."""

import math
from contextlib import nullcontext
from typing import Any

import pytest

import schemas
from consumers import _guard_metrics
from consumers._guard_metrics import Teller, finding_outs
from consumers._kafka import Out
from consumers.settings import Settings
from stream.experiment.guard import Finding
from stream.experiment.sequence import Interval
from stream.spec import Spec
from tests.unit.test_control import make_spec


@pytest.fixture
def spec() -> Spec:
    rails = [{"metric": "brier", "margin": 0.02}, {"metric": "log_loss", "margin": 0.1}]
    return make_spec({"a": 0.5, "b": 0.5}, guardrails=rails)


def finding(metric: str = "brier", margin: float = 0.02, n: int = 7, high: float = 0.3, worse: bool = False) -> Finding:
    return Finding("b", metric, margin, 0.05, Interval(n, 0.1, -0.1, high), worse)


def read(outs: list[Out]) -> list[dict[str, Any]]:
    return [schemas.codec("metric").decode(out.value or b"") for out in outs]


def test_a_finding_is_a_record_with_its_interval(spec: Spec) -> None:
    [told] = read(finding_outs(spec, [finding(worse=True)], 5))
    assert (told["kind"], told["arm"], told["window"], told["rows"]) == ("guardrail", "b", 0, 7)
    assert told["values"] == {"difference": 0.1, "low": -0.1, "high": 0.3, "margin": 0.02, "worse": 1.0}


def test_each_guardrail_has_a_window_of_its_own_and_infinite_bounds_are_left_out(spec: Spec) -> None:
    outs = finding_outs(spec, [finding(high=math.inf), finding("log_loss", 0.1)], 5)
    told = read(outs)
    assert [t["window"] for t in told] == [0, 1]
    assert "high" not in told[0]["values"]
    assert len({out.key for out in outs}) == 2


class Fake:
    """A consumer and a producer in one."""

    def __init__(self, topics: set[str]) -> None:
        self.there, self.sent, self.closed = topics, list[Any](), 0

    def topics(self) -> set[str]:
        return self.there

    def send(self, topic: str, **record: Any) -> "Fake":
        self.sent.append((topic, record["value"]))
        return self

    def get(self, timeout: float) -> Any:
        return type("Meta", (), {"offset": 1})

    def close(self, **_: Any) -> None:
        self.closed += 1


@pytest.mark.parametrize("topic", [True, False])
def test_only_what_is_new_is_sent_and_nothing_without_the_topic(
    topic: bool, spec: Spec, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = Fake({spec.topic("metrics")} if topic else set())
    monkeypatch.setattr(_guard_metrics, "consuming", lambda *_: nullcontext(fake))
    monkeypatch.setattr(_guard_metrics, "make_producer", lambda *_: fake)
    teller = Teller(spec, Settings())
    for seen in ([finding()], [finding()], [], [finding(n=8), finding("log_loss", 0.1)], [finding(n=8), finding(n=0)]):
        teller.tell(seen)
    teller.close()
    sent = [schemas.codec("metric").decode(value) for _, value in fake.sent]
    assert [(m["window"], m["rows"]) for m in sent] == ([(0, 7), (0, 8), (1, 7)] if topic else [])
    assert {name for name, _ in fake.sent} <= {spec.topic("metrics")}
