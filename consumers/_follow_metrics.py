"""What Prometheus is told of the models that a server follows: refusals by the gate, and a pin."""

from collections.abc import Iterator
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from consumers._follow import Follower


class FollowState(Collector):
    """Read whenever it is asked for."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower

    def collect(self) -> Iterator[Any]:
        """See prometheus_client."""
        refused = self._follower.refused_count
        yield CounterMetricFamily("headwater_models_refused", "snapshots that their gate refused", value=refused)
        pinned = self._follower.pinned
        value = -1 if pinned is None else pinned
        yield GaugeMetricFamily("headwater_model_pinned", "generation that is pinned; -1: none", value=value)
