"""Records of the metrics topic. Their key is (kind, arm, window), so that a repeat replaces the earlier one.

Invariant: their kind is one of KINDS, all of which docs/operations.md explains.
"""

import json
import math
from collections.abc import Mapping

import schemas
from consumers._kafka import Out
from stream.spec import Spec

KINDS = (
    "step", "prequential", "served", "served_total", "shadow", "shadow_total", "ship", "lag", "counts", "freshness",
    "sample_ratio", "guardrail",
)  # fmt: skip


def metric_out(
    spec: Spec, kind: str, arm: str, window: int, rows: int, event_time_ms: int, values: Mapping[str, float]
) -> Out:
    """One metric record; values that are not finite are left out."""
    if kind not in KINDS:
        raise ValueError(f"metric kind {kind!r}: it is not in KINDS, so docs/operations.md does not explain it")
    record = {
        "kind": kind,
        "arm": arm,
        "window": window,
        "rows": rows,
        "event_time_ms": event_time_ms,
        "values": {k: v for k, v in values.items() if math.isfinite(v)},
        "spec_hash": spec.hash,
    }
    key = json.dumps([kind, arm, window]).encode()
    return Out(spec.topic("metrics"), schemas.codec("metric").encode(record), key, 0)
