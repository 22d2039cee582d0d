"""What a form loses, and how long it takes: the arithmetic, without onnxruntime."""

from typing import Any

import numpy as np
import pytest

from stream.block import Block
from stream.optimise import Loss, Quality, paces, quality


def _rows(n: int) -> Block:
    zeros = np.zeros(n, np.int64)
    none = np.zeros((n, 0), np.uint64)
    return Block(
        "h", [""] * n, zeros, zeros.astype(np.int32), zeros, np.ones((n, 2)), none, np.zeros(0, np.uint64), zeros
    )


def test_losses_are_points_of_accuracy_and_growth_of_log_loss_or_rmse() -> None:
    label = np.array([1.0, 1, 0, 0])
    was = quality("binary", np.array([0.9, 0.6, 0.2, 0.1]), label, label)
    now = quality("binary", np.array([0.9, 0.4, 0.2, 0.1]), label, label)
    worst, other = was.lost(now)
    assert (other.measure, other.value, other.percent) == ("accuracy %", 75.0, 25.0)
    assert (worst.measure, worst.percent) == ("log loss", pytest.approx(100 * np.log(0.6 / 0.4) / -np.log(0.3888)))
    assert {x.measure: x.percent for x in now.lost(was)}["accuracy %"] == -25.0, "a gain is a loss below 0"
    near = quality("regression", np.array([1.0, 3.0]), np.array([1.0, 1.0]), label)
    assert near.values == {"RMSE": pytest.approx(np.sqrt(2))}
    assert near.lost(Quality({"RMSE": 2 * np.sqrt(2)})) == [Loss("RMSE", 2 * np.sqrt(2), pytest.approx(100))]


def test_without_labels_a_form_is_held_to_the_original() -> None:
    original = np.array([[0.2, 0.8], [0.7, 0.3], [0.4, 0.6], [0.1, 0.9]])
    other = original.copy()
    other[1] = [0.3, 0.7]
    assert quality("classes", original, None, original).values == {"agreement %": 100.0}
    assert quality("classes", other, None, original).values == {"agreement %": 75.0}
    numbers = np.array([0.0, 2.0])
    assert quality("regression", numbers + 0.1, None, numbers).values == {"nearness %": pytest.approx(90)}


class _Model:
    """Stands for an opened model: a call takes so many seconds of the clock that it shares."""

    def __init__(self, name: str, clock: list[float], calls: list[str], seconds: float) -> None:
        self._name, self._clock, self._calls, self._seconds = name, clock, calls, seconds

    def feeds(self, block: Block) -> dict[str, Any]:
        return {"rows": len(block)}

    def run(self, feeds: dict[str, Any]) -> None:
        self._clock[0] += self._seconds * feeds["rows"]
        self._calls.append(self._name)


def test_forms_are_timed_in_turn_and_a_row_costs_its_share_of_the_call() -> None:
    clock, calls = [0.0], list[str]()
    models: Any = {n: _Model(n, clock, calls, s) for n, s in (("slow", 2e-3), ("quick", 1e-3))}
    heard: list[int] = []
    found = paces(models, _rows(400), 8, 3, lambda: clock[0], lambda: heard.append(1))
    assert found["slow"].p50_us == pytest.approx(2000)
    assert found["quick"].p99_us == pytest.approx(1000)
    assert len(heard) == 6
    turns = [calls[i] for i in range(len(calls)) if i == 0 or calls[i] != calls[i - 1]]
    assert turns == ["slow", "quick", "slow", "quick"], "the first of a round is another each time"
