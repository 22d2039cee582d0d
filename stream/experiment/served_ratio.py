"""The sample ratio while an experiment runs: of the exposures under the newest weights, as they come in.

As in the report, the first exposure of a unit counts, and only while its weights are the present ones; the p-value
holds at every look. Memory is bounded: of the units the newest are remembered.
"""

from array import array
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np

from stream.experiment.control import State
from stream.experiment.ratio import SampleRatio
from stream.spec import Spec

UNITS_MAX = 1_000_000  # remembered; one that comes back after so many others counts again
SEQS_MAX = 16  # numbers of control records whose exposures may wait for the state to be known


class ServedRatio:
    """Give it every exposure; `look` judges those since the last one."""

    def __init__(self, spec: Spec) -> None:
        self._name = spec.experiment.name
        self._arms = {arm: i for i, arm in enumerate(spec.arms)}
        self._units: OrderedDict[str, None] = OrderedDict()
        self._waiting: OrderedDict[int, array[int]] = OrderedDict()  # number of the control record → arms
        self._seq, self._ratio, self._place = -1, None, np.zeros(0, np.int64)  # type: int, SampleRatio | None, Any

    def exposure(self, record: Mapping[str, Any]) -> None:
        """A record of the predictions topic."""
        if record["experiment"] != self._name or record["arm"] not in self._arms or record["unit"] in self._units:
            return
        self._units[record["unit"]] = None
        if len(self._units) > UNITS_MAX:
            self._units.popitem(last=False)
        self._waiting.setdefault(record["control_seq"], array("q")).append(self._arms[record["arm"]])
        if len(self._waiting) > SEQS_MAX:
            self._waiting.pop(min(self._waiting))

    def look(self, state: State) -> dict[str, float]:
        """exposures, p_value, chi_squared_p under the present weights; {} while fewer than two arms have a share."""
        if state.seq != self._seq:
            self._begin(state)
        mine = self._waiting.pop(state.seq, array("q"))
        for old in [seq for seq in self._waiting if seq < state.seq]:
            del self._waiting[old]
        if self._ratio is None:
            return {}
        places = self._place[np.array(mine, np.int64)] if mine else np.zeros(0, np.int64)
        self._ratio.update(places[places >= 0])
        counts = self._ratio.counts.sum()
        return {
            "exposures": float(counts),
            "p_value": self._ratio.p_value,
            "chi_squared_p": self._ratio.chi_squared()[1],
        }

    def _begin(self, state: State) -> None:
        self._seq = state.seq
        served = [arm for arm, share in state.shares.items() if share > 0]
        self._ratio = None
        if len(served) >= 2 and not state.ended:
            self._ratio = SampleRatio([state.shares[arm] for arm in served])
            self._place = np.full(len(self._arms), -1, np.int64)
            self._place[[self._arms[arm] for arm in served]] = np.arange(len(served))
