"""The sample ratio of a whole report: over all exposures, and by each dimension, corrected for there being several."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stream.block import I64
from stream.experiment.ratio import LEVELS_MAX, SampleRatio, holm

SRM_ALPHA = 0.001  # below it the sample ratio is called broken; usual for this check (Fabijan et al. 2019)


@dataclass(frozen=True, slots=True)
class RatioLine:
    """One dimension's sample ratio ("all" is none); p-values as found, and corrected for the number of lines (Holm)."""

    dimension: str
    levels: int
    exposures: int
    p_value: float
    corrected: float
    chi_squared: float
    chi_squared_p: float
    chi_squared_corrected: float

    @property
    def broken(self) -> bool:
        """Whether other figures are not to be trusted."""
        return self.corrected <= SRM_ALPHA


def ratio_lines(arm: I64, planned: Mapping[str, float], dimensions: Mapping[str, Sequence[str]]) -> list[RatioLine]:
    """One line a dimension, "all" first; none while fewer than two arms have a share."""
    served = [i for i, share in enumerate(planned.values()) if share > 0]
    if len(served) < 2:
        return []
    place = np.full(len(planned), -1, np.int64)
    place[served] = np.arange(len(served))
    found = []
    for name, values in {"all": [""] * len(arm), **dimensions}.items():
        ratio = SampleRatio([list(planned.values())[i] for i in served])
        ratio.update(place[arm], _levels(values))
        found.append((name, len(set(values)), ratio))
    p, chi = [r.p_value for *_, r in found], [r.chi_squared() for *_, r in found]
    corrected, chi_corrected = holm(p), holm([c[1] for c in chi])
    return [
        RatioLine(name, levels, len(arm), p[i], corrected[i], *chi[i], chi_corrected[i])
        for i, (name, levels, _) in enumerate(found)
    ]


def _levels(values: Sequence[str]) -> I64:
    """Numbers for values, in the order in which they come; the last stands for all beyond the bound."""
    seen: dict[str, int] = {}
    return np.array([min(seen.setdefault(v, len(seen)), LEVELS_MAX - 1) for v in values], np.int64)
