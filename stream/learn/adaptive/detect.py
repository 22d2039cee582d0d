"""The drift detector of a node: ADWIN with River's defaults but for its delta."""

from typing import cast

import numpy as np

from stream.jit import compiled
from stream.learn.adaptive.layout import State
from stream.learn.drift.adwin import adwin_int_width, adwin_real_width, adwin_update

LEVELS = 24  # room for 67 million answers in a node's window
MAX_BUCKETS = cast(int, np.int64(5))
CLOCK = cast(int, np.int64(32))
MIN_WINDOW = cast(int, np.int64(5))
GRACE = cast(int, np.int64(10))
ADWIN_REALS = adwin_real_width(int(MAX_BUCKETS), LEVELS)
ADWIN_INTS = adwin_int_width(int(MAX_BUCKETS), LEVELS)


@compiled
def detect(state: State, node: int, wrong: float, delta: float) -> bool:
    """Show one judged answer to the node's detector: whether the share of wrong ones has changed."""
    return adwin_update(
        state.node_window[node], state.node_buckets[node], wrong, delta, CLOCK, MAX_BUCKETS, MIN_WINDOW, GRACE
    )
