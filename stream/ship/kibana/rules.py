"""Alert rules as code: each an Elasticsearch query of Kibana's rule type `.es-query`, run every minute.

The query is written out, so that it can be run without Kibana. Each rule names the section of docs/operations.md that
says what it means and what to do. Groups are pipelines, or a step or arm of one, so that each alerts by itself.
"""

import json
from dataclasses import dataclass
from typing import Any

from stream.ship.datasets import DATASETS, MODULE
from stream.ship.kibana.thresholds import THRESHOLDS as T

RULE_TYPE, CONSUMER = ".es-query", "stackAlerts"
PAGE = "docs/operations.md"
EVERY = "1m"
GROUPS_MAX = 100
PIPELINE, SOURCE = "headwater.pipeline", "headwater.metric.source"


@dataclass(frozen=True, slots=True)
class Rule:
    """id: a version 4 UUID, since Kibana takes no other. body: of `POST /api/alerting/rule/{id}`, without actions."""

    id: str
    key: str
    body: dict[str, Any]


def rules() -> list[Rule]:
    """All; whoever is to be told is added to them in Kibana, and stays when they are changed."""
    return [
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a01", "error-rate", "headwater-data-quality",
            f"More than {T.error_rate:.0%} of the events were refused", "metrics",
            [_is("headwater.metric.kind", "counts")],
            _above("avg", "headwater.values.error_rate", ">", T.error_rate, T.error_rate_minutes, PIPELINE),
        ),
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a02", "freshness", "headwater-overview",
            f"The newest snapshot was never less than {T.staleness_ms / 1000:g} s stale", "metrics",
            [_is("headwater.metric.kind", "freshness")],
            _above("min", "headwater.values.staleness_ms", ">", T.staleness_ms, T.staleness_minutes, PIPELINE),
        ),
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a03", "lag-stall", "headwater-overview",
            f"A step never had fewer than {T.lag_records:,.0f} records to read", "metrics",
            [_is("headwater.metric.kind", "lag")],
            _above("min", "headwater.values.lag", ">", T.lag_records, T.lag_minutes, SOURCE),
        ),
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a04", "drift", "headwater-quality",
            "An arm's loss rose (ADWIN)", "metrics",
            [_is("headwater.metric.kind", "prequential"), {"range": {"headwater.values.drift_adwin_new": {"gt": 0}}}],
            _above("count", "", ">", T.drifts, T.drift_minutes, SOURCE),
        ),
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a05", "sample-ratio", "headwater-experiment",
            f"Arms don't get their shares (p < {T.sample_ratio_p:g})", "metrics",
            [_is("headwater.metric.kind", "sample_ratio")],
            _above("min", "headwater.values.p_value", "<", T.sample_ratio_p, T.sample_ratio_minutes, PIPELINE),
        ),
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a06", "guardrail", "headwater-experiment",
            "A guardrail drained an arm", "experiment",
            [_is("event.action", "guardrail")],
            _above("count", "", ">", T.guardrails, T.guardrail_minutes, PIPELINE),
        ),
        _rule(
            "5b1f7a52-6d0e-4c8b-9a35-0d2c4e1f7a07", "silence", "headwater-overview",
            f"No pipeline has told of itself for {T.silence_minutes} minutes", "metrics",
            [_is("headwater.metric.kind", "counts")],
            _above("count", "", "<", T.documents, T.silence_minutes, None),
        ),
    ]  # fmt: skip


def _is(field: str, value: str) -> dict[str, Any]:
    return {"term": {field: value}}


def _above(
    aggregation: str, field: str, comparator: str, threshold: float, minutes: int, group: str | None
) -> dict[str, Any]:
    """What is measured over the last minutes, and compared: for each value of `group`, or of all documents at once.

    A group without documents is none, so only of all at once can it be told that there are too few.
    """
    groups = {"groupBy": "all"} if group is None else {"groupBy": "top", "termField": group, "termSize": GROUPS_MAX}
    return {
        "aggType": aggregation,
        **({"aggField": field} if field else {}),
        **groups,
        "thresholdComparator": comparator,
        "threshold": [threshold],
        "timeWindowSize": minutes,
        "timeWindowUnit": "m",
    }


def _rule(
    rule_id: str, key: str, board: str, name: str, topic: str, clauses: list[dict[str, Any]], measured: dict[str, Any]
) -> Rule:
    query = {"query": {"bool": {"filter": clauses}}}
    guide = f"What it means and what to do: {PAGE}#{key}"
    body = {
        "name": f"Headwater: {name}",
        "tags": [MODULE, key, f"{PAGE}#{key}"],
        "rule_type_id": RULE_TYPE,
        "consumer": CONSUMER,
        "schedule": {"interval": EVERY},
        "params": {
            "searchType": "esQuery",
            "index": [DATASETS[topic].pattern],
            "timeField": "@timestamp",
            "esQuery": json.dumps(query),
            "size": 10,
            "excludeHitsFromPreviousRun": False,
            **measured,
        },
        "artifacts": {"dashboards": [{"id": board}], "investigation_guide": {"blob": guide}},
    }
    return Rule(rule_id, key, body)
